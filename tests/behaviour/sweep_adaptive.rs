//! `sweep --adaptive`: settings get no more runs once they are decided, and the answer is the same.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use crate::support::{Sandbox, repository, timeless_cases};

const PROMPTS: usize = 40;

/// A model that loops for ever unless the window is long enough for its thirty tokens and the
/// penalty is above 1.1: with a window of 20 every setting is hopeless.
fn sandbox() -> Sandbox {
    let sandbox = Sandbox::new();
    let tests = (0..PROMPTS)
        .map(|at| format!("- {{id: p{at}, user: Count {at}., assert: [not-loop]}}\n"))
        .collect::<String>();
    let head = "version: 1\ndescription: Questions\nwhy: A sweep needs prompts\n\
                model: script:period.yaml\nsampling: {max_tokens: 400}\ntests:\n";
    sandbox.write("prompts.yaml", &format!("{head}{tests}"));
    let script = std::fs::read_to_string(repository("scenarios/sweeps/period-thirty.yaml"));
    sandbox.write("period.yaml", &script.expect("a script"));
    sandbox
}

fn with<'a>(flags: &[&'a str]) -> Vec<&'a str> {
    let fixed = [
        "sweep",
        "prompts.yaml",
        "--axis",
        "penalty=1.0,1.2",
        "--axis",
        "window=20,64",
        "--target-rate",
        "0.2",
    ];
    [&fixed[..], flags].concat()
}

/// The analysis and the answers of the newest sweep below a folder.
fn results(sandbox: &Sandbox, reports: &str) -> (Value, Vec<Value>) {
    let run = sandbox.runs(reports).pop().expect("a sweep");
    let text = std::fs::read_to_string(run.join("sweep.json")).expect("an analysis");
    let analysis = serde_json::from_str(&text).expect("JSON");
    (analysis, timeless_cases(&run))
}

/// Generated tokens of every recorded answer, by penalty and window.
fn tokens(cases: &[Value]) -> BTreeMap<String, Vec<usize>> {
    let mut all: BTreeMap<String, Vec<usize>> = BTreeMap::new();
    for case in cases {
        let sampling = &case["run"]["sampling"];
        let penalty = sampling["repetition_penalty"].as_f64().expect("a penalty");
        let setting = match penalty == 1.0 {
            true => "off".to_owned(),
            false => format!("{penalty}; {}", sampling["repetition_context_size"]),
        };
        let transcript = &case["run"]["conversation"]["exchanges"][0]["transcript"];
        let tokens = transcript["tokens"].as_array().expect("tokens");
        all.entry(setting).or_default().push(tokens.len());
    }
    all
}

