//! Chat templates: Jinja as Hugging Face's transformers runs it.
//!
//! A checkpoint has one template, or a second one for conversations with tools. Both see what
//! transformers 5.23.0 shows them (`utils/chat_template_utils.py`, `render_jinja_template`):
//! `messages`, `tools`, `documents`, `add_generation_prompt`, the special tokens by name, and the
//! caller's variables over all of these. `jinja` holds the language, `messages` the conversation
//! as templates expect it, `python_json` the filter `tojson`, `config` reads the files.
//!
//! There is no clock: `strftime_now` is undefined, so that templates use their fixed date and the
//! same request gives the same prompt on every day, unless the caller names the moment in a
//! variable of that name.

mod config;
mod jinja;
mod messages;
mod python_json;

use std::collections::BTreeMap;

use minijinja::value::{Serde, Value};
use minijinja::{Environment, Error, ErrorKind};

pub use config::TemplateFiles;

use super::TextError;
use crate::generation::{Message, TemplateVariables, ToolSpec};

/// A checkpoint's chat template.
#[derive(Debug)]
pub struct ChatTemplate {
    environment: Environment<'static>,
    has_tool_use: bool,
    /// Values that a template sees unless the caller gives others.
    defaults: BTreeMap<String, Value>,
}

/// The template of ordinary conversations.
const DEFAULT: &str = "chat_template.jinja";
/// The template of conversations with tools, where there is one.
const TOOL_USE: &str = "additional_chat_templates/tool_use.jinja";
/// A function of templates, and the variable that gives it its moment.
const STRFTIME_NOW: &str = "strftime_now";

impl ChatTemplate {
    /// The template of a checkpoint, from the contents of its files; `None` if they have none.
    ///
    /// # Errors
    /// If a file is not JSON, or a template is not Jinja.
    pub fn from_files(files: TemplateFiles) -> Result<Option<Self>, TextError> {
        let source = config::read(files)?;
        let Some(template) = source.default else {
            return Ok(None);
        };
        let mut environment = jinja::environment();
        let mut add = |name: &'static str, template: String| {
            environment
                .add_template_owned(name, jinja::without_generation_tags(&template))
                .map_err(|error| refused(&error))
        };
        add(DEFAULT, template)?;
        let has_tool_use = source.tool_use.is_some();
        if let Some(template) = source.tool_use {
            add(TOOL_USE, template)?;
        }
        let mut defaults: BTreeMap<String, Value> = source
            .special_tokens
            .into_iter()
            .map(|(name, token)| (name, Value::from(token)))
            .collect();
        defaults.insert("documents".to_owned(), Value::from(()));
        defaults.insert("add_generation_prompt".to_owned(), Value::from(true));
        Ok(Some(Self {
            environment,
            has_tool_use,
            defaults,
        }))
    }

    /// The templates as they are written, one behind the other.
    #[must_use]
    pub fn source(&self) -> String {
        let templates = [DEFAULT, TOOL_USE].into_iter();
        let templates = templates.filter_map(|name| self.environment.get_template(name).ok());
        templates
            .map(|template| template.source().to_owned())
            .collect()
    }

    /// Sets a variable that templates see unless the caller gives it another value.
    #[must_use]
    pub fn with_default(mut self, name: &str, value: bool) -> Self {
        self.defaults.insert(name.to_owned(), Value::from(value));
        self
    }

    /// The prompt for a conversation that the model is to go on.
    ///
    /// # Errors
    /// If the template refuses the conversation, or fails.
    pub fn render(
        &self,
        messages: &[Message],
        tools: &[ToolSpec],
        variables: &TemplateVariables,
    ) -> Result<String, TextError> {
        let mut context = self.defaults.clone();
        for (name, value) in variables.iter() {
            let value = match name {
                STRFTIME_NOW => jinja::clock(value).map_err(TextError::ChatTemplate)?,
                _ => Value::from(Serde(value.clone())),
            };
            context.insert(name.to_owned(), value);
        }
        let messages = messages::messages_json(messages);
        context.insert("messages".to_owned(), Value::from(Serde(messages)));
        context.insert("tools".to_owned(), offered(tools));
        let name = if self.has_tool_use && !tools.is_empty() {
            TOOL_USE
        } else {
            DEFAULT
        };
        self.environment
            .get_template(name)
            .and_then(|template| {
                let mut prompt = Bounded(Vec::new());
                template.render_captured_to(Value::from(context), &mut prompt)?;
                String::from_utf8(prompt.0)
                    .map_err(|error| Error::new(ErrorKind::BadSerialization, error.to_string()))
            })
            .map_err(|error| refused(&error))
    }
}

/// Most bytes of a prompt. The longest contexts are a few megabytes of text.
const MAX_PROMPT_BYTES: usize = 64 << 20;

/// A prompt that is being written, and does not grow without end.
struct Bounded(Vec<u8>);

impl std::io::Write for Bounded {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        if self.0.len() + bytes.len() > MAX_PROMPT_BYTES {
            let problem = format!("the prompt has more than {MAX_PROMPT_BYTES} bytes");
            return Err(std::io::Error::other(problem));
        }
        self.0.extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

/// No tools at all are `none`, as transformers has it: templates ask `tools is not none`.
fn offered(tools: &[ToolSpec]) -> Value {
    match tools {
        [] => Value::from(()),
        tools => {
            let tools: Vec<_> = tools.iter().map(messages::tool_json).collect();
            Value::from(Serde(tools))
        }
    }
}

/// An error with its line and its first cause, in one line, and the remedy where there is one.
/// What lies between would repeat one line many times where a template includes itself.
fn refused(error: &Error) -> TextError {
    let causes = std::iter::successors(std::error::Error::source(error), |cause| cause.source());
    let mut text = match causes.last() {
        Some(cause) => format!("{error}: {cause}"),
        None => error.to_string(),
    };
    if error.kind() == ErrorKind::UnknownFunction && text.contains(STRFTIME_NOW) {
        text.push_str(
            "; the template needs a date: set its variable strftime_now, such as 2024-07-26",
        );
    }
    TextError::ChatTemplate(text)
}

#[cfg(test)]
mod tests;
