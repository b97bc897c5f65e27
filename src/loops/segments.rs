//! Compares sentences and lines with those some places before: what finds loops whose copies
//! differ in some words.
//!
//! Each segment becomes a set of words in 256 bits. For each distance of up to [`DISTANCES`]
//! segments a score counts how long segments have resembled the one that far back. A paragraph of
//! four sentences that comes again and again with other words in places scores at distance four;
//! prose scores nowhere, and lists of similar lines for as long as they last.

use super::history::Place;
use super::pieces::{Piece, PieceKind};

/// The longest loop that is seen, in segments.
pub(super) const DISTANCES: usize = 16;
/// Words after which a segment ends though no sentence or line did.
const LONGEST: u32 = 96;

/// How much longer segments have to be alike outside prose, where comments and tests are.
const PATIENCE: u32 = 12;

/// Bytes of a word that is worth comparing: not `0x`, `b`, `to`.
const SHORTEST_WORD: usize = 3;

/// How alike segments must be, and for how long. See [`super::Watch`] for how they were chosen.
#[derive(Clone, Copy, Debug)]
pub(super) struct Likeness {
    /// Words a segment needs to count at all.
    pub(super) words: u32,
    /// The least share of words in common, in percent of the words of both.
    pub(super) percent: u32,
    /// What a segment that is not alike takes from the score, which grows by one with each that is.
    pub(super) penalty: u32,
    /// Copies after the first.
    pub(super) copies: u32,
    /// Segments that were alike.
    pub(super) segments: u32,
    /// Pieces from the first copy to the newest segment.
    pub(super) pieces: usize,
    /// Segments in a row, each of which has the words of one of the last [`DISTANCES`], in any
    /// order of segments.
    pub(super) recurring: u32,
    /// Times one segment comes back at the same distance, whatever stands between.
    pub(super) refrain: u32,
}

/// A segment in 256 bits.
#[derive(Clone, Copy, Debug, Default)]
struct Sketch {
    words: [u64; 4],
    count: u32,
    /// Signs other than those that end it or part its clauses.
    signs: u32,
    start: Place,
    at: usize,
    /// How many segments before it stood the same words, how often in a row at that distance, and
    /// where the first of them stood.
    distance: usize,
    again: u32,
    first: Score,
}

/// What stands out at one distance.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Likely {
    /// Segments in a copy.
    pub(super) distance: usize,
    /// Segments that were alike.
    pub(super) score: u32,
    /// Where the first copy begins.
    pub(super) start: Place,
    /// Pieces since then.
    pub(super) pieces: usize,
}

#[derive(Clone, Copy, Debug, Default)]
struct Score {
    score: u32,
    start: Place,
    at: usize,
}

/// Follows segments and their likeness.
#[derive(Clone, Debug)]
pub(super) struct Segments {
    rule: Likeness,
    open: Sketch,
    word: u32,
    letters: usize,
    /// The last piece was a full stop or the like.
    stopped: bool,
    read: usize,
    ring: [Sketch; DISTANCES],
    count: usize,
    scores: [Score; DISTANCES],
    recurring: Score,
    /// A refrain, and the segment up to which it goes on.
    refrain: Option<(Likely, usize)>,
}

impl Segments {
    pub(super) fn new(rule: Likeness) -> Self {
        Self {
            rule,
            open: Sketch::default(),
            word: 0,
            letters: 0,
            stopped: false,
            read: 0,
            ring: [Sketch::default(); DISTANCES],
            count: 0,
            scores: [Score::default(); DISTANCES],
            recurring: Score::default(),
            refrain: None,
        }
    }

    /// Reads a piece. When it ends a segment, says which distance stands out, if one does; in a
    /// program (`patient`) it takes [`PATIENCE`] times as much.
    pub(super) fn push(
        &mut self,
        piece: &Piece,
        place: Place,
        patient: bool,
    ) -> Option<Option<Likely>> {
        if self.open.count == 0 && self.word == 0 {
            self.open.start = place;
            self.open.at = self.read;
        }
        self.read += 1;
        let mut ends = false;
        match piece.kind {
            PieceKind::Letters => {
                // A full stop inside a name.
                self.open.signs += u32::from(self.stopped && self.word == 0);
                self.word = self.word.rotate_left(5) ^ piece.id;
                self.letters += piece.bytes;
            }
            PieceKind::Digit(_) => self.end_word(),
            PieceKind::Blank => {
                self.end_word();
                ends = self.stopped;
            }
            PieceKind::LineEnd => {
                self.end_word();
                ends = true;
            }
            PieceKind::Sign(sign) => {
                self.end_word();
                let plain = matches!(
                    sign,
                    '.' | ',' | '!' | '?' | ';' | ':' | '\'' | '"' | '-' | '*'
                );
                self.open.signs += u32::from(!plain);
            }
        }
        self.stopped = matches!(piece.kind, PieceKind::Sign('.' | '!' | '?' | ';' | ':'));
        if self.open.count >= LONGEST || (ends && self.open.count >= self.rule.words) {
            if self.open.signs * 8 <= self.open.count {
                return Some(self.end_segment(if patient { PATIENCE } else { 1 }));
            }
            // A line of code or an address, not a sentence.
            self.open = Sketch::default();
        }
        None
    }

