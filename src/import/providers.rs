//! Providers of promptfoo as targets, and their parameters as sampling parameters.

use serde_json::{Map, Value, json};

use super::Lost;
use super::node::{Kind, Node, line};

/// Where OpenAI's and Anthropic's own servers are.
const OPENAI: &str = "https://api.openai.com/v1";
const ANTHROPIC: &str = "https://api.anthropic.com";

/// Who answers, and how.
#[derive(Debug, Default)]
pub(super) struct Answering {
    pub(super) target: Option<Value>,
    pub(super) sampling: Map<String, Value>,
}

/// The first provider that can be carried over; the others are listed.
pub(super) fn carry(providers: Option<&Node>, lost: &mut Vec<Lost>) -> Answering {
    let mut answering: Option<Answering> = None;
    for provider in providers.map(Kind::items).unwrap_or_default() {
        let (found, also) = match one(provider) {
            Ok(found) => (found.0, found.1),
            Err(what) => {
                lost.push(Lost {
                    line: line(provider),
                    what,
                });
                continue;
            }
        };
        lost.extend(also);
        if answering.is_none() {
            answering = Some(found);
            continue;
        }
        let shown = found
            .target
            .map_or_else(String::new, |target| short(&target));
        lost.push(Lost {
            line: line(provider),
            what: format!(
                "a scenario has one target; for this one too, run it with --target '{shown}'"
            ),
        });
    }
    answering.unwrap_or_default()
}

/// As `--target` takes it.
fn short(target: &Value) -> String {
    let address = |key: &str| Some(format!("{key}:{}", target.get(key)?.as_str()?));
    address("openai")
        .or_else(|| address("anthropic"))
        .or_else(|| target.as_str().map(str::to_owned))
        .unwrap_or_default()
}

fn one(provider: &Node) -> Result<(Answering, Vec<Lost>), String> {
    let (id, config) = match &provider.value {
        Kind::Text(id) => (id.as_str(), None),
        entries => {
            let id = entries.get("id").and_then(|id| id.value.text());
            (id.unwrap_or_default(), entries.get("config"))
        }
    };
    let parts: Vec<&str> = id.split(':').collect();
    let none = Kind::Null;
    let config = config.map_or(&none, |config| &config.value);
    let base = |usual: &str| {
        let keys = ["apiBaseUrl", "apiHost"];
        let set = keys.iter().find_map(|key| config.get(key)?.value.text());
        match set {
            Some(address) if address.contains("://") => address.to_owned(),
            Some(host) => format!("https://{host}/v1"),
            None => usual.to_owned(),
        }
    };
    let (name, address, model) = match parts.as_slice() {
        ["echo"] => {
            let answering = Answering {
                target: Some(json!("echo")),
                sampling: Map::new(),
            };
            return Ok((answering, Vec::new()));
        }
        ["openai", "chat", model @ ..] | ["openai", model @ ..] if !model.is_empty() => {
            ("openai", base(OPENAI), model.join(":"))
        }
        ["anthropic", "messages", model @ ..] if !model.is_empty() => {
            ("anthropic", base(ANTHROPIC), model.join(":"))
        }
        _ => {
            return Err(format!(
                "provider '{id}': there are openai, anthropic and echo here; give another one's \
                 address with --target openai:URL"
            ));
        }
    };
    let mut target = Map::new();
    target.insert(name.to_owned(), json!(address));
    target.insert("model".to_owned(), json!(model));
    let (sampling, variable, lost) = parameters(config, id);
    let usual = if name == "openai" {
        "OPENAI_API_KEY"
    } else {
        "ANTHROPIC_API_KEY"
    };
    // A server at an address of its own may want no key.
    if let Some(variable) =
        variable.or_else(|| (address == OPENAI || address == ANTHROPIC).then(|| usual.to_owned()))
    {
        target.insert("api_key_env".to_owned(), json!(variable));
    }
    let answering = Answering {
        target: Some(Value::Object(target)),
        sampling,
    };
    Ok((answering, lost))
}

/// The sampling parameters, the variable of the key, and what has no place.
fn parameters(config: &Kind, id: &str) -> (Map<String, Value>, Option<String>, Vec<Lost>) {
    let mut sampling = Map::new();
    let mut lost = Vec::new();
    let mut variable = None;
    for (key, node) in config.entries() {
        let value = node.value.plain();
        let ours = match key.value.as_str() {
            "apiBaseUrl" | "apiHost" => continue,
            "apiKeyEnvar" => {
                variable = node.value.text().map(str::to_owned);
                continue;
            }
            same @ ("temperature" | "top_p" | "top_k" | "seed" | "max_tokens" | "stop"
            | "presence_penalty" | "frequency_penalty") => same,
            "max_completion_tokens" => "max_tokens",
            "stop_sequences" => "stop",
            other => {
                lost.push(Lost {
                    line: line(key),
                    what: format!("'{other}' of provider '{id}'"),
                });
                continue;
            }
        };
        sampling.insert(ours.to_owned(), value);
    }
    (sampling, variable, lost)
}
