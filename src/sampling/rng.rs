//! MLX's random numbers: Threefry-2x32 keys, and the two categorical draws built on them.
//!
//! Follows MLX 0.32.4 (`mlx/random.cpp`, `mlx/backend/cpu/threefry.h`): a seed is a key, and each
//! draw splits the key into the next state and the key to use.

use std::borrow::Cow;
use std::cmp::Ordering;
use std::ops::ControlFlow;

use super::argmax;
use super::numerics::{
    LogWeights, STRETCH, constant, log, maximum, running_sums, visit_exponentials,
};
use crate::generation::{Categorical, CompiledConstants, Profile};

/// A stream of draws.
#[derive(Debug, Clone, PartialEq)]
pub struct Rng {
    key: [u32; 2],
    method: Categorical,
    scale: Scale,
}

/// How a random word becomes a number from 0 to below 1.
#[derive(Debug, Clone, Copy, PartialEq)]
struct Scale {
    divisor: f32,
    most: f32,
}

impl Scale {
    fn new(constants: CompiledConstants) -> Self {
        Self {
            divisor: constant(f64::from(u32::MAX), constants),
            most: constant(f64::from(1.0f32.next_down()), constants),
        }
    }

    fn uniform(self, word: u32) -> f32 {
        (word as f32 / self.divisor).min(self.most)
    }
}

impl Rng {
    /// The stream of a seed, drawn from as the profile says.
    #[must_use]
    pub fn seeded(seed: u64, profile: &Profile) -> Self {
        Self {
            key: [(seed >> 32) as u32, seed as u32],
            method: profile.categorical,
            scale: Scale::new(profile.constants),
        }
    }

    /// A number from 0 to just below 1.
    pub fn uniform(&mut self) -> f32 {
        let key = self.next_key();
        self.scale.uniform(threefry(key, [0, 0])[0])
    }

    /// An index drawn with probability proportional to the exponential of its log-weight.
    /// Weights of negative infinity are never drawn, unless all are.
    pub fn categorical(&mut self, log_weights: &[f32]) -> u32 {
        let draw = RandomDraw {
            rng: self,
            values: Cow::Borrowed(log_weights),
            factor: 1.0,
        };
        // There is one index for each draw.
        categorical(&mut [draw]).swap_remove(0)
    }

    /// The last index whose lower bound in the cumulative distribution is not above one uniform
    /// share of the total. The uniform number is below 1 by half a unit in the last place of any
    /// total, so the share is below the total, and an index without weight is never the last.
    /// Weights are added once: the stretch that the share lies in is known from the running sums.
    fn inverse_cdf(&mut self, log_weights: LogWeights<'_>, sums: &[f32]) -> u32 {
        let share = self.uniform() * sums.last().copied().unwrap_or(0.0);
        // Not the same as `<=`: with something that is not a number, no sum is above the share.
        let whole =
            sums.partition_point(|sum| !matches!(sum.partial_cmp(&share), Some(Ordering::Greater)));
        let mut below = match whole {
            0 => 0.0,
            _ => sums[whole - 1],
        };
        let start = (whole * STRETCH).min(log_weights.values.len());
        let rest = LogWeights {
            values: &log_weights.values[start..],
            ..log_weights
        };
        let mut seen = start as u32;
        visit_exponentials(rest, |weight| {
            if below > share {
                return ControlFlow::Break(());
            }
            seen += 1;
            below += weight;
            ControlFlow::Continue(())
        });
        seen.saturating_sub(1)
    }

    /// The first of the greatest `l - ln(-ln u)`, each with its own uniform number.
    fn gumbel_max(&mut self, values: &[f32], factor: f32) -> u32 {
        let mut noisy = uniforms(self.next_key(), values.len(), self.scale);
        for (noise, value) in noisy.iter_mut().zip(values) {
            *noise = -log(-log(*noise)) + value * factor;
        }
        argmax(&noisy)
    }

    /// Splits the key: a draw of four words, of which two are the next state.
    fn next_key(&mut self) -> [u32; 2] {
        let [a, c] = threefry(self.key, [0, 2]);
        let [b, d] = threefry(self.key, [1, 3]);
        self.key = [a, b];
        [c, d]
    }
}

/// An index that is to be drawn.
pub(super) struct RandomDraw<'a> {
    /// By whom.
    pub(super) rng: &'a mut Rng,
    /// Log-weights are these,
    pub(super) values: Cow<'a, [f32]>,
    /// times this.
    pub(super) factor: f32,
}

impl RandomDraw<'_> {
    /// The greatest log-weight, if the draw needs sums of exponentials. If that is infinite, those
    /// that are equal to it share all the weight.
    fn shift(&mut self) -> Option<f32> {
        if self.rng.method == Categorical::GumbelMax {
            return None;
        }
        // Multiplication keeps the order, also where it rounds.
        let shift = maximum(&self.values) * self.factor;
        if shift.is_finite() {
            return Some(shift);
        }
        let factor = std::mem::replace(&mut self.factor, 1.0);
        let values = self.values.to_mut();
        values.iter_mut().for_each(|value| *value *= factor);
        let max = maximum(values);
        for value in values {
            *value = match *value == max {
                true => 0.0,
                false => f32::NEG_INFINITY,
            };
        }
        Some(0.0)
    }
}

