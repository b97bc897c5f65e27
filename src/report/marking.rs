//! Text with its loop marked in place: the first copy, the repeats, and where it was detected.
//!
//! It knows byte positions, and what to leave out so that a person still sees the whole. It does
//! not know colours, HTML or who said the text.

use std::ops::Range;

use serde::Serialize;

use super::numbers::{count, things};
use crate::generation::Transcript;
use crate::loops::LoopVerdict;

/// Characters of one piece of text that are shown before its middle is left out.
const SHOWN_CHARS: usize = 6_000;
/// Of those, the characters behind what was left out.
const TAIL_CHARS: usize = 1_500;
/// Copies at the start that are always shown, the first included.
const FIRST_COPIES: usize = 3;
/// More copies are shown at the start if they are short: up to this many, and this many bytes.
const MORE_COPIES: usize = 8;
const MORE_BYTES: usize = 240;
/// Copies at the end that are always shown; the last one is often unfinished.
const LAST_COPIES: usize = 2;
/// Leaving out fewer copies than this would save nothing.
const FEWEST_LEFT_OUT: usize = 3;

/// A piece of marked text.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub(super) enum Segment {
    /// Text outside the loop.
    Plain {
        /// The text.
        text: String,
    },
    /// The block that repeats, where it came first.
    FirstCopy {
        /// The text.
        text: String,
    },
    /// The block again.
    Repeat {
        /// The text.
        text: String,
        /// Which copy it is; the first repeat is copy 2.
        copy: usize,
    },
    /// What was left out, in words.
    Gap {
        /// The words.
        label: String,
    },
    /// The loop was detected at the token before this place.
    Flag {
        /// The words.
        label: String,
    },
}

impl Segment {
    /// What is read there.
    pub(super) fn text(&self) -> &str {
        match self {
            Self::Plain { text } | Self::FirstCopy { text } | Self::Repeat { text, .. } => text,
            Self::Gap { label } | Self::Flag { label } => label,
        }
    }
}

/// What a range of the text is.
#[derive(Clone, Copy)]
enum Part {
    Outside,
    /// Copy of the block, counted from 0.
    Copy(usize),
}

/// Text without a loop.
pub(super) fn plain(text: &str) -> Vec<Segment> {
    let mut marked = Marked::new(text, None);
    marked.show(0..text.len(), Part::Outside);
    marked.segments
}

/// The text of a generation with its loop.
pub(super) fn mark(transcript: &Transcript, verdict: &LoopVerdict) -> Vec<Segment> {
    let text = transcript.text.as_str();
    let copies = copy_ranges(transcript, verdict);
    let (Some(first), Some(last)) = (copies.first(), copies.last()) else {
        return plain(text);
    };
    let flag = Flag {
        at: transcript
            .text_range(0..verdict.detected_at.saturating_add(1))
            .end,
        label: flag_label(verdict),
    };
    let mut marked = Marked::new(text, Some(flag));
    marked.show(0..first.start, Part::Outside);
    for (index, (range, shown)) in copies
        .iter()
        .zip(shown_copies(&copies, verdict))
        .enumerate()
    {
        if shown {
            marked.show(range.clone(), Part::Copy(index));
        } else {
            marked.leave_out_copy();
        }
    }
    marked.show(last.end..text.len(), Part::Outside);
    marked.finish()
}

fn flag_label(verdict: &LoopVerdict) -> String {
    let state = if verdict.state.is_confirmed() {
        "detected"
    } else {
        "suspected"
    };
    format!("{state} at token {}", count(verdict.detected_at))
}

/// The bytes of every copy, the last of which may be unfinished.
fn copy_ranges(transcript: &Transcript, verdict: &LoopVerdict) -> Vec<Range<usize>> {
    // A record is input, so it may name tokens that are not there, or a period of none.
    let tokens = transcript.text_ends.len();
    let end = verdict.onset.saturating_add(verdict.span).min(tokens);
    let period = verdict.period.max(1);
    let mut ranges: Vec<Range<usize>> = (verdict.onset..end)
        .step_by(period)
        .map(|start| transcript.text_range(start..start.saturating_add(period).min(end)))
        .collect();
    // What was held back until the end belongs to the loop if the loop went on until the end.
    if let Some(last) = ranges.last_mut()
        && end == tokens
    {
        last.end = transcript.text.len();
    }
    ranges
}

/// Which copies are shown: the beginning, the end, and the one in which the loop was detected.
fn shown_copies(copies: &[Range<usize>], verdict: &LoopVerdict) -> Vec<bool> {
    let start = copies.first().map_or(0, |first| first.start);
    let detected = verdict.detected_at.saturating_sub(verdict.onset) / verdict.period.max(1);
    let mut shown: Vec<bool> = copies
        .iter()
        .enumerate()
        .map(|(index, range)| {
            let short = index < MORE_COPIES && range.end.saturating_sub(start) <= MORE_BYTES;
            index < FIRST_COPIES
                || short
                || index == detected
                || index + LAST_COPIES >= copies.len()
        })
        .collect();
    for group in shown.chunk_by_mut(|left, right| left == right) {
        if group.len() < FEWEST_LEFT_OUT {
            group.fill(true);
        }
    }
    shown
}

