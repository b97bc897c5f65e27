//! One test of promptfoo, with one prompt, as one of ours.

use serde_json::{Map, Value, json};

use super::Lost;
use super::assertions::{self, Carried};
use super::node::{Kind, Node, line};
use super::texts::{id_of, names};

/// What is said: a text, or a list of messages.
#[derive(Debug, Clone)]
pub(super) struct PromptText {
    pub(super) value: Value,
    pub(super) line: usize,
    /// What tells it from other prompts.
    pub(super) label: String,
}

/// Variables as they stand in `vars`.
#[derive(Debug, Clone, Default)]
pub(super) struct Variables {
    pub(super) fixed: Map<String, Value>,
    pub(super) lists: Map<String, Value>,
}

/// A test in the form of a scenario.
#[derive(Debug, Clone)]
pub(super) struct Case {
    pub(super) id: String,
    pub(super) said: Value,
    pub(super) variables: Variables,
    pub(super) repeat: Option<u64>,
    /// Those of its own, or all of them if a threshold holds for all together.
    pub(super) assertions: Vec<Map<String, Value>>,
    /// Every variable that it names.
    pub(super) names: Vec<String>,
}

/// What holds for every test of the file.
#[derive(Debug, Default)]
pub(super) struct Defaults {
    pub(super) variables: Variables,
    pub(super) assertions: Vec<Carried>,
    /// Whether one of its assertions could not be carried over.
    pub(super) incomplete: bool,
    /// Whether each test gets the assertions, because some of them do not want them as they are.
    pub(super) spread: bool,
    pub(super) threshold: Option<f64>,
    pub(super) repeat: Option<u64>,
}

/// Keys of a test that are read, or change nothing in whether it passes.
const KNOWN: [&str; 6] = [
    "description",
    "vars",
    "assert",
    "options",
    "threshold",
    "metadata",
];
/// The same of its options.
const KNOWN_OPTIONS: [&str; 2] = ["disableDefaultAsserts", "repeat"];

/// The key of a test that changes what is asked or how it is judged, if there is one.
pub(super) fn stranger(test: &Kind) -> Option<(usize, String)> {
    let of_test = test.entries().iter();
    let mut of_test = of_test.filter(|(key, _)| !KNOWN.contains(&key.value.as_str()));
    if let Some((key, _)) = of_test.next() {
        return Some((line(key), key.value.clone()));
    }
    let options = test
        .get("options")
        .map_or(&[][..], |options| options.value.entries());
    let mut options = options
        .iter()
        .filter(|(key, _)| !KNOWN_OPTIONS.contains(&key.value.as_str()));
    options
        .next()
        .map(|(key, _)| (line(key), format!("options.{}", key.value)))
}

/// Whether a test has a switch set in its options.
pub(super) fn disables_defaults(test: &Kind) -> bool {
    let option = test
        .get("options")
        .and_then(|all| all.value.get("disableDefaultAsserts"));
    option.is_some_and(|option| matches!(option.value, Kind::Bool(true)))
}

pub(super) fn repeat_of(test: &Kind) -> Option<u64> {
    let option = test
        .get("options")
        .and_then(|all| all.value.get("repeat"))?;
    option.value.plain().as_u64()
}

pub(super) fn threshold_of(test: &Kind) -> Option<f64> {
    test.get("threshold")
        .and_then(|one| one.value.plain().as_f64())
}

/// The variables of a test or of all.
///
/// # Errors
/// The one that means something else there than here.
pub(super) fn variables(test: &Kind) -> Result<Variables, Lost> {
    let mut found = Variables::default();
    let Some(written) = test.get("vars") else {
        return Ok(found);
    };
    if !matches!(written.value, Kind::Map(_)) {
        let what = "its variables stand in another file; write them into the test".to_owned();
        return Err(Lost {
            line: line(written),
            what,
        });
    }
    for (name, node) in written.value.entries() {
        let lost = |why: &str| Lost {
            line: line(name),
            what: format!("variable '{}': {why}", name.value),
        };
        let value = node.value.plain();
        let items = match &value {
            Value::Array(items) => items.iter().collect(),
            other => vec![other],
        };
        for item in items {
            match item {
                Value::String(text) if text.starts_with("file://") => {
                    return Err(lost("its value is a file; write the value itself"));
                }
                Value::String(text) if text.contains("{{") || text.contains("{%") => {
                    return Err(lost("a template in a value is put in here as it is"));
                }
                Value::Object(_) | Value::Array(_) | Value::Null => {
                    return Err(lost(
                        "only texts, numbers and truth values, and lists of them",
                    ));
                }
                _ => {}
            }
        }
        match value {
            Value::Array(items) if items.is_empty() => {
                return Err(lost("an empty list"));
            }
            Value::Array(items) => found.lists.insert(name.value.clone(), Value::Array(items)),
            value => found.fixed.insert(name.value.clone(), value),
        };
    }
    Ok(found)
}

