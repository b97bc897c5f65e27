//! Reads what `detect` is given into channels: text, token ids, JSON lines, or a captured stream.

use std::path::Path;

use clap::ValueEnum;
use eventsource_stream::Eventsource;
use futures_util::{StreamExt, stream};
use serde_json::Value;

use super::super::exit::Explained;
use crate::loops::Ending;

/// Kinds of input.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(super) enum Format {
    /// Text, cut into word pieces, digits and signs
    Text,
    /// Token ids, separated by white space, commas or both; brackets are ignored
    Ids,
    /// One JSON value a line: a string; {"text": …}; {"id": …, "text": …} for a token; or a chunk
    /// of an OpenAI or Anthropic stream
    Jsonl,
    /// A captured stream of server-sent events, of the OpenAI or the Anthropic protocol
    Sse,
}

/// What is watched apart.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, serde::Serialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Channel {
    /// What the model thinks.
    Reasoning,
    /// What it answers.
    Content,
    /// The arguments of its tool calls.
    ToolArguments,
}

/// One channel of the input.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Heard {
    pub(super) channel: Channel,
    pub(super) text: String,
    /// The ids of its tokens, each with the bytes of text read after it; none if only text came.
    pub(super) tokens: Vec<(u32, usize)>,
    /// How it ended, as far as the input says.
    pub(super) ending: Ending,
}

impl Heard {
    fn new(channel: Channel) -> Self {
        Self {
            channel,
            text: String::new(),
            tokens: Vec::new(),
            ending: Ending::Itself,
        }
    }
}

/// The channels of an input, those that said something.
pub(super) fn hear(format: Format, input: &str, file: &Path) -> anyhow::Result<Vec<Heard>> {
    let mut heard = Channels::default();
    match format {
        Format::Text => heard.text(Channel::Content, input),
        Format::Ids => {
            for (line, word) in words(input) {
                let id = word.parse().map_err(|_| {
                    let name = file.display();
                    Explained::usage(format!("{name}:{line}: '{word}' is not a token id"))
                })?;
                heard.token(id, "");
            }
        }
        Format::Jsonl => {
            for (line, text) in input.lines().enumerate() {
                if !text.trim().is_empty() {
                    heard.line(text, &format!("{}:{}", file.display(), line + 1))?;
                }
            }
        }
        Format::Sse => {
            for (index, data) in events(input, file)?.iter().enumerate() {
                if data.trim() != "[DONE]" {
                    heard.line(data, &format!("{}: event {}", file.display(), index + 1))?;
                }
            }
        }
    }
    heard.done(file)
}

fn words(input: &str) -> impl Iterator<Item = (usize, &str)> {
    input.lines().enumerate().flat_map(|(line, text)| {
        text.split(|c: char| c.is_whitespace() || matches!(c, ',' | '[' | ']'))
            .filter(|word| !word.is_empty())
            .map(move |word| (line + 1, word))
    })
}

/// The data of all events of a captured stream. A capture may be cut anywhere.
fn events(input: &str, file: &Path) -> anyhow::Result<Vec<String>> {
    // An event is complete with the blank line after it, which a cut capture may lack.
    let bytes = stream::iter([Ok::<_, std::io::Error>(input.as_bytes()), Ok(b"\n\n")]);
    let events = bytes
        .eventsource()
        .map(|event| event.map(|event| event.data));
    let runtime = tokio::runtime::Builder::new_current_thread().build()?;
    let events = runtime.block_on(events.collect::<Vec<_>>());
    events
        .into_iter()
        .collect::<Result<_, _>>()
        .map_err(|error| Explained::usage(format!("{}: {error}", file.display())))
}

#[derive(Default)]
struct Channels {
    all: Vec<Heard>,
    /// The channel that spoke last, which is the one that an allowance cuts off.
    last: Option<Channel>,
    cut_off: bool,
}

impl Channels {
    fn channel(&mut self, channel: Channel) -> &mut Heard {
        self.last = Some(channel);
        let index = match self.all.iter().position(|heard| heard.channel == channel) {
            Some(index) => index,
            None => {
                self.all.push(Heard::new(channel));
                self.all.len() - 1
            }
        };
        &mut self.all[index]
    }

    fn text(&mut self, channel: Channel, text: &str) {
        self.channel(channel).text.push_str(text);
    }

    fn token(&mut self, id: u32, text: &str) {
        let heard = self.channel(Channel::Content);
        heard.text.push_str(text);
        heard.tokens.push((id, heard.text.len()));
    }

    fn line(&mut self, line: &str, place: &str) -> anyhow::Result<()> {
        let value: Value = serde_json::from_str(line)
            .map_err(|error| Explained::usage(format!("{place}: not JSON: {error}")))?;
        match &value {
            Value::String(text) => self.text(Channel::Content, text),
            Value::Object(_) => self.object(&value, place)?,
            _ => {
                let problem = "expected a string or an object";
                return Err(Explained::usage(format!("{place}: {problem}")));
            }
        }
        Ok(())
    }

