//! Loops in one channel of an answer: in what is thought, said, or written as a call.
//!
//! A target that streams text says of each piece where it belongs. Of tokens only the text is known,
//! and what it was read as; there, `Transcript::stretches` finds the channels. Where it cannot, nothing
//! is guessed.

use std::borrow::Cow;
use std::ops::Range;

use super::LoopEvidence;
use super::watched::Watched;
use crate::generation::{Channel, Conversation, Transcript};
use crate::loops::{FRAGMENT_CHARS, LoopVerdict, escape_fragment};

/// The channels by the names that scenarios use, in the order in which answers have them.
pub(super) const CHANNELS: [(&str, Channel); 3] = [
    ("reasoning", Channel::Reasoning),
    ("content", Channel::Content),
    ("tool-call", Channel::ToolCall),
];

/// Marks of thoughts that a server left in its content.
const LEFT_MARKS: [&str; 4] = ["<think>", "</think>", "[THINK]", "[/THINK]"];

/// The loops that count: all that were found, or those in the channels that are asked for.
pub(super) fn counted<'a>(
    channels: &[Channel],
    conversation: &Conversation,
    before: usize,
    found: &'a [LoopEvidence],
) -> Cow<'a, [LoopEvidence]> {
    match channels.is_empty() {
        true => Cow::Borrowed(found),
        false => Cow::Owned(loops(conversation, channels, before)),
    }
}

/// The loops of each generation in these channels, each channel read by itself, so that a loop in one
/// hides none in another. Generations are counted behind `before` others.
fn loops(conversation: &Conversation, channels: &[Channel], before: usize) -> Vec<LoopEvidence> {
    let mut found = Vec::new();
    for (at, exchange) in conversation.exchanges.iter().enumerate() {
        for channel in channels {
            let in_channel = in_channel(&exchange.transcript, *channel);
            found.extend(
                in_channel
                    .into_iter()
                    .map(|(verdict, fragment)| LoopEvidence {
                        exchange: before + at,
                        verdict,
                        fragment,
                    }),
            );
        }
    }
    found
}

fn in_channel(transcript: &Transcript, channel: Channel) -> Vec<(LoopVerdict, String)> {
    let shown = |watched: &Watched<'_>, verdict: LoopVerdict| {
        let end = verdict.onset.saturating_add(verdict.period);
        let text = watched.text(verdict.onset..end);
        let fragment = escape_fragment(text, FRAGMENT_CHARS);
        (verdict, fragment)
    };
    if !transcript.pieces.is_empty() {
        let watched = Watched::of_channels(transcript, &[channel]);
        let verdict = watched.verdict();
        return verdict
            .map(|verdict| shown(&watched, verdict))
            .into_iter()
            .collect();
    }
    let watched = Watched::of(transcript);
    if channel == Channel::Content && is_all_content(transcript) {
        // There may be tokens and no text.
        let verdict = watched.verdict();
        return verdict
            .map(|verdict| shown(&watched, verdict))
            .into_iter()
            .collect();
    }
    let places = places(transcript, channel).unwrap_or_default();
    let verdicts = places
        .into_iter()
        .filter_map(|bytes| watched.verdict_within(bytes));
    verdicts.map(|verdict| shown(&watched, verdict)).collect()
}

/// Why it is not known in which channel the loop of a generation lies; nothing if it is known, or if
/// there is no loop.
pub(super) fn unknown(transcript: &Transcript) -> Option<&'static str> {
    let why = match transcript.pieces.is_empty() {
        true => match places(transcript, Channel::Content) {
            Some(_) => return None,
            None => "its text can be taken apart in no way, or in several",
        },
        false => {
            let marked = LEFT_MARKS.iter().any(|mark| transcript.text.contains(mark));
            match marked && transcript.reasoning.is_none() {
                false => return None,
                true => "the server leaves its thoughts in the answer, with their marks",
            }
        }
    };
    Watched::of(transcript).verdict().map(|_| why)
}

/// Nothing in it was read as a thought or a call.
fn is_all_content(transcript: &Transcript) -> bool {
    transcript.content.is_none() && transcript.reasoning.is_none()
}

