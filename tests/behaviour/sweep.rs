//! `loopwatch sweep`: what it runs, what it writes, what it recommends, and its errors.

use loopwatch::engine::{Engine, EngineOptions};
use loopwatch::generation::{GenerateRequest, Prompt, SamplingSettings, Transcript};
use loopwatch::model::ModelRef;
use loopwatch::sampling::{Sampler, Sequence};
use rstest::rstest;
use serde_json::Value;

use crate::support::{Ran, Sandbox, repository};

/// The analysis, and the folder of the sweep.
fn analysis(sandbox: &Sandbox, ran: &Ran) -> (Value, String) {
    let line = ran
        .stdout
        .lines()
        .find_map(|line| line.strip_prefix("report "));
    let page = line.expect("a report").to_owned();
    let folder = page.strip_suffix("/sweep.html").expect("a page").to_owned();
    let json = sandbox.read(&format!("{folder}/sweep.json"));
    (serde_json::from_str(&json).expect("JSON"), folder)
}

/// Level, window and loop counts of every setting.
fn loops(analysis: &Value) -> Vec<(f64, Option<u64>, u64, u64)> {
    let settings = analysis["settings"].as_array().expect("settings");
    let row = |setting: &Value| {
        let share = &setting["loops"]["share"];
        (
            setting["treatment"]["level"].as_f64().expect("a level"),
            setting["treatment"]["window"].as_u64(),
            share["hits"].as_u64().expect("hits"),
            share["of"].as_u64().expect("runs"),
        )
    };
    settings.iter().map(row).collect()
}

/// A window of 20 never holds the token that comes next in a loop of 30, so no penalty acts on
/// it; a window of 64 does, and the loop ends where the script says that it may.
#[test]
fn a_window_shorter_than_the_loop_cures_nothing_at_any_penalty() {
    let sandbox = Sandbox::new();
    let ran = sandbox.run(&["sweep", &repository("scenarios/sweeps/window.yaml")]);
    let ran = ran.expect_code(0);
    let (found, folder) = analysis(&sandbox, &ran);
    let expected = [
        (1.0, None, 3, 3),
        (1.05, Some(20), 3, 3),
        (1.05, Some(64), 3, 3),
        (1.2, Some(20), 3, 3),
        (1.2, Some(64), 0, 3),
        (1.5, Some(20), 3, 3),
        (1.5, Some(64), 0, 3),
        (3.0, Some(20), 3, 3),
        (3.0, Some(64), 0, 3),
    ];
    assert_eq!(loops(&found), expected);
    // Without a penalty the window has no effect, so that point runs once.
    assert_eq!(found["runs"], 9 * 3);
    // The map has a cell for every penalty and window, and the whole row of window 20 loops.
    let map = sandbox.read(&format!("{folder}/heat-map.svg"));
    let cells = |text: &str| map.matches(&format!("\n{text}\n")).count();
    assert_eq!((cells("100 %"), cells("0 %")), (5 + 2, 3), "{map}");
    assert!(map.contains("window 20") && map.contains("window 64"));
    // Three prompts prove nothing, and it says how many would.
    ran.expect_stdout("Inconclusive: repetition_penalty 1.2 with repetition_context_size 64")
        .expect_stdout("more prompts are needed");
}

const SCENARIO: &str = "\
version: 1
description: Two questions
why: A sweep needs prompts
sampling: {max_tokens: 40}
tests:
  - {id: one, user: Explain Traits, assert: [{type: not-loop}]}
  - {id: two, user: Explain Cargo, assert: [{type: not-loop}, {type: icontains, value: cargo}]}
";

