//! `generate`, `detect`, `init` and `schema`, as a user meets them.

use std::fs;
use std::path::Path;

use crate::support::{Sandbox, repository};
use loopwatch::loops::{CONFIRMED, CONFIRMED_IN_DATA, SUSPECTED};
use rstest::rstest;
use serde_json::Value;

fn json(text: &str) -> Value {
    serde_json::from_str(text).expect(text)
}

#[test]
fn generate_prints_one_object_with_everything() {
    let sandbox = Sandbox::new();
    let ran = sandbox
        .run(&[
            "generate",
            "--prompt",
            "Explain Building Rust programs",
            "--repetition-penalty",
            "1.0",
            "--max-tokens",
            "400",
            "--top-logprobs",
            "2",
            "--json",
        ])
        .expect_code(0);
    let answer = json(&ran.stdout);
    assert_eq!(answer["tokens"].as_array().map(Vec::len), Some(400));
    assert_eq!(answer["finish_reason"], "length");
    assert_eq!(answer["loop"]["state"], "confirmed");
    assert_eq!(
        answer["logprobs"]["top"][0].as_array().map(Vec::len),
        Some(2)
    );
    assert_eq!(answer["logprobs"]["top"][0][0][0], answer["tokens"][0]);
    assert!(answer["prompt_tokens"].as_u64() > Some(10));
    assert!(answer["timings"]["decode_tps"].as_f64() > Some(1.0));
    assert!(answer["text"].as_str().expect("text").contains("target"));
}

#[test]
fn the_same_request_gives_the_same_bits_on_any_number_of_threads() {
    let sandbox = Sandbox::new();
    let answer = |threads: &str| {
        let ran = sandbox
            .run(&[
                "generate",
                "--prompt",
                "Tell me about forbid",
                "--temperature",
                "0.8",
                "--seed",
                "5",
                "--max-tokens",
                "60",
                "--json",
                "--threads",
                threads,
            ])
            .expect_code(0);
        let answer = json(&ran.stdout);
        (answer["tokens"].clone(), answer["logprobs"].clone())
    };
    assert_eq!(answer("1"), answer("2"));
    assert_eq!(answer("1"), answer("3"));
}

#[test]
fn the_precision_reaches_the_engine_and_only_two_have_a_name() {
    let sandbox = Sandbox::new();
    let generate = |flags: &[&str]| {
        let request = [
            "generate",
            "--prompt",
            "Tell me about forbid",
            "--json",
            "--max-tokens",
            "4",
        ];
        sandbox.run(&[request.as_slice(), flags].concat())
    };
    let logprobs =
        |flags: &[&str]| json(&generate(flags).expect_code(0).stdout)["logprobs"].clone();
    let exact = logprobs(&[]);
    assert_eq!(logprobs(&["--precision", "exact"]), exact);
    assert_ne!(logprobs(&["--precision", "fast"]), exact);
    generate(&["--precision", "quick"])
        .expect_code(2)
        .expect_stderr("there are exact and fast");
}

#[test]
fn generate_streams_text_and_summarises_on_stderr() {
    let sandbox = Sandbox::new();
    sandbox.write(
        "m.json",
        r#"[{"role": "system", "content": "You are a helpful assistant."},
            {"role": "user", "content": "Write a short note on forbid"}]"#,
    );
    let ran = sandbox
        .run(&["generate", "--messages", "m.json", "--stop", "table"])
        .expect_code(0)
        .expect_stderr("ended by stop_sequence");
    assert_eq!(ran.stdout, "The [diagnostic-types] \n");
}

