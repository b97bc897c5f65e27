//! Lowers mock tools for a case: puts its variables in and reads the fixtures they return.

use std::path::{Component, Path, PathBuf};
use std::time::Duration;

use serde_json::{Map, Value};
use serde_saphyr::{Location, Spanned};

use super::layers::Layer;
use super::mock::{MockAnswer, MockRule, MockTool, validator};
use super::template::{self, TemplateError};
use super::tool_names::{check_arguments, check_schema};
use super::variables::{self, Bound};
use super::wire::{AnswerWire, MockWire, ToolWire};
use crate::generation::ToolSpec;
use crate::yaml::{Source, YamlError, duration};

/// The folder of fixtures beside a scenario, if it names none.
const DEFAULT_FIXTURES: &str = "fixtures";
/// Most bytes of a fixture.
const MAX_FIXTURE_BYTES: u64 = 256 << 10;

/// A tool as a file has it.
#[derive(Clone)]
pub(super) struct WrittenTool<'a> {
    source: Source<'a>,
    name: &'a str,
    wire: &'a Spanned<ToolWire>,
    fixtures: PathBuf,
}

/// The tools of all files, in their order: a prompt lists them as their author did. One of the same
/// name takes the place of an earlier one.
pub(super) fn written(layers: &[Layer]) -> Vec<WrittenTool<'_>> {
    let mut tools: Vec<WrittenTool<'_>> = Vec::new();
    for layer in layers {
        let source = layer.source();
        let beside = source.path.parent().unwrap_or(Path::new(""));
        let fixtures = layer.file.fixtures.as_deref().unwrap_or(DEFAULT_FIXTURES);
        for (name, wire) in &layer.file.tools {
            let tool = WrittenTool {
                source,
                name,
                wire,
                fixtures: beside.join(fixtures),
            };
            match tools.iter_mut().find(|other| other.name == name) {
                Some(other) => *other = tool,
                None => tools.push(tool),
            }
        }
    }
    tools
}

