//! `list`: the cases that a run has, without the run.

use serde_json::Value;

use crate::support::{Sandbox, timeless_cases};

/// The document of `list --json`.
fn listed(sandbox: &Sandbox, arguments: &[&str]) -> Value {
    let all = [&["list", "--json"], arguments].concat();
    let ran = sandbox.run(&all).expect_code(0);
    serde_json::from_str(&ran.stdout).expect("JSON")
}

/// Id, place and model of each case of the only run below `reports`, in the order of the plan.
fn recorded(sandbox: &Sandbox, reports: &str) -> Vec<[Value; 5]> {
    let runs = sandbox.runs(reports);
    assert_eq!(runs.len(), 1);
    let fields = ["id", "index", "scenario", "scenario_line", "model"];
    let cases = timeless_cases(&runs[0]);
    cases
        .iter()
        .map(|case| fields.map(|field| case[field].clone()))
        .collect()
}

#[test]
fn it_names_the_cases_that_a_run_of_the_same_arguments_records() {
    let sandbox = Sandbox::new();
    sandbox.gate_scenario("w");
    sandbox.many_cases("more/m.yaml", 9);
    let yaml = sandbox.read("more/m.yaml");
    sandbox.write("more/m.yaml", &format!("{yaml}tags: [many]\n"));
    // The script lies beside the scenario.
    let script = sandbox.read("checkpoints/stuck.yaml");
    sandbox.write("more/checkpoints/stuck.yaml", &script);
    let selections: [&[&str]; 5] = [
        &["s.yaml", "more"],
        &["s.yaml", "more", "--filter", "tag:many,cured"],
        &["more", "--shard", "2/4"],
        &["s.yaml", "more", "--filter", "t", "--shard", "1/3"],
        &[
            "s.yaml",
            "--target",
            "engine",
            "--target",
            "spawn:false {port}",
        ],
    ];
    for (at, selection) in selections.iter().enumerate() {
        let reports = format!("reports{at}");
        let junit = format!("{at}.xml");
        let run = [
            &["run", "--report", &reports, "--junit", &junit],
            *selection,
        ]
        .concat();
        let code = sandbox.run(&run).code;
        let document = listed(&sandbox, selection);
        let rows = document["cases"].as_array().expect("cases");
        assert!(!rows.is_empty());
        let fields = ["id", "index", "scenario", "line", "model"];
        let found: Vec<_> = rows
            .iter()
            .map(|row| fields.map(|field| row[field].clone()))
            .collect();
        let named = junit_names(&sandbox.read(&junit));
        let ids: Vec<&str> = rows.iter().filter_map(|row| row["id"].as_str()).collect();
        assert_eq!(named, sorted(&ids), "{selection:?}");
        // A target that cannot start leaves no record.
        if code != 101 {
            assert_eq!(found, recorded(&sandbox, &reports), "{selection:?}");
            let text = std::fs::read_to_string(sandbox.runs(&reports)[0].join("record.jsonl"));
            let header = text.expect("a record").lines().next().map(str::to_owned);
            let header: Value = serde_json::from_str(&header.expect("a line")).expect("JSON");
            assert_eq!(header["plan"]["sha256"], document["plan_sha256"]);
        }
    }
}

fn sorted(ids: &[&str]) -> Vec<String> {
    let mut ids: Vec<String> = ids.iter().map(|id| (*id).to_owned()).collect();
    ids.sort();
    ids
}

/// The ids in a JUnit file: the name of the scenario's file, and the name of the case.
fn junit_names(xml: &str) -> Vec<String> {
    let document = roxmltree::Document::parse(xml).expect("XML");
    let cases = document
        .descendants()
        .filter(|node| node.has_tag_name("testcase"));
    let mut names: Vec<String> = cases
        .map(|case| {
            let file = case.attribute("classname").expect("a file");
            let stem = std::path::Path::new(file).file_stem().expect("a name");
            let name = case.attribute("name").expect("a name");
            format!("{}/{name}", stem.to_string_lossy())
        })
        .collect();
    names.sort();
    names
}

