//! Scripted checkpoints against mlx-lm, and the command that writes them.
//!
//! `tests/scripted/README.md` says how the goldens were made, and with which versions.

use std::collections::BTreeMap;
use std::path::Path;

use loopwatch::engine::{Engine, EngineOptions};
use loopwatch::generation::{
    FinishReason, GenerateRequest, Message, Prompt, Role, SamplingSettings, Semantics, ToolCall,
    Transcript,
};
use loopwatch::model::{ModelFiles, ModelRef};
use loopwatch::text::Tokenizer;
use proptest::prelude::*;
use rstest::rstest;
use serde::Deserialize;
use serde::de::DeserializeOwned;

use crate::support::{Sandbox, repository};

#[derive(Deserialize)]
struct File<T> {
    entries: Vec<T>,
}

fn entries<T: DeserializeOwned>(file: &str) -> Vec<T> {
    let text = std::fs::read_to_string(repository(&format!("tests/scripted/{file}")));
    let file: File<T> = serde_json::from_str(&text.expect("the golden file")).expect("goldens");
    assert!(!file.entries.is_empty());
    file.entries
}

fn load(script: &Path) -> Engine {
    Engine::load(
        &ModelRef::Script(script.to_owned()),
        &EngineOptions::default(),
    )
    .expect("a valid script")
}

/// Generates greedily. Without a penalty, it is 1.
fn generate(
    engine: &Engine,
    prompt: Prompt,
    penalty: Option<f64>,
    window: usize,
    max_tokens: usize,
) -> Transcript {
    let sampling = SamplingSettings {
        temperature: Some(0.0),
        repetition_penalty: Some(penalty.unwrap_or(1.0)),
        repetition_context_size: Some(window),
        max_tokens: Some(max_tokens),
        ..Default::default()
    };
    answer(engine, prompt, &sampling)
}

fn answer(engine: &Engine, prompt: Prompt, sampling: &SamplingSettings) -> Transcript {
    let mut receiver = engine.submit(GenerateRequest {
        prompt,
        sampling: sampling.resolve().expect("in range"),
        top_logprobs: 0,
        constraint: None,
    });
    let mut events = Vec::new();
    while let Some(event) = receiver.blocking_recv() {
        events.push(event.expect("generates"));
    }
    Transcript::from_events(events).expect("complete")
}

/// mlx-lm knows no end by a tool call: that is for its server.
fn finish_reason(transcript: &Transcript) -> &'static str {
    match transcript.finish_reason {
        FinishReason::ToolCalls => "stop",
        other => other.as_str(),
    }
}

#[derive(Deserialize)]
struct Golden {
    name: String,
    script: String,
    messages: Vec<MessageWire>,
    repetition_penalty: Option<f64>,
    repetition_context_size: usize,
    max_tokens: usize,
    window: String,
    prompt_ids: Vec<u32>,
    tokens: Vec<u32>,
    text: String,
    finish_reason: String,
}

#[derive(Deserialize)]
struct MessageWire {
    role: Role,
    content: String,
    #[serde(default)]
    tool_calls: Vec<CallWire>,
}

#[derive(Deserialize)]
struct CallWire {
    function: ToolCall,
}

impl MessageWire {
    fn message(&self) -> Message {
        let calls = self.tool_calls.iter().map(|call| call.function.clone());
        Message {
            tool_calls: calls.collect(),
            ..Message::text(self.role, &self.content)
        }
    }
}

/// Every example script: prompts, tokens and text are those of mlx-lm 0.32.2. Its processors
/// were made blind to the prompt, which is what loopwatch's own window holds.
#[test]
fn mlx_lm_and_loopwatch_obey_the_same_script_alike() {
    let mut engines: BTreeMap<String, Engine> = BTreeMap::new();
    let mut compared = 0;
    for golden in entries::<Golden>("goldens.json") {
        if golden.window != "generated" {
            continue;
        }
        let engine = engines
            .entry(golden.script.clone())
            .or_insert_with(|| load(Path::new(&repository(&golden.script))));
        let prompt = Prompt::Chat {
            messages: golden.messages.iter().map(MessageWire::message).collect(),
            tools: Vec::new(),
            variables: Default::default(),
        };
        let ids = engine.model().tokenize(&prompt).expect("tokens");
        assert_eq!(ids, golden.prompt_ids, "{}", golden.name);
        let transcript = generate(
            engine,
            prompt,
            golden.repetition_penalty,
            golden.repetition_context_size,
            golden.max_tokens,
        );
        assert_eq!(transcript.token_ids(), golden.tokens, "{}", golden.name);
        assert_eq!(transcript.text, golden.text, "{}", golden.name);
        assert_eq!(
            finish_reason(&transcript),
            golden.finish_reason,
            "{}",
            golden.name
        );
        compared += 1;
    }
    assert_eq!((compared, engines.len()), (16, 4));
}

