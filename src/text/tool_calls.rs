//! Tool calls in Hermes form: a JSON object between `<tool_call>` and `</tool_call>`, as the
//! Qwen families and the built-in model write them.

use crate::generation::ToolCall;

const OPEN: &str = "<tool_call>";
const CLOSE: &str = "</tool_call>";

/// An answer taken apart.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ToolCalls {
    /// What was said apart from the calls, white space around them trimmed.
    pub content: String,
    /// The calls, in order.
    pub calls: Vec<ToolCall>,
}

/// Takes an answer apart. What is not a complete, well-formed call stays text: a broken call is
/// never guessed at.
#[must_use]
pub fn tool_calls(text: &str) -> ToolCalls {
    let mut content = String::new();
    let mut calls = Vec::new();
    let mut rest = text;
    while let Some((before, after)) = rest.split_once(OPEN) {
        let parsed = after
            .split_once(CLOSE)
            .and_then(|(body, after)| Some((parse(body)?, after)));
        content.push_str(before);
        match parsed {
            Some((call, after)) => {
                calls.push(call);
                content.truncate(content.trim_end().len());
                rest = after;
            }
            None => {
                content.push_str(OPEN);
                rest = after;
            }
        }
    }
    content.push_str(rest);
    if !calls.is_empty() {
        content.truncate(content.trim_end().len());
    }
    ToolCalls { content, calls }
}

fn parse(body: &str) -> Option<ToolCall> {
    let value: serde_json::Value = serde_json::from_str(body.trim()).ok()?;
    let name = value.get("name")?.as_str()?;
    let arguments = value.get("arguments")?.as_object()?;
    Some(ToolCall {
        id: None,
        name: name.to_owned(),
        arguments: arguments.clone(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn calls_are_read_in_order_and_text_around_them_is_ignored() {
        let text = "I'll look.\n<tool_call>\n{\"name\": \"Read\", \"arguments\": {\"p\": 1}}\n\
                    </tool_call> and <tool_call>{\"name\":\"Bash\",\"arguments\":{}}</tool_call>";
        let ToolCalls { content, calls } = tool_calls(text);
        assert_eq!(content, "I'll look. and");
        let names: Vec<&str> = calls.iter().map(|call| call.name.as_str()).collect();
        assert_eq!(names, ["Read", "Bash"]);
        assert_eq!(calls[0].arguments["p"], 1);
    }

    #[test]
    fn a_broken_call_stays_text() {
        for text in [
            "<tool_call>{\"name\": \"Read\"",
            "<tool_call>{\"name\": \"Read\"}</tool_call>",
            "<tool_call>not json</tool_call>",
            "<tool_call>{\"name\": 1, \"arguments\": {}}</tool_call>",
            "</tool_call>",
        ] {
            let taken = tool_calls(text);
            assert!(taken.calls.is_empty(), "{text}");
            assert_eq!(taken.content, text);
        }
    }
}