/// Where the loop was detected.
struct Flag {
    at: usize,
    label: String,
}

/// Marked text under construction.
struct Marked<'a> {
    text: &'a str,
    segments: Vec<Segment>,
    /// Until it has been set.
    flag: Option<Flag>,
    left_out: usize,
}

impl<'a> Marked<'a> {
    fn new(text: &'a str, flag: Option<Flag>) -> Self {
        Self {
            text,
            segments: Vec::new(),
            flag,
            left_out: 0,
        }
    }

    /// Shows a range, and in it the flag if that is where it belongs.
    fn show(&mut self, range: Range<usize>, part: Part) {
        self.close_gap();
        match self.flag.take_if(|flag| flag.at <= range.end) {
            Some(flag) => {
                // A token without text of its own puts the flag at the end of an earlier range,
                // which may have been left out.
                let at = flag.at.max(range.start);
                self.piece(range.start..at, part);
                self.segments.push(Segment::Flag { label: flag.label });
                self.piece(at..range.end, part);
            }
            None => self.piece(range, part),
        }
    }

    fn leave_out_copy(&mut self) {
        self.left_out += 1;
    }

    fn close_gap(&mut self) {
        if self.left_out > 0 {
            let label = format!("… {} more copies …", count(self.left_out));
            self.segments.push(Segment::Gap { label });
            self.left_out = 0;
        }
    }

    /// A range without flag; its middle is left out if it is very long.
    fn piece(&mut self, range: Range<usize>, part: Part) {
        let text = self.text.get(range).unwrap_or_default();
        let chars = text.chars().count();
        if chars <= SHOWN_CHARS {
            return self.push(text, part);
        }
        let byte_of = |index| text.char_indices().nth(index).map_or(0, |(byte, _)| byte);
        let (head, _) = text.split_at(byte_of(SHOWN_CHARS - TAIL_CHARS));
        let (_, tail) = text.split_at(byte_of(chars - TAIL_CHARS));
        self.push(head, part);
        let missing = things(chars - SHOWN_CHARS, "more character");
        let label = format!("… {missing}, all of them in record.jsonl …");
        self.segments.push(Segment::Gap { label });
        self.push(tail, part);
    }

    fn push(&mut self, text: &str, part: Part) {
        if text.is_empty() {
            return;
        }
        let text = text.to_owned();
        self.segments.push(match part {
            Part::Outside => Segment::Plain { text },
            Part::Copy(0) => Segment::FirstCopy { text },
            Part::Copy(index) => Segment::Repeat {
                text,
                copy: index + 1,
            },
        });
    }