#[derive(Deserialize)]
struct Cell {
    period: usize,
    repetition_penalty: Option<f64>,
    repetition_context_size: usize,
    path: String,
    prompt_ids: Vec<u32>,
    completion_tokens: usize,
    finish_reason: String,
}

/// The script of `period.yaml` with its tokens filled in, as `table.py` does it.
fn period_script(sandbox: &Sandbox, period: usize) -> std::path::PathBuf {
    let text = std::fs::read_to_string(repository("tests/scripted/period.yaml")).expect("script");
    let tokens: Vec<String> = (0..period).map(|index| format!("\"w{index} \"")).collect();
    let name = format!("period-{period}.yaml");
    sandbox.write(
        &name,
        &text.replace("[TOKENS]", &format!("[{}]", tokens.join(", "))),
    );
    sandbox.path(&name)
}

/// The table of mlx-lm versions under loopwatch's own semantics: the window holds generated
/// tokens only, and an end is never penalised. Then a loop ends iff the penalty is above its
/// threshold and the window holds the token that comes next, which is one period ago; it ends
/// with the first token after one period. mlx-lm 0.28.3 has the last prompt token in its window
/// as well, which makes no difference here, so its recorded cells must be ours too.
#[rstest]
fn a_loop_ends_where_the_window_reaches_back_one_period(
    #[values(1, 5, 19, 20, 21, 30)] period: usize,
) {
    const MAX_TOKENS: usize = 200;
    let sandbox = Sandbox::new();
    let engine = load(&period_script(&sandbox, period));
    let mut compared = 0;
    for cell in entries::<Cell>("table-0.28.3.json") {
        if cell.period != period {
            continue;
        }
        assert_eq!(cell.path, "sequential");
        let (penalty, window) = (cell.repetition_penalty, cell.repetition_context_size);
        let ends = penalty.is_some_and(|p| p > 1.031) && (window == 0 || window >= period);
        let expected = if ends {
            (period + 1, "stop")
        } else {
            (MAX_TOKENS, "length")
        };

        let prompt = Prompt::Chat {
            messages: vec![Message::text(Role::User, "Repeat after me")],
            tools: Vec::new(),
            variables: Default::default(),
        };
        let ids = engine.model().tokenize(&prompt).expect("tokens");
        assert_eq!(ids, cell.prompt_ids);
        let transcript = generate(&engine, prompt, penalty, window, MAX_TOKENS);
        let found = (transcript.tokens.len(), finish_reason(&transcript));
        let place = format!("period {period}, penalty {penalty:?}, window {window}");
        assert_eq!(found, expected, "{place}");
        assert_eq!(
            found,
            (cell.completion_tokens, cell.finish_reason.as_str()),
            "{place}"
        );
        let ids = transcript.token_ids();
        let body = &ids[..ids.len() - usize::from(ends)];
        assert!(
            body.iter()
                .zip(0..)
                .all(|(id, at)| *id == 268 + at % period as u32),
            "{ids:?}"
        );
        compared += 1;
    }
    assert_eq!(compared, 12);
}

