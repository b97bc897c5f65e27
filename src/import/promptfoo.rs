//! A configuration of promptfoo: its keys, and the scenario that comes of them.

use std::path::Path;

use serde_json::{Map, Value, json};

use super::cases::{self, Case, Defaults, PromptText, Variables};
use super::emit::{Emitter, inline};
use super::node::{Kind, Node, line};
use super::{Imported, Lost, providers};
use crate::yaml::{self, Source, YamlError};

/// Keys that change nothing in what is asked or how it is judged, or are read.
const KNOWN: [&str; 12] = [
    "description",
    "prompts",
    "providers",
    "targets",
    "tests",
    "defaultTest",
    "evaluateOptions",
    "commandLineOptions",
    "outputPath",
    "sharing",
    "tags",
    "metadata",
];

pub(super) fn import(path: &Path, text: &str) -> Result<Imported, YamlError> {
    let source = Source { path, text };
    let file: Node = yaml::read_foreign(source)?;
    if !matches!(file.value, Kind::Map(_)) {
        return Err(source.error(&file.referenced, "this is no configuration of promptfoo"));
    }
    let mut lost = Vec::new();
    for (key, _) in file.value.entries() {
        if !KNOWN.contains(&key.value.as_str()) {
            lost.push(Lost {
                line: line(key),
                what: format!("'{}'", key.value),
            });
        }
    }
    let answering = {
        let written = file
            .value
            .get("providers")
            .or_else(|| file.value.get("targets"));
        providers::carry(written, &mut lost)
    };
    let prompts = prompts(file.value.get("prompts"), &mut lost);
    let (defaults, usable) = defaults(&file.value, &mut lost);
    let cases = match usable {
        true => cases(&file, &prompts, &defaults, &mut lost),
        false => Vec::new(),
    };
    lost.sort();
    lost.dedup();
    let about = About {
        path,
        description: file
            .value
            .get("description")
            .and_then(|one| one.value.text()),
        answering: &answering,
    };
    Ok(Imported {
        scenario: write(&about, &defaults, &cases),
        tests: cases.len(),
        lost,
    })
}

/// The prompts that are written in the file itself.
fn prompts(written: Option<&Node>, lost: &mut Vec<Lost>) -> Vec<PromptText> {
    let items = written.map(Kind::items).unwrap_or_default();
    let several = items.len() > 1;
    let mut prompts = Vec::new();
    for (at, node) in items.into_iter().enumerate() {
        let raw = match &node.value {
            Kind::Text(text) => Some(text.as_str()),
            entries => entries.get("raw").and_then(|raw| raw.value.text()),
        };
        let is_file = |text: &&str| {
            let ends = [".txt", ".json", ".yaml", ".yml", ".md", ".js", ".py", ".j2"];
            text.starts_with("file://")
                || (!text.contains('\n') && ends.iter().any(|end| text.ends_with(end)))
        };
        match raw {
            Some(text) if !is_file(&text) => prompts.push(PromptText {
                value: messages(text).unwrap_or_else(|| json!(text)),
                line: line(node),
                label: if several {
                    format!("prompt-{}", at + 1)
                } else {
                    String::new()
                },
            }),
            _ => lost.push(Lost {
                line: line(node),
                what: "a prompt that stands in another file; write its text here".to_owned(),
            }),
        }
    }
    prompts
}

/// A conversation, which promptfoo writes as JSON.
fn messages(text: &str) -> Option<Value> {
    let value: Value = serde_json::from_str(text.trim()).ok()?;
    let items = value.as_array()?;
    let is_message = |item: &Value| {
        item.get("role").is_some_and(Value::is_string)
            && item.get("content").is_some_and(Value::is_string)
            && item.as_object().is_some_and(|fields| fields.len() == 2)
    };
    let last = items.last()?.get("role")?.as_str()?;
    (last == "user" && items.iter().all(is_message)).then_some(value)
}

/// What holds for every test, and whether there is nothing in it that changes every verdict.
fn defaults(file: &Kind, lost: &mut Vec<Lost>) -> (Defaults, bool) {
    let repeat = file
        .get("evaluateOptions")
        .and_then(|all| all.value.get("repeat"));
    let mut defaults = Defaults {
        repeat: repeat.and_then(|one| one.value.plain().as_u64()),
        ..Defaults::default()
    };
    let tests = file.get("tests").map(Kind::items).unwrap_or_default();
    let odd = |test: &&Node| {
        cases::disables_defaults(&test.value) || cases::threshold_of(&test.value).is_some()
    };
    defaults.spread = tests.iter().any(odd);
    let Some(written) = file.get("defaultTest") else {
        return (defaults, true);
    };
    let kind = &written.value;
    if kind.text().is_some() {
        let what = "every test: 'defaultTest' stands in another file".to_owned();
        lost.push(Lost {
            line: line(written),
            what,
        });
        return (defaults, false);
    }
    if let Some((line, key)) = cases::stranger(kind) {
        let what = format!("every test: there is no '{key}' of 'defaultTest' here");
        lost.push(Lost { line, what });
        return (defaults, false);
    }
    match cases::variables(kind) {
        Ok(variables) => defaults.variables = variables,
        Err(one) => {
            let what = format!("every test: {}", one.what);
            lost.push(Lost {
                line: one.line,
                what,
            });
            return (defaults, false);
        }
    }
    (defaults.assertions, defaults.incomplete) = cases::own_assertions(kind, lost);
    defaults.threshold = cases::threshold_of(kind);
    defaults.spread |= defaults.threshold.is_some();
    defaults.repeat = cases::repeat_of(kind).or(defaults.repeat);
    (defaults, true)
}