#[test]
fn it_counts_controls_and_tells_tags_targets_and_totals() {
    let sandbox = Sandbox::new();
    sandbox.gate_scenario("w");
    let yaml = sandbox.read("s.yaml");
    sandbox.write("s.yaml", &format!("{yaml}tags: [agent, loops]\n"));
    let document = listed(&sandbox, &["s.yaml"]);
    assert_eq!(document["schema_version"], 1);
    assert_eq!(
        document["totals"],
        serde_json::json!({"cases": 4, "files": 1, "controls": 2, "assertions": 7})
    );
    let cured = &document["cases"][1];
    assert_eq!(cured["controls"], 1);
    assert_eq!(cured["must_fail"], serde_json::json!(["not-loop"]));
    assert_eq!(cured["target"], "engine");
    assert_eq!(cured["tags"], serde_json::json!(["agent", "loops"]));
    assert_eq!(document["cases"][0]["controls"], 0);

    let table = sandbox.run(&["list", "s.yaml"]).expect_code(0).stdout;
    let lines: Vec<&str> = table.lines().collect();
    let words: Vec<&str> = lines[2].split_whitespace().collect();
    let model = "script:checkpoints/stuck.yaml";
    let row = [
        "s/cured",
        "s.yaml:14",
        "1",
        "engine",
        model,
        "agent,",
        "loops",
    ];
    assert_eq!(words, row);
    assert_eq!(
        lines.last(),
        Some(&"4 cases in 1 files, 2 controls, 7 assertions")
    );
    let same = sandbox.run(&["run", "s.yaml", "--list"]).expect_code(0);
    assert_eq!(same.stdout, table);

    let server = ["s.yaml", "--target", "openai:http://127.0.0.1:9/v1"];
    let document = listed(&sandbox, &server);
    assert_eq!(
        document["cases"][0]["target"],
        "openai:http://127.0.0.1:9/v1"
    );
}

#[test]
fn a_part_is_told_apart_from_the_document() {
    let sandbox = Sandbox::new();
    sandbox.many_cases("s.yaml", 8);
    let ran = sandbox
        .run(&["list", "s.yaml", "--json", "--shard", "2/4"])
        .expect_code(0)
        .expect_stderr("shard 2/4: 2 of 8 cases");
    let document: Value = serde_json::from_str(&ran.stdout).expect("JSON");
    assert_eq!(
        document["shard"],
        serde_json::json!({"index": 2, "count": 4})
    );
    assert_eq!(document["planned"], 8);
}

#[test]
fn it_ends_as_run_does_where_there_is_nothing_or_something_wrong() {
    let sandbox = Sandbox::new();
    sandbox.gate_scenario("w");
    sandbox.write("broken.yaml", "version: 1\n");
    let cases: [(&[&str], i32); 5] = [
        (&["s.yaml", "--filter", "nothing-like-it"], 4),
        (&["broken.yaml"], 2),
        (&["nowhere.yaml"], 2),
        (&["s.yaml", "--shard", "9/4"], 2),
        (&["s.yaml", "--set", "sampling.nonsense=1"], 2),
    ];
    for (arguments, code) in cases {
        let run = sandbox.run(&[&["run"], arguments].concat());
        let list = sandbox.run(&[&["list"], arguments].concat());
        let run = run.expect_code(code);
        let list = list.expect_code(code);
        assert_eq!(list.stderr, run.stderr, "{arguments:?}");
        assert_eq!(list.stdout, "");
    }
    // A model that is not there is no trouble for who only lists.
    sandbox
        .run(&["list", "s.yaml", "--set", "model=nowhere"])
        .expect_code(0)
        .expect_stdout("nowhere");
    assert!(!sandbox.path("reports").exists());
}
