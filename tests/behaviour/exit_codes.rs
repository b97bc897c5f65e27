//! The exit codes: each number that `docs/exit-codes.md` promises, from the program itself.

use std::collections::BTreeMap;

use crate::support::{Sandbox, repository};

/// How each code is brought about. Signals, 130 and 143, are in `run.rs`.
fn codes() -> BTreeMap<i32, i32> {
    let sandbox = Sandbox::new();
    sandbox.many_cases("many.yaml", 9);
    sandbox.gate_scenario("w");
    let run = |arguments: &[&str]| sandbox.run(arguments).code;
    let mut found = BTreeMap::new();
    found.insert(0, run(&["run", "s.yaml", "--filter", "fine"]));
    // A disk that is full while the events are written.
    found.insert(
        1,
        run(&["run", "s.yaml", "--filter", "fine", "--events", "/dev/full"]),
    );
    found.insert(2, run(&["run", "s.yaml", "--shard", "0/2"]));
    found.insert(
        4,
        run(&["run", "s.yaml", "--filter", "nothing-of-this-name"]),
    );
    found.insert(
        5,
        run(&[
            "run",
            "many.yaml",
            "--filter",
            "t0,t1",
            "--jobs",
            "1",
            "--max-time",
            "1ms",
        ]),
    );
    found.insert(100, run(&["run", "s.yaml"]));
    found.insert(101, run(&["run", "s.yaml", "--set", "model=nowhere"]));
    let reports = |name: &str| {
        run(&["run", "many.yaml", "--report", name]);
        sandbox
            .runs(name)
            .remove(0)
            .to_str()
            .expect("UTF-8")
            .to_owned()
    };
    let before = reports("a");
    let text = std::fs::read_to_string(format!("{before}/record.jsonl")).expect("a record");
    let slower = |factor: &dyn Fn(usize) -> u64| {
        let lines = text.lines().enumerate().map(|(at, line)| {
            let mut line: serde_json::Value = serde_json::from_str(line).expect("JSON");
            if line["line"] == "case" {
                let transcript = &mut line["run"]["conversation"]["exchanges"][0]["transcript"];
                let us = transcript["e2e_us"].as_u64().expect("µs");
                transcript["e2e_us"] = (us * factor(at)).into();
            }
            line.to_string() + "\n"
        });
        sandbox.write("b/record.jsonl", &lines.collect::<String>());
    };
    let compare = [
        "compare",
        &before,
        "b",
        "--max-slowdown",
        "5%",
        "--fail-on-inconclusive",
    ];
    slower(&|_| 3);
    found.insert(99, run(&compare));
    slower(&|at| 1 + (at as u64 % 2));
    found.insert(3, run(&compare));
    found
}

#[cfg(target_os = "linux")]
#[test]
fn every_code_means_what_it_says() {
    for (expected, found) in codes() {
        assert_eq!(found, expected);
    }
}

#[test]
fn the_documentation_has_every_code_and_no_other() {
    let page = std::fs::read_to_string(repository("docs/exit-codes.md")).expect("the page");
    let documented: Vec<u8> = page
        .lines()
        .filter_map(|line| line.strip_prefix("| ")?.split(' ').next()?.parse().ok())
        .collect();
    use loopwatch::cli::Exit;
    let all = [
        Exit::Passed,
        Exit::Internal,
        Exit::Usage,
        Exit::Inconclusive,
        Exit::NothingSelected,
        Exit::Outstanding,
        Exit::Regressed,
        Exit::Failed,
        Exit::Target,
        Exit::Interrupted,
        Exit::Terminated,
    ];
    assert_eq!(documented, all.map(Exit::code));
}

/// If several apply, the one that says more about the run wins.
#[test]
fn the_more_serious_outcome_wins() {
    let sandbox = Sandbox::new();
    sandbox.gate_scenario("w");
    sandbox.scenario_of_a_broken_server();
    sandbox
        .run(&["run", "s.yaml", "down.yaml"])
        .expect_code(101);
    // A failure among cases that were left out is a failure.
    sandbox
        .run(&["run", "s.yaml", "--fail-fast", "--jobs", "1"])
        .expect_code(100)
        .expect_stdout("not run");
}
