//! Finds loops whose copies differ in their numbers or their white space only, by looking at the
//! text with every number made one sign and every gap one blank.
//!
//! Lists and tables of healthy text look just like that, so what is found here is suspected for
//! longer stretches only, and never confirmed.

use super::detector::LoopDetector;
use super::history::Place;
use super::pieces::{Piece, PieceKind};
use super::thresholds::Thresholds;
use super::verdict::{Change, LoopKind};

/// Stand for any number and for any gap. No piece hashes to them more often than to another id.
const NUMBER: u32 = 1;
const GAP: u32 = 2;

/// Numbers remembered, to see whether they count.
const NUMBERS: usize = 256;

/// Copies whose numbers are compared.
const COMPARED: usize = 4;

/// Watches the folded text.
#[derive(Clone, Debug)]
pub(super) struct Folded {
    detector: LoopDetector,
    last: Option<u32>,
    value: u64,
    /// Position in the folded text, and value.
    numbers: Vec<(usize, u64)>,
    read: usize,
}

impl Folded {
    pub(super) fn new(thresholds: Thresholds) -> Self {
        Self {
            detector: LoopDetector::new(thresholds),
            last: None,
            value: 0,
            numbers: vec![(0, 0); NUMBERS],
            read: 0,
        }
    }

    /// Reads a piece that stands at `place`.
    pub(super) fn push(&mut self, piece: &Piece, place: Place) -> Option<Change> {
        let sign = match piece.kind {
            PieceKind::Digit(_) => NUMBER,
            PieceKind::Blank | PieceKind::LineEnd => GAP,
            PieceKind::Letters | PieceKind::Sign(_) => piece.id,
        };
        if self.last == Some(NUMBER) && sign != NUMBER {
            self.numbers[self.read % NUMBERS] = (self.detector.tokens() - 1, self.value);
            self.read += 1;
        }
        if let PieceKind::Digit(digit) = piece.kind {
            let before = if self.last == Some(NUMBER) {
                self.value
            } else {
                0
            };
            self.value = before.wrapping_mul(10).wrapping_add(u64::from(digit));
        }
        let continues = self.last == Some(sign) && matches!(sign, NUMBER | GAP);
        self.last = Some(sign);
        if continues {
            return None;
        }
        self.detector.push_at(sign, place)
    }

    /// See [`LoopDetector::running`].
    pub(super) fn running(&self, period: usize) -> Option<(Place, usize)> {
        self.detector.running(period)
    }

    /// Whether some number in the copies of `period` grows or falls by the same step.
    pub(super) fn kind(&self, period: usize) -> LoopKind {
        let value = |at: usize| {
            let numbers = self.numbers[..self.read.min(NUMBERS)].iter();
            numbers
                .filter(|number| number.0 == at)
                .map(|number| number.1)
                .next()
        };
        let end = self.detector.tokens();
        let counts = (end.saturating_sub(period)..end).any(|at| {
            let copies: Option<Vec<u64>> = (0..COMPARED)
                .map(|copy| value(at.checked_sub(copy * period)?))
                .collect();
            copies.is_some_and(|values| {
                let steps: Vec<u64> = values
                    .windows(2)
                    .map(|pair| pair[0].wrapping_sub(pair[1]))
                    .collect();
                steps[0] != 0 && steps.iter().all(|step| *step == steps[0])
            })
        });
        if counts {
            LoopKind::Counter
        } else {
            LoopKind::Template
        }
    }

    pub(super) fn memory_bytes(&self) -> usize {
        self.detector.memory_bytes() + size_of_val(self.numbers.as_slice())
    }
}
