//! Snapshots that do not hold a part of the answer: that part may change, and nothing else.

use crate::support::Sandbox;

const SNAP: &str = "snapshots/s/one.script-checkpoints-m-yaml.snap";
const DATES: &str = r"redact: [{pattern: '\d{4}-\d\d-\d\d', as: '[date]'}]";
const TEXT: &str = "{type: snapshot, match: text}";

/// A model that says this, in tokens that are the same for all dates and words it knows.
fn says(sandbox: &Sandbox, said: &str) {
    sandbox.write(
        "checkpoints/m.yaml",
        &format!("version: 1\ndescription: d\nstates:\n  a: {{say: \"{said}\", next: eos}}\n"),
    );
}

fn scenario(sandbox: &Sandbox, file: &str, test: &str, assertion: &str) {
    sandbox.write(
        "s.yaml",
        &format!(
            "version: 1\ndescription: d\nwhy: w\nmodel: script:checkpoints/m.yaml\n{file}\n\
             tests:\n- {{id: one, user: go, {test}assert: [{assertion}]}}\n"
        ),
    );
}

#[test]
fn what_is_redacted_may_change_and_nothing_else() {
    let sandbox = Sandbox::new();
    says(&sandbox, "Built on 2026-11-27 by Ann.");
    scenario(&sandbox, DATES, "", TEXT);
    sandbox.run(&["run", "s.yaml"]).expect_code(100);
    let shown = sandbox.run(&["review"]).expect_code(100);
    assert!(!shown.stdout.contains("2026"), "{}", shown.stdout);
    sandbox.run(&["accept"]).expect_code(0);
    let snap = sandbox.read(SNAP);
    assert!(snap.contains("Built on [date] by Ann."), "{snap}");
    assert!(snap.contains("generation 1, 0 tokens:"), "{snap}");
    // The pattern is in the header, and the date nowhere.
    assert!(snap.contains("redact:") && !snap.contains("2026"), "{snap}");

    says(&sandbox, "Built on 2027-01-02 by Ann.");
    sandbox.run(&["run", "s.yaml"]).expect_code(0);
    assert!(!sandbox.path(&format!("{SNAP}.new")).exists());
    let run = sandbox.runs("reports").pop().expect("a run");
    let run = run.to_str().expect("UTF-8");
    sandbox.run(&["judge", run]).expect_code(0);

    says(&sandbox, "Built on 2027-01-02 by Bob.");
    let failed = sandbox
        .run(&["run", "s.yaml"])
        .expect_code(100)
        .expect_stdout("text differs from byte 19 of generation 1")
        .expect_stdout("Built on [date] by Ann");
    assert!(
        !failed.stdout.contains("tokens are the same"),
        "{}",
        failed.stdout
    );
    let run = sandbox.runs("reports").pop().expect("a run");
    // The record is judged by the redactions it was made with.
    let run = run.to_str().expect("UTF-8");
    sandbox.run(&["judge", run]).expect_code(100);
    sandbox
        .run(&["review"])
        .expect_code(100)
        .expect_stdout("[date] by [-Ann.-]{+Bob.+}");
}

