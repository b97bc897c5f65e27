//! Whether a call has the arguments that its tool's JSON Schema allows.
//!
//! Knows schemas and values. A check is done while others wait for their tokens, so it may not take
//! long, whoever wrote the schema: what cannot be bounded beforehand is not checked, and so is what is
//! no schema. A call that is not checked is a call.

use std::collections::HashMap;

use jsonschema::{PatternOptions, Validator};
use serde_json::Value;

use super::calls::Tools;
use crate::generation::ToolCall;

/// Most nodes of a schema with all its references written out.
const MOST_NODES: usize = 8_192;
/// A pattern counts as this many: it has to be compiled.
const PATTERN_NODES: usize = 128;
/// Most bytes of a compiled pattern.
const MOST_PATTERN_BYTES: usize = 1 << 20;
/// Most nodes of a schema times nodes of the arguments: what a check may look at.
const MOST_LOOKS: usize = 4_000_000;

/// What the tools of a request take.
#[derive(Debug, Default)]
pub(super) struct Arguments {
    tools: Tools,
    /// By name; made when a tool is first called.
    schemas: HashMap<String, Option<Schema>>,
}

impl Arguments {
    pub(super) fn new(tools: Tools) -> Self {
        Self {
            tools,
            schemas: HashMap::new(),
        }
    }

    /// Whether the tool takes these arguments. One that is not offered has nothing to say.
    pub(super) fn allow(&mut self, call: &ToolCall) -> bool {
        let Some(tool) = self.tools.iter().find(|tool| tool.name == call.name) else {
            return true;
        };
        if !self.schemas.contains_key(&call.name) {
            let schema = Schema::of(&tool.parameters);
            self.schemas.insert(call.name.clone(), schema);
        }
        match self.schemas.get(&call.name) {
            Some(Some(schema)) => schema.allows(&Value::Object(call.arguments.clone())),
            _ => true,
        }
    }
}

#[derive(Debug)]
struct Schema {
    validator: Validator,
    nodes: usize,
}

impl Schema {
    /// `None` if it cannot be checked.
    fn of(schema: &Value) -> Option<Self> {
        let mut references = References {
            root: schema,
            nodes: HashMap::new(),
        };
        let nodes = references.count(schema)?;
        let patterns = PatternOptions::regex().size_limit(MOST_PATTERN_BYTES);
        let validator = jsonschema::options()
            .offline()
            .should_validate_formats(false)
            .with_pattern_options(patterns)
            .build(schema)
            .ok()?;
        Some(Self { validator, nodes })
    }

    fn allows(&self, arguments: &Value) -> bool {
        let looks = self.nodes.saturating_mul(values(arguments));
        looks > MOST_LOOKS || self.validator.is_valid(arguments)
    }
}

/// A schema, and the size of what its references stand for.
struct References<'a> {
    root: &'a Value,
    /// `None` while it is being counted: a reference to something around it.
    nodes: HashMap<&'a str, Option<usize>>,
}

impl<'a> References<'a> {
    /// Nodes of a part of the schema, or `None` if there are too many or nobody knows.
    fn count(&mut self, part: &'a Value) -> Option<usize> {
        let mut nodes = 1_usize;
        match part {
            Value::Array(items) => {
                for item in items {
                    nodes += self.count(item)?;
                }
            }
            Value::Object(fields) => {
                for (key, value) in fields {
                    nodes += self.count(value)?;
                    nodes += match (key.as_str(), value) {
                        ("$ref", Value::String(place)) => self.reference(place)?,
                        ("pattern", _) => PATTERN_NODES,
                        ("patternProperties", Value::Object(patterns)) => {
                            patterns.len() * PATTERN_NODES
                        }
                        // They look at the same value again and again, or move what references
                        // mean. That a property has such a name is rare.
                        (
                            "$id"
                            | "$anchor"
                            | "$dynamicRef"
                            | "$recursiveRef"
                            | "unevaluatedProperties"
                            | "unevaluatedItems",
                            _,
                        ) => return None,
                        ("$schema", Value::String(draft)) if draft.contains("draft-04") => {
                            return None;
                        }
                        _ => 0,
                    };
                }
            }
            Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
        }
        (nodes <= MOST_NODES).then_some(nodes)
    }

    fn reference(&mut self, place: &'a str) -> Option<usize> {
        if let Some(known) = self.nodes.get(place) {
            return *known;
        }
        self.nodes.insert(place, None);
        let part = self.root.pointer(place.strip_prefix('#')?)?;
        let nodes = self.count(part)?;
        self.nodes.insert(place, Some(nodes));
        Some(nodes)
    }
}