/// The bytes of the text of a generation of tokens that belong to a channel.
fn places(transcript: &Transcript, channel: Channel) -> Option<Vec<Range<usize>>> {
    let stretches = transcript.stretches()?.into_iter();
    let of_channel = stretches.filter(|(_, of)| *of == channel);
    Some(of_channel.map(|(range, _)| range).collect())
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;
    use crate::generation::{FinishReason, Piece, TextPiece, Token, Usage};

    fn transcript(pieces: Vec<Piece>, words: &[&str]) -> Transcript {
        let mut text = String::new();
        let mut ends = Vec::new();
        for word in words {
            text += word;
            ends.push(text.len());
        }
        let token = |word: &&str| Token {
            id: word
                .bytes()
                .fold(7, |id, byte| id * 31 % 9973 + u32::from(byte)),
            logprob: -0.5,
            margin: 1.0,
            top: Vec::new(),
        };
        Transcript {
            tokens: words.iter().map(token).collect(),
            token_at_us: vec![0; words.len()],
            text_ends: ends,
            pieces,
            text,
            content: None,
            reasoning: None,
            tool_calls: Vec::new(),
            finish_reason: FinishReason::Length,
            usage: Usage::default(),
            e2e_us: 0,
            retries: Vec::new(),
            stream: None,
        }
    }

    /// Words that repeat in the middle of a thought, and an answer behind it.
    fn thinking() -> Transcript {
        let mut words = vec!["<think>", "Well", ", "];
        words.extend(["I ", "read ", "it ", "now", ". "].repeat(40));
        words.extend([
            "Done", ".", "</think>", "The ", "licence ", "is ", "MIT", ".",
        ]);
        let mut transcript = transcript(Vec::new(), &words);
        transcript.reasoning = Some(format!("Well, {}Done.", "I read it now. ".repeat(40)));
        transcript.content = Some("The licence is MIT.".to_owned());
        transcript
    }

    fn states(transcript: &Transcript, channel: Channel) -> Vec<(usize, usize, bool)> {
        let found = in_channel(transcript, channel);
        found
            .iter()
            .map(|(verdict, _)| (verdict.onset, verdict.period, verdict.state.is_confirmed()))
            .collect()
    }

    #[rstest]
    #[case(Channel::Reasoning, vec![(3, 5, true)])]
    #[case(Channel::Content, vec![])]
    #[case(Channel::ToolCall, vec![])]
    fn a_loop_lies_in_its_channel(
        #[case] channel: Channel,
        #[case] expected: Vec<(usize, usize, bool)>,
    ) {
        let transcript = thinking();
        assert_eq!(unknown(&transcript), None);
        assert_eq!(states(&transcript, channel), expected);
        // Its places are those of the whole generation.
        let whole = Watched::of(&transcript).verdict().expect("a loop");
        if let Some((verdict, fragment)) = in_channel(&transcript, channel).first() {
            assert_eq!(
                (verdict.onset, verdict.detected_at),
                (whole.onset, whole.detected_at)
            );
            assert_eq!(fragment, "I read it now. ");
        }
    }

    #[test]
    fn what_is_neither_thought_nor_said_is_a_call() {
        let mut words = vec!["Look", ".", "<tool_call>"];
        words.extend(["{\"a\"", ": ", "[", "1", ", "].repeat(40));
        let mut transcript = transcript(Vec::new(), &words);
        transcript.content = Some("Look.".to_owned());
        assert_eq!(states(&transcript, Channel::ToolCall), [(3, 5, true)]);
        assert_eq!(states(&transcript, Channel::Content), []);
    }

    #[test]
    fn what_cannot_be_found_is_not_known_if_there_is_a_loop() {
        let mut transcript = thinking();
        transcript.content = Some("Something else.".to_owned());
        assert!(unknown(&transcript).is_some());
        transcript.tokens.truncate(9);
        transcript.text_ends.truncate(9);
        assert_eq!(unknown(&transcript), None);
    }

    /// Pieces say where they belong, unless the server cut nothing out.
    #[test]
    fn pieces_tell_their_channel_and_left_marks_are_seen() {
        let piece = |channel, text: String| Piece {
            at_us: 0,
            of: TextPiece {
                channel,
                text,
                logprobs: Vec::new(),
            },
        };
        let ring = "I will read it now. ".repeat(40);
        let pieces = vec![
            piece(Channel::Reasoning, "Hm. So it is.".to_owned()),
            piece(Channel::Content, ring.clone()),
        ];
        let mut answer = transcript(pieces, &[]);
        answer.text.clone_from(&ring);
        assert_eq!(states(&answer, Channel::Reasoning), []);
        assert_eq!(states(&answer, Channel::Content).len(), 1);
        assert_eq!(unknown(&answer), None);
        answer.text = format!("<think>{ring}</think>");
        answer.pieces = vec![piece(Channel::Content, answer.text.clone())];
        assert!(unknown(&answer).is_some());
    }
}
