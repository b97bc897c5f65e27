//! `compare`: what changed from one run to another, token by token, and whether it is slower.

use serde_json::Value;

use crate::support::Sandbox;

fn run(sandbox: &Sandbox, reports: &str, arguments: &[&str]) -> String {
    let all = [&["run", "s.yaml", "--report", reports], arguments].concat();
    sandbox.run(&all);
    let run = sandbox.runs(reports).remove(0);
    run.to_str().expect("UTF-8").to_owned()
}

/// Writes a copy of a record with each of its lines changed.
fn changed(sandbox: &Sandbox, run: &str, name: &str, change: &mut dyn FnMut(&mut Value)) -> String {
    let text = std::fs::read_to_string(format!("{run}/record.jsonl")).expect("a record");
    let lines = text.lines().map(|line| {
        let mut line: Value = serde_json::from_str(line).expect("JSON");
        change(&mut line);
        line.to_string() + "\n"
    });
    sandbox.write(&format!("{name}/record.jsonl"), &lines.collect::<String>());
    name.to_owned()
}

/// Makes every time of a case longer.
fn stretch(case: &mut Value, factor: f64) {
    if case["line"] != "case" {
        return;
    }
    let stretched = |value: &Value| Value::from((value.as_f64().expect("µs") * factor) as u64);
    let exchanges = case["run"]["conversation"]["exchanges"].as_array_mut();
    for exchange in exchanges.into_iter().flatten() {
        let transcript = &mut exchange["transcript"];
        transcript["e2e_us"] = stretched(&transcript["e2e_us"]);
        let times = transcript["token_at_us"].as_array_mut().expect("times");
        for time in times {
            *time = stretched(time);
        }
    }
}

fn json(text: &str) -> Value {
    serde_json::from_str(text).expect("JSON")
}

#[test]
fn a_run_beside_itself_has_no_change() {
    let sandbox = Sandbox::new();
    sandbox.many_cases("s.yaml", 9);
    let run = run(&sandbox, "a", &[]);
    sandbox
        .run(&[
            "compare",
            &run,
            &run,
            "--fail-on-change",
            "--max-slowdown",
            "0%",
        ])
        .expect_code(0)
        .expect_stdout("0 of 9 cases changed")
        .expect_stdout("+0.0 % [+0.0 %, +0.0 %] over 9 pairs")
        .expect_stdout("not slower than allowed");
}

#[test]
fn the_first_token_that_differs_is_named_with_what_was_asked_differently() {
    let sandbox = Sandbox::new();
    sandbox.many_cases("s.yaml", 3);
    let before = run(&sandbox, "a", &["--set", "sampling.repetition_penalty=1.0"]);
    let after = run(&sandbox, "b", &["--set", "sampling.repetition_penalty=1.2"]);
    let ran = sandbox
        .run(&["compare", &before, &after])
        .expect_code(0)
        .expect_stdout("failed -> passed s/t0  s.yaml:7")
        .expect_stdout("sampling.repetition_penalty: 1.0 -> 1.2")
        .expect_stdout("first different token is ")
        .expect_stdout("3 of 3 cases changed");
    let ids: Vec<&str> = ran
        .stdout
        .lines()
        .find_map(|line| line.trim().strip_prefix("first different token is "))
        .expect("the token")
        .split([':', '('])
        .collect();
    assert!(ids[1].contains(" -> "), "{ids:?}");
    let document = json(
        &sandbox
            .run(&["compare", &before, &after, "--json"])
            .expect_code(0)
            .stdout,
    );
    assert_eq!(document["schema_version"], 1);
    let change = &document["changes"][0];
    assert_eq!(change["severity"], "better");
    let token = &change["divergence"]["token"];
    let index = token["index"].as_u64().expect("an index") as usize;
    let text = std::fs::read_to_string(format!("{before}/record.jsonl")).expect("a record");
    let case = text
        .lines()
        .map(json)
        .find(|line| line["id"] == "s/t0")
        .expect("the case");
    let tokens = &case["run"]["conversation"]["exchanges"][0]["transcript"]["tokens"];
    assert_eq!(tokens[index]["id"], token["before"]);
    assert_ne!(token["before"], token["after"]);

    // The other way round it is a regression, with the assertion that fails now.
    sandbox
        .run(&["compare", &after, &before])
        .expect_code(100)
        .expect_stdout("passed -> failed s/t0")
        .expect_stdout("not-loop: loop confirmed");
}

#[test]
fn an_answer_that_changes_is_told_and_fails_only_if_asked_to() {
    let sandbox = Sandbox::new();
    sandbox.many_cases("s.yaml", 2);
    let before = run(&sandbox, "a", &[]);
    let after = changed(&sandbox, &before, "b", &mut |line| {
        if line["id"] == "s/t1" {
            let tokens = &mut line["run"]["conversation"]["exchanges"][0]["transcript"]["tokens"];
            tokens[3]["id"] = 2.into();
        }
    });
    sandbox
        .run(&["compare", &before, &after])
        .expect_code(0)
        .expect_stdout("passed, changed s/t1")
        .expect_stdout("first different token is 3 of generation 1: ")
        .expect_stdout("1 of 2 cases changed");
    sandbox
        .run(&["compare", &before, &after, "--fail-on-change"])
        .expect_code(100);
}