/// Every cell of the table under the profile of its version. A seed takes a request off the
/// batched path, in mlx-lm and in the profiles alike; 0.28.3 has no other path.
#[rstest]
fn each_profile_loops_as_long_as_its_version(
    #[values(1, 5, 19, 20, 21, 30)] period: usize,
    #[values(
        ("table-0.28.3.json", Semantics::MlxLm0_28_3, 12),
        ("table-0.31.3.json", Semantics::MlxLm0_31_3, 24),
        ("table-0.32.2.json", Semantics::MlxLm0_32_2, 24)
    )]
    (file, semantics, cells): (&str, Semantics, usize),
) {
    let sandbox = Sandbox::new();
    let engine = load(&period_script(&sandbox, period));
    let mut compared = 0;
    for cell in entries::<Cell>(file) {
        if cell.period != period {
            continue;
        }
        let prompt = Prompt::Tokens {
            tokens: cell.prompt_ids,
        };
        let sampling = SamplingSettings {
            semantics: Some(semantics),
            seed: (cell.path == "sequential").then_some(0),
            repetition_penalty: cell.repetition_penalty,
            repetition_context_size: Some(cell.repetition_context_size),
            max_tokens: Some(200),
            ..Default::default()
        };
        let transcript = answer(&engine, prompt, &sampling);
        assert_eq!(
            (transcript.tokens.len(), finish_reason(&transcript)),
            (cell.completion_tokens, cell.finish_reason.as_str()),
            "{file}, {}, period {period}, penalty {:?}, window {}",
            cell.path,
            cell.repetition_penalty,
            cell.repetition_context_size,
        );
        compared += 1;
    }
    assert_eq!(compared, cells);
}

/// The recorded tables are those that `period.yaml` and each version give; the profiles of the
/// engine are compared with them cell by cell.
#[rstest]
#[case("table-0.28.3.json", "sequential", [(20, [2, 6, 20, 21, 200, 200]), (64, [2, 6, 20, 21, 22, 31]), (0, [2, 6, 20, 21, 22, 31])])]
#[case("table-0.31.3.json", "sequential", [(20, [2, 6, 20, 21, 200, 200]), (64, [2, 6, 20, 21, 22, 31]), (0, [2, 6, 20, 21, 22, 31])])]
#[case("table-0.31.3.json", "batched", [(20, [13, 13, 20, 21, 200, 200]), (64, [57; 6]), (0, [200; 6])])]
#[case("table-0.32.2.json", "sequential", [(20, [13, 13, 20, 21, 200, 200]), (64, [57; 6]), (0, [200; 6])])]
#[case("table-0.32.2.json", "batched", [(20, [13, 13, 20, 21, 200, 200]), (64, [57; 6]), (0, [200; 6])])]
fn the_recorded_tables_are_the_published_ones(
    #[case] file: &str,
    #[case] path: &str,
    #[case] expected: [(usize, [usize; 6]); 3],
) {
    let cells = entries::<Cell>(file);
    for (window, row) in expected {
        let found: Vec<usize> = cells
            .iter()
            .filter(|cell| cell.path == path && cell.repetition_penalty == Some(1.05))
            .filter(|cell| cell.repetition_context_size == window)
            .map(|cell| cell.completion_tokens)
            .collect();
        assert_eq!(found, row, "{file} {path} window {window}");
    }
}

fn tokenizer() -> Tokenizer {
    let sandbox = Sandbox::new();
    sandbox.write(
        "s.yaml",
        "version: 1\ndescription: x\nstates:\n  a: {say: [\" same\", \"é😀\", \" same\", \"<0x41> \", \"12\"], next: eos}\n",
    );
    let files = ModelFiles::find(ModelRef::Script(sandbox.path("s.yaml"))).expect("valid");
    let json = files.required_text("tokenizer.json").expect("a tokenizer");
    Tokenizer::from_json(&json).expect("a tokenizer")
}

#[test]
fn states_have_tokens_of_their_own_and_say_what_they_say() {
    let text = tokenizer().decode(&[268, 269, 270, 271, 272, 0x0c + 0x41]);
    assert_eq!(text.expect("decodes"), " sameé😀 same<0x41> 12A");
}

proptest! {
    #[test]
    fn any_text_is_a_prompt_and_comes_back(text in "\\PC{0,40}|(a|\n\n|user|<think>|é|\u{1f600}| same␟268){0,8}") {
        let tokenizer = tokenizer();
        let ids = tokenizer.encode(&text, true).expect("encodes");
        prop_assert!(ids.iter().all(|id| *id < 268), "{ids:?}");
        prop_assert_eq!(tokenizer.decode(&ids).expect("decodes"), text);
    }
}