/// Every test with every prompt.
fn cases(
    file: &Node,
    prompts: &[PromptText],
    defaults: &Defaults,
    lost: &mut Vec<Lost>,
) -> Vec<Case> {
    let written = file.value.get("tests");
    let mut tests = written.map(Kind::items).unwrap_or_default();
    if tests.is_empty() {
        // promptfoo then runs one test that has nothing of its own.
        tests.push(file);
    }
    let nothing = serde_saphyr::Spanned {
        value: Kind::Null,
        ..file.clone()
    };
    let mut cases: Vec<Case> = Vec::new();
    for (at, test) in tests.into_iter().enumerate() {
        let test = if std::ptr::eq(test, file) {
            &nothing
        } else {
            test
        };
        if test.value.text().is_some() {
            let what = "tests that stand in another file; write them here".to_owned();
            lost.push(Lost {
                line: line(test),
                what,
            });
            continue;
        }
        for prompt in prompts {
            let Some(mut case) = cases::case(test, at + 1, prompt, defaults, lost) else {
                continue;
            };
            let taken = |id: &str| cases.iter().any(|other| other.id == id);
            let mut number = at + 1;
            let wanted = case.id.clone();
            while taken(&case.id) {
                case.id = format!("{wanted}-{number}");
                number += 1;
            }
            cases.push(case);
        }
    }
    cases
}

/// What stands at the head of the scenario.
struct About<'a> {
    path: &'a Path,
    description: Option<&'a str>,
    answering: &'a providers::Answering,
}

fn write(about: &About<'_>, defaults: &Defaults, cases: &[Case]) -> String {
    let name = about.path.file_name().unwrap_or_default().to_string_lossy();
    let imported = format!("Imported from {name} of promptfoo");
    let first = |text: &str| text.lines().next().unwrap_or_default().trim().to_owned();
    let description = about.description.map(first).filter(|line| !line.is_empty());
    let mut out = Emitter::default();
    out.line(0, "version: 1");
    out.entry(
        0,
        "description",
        &json!(description.unwrap_or_else(|| imported.clone())),
    );
    out.entry(0, "why", &json!(imported));
    match &about.answering.target {
        Some(target) => out.entry(0, "target", target),
        None => out.line(
            0,
            "# Nobody is named who answers: this is the built-in model.",
        ),
    }
    if !about.answering.sampling.is_empty() {
        out.entry(
            0,
            "sampling",
            &Value::Object(about.answering.sampling.clone()),
        );
    }
    let mut shared = defaults.variables.clone();
    // A name without a value is empty there, and an error here.
    for name in cases.iter().flat_map(|case| &case.names) {
        let has = |of: &Variables| of.fixed.contains_key(name) || of.lists.contains_key(name);
        let missing = cases
            .iter()
            .any(|case| case.names.contains(name) && !has(&case.variables));
        if missing && !has(&shared) {
            shared.fixed.insert(name.clone(), json!(""));
        }
    }
    variables(&mut out, 0, &shared);
    if !defaults.spread && !defaults.assertions.is_empty() {
        out.line(0, "defaultTest:");
        let all = defaults.assertions.iter().map(|one| one.spec.clone());
        assertions(&mut out, 2, &all.collect::<Vec<_>>());
    }
    out.line(0, "tests:");
    for case in cases {
        out.line(2, &format!("- id: {}", case.id));
        match &case.said {
            Value::Array(messages) => {
                out.line(4, "messages:");
                for message in messages {
                    out.line(6, &format!("- {}", inline(message)));
                }
            }
            said => out.entry(4, "user", said),
        }
        variables(&mut out, 4, &case.variables);
        if let Some(repeat) = case.repeat {
            out.line(4, &format!("repeat: {repeat}"));
        }
        if !case.assertions.is_empty() {
            assertions(&mut out, 4, &case.assertions);
        }
    }
    out.into_text()
}

fn variables(out: &mut Emitter, indent: usize, variables: &Variables) {
    for (key, all) in [("vars", &variables.fixed), ("matrix", &variables.lists)] {
        if !all.is_empty() {
            out.line(indent, &format!("{key}:"));
            for (name, value) in all {
                out.entry(indent + 2, name, value);
            }
        }
    }
}

fn assertions(out: &mut Emitter, indent: usize, all: &[Map<String, Value>]) {
    out.line(indent, "assert:");
    for spec in all {
        out.line(
            indent + 2,
            &format!("- {}", inline(&Value::Object(spec.clone()))),
        );
    }
}
