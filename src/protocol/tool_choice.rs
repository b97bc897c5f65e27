//! Which tools a request lets, or makes, the model call.

use super::fields::{Fields, WireError};
use crate::generation::ToolSpec;

/// Which tools may, or must, be called.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum ToolChoice {
    /// As the model likes.
    Auto,
    /// None, and none are offered.
    None,
    /// One of these, which are offered.
    Forced(Vec<String>),
}

impl ToolChoice {
    /// Any of the tools. `field` of `fields` holds the `word` for this.
    pub(super) fn any(
        tools: &[ToolSpec],
        fields: &Fields<'_>,
        field: &'static str,
        word: &str,
    ) -> Result<Self, WireError> {
        match tools.is_empty() {
            true => Err(fields.error(field, format!("is '{word}', but no tools are offered"))),
            false => Ok(Self::Forced(tools.iter().map(|t| t.name.clone()).collect())),
        }
    }

    /// The tool that the field `name` names.
    pub(super) fn named(tools: &[ToolSpec], fields: &mut Fields<'_>) -> Result<Self, WireError> {
        let name = fields.text("name")?;
        match tools.iter().any(|tool| tool.name == name) {
            true => Ok(Self::Forced(vec![name])),
            false => {
                let problem = format!("'{name}' is not among the tools that are offered");
                Err(fields.error("name", problem))
            }
        }
    }
}