#[test]
fn greedy_answers_run_once_for_all_seeds_and_everything_is_written() {
    let sandbox = Sandbox::new();
    sandbox.write("prompts.yaml", SCENARIO);
    let ran = sandbox.run(&[
        "sweep",
        "prompts.yaml",
        "--axis",
        "penalty=1.1",
        "--axis",
        "temperature=0,0.8",
        "--repeats",
        "3",
        "--json",
        "analysis.json",
    ]);
    // The penalty that was not asked for, because the other one is compared with it.
    let ran = ran
        .expect_code(0)
        .expect_stdout("4 settings × 2 prompts, 16 runs")
        .expect_stdout("repetition_penalty 1 is tried too");
    let (found, folder) = analysis(&sandbox, &ran);
    assert_eq!(
        sandbox.read("analysis.json"),
        sandbox.read(&format!("{folder}/sweep.json"))
    );
    assert_eq!(
        found["conditions"],
        serde_json::json!(["temperature 0", "temperature 0.8"])
    );
    let runs = |index: usize| {
        let rates = found["settings"][index]["by_condition"]
            .as_array()
            .expect("conditions");
        rates
            .iter()
            .map(|rate| rate[1]["share"]["of"].as_u64())
            .collect::<Vec<_>>()
    };
    assert_eq!(runs(0), [Some(2), Some(6)]);
    assert_eq!(runs(1), [Some(2), Some(6)]);
    // No escape codes where nobody watches, and one page that asks nothing of the network.
    assert!(!ran.stdout.contains('\u{1b}') && !ran.stderr.contains('\u{1b}'));
    let page = sandbox.read(&format!("{folder}/sweep.html"));
    for forbidden in [
        "http:", "https:", "src=", "url(", "@import", "<link", "<script",
    ] {
        assert!(!page.contains(forbidden), "the page contains {forbidden}");
    }
    let text = sandbox.read(&format!("{folder}/sweep.md"));
    let headline = ran
        .stdout
        .lines()
        .find(|line| line.starts_with("No "))
        .expect("a verdict");
    assert!(text.starts_with(&format!("# {headline}")), "{text}");
}

#[rstest]
#[case(&["--axis", "penality=1.0,1.1"], "there is no axis 'penality'; did you mean 'penalty'?")]
#[case(&["--axis", "penalty=1.0,11"], "the axis repetition_penalty is 11, but must be above 0 and at most 10")]
#[case(&["--axis", "temperature=0,-1"], "the axis temperature is -1, but must be between 0 and 10")]
#[case(&["--axis", "penalty="], "the axis penalty has no values")]
#[case(&[], "there is nothing to sweep; give --axis")]
#[case(&["--axis", "penalty=1.0,1.1", "--axis", "window=20", "--zip"], "repetition_penalty has 2, repetition_context_size has 1")]
#[case(&["--axis", "penalty=1.1", "--target-rate", "5"], "target_rate is 5, but must be above 0 and below 1")]
#[case(&["--axis", "penalty=1.1", "--seeds", "4,4"], "the seed 4 stands there twice")]
#[case(&["--point", "penality=1.1"], "--point: there is no field 'penality'; did you mean 'penalty'?")]
#[case(&["--point", "penalty=1.1", "--point", "penalty=1.10"], "the point repetition_penalty 1.1 stands there twice")]
#[case(&["--point", "penalty=1.1", "--point", "top_k=3"], "the point top_k 3 does not say repetition_penalty")]
#[case(&["--point", "penalty=11"], "the point's repetition_penalty is 11, but must be above 0 and at most 10")]
#[case(&["--point", "penalty=1.1", "--axis", "window=20"], "cannot be used with")]
#[case(&["--axis", "penalty=1.1,1.2", "--random", "3"], "3 points are to be drawn, but the axes have only 2 that differ")]
#[case(&["--axis", "penalty=1.1,1.2", "--draw-seed", "3"], "give --random N too")]
#[case(&["--axis", "penalty=1..2"], "'1..2' is no range; write it as least..greatest:step")]
fn mistakes_are_explained(#[case] flags: &[&str], #[case] message: &str) {
    let sandbox = Sandbox::new();
    sandbox.write("prompts.yaml", SCENARIO);
    let arguments = [&["sweep", "prompts.yaml"], flags].concat();
    let ran = sandbox
        .run(&arguments)
        .expect_code(2)
        .expect_stderr(message);
    assert!(!sandbox.path("reports").exists(), "{}", ran.stdout);
}

#[test]
fn a_broken_sweep_file_is_shown_at_its_line() {
    let sandbox = Sandbox::new();
    sandbox.write("prompts.yaml", SCENARIO);
    let sweep = "version: 1\ndescription: x\nscenarios: [prompts.yaml]\naxes:\n  penality: [1]\n";
    sandbox.write("sweep.yaml", sweep);
    let ran = sandbox.run(&["sweep", "sweep.yaml"]).expect_code(2);
    ran.expect_stderr("sweep.yaml:5:13")
        .expect_stderr("did you mean 'penalty'?");
}

