//! Which channel each part of a generation belongs to, where its tokens do not say it.
//!
//! It knows the whole text as the model wrote it, and what was read from it: thoughts, content and
//! the names of calls. It looks these up in the text. Where that can be done in more than one way
//! it says nothing. It does not know the marks of any model's format.

use std::ops::Range;

use super::{Channel, Transcript};

impl Transcript {
    /// Its text in stretches, each of one channel, in order; `None` if the text cannot be taken
    /// apart, or only in a way that may be wrong.
    ///
    /// A mark, such as `<think>`, belongs to the stretch that it opens, and one that closes a stretch
    /// to what follows it; the marks of a call are part of the call, and so is what was neither
    /// thought nor said.
    #[must_use]
    pub fn stretches(&self) -> Option<Vec<(Range<usize>, Channel)>> {
        let mut whole: Vec<(Range<usize>, Channel)> = Vec::new();
        for (range, channel) in stretches(self)? {
            match whole.last_mut() {
                Some((before, same)) if *same == channel => before.end = range.end,
                _ if range.is_empty() => {}
                _ => whole.push((range, channel)),
            }
        }
        Some(whole)
    }

    /// The channel of each token; `None` where [`stretches`](Self::stretches) says nothing.
    ///
    /// A token that brought no text, such as the last one, goes with the token before it, and one
    /// with text of several channels with that of its last byte.
    #[must_use]
    pub fn token_channels(&self) -> Option<Vec<Channel>> {
        let stretches = self.stretches()?;
        let of_byte = |byte: usize| {
            let holds = |(range, _): &&(Range<usize>, Channel)| range.contains(&byte);
            stretches.iter().find(holds).map(|(_, channel)| *channel)
        };
        let first = stretches.first().map_or(Channel::Content, |(_, of)| *of);
        let mut last = first;
        let tokens = (0..self.tokens.len()).map(|at| {
            let range = self.text_range(at..at + 1);
            if let Some(byte) = range.end.checked_sub(1).filter(|_| !range.is_empty()) {
                last = of_byte(byte).unwrap_or(last);
            }
            last
        });
        Some(tokens.collect())
    }
}

fn stretches(transcript: &Transcript) -> Option<Vec<(Range<usize>, Channel)>> {
    let text = transcript.text.as_str();
    let thought = transcript.reasoning.as_deref().unwrap_or("");
    let Some(content) = transcript.content.as_deref() else {
        // All that is not thought is content.
        let start = text.find(thought)?;
        let thought = match thought.is_empty() {
            true => 0,
            false => (text.rfind(thought)? == start).then_some(start + thought.len())?,
        };
        return Some(vec![
            (0..thought, Channel::Reasoning),
            (thought..text.len(), Channel::Content),
        ]);
    };
    // Content is broken where a call was taken out of it.
    let pieces = transcript.tool_calls.len() + 1;
    let forwards = from_the_start(text, thought, content, pieces)?;
    // What has two readings is not shown as if it had one.
    if from_the_end(text, thought, content, pieces)? != forwards {
        return None;
    }
    let mut calls = transcript.tool_calls.iter().peekable();
    let mut whole = Vec::new();
    let mut done = 0;
    for (range, channel) in &forwards {
        let mut between = &text[done..range.start];
        let mut called = false;
        while let Some(call) = calls.next_if(|call| between.contains(&call.name)) {
            let at = between.find(&call.name)? + call.name.len();
            between = &between[at..];
            called = true;
        }
        let of = if called { Channel::ToolCall } else { *channel };
        whole.push((done..range.start, of));
        whole.push((range.clone(), *channel));
        done = range.end;
    }
    let rest = text[done..].trim();
    let before = whole.last().map_or(Channel::Content, |(_, of)| *of);
    // A call that was cut off was not read as one.
    let cut_off = !rest.is_empty() && !is_closing_mark(rest);
    let called = calls.peek().is_some() || cut_off;
    for call in calls {
        rest.contains(&call.name).then_some(())?;
    }
    let of = if called { Channel::ToolCall } else { before };
    whole.push((done..text.len(), of));
    Some(whole)
}