/// Values within a value, itself among them.
fn values(value: &Value) -> usize {
    let within: usize = match value {
        Value::Array(items) => items.iter().map(values).sum(),
        Value::Object(fields) => fields.values().map(values).sum(),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => 0,
    };
    within + 1
}

#[cfg(test)]
mod tests {
    use rstest::rstest;
    use serde_json::json;

    use super::*;
    use crate::generation::ToolSpec;

    fn allow(schema: Value, arguments: Value) -> bool {
        let tool = ToolSpec {
            name: "f".to_owned(),
            description: String::new(),
            parameters: schema,
        };
        let Value::Object(arguments) = arguments else {
            panic!("no object")
        };
        Arguments::new([tool].into()).allow(&ToolCall {
            id: None,
            name: "f".to_owned(),
            arguments,
        })
    }

    #[rstest]
    #[case::required(json!({"type": "object", "required": ["n"]}), json!({"n": 1}), json!({}))]
    #[case::kind(json!({"properties": {"n": {"type": "integer"}}}), json!({"n": 3.0}), json!({"n": "3"}))]
    #[case::no_more(
        json!({"properties": {"n": {}}, "additionalProperties": false}),
        json!({"n": 1}),
        json!({"m": 1})
    )]
    #[case::choice(json!({"properties": {"n": {"enum": ["a"]}}}), json!({"n": "a"}), json!({"n": "b"}))]
    #[case::pattern(
        json!({"properties": {"n": {"pattern": "^[a-z]+$"}}}),
        json!({"n": "ab"}),
        json!({"n": "A"})
    )]
    #[case::reference(
        json!({"$schema": "http://json-schema.org/draft-07/schema#",
            "properties": {"n": {"$ref": "#/definitions/x"}, "m": {"$ref": "#/definitions/x"}},
            "definitions": {"x": {"type": "string"}}}),
        json!({"n": "a", "m": "b"}),
        json!({"n": "a", "m": 1})
    )]
    #[case::all_the_same(
        json!({"properties": {"n": {"uniqueItems": true}}}),
        json!({"n": [1, 2]}),
        json!({"n": [1, 1]})
    )]
    fn a_schema_says_which(#[case] schema: Value, #[case] good: Value, #[case] bad: Value) {
        assert!(allow(schema.clone(), good));
        assert!(!allow(schema, bad));
    }

    /// A schema in which each level asks twice for the next one.
    fn doubling(levels: usize) -> Value {
        let level = |at: usize| {
            let next = json!({"$ref": format!("#/$defs/{}", at + 1)});
            (at.to_string(), json!({"anyOf": [next, next]}))
        };
        let mut levels: serde_json::Map<_, _> = (0..levels).map(level).collect();
        let last = levels.len().to_string();
        levels.insert(last, json!({"type": "string"}));
        json!({"$ref": "#/$defs/0", "$defs": levels})
    }

    #[rstest]
    #[case::no_schema(json!({"type": 5}))]
    #[case::recursive(json!({"properties": {"n": {"$ref": "#"}}, "required": ["m"]}))]
    #[case::elsewhere(json!({"$ref": "http://127.0.0.1:1/schema.json"}))]
    #[case::nowhere(json!({"$ref": "#/$defs/x"}))]
    #[case::renamed(json!({"$id": "http://x/", "required": ["m"]}))]
    #[case::doubling(doubling(40))]
    #[case::large(json!({"enum": vec![0; 10_000]}))]
    #[case::patterns(json!({"patternProperties":
        (0..200).map(|n| (format!("{n}.*"), json!(false))).collect::<serde_json::Map<_, _>>()}))]
    #[case::a_pattern_that_grows(
        json!({"properties": {"n": {"pattern": "((\\w{100}){100}){100}"}}, "required": ["m"]})
    )]
    fn what_cannot_be_bounded_is_not_checked(#[case] schema: Value) {
        assert!(Schema::of(&schema).is_none());
        assert!(allow(schema, json!({"n": "x"})));
    }

    #[test]
    fn a_few_levels_are_checked() {
        assert!(!allow(doubling(5), json!({})));
    }

    #[test]
    fn many_branches_of_many_values_are_not_checked() {
        let branch = json!({"items": {"type": "string"}});
        let schema = json!({"properties": {"n": {"anyOf": vec![branch; 1_000]}}});
        assert!(allow(schema, json!({"n": vec![1; 40_000]})));
    }
}
