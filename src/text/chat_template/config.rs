//! A checkpoint's template files as written: which templates there are, and the special tokens
//! they print.

use serde::Deserialize;
use serde_json::{Map, Value};

use crate::text::TextError;

/// Contents of the files of a checkpoint that bear on its chat template.
#[derive(Debug, Clone, Default)]
pub struct TemplateFiles {
    /// `chat_template.jinja`; goes before the templates of `tokenizer_config.json`.
    pub jinja: Option<String>,
    /// `additional_chat_templates/tool_use.jinja`.
    pub tool_use: Option<String>,
    /// `tokenizer_config.json`.
    pub tokenizer_config: Option<String>,
    /// `special_tokens_map.json`, for tokens that `tokenizer_config.json` does not name.
    pub special_tokens_map: Option<String>,
}

/// What the files say together.
#[derive(Debug, Default)]
pub(super) struct Source {
    /// The template of ordinary conversations.
    pub(super) default: Option<String>,
    /// The template of conversations with tools, if it is another one.
    pub(super) tool_use: Option<String>,
    /// Names such as `bos_token`, and the tokens.
    pub(super) special_tokens: Vec<(String, String)>,
}

/// One template, or several by name.
#[derive(Debug, Deserialize)]
#[serde(untagged)]
enum TemplateWire {
    One(String),
    Named(Vec<NamedWire>),
}

#[derive(Debug, Deserialize)]
struct NamedWire {
    name: String,
    template: String,
}

/// Puts the files together as transformers 5.23.0 does (`tokenization_utils_base.py`,
/// `_from_pretrained` and `get_chat_template`): template files replace those of the configuration
/// altogether, and of several templates `tool_use` is for conversations with tools.
pub(super) fn read(files: TemplateFiles) -> Result<Source, TextError> {
    let config = object("tokenizer_config.json", files.tokenizer_config.as_deref())?;
    let map = object(
        "special_tokens_map.json",
        files.special_tokens_map.as_deref(),
    )?;
    let mut source = Source {
        special_tokens: special_tokens(&config, &map),
        ..Source::default()
    };
    if files.jinja.is_some() {
        source.default = files.jinja;
        source.tool_use = files.tool_use;
        return Ok(source);
    }
    match config.get("chat_template") {
        None | Some(Value::Null) => {}
        Some(value) => match TemplateWire::deserialize(value) {
            Ok(TemplateWire::One(template)) => source.default = Some(template),
            Ok(TemplateWire::Named(list)) => named(list, &mut source)?,
            Err(_) => {
                return Err(broken(
                    "tokenizer_config.json",
                    "chat_template is neither text nor a list of {name, template}",
                ));
            }
        },
    }
    Ok(source)
}

fn named(list: Vec<NamedWire>, source: &mut Source) -> Result<(), TextError> {
    let mut others = Vec::new();
    for NamedWire { name, template } in list {
        match name.as_str() {
            "default" => source.default = Some(template),
            "tool_use" => source.tool_use = Some(template),
            _ => others.push(name),
        }
    }
    if source.default.is_none() && (source.tool_use.is_some() || !others.is_empty()) {
        return Err(broken(
            "tokenizer_config.json",
            "chat_template has several templates, and none is called 'default'",
        ));
    }
    Ok(())
}

/// The tokens with a name of their own: `bos_token`, `eos_token` and every other `…_token`, as
/// plain text or with their properties.
fn special_tokens(config: &Map<String, Value>, map: &Map<String, Value>) -> Vec<(String, String)> {
    let entries = map.iter().filter(|(name, _)| !config.contains_key(*name));
    entries
        .chain(config)
        .filter(|(name, _)| name.ends_with("_token"))
        .filter_map(|(name, token)| {
            let token = token.as_str().or_else(|| token.get("content")?.as_str())?;
            Some((name.clone(), token.to_owned()))
        })
        .collect()
}

fn object(file: &str, text: Option<&str>) -> Result<Map<String, Value>, TextError> {
    match text {
        None => Ok(Map::new()),
        Some(text) => serde_json::from_str(text).map_err(|error| broken(file, error)),
    }
}

fn broken(file: &str, problem: impl std::fmt::Display) -> TextError {
    TextError::ChatTemplate(format!("{file}: {problem}"))
}