/// Whether a text is one mark that closes something, such as `</think>`.
fn is_closing_mark(text: &str) -> bool {
    let closes = text.starts_with("</") || text.starts_with("[/");
    closes && text.find(['>', ']']) == Some(text.len() - 1)
}

/// Where the thought is, and behind it the content, in at most so many pieces; each as early as it
/// can be.
fn from_the_start(
    text: &str,
    thought: &str,
    content: &str,
    pieces: usize,
) -> Option<Vec<(Range<usize>, Channel)>> {
    let mut found = Vec::new();
    let mut done = 0;
    if !thought.is_empty() {
        let start = text.find(thought)?;
        done = start + thought.len();
        found.push((start..done, Channel::Reasoning));
    }
    let mut left = content;
    let before = found.len();
    while !left.is_empty() {
        if found.len() - before == pieces {
            return None;
        }
        // What occurs occurs in its beginnings, too.
        let piece = longest(left, |length| {
            let piece = &left[..length];
            text[done..].find(piece).map(|at| done + at)
        });
        let (start, length) = piece?;
        done = start + length;
        found.push((start..done, Channel::Content));
        left = &left[length..];
    }
    Some(found)
}

/// The same, each as late as it can be.
fn from_the_end(
    text: &str,
    thought: &str,
    content: &str,
    pieces: usize,
) -> Option<Vec<(Range<usize>, Channel)>> {
    let mut found = Vec::new();
    let mut end = text.len();
    let mut left = content;
    while !left.is_empty() {
        if found.len() == pieces {
            return None;
        }
        let piece = longest(left, |length| {
            text[..end].rfind(&left[left.len() - length..])
        });
        let (start, length) = piece?;
        found.push((start..start + length, Channel::Content));
        end = start;
        left = &left[..left.len() - length];
    }
    if !thought.is_empty() {
        let start = text[..end].rfind(thought)?;
        found.push((start..start + thought.len(), Channel::Reasoning));
    }
    found.reverse();
    Some(found)
}