    /// The segments; a flag behind the text is set at its end.
    fn finish(mut self) -> Vec<Segment> {
        self.close_gap();
        if let Some(flag) = self.flag.take() {
            self.segments.push(Segment::Flag { label: flag.label });
        }
        self.segments
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::generation::{FinishReason, Token, Usage};
    use crate::loops::LoopState;

    /// A generation of these pieces, and text that was held back until its end.
    fn transcript(pieces: &[&str], held_back: &str) -> Transcript {
        let token = |id| Token {
            id,
            logprob: -0.1,
            margin: 1.0,
            top: Vec::new(),
        };
        let mut text = String::new();
        let mut text_ends = Vec::new();
        for piece in pieces {
            text.push_str(piece);
            text_ends.push(text.len());
        }
        text.push_str(held_back);
        Transcript {
            tokens: (0..).take(pieces.len()).map(token).collect(),
            token_at_us: vec![0; pieces.len()],
            text_ends,
            text,
            content: None,
            reasoning: None,
            tool_calls: Vec::new(),
            finish_reason: FinishReason::Length,
            usage: Usage::default(),
            e2e_us: 0,
            pieces: Vec::new(),
            retries: Vec::new(),
            stream: None,
        }
    }

    fn verdict(onset: usize, period: usize, span: usize, detected_at: usize) -> LoopVerdict {
        LoopVerdict {
            state: LoopState::Confirmed,
            period,
            span,
            onset,
            suspected_at: detected_at,
            detected_at,
            earliest_possible: detected_at,
            ended_at: None,
            wasted_tokens: span.saturating_sub(period),
            fragment_tokens: Vec::new(),
            kind: Default::default(),
            onset_byte: None,
            context: None,
            requested: Default::default(),
        }
    }

    /// The segments in one line: `plain`, `[first]`, `{2:repeat}`, `<gap>`, `^` for the flag.
    fn shown(segments: &[Segment]) -> String {
        segments
            .iter()
            .map(|segment| match segment {
                Segment::Plain { text } => text.clone(),
                Segment::FirstCopy { text } => format!("[{text}]"),
                Segment::Repeat { text, copy } => format!("{{{copy}:{text}}}"),
                Segment::Gap { label } => format!("<{label}>"),
                Segment::Flag { .. } => "^".to_owned(),
            })
            .collect()
    }

    #[test]
    fn copies_are_marked_at_their_exact_bytes() {
        let pieces = ["Grüße: ", "ä", "🙂", "ä", "🙂", "ä", "🙂", "ä", " Ende"];
        let marked = mark(&transcript(&pieces, ""), &verdict(1, 2, 7, 4));
        assert_eq!(shown(&marked), "Grüße: [ä🙂]{2:ä🙂}^{3:ä🙂}{4:ä} Ende");
    }

    #[test]
    fn the_flag_stands_behind_the_detecting_token_and_splits_its_copy() {
        let pieces = ["a", "b", "a", "b", "a", "b"];
        let marked = mark(&transcript(&pieces, ""), &verdict(0, 2, 6, 4));
        assert_eq!(shown(&marked), "[ab]{2:ab}{3:a}^{3:b}");
        let Some(Segment::Flag { label }) = marked.get(3) else {
            panic!("no flag in {marked:?}")
        };
        assert_eq!(label, "detected at token 4");
    }

    #[test]
    fn text_held_back_until_the_end_belongs_to_a_loop_that_reached_the_end() {
        let pieces = ["x", "a", "a", "a"];
        let running = mark(&transcript(&pieces, "a!"), &verdict(1, 1, 3, 3));
        assert_eq!(shown(&running), "x[a]{2:a}{3:a}^{3:a!}");
        let ended = mark(
            &transcript(&["x", "a", "a", "a", "b"], "c"),
            &verdict(1, 1, 3, 3),
        );
        assert_eq!(shown(&ended), "x[a]{2:a}{3:a}^bc");
    }

    #[test]
    fn many_copies_are_shortened_around_the_detection() {
        let long = "0123456789".repeat(10);
        let pieces: Vec<&str> = std::iter::repeat_n(long.as_str(), 30).collect();
        let marked = mark(&transcript(&pieces, ""), &verdict(0, 1, 30, 15));
        insta::assert_snapshot!(
            shown(&marked).replace(&long, "L"),
            @"[L]{2:L}{3:L}<… 12 more copies …>{16:L}^<… 12 more copies …>{29:L}{30:L}"
        );
        let short = mark(&transcript(&["-"; 400], ""), &verdict(0, 1, 400, 6));
        insta::assert_snapshot!(
            shown(&short),
            @"[-]{2:-}{3:-}{4:-}{5:-}{6:-}{7:-}^{8:-}<… 390 more copies …>{399:-}{400:-}"
        );
    }

    #[test]
    fn a_gap_that_saves_nothing_is_not_made() {
        let long = "x".repeat(300);
        let pieces: Vec<&str> = std::iter::repeat_n(long.as_str(), 7).collect();
        let marked = mark(&transcript(&pieces, ""), &verdict(0, 1, 7, 2));
        assert!(!shown(&marked).contains('<'), "{}", shown(&marked));
    }

    #[test]
    fn tokens_without_text_lose_nothing_and_keep_the_flag() {
        // A character of two tokens: the first brings no text.
        let pieces = ["", "é", "", "é", "", "é"];
        let marked = mark(&transcript(&pieces, ""), &verdict(0, 2, 6, 4));
        assert_eq!(shown(&marked), "[é]{2:é}^{3:é}");
        let silent = mark(&transcript(&["", "", ""], ""), &verdict(0, 1, 3, 2));
        assert_eq!(shown(&silent), "^");
    }

    #[test]
    fn impossible_positions_do_not_panic() {
        for (onset, period, span) in [(9, 1, 5), (0, 0, 5), (1, 7, 900), (0, 1, 0)] {
            let bad = verdict(onset, period, span, 100);
            let marked = mark(&transcript(&["a", "é"], ""), &bad);
            assert!(shown(&marked).contains('a'), "{marked:?}");
        }
        let mut torn = transcript(&["é", "é"], "");
        torn.text_ends = vec![1, 3];
        let _ = mark(&torn, &verdict(0, 1, 2, 1));
    }

    #[test]
    fn very_long_text_loses_its_middle_only() {
        let text = format!("start{}end", "é".repeat(7_000));
        let segments = plain(&text);
        let [
            Segment::Plain { text: head },
            Segment::Gap { label },
            Segment::Plain { text: tail },
        ] = &segments[..]
        else {
            panic!("three pieces, not {}", segments.len())
        };
        assert!(head.starts_with("start") && tail.ends_with("end"));
        assert_eq!(head.chars().count() + tail.chars().count(), SHOWN_CHARS);
        assert_eq!(
            label,
            "… 1,008 more characters, all of them in record.jsonl …"
        );
    }
}
