//! Chat templates against transformers, byte for byte.
//!
//! `tests/templates/README.md` says how the goldens were made, and with which versions.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use loopwatch::generation::TemplateVariables;
use loopwatch::protocol::{Chat, read_chat};
use loopwatch::text::{ChatTemplate, TemplateFiles};
use rstest::rstest;
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

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
