//! Variables, matrices, shared files and repeated runs of scenarios: what is asked, what its cases
//! are called, and where an error points.

use rstest::rstest;
use serde_json::Value;

use crate::support::{Sandbox, repository, timeless_cases};

/// A scenario `s.yaml` on a scripted model, with `rest` behind what every one needs.
fn scenario(rest: &str) -> Sandbox {
    let sandbox = Sandbox::new();
    sandbox.gate_scenario("w");
    sandbox.write(
        "s.yaml",
        &format!(
            "version: 1\ndescription: d\nwhy: w\nmodel: script:checkpoints/stuck.yaml\n\
             sampling: {{max_tokens: 60}}\n{rest}"
        ),
    );
    sandbox
}

/// Id and verdict of each case of the only run, in the order of the plan.
fn verdicts(sandbox: &Sandbox) -> Vec<(String, String)> {
    let cases = timeless_cases(&sandbox.runs("reports")[0]);
    let text = |value: &Value| value.as_str().expect("a text").to_owned();
    let pair = |case: &Value| (text(&case["id"]), text(&case["verdict"]));
    cases.iter().map(pair).collect()
}

#[test]
fn a_matrix_becomes_cases_whose_texts_and_assertions_have_its_values() {
    let sandbox = scenario(
        "vars: {greeting: hello, most: 60}\n\
         matrix: {word: [one, nowhere], unused: [1, 2]}\n\
         tests:\n\
         - id: says\n  user: \"{{greeting}}, say {{ word }} and {{ '{{' }}\"\n  \
           matrix: {n: [1.5, README.md]}\n  \
           assert:\n  - contains: \"{{word}}\"\n  - max-tokens-used: \"{{most}}\"\n  \
           - not-contains: \"x{{n}}\"\n\
         - id: fixed\n  user: go\n  vars: {word: two}\n  assert: [contains: \"{{word}}\"]\n",
    );
    sandbox.run(&["run", "s.yaml"]).expect_code(100);
    let pair = |id: &str, verdict: &str| (format!("s/{id}"), verdict.to_owned());
    assert_eq!(
        verdicts(&sandbox),
        [
            pair("says+one+1-5", "passed"),
            pair("says+one+readme-md", "passed"),
            pair("says+nowhere+1-5", "failed"),
            pair("says+nowhere+readme-md", "failed"),
            pair("fixed", "passed"),
        ]
    );
    let cases = timeless_cases(&sandbox.runs("reports")[0]);
    let added = &cases[1]["run"]["conversation"]["exchanges"][0]["added"][0];
    assert_eq!(added["content"], "hello, say one and {{");
    // The assertion of a case has its values, so that the record can be judged again.
    assert_eq!(cases[2]["assertions"][0]["value"], "nowhere");
    assert_eq!(cases[2]["assertions"][1]["value"], 60);
    sandbox
        .run(&["judge"])
        .expect_code(100)
        .expect_stdout("contains \"nowhere\"");
    // An id selects its case, also where it is one of several.
    sandbox
        .run(&["list", "s.yaml", "--filter", "s/says+nowhere+1-5"])
        .expect_code(0)
        .expect_stdout("1 cases in 1 files");
}

