//! `--shard` and `merge`: four parts are the whole, and a part that is missing is noticed.

use crate::support::{Sandbox, timeless_cases};

fn run_shard(sandbox: &Sandbox, shard: &str, reports: &str, code: i32) {
    sandbox
        .run(&["run", "s.yaml", "--shard", shard, "--report", reports])
        .expect_code(code);
}

#[test]
fn four_shards_merged_equal_one_run_case_by_case() {
    let sandbox = Sandbox::new();
    sandbox.many_cases("s.yaml", 41);
    sandbox
        .run(&["run", "s.yaml", "--report", "whole"])
        .expect_code(100);
    for shard in ["1/4", "2/4", "3/4", "4/4"] {
        run_shard(&sandbox, shard, &format!("parts/{}", &shard[..1]), 100);
    }
    let parts: Vec<String> = (1..=4)
        .map(|shard| {
            let run = sandbox.runs(&format!("parts/{shard}")).remove(0);
            let share = timeless_cases(&run).len();
            assert!((10..=11).contains(&share), "{share} cases in shard {shard}");
            run.to_str().expect("UTF-8").to_owned()
        })
        .collect();
    // In any order.
    let arguments = [
        "merge", &parts[2], &parts[0], &parts[3], &parts[1], "--json", "m.json",
    ];
    sandbox
        .run(&arguments)
        .expect_code(100)
        .expect_stdout("28 passed, 13 failed");
    let whole = timeless_cases(&sandbox.runs("whole")[0]);
    let merged = timeless_cases(&sandbox.runs("reports")[0]);
    assert_eq!(whole.len(), 41);
    assert_eq!(merged, whole);
    let document: serde_json::Value = serde_json::from_str(&sandbox.read("m.json")).expect("JSON");
    assert_eq!(document["totals"]["failed"], 13);
    assert!(document["shard"].is_null());
    // The merged run is a run: it is judged and reported like one.
    sandbox
        .run(&["judge"])
        .expect_code(100)
        .expect_stdout("28 passed, 13 failed");
    assert!(sandbox.runs("reports")[0].join("index.html").is_file());
}

#[test]
fn a_missing_shard_is_named_and_is_no_success() {
    let sandbox = Sandbox::new();
    sandbox.many_cases("s.yaml", 2);
    run_shard(&sandbox, "1/2", "a", 0);
    let part = sandbox.runs("a").remove(0);
    sandbox
        .run(&["merge", part.to_str().expect("UTF-8"), "--junit", "r.xml"])
        .expect_code(5)
        .expect_stdout("shard 2/2 is missing")
        .expect_stdout("1 passed, 1 not run");
}

#[test]
fn what_does_not_belong_together_is_not_merged() {
    let sandbox = Sandbox::new();
    sandbox.many_cases("s.yaml", 4);
    run_shard(&sandbox, "1/2", "a", 0);
    run_shard(&sandbox, "1/2", "b", 0);
    sandbox.run(&["run", "s.yaml", "--shard", "2/3", "--report", "c"]);
    sandbox.run(&[
        "run",
        "s.yaml",
        "--shard",
        "2/2",
        "--report",
        "d",
        "--set",
        "sampling.seed=7",
    ]);
    let part = |name: &str| {
        sandbox
            .runs(name)
            .remove(0)
            .to_str()
            .expect("UTF-8")
            .to_owned()
    };
    for (other, message) in [
        ("b", "are the same shard"),
        ("c", "they are of a different number of shards"),
        ("d", "they were made from different plans"),
    ] {
        sandbox
            .run(&["merge", &part("a"), &part(other)])
            .expect_code(2)
            .expect_stderr(message);
    }
}

#[test]
fn the_place_is_taken_from_the_scheduler_only_if_asked_for_and_is_told() {
    let sandbox = Sandbox::new();
    sandbox.many_cases("s.yaml", 4);
    let gitlab = [("CI_NODE_INDEX", "2"), ("CI_NODE_TOTAL", "4")];
    sandbox
        .run_with(&gitlab, &["run", "s.yaml", "--list"])
        .expect_code(0)
        .expect_stdout("s/t0")
        .expect_stdout("s/t3");
    let listed = sandbox
        .run_with(&gitlab, &["run", "s.yaml", "--list", "--shard", "auto"])
        .expect_code(0)
        .expect_stdout("shard 2/4, from GitLab (CI_NODE_INDEX=2, CI_NODE_TOTAL=4): 1 of 4 cases");
    assert_eq!(listed.stdout.matches("s/t").count(), 1);
    sandbox
        .run_with(
            &[("JOB_COMPLETION_INDEX", "3")],
            &["run", "s.yaml", "--list", "--shard", "auto/4"],
        )
        .expect_code(0)
        .expect_stdout("shard 4/4, from Kubernetes (JOB_COMPLETION_INDEX=3): 1 of 4 cases");
    let slurm = [
        ("SLURM_ARRAY_TASK_ID", "11"),
        ("SLURM_ARRAY_TASK_MIN", "10"),
        ("SLURM_ARRAY_TASK_COUNT", "2"),
    ];
    sandbox
        .run_with(&slurm, &["run", "s.yaml", "--list", "--shard", "auto"])
        .expect_code(0)
        .expect_stdout("shard 2/2, from Slurm");
    sandbox
        .run(&["run", "s.yaml", "--shard", "auto"])
        .expect_code(2)
        .expect_stderr("none of CI_NODE_INDEX,");
    sandbox
        .run(&["run", "s.yaml", "--shard", "5/4"])
        .expect_code(2)
        .expect_stderr("there is no shard 5/4");
}

#[test]
fn a_shard_without_cases_passes() {
    let sandbox = Sandbox::new();
    sandbox.many_cases("s.yaml", 1);
    let codes: Vec<i32> = ["1/2", "2/2"]
        .iter()
        .map(|shard| {
            sandbox
                .run(&["run", "s.yaml", "--shard", shard, "--junit", "r.xml"])
                .code
        })
        .collect();
    assert_eq!(codes, [0, 0]);
}