/// Without its redaction the same reference fails, and the difference says that it was asked otherwise.
#[test]
fn other_redactions_are_another_question() {
    let sandbox = Sandbox::new();
    says(&sandbox, "Built on 2026-11-27 by Ann.");
    scenario(&sandbox, DATES, "", TEXT);
    sandbox.run(&["run", "s.yaml"]).expect_code(100);
    sandbox.run(&["accept"]).expect_code(0);
    scenario(&sandbox, "", "", TEXT);
    sandbox
        .run(&["run", "s.yaml"])
        .expect_code(100)
        .expect_stdout(r#"redact: \d{4}-\d\d-\d\d as "[date]" -> not given"#);
}

/// Those of a shared file come first, then the file's, `defaultTest`'s, and the test's own.
#[test]
fn redactions_of_all_files_and_the_test_follow_each_other() {
    let sandbox = Sandbox::new();
    says(&sandbox, "a b c d");
    sandbox.write(
        "shared/r.yaml",
        "version: 1\nredact: [{pattern: a, as: b}]\n",
    );
    scenario(
        &sandbox,
        "extends: shared/r.yaml\nredact: [{pattern: b, as: c}]\n\
         defaultTest: {redact: [{pattern: c, as: d}], assert: [{type: snapshot, match: normalised}]}",
        "redact: [{pattern: d, as: $1}], ",
        "not-loop",
    );
    sandbox.run(&["run", "s.yaml"]).expect_code(100);
    sandbox.run(&["accept"]).expect_code(0);
    let snap = sandbox.read(SNAP);
    assert!(snap.contains("  $1 $1 $1 $1"), "{snap}");
    sandbox.run(&["run", "s.yaml"]).expect_code(0);
}

/// The tokens of the built-in model are compared until a word of its answer is redacted; then the file
/// holds neither the word nor the ids that would tell it.
#[test]
fn a_word_of_the_built_in_model_is_left_out() {
    let sandbox = Sandbox::new();
    let scenario = |redact: &str, assertion: &str| {
        sandbox.write(
            "s.yaml",
            &format!(
                "version: 1\ndescription: d\nwhy: w\nsampling: {{max_tokens: 24}}\n{redact}\n\
                 tests: [{{id: one, user: what is a README file, assert: [{assertion}]}}]\n"
            ),
        );
    };
    let snap = "snapshots/s/one.builtin-readme.snap";
    scenario("", "snapshot");
    sandbox.run(&["run", "s.yaml"]).expect_code(100);
    sandbox.run(&["accept"]).expect_code(0);
    let whole = sandbox.read(snap);
    let text = whole.split("generation 1, ").nth(1).expect(&whole);
    let text = text.strip_prefix("text:\n").expect(&whole);
    let words = text.split(|c: char| !c.is_alphabetic());
    let word = words
        .max_by_key(|word| word.len())
        .expect("a word")
        .to_owned();
    assert!(word.len() > 3 && text.contains(&word), "{whole}");
    assert!(whole.contains("generation 1, 24 tokens:"), "{whole}");

    scenario(
        &format!("redact: [{{pattern: {word}, as: '[word]'}}]"),
        TEXT,
    );
    sandbox.run(&["run", "s.yaml"]).expect_code(100);
    sandbox.run(&["accept"]).expect_code(0);
    let redacted = sandbox.read(snap);
    let body = redacted
        .split("generation 1, text:\n")
        .nth(1)
        .expect(&redacted);
    assert!(!body.contains(&word), "{redacted}");
    assert!(
        body.contains("[word]") && body.contains("generation 1, 0 tokens:"),
        "{redacted}"
    );
    sandbox.run(&["run", "s.yaml"]).expect_code(0);
    // Only that word is free.
    let head = redacted.strip_suffix(body).expect(&redacted);
    let changed = body.replacen("[word]", "[ward]", 1);
    sandbox.write(snap, &format!("{head}{changed}"));
    sandbox.run(&["run", "s.yaml"]).expect_code(100);
}

#[test]
fn mistakes_name_the_place_and_the_remedy() {
    let many: Vec<String> = (0..33)
        .map(|at| format!("{{pattern: x{at}, as: y}}"))
        .collect();
    let many = format!("redact: [{}]", many.join(", "));
    let cases = [
        (
            DATES,
            "",
            "snapshot",
            "s.yaml:7",
            "'redact' leaves no token ids to compare; write {type: snapshot, match: text}",
        ),
        (
            DATES,
            "",
            "{type: snapshot, match: prefix, tokens: 3}",
            "s.yaml:7",
            "'redact' leaves no token ids",
        ),
        (
            "redact: [{pattern: 'x*', as: y}]",
            "",
            TEXT,
            "s.yaml:5:10",
            "'x*' matches an empty text",
        ),
        (
            "redact: [{pattern: '(', as: y}]",
            "",
            TEXT,
            "s.yaml:5:10",
            "unclosed group",
        ),
        (
            "redact: [{pattern: x, at: y}]",
            "",
            TEXT,
            "s.yaml:5",
            "unknown key 'at'",
        ),
        ("redact: [{pattern: x}]", "", TEXT, "s.yaml:5", "'as'"),
        (
            "",
            "redact: [{pattern: x, as: y}], ",
            "not-loop",
            "s.yaml:7",
            "'redact' is for a snapshot, and this test has none",
        ),
        (
            many.as_str(),
            "",
            TEXT,
            "s.yaml:5:",
            "a test has at most 32 redactions",
        ),
    ];
    for (file, test, assertion, place, message) in cases {
        let sandbox = Sandbox::new();
        says(&sandbox, "a");
        scenario(&sandbox, file, test, assertion);
        let ran = sandbox.run(&["run", "s.yaml"]).expect_code(2);
        assert!(ran.stderr.contains(place), "{place}: {}", ran.stderr);
        let flat = ran.stderr.split_whitespace().filter(|word| *word != "│");
        let flat = flat.collect::<Vec<_>>().join(" ");
        assert!(flat.contains(message), "{message}: {}", ran.stderr);
    }
}
