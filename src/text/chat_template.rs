//! Chat templates: Jinja as Hugging Face's transformers runs it.
//!
//! Python's methods on strings, lists and dictionaries work, `tojson` writes what `json.dumps`
//! would, and `raise_exception` is an error of the conversation. `strftime_now` is left undefined
//! on purpose: templates then use their fixed date, and the same request gives the same prompt
//! on every day.

use minijinja::syntax::SyntaxConfig;
use minijinja::value::{Kwargs, Serde, Value};
use minijinja::{Environment, Error, ErrorKind};
use serde::Deserialize;
use serde_json::json;
use serde_json::ser::{Formatter, PrettyFormatter, Serializer};

use super::TextError;
use crate::generation::{Message, ToolSpec};

/// A checkpoint's chat template.
#[derive(Debug)]
pub struct ChatTemplate {
    environment: Environment<'static>,
    special_tokens: Vec<(&'static str, String)>,
}

const NAME: &str = "chat_template.jinja";

/// The parts of `tokenizer_config.json` that templates need.
#[derive(Debug, Deserialize)]
struct TokenizerConfig {
    chat_template: Option<String>,
    bos_token: Option<SpecialToken>,
    eos_token: Option<SpecialToken>,
}

/// A token's name, plain or with its properties.
#[derive(Debug)]
struct SpecialToken(String);

impl<'de> Deserialize<'de> for SpecialToken {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let value = serde_json::Value::deserialize(deserializer)?;
        let name = value.as_str().or_else(|| value.get("content")?.as_str());
        name.map(|name| Self(name.to_owned()))
            .ok_or_else(|| serde::de::Error::custom("expected a token's name"))
    }
}

impl ChatTemplate {
    /// The template of a checkpoint, from the contents of `chat_template.jinja` and of
    /// `tokenizer_config.json`; the former goes first. `None` if neither has one.
    ///
    /// # Errors
    /// If the configuration is not JSON, or the template is not Jinja.
    pub fn from_files(
        jinja: Option<String>,
        tokenizer_config: Option<&str>,
    ) -> Result<Option<Self>, TextError> {
        let config = match tokenizer_config {
            Some(json) => serde_json::from_str(json).map_err(|error| {
                TextError::ChatTemplate(format!("tokenizer_config.json: {error}"))
            })?,
            None => TokenizerConfig {
                chat_template: None,
                bos_token: None,
                eos_token: None,
            },
        };
        let Some(source) = jinja.or(config.chat_template) else {
            return Ok(None);
        };
        let mut environment = environment();
        environment
            .add_template_owned(NAME, source)
            .map_err(|error| TextError::ChatTemplate(describe(&error)))?;
        let special_tokens = [
            ("bos_token", config.bos_token),
            ("eos_token", config.eos_token),
        ]
        .into_iter()
        .filter_map(|(name, token)| Some((name, token?.0)))
        .collect();
        Ok(Some(Self {
            environment,
            special_tokens,
        }))
    }

    /// The prompt for a conversation that the model is to go on.
    ///
    /// # Errors
    /// If the template refuses the conversation, or fails.
    pub fn render(&self, messages: &[Message], tools: &[ToolSpec]) -> Result<String, TextError> {
        let messages: Vec<serde_json::Value> = messages.iter().map(message_json).collect();
        let tools: Vec<serde_json::Value> = tools.iter().map(tool_json).collect();
        let mut variables = vec![
            ("messages", Value::from(Serde(messages))),
            ("add_generation_prompt", Value::from(true)),
        ];
        // Templates ask `if tools`; an empty list and an absent one must look the same.
        if !tools.is_empty() {
            variables.push(("tools", Value::from(Serde(tools))));
        }
        for (name, token) in &self.special_tokens {
            variables.push((name, Value::from(token.as_str())));
        }
        self.environment
            .get_template(NAME)
            .and_then(|template| {
                let mut prompt = Bounded(Vec::new());
                template.render_captured_to(Value::from_pairs(variables), &mut prompt)?;
                String::from_utf8(prompt.0)
                    .map_err(|error| Error::new(ErrorKind::BadSerialization, error.to_string()))
            })
            .map_err(|error| TextError::ChatTemplate(describe(&error)))
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

fn environment() -> Environment<'static> {
    let mut environment = Environment::new();
    let syntax = SyntaxConfig::builder()
        .trim_blocks(true)
        .lstrip_blocks(true)
        .build();
    // The builder fails only on clashing delimiters, and these are the default ones.
    environment.set_syntax(syntax.unwrap_or_default());
    environment.set_unknown_method_callback(minijinja_contrib::pycompat::unknown_method_callback);
    environment.add_function(
        "raise_exception",
        |message: String| -> Result<String, Error> {
            Err(Error::new(ErrorKind::InvalidOperation, message))
        },
    );
    environment.add_filter("tojson", to_json);
    // A hostile template may loop; real ones take a few thousand steps per message.
    environment.set_fuel(Some(50_000_000));
    environment
}

/// An error with its line and its first cause, in one line. What lies between would repeat one
/// line many times where a template includes itself.
fn describe(error: &Error) -> String {
    let causes = std::iter::successors(std::error::Error::source(error), |cause| cause.source());
    match causes.last() {
        Some(cause) => format!("{error}: {cause}"),
        None => error.to_string(),
    }
}

/// A message as templates expect it: OpenAI's form, with arguments as an object.
fn message_json(message: &Message) -> serde_json::Value {
    let mut json = json!({"role": message.role.as_str(), "content": message.content});
    if !message.tool_calls.is_empty() {
        let calls = message.tool_calls.iter().map(|call| {
            json!({"type": "function", "function": {"name": call.name, "arguments": call.arguments}})
        });
        json["tool_calls"] = calls.collect();
    }
    json
}

fn tool_json(tool: &ToolSpec) -> serde_json::Value {
    json!({"type": "function", "function": {
        "name": tool.name,
        "description": tool.description,
        "parameters": tool.parameters,
    }})
}

/// `tojson` as transformers defines it: Python's separators, characters not escaped, and an
/// optional `indent`.
fn to_json(value: &Value, options: Kwargs) -> Result<Value, Error> {
    let indent: Option<usize> = options.get("indent")?;
    options.assert_all_used()?;
    let mut out = Vec::new();
    let written = match indent {
        Some(width) => {
            let spaces = " ".repeat(width.min(16));
            let formatter = PrettyFormatter::with_indent(spaces.as_bytes());
            serde::Serialize::serialize(value, &mut Serializer::with_formatter(&mut out, formatter))
        }
        None => {
            serde::Serialize::serialize(value, &mut Serializer::with_formatter(&mut out, Python))
        }
    };
    written.map_err(|error| Error::new(ErrorKind::BadSerialization, error.to_string()))?;
    let text = String::from_utf8(out)
        .map_err(|error| Error::new(ErrorKind::BadSerialization, error.to_string()))?;
    Ok(Value::from_safe_string(text))
}

/// Writes `{"a": 1, "b": [2, 3]}` with the spaces that `json.dumps` puts.
struct Python;

impl Formatter for Python {
    fn begin_array_value<W: ?Sized + std::io::Write>(
        &mut self,
        writer: &mut W,
        first: bool,
    ) -> std::io::Result<()> {
        if first {
            Ok(())
        } else {
            writer.write_all(b", ")
        }
    }

