//! `loopwatch bench`: what it reports, and what it refuses. How fast anything is, is no test.

use rstest::rstest;
use serde_json::Value;

use crate::support::{Sandbox, repository};

const TINY: &[&str] = &[
    "bench",
    "--prompt",
    "12",
    "--tokens",
    "3",
    "--batch",
    "1,4",
    "--repeats",
    "2",
];

fn report(arguments: &[&str]) -> Value {
    let arguments = [arguments, &["--json"]].concat();
    let ran = Sandbox::new().run(&arguments).expect_code(0);
    assert_eq!(ran.stderr, "", "no progress where nobody watches");
    assert_eq!(ran.stdout.lines().count(), 1);
    serde_json::from_str(&ran.stdout).expect("JSON")
}

/// Tokens of each sample, and whether the rates agree with the samples.
#[track_caller]
fn tokens_of(series: &Value) -> Vec<u64> {
    let samples = series["samples"].as_array().expect("samples");
    let rate = |sample: &Value| {
        let seconds = sample["seconds"].as_f64().expect("seconds");
        sample["tokens"].as_f64().expect("tokens") / seconds
    };
    let mut rates: Vec<f64> = samples.iter().map(rate).collect();
    rates.sort_by(f64::total_cmp);
    let close = |name: &str, expected: f64| {
        let reported = series["tokens_per_second"][name].as_f64().expect(name);
        assert!((reported / expected - 1.0).abs() < 1e-9, "{name}: {series}");
    };
    close("min", rates[0]);
    close("max", rates[rates.len() - 1]);
    close("median", (rates[0] + rates[1]) / 2.0);
    let tokens = samples.iter().map(|sample| sample["tokens"].as_u64());
    tokens.map(|count| count.expect("a count")).collect()
}

#[test]
fn the_object_has_every_sample_and_counts_the_tokens_of_all_sequences() {
    let report = report(TINY);
    assert_eq!(report["model"], "builtin:readme");
    assert_eq!(report["backend"], "cpu");
    let description = report["description"].as_str().expect("text");
    assert!(description.contains("parameters"), "{description}");
    assert_eq!(report["prefill"]["tokens"], 12);
    assert_eq!(tokens_of(&report["prefill"]), [12, 12]);
    let decode = report["decode"].as_array().expect("decode");
    assert_eq!(decode.len(), 2);
    assert_eq!(decode[0]["sequences"], 1);
    assert_eq!(tokens_of(&decode[0]), [3, 3]);
    assert_eq!(decode[1]["sequences"], 4);
    assert_eq!(tokens_of(&decode[1]), [12, 12]);
    for field in ["load_ms", "cold_ttft_ms"] {
        assert!(report[field].as_f64() > Some(0.0), "{field}");
    }
    for field in ["loopwatch", "platform", "isa"] {
        assert!(report[field].is_string(), "{field}");
    }
    assert!(report["threads"].as_u64() >= Some(1));
    assert_eq!(report["repeats"], 2);
    assert_eq!(report["debug_build"], cfg!(debug_assertions));
}

#[test]
fn memory_is_set_against_what_the_model_needs() {
    let memory = &report(TINY)["memory"];
    let weights = std::fs::metadata(repository("models/readme/model.safetensors")).expect("it");
    assert_eq!(memory["weight_bytes"], weights.len());
    let long = report(&[TINY, &["--depth", "40"]].concat());
    let bytes = |memory: &Value| memory["kv_bytes"].as_u64().expect("a count");
    assert!(bytes(&long["memory"]) > 2 * bytes(memory));
    if cfg!(target_os = "linux") {
        assert!(memory["peak_bytes"].as_u64() > memory["weight_bytes"].as_u64());
    }
}

#[test]
fn a_person_reads_what_was_measured_and_what_that_means() {
    let ran = Sandbox::new().run(&[TINY, &["--threads", "1"]].concat());
    let ran = ran
        .expect_code(0)
        .expect_stdout("builtin:readme: ")
        .expect_stdout("cpu backend, 1 thread, ")
        .expect_stdout("prefill, 12 tokens")
        .expect_stdout("decode, 1 sequence, 3 steps")
        .expect_stdout("decode, 4 sequences, 3 steps")
        .expect_stdout("KV cache")
        .expect_stdout("include greedy sampling");
    assert!(!ran.stdout.contains('\u{1b}'), "colours in a pipe");
}

#[test]
fn a_model_without_a_tokenizer_is_measured_too() {
    let folder = repository("tests/goldens/llama-f32");
    let report = report(&[TINY, &["--model", &folder]].concat());
    assert_eq!(tokens_of(&report["decode"][1]), [12, 12]);
}

#[rstest]
#[case(&["--batch", "1,0"], 2, "--batch")]
#[case(&["--batch", ""], 2, "--batch")]
#[case(&["--tokens", "0"], 2, "--tokens")]
#[case(&["--prompt", "-3"], 2, "-3")]
#[case(&["--repeats", "many"], 2, "--repeats")]
#[case(&["--depth", "0"], 2, "--depth")]
#[case(&["--isa", "mmx"], 2, "this machine has")]
#[case(&["--model", "nowhere"], 101, "nowhere")]
#[case(&["--model", "builtin:none"], 101, "built in are builtin:readme")]
fn bad_arguments_are_refused_by_name(
    #[case] arguments: &[&str],
    #[case] code: i32,
    #[case] message: &str,
) {
    let arguments = [&["bench"], arguments].concat();
    let ran = Sandbox::new().run(&arguments).expect_code(code);
    ran.expect_stderr(message);
}