#[test]
fn a_value_of_a_file_that_is_out_of_range_is_shown_at_its_place() {
    let sandbox = Sandbox::new();
    sandbox.write("prompts.yaml", SCENARIO);
    let head = "version: 1\ndescription: x\nscenarios: [prompts.yaml]\n";
    for (settings, message) in [
        (
            "points:\n  - {penalty: 1.1}\n  - {penalty: 11}\n",
            "sweep.yaml:6:5: the point's repetition_penalty is 11",
        ),
        (
            "axes:\n  window: [20]\n  penalty: [1.1, 11]\n",
            "sweep.yaml:6:12: the axis repetition_penalty is 11",
        ),
    ] {
        sandbox.write("sweep.yaml", &format!("{head}{settings}"));
        let ran = sandbox.run(&["sweep", "sweep.yaml"]).expect_code(2);
        ran.expect_stderr(message);
    }
}

#[test]
fn listed_points_are_tried_and_nothing_else() {
    let sandbox = Sandbox::new();
    let listed = repository("scenarios/sweeps/window-prompts.yaml");
    let points = ["--point", "penalty=1.2,window=20", "--point"];
    let ran = sandbox
        .run(&[&["sweep", &listed][..], &points, &["penalty=1.2,window=64"]].concat())
        .expect_code(0)
        .expect_stdout("point repetition_penalty 1.2, repetition_context_size 64")
        .expect_stdout("repetition_penalty 1 is tried too");
    let (found, _) = analysis(&sandbox, &ran);
    let expected = [
        (1.0, None, 3, 3),
        (1.2, Some(20), 3, 3),
        (1.2, Some(64), 0, 3),
    ];
    assert_eq!(loops(&found), expected);
}

#[test]
fn drawn_points_are_the_same_for_one_seed_and_the_seed_is_recorded() {
    let sandbox = Sandbox::new();
    let prompts = repository("scenarios/sweeps/window-prompts.yaml");
    let drawn = |seed: &str| {
        let axes = ["--axis", "penalty=1.1..3.0:0.1", "--axis", "window=20,64"];
        let draws = ["--random", "4", "--draw-seed", seed];
        let ran = sandbox.run(&[&["sweep", &prompts][..], &axes, &draws].concat());
        let ran = ran
            .expect_code(0)
            .expect_stdout(&format!("4 points drawn at random, with the seed {seed}"));
        let (found, folder) = analysis(&sandbox, &ran);
        assert_eq!(found["drawn"]["seed"].to_string(), seed);
        assert_eq!(found["drawn"]["points"], 4);
        let page = sandbox.read(&format!("{folder}/sweep.html"));
        assert!(page.contains(&format!("drawn at random, with the seed {seed}")));
        loops(&found)
    };
    let first = drawn("7");
    // The point without a penalty is not among those drawn.
    assert_eq!(first.len(), 4 + 1);
    assert_eq!(drawn("7"), first);
    assert_ne!(drawn("8"), first);
}

/// Every run of every setting: its prompt, its loop, and its tokens.
fn runs(analysis: &Value) -> Vec<(Value, Value, u64)> {
    let settings = analysis["settings"].as_array().expect("settings");
    let runs = settings
        .iter()
        .flat_map(|setting| setting["runs"].as_array().expect("runs"));
    let row = |run: &Value| {
        let tokens = run["tokens"].as_u64().expect("tokens");
        (run["prompt"].clone(), run["loop_at"].clone(), tokens)
    };
    runs.map(row).collect()
}