#[rstest]
#[case(
    "tests: [{id: a, user: hi, assert: [contains: \"{{wrd}}\"]}]\n",
    "s.yaml:7:47: there is no variable 'wrd'",
    "did you mean 'word'?"
)]
#[case(
    "tests:\n- id: a\n  user: |\n    first\n    then {{ wrd }}\n  assert: [not-loop]\n",
    "s.yaml:11:10: there is no variable 'wrd'",
    "did you mean 'word'?"
)]
#[case(
    "tests: [{id: a, user: \"{{word|upper}}\", assert: [not-loop]}]\n",
    "s.yaml:7:24: '{{word|upper}}' does not hold the name of a variable",
    "{{name}}"
)]
#[case(
    "tests: [{id: a, user: hi, matrix: {x: [1, 2]}, assert: [not-loop]}]\n",
    "s.yaml:7:39: no text of this test names 'x'",
    "{{x}}"
)]
#[case(
    "tests: [{id: a, user: \"{{x}}\", matrix: {x: [1, 2, 1]}, assert: [not-loop]}]\n",
    "s.yaml:7:44: the list 'x' has 1 twice",
    ""
)]
#[case(
    "tests: [{id: a, user: \"{{x}}\", matrix: {x: []}, assert: [not-loop]}]\n",
    "the list 'x' is empty",
    ""
)]
#[case(
    "tests: [{id: a, user: \"say {{x}}\", vars: {x: [1, 2]}, assert: [not-loop]}]\n",
    "s.yaml:7:28: 'x' is no single text, number or truth value",
    "matrix"
)]
#[case(
    "tests: [{id: a, user: hi, vars: {x y: 1}, assert: [not-loop]}]\n",
    "s.yaml:7:39: 'x y' cannot be the name of a variable",
    "letters"
)]
#[case(
    "tests: [{id: a, user: hi, repeat: 5, reduce: at_leats 4/5, assert: [not-loop]}]\n",
    "s.yaml:7:46: reduce 'at_leats 4/5' is not known",
    "at_least 4/5"
)]
#[case(
    "tests: [{id: a, user: hi, reduce: all, assert: [not-loop]}]\n",
    "s.yaml:7:35: 'reduce' says when several runs pass together",
    "repeat"
)]
#[case(
    "tests: [{id: a, user: hi, repeat: 20, reduce: lower95 >= 0.8, assert: [not-loop]}]\n",
    "s.yaml:7:47: at temperature 0 all runs are one answer",
    "reduce: all"
)]
#[case(
    "tests: [{id: a, user: hi, repeat: 2, assert: [not-loop, snapshot]}]\n",
    "s.yaml:7:57: a snapshot holds one answer",
    ""
)]
fn mistakes_point_at_their_place(#[case] tests: &str, #[case] message: &str, #[case] help: &str) {
    let sandbox = scenario(&format!("vars: {{word: one}}\n{tests}"));
    let ran = sandbox.run(&["list", "s.yaml"]).expect_code(2);
    let said = ran.stderr;
    assert!(said.contains(message) && said.contains(help), "{said}");
}

#[test]
fn a_shared_file_gives_settings_and_assertions_and_its_lines_are_shown() {
    let sandbox = Sandbox::new();
    sandbox.gate_scenario("w");
    sandbox.write(
        "scenarios/shared/base.yaml",
        "version: 1\ntags: [shared]\nmodel: script:../../checkpoints/stuck.yaml\n\
         sampling: {max_tokens: 60, repetition_penalty: 1.0}\n\
         vars: {word: one}\n\
         defaultTest:\n  assert:\n  - contains: \"{{word}}\"\n  - contains: nowhere\n",
    );
    sandbox.write(
        "scenarios/s.yaml",
        "version: 1\nextends: shared/base.yaml\ndescription: d\nwhy: w\ntags: [own]\n\
         sampling: {repetition_penalty: 1.05}\n\
         tests:\n- id: a\n  user: go\n  vars: {word: two}\n  assert: [not-loop]\n- id: b\n  user: go\n",
    );
    let github = [("GITHUB_ACTIONS", "true")];
    let ran = sandbox
        .run_with(
            &github,
            &[
                "run",
                "--junit",
                "j.xml",
                "--markdown",
                "m.md",
                "--sarif",
                "s.sarif",
            ],
        )
        .expect_code(100);
    let place = "scenarios/shared/base.yaml:9";
    assert_eq!(ran.stdout.matches(place).count(), 2, "{}", ran.stdout);
    let annotation = "::error file=scenarios/shared/base.yaml,line=9,col=5";
    assert_eq!(ran.stdout.matches(annotation).count(), 2, "{}", ran.stdout);
    assert!(
        sandbox
            .read("j.xml")
            .contains(&format!("contains &quot;nowhere&quot; at {place}"))
    );
    assert!(sandbox.read("m.md").contains(&format!("({place})")));
    assert!(
        sandbox
            .read("s.sarif")
            .contains("scenarios/shared/base.yaml")
    );
    let page = sandbox.runs("reports")[0].join("index.html");
    let page = std::fs::read_to_string(page).expect("a page");
    assert!(page.replace("&#x2f;", "/").contains(place));
    let cases = timeless_cases(&sandbox.runs("reports")[0]);
    assert_eq!(cases.len(), 2);
    assert_eq!(cases[0]["run"]["sampling"]["repetition_penalty"], 1.05);
    assert_eq!(cases[0]["run"]["sampling"]["max_tokens"], 60);
    let types = |case: &Value| {
        let all = case["assertions"].as_array().expect("assertions").iter();
        all.map(|one| one["value"].as_str().unwrap_or("-").to_owned())
            .collect::<Vec<_>>()
    };
    assert_eq!(types(&cases[0]), ["two", "nowhere", "-"]);
    assert_eq!(types(&cases[1]), ["one", "nowhere"]);
    sandbox
        .run(&["list"])
        .expect_code(0)
        .expect_stdout("shared, own");
}

