//! The one source of chance in the corpus: the same seed gives the same documents everywhere.

/// SplitMix64 (Steele, Lea and Flood, 2014): one addition and a mix per draw, and every seed good.
#[derive(Clone, Debug)]
pub(super) struct Random(u64);

impl Random {
    /// A stream of its own for each name, so that adding documents changes no others.
    pub(super) fn named(seed: u64, name: &str) -> Self {
        Self(seed ^ hash(name))
    }

    pub(super) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        mixed ^ (mixed >> 31)
    }

    /// A number from `low` to `high`, both included.
    pub(super) fn between(&mut self, low: usize, high: usize) -> usize {
        low + (self.next() % (high - low + 1) as u64) as usize
    }

    /// A number from `low` to `high` whose logarithm is uniform: as many short as long ones.
    pub(super) fn log_between(&mut self, low: usize, high: usize) -> usize {
        let (from, to) = ((low as f64).ln(), (high as f64 + 1.0).ln());
        ((from + (to - from) * self.unit()).exp() as usize).clamp(low, high)
    }

    /// A number from 0 to below 1.
    pub(super) fn unit(&mut self) -> f64 {
        (self.next() >> 11) as f64 / (1_u64 << 53) as f64
    }

    pub(super) fn chance(&mut self, probability: f64) -> bool {
        self.unit() < probability
    }

    pub(super) fn pick<'a, T: ?Sized>(&mut self, from: &[&'a T]) -> &'a T {
        from[self.between(0, from.len() - 1)]
    }
}

/// FNV-1a, 64 bit, and a last mix: stable across versions and machines, which the frozen split
/// relies on.
pub(super) fn hash(name: &str) -> u64 {
    let hash = name.bytes().fold(0xCBF2_9CE4_8422_2325, |hash: u64, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01B3)
    });
    Random(hash).next()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_stream_never_changes() {
        let mut random = Random::named(20, "prose");
        let drawn: Vec<_> = (0..3).map(|_| random.between(0, 999)).collect();
        let mut again = Random::named(20, "prose");
        assert_eq!(
            drawn,
            (0..3).map(|_| again.between(0, 999)).collect::<Vec<_>>()
        );
        assert_ne!(
            Random::named(20, "code").next(),
            Random::named(20, "prose").next()
        );
    }

    #[test]
    fn draws_stay_in_their_bounds() {
        let mut random = Random::named(1, "bounds");
        for _ in 0..1_000 {
            assert!((3..=7).contains(&random.between(3, 7)));
            assert!((25..=96).contains(&random.log_between(25, 96)));
            assert!((0.0..1.0).contains(&random.unit()));
        }
    }
}
