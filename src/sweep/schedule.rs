//! In which order an adaptive sweep asks its prompts, and after which of them it looks.
//!
//! It knows prompts by their scenarios and ids. What is seen at a look is not its business.

use std::collections::BTreeMap;

use sha2::{Digest, Sha256};

use crate::plan::Case;
use crate::statistics::Looks;

/// Looks at a sweep, where it has prompts enough: after each quarter of them.
const LOOKS: usize = 4;
/// Decides the order. It is the same for everybody, so that a sweep can be repeated.
const ORDER_SEED: u64 = 1;

/// Which prompts are asked before which look.
#[derive(Debug, Clone, PartialEq)]
pub struct Schedule {
    /// Prompts that have been asked at each look; the last number is that of all.
    ends: Vec<usize>,
    /// For each prompt the first look that has it.
    look_of: Vec<usize>,
    looks: Looks,
}

impl Schedule {
    /// Prompts in the order of a lottery that its seed and their ids decide, in which each scenario
    /// has its share of every look, to about one prompt: an early look must not be about one kind of
    /// prompts.
    pub(super) fn new(prompts: &[Case]) -> Self {
        let mut of_scenario: BTreeMap<&str, Vec<(Vec<u8>, usize)>> = BTreeMap::new();
        for (at, case) in prompts.iter().enumerate() {
            let lot = Sha256::new().chain_update(ORDER_SEED.to_le_bytes());
            let lot = lot.chain_update(&case.id).finalize().to_vec();
            of_scenario
                .entry(&case.scenario)
                .or_default()
                .push((lot, at));
        }
        let mut order: Vec<(f64, Vec<u8>, usize)> = Vec::new();
        for mut drawn in of_scenario.into_values() {
            drawn.sort_unstable();
            let many = drawn.len() as f64;
            let placed = drawn.into_iter().enumerate();
            order.extend(placed.map(|(at, (lot, prompt))| ((at as f64 + 0.5) / many, lot, prompt)));
        }
        order.sort_by(|a, b| a.0.total_cmp(&b.0).then_with(|| a.1.cmp(&b.1)));
        let mut ends: Vec<usize> = (1..=LOOKS)
            .map(|look| (prompts.len() * look).div_ceil(LOOKS))
            .collect();
        ends.dedup();
        let mut look_of = vec![0; prompts.len()];
        for (place, (_, _, prompt)) in order.iter().enumerate() {
            look_of[*prompt] = ends.iter().position(|end| place < *end).unwrap_or(0);
        }
        Self {
            looks: Looks::after(&ends),
            ends,
            look_of,
        }
    }

    /// Prompts that have been asked at each look.
    #[must_use]
    pub fn ends(&self) -> &[usize] {
        &self.ends
    }

    /// Whether a prompt has been asked at a look, counted from 0.
    pub(super) fn has(&self, look: usize, prompt: usize) -> bool {
        self.look_of.get(prompt).is_some_and(|first| *first <= look)
    }

    /// How errors are shared out among the looks.
    pub(super) fn looks(&self) -> &Looks {
        &self.looks
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::prompts;
    use super::*;

    #[test]
    fn every_scenario_has_its_share_of_every_look_in_an_order_that_stays() {
        let cases = |scenario: &str, many: usize| {
            let cases = prompts(many).into_iter();
            let named = cases.map(|case| Case {
                id: format!("{scenario}/{}", case.id),
                scenario: scenario.to_owned(),
                ..case
            });
            named.collect::<Vec<_>>()
        };
        let all = [cases("a", 24), cases("b", 12), cases("c", 8)].concat();
        let schedule = Schedule::new(&all);
        assert_eq!(schedule.ends(), [11, 22, 33, 44]);
        for look in 0..4 {
            let of = |scenario: &str| {
                let asked = (0..44).filter(|at| schedule.has(look, *at));
                asked.filter(|at| all[*at].scenario == scenario).count()
            };
            let parts = ["a", "b", "c"].map(of);
            for (part, many) in parts.into_iter().zip([24, 12, 8]) {
                let share = many * (look + 1) / 4;
                assert!(part.abs_diff(share) <= 1, "{look}: {parts:?}");
            }
        }
        assert_eq!(Schedule::new(&all), schedule);
        // Not simply those that stand first.
        assert!((0..6).any(|at| !schedule.has(0, at)));
        // The order of the file is not what decides.
        let turned: Vec<Case> = all.iter().rev().cloned().collect();
        let other = Schedule::new(&turned);
        assert!((0..44).all(|at| schedule.has(0, at) == other.has(0, 43 - at)));
    }

    #[test]
    fn few_prompts_have_fewer_looks() {
        let ends = |many: usize| Schedule::new(&prompts(many)).ends().to_vec();
        assert_eq!(ends(1), [1]);
        assert_eq!(ends(3), [1, 2, 3]);
        assert_eq!(ends(6), [2, 3, 5, 6]);
    }
}