#[rstest]
#[case(&["--prompt", "x", "--repetition-penalty", "0"], 2, "repetition_penalty is 0")]
#[case(&["--prompt", "x", "--top-p", "1.5"], 2, "top_p is 1.5")]
#[case(&["--prompt", "x", "--logit-bias", "9"], 2, "such as 42=-5")]
#[case(&["--prompt", "x", "--logit-bias", "5000=1"], 101, "logit_bias names token 5000")]
#[case(&["--prompt-ids", "1,99999"], 101, "token id 99999 is outside the vocabulary of 4096 tokens")]
#[case(&["--prompt", "x", "--model", "builtin:none"], 101, "built in are builtin:readme")]
#[case(&["--prompt", "x", "--prompt-ids", "1"], 2, "cannot be used with")]
#[case(&[], 2, "required")]
#[case(&["--messages", "missing.json"], 2, "cannot read missing.json")]
fn bad_arguments_are_refused_by_name(
    #[case] arguments: &[&str],
    #[case] code: i32,
    #[case] message: &str,
) {
    let sandbox = Sandbox::new();
    let arguments = [&["generate"], arguments].concat();
    sandbox
        .run(&arguments)
        .expect_code(code)
        .expect_stderr(message);
}

/// A checkpoint of the goldens, to be spoilt.
fn checkpoint(sandbox: &Sandbox) -> String {
    let source = repository("tests/goldens/llama-f32");
    let target = sandbox.path("checkpoint");
    fs::create_dir_all(&target).expect("the folder");
    for file in ["config.json", "model.safetensors"] {
        fs::copy(Path::new(&source).join(file), target.join(file)).expect("copied");
    }
    target.to_str().expect("UTF-8").to_owned()
}

#[rstest]
#[case("truncated", "model.safetensors: not a complete safetensors file")]
#[case("empty", "model.safetensors: not a complete safetensors file")]
#[case("missing", "model.safetensors: the checkpoint has no such file")]
#[case(
    "shape",
    "tensor 'model.embed_tokens.weight' has shape [256, 64], but config.json needs [300, 64]"
)]
#[case("layers", "tensor 'model.layers.2.self_attn.q_proj.weight' is missing")]
#[case("type", "config.json: model_type 'gpt2' is not supported")]
#[case("config", "config.json: expected")]
fn a_broken_checkpoint_ends_in_one_error_that_names_the_place(
    #[case] damage: &str,
    #[case] message: &str,
) {
    let sandbox = Sandbox::new();
    let folder = checkpoint(&sandbox);
    let weights = Path::new(&folder).join("model.safetensors");
    let config = Path::new(&folder).join("config.json");
    let bytes = fs::read(&weights).expect("weights");
    let mut settings = json(&fs::read_to_string(&config).expect("config"));
    match damage {
        "truncated" => fs::write(&weights, &bytes[..bytes.len() - 100]).expect("written"),
        "empty" => fs::write(&weights, "").expect("written"),
        "missing" => fs::remove_file(&weights).expect("removed"),
        "shape" => settings["vocab_size"] = 300.into(),
        "layers" => settings["num_hidden_layers"] = 3.into(),
        "type" => settings["model_type"] = "gpt2".into(),
        _ => {}
    }
    let text = match damage {
        "config" => "{".to_owned() + "]",
        _ => settings.to_string(),
    };
    fs::write(&config, text).expect("written");
    let arguments = ["generate", "--prompt-ids", "1", "--model", &folder];
    let ran = sandbox.run(&arguments).expect_code(101);
    let message = if damage == "config" {
        "config.json: key must be"
    } else {
        message
    };
    assert!(ran.stderr.contains(message), "{}", ran.stderr);
    assert_eq!(ran.stderr.lines().count(), 1, "{}", ran.stderr);
}

#[test]
fn a_model_without_a_tokenizer_takes_ids_only() {
    let sandbox = Sandbox::new();
    let folder = checkpoint(&sandbox);
    sandbox
        .run(&["generate", "--raw-prompt", "x", "--model", &folder])
        .expect_code(101)
        .expect_stderr("has no tokenizer.json; give the prompt as token ids");
}

