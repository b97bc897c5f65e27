//! Filters on log-probabilities: what they remove becomes negative infinity.
//!
//! Formulas of mlx-lm, `sample_utils.py`, functions `apply_top_p`, `apply_min_p`, `apply_xtc` and
//! `apply_top_k`; version 0.32.2 where nothing else is said.

use std::cmp::Ordering;

use super::numerics::{constant, exp, exponentials, maximum, softmax};
use crate::generation::{CompiledConstants, Profile, TopP};

/// Keeps the likeliest tokens with a mass of about `p`, by the rule of the profile.
pub fn top_p(logprobs: &mut [f32], p: f64, profile: &Profile) {
    match profile.top_p {
        TopP::MassAbove => mass_above(logprobs, constant(p, profile.constants)),
        TopP::MassBelow => mass_below(logprobs, constant(1.0 - p, profile.constants)),
    }
}

/// A token goes if the mass strictly above it already reaches `p` of the total; tokens tied with
/// the last kept one stay.
fn mass_above(logprobs: &mut [f32], p: f32) {
    let sorted = descending(logprobs);
    // The order of summation is that of mlx-lm: from the likeliest down.
    let masses = exponentials(&sorted, 0.0);
    let enough = p * masses.iter().fold(0.0, |sum, mass| sum + mass);
    let mut above = 0.0f32;
    let mut threshold = f32::NEG_INFINITY;
    for (logprob, mass) in sorted.iter().zip(masses) {
        if above >= enough {
            break;
        }
        threshold = *logprob;
        above += mass;
    }
    remove_below(logprobs, threshold);
}

/// A token goes unless its mass and that of all less likely ones is more than `rest`. Of tied
/// tokens, the lower id counts as the less likely one.
fn mass_below(logprobs: &mut [f32], rest: f32) {
    let mut ids: Vec<usize> = (0..logprobs.len()).collect();
    ids.sort_by(|a, b| ascending(logprobs[*a], logprobs[*b]));
    let mut below = 0.0f32;
    for id in ids {
        below += exp(logprobs[id]);
        // Also true if the sum is not a number, as in mlx-lm.
        if below.partial_cmp(&rest) != Some(Ordering::Greater) {
            logprobs[id] = f32::NEG_INFINITY;
        }
    }
}

/// Keeps tokens at least `p` times as likely as the likeliest.
pub fn min_p(logprobs: &mut [f32], p: f64, constants: CompiledConstants) {
    let max = maximum(logprobs);
    remove_below(logprobs, max + constant(libm::log(p), constants));
}

/// Removes the tokens more likely than the least likely one whose probability is above
/// `threshold`; `exempt` ones stay. Whether a step does this at all is drawn by the caller.
pub fn xtc(logprobs: &mut [f32], threshold: f64, exempt: &[u32], constants: CompiledConstants) {
    let probabilities = softmax(logprobs);
    let threshold = constant(threshold, constants);
    let least = probabilities
        .iter()
        .copied()
        .filter(|probability| *probability > threshold)
        .fold(f32::INFINITY, f32::min);
    for (id, probability) in (0u32..).zip(probabilities) {
        if probability > least && !exempt.contains(&id) {
            logprobs[id as usize] = f32::NEG_INFINITY;
        }
    }
}

/// Keeps the `k` likeliest tokens; of tied ones, those with the lowest ids. That is what MLX
/// 0.29.4 to 0.32.4 does on a CPU, whose `argpartition` breaks ties by index
/// (`backend/cpu/sort.cpp`). A `k` of the whole vocabulary or more, which mlx-lm refuses, keeps
/// every token.
pub fn top_k(logprobs: &mut [f32], k: usize) {
    if k >= logprobs.len() {
        return;
    }
    let Some(last) = k.checked_sub(1) else {
        logprobs.fill(f32::NEG_INFINITY);
        return;
    };
    let ranks: Vec<u32> = logprobs.iter().map(|value| rank(*value)).collect();
    let least = *ranks.clone().select_nth_unstable(last).1;
    let better = ranks.iter().filter(|rank| **rank < least).count();
    let mut tied = k - better;
    for (logprob, rank) in logprobs.iter_mut().zip(ranks) {
        let kept = match rank.cmp(&least) {
            Ordering::Less => true,
            Ordering::Equal if tied > 0 => {
                tied -= 1;
                true
            }
            Ordering::Equal | Ordering::Greater => false,
        };
        if !kept {
            *logprob = f32::NEG_INFINITY;
        }
    }
}

