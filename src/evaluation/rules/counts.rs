//! Rules that count different stretches of tokens.

use std::collections::{HashMap, VecDeque};
use std::hash::{BuildHasherDefault, Hasher};

use super::super::document::Document;
use super::{Alarm, tail};

/// What is counted is hashed already.
#[derive(Default)]
struct Hashed(u64);

impl Hasher for Hashed {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.0 = (self.0 ^ u64::from(*byte)).wrapping_mul(0x0000_0100_0000_01B3);
        }
    }

    fn write_u64(&mut self, value: u64) {
        self.0 = (value ^ (value >> 31)).wrapping_mul(0x9E37_79B9_7F4A_7C15);
    }
}

type Counts = HashMap<u64, u32, BuildHasherDefault<Hashed>>;

/// Hashes of all stretches of `length` tokens; entry `n` ends at token `n + length - 1`.
fn grams(ids: &[u32], length: usize) -> Vec<u64> {
    const BASE: u64 = 0x5851_F42D_4C95_7F2D;
    let leaving = BASE.wrapping_pow(length as u32);
    let mut hash = 0_u64;
    let mut all = Vec::with_capacity(ids.len());
    for (at, &id) in ids.iter().enumerate() {
        hash = hash.wrapping_mul(BASE).wrapping_add(u64::from(id) + 1);
        if at >= length {
            hash = hash.wrapping_sub(leaving.wrapping_mul(u64::from(ids[at - length]) + 1));
        }
        if at + 1 >= length {
            all.push(hash);
        }
    }
    all
}

/// A stretch of `length` tokens comes `times` among the last `window`, once `after` tokens are out.
pub(super) fn gram_in_window(
    document: &Document,
    length: usize,
    times: f64,
    window: usize,
    after: usize,
) -> Option<Alarm> {
    let grams = grams(&document.ids(), length);
    let mut counts = Counts::default();
    grams.iter().enumerate().find_map(|(index, gram)| {
        if index >= window {
            counts
                .entry(grams[index - window])
                .and_modify(|count| *count -= 1);
        }
        let count = counts.entry(*gram).or_default();
        *count += 1;
        let at = index + length - 1;
        (at >= after && f64::from(*count) >= times).then(|| Alarm::at(at))
    })
}

/// A sliding count of different values.
struct Distinct {
    window: usize,
    values: VecDeque<u64>,
    counts: Counts,
}

impl Distinct {
    fn new(window: usize) -> Self {
        Self {
            window,
            values: VecDeque::new(),
            counts: Counts::default(),
        }
    }

    /// The share of different values, once the window is full.
    fn push(&mut self, value: u64) -> Option<f64> {
        self.values.push_back(value);
        *self.counts.entry(value).or_default() += 1;
        if self.values.len() > self.window
            && let Some(oldest) = self.values.pop_front()
            && let Some(count) = self.counts.get_mut(&oldest)
        {
            *count -= 1;
            if *count == 0 {
                self.counts.remove(&oldest);
            }
        }
        (self.values.len() == self.window).then(|| self.counts.len() as f64 / self.window as f64)
    }
}

/// Fewer than `share` of the stretches of `length` among `window` differ.
pub(super) fn distinct(
    document: &Document,
    length: usize,
    window: usize,
    share: f64,
) -> Option<Alarm> {
    let mut seen = Distinct::new(window);
    let grams = grams(&document.ids(), length);
    grams.iter().enumerate().find_map(|(index, gram)| {
        let different = seen.push(*gram)?;
        (different < share).then(|| Alarm::at(index + length - 1))
    })
}

/// The grams of a window in two halves, and how many of the second are not in the first.
#[derive(Default)]
struct Halves {
    first: HashMap<u64, usize>,
    second: HashMap<u64, usize>,
    fresh: usize,
}

impl Halves {
    /// Slides the window so that gram `index` is its last; returns how many of the second half are
    /// not in the first.
    fn push(&mut self, grams: &[u64], index: usize, window: usize) -> usize {
        let half = window / 2;
        self.fresh += usize::from(!self.first.contains_key(&grams[index]));
        *self.second.entry(grams[index]).or_default() += 1;
        if let Some(moved) = index.checked_sub(half) {
            let gram = grams[moved];
            if !self.first.contains_key(&gram) {
                self.fresh -= self.second.get(&gram).copied().unwrap_or_default();
            }
            remove(&mut self.second, gram);
            *self.first.entry(gram).or_default() += 1;
        }
        if let Some(gone) = index.checked_sub(window)
            && remove(&mut self.first, grams[gone])
        {
            self.fresh += self.second.get(&grams[gone]).copied().unwrap_or_default();
        }
        self.fresh
    }
}

/// Takes one away; says whether it was the last.
fn remove(counts: &mut HashMap<u64, usize>, gram: u64) -> bool {
    let Some(count) = counts.get_mut(&gram) else {
        return false;
    };
    *count -= 1;
    let last = *count == 0;
    if last {
        counts.remove(&gram);
    }
    last
}

/// Two exact tiers, and one for windows in which little differs: at most 12 % of 1,024 tokens,
/// 35 % of its 4-grams, and 10 % of the 4-grams of its second half not in the first.
pub(super) fn mlx_serve(document: &Document, scale: f64) -> Option<Alarm> {
    const WINDOW: usize = 1_024;
    let exact = [
        tail::repeats(document, 1, 8, 16.0 * scale, 0, 1),
        tail::repeats(document, 9, 64, 10.0 * scale, 0, 1),
    ];
    let ids = document.ids();
    let (mut tokens, mut fours) = (Distinct::new(WINDOW), Distinct::new(WINDOW));
    let grams = grams(&ids, 4);
    let mut halves = Halves::default();
    let near = grams.iter().enumerate().find_map(|(index, gram)| {
        let fresh = halves.push(&grams, index, WINDOW);
        let different = tokens.push(u64::from(ids[index + 3]))?;
        let different_fours = fours.push(*gram)?;
        let met = different <= 0.12 / scale
            && different_fours <= 0.35 / scale
            && fresh as f64 <= 0.10 * (WINDOW / 2) as f64;
        met.then(|| Alarm::at(index + 3))
    });
    exact
        .into_iter()
        .flatten()
        .chain(near)
        .min_by_key(|alarm| alarm.at)
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn halves_count_what_the_second_has_alone(
            grams in prop::collection::vec(0..6_u64, 8..60), half in 1..5_usize,
        ) {
            let window = 2 * half;
            let mut halves = Halves::default();
            for index in 0..grams.len() {
                let fresh = halves.push(&grams, index, window);
                if index + 1 >= window {
                    let (first, second) = grams[index + 1 - window..=index].split_at(half);
                    let known: HashSet<_> = first.iter().collect();
                    let plain = second.iter().filter(|gram| !known.contains(gram)).count();
                    prop_assert_eq!(fresh, plain);
                }
            }
        }
    }
}
