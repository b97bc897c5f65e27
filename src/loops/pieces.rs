//! Cuts a stream of text into the pieces of [`text_units`](super::text_units), wherever the stream
//! happens to be cut into deltas.
//!
//! A piece is known once the character after it is, so the last one waits for
//! [`finish`](PieceReader::finish). Ids are hashes here, because a stream has no dictionary that
//! stays bounded; two different pieces share one with probability 2⁻³².

use super::units::{PIECE_CHARS, joins};

/// What a piece is made of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum PieceKind {
    /// Letters.
    Letters,
    /// One digit, and its value.
    Digit(u8),
    /// Blanks in a line.
    Blank,
    /// The end of a line.
    LineEnd,
    /// Anything else.
    Sign(char),
}

/// A finished piece.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Piece {
    pub(super) id: u32,
    pub(super) kind: PieceKind,
    /// Its length.
    pub(super) bytes: usize,
}

/// Holds the piece that is not finished.
#[derive(Clone, Debug, Default)]
pub(super) struct PieceReader {
    open: Option<PieceKind>,
    /// Its first character.
    first: char,
    chars: usize,
    bytes: usize,
    hash: u64,
}

impl PieceReader {
    /// Reads a character and returns the piece it closes, if it closes one.
    pub(super) fn push(&mut self, character: char) -> Option<Piece> {
        let goes_on = self.chars < PIECE_CHARS
            && match self.open {
                // The usual case of `joins`, without its questions.
                Some(PieceKind::Letters) if self.first.is_ascii() && character.is_ascii() => {
                    character.is_ascii_alphabetic()
                }
                Some(PieceKind::Letters | PieceKind::Blank) => joins(self.first, character),
                _ => false,
            };
        if goes_on {
            self.take(character);
            return None;
        }
        let closed = self.finish();
        self.open = Some(kind(character));
        self.first = character;
        self.chars = 0;
        self.bytes = 0;
        self.hash = 0xCBF2_9CE4_8422_2325;
        self.take(character);
        closed
    }

    /// The piece that is open, and nothing after it.
    pub(super) fn finish(&mut self) -> Option<Piece> {
        Some(Piece {
            kind: self.open.take()?,
            id: (self.hash.wrapping_mul(0x9E37_79B9_7F4A_7C15) >> 32) as u32,
            bytes: self.bytes,
        })
    }

    fn take(&mut self, character: char) {
        self.hash = (self.hash ^ u64::from(character)).wrapping_mul(0x0000_0100_0000_01B3);
        self.chars += 1;
        self.bytes += character.len_utf8();
    }
}

fn kind(first: char) -> PieceKind {
    match first {
        'a'..='z' | 'A'..='Z' => PieceKind::Letters,
        ' ' => PieceKind::Blank,
        '\n' | '\r' => PieceKind::LineEnd,
        '0'..='9' => PieceKind::Digit(first as u8 - b'0'),
        _ if first.is_whitespace() => PieceKind::Blank,
        _ if first.is_alphabetic() => PieceKind::Letters,
        _ => PieceKind::Sign(first),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::loops::text_units;
    use proptest::prelude::*;
    use std::collections::HashMap;

    proptest! {
        /// The same pieces as offline, and ids that are equal where theirs are.
        #[test]
        fn a_stream_is_cut_like_a_whole_text(text in "\\PC{0,60}|[ab1 \n\t.気]{0,120}") {
            let mut reader = PieceReader::default();
            let mut pieces: Vec<Piece> = text.chars().filter_map(|c| reader.push(c)).collect();
            pieces.extend(reader.finish());
            let units = text_units(&text);
            prop_assert_eq!(
                pieces.iter().map(|piece| piece.bytes).collect::<Vec<_>>(),
                units.iter().map(|unit| unit.bytes.len()).collect::<Vec<_>>()
            );
            let mut ids = HashMap::new();
            for (piece, unit) in pieces.iter().zip(&units) {
                prop_assert_eq!(*ids.entry(unit.id).or_insert(piece.id), piece.id);
            }
        }
    }
}