/// The tools of one case.
pub(super) fn lower(
    tools: &[WrittenTool<'_>],
    bound: &Bound<'_>,
) -> Result<Vec<MockTool>, YamlError> {
    tools.iter().map(|tool| tool.lower(bound)).collect()
}

/// Adds the names of variables in every rule of the tools.
pub(super) fn names(tools: &[WrittenTool<'_>], found: &mut Vec<String>) {
    let rules = tools.iter().flat_map(|tool| &tool.wire.value.mock);
    for MockWire {
        when,
        answer,
        otherwise,
    } in rules.map(|rule| &rule.value)
    {
        let values = when.iter().flat_map(|when| when.values());
        values.for_each(|value| template::names_in(value, found));
        for answer in answer.iter().chain(otherwise) {
            let texts = [&answer.text, &answer.file, &answer.error];
            let texts = texts.into_iter().flatten();
            texts.for_each(|text| template::names(text, found));
        }
    }
}

impl WrittenTool<'_> {
    fn lower(&self, bound: &Bound<'_>) -> Result<MockTool, YamlError> {
        let (source, name, wire) = (&self.source, self.name, &self.wire.value);
        let schema = &wire.input_schema;
        check_schema(source, &schema.referenced, name, &schema.value)?;
        if schema.value.get("type").and_then(|kind| kind.as_str()) != Some("object") {
            let message = format!("the input_schema of '{name}' does not describe an object");
            return Err(source
                .error(&schema.referenced, message)
                .with_help("write {type: object, properties: {…}}"));
        }
        if let Err(problem) = validator(&schema.value) {
            return Err(source.error(&schema.referenced, format!("tool '{name}': {problem}")));
        }
        for rule in &wire.mock {
            let when = rule.value.when.iter().flat_map(|when| when.keys());
            check_arguments(source, &rule.referenced, name, &schema.value, when)?;
        }
        let last = wire.mock.len().saturating_sub(1);
        let rules = wire.mock.iter().enumerate();
        let rules = rules.map(|(index, rule)| self.rule(rule, index == last, bound));
        Ok(MockTool {
            spec: ToolSpec {
                name: name.to_owned(),
                description: wire.description.clone(),
                parameters: schema.value.clone(),
            },
            rules: rules.collect::<Result<_, _>>()?,
        })
    }

    fn rule(
        &self,
        rule: &Spanned<MockWire>,
        is_last: bool,
        bound: &Bound<'_>,
    ) -> Result<MockRule, YamlError> {
        let (source, at) = (&self.source, &rule.referenced);
        let MockWire {
            when,
            answer,
            otherwise,
        } = &rule.value;
        let (when, answer) = match (when, answer, otherwise) {
            (Some(when), Some(answer), None) => (Some(when), answer),
            (None, None, Some(answer)) if is_last => (None, answer),
            (None, None, Some(_)) => {
                let message =
                    "'otherwise' answers every call, so the rules behind it are never used";
                return Err(source.error(at, message).with_help("put it last"));
            }
            _ => {
                let help = "write {when: {…}, return: {text: …}} or {otherwise: {error: …}}";
                let message = "a rule is 'when' with 'return', or 'otherwise' alone";
                return Err(source.error(at, message).with_help(help));
            }
        };
        let misnamed = |error: TemplateError| variables::at(source, at, &error);
        let filled = |when: &Map<String, Value>| {
            let pairs = when.iter();
            let pairs = pairs.map(|(name, value)| Ok((name.clone(), bound.value(value)?)));
            pairs.collect::<Result<Map<_, _>, _>>().map_err(misnamed)
        };
        Ok(MockRule {
            when: when.map(filled).transpose()?,
            answer: self.answer(at, answer, bound)?,
            delay: delay(source, at, answer.delay.as_deref())?,
        })
    }

    fn answer(
        &self,
        at: &Location,
        answer: &AnswerWire,
        bound: &Bound<'_>,
    ) -> Result<MockAnswer, YamlError> {
        let source = &self.source;
        let fill = |text: &str| {
            let filled = bound.text(text);
            filled.map_err(|error| variables::at(source, at, &error))
        };
        match (&answer.text, &answer.file, &answer.error) {
            (Some(text), None, None) => Ok(MockAnswer::Text(fill(text)?)),
            (None, None, Some(problem)) => Ok(MockAnswer::Error(fill(problem)?)),
            (None, Some(file), None) => {
                let file = fill(file)?;
                read_fixture(&self.fixtures, &file)
                    .map(MockAnswer::Text)
                    .map_err(|problem| source.error(at, format!("fixture '{file}': {problem}")))
            }
            _ => {
                let message = "an answer is exactly one of 'text', 'file' and 'error'";
                Err(source.error(at, message))
            }
        }
    }
}

fn delay(source: &Source<'_>, at: &Location, text: Option<&str>) -> Result<Duration, YamlError> {
    let Some(text) = text else {
        return Ok(Duration::ZERO);
    };
    duration(text).ok_or_else(|| {
        let message = format!("delay '{text}' is no duration");
        source
            .error_at_text(at, text, &message)
            .with_help("write it as 200ms or 3s")
    })
}

/// A scenario may come from someone else: its fixtures stay inside their folder.
fn read_fixture(fixtures: &Path, file: &str) -> Result<String, String> {
    let inside = Path::new(file)
        .components()
        .all(|part| matches!(part, Component::Normal(_)));
    if !inside {
        return Err(format!("the path must stay inside {}", fixtures.display()));
    }
    let path = fixtures.join(file);
    let cannot = |error: std::io::Error| format!("cannot read {}: {error}", path.display());
    let size = std::fs::metadata(&path).map_err(cannot)?.len();
    if size > MAX_FIXTURE_BYTES {
        return Err(format!(
            "{size} bytes; a fixture has at most {MAX_FIXTURE_BYTES}"
        ));
    }
    std::fs::read_to_string(&path).map_err(cannot)
}