    fn end_word(&mut self) {
        if self.word == 0 {
            return;
        }
        if std::mem::take(&mut self.letters) < SHORTEST_WORD {
            self.word = 0;
            return;
        }
        let bit = self.word.wrapping_mul(0x9E37_79B1) >> 24;
        self.open.words[bit as usize / 64] |= 1 << (bit % 64);
        self.open.count += 1;
        self.word = 0;
    }

    fn end_segment(&mut self, patience: u32) -> Option<Likely> {
        let mut segment = std::mem::take(&mut self.open);
        let mut best: Option<Likely> = None;
        let mut known = None;
        for distance in 1..=DISTANCES.min(self.count) {
            let earlier = &self.ring[(self.count - distance) % DISTANCES];
            let score = &mut self.scores[distance - 1];
            if known.is_none() && segment.resembles(earlier, 90) {
                known = Some(*earlier);
                segment.follow(distance, earlier);
            }
            if segment.resembles(earlier, self.rule.percent) {
                if score.score == 0 {
                    (score.start, score.at) = (earlier.start, earlier.at);
                }
                score.score += 1;
            } else {
                score.score = score.score.saturating_sub(self.rule.penalty);
                continue;
            }
            let pieces = self.read - score.at;
            let stands_out = score.score >= self.rule.segments * patience
                && score.score >= self.rule.copies * patience * distance as u32
                && pieces >= self.rule.pieces;
            if stands_out && best.is_none_or(|best| score.score > best.score) {
                best = Some(Likely {
                    distance,
                    score: score.score,
                    start: score.start,
                    pieces,
                });
            }
        }
        self.ring[self.count % DISTANCES] = segment;
        self.count += 1;
        best.or_else(|| self.recur(known, patience))
            .or_else(|| self.refrain(&segment, patience))
    }

    /// Notes a segment that comes back at one distance, and says so until it fails to.
    fn refrain(&mut self, segment: &Sketch, patience: u32) -> Option<Likely> {
        let pieces = self.read - segment.first.at;
        if segment.again >= self.rule.refrain * patience && pieces >= self.rule.pieces {
            let likely = Likely {
                distance: segment.distance,
                score: segment.again * segment.distance as u32,
                start: segment.first.start,
                pieces,
            };
            self.refrain = Some((likely, self.count + segment.distance));
        }
        let (likely, last) = self.refrain?;
        (self.count <= last).then_some(likely)
    }

    /// Counts segments in a row whose words came before; `known` is the latest that had them.
    fn recur(&mut self, known: Option<Sketch>, patience: u32) -> Option<Likely> {
        let Some(earlier) = known else {
            self.recurring.score = self.recurring.score.saturating_sub(self.rule.penalty);
            return None;
        };
        if self.recurring.score == 0 {
            (self.recurring.start, self.recurring.at) = (earlier.start, earlier.at);
        }
        self.recurring.score += 1;
        let pieces = self.read - self.recurring.at;
        let stands_out =
            self.recurring.score >= self.rule.recurring * patience && pieces >= self.rule.pieces;
        stands_out.then_some(Likely {
            distance: 2,
            score: self.recurring.score,
            start: self.recurring.start,
            pieces,
        })
    }
}

impl Sketch {
    /// Notes that the same words stood `distance` segments before, in `earlier`.
    fn follow(&mut self, distance: usize, earlier: &Self) {
        let goes_on = earlier.again > 0 && earlier.distance == distance;
        self.distance = distance;
        self.again = if goes_on { earlier.again + 1 } else { 1 };
        self.first = if goes_on {
            earlier.first
        } else {
            Score {
                score: 0,
                start: earlier.start,
                at: earlier.at,
            }
        };
    }

    fn resembles(&self, other: &Self, percent: u32) -> bool {
        let pairs = || self.words.iter().zip(&other.words);
        let common: u32 = pairs().map(|(one, other)| (one & other).count_ones()).sum();
        let all: u32 = pairs().map(|(one, other)| (one | other).count_ones()).sum();
        common * 100 >= all * percent
    }
}
