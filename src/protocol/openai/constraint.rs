//! What a request says about the form of its answer: `tool_choice` and `response_format`.

use serde_json::Value;

use crate::generation::{Constraint, ToolSpec};
use crate::protocol::fields::{Fields, Unknown, WireError, kind};
use crate::protocol::tool_choice::ToolChoice;

/// Reads `tool_choice`, given the tools that are offered.
pub(super) fn tool_choice(
    fields: &mut Fields<'_>,
    tools: &[ToolSpec],
    unknown: &mut Unknown,
) -> Result<ToolChoice, WireError> {
    const FIELD: &str = "tool_choice";
    match fields.optional(FIELD) {
        None => Ok(ToolChoice::Auto),
        Some(Value::String(choice)) => match choice.as_str() {
            "auto" => Ok(ToolChoice::Auto),
            "none" => Ok(ToolChoice::None),
            "required" => ToolChoice::any(tools, fields, FIELD, choice),
            other => {
                let problem =
                    format!("'{other}' is not known; known are auto, none, required or a tool");
                Err(fields.error(FIELD, problem))
            }
        },
        Some(named @ Value::Object(_)) => {
            let mut named = Fields::of(named, fields.place(FIELD))?;
            match named.text("type")?.as_str() {
                "function" => {}
                other => {
                    let problem = format!("'{other}' is not known; known is function");
                    return Err(named.error("type", problem));
                }
            }
            let place = named.place("function");
            let mut function = Fields::of(named.required("function")?, place)?;
            let choice = ToolChoice::named(tools, &mut function)?;
            function.finish(unknown)?;
            named.finish(unknown)?;
            Ok(choice)
        }
        Some(other) => {
            let problem = format!("expected text or an object, found {}", kind(other));
            Err(fields.error(FIELD, problem))
        }
    }
}

/// Reads `response_format`.
pub(super) fn response_format(
    fields: &mut Fields<'_>,
    unknown: &mut Unknown,
) -> Result<Option<Constraint>, WireError> {
    const FIELD: &str = "response_format";
    let Some(format) = fields.optional(FIELD) else {
        return Ok(None);
    };
    let mut format = Fields::of(format, fields.place(FIELD))?;
    let constraint = match format.text("type")?.as_str() {
        "text" => None,
        "json_object" => Some(Constraint::json_object()),
        "json_schema" => {
            let place = format.place("json_schema");
            let mut named = Fields::of(format.required("json_schema")?, place)?;
            let schema = match named.required("schema")? {
                schema @ Value::Object(_) => schema.clone(),
                other => {
                    let problem = format!("expected a JSON Schema, found {}", kind(other));
                    return Err(named.error("schema", problem));
                }
            };
            // Answers are always held to the schema, as if it were strict.
            named.without_effect(&["name", "description", "strict"]);
            named.finish(unknown)?;
            Some(Constraint::Json { schema })
        }
        other => {
            let problem =
                format!("'{other}' is not known; known are text, json_object, json_schema");
            return Err(format.error("type", problem));
        }
    };
    format.finish(unknown)?;
    Ok(constraint)
}