/// [`Rng::categorical`] for several streams at a time.
pub(super) fn categorical(draws: &mut [RandomDraw<'_>]) -> Vec<u32> {
    let shifts: Vec<Option<f32>> = draws.iter_mut().map(RandomDraw::shift).collect();
    let inverse = draws.iter().zip(&shifts).filter_map(|(draw, shift)| {
        Some(LogWeights {
            values: &draw.values,
            factor: draw.factor,
            shift: (*shift)?,
        })
    });
    let sums = running_sums(&inverse.collect::<Vec<_>>());
    let mut sums = sums.iter();
    let draw = |(draw, shift): (&mut RandomDraw<'_>, Option<f32>)| match shift {
        None => draw.rng.gumbel_max(&draw.values, draw.factor),
        Some(shift) => {
            let log_weights = LogWeights {
                values: &draw.values,
                factor: draw.factor,
                shift,
            };
            let sums = sums.next().map_or(&[][..], Vec::as_slice);
            draw.rng.inverse_cdf(log_weights, sums)
        }
    };
    draws.iter_mut().zip(shifts).map(draw).collect()
}

/// `count` uniform numbers of one key. Counter `i` goes with counter `i + half`; an odd count
/// leaves the word in the middle to itself.
fn uniforms(key: [u32; 2], count: usize, scale: Scale) -> Vec<f32> {
    let half = count / 2;
    let odd = count % 2;
    let mut drawn = vec![0.0; count];
    for i in 0..half {
        let [low, high] = threefry(key, [i as u32, (i + half + odd) as u32]);
        drawn[i] = scale.uniform(low);
        drawn[i + half + odd] = scale.uniform(high);
    }
    if odd == 1 {
        drawn[half] = scale.uniform(threefry(key, [half as u32, 0])[0]);
    }
    drawn
}

/// Threefry-2x32 with 20 rounds (Salmon et al. 2011).
fn threefry(key: [u32; 2], counter: [u32; 2]) -> [u32; 2] {
    const ROTATIONS: [[u32; 4]; 2] = [[13, 15, 26, 6], [17, 29, 16, 24]];
    let keys = [key[0], key[1], key[0] ^ key[1] ^ 0x1BD1_1BDA];
    let [mut x, mut y] = [
        counter[0].wrapping_add(keys[0]),
        counter[1].wrapping_add(keys[1]),
    ];
    for round in 0..5usize {
        for rotation in ROTATIONS[round % 2] {
            x = x.wrapping_add(y);
            y = y.rotate_left(rotation) ^ x;
        }
        x = x.wrapping_add(keys[(round + 1) % 3]);
        y = y
            .wrapping_add(keys[(round + 2) % 3])
            .wrapping_add(round as u32 + 1);
    }
    [x, y]
}

#[cfg(test)]
mod tests {
    use proptest::prelude::{any, prop, prop_assert_eq, proptest};
    use rstest::rstest;

    use super::*;
    use crate::generation::Semantics;
    use crate::sampling::numerics::exponentials;

    #[test]
    fn threefry_agrees_with_the_published_vectors() {
        // Random123's known answers for threefry2x32 with 20 rounds.
        assert_eq!(threefry([0, 0], [0, 0]), [0x6b20_0159, 0x99ba_4efe]);
        assert_eq!(
            threefry([u32::MAX; 2], [u32::MAX; 2]),
            [0x1cb9_96fc, 0xbb00_2be7]
        );
        assert_eq!(
            threefry([0x1319_8a2e, 0x0370_7344], [0x243f_6a88, 0x85a3_08d3]),
            [0xc492_3a9c, 0x483d_f7a0]
        );
    }

    #[rstest]
    fn draws_follow_the_weights(
        #[values(Semantics::MlxLm0_31_3, Semantics::MlxLm0_32_2)] semantics: Semantics,
    ) {
        let mut rng = Rng::seeded(42, semantics.profile());
        let log_weights = [0.5f32.ln(), f32::NEG_INFINITY, 0.2f32.ln(), 0.3f32.ln()];
        let mut counts = [0u32; 4];
        for _ in 0..20_000 {
            counts[rng.categorical(&log_weights) as usize] += 1;
        }
        assert_eq!(counts[1], 0);
        // Five standard deviations of a binomial count with n = 20,000.
        for (count, expected) in [(counts[0], 0.5), (counts[2], 0.2), (counts[3], 0.3)] {
            let deviation = (20_000.0f64 * expected * (1.0 - expected)).sqrt();
            assert!((f64::from(count) - 20_000.0 * expected).abs() < 5.0 * deviation);
        }
    }

    proptest! {
        #[test]
        fn a_draw_is_that_of_adding_weights_one_by_one(
            log_weights in prop::collection::vec(-12.0f32..0.0, 1..400),
            seed in any::<u64>(),
        ) {
            let mut rng = Rng::seeded(seed, Semantics::default().profile());
            let mut same = rng.clone();
            let max = maximum(&log_weights);
            let weights = exponentials(&log_weights, max);
            let share = same.uniform() * weights.iter().fold(0.0, |sum, weight| sum + weight);
            let mut below = 0.0;
            let last = weights.iter().take_while(|weight| {
                let goes_on = below <= share;
                below += **weight;
                goes_on
            });
            prop_assert_eq!(rng.categorical(&log_weights) as usize + 1, last.count());
        }
    }

    #[test]
    fn the_largest_uniform_number_draws_the_last_token_with_weight() {
        let scale = Scale::new(CompiledConstants::Exact);
        for total in [1.0f32, 1.5, 2.0, 3.0, 1000.0, 16_777_215.0] {
            assert!(scale.uniform(u32::MAX) * total < total);
        }
    }
}
