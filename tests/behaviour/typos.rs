//! No mistyped key passes: every single-character typo, in every key of every example scenario.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use loopwatch::assertion::AssertionSpec;
use loopwatch::scenario::{Scenario, json_schema};
use loopwatch::yaml::YamlError;
use rstest::rstest;
use serde_json::Value;

use crate::support::repository;

/// A key in a file: its bytes.
struct Key {
    start: usize,
    end: usize,
}

/// Keys of a file beyond which lines with the same keys as an earlier one are left out: a list of
/// seventy prompts has seventy of them.
const MOST_KEYS: usize = 200;

/// The keys of lines that no earlier line is like.
fn of_unlike_lines(keys: Vec<Key>, text: &str) -> Vec<Key> {
    let mut lines: BTreeMap<usize, Vec<Key>> = BTreeMap::new();
    for key in keys {
        let line = text[..key.start].matches('\n').count();
        lines.entry(line).or_default().push(key);
    }
    let words = |keys: &[Key]| -> Vec<String> {
        let words = keys.iter().map(|key| text[key.start..key.end].to_owned());
        words.collect()
    };
    let mut seen = BTreeSet::new();
    let unlike = lines.into_values().filter(|keys| seen.insert(words(keys)));
    unlike.flatten().collect()
}

/// All keys of the language, to leave out typos that give another one.
fn language() -> BTreeSet<String> {
    fn collect(schema: &Value, found: &mut BTreeSet<String>) {
        match schema {
            Value::Object(object) => {
                if let Some(properties) = object.get("properties").and_then(Value::as_object) {
                    found.extend(properties.keys().cloned());
                }
                object.values().for_each(|value| collect(value, found));
            }
            Value::Array(items) => items.iter().for_each(|item| collect(item, found)),
            _ => {}
        }
    }
    let mut found = BTreeSet::new();
    collect(&json_schema(), &mut found);
    for kind in AssertionSpec::kinds() {
        found.insert(kind.to_owned());
        found.insert(format!("not-{kind}"));
    }
    // Keywords of JSON Schema, of which examples have one letter's typo in another.
    found.extend(["not", "items", "enum", "const", "if"].map(str::to_owned));
    assert!(found.len() > 50);
    found
}

