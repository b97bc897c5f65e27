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
        let ending = ending(transcript);
        if transcript.pieces.is_empty() {
            return Self {
                ids: transcript.token_ids(),
                ends: Cow::Borrowed(&transcript.text_ends),
                text: Cow::Borrowed(&transcript.text),
                has_tokens: true,
                ending,
            };
        }
        let channels = [Channel::Reasoning, Channel::Content, Channel::ToolCall];
        Self::of_channels(transcript, &channels)
    }

    /// The text that came in these channels, one behind the other, of a target that tells no tokens.
    pub(super) fn of_channels(transcript: &'a Transcript, channels: &[Channel]) -> Self {
        let ending = ending(transcript);
        let mut text = String::new();
        for channel in channels {
            let pieces = transcript.pieces.iter();
            let of_channel = pieces.filter(|piece| piece.of.channel == *channel);
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

    /// The loop within these bytes of a text of tokens, as if nothing stood around them. Its places are
    /// those of the whole.
    pub(super) fn verdict_within(&self, bytes: Range<usize>) -> Option<LoopVerdict> {
        if bytes.is_empty() {
            return None;
        }
        let first = self.ends.partition_point(|end| *end <= bytes.start);
        let last = self.ends.partition_point(|end| *end < bytes.end);
        let mut watch = Watch::new(Settings::default());
        for at in first..self.ids.len().min(last + 1) {
            watch.push_token(self.ids[at], self.text(at..at + 1));
        }
        let rest = self.text.get(bytes.end..).unwrap_or_default();
        watch.finish(match rest.trim().is_empty() {
            true => self.ending,
            false => Ending::Itself,
        });
        let mut verdict = watch.verdict()?;
        for place in [
            &mut verdict.onset,
            &mut verdict.suspected_at,
            &mut verdict.detected_at,
            &mut verdict.earliest_possible,
        ]
        .into_iter()
        .chain(&mut verdict.ended_at)
        {
            *place += first;
        }
        if let Some(byte) = &mut verdict.onset_byte {
            *byte += self.text(0..first).len();
        }
        Some(verdict)
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

fn ending(transcript: &Transcript) -> Ending {
    match transcript.finish_reason {
        FinishReason::Length => Ending::CutOff,
        _ => Ending::Itself,
    }
}
