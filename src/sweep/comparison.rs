//! Settings compared with no penalty: first the trend over all of them, then each with the
//! baseline, and whether good answers were lost.
//!
//! Compared are answers to the same prompt under the same conditions with the same random
//! numbers; the prompt is the unit, because runs of one prompt hang together.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

use super::group::{Block, Runs};
use super::outcome::Outcome;
use crate::statistics::{PairedCounts, Share, paired, trend};

/// The level of every test.
pub(super) const ALPHA: f64 = 0.05;

/// Whether the loop rate changes along the penalty.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TrendFound {
    /// The window, if windows were swept.
    pub window: Option<usize>,
    /// The penalties, in order.
    pub levels: Vec<f64>,
    /// Prompts, conditions and seeds that were tried at all of them.
    pub blocks: usize,
    /// How far the trend is from none, in standard errors; negative if loops become fewer.
    pub z: f64,
    /// The chance of so strong a trend in either direction, where there is none; adjusted by
    /// Holm for the number of windows.
    pub p: f64,
    /// Whether it is exact.
    pub exact: bool,
}

impl TrendFound {
    /// Whether loops become fewer, beyond chance.
    #[must_use]
    pub fn falls(&self) -> bool {
        self.z < 0.0 && self.p < ALPHA
    }

    /// The trend over the levels, given the runs of each; `None` if no run looped, or all did.
    pub(super) fn of(window: Option<usize>, levels: &[(f64, &Runs<'_>)]) -> Option<Self> {
        let mut everywhere: BTreeSet<Block> = levels.first()?.1.keys().copied().collect();
        for (_, runs) in levels {
            everywhere.retain(|block| runs.contains_key(block));
        }
        let stratum = |block: &Block| -> Vec<Share> {
            let hit = |runs: &Runs<'_>| runs.get(block).is_some_and(|run| run.looped.is_some());
            let shares = levels.iter().map(|(_, runs)| Share {
                hits: usize::from(hit(runs)),
                of: 1,
            });
            shares.collect()
        };
        let strata: Vec<Vec<Share>> = everywhere.iter().map(stratum).collect();
        let found = trend(&strata)?;
        Some(Self {
            window,
            levels: levels.iter().map(|(level, _)| *level).collect(),
            blocks: everywhere.len(),
            z: found.z,
            p: (2.0 * found.falls.min(found.rises)).min(1.0),
            exact: found.exact,
        })
    }
}

/// Loops of one setting compared with no penalty.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Comparison {
    /// Pairs of answers.
    pub pairs: usize,
    /// Pairs that looped without the penalty and do not with it.
    pub cured: usize,
    /// Pairs that loop only with the penalty.
    pub caused: usize,
    /// The chance of so great a difference between prompts in either direction, where there is
    /// none.
    pub p: f64,
    /// The same, adjusted by Holm for the number of settings.
    pub adjusted_p: f64,
    /// McNemar's exact chance, which takes all pairs for independent.
    pub mcnemar_p: f64,
}

impl Comparison {
    pub(super) fn of(baseline: &Runs<'_>, runs: &Runs<'_>) -> Option<Self> {
        let (mut pairs, mut cured, mut caused) = (0, 0, 0);
        let mut nets: BTreeMap<usize, i64> = BTreeMap::new();
        for (block, before, after) in paired_runs(baseline, runs) {
            pairs += 1;
            let net = match (before.looped.is_some(), after.looped.is_some()) {
                (true, false) => 1,
                (false, true) => -1,
                _ => 0,
            };
            cured += usize::from(net > 0);
            caused += usize::from(net < 0);
            *nets.entry(block.prompt).or_default() += net;
        }
        let nets: Vec<i64> = nets.into_values().collect();
        let p = paired::by_cluster(&nets).two_sided;
        (pairs > 0).then_some(Self {
            pairs,
            cured,
            caused,
            p,
            adjusted_p: p,
            mcnemar_p: paired::mcnemar(cured, caused).two_sided,
        })
    }

    /// Whether loops are fewer, beyond chance.
    #[must_use]
    pub fn cures(&self) -> bool {
        self.cured > self.caused && self.adjusted_p < ALPHA
    }
}

/// Good answers of one setting compared with no penalty.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct QualityChange {
    /// Pairs of answers.
    pub pairs: usize,
    /// Pairs whose answer is good only with the penalty.
    pub only_new: usize,
    /// Pairs whose answer is good only without it.
    pub only_old: usize,
    /// The share of good answers minus that without the penalty.
    pub difference: f64,
    /// What the true difference is above, with 95 % confidence.
    pub lower_bound: f64,
    /// Whether that is above minus the margin.
    pub non_inferior: bool,
}

