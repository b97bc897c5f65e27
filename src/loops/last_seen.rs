//! A map from the hash of a block to where it was last seen, which forgets at a fixed distance.
//! Positions here count the blocks that were recorded.
//!
//! A plain direct-mapped table would be smaller, but two blocks that share a slot evict each
//! other, and a loop is then noticed late or never. Here blocks that share a bucket are chained,
//! newest first. Entries live in a ring with one place per position, so an entry is overwritten
//! exactly when it is too old to matter, nothing has to be evicted, and no entry within the window
//! is ever lost.

/// How many entries with an equal tag are compared token by token before giving up. More than one
/// false candidate takes a coincidence of over 32 bits; several in one chain only come from input
/// crafted against the hash, where a late verdict is better than an unbounded cost.
const CANDIDATES: usize = 4;

/// Buckets per remembered position. Most look-ups find nothing, and four times out of five they
/// then find an empty bucket, which the processor predicts well.
const BUCKETS: usize = 4;

/// Spreads a hash over the bits of a word (the golden ratio, as in Fibonacci hashing), because
/// hashes of short blocks differ in few bits.
const SPREAD: u64 = 0x9E37_79B9_7F4A_7C15;

/// Where each block ended during the last `window` positions.
#[derive(Clone, Debug)]
pub(super) struct LastSeen {
    /// The newest position in each bucket. A position that is out of the window marks an empty
    /// bucket.
    heads: Vec<u32>,
    /// How far a spread hash is shifted to give a bucket.
    shift: u32,
    /// The entry of position `n` is at `n` modulo the window.
    entries: Vec<Entry>,
    /// The position that comes next, modulo 2³². A bucket left alone for that long may seem to
    /// hold a recent entry; the comparison of tokens sorts that out.
    position: u32,
}

#[derive(Clone, Copy, Debug, Default)]
struct Entry {
    tag: u32,
    /// The position seen before this one in the same bucket.
    older: u32,
}

impl LastSeen {
    /// A map that remembers the last `window` positions; `window` is a power of two.
    pub(super) fn new(window: usize) -> Self {
        Self {
            heads: vec![0; window * BUCKETS],
            shift: 64 - (window * BUCKETS).trailing_zeros(),
            entries: vec![Entry::default(); window],
            // So that the zeros in `heads` lie outside the window from the start.
            position: window as u32 + 1,
        }
    }

    /// The smallest lag within the window at which a block with this hash ended and `is_same`
    /// holds. The position about to be recorded has lag 0.
    pub(super) fn find(&self, hash: u64, is_same: impl Fn(usize) -> bool) -> Option<usize> {
        let (bucket, tag) = self.place(hash);
        let mask = self.entries.len() - 1;
        let mut position = self.heads[bucket];
        let mut nearer = 0;
        let mut candidates = CANDIDATES;
        loop {
            let lag = self.position.wrapping_sub(position) as usize;
            if lag <= nearer || lag > self.entries.len() || candidates == 0 {
                return None;
            }
            let entry = self.entries[position as usize & mask];
            if entry.tag == tag {
                if is_same(lag) {
                    return Some(lag);
                }
                candidates -= 1;
            }
            nearer = lag;
            position = entry.older;
        }
    }

    /// Notes that a block with this hash ends at the next position.
    pub(super) fn record(&mut self, hash: u64) {
        let (bucket, tag) = self.place(hash);
        let slot = self.position as usize & (self.entries.len() - 1);
        self.entries[slot] = Entry {
            tag,
            older: self.heads[bucket],
        };
        self.heads[bucket] = self.position;
        self.position = self.position.wrapping_add(1);
    }

    pub(super) fn memory_bytes(&self) -> usize {
        size_of_val(self.heads.as_slice()) + size_of_val(self.entries.as_slice())
    }

    fn place(&self, hash: u64) -> (usize, u32) {
        let spread = hash.wrapping_mul(SPREAD);
        ((spread >> self.shift) as usize, (spread >> 16) as u32)
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use super::super::history::{History, Place, weight};
    use super::super::{Band, Rule, Thresholds, detect};
    use super::*;

    #[test]
    fn the_window_is_exact_and_the_nearest_wins() {
        let mut seen = LastSeen::new(8);
        seen.record(77);
        for other in 0..7 {
            seen.record(other);
        }
        assert_eq!(seen.find(77, |_| true), Some(8));
        seen.record(100);
        assert_eq!(seen.find(77, |_| true), None);
        seen.record(5);
        assert_eq!(seen.find(5, |_| true), Some(1));
    }

    #[test]
    fn one_bucket_holds_a_whole_window() {
        // A table this small collides without being aimed at.
        let mut seen = LastSeen::new(4);
        for round in 0..1_000_u64 {
            for hash in round..round + 4 {
                seen.record(hash);
            }
            for (index, hash) in (round..round + 4).enumerate() {
                assert_eq!(seen.find(hash, |_| true), Some(4 - index));
            }
        }
    }

    #[test]
    fn a_false_candidate_does_not_hide_the_true_one() {
        let mut seen = LastSeen::new(8);
        for _ in 0..3 {
            seen.record(42);
        }
        assert_eq!(seen.find(42, |lag| lag == 3), Some(3));
    }

    /// Two different pairs of tokens that a map of window 2 cannot tell apart.
    fn colliding_pairs() -> Option<[[u32; 2]; 2]> {
        let seen = LastSeen::new(2);
        let mut places = HashMap::new();
        let mut state = 1_u64;
        (0..2_000_000).find_map(|_| {
            // Xorshift: an arithmetic progression would be spread too evenly to collide.
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            let pair = [(state >> 32) as u32, state as u32];
            let mut history = History::new(2, 4);
            pair.into_iter()
                .for_each(|token| history.push(token, Place::default(), None));
            let earlier = places.insert(seen.place(history.block_hash(2, weight(2))), pair)?;
            Some([earlier, pair])
        })
    }

    #[test]
    fn blocks_that_only_look_equal_do_not_make_a_loop() {
        let Some([[a, b], [c, d]]) = colliding_pairs() else {
            panic!("no collision to test with")
        };
        let rule = Rule { copies: 3, span: 6 };
        let band = Band {
            first_period: 1,
            suspected: rule,
            confirmed: rule,
        };
        let Ok(thresholds) = Thresholds::new(2, vec![band]) else {
            panic!("bad thresholds")
        };
        let found = |tokens: &[u32]| detect(tokens, &thresholds).map(|found| found.onset);
        assert_eq!(found(&[a, b, c, d, c, d]), None);
        assert_eq!(found(&[a, b, c, d, c, d, c, d]), Some(2));
    }

    #[test]
    fn positions_may_wrap() {
        let mut seen = LastSeen::new(4);
        seen.position = u32::MAX - 1;
        for hash in [1, 2, 3, 4] {
            seen.record(hash);
        }
        for (hash, lag) in [(1, 4), (2, 3), (3, 2), (4, 1)] {
            assert_eq!(seen.find(hash, |_| true), Some(lag));
        }
    }
}