    /// A token, a text, or a chunk. Chunks without text, such as the first and the last, are
    /// common.
    fn object(&mut self, value: &Value, place: &str) -> anyhow::Result<()> {
        let text_of = |pointer: &str| value.pointer(pointer).and_then(Value::as_str);
        if let Some(id) = value.get("id").filter(|id| id.is_number()) {
            let id = id.as_u64().and_then(|id| u32::try_from(id).ok());
            let id =
                id.ok_or_else(|| Explained::usage(format!("{place}: id is not a token id")))?;
            self.token(id, text_of("/text").unwrap_or_default());
            return Ok(());
        }
        let places = [
            (Channel::Content, "/text"),
            (Channel::Content, "/choices/0/text"),
            (Channel::Content, "/choices/0/delta/content"),
            (Channel::Content, "/choices/0/message/content"),
            (Channel::Reasoning, "/choices/0/delta/reasoning_content"),
            (Channel::Reasoning, "/choices/0/delta/reasoning"),
            (
                Channel::ToolArguments,
                "/choices/0/delta/tool_calls/0/function/arguments",
            ),
            (Channel::Content, "/delta/text"),
            (Channel::Reasoning, "/delta/thinking"),
            (Channel::ToolArguments, "/delta/partial_json"),
        ];
        for (channel, pointer) in places {
            if let Some(text) = text_of(pointer).filter(|text| !text.is_empty()) {
                self.text(channel, text);
            }
        }
        let reasons = [
            "/choices/0/finish_reason",
            "/delta/stop_reason",
            "/stop_reason",
        ];
        let reason = reasons.into_iter().find_map(text_of);
        self.cut_off |= matches!(reason, Some("length" | "max_tokens"));
        Ok(())
    }

    fn done(mut self, file: &Path) -> anyhow::Result<Vec<Heard>> {
        self.all.sort_by_key(|heard| heard.channel);
        for heard in &mut self.all {
            if self.cut_off && self.last == Some(heard.channel) {
                heard.ending = Ending::CutOff;
            }
            let covered = heard
                .tokens
                .last()
                .is_none_or(|(_, end)| *end == heard.text.len());
            if !covered {
                let problem = "some text came with token ids and some without";
                return Err(Explained::usage(format!("{}: {problem}", file.display())));
            }
        }
        Ok(self.all)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn texts(format: Format, input: &str) -> Vec<(Channel, String)> {
        let heard = hear(format, input, Path::new("in")).unwrap_or_else(|error| panic!("{error}"));
        heard
            .into_iter()
            .map(|heard| (heard.channel, heard.text))
            .collect()
    }

    #[test]
    fn channels_of_a_captured_stream_are_kept_apart() {
        let openai = "data: {\"choices\":[{\"delta\":{\"role\":\"assistant\"}}]}\n\n\
            data: {\"choices\":[{\"delta\":{\"reasoning_content\":\"hm\"}}]}\n\n\
            data: {\"choices\":[{\"delta\":{\"content\":\"a\"}}]}\r\n\r\n\
            data: {\"choices\":[{\"delta\":{\"content\":\"b\"}}]}\n\ndata: [DONE]\n\n";
        let expected = vec![
            (Channel::Reasoning, "hm".to_owned()),
            (Channel::Content, "ab".to_owned()),
        ];
        assert_eq!(texts(Format::Sse, openai), expected);
        let anthropic = "event: content_block_delta\ndata: {\"type\":\"content_block_delta\",\"delta\":{\"type\":\"thinking_delta\",\"thinking\":\"hm\"}}\n\n\
            event: content_block_delta\ndata: {\"delta\":{\"type\":\"text_delta\",\"text\":\"ab\"}}";
        assert_eq!(texts(Format::Sse, anthropic), expected);
    }

    #[test]
    fn the_channel_that_spoke_last_is_the_one_cut_off() {
        let endings = |input: &str| -> Vec<Ending> {
            let heard = hear(Format::Jsonl, input, Path::new("in")).unwrap_or_default();
            heard.into_iter().map(|heard| heard.ending).collect()
        };
        let openai = "{\"choices\":[{\"delta\":{\"reasoning_content\":\"hm\"}}]}\n\
            {\"choices\":[{\"delta\":{\"content\":\"a\"}}]}\n\
            {\"choices\":[{\"delta\":{\"reasoning_content\":\"\"},\"finish_reason\":\"length\"}]}";
        assert_eq!(endings(openai), [Ending::Itself, Ending::CutOff]);
        let anthropic =
            "{\"delta\":{\"text\":\"a\"}}\n{\"delta\":{\"stop_reason\":\"max_tokens\"}}";
        assert_eq!(endings(anthropic), [Ending::CutOff]);
        let ended = "{\"delta\":{\"text\":\"a\"}}\n{\"delta\":{\"stop_reason\":\"end_turn\"}}";
        assert_eq!(endings(ended), [Ending::Itself]);
    }

    #[test]
    fn json_lines_may_be_text_or_tokens() {
        let lines = "\"one \"\n{\"text\": \"two\"}\n\n";
        assert_eq!(
            texts(Format::Jsonl, lines),
            [(Channel::Content, "one two".to_owned())]
        );
        let tokens = "{\"id\": 7, \"text\": \"a\"}\n{\"id\": 8}\n";
        let heard = hear(Format::Jsonl, tokens, Path::new("in")).unwrap_or_default();
        assert_eq!(heard[0].tokens, [(7, 1), (8, 1)]);
    }

    #[test]
    fn bad_lines_are_named() {
        let problem = |input: &str| {
            hear(Format::Jsonl, input, Path::new("in.jsonl"))
                .map_or_else(|error| error.to_string(), |_| String::new())
        };
        assert!(problem("\"a\"\n{").starts_with("in.jsonl:2: not JSON"));
        assert!(problem("[1]").contains("expected a string or an object"));
        assert!(problem("{\"id\": -3}").contains("id is not a token id"));
        assert!(problem("{\"id\": 3, \"text\": \"a\"}\n\"b\"").contains("some without"));
    }
}
