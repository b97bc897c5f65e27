//! The most recent tokens, and hashes of any recent stretch of them in constant time.
//!
//! Hashes are polynomial in a fixed base modulo the Mersenne prime 2⁶¹ − 1. They only suggest
//! where to look: every use is followed by a comparison of the tokens themselves.

use super::context::Context;

const MODULUS: u64 = (1 << 61) - 1;

/// The first fractional bits of π: a number nobody chose for its effect here.
const BASE: u64 = 0x243F_6A88_85A3_08D3 & MODULUS;

/// Where something stands: the token it belongs to, and its first byte. Both modulo 2³², which
/// is enough to tell places apart that are less than that from each other.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Place {
    pub(super) token: u32,
    pub(super) byte: u32,
}

/// A ring of the latest tokens, and one of the prefix hashes that end at them.
#[derive(Clone, Debug)]
pub(super) struct History {
    tokens: Vec<Entry>,
    /// `prefixes[n]` is the hash of the first `n` tokens, for the latest `n`.
    prefixes: Vec<u64>,
    len: usize,
    /// How many tokens were read when the latest piece of each [`Mark`] was finished.
    marks: [usize; 3],
}

/// Pieces of text that tell what a repeated block says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Mark {
    Word,
    Digit,
    Comma,
}

/// A token, and where it stands in the stream it was made from.
#[derive(Clone, Copy, Debug, Default)]
struct Entry {
    token: u32,
    context: Option<Context>,
    place: Place,
}

impl History {
    /// A history that hashes blocks of up to `reach` tokens and keeps `kept` tokens.
    pub(super) fn new(reach: usize, kept: usize) -> Self {
        Self {
            tokens: vec![Entry::default(); kept.max(2 * reach).next_power_of_two()],
            prefixes: vec![0; (reach + 1).next_power_of_two()],
            len: 0,
            marks: [0; 3],
        }
    }

    /// Notes that such a piece was finished by what was read.
    pub(super) fn note(&mut self, mark: Mark) {
        self.marks[mark as usize] = self.len;
    }

    /// Whether such a piece was finished after token `token` was read.
    pub(super) fn has_since(&self, mark: Mark, token: usize) -> bool {
        self.marks[mark as usize] > token
    }

    /// How many tokens were read since the start; not how many are kept.
    pub(super) fn len(&self) -> usize {
        self.len
    }

    pub(super) fn push(&mut self, token: u32, place: Place, context: Option<Context>) {
        let mask = self.prefixes.len() - 1;
        let prefix = multiply(self.prefixes[self.len & mask], BASE) + u64::from(token) + 1;
        let slot = self.len & (self.tokens.len() - 1);
        self.tokens[slot] = Entry {
            token,
            context,
            place,
        };
        self.len += 1;
        self.prefixes[self.len & mask] = reduce(prefix);
    }

    fn entry(&self, lag: usize) -> &Entry {
        &self.tokens[self.len.wrapping_sub(1 + lag) & (self.tokens.len() - 1)]
    }

    /// The token `lag` places before the newest one.
    pub(super) fn back(&self, lag: usize) -> u32 {
        self.entry(lag).token
    }

    /// The place of the token `lag` places before the newest one.
    pub(super) fn place_back(&self, lag: usize) -> Place {
        self.entry(lag).place
    }

    /// The context of the token `lag` places before the newest one.
    pub(super) fn context_back(&self, lag: usize) -> Option<Context> {
        self.entry(lag).context
    }

    /// How many of the newest tokens are kept.
    pub(super) fn kept(&self) -> usize {
        self.len.min(self.tokens.len())
    }

    /// Whether the newest token equals the one `lag` places before it.
    pub(super) fn repeats_at(&self, lag: usize) -> bool {
        self.back(0) == self.back(lag)
    }

    /// Whether each of the newest `length` tokens equals the one `lag` places before it.
    pub(super) fn block_repeats_at(&self, lag: usize, length: usize) -> bool {
        (0..length).all(|offset| self.back(offset) == self.back(offset + lag))
    }

    /// How many of the newest tokens, `known` at least, equal the one `lag` places before them, as
    /// far as tokens are kept.
    pub(super) fn repeated_at(&self, lag: usize, known: usize) -> usize {
        let kept = self.kept().saturating_sub(lag);
        (known..kept)
            .find(|offset| self.back(*offset) != self.back(offset + lag))
            .unwrap_or(kept)
    }

    /// The hash of the newest `length` tokens; `weight` is [`weight`] of that length.
    pub(super) fn block_hash(&self, length: usize, weight: u64) -> u64 {
        let mask = self.prefixes.len() - 1;
        let before = self.prefixes[self.len.wrapping_sub(length) & mask];
        reduce(self.prefixes[self.len & mask] + MODULUS - multiply(before, weight))
    }

    pub(super) fn memory_bytes(&self) -> usize {
        size_of_val(self.tokens.as_slice()) + size_of_val(self.prefixes.as_slice())
    }
}

/// The base raised to `length`: what removes the tokens before a block of that length from a
/// prefix hash.
pub(super) fn weight(length: usize) -> u64 {
    let (mut weight, mut power, mut left) = (1, BASE, length);
    while left > 0 {
        if left % 2 == 1 {
            weight = multiply(weight, power);
        }
        power = multiply(power, power);
        left /= 2;
    }
    weight
}

fn multiply(a: u64, b: u64) -> u64 {
    let product = u128::from(a) * u128::from(b);
    reduce((product as u64 & MODULUS) + (product >> 61) as u64)
}

/// Brings a sum of two residues back below the modulus.
fn reduce(sum: u64) -> u64 {
    if sum >= MODULUS { sum - MODULUS } else { sum }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn equal_blocks_have_equal_hashes_wherever_they_stand() {
        let mut history = History::new(8, 16);
        let mut hashes = Vec::new();
        for token in (0..400).map(|i| [7, u32::MAX, 0, 3, 9][i % 5]) {
            history.push(token, Place::default(), None);
            if history.len().is_multiple_of(5) && history.len() >= 10 {
                hashes.push(history.block_hash(8, weight(8)));
            }
        }
        hashes.dedup();
        assert_eq!(hashes.len(), 1);
        history.push(8, Place::default(), None);
        assert_ne!(history.block_hash(8, weight(8)), hashes[0]);
    }

    #[test]
    fn multiplication_agrees_with_the_long_way() {
        for (a, b) in [
            (0, 5),
            (MODULUS - 1, MODULUS - 1),
            (BASE, BASE),
            (1 << 60, 2),
        ] {
            let long = u128::from(a) * u128::from(b) % u128::from(MODULUS);
            assert_eq!(u128::from(multiply(a, b)), long);
        }
    }

    #[test]
    fn comparison_reaches_twice_back() {
        let mut history = History::new(4, 8);
        for token in [0, 1, 2, 3, 4, 1, 2, 3, 4] {
            history.push(token, Place::default(), None);
        }
        assert!(history.block_repeats_at(4, 4));
        assert!(!history.block_repeats_at(3, 1));
    }
}