#[test]
fn detect_shows_the_loop_in_its_place() {
    let sandbox = Sandbox::new();
    let text = format!(
        "All is well here. {}",
        "The `Buffer` {integer}\n".repeat(60)
    );
    sandbox.write("answer.txt", &text);
    sandbox
        .run(&["detect", "answer.txt"])
        .expect_code(100)
        .expect_stdout("loop confirmed: period ")
        .expect_stdout("All is well here. ⟦The `Buffer` {integer}");
    let report = json(&sandbox.run(&["detect", "--json", "answer.txt"]).stdout);
    assert_eq!(report["first_copy_bytes"]["start"], 18);
    assert_eq!(report["loop_bytes"]["end"], text.len());
    sandbox.write(
        "healthy.txt",
        "One sentence. And another one, quite different.",
    );
    sandbox
        .run(&["detect", "healthy.txt"])
        .expect_code(0)
        .expect_stdout("no loop in ");
}

#[test]
fn detect_reads_ids_and_names_the_line_of_a_bad_one() {
    let sandbox = Sandbox::new();
    let ids: Vec<String> = (0..600).map(|index| (index % 7).to_string()).collect();
    sandbox.write("ids.txt", &format!("[{}]", ids.join(", ")));
    sandbox
        .run(&["detect", "--format", "ids", "ids.txt"])
        .expect_code(100)
        .expect_stdout("period 7, 85.7 copies, from unit 0 (of 600)\n")
        .expect_stdout("false alarms like this: not measured without text");
    // Two blocks in an order without a period.
    let order = (0..120_u32).map(|index| index.count_ones() % 2);
    let ids: Vec<String> = order
        .flat_map(|side| side * 10..side * 10 + 10)
        .map(|id| id.to_string())
        .collect();
    sandbox.write("blocks.txt", &ids.join(" "));
    sandbox
        .run(&["detect", "--format", "ids", "blocks.txt"])
        .expect_code(0)
        .expect_stdout("loop suspected: low novelty, ");
    sandbox.write("bad.txt", "1 2\n3 four");
    sandbox
        .run(&["detect", "--format", "ids", "bad.txt"])
        .expect_code(2)
        .expect_stderr("bad.txt:2: 'four' is not a token id");
}

/// What verdicts say about false alarms is what the page says was counted.
#[test]
fn the_false_alarms_that_verdicts_quote_are_those_of_the_page() {
    let page = fs::read_to_string(repository("reports/loops/README.md")).expect("the page");
    let counted = |after: &str| {
        let rest = page.split(after).nth(1).expect("the line");
        let share = rest.split(" %)").next().expect("a share");
        let (counts, interval) = share.split_once(" (").expect("an interval");
        let (hits, of) = counts.split_once('/').expect("a fraction");
        let thousands = match of.len() {
            ..4 => of.to_owned(),
            length => format!("{},{}", &of[..length - 3], &of[length - 3..]),
        };
        (
            format!("{hits} of {thousands} documents of "),
            format!("({interval} %)"),
        )
    };
    let quoted = [
        (
            "confirmed false alarm in 2,000 documents of prose and code: ",
            CONFIRMED,
        ),
        ("At most 0.5 % of prose and code suspected: ", SUSPECTED),
        (
            "Confirmed false alarms in tables and data: ",
            CONFIRMED_IN_DATA,
        ),
    ];
    for (line, said) in quoted {
        let (counts, interval) = counted(line);
        assert!(
            said.starts_with(&counts) && said.ends_with(&interval),
            "{said}, but {counts}… {interval}"
        );
    }
}

#[test]
fn init_writes_a_scenario_that_runs_and_is_not_overwritten() {
    let sandbox = Sandbox::new();
    sandbox.run(&["init"]).expect_code(0);
    sandbox
        .run(&["run"])
        .expect_code(0)
        .expect_stdout("first/new-edition");
    sandbox
        .run(&["init"])
        .expect_code(2)
        .expect_stderr("scenarios/first.yaml exists already");
}

#[test]
fn the_schema_beside_the_scenarios_is_the_one_that_is_printed() {
    let printed = Sandbox::new().run(&["schema"]).expect_code(0).stdout;
    let kept = fs::read_to_string(repository("scenarios/schema.json")).expect("the schema");
    assert_eq!(
        printed, kept,
        "run: loopwatch schema > scenarios/schema.json"
    );
}
