//! Lowers mock tools and reads the fixtures they return.

use std::path::{Component, Path};

use indexmap::IndexMap;
use serde_saphyr::{Location, Spanned};

use super::mock::{MockAnswer, MockRule, MockTool};
use super::tool_names::{check_arguments, check_schema};
use super::wire::{AnswerWire, MockWire, ToolWire};
use crate::generation::ToolSpec;
use crate::yaml::{Source, YamlError};

/// The folder of fixtures beside a scenario, if it names none.
const DEFAULT_FIXTURES: &str = "fixtures";
/// Most bytes of a fixture.
const MAX_FIXTURE_BYTES: u64 = 256 << 10;

/// Lowers all tools of a file, in its order: a prompt lists them as their author did.
pub(super) fn lower_tools(
    source: &Source<'_>,
    tools: &IndexMap<String, Spanned<ToolWire>>,
    fixtures: Option<&str>,
) -> Result<Vec<MockTool>, YamlError> {
    let beside = source.path.parent().unwrap_or(Path::new(""));
    let fixtures = beside.join(fixtures.unwrap_or(DEFAULT_FIXTURES));
    tools
        .iter()
        .map(|(name, tool)| lower_tool(source, name, tool, &fixtures))
        .collect()
}

fn lower_tool(
    source: &Source<'_>,
    name: &str,
    tool: &Spanned<ToolWire>,
    fixtures: &Path,
) -> Result<MockTool, YamlError> {
    let wire = &tool.value;
    let schema = &wire.input_schema;
    check_schema(source, &schema.referenced, name, &schema.value)?;
    if schema.value.get("type").and_then(|kind| kind.as_str()) != Some("object") {
        let message = format!("the input_schema of '{name}' does not describe an object");
        return Err(source
            .error(&schema.referenced, message)
            .with_help("write {type: object, properties: {…}}"));
    }
    for rule in &wire.mock {
        let when = rule.value.when.iter().flat_map(|when| when.keys());
        check_arguments(source, &rule.referenced, name, &schema.value, when)?;
    }
    let last = wire.mock.len().saturating_sub(1);
    let rules = wire
        .mock
        .iter()
        .enumerate()
        .map(|(index, rule)| lower_rule(source, rule, index == last, fixtures))
        .collect::<Result<_, _>>()?;
    Ok(MockTool {
        spec: ToolSpec {
            name: name.to_owned(),
            description: wire.description.clone(),
            parameters: schema.value.clone(),
        },
        rules,
    })
}

fn lower_rule(
    source: &Source<'_>,
    rule: &Spanned<MockWire>,
    is_last: bool,
    fixtures: &Path,
) -> Result<MockRule, YamlError> {
    let at = &rule.referenced;
    match (&rule.value.when, &rule.value.answer, &rule.value.otherwise) {
        (Some(when), Some(answer), None) => Ok(MockRule {
            when: Some(when.clone()),
            answer: lower_answer(source, at, answer, fixtures)?,
        }),
        (None, None, Some(answer)) if is_last => Ok(MockRule {
            when: None,
            answer: lower_answer(source, at, answer, fixtures)?,
        }),
        (None, None, Some(_)) => {
            let message = "'otherwise' answers every call, so the rules behind it are never used";
            Err(source.error(at, message).with_help("put it last"))
        }
        _ => Err(source
            .error(at, "a rule is 'when' with 'return', or 'otherwise' alone")
            .with_help("write {when: {…}, return: {text: …}} or {otherwise: {error: …}}")),
    }
}

fn lower_answer(
    source: &Source<'_>,
    at: &Location,
    answer: &AnswerWire,
    fixtures: &Path,
) -> Result<MockAnswer, YamlError> {
    match (&answer.text, &answer.file, &answer.error) {
        (Some(text), None, None) => Ok(MockAnswer::Text(text.clone())),
        (None, None, Some(problem)) => Ok(MockAnswer::Error(problem.clone())),
        (None, Some(file), None) => read_fixture(fixtures, file)
            .map(MockAnswer::Text)
            .map_err(|problem| source.error(at, format!("fixture '{file}': {problem}"))),
        _ => {
            let message = "an answer is exactly one of 'text', 'file' and 'error'";
            Err(source.error(at, message))
        }
    }
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
