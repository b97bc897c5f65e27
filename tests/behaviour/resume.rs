//! `--resume`: a run that died goes on, and nothing is lost or done twice.

use std::path::PathBuf;
use std::process::Stdio;
use std::time::{Duration, Instant};

use crate::support::{Sandbox, timeless_cases};

/// Repeatable noise: a linear congruential generator (Knuth, MMIX).
struct Noise(u64);

impl Noise {
    fn below(&mut self, most: u64) -> u64 {
        self.0 = self
            .0
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % most
    }
}

fn lines(sandbox: &Sandbox) -> usize {
    let newest = std::fs::read_dir(sandbox.path("reports"))
        .into_iter()
        .flatten()
        .filter_map(|run| Some(run.ok()?.path()))
        .max();
    let text = newest.and_then(|run: PathBuf| std::fs::read(run.join("record.jsonl")).ok());
    text.map_or(0, |text| text.iter().filter(|byte| **byte == b'\n').count())
}

/// Cuts the last line of the newest record somewhere, as a machine that loses its power can: a
/// signal alone does not tear a line that is written at once.
fn tear(sandbox: &Sandbox, noise: &mut Noise) {
    let newest = sandbox.runs("reports").pop().expect("a run");
    let record = newest.join("record.jsonl");
    let text = std::fs::read(&record).expect("a record");
    let lines: Vec<&[u8]> = text.split_inclusive(|byte| *byte == b'\n').collect();
    // The header is synced before anything else happens.
    if let [_, .., last] = lines.as_slice() {
        let kept = text.len() - last.len() + noise.below(last.len() as u64) as usize;
        std::fs::write(&record, &text[..kept]).expect("cut");
    }
}

/// Twenty times in one run: starts it, or goes on with it, and kills it at a random moment; every
/// third time the last line is torn as well.
#[cfg(unix)]
#[test]
fn a_run_killed_twenty_times_has_every_case_once_and_the_same_verdicts() {
    const CASES: usize = 200;
    let sandbox = Sandbox::new();
    sandbox.many_cases("s.yaml", CASES);
    sandbox
        .run(&["run", "s.yaml", "--report", "whole", "--jobs", "3"])
        .expect_code(100);
    let whole = timeless_cases(&sandbox.runs("whole")[0]);
    assert_eq!(whole.len(), CASES);

    let mut noise = Noise(2_026);
    let mut killed_inside = 0;
    for kill in 0..20 {
        let before = lines(&sandbox);
        let mut child = sandbox
            .command(&["run", "s.yaml", "--resume", "auto", "--jobs", "3"])
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .expect("starts");
        // After so many cases, and then in the middle of one; the first die before they begin.
        let cases = if kill < 2 {
            0
        } else {
            noise.below(15) as usize
        };
        let patience = Instant::now() + Duration::from_secs(60);
        while lines(&sandbox) < before + cases && Instant::now() < patience {
            let ended = child.try_wait().expect("a child");
            assert!(ended.is_none(), "it ended by itself: {ended:?}");
            std::thread::sleep(Duration::from_micros(200));
        }
        std::thread::sleep(Duration::from_micros(noise.below(20_000)));
        child.kill().expect("SIGKILL");
        let status = child.wait().expect("ends");
        killed_inside += usize::from(status.code().is_none());
        if kill % 3 == 2 {
            tear(&sandbox, &mut noise);
        }
    }
    assert_eq!(killed_inside, 20, "a run ended before it was killed");
    let left = CASES + 1 - lines(&sandbox);
    assert!(left > 0, "nothing was left for the last start");
    sandbox
        .run(&["run", "s.yaml", "--resume", "auto", "--jobs", "3"])
        .expect_code(100)
        .expect_stdout("resuming reports/");
    let runs = sandbox.runs("reports");
    let last = timeless_cases(runs.last().expect("a run"));
    assert_eq!(last, whole);
    // What died before its first line left nothing that could be taken for results.
    for run in &runs[..runs.len() - 1] {
        let record = std::fs::read_to_string(run.join("record.jsonl")).unwrap_or_default();
        assert!(!record.contains('\n'), "{record}");
    }
}

