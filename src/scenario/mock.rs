//! Mock tools: what a test's tools answer, without running anything.

use serde_json::{Map, Value};

use crate::generation::{ToolCall, ToolResult, ToolSpec};

/// The tools of a scenario and their rules.
#[derive(Debug, Clone, Default)]
pub struct MockTools {
    pub(super) tools: Vec<MockTool>,
}

/// One tool.
#[derive(Debug, Clone)]
pub(super) struct MockTool {
    pub(super) spec: ToolSpec,
    /// In order; the first that matches answers.
    pub(super) rules: Vec<MockRule>,
}

/// One rule of a tool.
#[derive(Debug, Clone)]
pub(super) struct MockRule {
    /// Arguments that the call must have, at least; `None` matches every call.
    pub(super) when: Option<Map<String, Value>>,
    pub(super) answer: MockAnswer,
}

/// What a rule gives back.
#[derive(Debug, Clone)]
pub(super) enum MockAnswer {
    /// A result.
    Text(String),
    /// A failure of the tool.
    Error(String),
}

impl MockTools {
    /// What the model is told about the tools.
    #[must_use]
    pub fn specs(&self) -> Vec<ToolSpec> {
        self.tools.iter().map(|tool| tool.spec.clone()).collect()
    }

    /// Answers a call. A call that nobody expected gets an error that says so, which the model
    /// may read and which the record keeps.
    #[must_use]
    pub fn answer(&self, call: &ToolCall) -> ToolResult {
        let answer = self
            .tools
            .iter()
            .find(|tool| tool.spec.name == call.name)
            .ok_or_else(|| format!("there is no tool '{}'", call.name))
            .and_then(|tool| tool.answer(&call.arguments));
        let (content, is_error) = match answer {
            Ok(text) => (text, false),
            Err(problem) => (format!("Error: {problem}"), true),
        };
        ToolResult {
            call: call.clone(),
            content,
            is_error,
        }
    }
}

impl MockTool {
    fn answer(&self, arguments: &Map<String, Value>) -> Result<String, String> {
        let required = self.spec.parameters.get("required");
        let missing = required
            .and_then(Value::as_array)
            .into_iter()
            .flatten()
            .filter_map(Value::as_str)
            .find(|name| !arguments.contains_key(*name));
        if let Some(name) = missing {
            return Err(format!("the argument '{name}' is missing"));
        }
        let rule = self.rules.iter().find(|rule| match &rule.when {
            None => true,
            Some(when) => when
                .iter()
                .all(|(name, value)| arguments.get(name) == Some(value)),
        });
        match rule.map(|rule| &rule.answer) {
            Some(MockAnswer::Text(text)) => Ok(text.clone()),
            Some(MockAnswer::Error(problem)) => Err(problem.clone()),
            None => Err("no mock for this call".to_owned()),
        }
    }
}

#[cfg(test)]
mod tests {
    use rstest::rstest;
    use serde_json::json;

    use super::*;

    fn tools() -> MockTools {
        let rule = |when: Option<Value>, answer| MockRule {
            when: when.and_then(|when| when.as_object().cloned()),
            answer,
        };
        MockTools {
            tools: vec![MockTool {
                spec: ToolSpec {
                    name: "Read".to_owned(),
                    description: String::new(),
                    parameters: json!({"type": "object", "required": ["path"]}),
                },
                rules: vec![
                    rule(Some(json!({"path": "a"})), MockAnswer::Text("A".to_owned())),
                    rule(
                        Some(json!({"path": "b"})),
                        MockAnswer::Error("EACCES".to_owned()),
                    ),
                ],
            }],
        }
    }

    #[rstest]
    #[case("Read", json!({"path": "a", "limit": 3}), "A", false)]
    #[case("Read", json!({"path": "b"}), "Error: EACCES", true)]
    #[case("Read", json!({"path": "c"}), "Error: no mock for this call", true)]
    #[case("Read", json!({}), "Error: the argument 'path' is missing", true)]
    #[case("Write", json!({"path": "a"}), "Error: there is no tool 'Write'", true)]
    fn the_first_matching_rule_answers(
        #[case] name: &str,
        #[case] arguments: Value,
        #[case] content: &str,
        #[case] is_error: bool,
    ) {
        let result = tools().answer(&ToolCall {
            id: None,
            name: name.to_owned(),
            arguments: arguments.as_object().expect("an object").clone(),
        });
        assert_eq!(
            (result.content.as_str(), result.is_error),
            (content, is_error)
        );
    }
}
