//! What an answer has to be, whatever the model would rather say.

use serde::{Deserialize, Serialize};
use serde_json::Value;

/// The form that every token of an answer keeps to.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case", deny_unknown_fields)]
pub enum Constraint {
    /// One JSON value that this JSON Schema allows.
    Json {
        /// The schema, an object.
        schema: Value,
    },
    /// One call of one of these tools, all of which the prompt offers.
    Call {
        /// The tools' names.
        tools: Vec<String>,
    },
}

impl Constraint {
    /// Any JSON object.
    #[must_use]
    pub fn json_object() -> Self {
        Self::Json {
            schema: serde_json::json!({"type": "object"}),
        }
    }
}
