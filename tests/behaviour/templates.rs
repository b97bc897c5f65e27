//! Chat templates against transformers, byte for byte.
//!
//! `tests/templates/README.md` says how the goldens were made, and with which versions.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use loopwatch::generation::TemplateVariables;
use loopwatch::protocol::{Chat, read_chat};
use loopwatch::text::{CallFormat, ChatTemplate, OutputFormat, TemplateFiles};
use rstest::rstest;
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

use crate::support::Sandbox;

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/templates")
}

fn read<T: DeserializeOwned>(file: &str) -> T {
    let text = fs::read_to_string(folder().join(file)).expect(file);
    serde_json::from_str(&text).expect(file)
}

#[derive(Deserialize)]
struct Conversations {
    tools: Value,
    conversations: Vec<Conversation>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Conversation {
    name: String,
    #[serde(default)]
    tools: bool,
    #[serde(default)]
    variables: TemplateVariables,
    messages: Value,
}

impl Conversation {
    fn chat(&self, tools: &Value) -> Chat {
        let tools = if self.tools { tools.clone() } else { json!([]) };
        read_chat(&json!({"messages": self.messages, "tools": tools})).expect("a conversation")
    }
}

#[derive(Deserialize)]
struct Goldens {
    goldens: BTreeMap<String, BTreeMap<String, Golden>>,
}

#[derive(Deserialize)]
#[serde(rename_all = "snake_case")]
enum Golden {
    Prompt(String),
    Refused(String),
}

fn template(family: &str) -> ChatTemplate {
    let file = |name: &str| fs::read_to_string(folder().join(family).join(name)).ok();
    let files = TemplateFiles {
        jinja: file("chat_template.jinja"),
        tokenizer_config: file("tokenizer_config.json"),
        ..TemplateFiles::default()
    };
    ChatTemplate::from_files(files)
        .expect("Jinja")
        .expect("a template")
}

#[rstest]
#[case("qwen2.5")]
#[case("qwen3")]
#[case("llama-3")]
#[case("mistral")]
#[case("gemma")]
#[case("phi")]
#[case("macros")]
#[case("named")]
fn prompts_are_those_of_transformers(#[case] family: &str) {
    let given: Conversations = read("conversations.json");
    let goldens: Goldens = read("goldens.json");
    let goldens = &goldens.goldens[family];
    assert_eq!(goldens.len(), given.conversations.len());
    let template = template(family);
    let mut wrong = Vec::new();
    for conversation in &given.conversations {
        let name = &conversation.name;
        let chat = conversation.chat(&given.tools);
        let ours = template.render(&chat.messages, &chat.tools, &conversation.variables);
        match (&goldens[name], ours) {
            (Golden::Prompt(theirs), Ok(ours)) if *theirs == ours => {}
            (Golden::Refused(theirs), Err(ours)) if ours.to_string().contains(theirs) => {}
            (Golden::Prompt(theirs), ours) => {
                wrong.push(format!(
                    "{name}: transformers:\n{theirs}\nhere:\n{ours:?}\n"
                ));
            }
            (Golden::Refused(theirs), ours) => {
                wrong.push(format!(
                    "{name}: transformers refuses: {theirs}\nhere:\n{ours:?}\n"
                ));
            }
        }
    }
    assert!(wrong.is_empty(), "{family}: {}", wrong.join("\n"));
}

/// What a template shows is what its model writes, and nothing else is looked for.
#[rstest]
#[case("qwen2.5", &[CallFormat::Hermes], None)]
#[case("qwen3", &[CallFormat::Hermes], Some("<think>"))]
#[case("llama-3", &[CallFormat::Llama], None)]
#[case("mistral", &[CallFormat::Mistral], None)]
#[case("gemma", &[], None)]
#[case("phi", &[], None)]
#[case("macros", &[], Some("<think>"))]
#[case("named", &[], None)]
fn a_template_tells_the_formats_of_its_model(
    #[case] family: &str,
    #[case] calls: &[CallFormat],
    #[case] thinking: Option<&str>,
) {
    let format = OutputFormat::detect(&template(family).source(), &|_| false);
    let all = [
        CallFormat::Hermes,
        CallFormat::FunctionXml,
        CallFormat::Llama,
        CallFormat::Python,
        CallFormat::Mistral,
        CallFormat::Harmony,
    ];
    let found: Vec<CallFormat> = all.into_iter().filter(|one| format.has(*one)).collect();
    assert_eq!(found, calls);
    assert_eq!(format.thinking().map(|marks| marks.open), thinking);
    assert_eq!(format.is_plain(), calls.is_empty() && thinking.is_none());
}

/// A prompt ends within a thought if the last thing in it opens one, and not if it is closed again.
#[test]
fn a_prompt_with_an_empty_thought_is_not_within_it() {
    let goldens: Goldens = read("goldens.json");
    let mut closed = 0;
    for (family, prompts) in &goldens.goldens {
        let format = OutputFormat::detect(&template(family).source(), &|_| false);
        for prompt in prompts.values() {
            let Golden::Prompt(prompt) = prompt else {
                continue;
            };
            let opens = format.thinking().is_some() && prompt.ends_with("<think>");
            assert_eq!(format.is_thinking(prompt), opens, "{family}: {prompt}");
            closed += usize::from(prompt.ends_with("</think>\n\n"));
            if format.thinking().is_some() {
                assert!(format.is_thinking(&format!("{prompt}<think>\n")));
            }
        }
    }
    assert!(closed > 0);
}

/// The built-in model's template ends with the assistant's opening unless it is told not to.
fn prompt_tokens(sandbox: &Sandbox, flags: &[&str]) -> u64 {
    let base = ["generate", "--max-tokens", "1", "--json"];
    let ran = sandbox.run(&[&base, flags].concat()).expect_code(0);
    let answer: Value = serde_json::from_str(&ran.stdout).expect("JSON");
    answer["prompt_tokens"].as_u64().expect("a count")
}

#[test]
fn variables_reach_the_template_from_the_command_line() {
    let sandbox = Sandbox::new();
    let open = prompt_tokens(&sandbox, &["--prompt", "x"]);
    let variable = "add_generation_prompt=false";
    let flags = ["--prompt", "x", "--template-var", variable];
    let closed = prompt_tokens(&sandbox, &flags);
    assert!(closed < open, "{closed} {open}");

    let chat = json!({
        "messages": [{"role": "user", "content": "x"}],
        "chat_template_kwargs": {"add_generation_prompt": false}
    });
    sandbox.write("chat.json", &chat.to_string());
    let from_file = prompt_tokens(&sandbox, &["--messages", "chat.json"]);
    assert_eq!(from_file, closed);
    let variable = "add_generation_prompt=true";
    let flags = ["--messages", "chat.json", "--template-var", variable];
    assert_eq!(prompt_tokens(&sandbox, &flags), open);
}

#[test]
fn a_file_of_messages_may_hold_calls_results_and_tools() {
    let sandbox = Sandbox::new();
    let chat = |id: &str| {
        json!({
            "messages": [
                {"role": "user", "content": "read README.md and summarise"},
                {"role": "assistant", "content": null, "tool_calls": [{"id": "call_1", "type": "function",
                    "function": {"name": "Read", "arguments": "{\"file_path\": \"README.md\"}"}}]},
                {"role": "tool", "tool_call_id": id, "content": "# Title"}],
            "tools": [{"type": "function", "function": {"name": "Read", "description": "Reads",
                "parameters": {"type": "object", "properties": {"file_path": {"type": "string"}}}}}],
        })
        .to_string()
    };
    sandbox.write("chat.json", &chat("call_1"));
    let whole = prompt_tokens(&sandbox, &["--messages", "chat.json"]);
    assert!(whole > prompt_tokens(&sandbox, &["--prompt", "read README.md and summarise"]) + 40);
    sandbox.write("chat.json", &chat("call_2"));
    sandbox
        .run(&["generate", "--messages", "chat.json"])
        .expect_code(2)
        .expect_stderr("chat.json: messages[2].tool_call_id: no earlier message calls a tool");
}

#[rstest]
#[case(&["--template-var", "x"], "write a name and its value")]
#[case(&["--template-var", "messages=1"], "the template variable 'messages'")]
fn bad_variables_are_refused(#[case] flags: &[&str], #[case] message: &str) {
    let sandbox = Sandbox::new();
    let base = ["generate", "--prompt", "x"];
    sandbox
        .run(&[&base, flags].concat())
        .expect_code(2)
        .expect_stderr(message);
}

const SCENARIO: &str = "\
version: 1
description: d
why: w
template: {add_generation_prompt: false}
sampling: {max_tokens: 1}
tests:
  - id: closed
    user: x
    assert: [{max-tokens-used: 1}]
  - id: open
    user: x
    template: {add_generation_prompt: true}
    assert: [{max-tokens-used: 1}]
";

/// Prompt tokens and recorded variables of every case of the last run.
fn recorded(sandbox: &Sandbox, folder: &str) -> Vec<(u64, Value)> {
    let run = fs::read_dir(sandbox.path(folder)).expect("runs").next();
    let path = run.expect("a run").expect("an entry").path();
    let text = fs::read_to_string(path.join("record.jsonl")).expect("the record");
    text.lines()
        .map(|line| serde_json::from_str::<Value>(line).expect("JSON"))
        .filter(|line| line["line"] == "case")
        .map(|case| {
            let transcript = &case["run"]["conversation"]["exchanges"][0]["transcript"];
            let tokens = transcript["usage"]["input_tokens"].as_u64();
            (tokens.expect("a count"), case["template"].clone())
        })
        .collect()
}

#[test]
fn variables_reach_the_template_from_a_scenario() {
    let sandbox = Sandbox::new();
    sandbox.write("s.yaml", SCENARIO);
    sandbox
        .run(&["run", "s.yaml", "--report", "a"])
        .expect_code(0);
    let cases = recorded(&sandbox, "a");
    assert!(cases[0].0 < cases[1].0, "{cases:?}");
    assert_eq!(cases[0].1, json!({"add_generation_prompt": false}));
    let set = "template.add_generation_prompt=false";
    sandbox
        .run(&["run", "s.yaml", "--report", "b", "--set", set])
        .expect_code(0);
    let overridden = recorded(&sandbox, "b");
    assert_eq!(overridden[1].0, cases[0].0, "{overridden:?}");
}

#[rstest]
#[case("template: {tools: []}\ntests:", "the template variable 'tools'")]
#[case(
    "tests:\n  - id: raw\n    prompt: x\n    template: {a: 1}\n    assert: [not-loop]\n",
    "'template' has no effect on a 'prompt'"
)]
fn a_scenario_with_bad_variables_is_refused(#[case] part: &str, #[case] message: &str) {
    let sandbox = Sandbox::new();
    let text = SCENARIO.replace("template: {add_generation_prompt: false}\n", "");
    sandbox.write("s.yaml", &text.replacen("tests:", part, 1));
    sandbox
        .run(&["run", "s.yaml"])
        .expect_code(2)
        .expect_stderr(message);
}
