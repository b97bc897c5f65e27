//! An assertion as YAML writes it: `not-loop`, `contains: tokio`, or
//! `{type: contains, value: tokio}`.

use std::borrow::Cow;
use std::fmt;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::de::{Error, MapAccess, Visitor};
use serde::{Deserialize, Deserializer};
use serde_json::Value;
use serde_saphyr::Spanned;

use crate::assertion::AssertionSpec;

/// The keys of the full form.
const KEYS: &[&str] = &[
    "type",
    "value",
    "args",
    "state",
    "kind",
    "scope",
    "match",
    "tokens",
    "tie_margin",
    "threshold",
    "weight",
    "assert",
];

/// An assertion in any of its three spellings; its line is not known yet.
#[derive(Debug)]
pub(super) struct AssertionWire(pub(super) AssertionSpec);

impl<'de> Deserialize<'de> for AssertionWire {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(Spellings)
    }
}

struct Spellings;

impl<'de> Visitor<'de> for Spellings {
    type Value = AssertionWire;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an assertion: 'not-loop', 'contains: text', or '{type: …, value: …}'")
    }

    fn visit_str<E: Error>(self, kind: &str) -> Result<AssertionWire, E> {
        Ok(AssertionWire(AssertionSpec {
            kind: kind.to_owned(),
            ..AssertionSpec::default()
        }))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<AssertionWire, A::Error> {
        let mut spec = AssertionSpec::default();
        let mut short = false;
        while let Some(key) = map.next_key::<String>()? {
            match key.as_str() {
                "type" if !short => spec.kind = map.next_value()?,
                "value" if !short => spec.value = Some(map.next_value()?),
                "args" if !short => spec.args = Some(map.next_value()?),
                "state" if !short => spec.state = Some(map.next_value()?),
                "kind" if !short => spec.loop_kinds = Some(map.next_value()?),
                "scope" if !short => spec.scope = Some(map.next_value()?),
                "match" if !short => spec.matching = Some(map.next_value()?),
                "tokens" if !short => spec.tokens = Some(map.next_value()?),
                "tie_margin" if !short => spec.tie_margin = Some(map.next_value()?),
                "threshold" if !short => spec.threshold = Some(map.next_value()?),
                "weight" if !short => spec.weight = Some(map.next_value()?),
                "assert" if !short => spec.assertions = Some(members(map.next_value()?)),
                // The short form is a single key: the type. Anything more is the full form, in
                // which this key does not exist.
                _ if spec == AssertionSpec::default() => {
                    short = true;
                    spec.kind = key;
                    spec.value = Some(map.next_value::<Value>()?);
                }
                // Two keys make the full form, so it is the first that does not exist.
                key if short && KEYS.contains(&key) => {
                    return Err(A::Error::unknown_field(&spec.kind, KEYS));
                }
                _ => return Err(A::Error::unknown_field(&key, KEYS)),
            }
        }
        if spec.kind.is_empty() {
            return Err(A::Error::missing_field("type"));
        }
        Ok(AssertionWire(spec))
    }
}

/// The assertions of a set, each with its place.
fn members(written: Vec<Spanned<AssertionWire>>) -> Vec<AssertionSpec> {
    let placed = written.into_iter().map(|one| AssertionSpec {
        line: one.referenced.line() as usize,
        column: one.referenced.column() as usize,
        ..one.value.0
    });
    placed.collect()
}

impl JsonSchema for AssertionWire {
    fn schema_name() -> Cow<'static, str> {
        "Assertion".into()
    }

    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        let members = generator.subschema_for::<Self>();
        let negated = AssertionSpec::negatable();
        let negated = negated.iter().map(|kind| format!("not-{kind}"));
        let all = AssertionSpec::kinds();
        let plain = all.iter().map(ToString::to_string);
        let kinds: Vec<String> = plain.chain(negated).collect();
        let short: serde_json::Map<String, Value> = kinds
            .iter()
            .map(|kind| (kind.clone(), Value::Object(serde_json::Map::new())))
            .collect();
        let loops = AssertionSpec::loop_kind_names();
        let channels = AssertionSpec::scope_names();
        json_schema!({
            "description": "A type, a type with its value, or the full form.",
            "oneOf": [
                {"type": "string", "enum": kinds, "description": "A type that needs no value."},
                {
                    "type": "object", "properties": short, "additionalProperties": false,
                    "minProperties": 1, "maxProperties": 1,
                    "description": "A type and its value.",
                },
                {
                    "type": "object", "required": ["type"], "additionalProperties": false,
                    "description": "The full form.",
                    "properties": {
                        "type": {"type": "string", "enum": kinds, "description": "What is checked."},
                        "value": {"description": "Text, a number, a list, a JSON Schema, or a duration such as 200ms."},
                        "args": {"type": "object", "description": "tool-called: arguments that the call must have."},
                        "state": {"type": "string", "enum": ["confirmed", "suspected"], "description": "loop: the weakest state that counts."},
                        "threshold": {"type": "number", "minimum": 0, "description": "How much is asked for: a share, a distance, milliseconds."},
                        "weight": {"type": "number", "exclusiveMinimum": 0, "description": "Within an assert-set: how much it counts."},
                        "assert": {"type": "array", "items": members, "minItems": 1, "description": "assert-set: its assertions."},
                        "kind": {"description": "loop: the kinds that count, one or a list.", "oneOf": [
                            {"enum": loops},
                            {"type": "array", "items": {"enum": loops}, "minItems": 1},
                        ]},
                        "scope": {"description": "loop: the channels of the answer in which loops count, one or a list.", "oneOf": [
                            {"enum": channels},
                            {"type": "array", "items": {"enum": channels}, "minItems": 1},
                        ]},
                        "match": {"type": "string", "enum": ["tokens", "prefix", "text", "normalised"], "description": "snapshot: what is compared."},
                        "tokens": {"type": "integer", "minimum": 1, "description": "snapshot with match: prefix: how many tokens."},
                        "tie_margin": {"type": "number", "exclusiveMinimum": 0, "maximum": 1, "description": "snapshot: a first different token that won by less, in logits, is no difference."},
                    },
                },
            ],
        })
    }
}