#[test]
fn a_hopeless_setting_ends_at_the_first_look_and_the_same_one_is_taken() {
    let sandbox = sandbox();
    sandbox.run(&with(&["--report", "whole"])).expect_code(0);
    let ran = sandbox
        .run(&with(&["--report", "short", "--adaptive"]))
        .expect_code(0)
        .expect_stdout("3 settings × 40 prompts, at most 120 runs")
        .expect_stdout("early, above, 10 of 40 runs")
        .expect_stdout("early, below, 30 of 40 runs")
        .expect_stdout("70 runs in")
        .expect_stdout("; 50 more were not needed");
    let (whole, every) = results(&sandbox, "whole");
    let (found, answers) = results(&sandbox, "short");
    let taken = json!({"verdict": "take", "setting": {"level": 1.2, "window": 64}});
    assert_eq!(whole["recommendation"]["verdict"], taken);
    assert_eq!(found["recommendation"]["verdict"], taken);
    // Seen in tokens, not only in counts: a hopeless run goes on to its limit.
    let (every, answers) = (tokens(&every), tokens(&answers));
    assert_eq!(every["1.2; 20"], [400; PROMPTS]);
    assert_eq!(answers["1.2; 20"], [400; 10]);
    assert_eq!(answers["off"], [400; 30]);
    assert_eq!(answers["1.2; 64"].len(), 30);
    let sum = |all: &BTreeMap<String, Vec<usize>>| all.values().flatten().sum::<usize>();
    assert!(sum(&answers) + 40 * 400 <= sum(&every));
    assert_eq!(
        found["adaptive"],
        json!({"looks": [10, 20, 30, 40], "spared": 50})
    );
    let decision = json!({
        "look": 1, "prompts": 10, "runs": 10, "spared": 30, "answer": "above",
    });
    assert_eq!(found["settings"][1]["decision"], decision);
    assert_eq!(
        (&found["missing"], &whole["adaptive"]),
        (&json!(0), &Value::Null)
    );
    let folder = sandbox.runs("short").remove(0);
    let read = |name: &str| std::fs::read_to_string(folder.join(name)).expect(name);
    // The settings go on together with what they are compared with.
    let said = "3 of 3 were decided early, which saved 50 of 120 runs";
    for text in [read("sweep.md"), read("sweep.html"), ran.stdout] {
        assert!(text.contains("early, above, 10 of 40 runs"), "{text}");
        assert!(text.contains(said), "{text}");
    }
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
fn a_sweep_that_died_takes_the_same_course() {
    let sandbox = sandbox();
    let adaptive = with(&["--adaptive", "--jobs", "1"]);
    sandbox.run(&adaptive).expect_code(0);
    let whole = results(&sandbox, "reports");
    let resume = |how: &'static str| [&adaptive[..], &["--resume", how]].concat();
    // In the middle of the first look, and in that of the second.
    for kept in [13, 42] {
        die_after(&sandbox, kept);
        sandbox
            .run(&resume("auto"))
            .expect_code(0)
            .expect_stdout(&format!("{kept} recorded, "));
        assert_eq!(sandbox.runs("reports").len(), 1);
        assert_eq!(results(&sandbox, "reports"), whole);
    }
    // What decides who runs on cannot be another thing in the middle.
    die_after(&sandbox, 13);
    let other = [&resume("latest")[..], &["--target-rate", "0.3"]].concat();
    sandbox.run(&other).expect_code(2);
    sandbox
        .run(&with(&["--jobs", "1", "--resume", "latest"]))
        .expect_code(2)
        .expect_stderr("settings are not those of its command");
    sandbox.run(&resume("latest")).expect_code(0);
    assert_eq!(results(&sandbox, "reports"), whole);
    // It is over although not all was run, so 'auto' begins a new one.
    sandbox.run(&resume("auto")).expect_code(0);
    assert_eq!(sandbox.runs("reports").len(), 2);
}

#[test]
fn the_sweep_file_can_say_it_and_the_prompts_of_every_scenario_have_their_share() {
    let sandbox = sandbox();
    let more = sandbox.read("prompts.yaml").replace("Questions", "More");
    sandbox.write("more.yaml", &more);
    let sweep = "version: 1\ndescription: x\nscenarios: [prompts.yaml, more.yaml]\n\
                 axes: {penalty: [1.0, 1.2], window: [20]}\nadaptive: true\n";
    sandbox.write("sweep.yaml", sweep);
    sandbox.run(&["sweep", "sweep.yaml"]).expect_code(0);
    let (found, answers) = results(&sandbox, "reports");
    // Both settings are hopeless at the first look, which has as many prompts of each scenario.
    assert_eq!(found["runs"], 2 * 20);
    let of = |scenario: &str| {
        let ids = answers.iter().filter_map(|case| case["id"].as_str());
        ids.filter(|id| id.starts_with(scenario)).count()
    };
    assert_eq!((of("prompts/"), of("more/")), (20, 20));
    let wrong = sweep.replace("adaptive: true", "adaptiv: true");
    sandbox.write("sweep.yaml", &wrong);
    sandbox
        .run(&["sweep", "sweep.yaml"])
        .expect_code(2)
        .expect_stderr("did you mean 'adaptive'?");
}
