//! The logits of a pass, as they were computed: in one piece, or in several.

/// Rows of logits, one for each token that wanted them, in order.
#[derive(Debug, Clone, PartialEq)]
pub struct Logits {
    vocab_size: usize,
    /// Each of whole rows.
    pieces: Vec<Vec<f32>>,
}

impl Logits {
    /// No rows.
    pub(super) fn none(vocab_size: usize) -> Self {
        Self {
            vocab_size,
            pieces: Vec::new(),
        }
    }

    /// Rows that lie behind each other.
    pub(super) fn of(rows: Vec<f32>, vocab_size: usize) -> Self {
        Self {
            vocab_size,
            pieces: vec![rows],
        }
    }

    /// Rows that follow.
    pub(super) fn append(&mut self, other: Self) {
        self.pieces.extend(other.pieces);
    }

    /// Each row, `[vocabulary]`.
    pub fn rows(&self) -> impl Iterator<Item = &[f32]> {
        let pieces = self.pieces.iter();
        pieces.flat_map(|piece| piece.chunks_exact(self.vocab_size))
    }

    /// Each row, to be changed.
    pub fn rows_mut(&mut self) -> impl Iterator<Item = &mut [f32]> {
        let pieces = self.pieces.iter_mut();
        pieces.flat_map(|piece| piece.chunks_exact_mut(self.vocab_size))
    }

    /// The memory, for who made it.
    pub(super) fn into_pieces(self) -> Vec<Vec<f32>> {
        self.pieces
    }
}
