//! MLX's random numbers: Threefry-2x32 keys, and the categorical draw built on them.
//!
//! Follows MLX 0.32.2 (`mlx/random.cpp`, `mlx/backend/common/threefry.h`): a seed is a key, each
//! draw splits the key into the next state and the key to use, and a single row is drawn by the
//! inverse of its cumulative distribution from one uniform number.

/// A stream of draws.
#[derive(Debug, Clone)]
pub struct Rng {
    key: [u32; 2],
}

impl Rng {
    /// The stream of a seed.
    #[must_use]
    pub fn seeded(seed: u64) -> Self {
        Self {
            key: [(seed >> 32) as u32, seed as u32],
        }
    }

    /// An index drawn with probability proportional to the exponential of its log-weight.
    /// Weights of negative infinity are never drawn, unless all are.
    pub fn categorical(&mut self, log_weights: &[f32]) -> u32 {
        let max = log_weights
            .iter()
            .copied()
            .fold(f32::NEG_INFINITY, f32::max);
        let weights: Vec<f32> = log_weights
            .iter()
            .map(|weight| libm::expf(weight - max))
            .collect();
        let total: f32 = weights.iter().sum();
        let uniform = self.uniform();
        let mut cumulative = 0.0f32;
        let mut last = 0;
        for (index, weight) in weights.iter().enumerate() {
            if *weight > 0.0 {
                last = index;
                cumulative += weight / total;
                if uniform < cumulative {
                    break;
                }
            }
        }
        last as u32
    }

    /// A number from 0 to just below 1.
    fn uniform(&mut self) -> f32 {
        let words = self.split();
        self.key = [words[0], words[1]];
        let [word, _] = threefry([words[2], words[3]], [0, 0]);
        let largest_below_one = 1.0f32.next_down();
        (word as f32 / u32::MAX as f32).min(largest_below_one)
    }

    /// Four words: a draw of length 4 pairs counter `i` with counter `i + 2`.
    fn split(&self) -> [u32; 4] {
        let [a, c] = threefry(self.key, [0, 2]);
        let [b, d] = threefry(self.key, [1, 3]);
        [a, b, c, d]
    }
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
    use super::*;

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

    #[test]
    fn draws_follow_the_weights() {
        let mut rng = Rng::seeded(42);
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
}
