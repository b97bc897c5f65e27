//! The format read back: exactly, by insta, after insta has rewritten it, and when it is broken.

use std::collections::BTreeMap;
use std::path::Path;

use proptest::prelude::*;
use rstest::rstest;

use super::*;

fn snapshot() -> Snapshot {
    Snapshot {
        info: SnapshotInfo {
            source: "scenarios/readme.yaml".to_owned(),
            description: Some("The story it grew from:\nread and summarise".to_owned()),
            expression: "summarise".to_owned(),
            model: "builtin:readme".to_owned(),
            sampling: SamplingSettings {
                temperature: Some(0.0),
                repetition_penalty: Some(1.05),
                stop: Some(vec!["END".to_owned()]),
                ..SamplingSettings::default()
            },
            redact: Vec::new(),
        },
        prompt_tokens: Some(42),
        generations: vec![
            SnapshotGeneration {
                text: "<tool_call>{\"name\": \"read_file\"}</tool_call>".to_owned(),
                tokens: (1..=18).collect(),
            },
            SnapshotGeneration {
                text: "# Title\n\n---\nEnd. \n".to_owned(),
                tokens: vec![2],
            },
        ],
    }
}

const FILE: &str = r#"---
source: scenarios/readme.yaml
description: "The story it grew from:\nread and summarise"
expression: summarise
info:
  format: 1
  model: builtin:readme
  prompt_tokens: 42
  sampling:
    temperature: 0.0
    repetition_penalty: 1.05
    stop:
    - END
---
generation 1, text:
  <tool_call>{"name": "read_file"}</tool_call>
generation 1, 18 tokens:
  1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16
  17 18

generation 2, text:
  # Title

  ---
~ End.\u{20}
~
generation 2, 1 tokens:
  2
"#;

#[test]
fn a_file_looks_like_this() {
    assert_eq!(snapshot().render(), FILE);
    assert_eq!(Snapshot::parse(FILE).expect("parses"), snapshot());
}

#[test]
fn line_ends_of_windows_change_nothing() {
    let file = FILE.replace('\n', "\r\n");
    assert_eq!(Snapshot::parse(&file).expect("parses"), snapshot());
}

/// Loads with insta, saves as `cargo insta accept` does, and returns what is in the file then.
fn through_insta(file: &str, folder: &Path) -> (insta::Snapshot, String) {
    let pending = folder.join("test.model.snap.new");
    std::fs::write(&pending, file).expect("writes");
    let loaded = insta::Snapshot::from_file(&pending).expect("insta reads it");
    let accepted = folder.join("test.model.snap");
    loaded.save(&accepted).expect("insta saves it");
    let saved = std::fs::read_to_string(accepted).expect("reads");
    (loaded, saved)
}

#[test]
fn insta_reads_header_and_value() {
    let folder = tempfile::tempdir().expect("a folder");
    let (loaded, _) = through_insta(FILE, folder.path());
    assert_eq!(loaded.metadata().source(), Some("scenarios/readme.yaml"));
    assert_eq!(loaded.metadata().expression(), Some("summarise"));
    assert_eq!(
        loaded.metadata().description(),
        Some("The story it grew from:\nread and summarise")
    );
    assert!(loaded.metadata().private_info().is_some());
    let value = loaded.as_text().expect("text").to_string();
    assert!(FILE.trim_end().ends_with(&value), "{value}");
    assert!(value.starts_with("generation 1, text:\n"), "{value}");
}

#[rstest]
#[case("", 1, "does not start with ---")]
#[case("generation 1, text:\n", 1, "does not start with ---")]
#[case("---\nsource: a\n", 2, "no closing ---")]
#[case("---\nsource: a\nexpression: b\n---\nx\n", 3, "missing field `info`")]
#[case(
    "---\ninfo:\n  format: 2\n  new: 1\n---\n",
    1,
    "format 2, and this loopwatch reads format 1"
)]
#[case("---\nsource: [\n---\n", 2, "the header is wrong")]
fn broken_headers_are_named(#[case] file: &str, #[case] line: usize, #[case] problem: &str) {
    let error = Snapshot::parse(file).expect_err("refused").to_string();
    assert!(error.starts_with(&format!("line {line}: ")), "{error}");
    assert!(error.contains(problem), "{error}");
}

