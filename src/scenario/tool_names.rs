//! Names that a scenario gives and uses elsewhere: keywords of JSON Schema, arguments, tools.
//!
//! A wrong one would be no error to anybody: a rule that never matches, an assertion that holds
//! because what it forbids has another name. So they are checked where they are written.

use serde_json::Value;
use serde_saphyr::Location;

use super::mock::MockTool;
use crate::assertion::{Rule, ToolRule};
use crate::yaml::{Source, YamlError, remedy};

/// The keywords of JSON Schema, drafts 7 to 2020-12. Others begin with `x-`.
const KEYWORDS: [&str; 51] = [
    "$anchor",
    "$comment",
    "$defs",
    "$id",
    "$ref",
    "$schema",
    "additionalItems",
    "additionalProperties",
    "allOf",
    "anyOf",
    "const",
    "contains",
    "contentEncoding",
    "contentMediaType",
    "default",
    "definitions",
    "dependencies",
    "dependentRequired",
    "dependentSchemas",
    "deprecated",
    "description",
    "else",
    "enum",
    "examples",
    "exclusiveMaximum",
    "exclusiveMinimum",
    "format",
    "if",
    "items",
    "maxContains",
    "maxItems",
    "maxLength",
    "maxProperties",
    "maximum",
    "minContains",
    "minItems",
    "minLength",
    "minProperties",
    "minimum",
    "multipleOf",
    "not",
    "oneOf",
    "pattern",
    "patternProperties",
    "prefixItems",
    "properties",
    "propertyNames",
    "readOnly",
    "required",
    "title",
    "type",
];
/// Keywords whose values are schemas by names that the author chooses.
const NAMED: [&str; 5] = [
    "properties",
    "patternProperties",
    "definitions",
    "$defs",
    "dependentSchemas",
];
/// Keywords whose values are data.
const DATA: [&str; 5] = ["const", "default", "enum", "examples", "required"];

/// Refuses a schema with a keyword that does not exist, or that requires an unknown argument.
pub(super) fn check_schema(
    source: &Source<'_>,
    at: &Location,
    tool: &str,
    schema: &Value,
) -> Result<(), YamlError> {
    if let Some(word) = unknown_keyword(schema) {
        let message = format!("the input_schema of '{tool}' has an unknown keyword '{word}'");
        return Err(source
            .error_at_key(at, word, message)
            .with_help(remedy(word, &KEYWORDS)));
    }
    let required = schema.get("required").and_then(Value::as_array);
    let names = required.into_iter().flatten().filter_map(Value::as_str);
    check_arguments(source, at, tool, schema, names)
}

fn unknown_keyword(schema: &Value) -> Option<&str> {
    match schema {
        Value::Object(object) => object.iter().find_map(|(key, value)| {
            if !KEYWORDS.contains(&key.as_str()) && !key.starts_with("x-") {
                Some(key.as_str())
            } else if NAMED.contains(&key.as_str()) {
                let named = value
                    .as_object()
                    .into_iter()
                    .flat_map(|named| named.values());
                named.into_iter().find_map(unknown_keyword)
            } else if DATA.contains(&key.as_str()) || key.starts_with("x-") {
                None
            } else {
                unknown_keyword(value)
            }
        }),
        Value::Array(items) => items.iter().find_map(unknown_keyword),
        _ => None,
    }
}

/// Refuses an argument that the tool's schema does not have.
pub(super) fn check_arguments(
    source: &Source<'_>,
    at: &Location,
    tool: &str,
    schema: &Value,
    mut names: impl Iterator<Item = impl AsRef<str>>,
) -> Result<(), YamlError> {
    let Some(known) = schema.get("properties").and_then(Value::as_object) else {
        return Ok(());
    };
    let Some(name) = names.find(|name| !known.contains_key(name.as_ref())) else {
        return Ok(());
    };
    let name = name.as_ref();
    let known: Vec<&str> = known.keys().map(String::as_str).collect();
    let message = format!("the tool '{tool}' has no argument '{name}'");
    Err(source
        .error_at_key(at, name, message)
        .with_help(remedy(name, &known)))
}

/// Refuses an assertion on a tool, or an argument, that the scenario does not have. Where it has
/// no tools at all there is nothing to compare with.
pub(super) fn check_call(
    source: &Source<'_>,
    at: &Location,
    tools: &[MockTool],
    rule: &Rule,
) -> Result<(), YamlError> {
    let none = serde_json::Map::new();
    let (names, args) = match rule {
        Rule::ToolCalled { name, args } => (vec![name.as_str()], args),
        Rule::Tools(rule @ ToolRule::Args { args, .. }) => (rule.names(), args),
        Rule::Tools(rule) => (rule.names(), &none),
        _ => return Ok(()),
    };
    if tools.is_empty() {
        return Ok(());
    }
    for name in names {
        check_name(source, at, tools, name, args)?;
    }
    Ok(())
}

fn check_name(
    source: &Source<'_>,
    at: &Location,
    tools: &[MockTool],
    name: &str,
    args: &serde_json::Map<String, Value>,
) -> Result<(), YamlError> {
    let Some(tool) = tools.iter().find(|tool| tool.spec.name == name) else {
        let known: Vec<&str> = tools.iter().map(|tool| tool.spec.name.as_str()).collect();
        let message = format!("the scenario has no tool '{name}'");
        return Err(source
            .error_at_key(at, name, message)
            .with_help(remedy(name, &known)));
    };
    check_arguments(source, at, name, &tool.spec.parameters, args.keys())
}
