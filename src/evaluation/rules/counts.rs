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
    let near = grams.iter().enumerate().find_map(|(index, gram)| {
        let different = tokens.push(u64::from(ids[index + 3]))?;
        let different_fours = fours.push(*gram)?;
        let met = different <= 0.12 / scale && different_fours <= 0.35 / scale && {
            let window = &grams[index + 1 - WINDOW..=index];
            let (first, second) = window.split_at(WINDOW / 2);
            let known: std::collections::HashSet<_> = first.iter().collect();
            let new = second.iter().filter(|gram| !known.contains(gram)).count();
            new as f64 <= 0.10 * second.len() as f64
        };
        met.then(|| Alarm::at(index + 3))
    });
    exact
        .into_iter()
        .flatten()
        .chain(near)
        .min_by_key(|alarm| alarm.at)
}
