//! `sweep --resume`: a sweep that died goes on, and comes to what it would have come to.

use std::path::PathBuf;
use std::process::Stdio;
use std::time::{Duration, Instant};

use rstest::rstest;
use serde_json::Value;

use crate::support::{Sandbox, repository, timeless_cases};

const AXES: [&str; 8] = [
    "sweep",
    "prompts.yaml",
    "--axis",
    "penalty=1.0,1.2,1.5",
    "--axis",
    "window=20,64",
    "--jobs",
    "1",
];

/// No penalty, and two of them with two windows each.
const POINTS: usize = 5;

/// A sweep over so many prompts, of a model that loops unless the window is long enough.
fn sandbox(prompts: usize) -> Sandbox {
    let sandbox = Sandbox::new();
    let tests = (0..prompts).map(|at| {
        format!("- {{id: p{at}, user: Count {at}., assert: [not-loop, {{type: contains, value: six}}]}}\n")
    });
    sandbox.write(
        "prompts.yaml",
        &format!(
            "version: 1\ndescription: Questions\nwhy: A sweep needs prompts\n\
             model: script:period.yaml\nsampling: {{max_tokens: 400}}\ntests:\n{}",
            tests.collect::<String>()
        ),
    );
    let script = std::fs::read_to_string(repository("scenarios/sweeps/period-thirty.yaml"));
    sandbox.write("period.yaml", &script.expect("a script"));
    sandbox
}

fn with<'a>(flags: &[&'a str]) -> Vec<&'a str> {
    [&AXES[..], flags].concat()
}

/// The analysis of the newest sweep, and every answer without its times.
fn results(sandbox: &Sandbox, reports: &str) -> (String, Vec<Value>) {
    let run = sandbox.runs(reports).pop().expect("a sweep");
    let analysis = std::fs::read_to_string(run.join("sweep.json")).expect("an analysis");
    (analysis, timeless_cases(&run))
}

/// Keeps the header and so many answers of the record, and a part of the next line.
fn die_after(sandbox: &Sandbox, answers: usize) {
    let record = sandbox.runs("reports")[0].join("record.jsonl");
    let text = std::fs::read(&record).expect("a record");
    let ends: Vec<usize> = (1..=text.len())
        .filter(|end| text[end - 1] == b'\n')
        .collect();
    std::fs::write(&record, &text[..ends[answers] + 100]).expect("cut");
}

#[test]
fn a_sweep_that_died_comes_to_what_it_would_have_come_to() {
    let sandbox = sandbox(3);
    sandbox.run(&with(&[])).expect_code(0);
    let whole = results(&sandbox, "reports");
    assert_eq!(whole.1.len(), POINTS * 3);
    die_after(&sandbox, 6);
    // What was written of it is of no use any more.
    let page = sandbox.runs("reports")[0].join("sweep.html");
    std::fs::remove_file(&page).expect("a page");
    sandbox
        .run(&with(&["--resume", "latest"]))
        .expect_code(0)
        .expect_stdout("6 recorded, 9 to run; the case in flight was lost and runs again")
        .expect_stdout("15 runs in");
    assert!(page.exists());
    assert_eq!(sandbox.runs("reports").len(), 1);
    assert_eq!(results(&sandbox, "reports"), whole);
    // What is complete is only analysed again, perhaps by another measure.
    sandbox
        .run(&with(&["--resume", "latest", "--target-rate", "0.5"]))
        .expect_code(0)
        .expect_stdout("15 recorded, 0 to run");
    let (analysis, cases) = results(&sandbox, "reports");
    assert!(analysis.contains("\"target_rate\": 0.5"), "{analysis}");
    assert_eq!(cases, whole.1);
    // To 'auto' it is over, and a new one begins.
    sandbox.run(&with(&["--resume", "auto"])).expect_code(0);
    assert_eq!(sandbox.runs("reports").len(), 2);
    assert_eq!(results(&sandbox, "reports"), whole);
}

/// Lines of the newest record.
fn lines(sandbox: &Sandbox) -> usize {
    let runs = std::fs::read_dir(sandbox.path("reports")).into_iter();
    let newest: Option<PathBuf> = runs
        .flatten()
        .filter_map(|run| Some(run.ok()?.path()))
        .max();
    let text = newest.and_then(|run| std::fs::read(run.join("record.jsonl")).ok());
    text.map_or(0, |text| text.iter().filter(|byte| **byte == b'\n').count())
}

