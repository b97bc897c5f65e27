//! `--json`, `--events` and `--sarif`: documents with a version that say what happened.

use serde_json::Value;

use crate::support::{Sandbox, repository};

fn json(text: &str) -> Value {
    serde_json::from_str(text).expect("JSON")
}

/// Checks `value` against the parts of JSON Schema that schemars writes.
fn conform(value: &Value, schema: &Value, root: &Value, at: &str) {
    if let Some(name) = schema["$ref"].as_str() {
        let name = name.trim_start_matches("#/definitions/");
        return conform(value, &root["definitions"][name], root, at);
    }
    for all in schema["allOf"].as_array().into_iter().flatten() {
        conform(value, all, root, at);
    }
    let any = schema["anyOf"].as_array().or(schema["oneOf"].as_array());
    if let Some(any) = any {
        let fits = |one: &Value| std::panic::catch_unwind(|| conform(value, one, root, at)).is_ok();
        assert!(any.iter().any(fits), "{at}: {value} fits none of {any:?}");
    }
    if let Some(values) = schema["enum"].as_array() {
        assert!(values.contains(value), "{at}: {value}");
    }
    if !schema["const"].is_null() {
        assert_eq!(*value, schema["const"], "{at}");
    }
    let of_type = |name: &str| match name {
        "object" => value.is_object(),
        "array" => value.is_array(),
        "string" => value.is_string(),
        "integer" => value.is_u64() || value.is_i64(),
        "number" => value.is_number(),
        "boolean" => value.is_boolean(),
        "null" => value.is_null(),
        other => panic!("{other}"),
    };
    match &schema["type"] {
        Value::String(name) => assert!(of_type(name), "{at}: {value} is no {name}"),
        Value::Array(names) => assert!(
            names.iter().any(|name| name.as_str().is_some_and(of_type)),
            "{at}: {value}"
        ),
        _ => {}
    }
    for name in schema["required"].as_array().into_iter().flatten() {
        let name = name.as_str().expect("a name");
        assert!(value.get(name).is_some(), "{at}: no {name}");
    }
    if let (Some(object), Some(known)) = (value.as_object(), schema["properties"].as_object()) {
        for (name, inner) in object {
            let inner_schema = known.get(name);
            let inner_schema =
                inner_schema.unwrap_or_else(|| panic!("{at}: {name} is not in the schema"));
            conform(inner, inner_schema, root, &format!("{at}.{name}"));
        }
    }
    if let (Some(items), true) = (value.as_array(), schema["items"].is_object()) {
        for item in items {
            conform(item, &schema["items"], root, &format!("{at}[]"));
        }
    }
}

#[test]
fn the_document_has_a_version_and_is_what_its_schema_says() {
    let sandbox = Sandbox::new();
    sandbox.gate_scenario("w");
    sandbox
        .run(&["run", "s.yaml", "--json", "r.json"])
        .expect_code(100);
    let document = json(&sandbox.read("r.json"));
    let schema = json(&sandbox.run(&["schema", "results"]).expect_code(0).stdout);
    conform(&document, &schema, &schema, "document");
    assert_eq!(document["schema_version"], 1);
    assert_eq!(document["outcome"], "failed");
    assert_eq!(document["totals"]["passed"], 2);
    assert_eq!(document["totals"]["failed"], 2);
    let cases = document["cases"].as_array().expect("cases");
    let ids: Vec<&str> = cases
        .iter()
        .filter_map(|case| case["id"].as_str())
        .collect();
    assert_eq!(ids, ["s/loops", "s/cured", "s/toothless", "s/fine"]);
    let problems = cases[0]["problems"].as_array().expect("problems");
    assert_eq!(problems.len(), 2);
    assert_eq!(problems[0]["rule"], "not-loop");
    assert_eq!(problems[0]["line"], 12);
    assert_eq!(problems[0]["column"], 5);
    assert_eq!(cases[0]["loops"][0]["period"], 5);
    assert_eq!(cases[0]["loops"][0]["onset"], 0);
    assert_eq!(cases[0]["loops"][0]["fragment"], "one two three four five ");
    assert_eq!(cases[1]["control"]["outcome"], "passed");
    assert_eq!(cases[2]["control"]["held"][0], "not-loop");
    assert_eq!(cases[2]["problems"][0]["kind"], "control");
    assert!(
        document["models"][0]["weights_sha256"]
            .as_str()
            .expect("a hash")
            .len()
            == 64
    );

    // A recorded run gives the same document again.
    sandbox
        .run(&["report", "--json", "again.json"])
        .expect_code(0);
    assert_eq!(sandbox.read("again.json"), sandbox.read("r.json"));
}

