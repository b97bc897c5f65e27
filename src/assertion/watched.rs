//! What the loop detector reads of a generation: its token ids, or pieces of its text where the
//! target gives no ids.
//!
//! Knows ids and where their text stands. What a repetition means is decided elsewhere.

use std::borrow::Cow;
use std::ops::Range;

use crate::generation::{Channel, FinishReason, Transcript};
use crate::loops::{Ending, LoopVerdict, Settings, Watch, text_units};

/// A generation as a sequence of ids.
#[derive(Debug, Clone)]
pub struct Watched<'a> {
    /// Token ids, or ids of text units.
    pub ids: Vec<u32>,
    /// Bytes of `text` up to the end of each.
    ends: Cow<'a, [usize]>,
    text: Cow<'a, str>,
    /// The ids are a model's tokens.
    has_tokens: bool,
    ending: Ending,
}

impl<'a> Watched<'a> {
    /// What there is to watch. Without tokens it is the text in units of about their size, and
    /// reasoning that comes apart from the answer is watched before it.
    #[must_use]
    pub fn of(transcript: &'a Transcript) -> Self {
        let ending = match transcript.finish_reason {
            FinishReason::Length => Ending::CutOff,
            _ => Ending::Itself,
        };
        if transcript.pieces.is_empty() {
            return Self {
                ids: transcript.token_ids(),
                ends: Cow::Borrowed(&transcript.text_ends),
                text: Cow::Borrowed(&transcript.text),
                has_tokens: true,
                ending,
            };
        }
        let mut text = String::new();
        for channel in [Channel::Reasoning, Channel::Content, Channel::ToolCall] {
            let pieces = transcript.pieces.iter();
            let of_channel = pieces.filter(|piece| piece.of.channel == channel);
            text.extend(of_channel.map(|piece| piece.of.text.as_str()));
        }
        let units = text_units(&text);
        Self {
            ids: units.iter().map(|unit| unit.id).collect(),
            ends: units.iter().map(|unit| unit.bytes.end).collect(),
            text: Cow::Owned(text),
            has_tokens: false,
            ending,
        }
    }

    /// The loop in it, if there is one, by all detectors of [`Watch`].
    #[must_use]
    pub fn verdict(&self) -> Option<LoopVerdict> {
        let mut watch;
        if self.has_tokens {
            watch = Watch::new(Settings::default());
            for (at, id) in self.ids.iter().enumerate() {
                watch.push_token(*id, self.text(at..at + 1));
            }
        } else {
            watch = Watch::new(Settings::for_text());
            watch.push_text(&self.text, |_| ());
        }
        watch.finish(self.ending);
        watch.verdict()
    }

    /// The text of the ids `range`, empty where they brought none.
    #[must_use]
    pub fn text(&self, range: Range<usize>) -> &str {
        let end_of = |count: usize| match count.min(self.ends.len()).checked_sub(1) {
            Some(last) => self.ends.get(last).copied().unwrap_or(0),
            None => 0,
        };
        let start = end_of(range.start);
        let end = end_of(range.end).max(start);
        self.text.get(start..end).unwrap_or_default()
    }
}