#[cfg(unix)]
#[test]
fn a_sweep_killed_three_times_has_every_run_once_and_the_same_analysis() {
    const PROMPTS: usize = 30;
    let sandbox = sandbox(PROMPTS);
    sandbox.run(&with(&["--report", "whole"])).expect_code(0);
    for kill in 1..=3 {
        let mut child = sandbox
            .command(&with(&["--resume", "auto"]))
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .expect("starts");
        let patience = Instant::now() + Duration::from_secs(60);
        while lines(&sandbox) < 20 * kill && Instant::now() < patience {
            let ended = child.try_wait().expect("a child");
            assert!(ended.is_none(), "it ended by itself: {ended:?}");
            std::thread::sleep(Duration::from_micros(200));
        }
        child.kill().expect("SIGKILL");
        let status = child.wait().expect("ends");
        assert_eq!(status.code(), None, "it ended before it was killed");
    }
    let left = POINTS * PROMPTS + 1 - lines(&sandbox);
    assert!(left > 0, "nothing was left for the last start");
    sandbox
        .run(&with(&["--resume", "auto"]))
        .expect_code(0)
        .expect_stdout("resuming reports/");
    assert_eq!(sandbox.runs("reports").len(), 1);
    let resumed = results(&sandbox, "reports");
    let runs: Vec<_> = resumed
        .1
        .iter()
        .map(|case| case["index"].as_u64())
        .collect();
    let every: Vec<_> = (0..(POINTS * PROMPTS) as u64).map(Some).collect();
    assert_eq!(runs, every);
    assert_eq!(resumed, results(&sandbox, "whole"));
}

#[rstest]
#[case(&["--axis", "window=20,30"], "settings are not those of its command, which was:")]
#[case(&["--stop-loops"], "settings are not those of its command, which was:")]
#[case(&["--set", "sampling.max_tokens=300"], "settings are not those of its command")]
#[case(&["--filter", "p1"], "settings are not those of its command, which was:")]
fn another_sweep_is_not_continued(#[case] other: &[&str], #[case] message: &str) {
    let sandbox = sandbox(2);
    sandbox.run(&with(&[])).expect_code(0);
    die_after(&sandbox, 2);
    let record = sandbox.runs("reports")[0].join("record.jsonl");
    let before = std::fs::read(&record).expect("a record");
    sandbox
        .run(&with(&[&["--resume", "latest"][..], other].concat()))
        .expect_code(2)
        .expect_stderr("cannot resume reports/")
        .expect_stderr(message);
    assert_eq!(std::fs::read(&record).expect("a record"), before);
    // A new one beside it is fine.
    let auto = with(&[&["--resume", "auto"][..], other].concat());
    sandbox.run(&auto).expect_code(0);
    assert_eq!(sandbox.runs("reports").len(), 2);
}

#[test]
fn other_weights_and_versions_are_not_mixed_into_one_record() {
    let sandbox = sandbox(2);
    sandbox.run(&with(&[])).expect_code(0);
    die_after(&sandbox, 2);
    let resume = with(&["--resume", "latest"]);
    let script = sandbox.read("period.yaml");
    let other = script.replace("breaks_above: 1.1", "breaks_above: 1.15");
    assert_ne!(other, script);
    sandbox.write("period.yaml", &other);
    sandbox
        .run(&resume)
        .expect_code(2)
        .expect_stderr("is not the one that answered so far");
    sandbox.write("period.yaml", &script);
    let record = sandbox.runs("reports")[0].join("record.jsonl");
    let text = std::fs::read_to_string(&record).expect("a record");
    let tool = concat!("loopwatch ", env!("CARGO_PKG_VERSION"));
    std::fs::write(&record, text.replacen(tool, "loopwatch 0.0.1", 1)).expect("written");
    sandbox
        .run(&resume)
        .expect_code(2)
        .expect_stderr("it was made with loopwatch 0.0.1");
    std::fs::write(&record, text).expect("written");
    sandbox.run(&resume).expect_code(0);
}
