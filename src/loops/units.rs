//! Cuts text into pieces the size of tokens, for text whose tokenizer is not at hand.
//!
//! The default thresholds were chosen on pieces like these, so a loop in a text file is judged by
//! the same numbers as a loop in a token stream. The pieces are not those of any real tokenizer:
//! counts of copies agree with it, counts of tokens only roughly.

use std::collections::HashMap;
use std::ops::Range;

/// The longest run of letters, or of one repeated blank, in one piece, in characters.
pub(super) const PIECE_CHARS: usize = 6;

/// From here on (ideographs, kana, Hangul) tokenizers spend about one token per letter, and six in
/// a piece would hide most of a repetition from thresholds that count pieces.
const FIRST_IDEOGRAPH: char = '\u{2E80}';

/// A piece of a text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Unit {
    /// Equal pieces of one text have equal ids; ids count up from 0 in order of appearance.
    pub id: u32,
    /// Where the piece stands, in bytes.
    pub bytes: Range<usize>,
}

/// Cuts `text` into units: letters in pieces of at most six, one blank repeated up to six times
/// (indentation), and everything else, digits and line breaks included, one by one.
///
/// A line break is always a unit of its own, so that a flood of them stays countable. The units
/// cover the text without gaps and in order.
#[must_use]
pub fn text_units(text: &str) -> Vec<Unit> {
    let mut ids: HashMap<&str, u32> = HashMap::new();
    let mut units = Vec::new();
    let mut rest = text;
    while let Some(first) = rest.chars().next() {
        let (piece, after) = rest.split_at(piece_bytes(rest, first));
        let start = text.len() - rest.len();
        let next = ids.len() as u32;
        let id = *ids.entry(piece).or_insert(next);
        units.push(Unit {
            id,
            bytes: start..start + piece.len(),
        });
        rest = after;
    }
    units
}

/// The length in bytes of the piece at the start of `text`, whose first character is `first`.
fn piece_bytes(text: &str, first: char) -> usize {
    let more = text.chars().skip(1).take(PIECE_CHARS - 1);
    let more = more.take_while(|next| joins(first, *next));
    first.len_utf8() + more.map(char::len_utf8).sum::<usize>()
}

/// Whether a piece that starts with `first` may go on with `next`.
pub(super) fn joins(first: char, next: char) -> bool {
    match first {
        'a'..='z' | 'A'..='Z' => is_letter(next),
        '\n' | '\r' => false,
        _ if first.is_whitespace() => next == first,
        _ => is_letter(first) && is_letter(next),
    }
}

fn is_letter(character: char) -> bool {
    character.is_ascii_alphabetic() || (character.is_alphabetic() && character < FIRST_IDEOGRAPH)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::loops::{LoopState, Thresholds, detect};
    use proptest::prelude::*;
    use rstest::rstest;

    #[rstest]
    #[case("", &[])]
    #[case("the theorem", &["the", " ", "theore", "m"])]
    #[case("2025: x=10", &["2", "0", "2", "5", ":", " ", "x", "=", "1", "0"])]
    #[case("\n\n        if", &["\n", "\n", "      ", "  ", "if"])]
    #[case(" \t\t\r\n", &[" ", "\t\t", "\r", "\n"])]
    #[case("Größenordnung", &["Größen", "ordnun", "g"])]
    #[case("気温は", &["気", "温", "は"])]
    #[case("!!🙂", &["!", "!", "🙂"])]
    fn text_is_cut_into_pieces(#[case] text: &str, #[case] expected: &[&str]) {
        let pieces: Vec<_> = text_units(text)
            .into_iter()
            .map(|unit| &text[unit.bytes])
            .collect();
        assert_eq!(pieces, expected);
    }

    #[test]
    fn ids_count_up_in_order_of_appearance() {
        let ids: Vec<_> = text_units("a b a c")
            .into_iter()
            .map(|unit| unit.id)
            .collect();
        assert_eq!(ids, [0, 1, 2, 1, 0, 1, 3]);
    }

    #[test]
    fn a_loop_in_text_is_found_in_its_place() {
        let sentence = "Wait, let me check that again. ";
        let text = format!("First the plan.\n{}", sentence.repeat(40));
        let units = text_units(&text);
        let ids: Vec<_> = units.iter().map(|unit| unit.id).collect();
        let Some(found) = detect(&ids, &Thresholds::default()) else {
            panic!("no loop")
        };
        assert_eq!(found.state, LoopState::Confirmed);
        let first_copy =
            units[found.onset].bytes.start..units[found.onset + found.period].bytes.start;
        assert_eq!(&text[first_copy], sentence);
    }

    #[test]
    fn a_flood_of_line_breaks_is_a_loop() {
        let ids: Vec<_> = text_units(&"\n".repeat(200))
            .into_iter()
            .map(|unit| unit.id)
            .collect();
        let period = detect(&ids, &Thresholds::default()).map(|found| found.period);
        assert_eq!(period, Some(1));
    }

    proptest! {
        #[test]
        fn units_cover_the_text(text in "\\PC{0,80}|[ab \n\u{301}気1]{0,80}") {
            let mut end = 0;
            let mut pieces: Vec<&str> = Vec::new();
            for unit in text_units(&text) {
                prop_assert_eq!(unit.bytes.start, end);
                end = unit.bytes.end;
                let piece = &text[unit.bytes];
                prop_assert!(!piece.is_empty() && piece.chars().count() <= PIECE_CHARS);
                if unit.id as usize == pieces.len() {
                    pieces.push(piece);
                }
                prop_assert_eq!(pieces[unit.id as usize], piece);
            }
            prop_assert_eq!(end, text.len());
        }
    }
}