#[test]
fn events_are_told_while_the_run_goes_on_and_people_move_aside() {
    let sandbox = Sandbox::new();
    sandbox.gate_scenario("w");
    let ran = sandbox
        .run(&["run", "s.yaml", "--events", "-", "--annotations", "github"])
        .expect_code(100)
        .expect_stderr("2 passed, 2 failed")
        .expect_stderr("::error file=s.yaml");
    let schema = json(&sandbox.run(&["schema", "events"]).expect_code(0).stdout);
    let lines: Vec<Value> = ran.stdout.lines().map(json).collect();
    for line in &lines {
        conform(line, &schema, &schema, "event");
    }
    let kinds: Vec<&str> = lines
        .iter()
        .filter_map(|line| line["event"].as_str())
        .collect();
    assert_eq!(kinds.first(), Some(&"run_started"));
    assert_eq!(kinds.last(), Some(&"run_finished"));
    for kind in ["case_started", "case_finished"] {
        assert_eq!(kinds.iter().filter(|other| **other == kind).count(), 4);
    }
    let last = &lines[lines.len() - 1];
    assert_eq!(
        (&last["outcome"], &last["exit_code"]),
        (&"failed".into(), &100.into())
    );
    let finished = lines.iter().find(|line| line["case"]["id"] == "s/loops");
    assert_eq!(finished.expect("the case")["case"]["outcome"], "failed");

    sandbox
        .run(&["run", "s.yaml", "--events", "e/e.jsonl"])
        .expect_code(100);
    assert_eq!(sandbox.read("e/e.jsonl").lines().count(), 10);
}

/// What SARIF 2.1.0 asks of the parts that are used.
fn check_sarif(log: &Value) {
    assert_eq!(log["version"], "2.1.0");
    let run = &log["runs"][0];
    let driver = &run["tool"]["driver"];
    assert_eq!(driver["name"], "loopwatch");
    let rules = driver["rules"].as_array().expect("rules");
    for result in run["results"].as_array().expect("results") {
        let rule = &rules[result["ruleIndex"].as_u64().expect("an index") as usize];
        assert_eq!(rule["id"], result["ruleId"]);
        assert!(rule["shortDescription"]["text"].is_string());
        assert!(
            result["message"]["text"]
                .as_str()
                .is_some_and(|text| !text.is_empty())
        );
        assert_eq!(result["level"], "error");
        let place = &result["locations"][0]["physicalLocation"];
        let uri = place["artifactLocation"]["uri"].as_str().expect("a URI");
        assert!(uri.bytes().all(|byte| byte.is_ascii_graphic()), "{uri}");
        assert!(
            place["region"]["startLine"]
                .as_u64()
                .is_some_and(|line| line > 0)
        );
        assert!(result["partialFingerprints"]["case/v1"].is_string());
    }
    assert!(run["invocations"][0]["executionSuccessful"].is_boolean());
}

#[test]
fn sarif_has_a_rule_for_each_kind_of_assertion_and_the_place_of_each_result() {
    let sandbox = Sandbox::new();
    sandbox.gate_scenario("w");
    sandbox.write("größe 1.yaml", &sandbox.read("s.yaml"));
    sandbox
        .run(&["run", "größe 1.yaml", "--sarif", "r.sarif"])
        .expect_code(100);
    let log = json(&sandbox.read("r.sarif"));
    check_sarif(&log);
    let run = &log["runs"][0];
    let rules = run["tool"]["driver"]["rules"].as_array().expect("rules");
    let rules: Vec<&str> = rules
        .iter()
        .filter_map(|rule| rule["id"].as_str())
        .collect();
    assert_eq!(rules, ["not-loop", "contains", "control"]);
    let results = run["results"].as_array().expect("results");
    assert_eq!(results.len(), 3);
    let place = &results[1]["locations"][0]["physicalLocation"];
    assert_eq!(place["artifactLocation"]["uri"], "gr%C3%B6%C3%9Fe%201.yaml");
    assert_eq!(place["region"]["startLine"], 13);
    assert_eq!(place["region"]["startColumn"], 5);
    assert_eq!(run["invocations"][0]["executionSuccessful"], true);
}

#[test]
fn sarif_tells_trouble_apart_from_results() {
    let sandbox = Sandbox::new();
    sandbox.gate_scenario("w");
    let arguments = [
        "run",
        "s.yaml",
        "--sarif",
        "r.sarif",
        "--set",
        "model=nowhere",
    ];
    sandbox.run(&arguments).expect_code(101);
    let log = json(&sandbox.read("r.sarif"));
    check_sarif(&log);
    let run = &log["runs"][0];
    assert_eq!(run["results"], Value::Array(Vec::new()));
    let invocation = &run["invocations"][0];
    assert_eq!(invocation["executionSuccessful"], false);
    let told = invocation["toolExecutionNotifications"]
        .as_array()
        .expect("some");
    assert_eq!(told.len(), 4);
}

#[test]
fn a_passing_run_of_this_repository_has_nothing_to_tell() {
    let sandbox = Sandbox::new();
    let scenario = repository("scenarios/reported");
    sandbox
        .run(&[
            "run",
            &scenario,
            "--sarif",
            "r.sarif",
            "--snapshots",
            &repository("snapshots"),
        ])
        .expect_code(0);
    let log = json(&sandbox.read("r.sarif"));
    check_sarif(&log);
    assert_eq!(log["runs"][0]["results"], Value::Array(Vec::new()));
}