/// The greatest number of bytes of `left` at which `place` finds something, and what; the lengths
/// are those of whole characters, counted from either end.
fn longest(left: &str, place: impl Fn(usize) -> Option<usize>) -> Option<(usize, usize)> {
    let whole = |length: &usize| {
        left.is_char_boundary(*length) && left.is_char_boundary(left.len() - length)
    };
    let lengths: Vec<usize> = (1..=left.len()).filter(whole).collect();
    let fitting = lengths.partition_point(|length| place(*length).is_some());
    let length = *lengths.get(fitting.checked_sub(1)?)?;
    Some((place(length)?, length))
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::generation::{Event, EventKind, FinishReason, Token, ToolCall, Usage};

    /// A generation with a token for each character.
    fn transcript(text: &str, thought: &str, content: &str, calls: &[&str]) -> Transcript {
        let token = |character: char| EventKind::Delta {
            token: Token {
                id: u32::from(character),
                logprob: -0.5,
                margin: 1.0,
                top: Vec::new(),
            },
            text: character.to_string(),
        };
        let call = |name: &&str| {
            EventKind::ToolCall(ToolCall {
                id: None,
                name: (*name).to_owned(),
                arguments: Default::default(),
            })
        };
        let finished = EventKind::Finished {
            reason: FinishReason::Stop,
            text: String::new(),
            content: (content != text).then(|| content.to_owned()),
            reasoning: (!thought.is_empty()).then(|| thought.to_owned()),
            usage: Usage {
                output_tokens: text.chars().count(),
                ..Usage::default()
            },
        };
        let kinds = text.chars().map(token).chain(calls.iter().map(call));
        let events = kinds.chain([finished]).map(|kind| Event {
            at: Duration::from_millis(1),
            kind,
        });
        Transcript::from_events(events.collect::<Vec<_>>()).expect("complete")
    }

    /// A letter for each token, and the tokens.
    fn told(transcript: &Transcript) -> Option<String> {
        let channels = transcript.token_channels()?;
        assert_eq!(channels.len(), transcript.tokens.len());
        let mut told = String::new();
        let mut before = None;
        for (at, channel) in channels.into_iter().enumerate() {
            if before != Some(channel) {
                let name = match channel {
                    Channel::Reasoning => "|thinks:",
                    Channel::Content => "|says:",
                    Channel::ToolCall => "|calls:",
                };
                told.push_str(name);
                before = Some(channel);
            }
            told.push_str(&transcript.text[transcript.text_range(at..at + 1)]);
        }
        Some(told)
    }

    #[test]
    fn thoughts_content_and_calls_are_found_with_their_marks() {
        let text =
            "<think>\nHm, größe?\n</think>\n\nI look. <tool_call>{\"name\": \"read\"}</tool_call>";
        let one = transcript(text, "Hm, größe?", "I look. ", &["read"]);
        assert_eq!(
            told(&one).expect("one way"),
            "|thinks:<think>\nHm, größe?|says:\n</think>\n\nI look. \
             |calls:<tool_call>{\"name\": \"read\"}</tool_call>"
        );
        // Marks that a special token is left no text of.
        let bare = transcript("Hm. So be it.", "Hm.", " So be it.", &[]);
        assert_eq!(told(&bare).expect("one way"), "|thinks:Hm.|says: So be it.");
    }

    #[test]
    fn content_before_and_behind_a_call_is_content() {
        let text = "First. <call>read</call><call>write</call> Then.";
        let both = transcript(text, "", "First.  Then.", &["read", "write"]);
        assert_eq!(
            told(&both).expect("one way"),
            "|says:First. |calls:<call>read</call><call>write</call>|says: Then."
        );
        let alone = transcript("<call>read</call>", "", "", &["read"]);
        assert_eq!(told(&alone).expect("one way"), "|calls:<call>read</call>");
    }

    #[test]
    fn what_has_two_readings_or_none_is_not_told() {
        // Was the first or the second "Yes." said?
        let text = "<call>read Yes.</call>Yes.";
        assert_eq!(told(&transcript(text, "", "Yes.", &["read"])), None);
        // A call that is nowhere, and a thought that is not in the text.
        assert_eq!(told(&transcript("Well. ", "", "Well.", &["read"])), None);
        assert_eq!(told(&transcript("Well. ", "Hm", "Well.", &[])), None);
        // Nothing but content needs no reading.
        let plain = transcript("Well.", "", "Well.", &[]);
        assert_eq!(told(&plain).expect("content"), "|says:Well.");
    }

    #[test]
    fn a_token_without_text_goes_with_the_one_before_it() {
        let mut one = transcript("<t>Hm.</t>Yes", "Hm.", "Yes", &[]);
        let end = one.tokens[0].clone();
        one.tokens.push(end);
        one.text_ends.push(one.text.len());
        let channels = one.token_channels().expect("one way");
        assert_eq!(channels.last(), Some(&Channel::Content));
        assert_eq!(channels.first(), Some(&Channel::Reasoning));
    }

    #[test]
    fn a_call_that_was_cut_off_is_a_call_and_a_closing_mark_is_none() {
        let cut = transcript("Look.<call>{\"a\": [1, 1", "", "Look.", &[]);
        assert_eq!(
            told(&cut).expect("one way"),
            "|says:Look.|calls:<call>{\"a\": [1, 1"
        );
        let thought = transcript("<t>Hm.</t><call>{", "Hm.", "", &[]);
        assert_eq!(
            told(&thought).expect("one way"),
            "|thinks:<t>Hm.|calls:</t><call>{"
        );
        let silent = transcript("<t>Hm.</t>", "Hm.", "", &[]);
        assert_eq!(told(&silent).expect("one way"), "|thinks:<t>Hm.</t>");
    }
}