/// The place of a number among all, the greatest first: both zeros have one, and what is not a
/// number has the last.
fn rank(value: f32) -> u32 {
    match value {
        value if value.is_nan() => u32::MAX,
        // Also turns the negative zero into the positive one.
        value => key(value + 0.0),
    }
}

/// The bit of the sign.
const SIGN: u32 = 1 << 31;

/// The bits of a value as an unsigned integer in the opposite order of [`f32::total_cmp`].
fn key(value: f32) -> u32 {
    match value.to_bits() {
        bits if bits & SIGN == 0 => !(bits | SIGN),
        bits => bits,
    }
}

/// The order of numbers, in which both zeros are equal; what is not a number comes last.
fn ascending(a: f32, b: f32) -> Ordering {
    a.partial_cmp(&b)
        .unwrap_or_else(|| a.is_nan().cmp(&b.is_nan()))
}

/// The values from the greatest to the least, in the order of [`f32::total_cmp`]: a radix sort
/// over 11 bits at a time, which for a large vocabulary is several times faster than comparisons.
fn descending(values: &[f32]) -> Vec<f32> {
    const DIGITS: usize = 1 << 11;
    let value = |key: u32| match key & SIGN {
        0 => f32::from_bits(!key & !SIGN),
        _ => f32::from_bits(key),
    };
    let mut keys: Vec<u32> = values.iter().map(|value| key(*value)).collect();
    let mut sorted = vec![0; keys.len()];
    for shift in [0, 11, 22] {
        let digit = |key: u32| (key >> shift) as usize % DIGITS;
        let mut places = [0usize; DIGITS];
        for key in &keys {
            places[digit(*key)] += 1;
        }
        let mut before = 0;
        for place in &mut places {
            before += std::mem::replace(place, before);
        }
        for key in &keys {
            let place = &mut places[digit(*key)];
            sorted[*place] = *key;
            *place += 1;
        }
        std::mem::swap(&mut keys, &mut sorted);
    }
    keys.into_iter().map(value).collect()
}