/// Carries the assertions of a test over; those that cannot be are listed.
pub(super) fn own_assertions(test: &Kind, lost: &mut Vec<Lost>) -> (Vec<Carried>, bool) {
    let mut carried = Vec::new();
    let before = lost.len();
    for node in test.get("assert").map(Kind::items).unwrap_or_default() {
        match assertions::carry(node) {
            Ok(one) => carried.push(one),
            Err(one) => lost.push(one),
        }
    }
    (carried, lost.len() > before)
}

/// A test with a prompt. Nothing if it cannot be carried over, which is listed.
pub(super) fn case(
    test: &Node,
    number: usize,
    prompt: &PromptText,
    defaults: &Defaults,
    lost: &mut Vec<Lost>,
) -> Option<Case> {
    let kind = &test.value;
    let mut lose = |line: usize, what: String| {
        lost.push(Lost { line, what });
        None
    };
    if let Some((line, key)) = stranger(kind) {
        return lose(
            line,
            format!("test {number} is left out: there is no '{key}' here"),
        );
    }
    let own = match variables(kind) {
        Ok(variables) => variables,
        Err(one) => return lose(one.line, format!("test {number} is left out: {}", one.what)),
    };
    let mut found = Vec::new();
    if let Err(piece) = names(&prompt.value, &mut found) {
        let what = format!("'{piece}' of a prompt is more than the name of a variable");
        return lose(prompt.line, format!("test {number} is left out: {what}"));
    }
    let (carried, incomplete) = own_assertions(kind, lost);
    let mut lose = |what: &str| {
        let what = format!("test {number} is left out: {what}");
        lost.push(Lost {
            line: line(test),
            what,
        });
        None
    };
    let with_defaults = !disables_defaults(kind);
    let shared: &[Carried] = if with_defaults {
        &defaults.assertions
    } else {
        &[]
    };
    let all: Vec<&Carried> = shared.iter().chain(&carried).collect();
    if all.is_empty() {
        return lose("no assertion is left");
    }
    let threshold = threshold_of(kind).or(defaults.threshold);
    let assertions = match threshold {
        Some(_) if incomplete || (with_defaults && defaults.incomplete) => {
            return lose("its threshold counts an assertion that is not carried over");
        }
        Some(0.0) => return lose("with a threshold of 0 it cannot fail"),
        Some(threshold) => {
            let members = all.iter().map(|one| Value::Object(one.weighted()));
            let members: Vec<Value> = members.collect();
            let set = json!({"type": "assert-set", "threshold": threshold, "assert": members});
            set.as_object().cloned().into_iter().collect()
        }
        None if defaults.spread => all.iter().map(|one| one.spec.clone()).collect(),
        None => carried.iter().map(|one| one.spec.clone()).collect(),
    };
    found.extend(all.iter().flat_map(|one| one.names.iter().cloned()));
    let mut variables = own;
    // A list that nothing names makes no cases here, and several of the same there.
    variables.lists.retain(|name, _| found.contains(name));
    Some(Case {
        id: id(kind, number, prompt),
        said: prompt.value.clone(),
        variables,
        repeat: repeat_of(kind).or(defaults.repeat).filter(|runs| *runs > 1),
        assertions,
        names: found,
    })
}

/// The description in letters and digits, or else its number; and of which prompt.
fn id(test: &Kind, number: usize, prompt: &PromptText) -> String {
    let description = test.get("description").and_then(|one| one.value.text());
    let slug = id_of(description.unwrap_or_default());
    let base = match slug.as_str() {
        "" => format!("test-{number}"),
        slug => slug.to_owned(),
    };
    match prompt.label.as_str() {
        "" => base,
        label => format!("{base}-{label}"),
    }
}
