//! Mock tools: what a test's tools answer, without running anything.

use std::time::Duration;

use jsonschema::Validator;
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
    /// How long the tool takes.
    pub(super) delay: Duration,
}

/// What a rule gives back.
#[derive(Debug, Clone)]
pub(super) enum MockAnswer {
    /// A result.
    Text(String),
    /// A failure of the tool.
    Error(String),
}

/// What a tool gives back, and when.
#[derive(Debug, Clone, PartialEq)]
pub struct Mocked {
    /// The result of the call.
    pub result: ToolResult,
    /// How long the tool takes for it.
    pub delay: Duration,
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
    pub fn answer(&self, call: &ToolCall) -> Mocked {
        let rule = self
            .tools
            .iter()
            .find(|tool| tool.spec.name == call.name)
            .ok_or_else(|| format!("there is no tool '{}'", call.name))
            .and_then(|tool| tool.rule(&call.arguments));
        let delay = rule.as_ref().map_or(Duration::ZERO, |rule| rule.delay);
        let answer = rule.and_then(|rule| match &rule.answer {
            MockAnswer::Text(text) => Ok(text.clone()),
            MockAnswer::Error(problem) => Err(problem.clone()),
        });
        let (content, is_error) = match answer {
            Ok(text) => (text, false),
            Err(problem) => (format!("Error: {problem}"), true),
        };
        Mocked {
            result: ToolResult {
                call: call.clone(),
                content,
                is_error,
            },
            delay,
        }
    }
}

impl MockTool {
    /// The rule that answers a call with these arguments, if the tool takes them.
    fn rule(&self, arguments: &Map<String, Value>) -> Result<&MockRule, String> {
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
        let validator = validator(&self.spec.parameters)?;
        if let Err(error) = validator.validate(&Value::Object(arguments.clone())) {
            let at = error.instance_path();
            return Err(format!(
                "the input_schema refuses the arguments: {error} (at '{at}')"
            ));
        }
        let mut rules = self.rules.iter();
        let rule = rules.find(|rule| match &rule.when {
            None => true,
            Some(when) => when
                .iter()
                .all(|(name, value)| arguments.get(name) == Some(value)),
        });
        rule.ok_or_else(|| "no mock for this call".to_owned())
    }
}

/// What checks arguments against a schema; why it cannot be used, if so. Nothing is fetched for it.
pub(super) fn validator(schema: &Value) -> Result<Validator, String> {
    let options = jsonschema::options().offline();
    let validator = options.should_validate_formats(false).build(schema);
    validator.map_err(|error| format!("the input_schema cannot be used: {error}"))
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
            delay: Duration::from_millis(7),
        };
        MockTools {
            tools: vec![MockTool {
                spec: ToolSpec {
                    name: "Read".to_owned(),
                    description: String::new(),
                    parameters: json!({
                        "type": "object",
                        "properties": {"path": {"type": "string"}, "limit": {"minimum": 1}},
                        "required": ["path"]
                    }),
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
    #[case(
        "Read",
        json!({"path": 3}),
        "Error: the input_schema refuses the arguments: 3 is not of type \"string\" (at '/path')",
        true
    )]
    #[case(
        "Read",
        json!({"path": "a", "limit": 0}),
        "Error: the input_schema refuses the arguments: 0 is less than the minimum of 1 (at '/limit')",
        true
    )]
    #[case("Write", json!({"path": "a"}), "Error: there is no tool 'Write'", true)]
    fn the_first_matching_rule_answers(
        #[case] name: &str,
        #[case] arguments: Value,
        #[case] content: &str,
        #[case] is_error: bool,
    ) {
        let Mocked { result, delay } = tools().answer(&ToolCall {
            id: None,
            name: name.to_owned(),
            arguments: arguments.as_object().expect("an object").clone(),
        });
        // Only a rule takes its time.
        let ruled = ["A", "Error: EACCES"].contains(&content);
        assert_eq!(delay, Duration::from_millis(if ruled { 7 } else { 0 }));
        assert_eq!(
            (result.content.as_str(), result.is_error),
            (content, is_error)
        );
    }
}