#[test]
fn a_case_that_is_gone_or_in_trouble_is_no_success() {
    let sandbox = Sandbox::new();
    sandbox.many_cases("s.yaml", 2);
    let both = run(&sandbox, "a", &[]);
    let one = run(&sandbox, "b", &["--filter", "t1"]);
    sandbox
        .run(&["compare", &both, &one])
        .expect_code(100)
        .expect_stdout("passed -> gone s/t0");
    sandbox
        .run(&["compare", &one, &both])
        .expect_code(0)
        .expect_stdout("new, passed s/t0");
    let errored = changed(&sandbox, &both, "c", &mut |line| {
        if line["id"] == "s/t1" {
            line["verdict"] = "errored".into();
            line["run"]["error"] = "no connection".into();
        }
    });
    sandbox
        .run(&["compare", &both, &errored])
        .expect_code(101)
        .expect_stdout("passed -> could not run s/t1")
        .expect_stdout("no connection");
}

#[test]
fn slower_is_told_from_inconclusive() {
    let sandbox = Sandbox::new();
    sandbox.many_cases("s.yaml", 12);
    let before = run(&sandbox, "a", &["--jobs", "1"]);
    let slower = changed(&sandbox, &before, "slower", &mut |line| stretch(line, 1.5));
    let mut count = 0;
    let mixed = changed(&sandbox, &before, "mixed", &mut |line| {
        count += 1;
        stretch(line, if count % 2 == 0 { 1.5 } else { 0.7 });
    });
    let limit = |after: &str, more: &[&str]| {
        let all = [&["compare", &before, after, "--max-slowdown", "10%"], more].concat();
        sandbox.run(&all)
    };
    limit(&slower, &[])
        .expect_code(99)
        .expect_stdout("over 12 pairs: slower")
        .expect_stdout("slower than allowed");
    limit(&before, &[]).expect_code(0);
    limit(&mixed, &[])
        .expect_code(0)
        .expect_stdout("inconclusive: the intervals hold values on both sides of the limit");
    limit(&mixed, &["--fail-on-inconclusive"]).expect_code(3);
    // Without a limit times are told, and gate nothing.
    sandbox
        .run(&["compare", &before, &slower])
        .expect_code(0)
        .expect_stdout("slower");
    // Six pairs are too few for three intervals at once.
    let few = Sandbox::new();
    few.many_cases("s.yaml", 6);
    let short = run(&few, "a", &[]);
    few.run(&["compare", &short, &short, "--max-slowdown", "10%"])
        .expect_code(0)
        .expect_stdout("inconclusive, an interval needs 7");
}

/// The recipe of docs/ci.md: each case of both sides right after the other, by shards of one case.
#[test]
fn two_sides_can_be_run_in_turn_and_compared_pair_by_pair() {
    let sandbox = Sandbox::new();
    sandbox.many_cases("s.yaml", 7);
    for part in 1..=7 {
        let shard = format!("{part}/7");
        let sides = match part % 2 {
            0 => ["b", "a"],
            _ => ["a", "b"],
        };
        for side in sides {
            let report = format!("{side}/{part}");
            let arguments = ["run", "s.yaml", "--shard", &shard, "--jobs", "1"];
            sandbox.run(&[&arguments[..], &["--report", &report]].concat());
        }
    }
    let merged = ["a", "b"].map(|side| {
        let parts: Vec<String> = (1..=7)
            .map(|part| {
                let run = sandbox.runs(&format!("{side}/{part}")).remove(0);
                run.to_str().expect("UTF-8").to_owned()
            })
            .collect();
        let parts: Vec<&str> = parts.iter().map(String::as_str).collect();
        let report = format!("whole-{side}");
        sandbox
            .run(&[&["merge", "--report", &report][..], &parts].concat())
            .expect_code(100);
        let run = sandbox.runs(&report).remove(0);
        run.to_str().expect("UTF-8").to_owned()
    });
    sandbox
        .run(&["compare", &merged[0], &merged[1], "--max-slowdown", "2%"])
        .expect_stdout("0 of 7 cases changed")
        .expect_stdout("over 7 pairs");
}

/// Counted, not timed: a prefix that is not found any more is seen in one run.
#[test]
fn the_same_answers_for_more_work_are_a_regression_where_that_is_asked_for() {
    let sandbox = Sandbox::new();
    sandbox.many_cases("s.yaml", 3);
    let before = run(&sandbox, "a", &[]);
    let after = changed(&sandbox, &before, "b", &mut |line| {
        if line["line"] == "case" && line["index"] == 1 {
            let exchange = &mut line["run"]["conversation"]["exchanges"][0];
            let usage = &mut exchange["transcript"]["usage"];
            usage["input_tokens"] = (usage["input_tokens"].as_u64().expect("tokens") + 2).into();
        }
    });
    let compare = |from: &str, to: &str, most: &str| {
        sandbox.run(&["compare", from, to, "--max-extra-work", most])
    };
    compare(&before, &before, "0%")
        .expect_code(0)
        .expect_stdout("work                   the same over 3 pairs: ");
    compare(&before, &after, "0%")
        .expect_code(99)
        .expect_stdout("0 of 3 cases changed")
        .expect_stdout("work                   input tokens computed ")
        .expect_stdout("more work than allowed");
    compare(&before, &after, "50%").expect_code(0);
    let other = changed(&sandbox, &before, "c", &mut |line| {
        if line["line"] == "case" {
            line["id"] = format!("{}x", line["id"].as_str().expect("an id")).into();
        }
    });
    compare(&before, &other, "0%")
        .expect_code(100)
        .expect_stdout("work                   no pairs");
    compare(&after, &before, "0%").expect_code(0);
    let told = sandbox.run(&["compare", &before, &after, "--json"]);
    let told = json(&told.expect_code(0).stdout);
    let computed = |side: &str| told["work"][side]["computed_tokens"].as_u64();
    assert_eq!(
        computed("after"),
        computed("before").map(|tokens| tokens + 2)
    );
}