#[rstest]
#[case(
    "extends: shared/nowhere.yaml\n",
    "version: 1\n",
    "s.yaml:2:10: cannot read the file that this one extends"
)]
#[case(
    "extends: shared/base.yaml\n",
    "version: 1\nextends: ../s.yaml\n",
    "shared/base.yaml:2:10: '../s.yaml' extends itself in the end"
)]
#[case(
    "extends: shared/base.yaml\n",
    "version: 1\nwhy: x\n",
    "shared/base.yaml:2:6: another file extends this one, so it can have no"
)]
#[case(
    "extends: shared/base.yaml\n",
    "version: 1\nsampling:\n  temperature: -1\n",
    "shared/base.yaml:3:3: sampling: temperature is -1"
)]
#[case(
    "extends: shared/base.yaml\n",
    "version: 1\ndefaultTest:\n  assert:\n  - contains: a {{nmae}}\n",
    "shared/base.yaml:4:17: there is no variable 'nmae'"
)]
fn mistakes_around_a_shared_file_name_the_file_they_are_in(
    #[case] extends: &str,
    #[case] base: &str,
    #[case] message: &str,
) {
    let sandbox = Sandbox::new();
    sandbox.write("shared/base.yaml", base);
    sandbox.write(
        "s.yaml",
        &format!(
            "version: 1\n{extends}description: d\nwhy: w\n\
             tests: [{{id: a, user: hi, assert: [not-loop]}}]\n"
        ),
    );
    sandbox
        .run(&["list", "s.yaml"])
        .expect_code(2)
        .expect_stderr(message);
}

/// Runs of one case have seeds of their own, and one line says how many passed.
#[test]
fn repeated_runs_pass_together_as_the_scenario_says() {
    let sandbox = Sandbox::new();
    let coin = repository("tests/scenarios/coin.yaml");
    sandbox
        .run(&["run", &coin, "--junit", "j.xml", "--json", "r.json"])
        .expect_code(0);
    let cases = timeless_cases(&sandbox.runs("reports")[0]);
    let toss = &cases[0];
    assert_eq!(toss["id"], "coin/toss+please");
    let others = toss["repeats"]["others"].as_array().expect("other runs");
    assert_eq!(others.len(), 11);
    let shown = toss["repeats"]["shown"].as_u64().expect("a number") as usize;
    let mut runs: Vec<&Value> = others.iter().collect();
    runs.insert(shown, &toss["run"]);
    let seeds: Vec<u64> = runs
        .iter()
        .filter_map(|run| run["sampling"]["seed"].as_u64())
        .collect();
    assert_eq!(seeds, (7..19).collect::<Vec<_>>());
    let heads = runs.iter().filter(|run| {
        let text = &run["conversation"]["exchanges"][0]["transcript"]["text"];
        text.as_str().expect("a text").contains("heads")
    });
    let heads = heads.count();
    assert!(
        (7..12).contains(&heads),
        "{heads} of 12, so nothing is shown"
    );
    assert_eq!(toss["repeats"]["passed"], heads);
    let document: Value = serde_json::from_str(&sandbox.read("r.json")).expect("JSON");
    assert_eq!(
        document["cases"][0]["repeats"],
        serde_json::json!({"runs": 12, "passed": heads, "reduce": "at_least 7/12"})
    );
    let property = format!("<property name=\"repeats_passed\" value=\"{heads}/12\"/>");
    assert!(sandbox.read("j.xml").contains(&property));

    // One more than there are is not reached, and a run that failed is shown with its evidence.
    let text = std::fs::read_to_string(&coin).expect("the scenario");
    let more = heads + 1;
    let shared = repository("tests/scenarios/shared/coin.yaml");
    let wrong = text
        .replace("at_least 7/12", &format!("at_least {more}/12"))
        .replace("shared/coin.yaml", &shared);
    sandbox.write("coin.yaml", &wrong);
    let message = format!("{heads} of 12 runs passed, at least {more} must");
    sandbox
        .run(&[
            "run",
            "coin.yaml",
            "--report",
            "more",
            "--filter",
            "toss+please",
        ])
        .expect_code(100)
        .expect_stdout(&format!("repeat 12, at_least {more}/12"))
        .expect_stdout(&message)
        .expect_stdout("the answer does not contain \"shows heads.\"");
    sandbox
        .run(&["judge", "--reports", "more"])
        .expect_code(100)
        .expect_stdout(&message);
}