#[test]
fn a_line_cut_short_is_run_again_and_said() {
    let sandbox = Sandbox::new();
    sandbox.many_cases("s.yaml", 4);
    sandbox
        .run(&["run", "s.yaml", "--jobs", "1"])
        .expect_code(100);
    let run = sandbox.runs("reports").remove(0);
    let whole = timeless_cases(&run);
    let record = run.join("record.jsonl");
    let text = std::fs::read_to_string(&record).expect("a record");
    let third = text.match_indices('\n').nth(3).expect("four lines").0;
    std::fs::write(&record, &text[..third - 40]).expect("cut");
    sandbox
        .run(&["run", "s.yaml", "--resume", "latest"])
        .expect_code(100)
        .expect_stdout("2 recorded, 2 to run; the case in flight was lost and runs again")
        .expect_stdout("3 passed, 1 failed");
    assert_eq!(timeless_cases(&run), whole);
    assert_eq!(sandbox.runs("reports").len(), 1);
    // A run that is complete has nothing left to do, and its verdict stands.
    sandbox
        .run(&["run", "s.yaml", "--resume", "latest", "--junit", "r.xml"])
        .expect_code(100)
        .expect_stdout("4 recorded, 0 to run");
    assert_eq!(timeless_cases(&run), whole);
    // To 'auto' it is over, and a new one begins.
    sandbox
        .run(&["run", "s.yaml", "--resume", "auto"])
        .expect_code(100);
    assert_eq!(sandbox.runs("reports").len(), 2);
}

#[test]
fn time_can_run_out_and_the_next_job_goes_on() {
    let sandbox = Sandbox::new();
    sandbox.many_cases("s.yaml", 40);
    let first = [
        "run",
        "s.yaml",
        "--filter",
        "t0,t1",
        "--jobs",
        "1",
        "--max-time",
    ];
    let stopped = sandbox.run(&[&first[..], &["1ms"]].concat());
    assert!(stopped.stdout.contains("not run"), "{}", stopped.stdout);
    stopped.expect_code(5);
    let again = [&first[..6], &["--resume", "latest"]].concat();
    sandbox
        .run(&again)
        .expect_stdout("resuming reports/")
        .expect_code(100);
    assert_eq!(sandbox.runs("reports").len(), 1);
}

#[test]
fn another_plan_is_not_continued() {
    let sandbox = Sandbox::new();
    sandbox.many_cases("s.yaml", 3);
    sandbox.run(&["run", "s.yaml", "--max-time", "1ms", "--jobs", "1"]);
    let resume = ["run", "s.yaml", "--resume", "latest"];
    for other in [&["--set", "sampling.seed=3"][..], &["--filter", "t1"]] {
        sandbox
            .run(&[&resume[..], other].concat())
            .expect_code(2)
            .expect_stderr("cannot resume reports/")
            .expect_stderr("are not those of its command, which was:");
    }
    sandbox
        .run(&[&resume[..], &["--shard", "1/2"]].concat())
        .expect_code(2)
        .expect_stderr("it is of the whole plan, and this is shard 1/2");
    let yaml = sandbox.read("s.yaml");
    sandbox.write("s.yaml", &yaml.replace("user: go 1,", "user: go on,"));
    sandbox
        .run(&resume)
        .expect_code(2)
        .expect_stderr("cannot resume reports/");
    sandbox.write("s.yaml", &yaml);
    // Other weights under the same name would mix two models in one record.
    let script = sandbox.read("checkpoints/stuck.yaml");
    sandbox.write("checkpoints/stuck.yaml", &script.replace("1.031", "1.2"));
    sandbox
        .run(&resume)
        .expect_code(2)
        .expect_stderr("is not the one that answered so far");
    sandbox.write("checkpoints/stuck.yaml", &script);
    sandbox.run(&resume).expect_code(100);
    Sandbox::new()
        .run(&[
            "run",
            "--resume",
            "latest",
            &sandbox.path("s.yaml").display().to_string(),
        ])
        .expect_code(2)
        .expect_stderr("there is no run in reports");
}

#[test]
fn fail_fast_begins_nothing_after_the_first_failure() {
    let sandbox = Sandbox::new();
    sandbox.many_cases("s.yaml", 30);
    sandbox
        .run(&["run", "s.yaml", "--fail-fast", "--jobs", "1"])
        .expect_code(100)
        .expect_stdout("2 passed, 1 failed, 27 not run");
    // The rest can be run all the same.
    sandbox
        .run(&["run", "s.yaml", "--resume", "latest"])
        .expect_code(100)
        .expect_stdout("20 passed, 10 failed");
}
