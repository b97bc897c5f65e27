//! Tells when a text goes on without saying anything new: how many different six-token stretches
//! are among its latest 512.
//!
//! Exact repetition has few of them, but so have loops whose order changes, and loops in which
//! each round is the last one and a bit more. Ordinary text has nearly 512.

/// Stretches looked at.
pub(super) const WINDOW: usize = 512;
/// Tokens in a stretch.
const LENGTH: u32 = 6;
/// Counters. Two stretches that share one look the same; with eight times as many counters as
/// stretches that costs about one in seventeen of the different ones, and far less when few differ.
const SLOTS: usize = 8 * WINDOW;
const BASE: u64 = 0x5851_F42D_4C95_7F2D;

/// Counts the different stretches in a sliding window.
#[derive(Clone, Debug)]
pub(super) struct Novelty {
    tokens: [u32; LENGTH as usize],
    hash: u64,
    /// The counter of each stretch in the window.
    window: Vec<u16>,
    counts: Vec<u16>,
    distinct: usize,
    read: usize,
}

impl Novelty {
    pub(super) fn new() -> Self {
        Self {
            tokens: [0; LENGTH as usize],
            hash: 0,
            window: vec![0; WINDOW],
            counts: vec![0; SLOTS],
            distinct: 0,
            read: 0,
        }
    }

    /// Reads a token. Once the window is full, returns how many stretches in it differ.
    pub(super) fn push(&mut self, token: u32) -> Option<usize> {
        let at = self.read % LENGTH as usize;
        let gone = std::mem::replace(&mut self.tokens[at], token);
        let leaving = u64::from(gone).wrapping_mul(const { BASE.wrapping_pow(LENGTH) });
        self.hash = self
            .hash
            .wrapping_mul(BASE)
            .wrapping_add(u64::from(token))
            .wrapping_sub(leaving);
        let mixed = (self.hash ^ (self.hash >> 29)).wrapping_mul(0x9E37_79B9_7F4A_7C15);
        let slot = (mixed >> (64 - SLOTS.trailing_zeros())) as u16;
        let oldest = std::mem::replace(&mut self.window[self.read % WINDOW], slot);
        self.read += 1;
        if self.read > WINDOW {
            let count = &mut self.counts[usize::from(oldest)];
            *count -= 1;
            self.distinct -= usize::from(*count == 0);
        }
        let count = &mut self.counts[usize::from(slot)];
        self.distinct += usize::from(*count == 0);
        *count += 1;
        (self.read >= WINDOW).then_some(self.distinct)
    }

    pub(super) fn memory_bytes(&self) -> usize {
        size_of::<Self>()
            + size_of_val(self.window.as_slice())
            + size_of_val(self.counts.as_slice())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::HashSet;

    proptest! {
        #[test]
        fn the_count_is_that_of_a_set_but_for_shared_counters(
            letters in 1..40_u32, seeds in prop::collection::vec(any::<u32>(), 600..1_500),
        ) {
            let tokens: Vec<u32> = seeds.iter().map(|seed| seed % letters).collect();
            let mut novelty = Novelty::new();
            for (at, &token) in tokens.iter().enumerate() {
                let Some(distinct) = novelty.push(token) else { continue };
                if at < WINDOW + LENGTH as usize { continue }
                let window = &tokens[at + 1 - WINDOW - 5..=at];
                let all: HashSet<&[u32]> = window.windows(6).collect();
                prop_assert!(distinct <= all.len());
                prop_assert!(distinct * 8 >= all.len() * 7, "{} of {}", distinct, all.len());
            }
        }
    }
}
