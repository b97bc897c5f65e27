//! Thresholds over groups of tests: `ttft{slow}: p95 < 2s`.
//!
//! Knows which tests a group has and how often they run, so that a percentile of too few runs is
//! refused before anything runs.

use schemars::{Schema, SchemaGenerator};
use serde_json::Value;

use super::Test;
use super::layers::Layer;
use crate::threshold::{Metric, Threshold};
use crate::yaml::{Source, YamlError, remedy};

/// A threshold, and the tests that it is about.
#[derive(Debug, Clone, PartialEq)]
pub struct GroupThreshold {
    /// What is asked.
    pub threshold: Threshold,
    /// Of the tests with this tag; of all of them without one.
    pub tag: Option<String>,
    /// The file where it stands, if that is not the scenario's.
    pub file: Option<String>,
    /// The line of the file, counted from 1.
    pub line: usize,
    /// The column in that line, counted from 1.
    pub column: usize,
}

impl GroupThreshold {
    /// Whether a test with these tags, those of its file included, is in the group.
    #[must_use]
    pub fn is_about(&self, tags: &[String]) -> bool {
        self.tag.as_ref().is_none_or(|tag| tags.contains(tag))
    }
}

/// The thresholds of all files; a later file replaces one of the same name.
pub(super) fn lower(
    layers: &[Layer],
    tests: &[Test],
    tags: &[String],
) -> Result<Vec<GroupThreshold>, YamlError> {
    let mut found: Vec<GroupThreshold> = Vec::new();
    for (at, layer) in layers.iter().enumerate() {
        for (name, written) in &layer.file.thresholds {
            let later = layers.iter().skip(at + 1);
            if later
                .into_iter()
                .any(|other| other.file.thresholds.contains_key(name))
            {
                continue;
            }
            let source = layer.source();
            let place = &written.referenced;
            let (metric, tag) = split(&source, place, name)?;
            for expression in expressions(&written.value) {
                let expression = expression.ok_or_else(|| {
                    let message =
                        format!("the threshold '{name}' is no text, and no list of texts");
                    source
                        .error(place, message)
                        .with_help("write it as rate < 0.01")
                })?;
                let threshold = Threshold::parse(metric, expression)
                    .map_err(|error| source.error(place, error.message).with_help(error.help))?;
                let is_scenario = at + 1 == layers.len();
                let group = GroupThreshold {
                    threshold,
                    tag: tag.map(str::to_owned),
                    file: (!is_scenario).then(|| source.path.display().to_string()),
                    line: place.line() as usize,
                    column: place.column() as usize,
                };
                check(&group, tests, tags)
                    .map_err(|(message, help)| source.error(place, message).with_help(help))?;
                found.push(group);
            }
        }
    }
    Ok(found)
}

/// `ttft` or `ttft{tag}`.
fn split<'a>(
    source: &Source<'_>,
    place: &serde_saphyr::Location,
    name: &'a str,
) -> Result<(&'a str, Option<&'a str>), YamlError> {
    match name.split_once('{') {
        None => Ok((name, None)),
        Some((metric, rest)) => match rest.strip_suffix('}') {
            Some(tag) if !tag.is_empty() => Ok((metric, Some(tag))),
            _ => {
                let message = format!("'{name}' names no group");
                Err(source
                    .error(place, message)
                    .with_help("write it as ttft{tag}"))
            }
        },
    }
}

fn expressions(value: &Value) -> Vec<Option<&str>> {
    match value {
        Value::Array(items) if !items.is_empty() => items.iter().map(Value::as_str).collect(),
        other => vec![other.as_str()],
    }
}

/// Whether the group has enough runs.
fn check(group: &GroupThreshold, tests: &[Test], tags: &[String]) -> Result<(), (String, String)> {
    let of = |test: &&Test| group.is_about(tags) || group.is_about(&test.tags);
    let members: Vec<&Test> = tests.iter().filter(of).collect();
    if members.is_empty() {
        let tag = group.tag.as_deref().unwrap_or_default();
        let own = tests.iter().flat_map(|test| &test.tags);
        let known: Vec<&str> = tags.iter().chain(own).map(String::as_str).collect();
        return Err((format!("no test has the tag '{tag}'"), remedy(tag, &known)));
    }
    let runs: usize = members
        .iter()
        .map(|test| test.repeat.map_or(1, |repeat| repeat.runs))
        .sum();
    let needed = group.threshold.needed();
    if runs < needed {
        let message = format!(
            "'{}' of {runs} runs says nothing: it takes at least {needed}",
            group.threshold
        );
        return Err((
            message,
            "repeat the tests more often, or bound the max".to_owned(),
        ));
    }
    Ok(())
}

/// Of the keys, for editors.
pub(super) fn schema(_: &mut SchemaGenerator) -> Schema {
    let names: Vec<&str> = Metric::ALL.iter().map(|metric| metric.as_str()).collect();
    let pattern = format!(r"^({})(\{{[^{{}}]+\}})?$", names.join("|"));
    let one = serde_json::json!({"type": "string"});
    let several = serde_json::json!({"type": "array", "items": one, "minItems": 1});
    schemars::json_schema!({
        "type": "object",
        "patternProperties": {pattern: {"anyOf": [one, several]}},
        "additionalProperties": false,
        "default": {},
    })
}
