//! The most recent tokens, and hashes of any recent stretch of them in constant time.
//!
//! Hashes are polynomial in a fixed base modulo the Mersenne prime 2⁶¹ − 1. They only suggest
//! where to look: every use is followed by a comparison of the tokens themselves.

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

/// A ring of the latest tokens and of the prefix hashes that end at them.
#[derive(Clone, Debug)]
pub(super) struct History {
    tokens: Vec<u32>,
    /// `prefixes[n]` is the hash of the first `n` tokens, for the latest `n`.
    prefixes: Vec<u64>,
    /// Where each token stands in the stream it was made from.
    places: Vec<Place>,
    mask: usize,
    len: usize,
}

impl History {
    /// A history that can compare blocks of up to `reach` tokens at lags of up to `reach`.
    pub(super) fn new(reach: usize) -> Self {
        let capacity = reach.next_power_of_two() * 2;
        Self {
            tokens: vec![0; capacity],
            prefixes: vec![0; capacity],
            places: vec![Place::default(); capacity],
            mask: capacity - 1,
            len: 0,
        }
    }

    /// How many tokens were read since the start; not how many are kept.
    pub(super) fn len(&self) -> usize {
        self.len
    }

    pub(super) fn push(&mut self, token: u32, place: Place) {
        self.places[self.len & self.mask] = place;
        let prefix = multiply(self.prefixes[self.len & self.mask], BASE) + u64::from(token) + 1;
        self.tokens[self.len & self.mask] = token;
        self.len += 1;
        self.prefixes[self.len & self.mask] = reduce(prefix);
    }

    /// The token `lag` places before the newest one.
    pub(super) fn back(&self, lag: usize) -> u32 {
        self.tokens[self.len.wrapping_sub(1 + lag) & self.mask]
    }

    /// The place of the token `lag` places before the newest one.
    pub(super) fn place_back(&self, lag: usize) -> Place {
        self.places[self.len.wrapping_sub(1 + lag) & self.mask]
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

    /// The hash of the newest `length` tokens; `weight` is [`weight`] of that length.
    pub(super) fn block_hash(&self, length: usize, weight: u64) -> u64 {
        let before = self.prefixes[self.len.wrapping_sub(length) & self.mask];
        reduce(self.prefixes[self.len & self.mask] + MODULUS - multiply(before, weight))
    }

    pub(super) fn memory_bytes(&self) -> usize {
        size_of_val(self.tokens.as_slice())
            + size_of_val(self.prefixes.as_slice())
            + size_of_val(self.places.as_slice())
    }
}

/// The base raised to `length`, a power of two: what removes the tokens before a block of that
/// length from a prefix hash.
pub(super) fn weight(length: usize) -> u64 {
    (0..length.trailing_zeros()).fold(BASE, |weight, _| multiply(weight, weight))
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
        let mut history = History::new(8);
        let mut hashes = Vec::new();
        for token in (0..400).map(|i| [7, u32::MAX, 0, 3, 9][i % 5]) {
            history.push(token, Place::default());
            if history.len().is_multiple_of(5) && history.len() >= 10 {
                hashes.push(history.block_hash(8, weight(8)));
            }
        }
        hashes.dedup();
        assert_eq!(hashes.len(), 1);
        history.push(8, Place::default());
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
        let mut history = History::new(4);
        for token in [0, 1, 2, 3, 4, 1, 2, 3, 4] {
            history.push(token, Place::default());
        }
        assert!(history.block_repeats_at(4, 4));
        assert!(!history.block_repeats_at(3, 1));
    }
}
