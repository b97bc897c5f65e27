//! Variables that a caller hands to a chat template, such as `enable_thinking`.

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

/// Names that carry the conversation itself; a variable of that name would replace it unseen.
const RESERVED: [&str; 2] = ["messages", "tools"];

/// Named values for a chat template: the `chat_template_kwargs` of other servers.
///
/// `strftime_now` is special: templates call a function of this name to learn the date. Its value
/// here is the moment that the function tells, such as `2024-07-26` or `2024-07-26T09:00:00`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(try_from = "Map<String, Value>", into = "Map<String, Value>")]
#[schemars(with = "Map<String, Value>")]
pub struct TemplateVariables(Map<String, Value>);

impl TemplateVariables {
    /// True if there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// These with `over` laid over them: a name in both has the value of `over`.
    #[must_use]
    pub fn overlaid(&self, over: &Self) -> Self {
        let mut sum = self.clone();
        sum.0.extend(over.0.clone());
        sum
    }

    /// Names and values, in the order in which they were given.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &Value)> {
        self.0.iter().map(|(name, value)| (name.as_str(), value))
    }
}

impl TryFrom<Map<String, Value>> for TemplateVariables {
    type Error = String;

    fn try_from(map: Map<String, Value>) -> Result<Self, String> {
        match RESERVED.iter().find(|name| map.contains_key(**name)) {
            Some(name) => Err(format!(
                "the template variable '{name}' is the conversation's own and cannot be set"
            )),
            None => Ok(Self(map)),
        }
    }
}

impl From<TemplateVariables> for Map<String, Value> {
    fn from(variables: TemplateVariables) -> Self {
        variables.0
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn read(value: Value) -> Result<TemplateVariables, serde_json::Error> {
        serde_json::from_value(value)
    }

    #[test]
    fn later_layers_win_and_others_stay() {
        let base = read(json!({"enable_thinking": true, "a": 1})).expect("variables");
        let over = read(json!({"enable_thinking": false})).expect("variables");
        let sum = serde_json::to_value(base.overlaid(&over)).expect("JSON");
        assert_eq!(sum, json!({"enable_thinking": false, "a": 1}));
    }

    #[test]
    fn the_conversation_cannot_be_replaced() {
        let error = read(json!({"messages": []})).expect_err("refused");
        assert!(error.to_string().contains("'messages'"), "{error}");
        assert!(read(json!([1])).is_err());
    }
}