fn remove_below(logprobs: &mut [f32], threshold: f32) {
    for logprob in logprobs {
        if *logprob < threshold {
            *logprob = f32::NEG_INFINITY;
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use rstest::rstest;

    use super::*;
    use crate::generation::Semantics;

    const EXACT: CompiledConstants = CompiledConstants::Exact;

    fn kept(probabilities: &[f32], filter: impl Fn(&mut [f32])) -> Vec<usize> {
        let mut logprobs: Vec<f32> = probabilities.iter().map(|p| p.ln()).collect();
        filter(&mut logprobs);
        (0..logprobs.len())
            .filter(|id| logprobs[*id].is_finite())
            .collect()
    }

    #[rstest]
    #[case(0.4, &[0])]
    #[case(0.6, &[0, 2])]
    #[case(0.9, &[0, 1, 2, 3])]
    #[case(1e-6, &[0])]
    fn top_p_keeps_the_smallest_sufficient_set(#[case] p: f64, #[case] expected: &[usize]) {
        let filter = |l: &mut [f32]| top_p(l, p, Semantics::Loopwatch.profile());
        assert_eq!(kept(&[0.5, 0.1, 0.3, 0.1], filter), expected);
    }

    #[rstest]
    #[case(Semantics::MlxLm0_32_2, &[0, 1, 2, 3])]
    #[case(Semantics::MlxLm0_31_3, &[0, 3])]
    fn the_rules_of_top_p_differ_on_ties(#[case] rule: Semantics, #[case] expected: &[usize]) {
        let filter = |l: &mut [f32]| top_p(l, 0.5, rule.profile());
        assert_eq!(kept(&[0.4, 0.2, 0.2, 0.2], filter), expected);
    }

    proptest! {
        #[test]
        fn top_k_keeps_what_a_sort_puts_first(
            values in prop::collection::vec(prop_oneof![
                -2.0f32..2.0,
                prop::sample::select(vec![
                    0.0, -0.0, 1.0, f32::NAN, -f32::NAN, f32::NEG_INFINITY, f32::INFINITY,
                ]),
            ], 0..60),
            k in 0usize..60,
        ) {
            let mut expected = values.clone();
            let mut ids: Vec<usize> = (0..values.len()).collect();
            ids.sort_by(|a, b| ascending(-values[*a], -values[*b]).then(a.cmp(b)));
            for id in ids.iter().skip(k) {
                expected[*id] = f32::NEG_INFINITY;
            }
            let mut found = values;
            top_k(&mut found, k);
            let bits = |values: Vec<f32>| -> Vec<u32> {
                values.into_iter().map(f32::to_bits).collect()
            };
            prop_assert_eq!(bits(found), bits(expected));
        }

        #[test]
        fn a_radix_sort_is_a_sort(bits in prop::collection::vec(any::<u32>(), 0..300)) {
            let values: Vec<f32> = bits.iter().map(|bits| f32::from_bits(*bits)).collect();
            let mut expected = values.clone();
            expected.sort_by(|a, b| b.total_cmp(a));
            let bits = |values: Vec<f32>| -> Vec<u32> {
                values.into_iter().map(f32::to_bits).collect()
            };
            prop_assert_eq!(bits(descending(&values)), bits(expected));
        }
    }

    #[test]
    fn min_p_compares_with_the_likeliest() {
        assert_eq!(
            kept(&[0.5, 0.04, 0.4, 0.06], |l| min_p(l, 0.1, EXACT)),
            [0, 2, 3]
        );
    }

    #[rstest]
    #[case(0.1, &[], &[2, 3])]
    #[case(0.1, &[0], &[0, 2, 3])]
    #[case(0.25, &[], &[1, 2, 3])]
    #[case(0.45, &[], &[0, 1, 2, 3])]
    fn xtc_removes_the_top_choices(
        #[case] threshold: f64,
        #[case] exempt: &[u32],
        #[case] expected: &[usize],
    ) {
        let filter = |l: &mut [f32]| xtc(l, threshold, exempt, EXACT);
        assert_eq!(kept(&[0.4, 0.3, 0.2, 0.1], filter), expected);
    }

    #[test]
    fn top_k_keeps_exactly_k() {
        assert_eq!(kept(&[0.2, 0.3, 0.3, 0.2], |l| top_k(l, 3)), [0, 1, 2]);
        assert_eq!(kept(&[0.5, 0.5], |l| top_k(l, 9)), [0, 1]);
    }

    proptest! {
        #[test]
        fn no_filter_removes_the_last_token(
            mut logprobs in prop::collection::vec(-30.0f32..0.0, 1..200),
            p in 0.001f64..1.0,
            k in 1usize..200,
        ) {
            crate::sampling::numerics::log_softmax(&mut [&mut logprobs]);
            type Filter<'a> = &'a dyn Fn(&mut [f32]);
            let filters: [Filter<'_>; 5] = [
                &|l| top_p(l, p, Semantics::MlxLm0_32_2.profile()),
                &|l| top_p(l, p, Semantics::MlxLm0_31_3.profile()),
                &|l| min_p(l, p, EXACT),
                &|l| xtc(l, p / 2.0, &[], EXACT),
                &|l| top_k(l, k),
            ];
            for filter in filters {
                let mut filtered = logprobs.clone();
                filter(&mut filtered);
                prop_assert!(filtered.iter().any(|logprob| logprob.is_finite()));
                for (after, before) in filtered.iter().zip(&logprobs) {
                    prop_assert!(after == before || *after == f32::NEG_INFINITY);
                }
            }
        }
    }
}