#[test]
fn an_override_does_not_make_a_sample_of_one_answer() {
    let sandbox = Sandbox::new();
    let coin = repository("tests/scenarios/coin.yaml");
    sandbox
        .run(&["list", &coin, "--set", "sampling.temperature=0"])
        .expect_code(2)
        .expect_stderr("at temperature 0 all runs are one answer");
}

/// A model that calls a tool once, and a scenario whose tool answers as `answer` says.
fn calls_a_tool(rest: &str, answer: &str) -> Sandbox {
    let sandbox = Sandbox::new();
    sandbox.write(
        "checkpoints/m.yaml",
        "version: 1\ndescription: d\nstart: look\nafter_tool: end\nstates:\n  \
         look: {call: {name: Read, arguments: {path: a}}, next: eos}\n  \
         end: {say: \"I have read it\", next: eos}\n",
    );
    sandbox.write(
        "s.yaml",
        &format!(
            "version: 1\ndescription: d\nwhy: w\nmodel: script:checkpoints/m.yaml\n\
             tools:\n  Read:\n    description: r\n    input_schema:\n      type: object\n      \
             properties: {{path: {{type: string}}}}\n    mock:\n    - {answer}\n{rest}\
             tests: [{{id: t, user: go, assert: [contains: read]}}]\n"
        ),
    );
    sandbox
}

#[test]
fn mock_tools_have_the_values_of_their_case() {
    let sandbox = calls_a_tool(
        "vars: {asked: a}\nmatrix: {file: [one.md, two.md]}\n",
        "{when: {path: \"{{asked}}\"}, return: {file: \"{{file}}\"}}",
    );
    sandbox.write("fixtures/one.md", "first {{file}}");
    sandbox.write("fixtures/two.md", "second");
    sandbox.run(&["run", "s.yaml"]).expect_code(0);
    let cases = timeless_cases(&sandbox.runs("reports")[0]);
    let read: Vec<(&str, &str)> = cases
        .iter()
        .map(|case| {
            let result = &case["run"]["conversation"]["exchanges"][0]["tool_results"][0];
            let text = |value: &'_ Value| value.as_str().map(str::to_owned);
            assert_eq!(text(&result["call"]["name"]).as_deref(), Some("Read"));
            (
                case["id"].as_str().expect("an id"),
                result["content"].as_str().expect("a text"),
            )
        })
        .collect();
    // A fixture is what it is, whatever stands in it.
    assert_eq!(
        read,
        [("s/t+one-md", "first {{file}}"), ("s/t+two-md", "second")]
    );
    sandbox.write("fixtures/one.md", "");
    std::fs::remove_file(sandbox.path("fixtures/two.md")).expect("removed");
    sandbox
        .run(&["run", "s.yaml"])
        .expect_code(2)
        .expect_stderr("fixture 'two.md': cannot read");
}

#[test]
fn a_tool_takes_its_time_and_the_limit_goes_on() {
    let answer = "{otherwise: {text: A, delay: 30s}}";
    let sandbox = calls_a_tool("limits: {time_limit: 300ms}\n", answer);
    sandbox
        .run(&["run", "s.yaml"])
        .expect_code(100)
        .expect_stdout("time_limit: the tools had not answered after 0.3 s");
    let sandbox = calls_a_tool("", "{otherwise: {text: A, delay: 20ms}}");
    sandbox.run(&["run", "s.yaml"]).expect_code(0);
}