    fn begin_object_key<W: ?Sized + std::io::Write>(
        &mut self,
        writer: &mut W,
        first: bool,
    ) -> std::io::Result<()> {
        if first {
            Ok(())
        } else {
            writer.write_all(b", ")
        }
    }

    fn begin_object_value<W: ?Sized + std::io::Write>(
        &mut self,
        writer: &mut W,
    ) -> std::io::Result<()> {
        writer.write_all(b": ")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::generation::{Role, ToolCall};

    fn template(source: &str) -> ChatTemplate {
        ChatTemplate::from_files(Some(source.to_owned()), None)
            .expect("Jinja")
            .expect("a template")
    }

    fn user(text: &str) -> Message {
        Message::text(Role::User, text)
    }

    #[test]
    fn python_methods_and_block_trimming_work() {
        let source = "{% for m in messages %}\n    {% if m.role == 'user' %}\n\
                      [{{ m['content'].strip().upper() }}]\n    {% endif %}\n{% endfor %}";
        let text = template(source)
            .render(&[user("  hi ")], &[])
            .expect("renders");
        assert_eq!(text, "[HI]\n");
    }

    #[test]
    fn tojson_writes_what_python_writes() {
        let call = ToolCall {
            name: "Read".to_owned(),
            arguments: serde_json::from_str(r#"{"z":[1,2.0,"é\n"],"a":{}}"#).expect("JSON"),
        };
        let message = Message {
            tool_calls: vec![call],
            ..Message::text(Role::Assistant, "")
        };
        let source = "{{ messages[0].tool_calls[0].function.arguments | tojson }}";
        let text = template(source).render(&[message], &[]).expect("renders");
        assert_eq!(text, "{\"z\": [1, 2.0, \"é\\n\"], \"a\": {}}");
    }

    #[test]
    fn a_template_may_refuse_and_may_not_run_for_ever() {
        let refused = template("{{ raise_exception('roles must alternate') }}")
            .render(&[user("x")], &[])
            .expect_err("refused");
        assert!(
            refused.to_string().contains("roles must alternate"),
            "{refused}"
        );
        let endless = "{% for a in range(9999) %}{% for b in range(9999) %}{{ a * b }}{% endfor %}{% endfor %}";
        assert!(template(endless).render(&[user("x")], &[]).is_err());
    }

    #[test]
    fn special_tokens_come_in_both_spellings() {
        let config = r#"{"chat_template": "{{ bos_token }}{{ eos_token }}",
            "bos_token": {"content": "<s>", "lstrip": false}, "eos_token": "</s>"}"#;
        let template = ChatTemplate::from_files(None, Some(config))
            .expect("valid")
            .expect("a template");
        assert_eq!(template.render(&[], &[]).expect("renders"), "<s></s>");
    }

    #[test]
    fn a_model_without_a_template_has_none() {
        assert!(
            ChatTemplate::from_files(None, Some("{}"))
                .expect("valid")
                .is_none()
        );
        assert!(ChatTemplate::from_files(Some("{% if".to_owned()), None).is_err());
    }
}