/// The keys of a file, block scalars, comments and the author's own names left out: those of
/// tools and variables, which stand right below `tools`, `vars` and `matrix`, and of arguments,
/// which stand in `properties`.
fn keys(text: &str) -> Vec<Key> {
    let word =
        regex::Regex::new(r#"(^|[\s{,])([A-Za-z_][A-Za-z0-9_-]*):(\s|$)"#).expect("a pattern");
    let mut found = Vec::new();
    let mut offset = 0;
    let mut block: Option<usize> = None;
    let own_names = regex::Regex::new(r"(vars|matrix|properties): \{[^}]*$").expect("a pattern");
    let mut in_names = false;
    for line in text.split_inclusive('\n') {
        let indent = line.len() - line.trim_start().len();
        let start = offset;
        offset += line.len();
        let blank = line.trim().is_empty();
        if blank || line.trim_start().starts_with('#') {
            continue;
        }
        if block.is_some_and(|outer| indent > outer) {
            continue;
        }
        block = None;
        if indent == 0 {
            let names = ["tools:", "vars:", "matrix:"];
            in_names = names.iter().any(|key| line.starts_with(key));
        }
        let mut at = 0;
        while let Some(hit) = word.captures_at(line, at) {
            let key = hit.get(2).expect("the key");
            at = key.end();
            let own = (in_names && indent == 2 && key.start() == 2)
                || own_names.is_match(&line[..key.start()]);
            let quoted = line[..key.start()].matches('"').count() % 2 == 1;
            if !own && !quoted {
                found.push(Key {
                    start: start + key.start(),
                    end: start + key.end(),
                });
            }
        }
        let end = line.trim_end();
        if end.ends_with(": >") || end.ends_with(": |") {
            block = Some(indent);
        }
    }
    found
}

/// Every word one deletion, insertion, substitution or transposition away.
fn typos(word: &str) -> BTreeSet<String> {
    let letters: Vec<char> = word.chars().collect();
    let alphabet = || ('a'..='z').chain(['_', '-']);
    let mut found = BTreeSet::new();
    let mut add = |letters: Vec<char>| found.insert(letters.into_iter().collect::<String>());
    for at in 0..=letters.len() {
        for letter in alphabet() {
            let mut longer = letters.clone();
            longer.insert(at, letter);
            add(longer);
            if at < letters.len() {
                let mut other = letters.clone();
                other[at] = letter;
                add(other);
            }
        }
        if at < letters.len() {
            let mut shorter = letters.clone();
            shorter.remove(at);
            add(shorter);
        }
        if at + 1 < letters.len() {
            let mut swapped = letters.clone();
            swapped.swap(at, at + 1);
            add(swapped);
        }
    }
    found.remove(word);
    // YAML reads these as something other than a key.
    found.retain(|typo| !typo.is_empty() && !typo.starts_with('-'));
    found
}

#[rstest]
fn every_typo_in_a_key_is_refused_with_its_place_and_a_suggestion(
    #[files("scenarios/**/*.yaml")]
    #[files("tests/scenarios/*.yaml")]
    #[exclude("checkpoints|shared|sweeps/(penalty|window|period-thirty)")]
    path: PathBuf,
) {
    let text = std::fs::read_to_string(&path).expect("a scenario");
    Scenario::load(&path).expect("the example is valid");
    refuses_every_typo(&text, &path.display().to_string(), &|wrong| {
        Scenario::parse(Path::new(&path), wrong).err()
    });
}

/// What scenarios extend is read as strictly, and an error is in that file.
#[test]
fn every_typo_in_a_shared_file_is_refused_too() {
    let folder = tempfile::tempdir().expect("a folder");
    let shared = folder.path().join("shared/coin.yaml");
    std::fs::create_dir(folder.path().join("shared")).expect("a folder");
    let text = std::fs::read_to_string(repository("tests/scenarios/shared/coin.yaml"));
    let text = text.expect("a shared file");
    let scenario = std::fs::read_to_string(repository("tests/scenarios/coin.yaml"));
    let scenario = scenario.expect("a scenario");
    let path = folder.path().join("coin.yaml");
    refuses_every_typo(&text, "shared/coin.yaml", &|wrong| {
        std::fs::write(&shared, wrong).expect("written");
        let error = Scenario::parse(&path, &scenario).err()?;
        assert!(error.path.ends_with("shared/coin.yaml"), "{error}");
        Some(error)
    });
}

/// Tries every typo in the keys of a file; `read` gives the error of a text, if there is one.
fn refuses_every_typo(text: &str, name: &str, read: &dyn Fn(&str) -> Option<YamlError>) {
    let language = language();
    let mut keys = keys(text);
    if keys.len() > MOST_KEYS {
        keys = of_unlike_lines(keys, text);
    }
    assert!(keys.len() >= 10, "{} keys in {name}", keys.len());
    let (mut tried, mut long, mut named) = (0, 0, 0);
    let mut accepted = Vec::new();
    for key in keys {
        let word = &text[key.start..key.end];
        let line = text[..key.start].matches('\n').count() + 1;
        for typo in typos(word) {
            if language.contains(&typo) {
                continue;
            }
            tried += 1;
            let wrong = format!("{}{typo}{}", &text[..key.start], &text[key.end..]);
            match read(&wrong) {
                None => accepted.push(format!("{line}: '{word}' as '{typo}'")),
                Some(error) => {
                    assert_eq!(error.line, line, "'{word}' as '{typo}': {error}");
                    assert!(error.column > 0);
                    let help = error.help.as_deref().unwrap_or_default();
                    // Half of a word of two letters, as `id`, says nothing of the other half.
                    if word.len() > 2 {
                        long += 1;
                        named += usize::from(help == format!("did you mean '{word}'?"));
                    }
                    assert!(
                        help.starts_with("did you mean '") || help.starts_with("known are "),
                        "'{word}' as '{typo}' in line {line}: {error}; {help:?}"
                    );
                }
            }
        }
    }
    assert!(accepted.is_empty(), "accepted: {}", accepted.join(", "));
    assert!(tried > 3_000, "only {tried} typos");
    // The rest are nearer to another key, or far from all: then all of them are listed.
    assert!(named * 100 >= long * 95, "{named} of {long}");
}

#[rstest]
#[case(
    "input_schema: {type: object, properties: {path: {type: string}}, requird: [path]}",
    "unknown keyword 'requird'",
    "did you mean 'required'?"
)]
#[case(
    "input_schema: {type: object, properties: {path: {tpye: string}}}",
    "unknown keyword 'tpye'",
    "did you mean 'type'?"
)]
#[case(
    "input_schema: {type: object, properties: {path: {type: string}}, required: [pth]}",
    "the tool 'Read' has no argument 'pth'",
    "did you mean 'path'?"
)]
fn schemas_of_tools_are_read_as_strictly(
    #[case] schema: &str,
    #[case] message: &str,
    #[case] help: &str,
) {
    let text = format!(
        "version: 1\ntools: {{Read: {{description: r, mock: [], {schema}}}}}\n\
         description: d\nwhy: w\ntests: [{{id: a, user: u, assert: [not-loop]}}]\n"
    );
    let error = Scenario::parse(Path::new("s.yaml"), &text).expect_err("refused");
    assert!(error.to_string().contains(message), "{error}");
    assert_eq!(error.help.as_deref(), Some(help));
    assert_eq!(error.line, 2);
    let line = text.lines().nth(1).expect("the line");
    let word = message.split('\'').nth_back(1).expect("the word");
    assert!(line[error.column - 1..].starts_with(word), "{error}");
}

#[rstest]
#[case(
    "{type: tool-called, value: Raed}",
    "the scenario has no tool 'Raed'",
    "did you mean 'Read'?"
)]
#[case(
    "{type: tool-called, value: Read, args: {pth: a}}",
    "the tool 'Read' has no argument 'pth'",
    "did you mean 'path'?"
)]
#[case(
    "not-tool-called: read_file",
    "the scenario has no tool 'read_file'",
    "known are Read"
)]
fn assertions_name_tools_and_arguments_that_exist(
    #[case] assertion: &str,
    #[case] message: &str,
    #[case] help: &str,
) {
    let text = format!(
        "version: 1\ndescription: d\nwhy: w\n\
         tools: {{Read: {{description: r, mock: [], input_schema: {{type: object, properties: {{path: {{type: string}}}}}}}}}}\n\
         tests: [{{id: a, user: u, assert: [{assertion}]}}]\n"
    );
    let error = Scenario::parse(Path::new("s.yaml"), &text).expect_err("refused");
    assert!(error.to_string().contains(message), "{error}");
    assert_eq!((error.line, error.help.as_deref()), (5, Some(help)));
}