impl QualityChange {
    /// `level` is the chance to call answers as good where `margin` of them are lost.
    pub(super) fn of(
        baseline: &Runs<'_>,
        runs: &Runs<'_>,
        margin: f64,
        level: f64,
    ) -> Option<Self> {
        let mut prompts: BTreeMap<usize, (usize, usize, usize)> = BTreeMap::new();
        for (block, before, after) in paired_runs(baseline, runs) {
            let (Some(before), Some(after)) = (before.good, after.good) else {
                continue;
            };
            let counts = prompts.entry(block.prompt).or_default();
            counts.0 += 1;
            counts.1 += usize::from(after && !before);
            counts.2 += usize::from(before && !after);
        }
        let prompts: Vec<_> = prompts.into_values().collect();
        let sum = |part: fn(&(usize, usize, usize)) -> usize| prompts.iter().map(part).sum();
        let pairs = sum(|counts| counts.0);
        let counts = PairedCounts::of_clusters(&prompts);
        (pairs > 0).then(|| Self {
            pairs,
            only_new: sum(|counts| counts.1),
            only_old: sum(|counts| counts.2),
            difference: counts.difference(),
            lower_bound: counts.interval(1.0 - 2.0 * level).low,
            non_inferior: counts.non_inferior(margin, level),
        })
    }
}

/// The answers that both have to the same question.
fn paired_runs<'a>(
    baseline: &'a Runs<'a>,
    runs: &'a Runs<'a>,
) -> impl Iterator<Item = (Block, &'a Outcome, &'a Outcome)> {
    baseline
        .iter()
        .filter_map(|(block, before)| Some((*block, *before, *runs.get(block)?)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sweep::Looped;

    fn outcome(looped: bool, good: bool) -> Outcome {
        Outcome {
            tokens: 100,
            ended: !looped,
            stopped: false,
            looped: looped.then_some(Looped {
                onset: 10,
                period: 5,
                wasted: 80,
            }),
            displaced: None,
            good: Some(good),
        }
    }

    fn runs<'a>(outcomes: &'a [Outcome], seeds: usize) -> Runs<'a> {
        let blocks = outcomes.iter().enumerate().map(|(at, outcome)| {
            let block = Block {
                prompt: at / seeds,
                condition: 0,
                seed: Some((at % seeds) as u64),
            };
            (block, outcome)
        });
        blocks.collect()
    }

    #[test]
    fn seeds_of_one_prompt_are_not_more_prompts() {
        let before: Vec<Outcome> = (0..12).map(|at| outcome(at < 9, false)).collect();
        let after: Vec<Outcome> = (0..12).map(|_| outcome(false, true)).collect();
        let apart = Comparison::of(&runs(&before, 1), &runs(&after, 1)).expect("pairs");
        let alike = Comparison::of(&runs(&before, 3), &runs(&after, 3)).expect("pairs");
        assert_eq!((apart.cured, alike.cured), (9, 9));
        assert!((apart.p - 2.0 / 512.0).abs() < 1e-12, "{apart:?}");
        assert!((alike.p - 2.0 / 8.0).abs() < 1e-12, "{alike:?}");
        assert!((alike.mcnemar_p - apart.p).abs() < 1e-12);
    }

    #[test]
    fn a_fall_over_the_levels_is_a_trend() {
        let level = |looping: usize| -> Vec<Outcome> {
            (0..12).map(|at| outcome(at < looping, true)).collect()
        };
        let levels = [level(8), level(5), level(1)];
        let levels: Vec<Runs<'_>> = levels.iter().map(|level| runs(level, 1)).collect();
        let with: Vec<(f64, &Runs<'_>)> = [1.0, 1.1, 1.2].into_iter().zip(&levels).collect();
        let found = TrendFound::of(Some(20), &with).expect("varies");
        assert!(
            found.falls() && found.exact && found.blocks == 12,
            "{found:?}"
        );
        let turned: Vec<(f64, &Runs<'_>)> = [1.0, 1.1, 1.2]
            .into_iter()
            .zip(levels.iter().rev())
            .collect();
        assert!(!TrendFound::of(None, &turned).expect("varies").falls());
    }

    #[test]
    fn lost_answers_are_seen() {
        let before: Vec<Outcome> = (0..60).map(|_| outcome(false, true)).collect();
        let after: Vec<Outcome> = (0..60).map(|at| outcome(false, at >= 15)).collect();
        let same =
            QualityChange::of(&runs(&before, 1), &runs(&before, 1), 0.1, ALPHA).expect("judged");
        assert!(same.non_inferior && same.difference == 0.0);
        let worse =
            QualityChange::of(&runs(&before, 1), &runs(&after, 1), 0.1, ALPHA).expect("judged");
        assert!(!worse.non_inferior && worse.only_old == 15, "{worse:?}");
    }
}