#[test]
fn answers_that_end_at_their_loop_have_the_same_loops_in_fewer_tokens() {
    let sandbox = Sandbox::new();
    let sweep = |flags: &[&str]| {
        let prompts = repository("scenarios/sweeps/prompts.yaml");
        let fixed = [
            "--filter",
            "building,forbid,inspector,description,explanation",
            "--axis",
            "penalty=1.0,1.1",
        ];
        let ran = sandbox.run(&[&["sweep", &prompts][..], &fixed, flags].concat());
        let ran = ran.expect_code(0);
        (analysis(&sandbox, &ran).0, ran)
    };
    let (whole, shown) = sweep(&[]);
    assert!(!shown.stdout.contains('≥'), "{}", shown.stdout);
    let (stopped, shown) = sweep(&["--stop-loops"]);
    shown
        .expect_stdout("≥")
        .expect_stdout("are lower bounds (≥)");
    let found = stopped;
    let (whole, stopped) = (runs(&whole), runs(&found));
    let loops = whole
        .iter()
        .filter(|(_, found, _)| !found.is_null())
        .count();
    assert!(loops > 1 && loops < whole.len(), "{whole:?}");
    assert_eq!(whole.len(), stopped.len());
    for (whole, stopped) in whole.iter().zip(&stopped) {
        assert_eq!((&whole.0, &whole.1), (&stopped.0, &stopped.1));
        if whole.1.is_null() {
            assert_eq!(whole.2, stopped.2);
        } else {
            assert!(stopped.2 < whole.2, "{stopped:?} of {whole:?}");
        }
    }
    // Whether the model would have ended them is not known, and is not claimed.
    let settings = found["settings"].as_array().expect("settings");
    let looping = settings
        .iter()
        .flat_map(|setting| setting["runs"].as_array().expect("runs"))
        .filter(|run| !run["loop_at"].is_null());
    for run in looping {
        assert_eq!(run["ended"], false, "{run}");
    }
}

/// No wrong line or remedy is told of a file that is not there.
#[rstest]
#[case(&["sweep", "gone.yaml"], "error: there is no gone.yaml")]
#[case(&["faults", "gone.yaml"], "gone.yaml: No such file or directory")]
#[case(&["serve", "--config", "gone.yaml"], "gone.yaml: No such file or directory")]
fn a_missing_file_is_named_as_missing(#[case] arguments: &[&str], #[case] message: &str) {
    let ran = Sandbox::new().run(arguments).expect_code(2);
    let ran = ran.expect_stderr(message);
    assert!(!ran.stderr.contains(":1:1"), "{}", ran.stderr);
}

#[test]
fn a_filter_that_matches_nothing_is_said() {
    let sandbox = Sandbox::new();
    sandbox.write("prompts.yaml", SCENARIO);
    let arguments = [
        "sweep",
        "prompts.yaml",
        "--axis",
        "penalty=1.1",
        "--filter",
        "nothing",
    ];
    sandbox
        .run(&arguments)
        .expect_code(4)
        .expect_stderr("nothing to sweep");
}

/// The logits in front of every token of an answer are those that it was sampled from: the same
/// sampler draws the same tokens from them, with the same bits.
#[test]
fn scoring_an_answer_gives_the_logits_it_was_sampled_from() {
    let engine = Engine::load(
        &ModelRef::parse("builtin:readme"),
        &EngineOptions::default(),
    );
    let engine = engine.expect("loads");
    let settings = SamplingSettings {
        max_tokens: Some(90),
        ..SamplingSettings::default()
    };
    let sampling = settings.resolve().expect("in range");
    let text = "Cargo is the Rust package manager.".to_owned();
    let prompt = Prompt::Text { text };
    let mut events = engine.submit(GenerateRequest {
        prompt: prompt.clone(),
        sampling: sampling.clone(),
        top_logprobs: 0,
        constraint: None,
    });
    let mut seen = Vec::new();
    while let Some(event) = events.blocking_recv() {
        seen.push(event.expect("generates"));
    }
    let answer = Transcript::from_events(seen).expect("complete");
    let prompt = engine.model().tokenize(&prompt).expect("tokens");
    let tokens = [prompt.as_slice(), &answer.token_ids()].concat();
    let mut rows = engine
        .score(tokens.clone(), prompt.len())
        .expect("in range");
    let sequence = Sequence {
        prompt: &prompt,
        eos: engine.model().eos(),
        ..Sequence::default()
    };
    let mut sampler = Sampler::new(&sampling, &sequence);
    for (at, expected) in answer.tokens.iter().enumerate() {
        let mut row = rows.blocking_recv().expect("a row").expect("scores");
        let token = sampler.sample(&mut row, 0);
        let bits = |token: &loopwatch::generation::Token| {
            (token.id, token.logprob.to_bits(), token.margin.to_bits())
        };
        assert_eq!(bits(&token), bits(expected), "token {at}");
    }
    assert!(rows.blocking_recv().is_none(), "one row for each token");
    assert!(engine.score(tokens.clone(), 0).is_err());
    assert!(engine.score(tokens.clone(), tokens.len() + 1).is_err());
}