const FILES: [&str; 6] = [
    "chat_template.jinja",
    "config.json",
    "generation_config.json",
    "model.safetensors",
    "tokenizer.json",
    "tokenizer_config.json",
];

#[test]
fn the_command_writes_the_checkpoint_that_the_script_name_loads() {
    let sandbox = Sandbox::new();
    let script = repository("scenarios/checkpoints/reported-loop.yaml");
    for folder in ["one", "two", "one"] {
        sandbox
            .run(&["checkpoint", &script, folder])
            .expect_code(0)
            .expect_stdout("61 tokens of states in a vocabulary of 327");
    }
    let mut written: Vec<String> = std::fs::read_dir(sandbox.path("one"))
        .expect("the folder")
        .map(|entry| {
            entry
                .expect("an entry")
                .file_name()
                .to_string_lossy()
                .into_owned()
        })
        .collect();
    written.sort();
    assert_eq!(written, FILES);
    let read = |name: String| std::fs::read(sandbox.path(&name)).expect("the file");
    for file in FILES {
        assert_eq!(
            read(format!("one/{file}")),
            read(format!("two/{file}")),
            "{file}"
        );
    }
    let answer = |model: &str| {
        let ran = sandbox.run(&["generate", "--model", model, "--prompt", "hi", "--json"]);
        let answer: serde_json::Value =
            serde_json::from_str(&ran.expect_code(0).stdout).expect("JSON");
        (
            answer["tokens"].clone(),
            answer["logprobs"].clone(),
            answer["text"].clone(),
        )
    };
    assert_eq!(answer("one"), answer(&format!("script:{script}")));
}

#[test]
fn a_folder_with_other_files_is_left_alone() {
    let sandbox = Sandbox::new();
    sandbox.write("mine/notes.txt", "precious");
    let script = repository("scenarios/checkpoints/period-five.yaml");
    sandbox
        .run(&["checkpoint", &script, "mine"])
        .expect_code(2)
        .expect_stderr("mine holds 'notes.txt', which is not part of this checkpoint");
    assert!(!sandbox.path("mine/config.json").exists());
}

#[test]
fn a_mistake_in_a_script_is_shown_in_its_place() {
    let sandbox = Sandbox::new();
    sandbox.write(
        "s.yaml",
        "version: 1\ndescription: x\nstates:\n  a: {say: hello, nxt: eos}\n",
    );
    sandbox
        .run(&["checkpoint", "s.yaml", "out"])
        .expect_code(2)
        .expect_stderr("s.yaml:4:19")
        .expect_stderr("unknown key 'nxt'")
        .expect_stderr("did you mean 'next'?");
    assert!(!sandbox.path("out").exists());
    let ran = sandbox
        .run(&["generate", "--model", "script:s.yaml", "--prompt", "x"])
        .expect_code(101)
        .expect_stderr("s.yaml:4:19: unknown key 'nxt'; did you mean 'next'?");
    assert_eq!(ran.stderr.lines().count(), 1, "{}", ran.stderr);
    sandbox
        .run(&["generate", "--model", "script:none.yaml", "--prompt", "x"])
        .expect_code(101)
        .expect_stderr("none.yaml");
}

/// A scenario finds its script beside itself, wherever it is run from, and its snapshot has a
/// name that does not depend on that.
#[test]
fn a_script_is_relative_to_its_scenario() {
    let sandbox = Sandbox::new();
    sandbox.write(
        "deep/checkpoints/hi.yaml",
        "version: 1\ndescription: x\nstates:\n  a: {say: hello, next: eos}\n",
    );
    sandbox.write(
        "deep/down/s.yaml",
        "version: 1\ndescription: A test\nwhy: To see\nmodel: script:../checkpoints/hi.yaml\n\
         tests:\n- {id: hi, user: hi, assert: [equals: hello, snapshot]}\n",
    );
    let absolute = sandbox.path("deep/down/s.yaml");
    for path in ["deep", absolute.to_str().expect("UTF-8")] {
        sandbox
            .run(&["run", path])
            .expect_code(100)
            .expect_stdout("snapshots/s/hi.script-checkpoints-hi-yaml.snap.new");
    }
}