#[rstest]
#[case("model: builtin", "modle: builtin", 7, "unknown field `modle`")]
#[case("temperature: 0.0", "temperature: warm", 10, "the header is wrong")]
#[case("generation 1, text:\n", "", 15, "expected 'generation 1, text:'")]
#[case("  # Title", "# Title", 22, "neither two spaces nor '~'")]
#[case("End.\\u{20}", "End.\\q", 25, "an escape is none of")]
#[case(
    "generation 1, 18 tokens",
    "generation 1, 17 tokens",
    17,
    "says 17 tokens, but 18 follow"
)]
#[case("  17 18", "  17 x", 19, "'x' is no token id")]
#[case(
    "generation 2, 1 tokens:",
    "generation 3, 1 tokens:",
    27,
    "expected 'generation 2, <count> tokens:'"
)]
#[case("  2\n", "  2\nmore\n", 29, "expected 'generation 3, text:'")]
fn broken_files_are_named(
    #[case] from: &str,
    #[case] to: &str,
    #[case] line: usize,
    #[case] problem: &str,
) {
    let file = FILE.replacen(from, to, 1);
    assert_ne!(file, FILE);
    let error = Snapshot::parse(&file).expect_err("refused").to_string();
    assert!(error.starts_with(&format!("line {line}: ")), "{error}");
    assert!(error.contains(problem), "{error}");
    assert!(error.contains("restore the file"), "{error}");
}

fn texts() -> impl Strategy<Value = String> {
    prop_oneof![
        "([ -~]|\\n|\\r|\\t|\\PC|\\p{Cf}){0,60}",
        "(---\\n|generation 1, text:\\n|~ |  |\\n|\\r\\n|a){0,8}",
    ]
}

/// Whatever a text can hold.
const ANY_NAME: &str = "([ -~]|\\n|\\r|\\t|[\\x00-\\x1f]|\\PC|\\p{Cf}){0,40}";
/// What insta's YAML writer gets right: byte-order marks and unusual controls are beyond it.
const INSTA_NAME: &str = "([ -~]|\\n|\\r|\\t|\\PC){0,40}";

fn settings(stops: &'static str) -> impl Strategy<Value = SamplingSettings> {
    (
        proptest::option::of(0.0..10.0_f64),
        proptest::option::of(0.0..1.0_f64),
        // Above this insta reads a float, as YAML 1.1 libraries do.
        proptest::option::of(0..=i64::MAX as u64),
        proptest::option::of(proptest::collection::btree_map(
            0..70_000_u32,
            -1000.0..1000.0_f32,
            0..3,
        )),
        proptest::option::of(proptest::collection::vec(stops, 0..3)),
        proptest::option::of(any::<bool>()),
    )
        .prop_map(|(temperature, top_p, seed, logit_bias, stop, ignore_eos)| {
            SamplingSettings {
                temperature,
                top_p,
                seed,
                logit_bias: logit_bias.map(BTreeMap::from_iter),
                stop,
                ignore_eos,
                ..SamplingSettings::default()
            }
        })
}

prop_compose! {
    fn snapshots(stops_and_names: &'static str)(
        source in stops_and_names,
        description in proptest::option::of(stops_and_names),
        expression in stops_and_names,
        model in stops_and_names,
        sampling in settings(stops_and_names),
        redact in proptest::collection::vec((stops_and_names, stops_and_names), 0..3),
        prompt_tokens in proptest::option::of(1..100_000_usize),
        generations in proptest::collection::vec(
            (texts(), proptest::collection::vec(any::<u32>(), 0..40)), 0..4),
    ) -> Snapshot {
        Snapshot {
            info: SnapshotInfo {
                source,
                description,
                expression,
                model,
                sampling,
                redact: redact
                    .into_iter()
                    .map(|(pattern, replacement)| Redaction { pattern, replacement })
                    .collect(),
            },
            prompt_tokens,
            generations: generations
                .into_iter()
                .map(|(text, tokens)| SnapshotGeneration { text, tokens })
                .collect(),
        }
    }
}

proptest! {
    #[test]
    fn every_snapshot_comes_back(snapshot in snapshots(ANY_NAME)) {
        let file = snapshot.render();
        prop_assert_eq!(Snapshot::parse(&file).expect("parses"), snapshot, "{}", file);
    }

    #[test]
    fn every_snapshot_survives_cargo_insta(snapshot in snapshots(INSTA_NAME)) {
        let folder = tempfile::tempdir().expect("a folder");
        let (_, saved) = through_insta(&snapshot.render(), folder.path());
        prop_assert_eq!(Snapshot::parse(&saved).expect("parses"), snapshot, "{}", saved);
    }

    #[test]
    fn no_input_panics(file in "(---\\n|generation [12], (text|1 tokens):\\n|  [a1]\\n|\\PC){0,12}") {
        let _ = Snapshot::parse(&file);
    }
}
