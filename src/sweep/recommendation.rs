//! One setting to take, or why there is none.
//!
//! It knows the figures of every setting and what was asked. How they came about is not its
//! business.

use serde::{Deserialize, Serialize};

use super::point::Treatment;
use super::treatment::TreatmentOutcome;
use crate::statistics::planning;

/// The chance with which a sweep of the size that is asked for would have an answer.
const POWER: f64 = 0.8;

/// What the figures come to.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(tag = "verdict", rename_all = "snake_case", deny_unknown_fields)]
pub enum Verdict {
    /// This is the smallest setting that keeps loops below the target without losing answers.
    Take {
        /// The setting.
        setting: Treatment,
    },
    /// Loops are below the target without a penalty.
    NotNeeded,
    /// A setting looks good enough, and too few prompts were tried to be sure.
    Inconclusive {
        /// The smallest setting that looks good enough.
        candidate: Treatment,
        /// Prompts needed besides those tried, if loops and answers go on as they did; `None` if
        /// no number that can be run suffices.
        more_prompts: Option<usize>,
    },
    /// Loops end, but answers are lost, or may be.
    CostsQuality {
        /// The smallest setting that ends the loops.
        setting: Treatment,
    },
    /// No setting that was tried brings the loops below the target.
    NotFound,
    /// No penalty was swept, or nothing ran.
    NotAsked,
}

/// The verdict, and what it rests on.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Recommendation {
    /// The verdict.
    pub verdict: Verdict,
    /// The loop rate that was asked for.
    pub target_rate: f64,
    /// How many answers may be lost.
    pub margin: f64,
}

/// What a setting has to do, and how much it was tried.
#[derive(Debug, Clone, Copy)]
pub(super) struct Wanted {
    pub(super) target_rate: f64,
    pub(super) margin: f64,
    pub(super) prompts: usize,
    /// The confidence of the interval that has to be below the target once everything has run.
    pub(super) confidence: f64,
    /// The value that switches the penalty off.
    pub(super) off: f64,
}

impl Recommendation {
    pub(super) fn of(settings: &[TreatmentOutcome], wanted: Wanted) -> Self {
        Self {
            verdict: verdict(settings, wanted),
            target_rate: wanted.target_rate,
            margin: wanted.margin,
        }
    }
}

/// Settings from the weakest to the strongest: a smaller penalty first, and of equal ones the
/// smaller window; 0 is the whole answer.
pub(super) fn strength(setting: Treatment) -> (f64, usize) {
    let window = match setting.window {
        None => 0,
        Some(0) => usize::MAX,
        Some(tokens) => tokens,
    };
    (setting.level, window)
}

fn verdict(settings: &[TreatmentOutcome], wanted: Wanted) -> Verdict {
    let (target, off) = (wanted.target_rate, wanted.off);
    let mut candidates: Vec<(Treatment, &TreatmentOutcome)> = settings
        .iter()
        .filter_map(|outcome| Some((outcome.treatment?, outcome)))
        .filter(|(_, outcome)| outcome.loops.share.of > 0)
        .collect();
    candidates.sort_by(|(a, _), (b, _)| {
        let (a, b) = (strength(*a), strength(*b));
        a.0.total_cmp(&b.0).then(a.1.cmp(&b.1))
    });
    let Some((first, baseline)) = candidates.first().copied() else {
        return Verdict::NotAsked;
    };
    let below = |outcome: &TreatmentOutcome| outcome.worst().interval.high < target;
    if first.level == off && below(baseline) {
        return Verdict::NotNeeded;
    }
    // A single low rate among many can be luck. With the same window, all stronger penalties
    // have to be below the target too; then the first one that is not ends the search, and each
    // window costs one error, not each setting.
    let holds = |setting: Treatment| {
        candidates
            .iter()
            .filter(|(other, _)| other.window == setting.window && other.level >= setting.level)
            .all(|(_, outcome)| below(outcome))
    };
    // Where there is nothing to cure, a setting shows no cure.
    let ill = |condition: &str| {
        let rates = &baseline.by_condition;
        first.level != off
            || rates
                .iter()
                .any(|(name, rate)| name == condition && rate.interval.high >= target)
    };
    let could_cure = |outcome: &TreatmentOutcome| {
        outcome.only_under.is_empty() || outcome.only_under.iter().any(|name| ill(name))
    };
    let cures: Vec<_> = candidates
        .iter()
        .filter(|(setting, outcome)| setting.level != off && could_cure(outcome))
        .collect();
    let cured = || cures.iter().filter(|(setting, _)| holds(*setting));
    let keeps = |outcome: &TreatmentOutcome| outcome.quality.is_none_or(|q| q.non_inferior);
    if let Some((setting, _)) = cured().find(|(_, outcome)| keeps(outcome)) {
        return Verdict::Take { setting: *setting };
    }
    if let Some((setting, _)) = cured().next() {
        return Verdict::CostsQuality { setting: *setting };
    }
    let promising = cures
        .iter()
        .find(|(_, outcome)| outcome.worst().share.value() < target && keeps(outcome));
    match promising {
        Some((candidate, outcome)) => Verdict::Inconclusive {
            candidate: *candidate,
            more_prompts: more_prompts(outcome, wanted),
        },
        None => Verdict::NotFound,
    }
}

/// Prompts that are missing, if each is worth as many runs as it was.
fn more_prompts(outcome: &TreatmentOutcome, wanted: Wanted) -> Option<usize> {
    let worst = outcome.worst();
    let rate = worst.share.value();
    let runs = planning::runs_for_bound(rate, wanted.target_rate, wanted.confidence, POWER)?;
    let worth = worst.effective_runs / wanted.prompts.max(1) as f64;
    let needed = (runs as f64 / worth.max(1e-9)).ceil() as usize;
    Some(needed.saturating_sub(wanted.prompts).max(1))
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;
    use crate::statistics::{Share, wilson};
    use crate::sweep::{QualityChange, Rate};

    fn setting(level: f64, window: Option<usize>, hits: usize, of: usize) -> TreatmentOutcome {
        let share = Share { hits, of };
        TreatmentOutcome {
            treatment: Some(Treatment { level, window }),
            label: String::new(),
            loops: Rate {
                share,
                interval: wilson(hits as f64, of as f64, 0.95),
                effective_runs: of as f64,
            },
            by_condition: Vec::new(),
            only_under: Vec::new(),
            kinds: BTreeMap::new(),
            survival: Vec::new(),
            tokens: 0,
            wasted_tokens: 0,
            stopped: 0,
            ended: share,
            good: None,
            distortion: None,
            comparison: None,
            quality: None,
            cells: Vec::new(),
            runs: Vec::new(),
            decision: None,
        }
    }

    fn worse(outcome: TreatmentOutcome) -> TreatmentOutcome {
        let quality = QualityChange {
            pairs: 100,
            only_new: 0,
            only_old: 30,
            difference: -0.3,
            lower_bound: -0.4,
            non_inferior: false,
        };
        TreatmentOutcome {
            quality: Some(quality),
            ..outcome
        }
    }

    fn of(settings: &[TreatmentOutcome]) -> Verdict {
        Recommendation::of(settings, wanted(100)).verdict
    }

    fn wanted(prompts: usize) -> Wanted {
        Wanted {
            target_rate: 0.1,
            margin: 0.1,
            prompts,
            confidence: 0.95,
            off: 1.0,
        }
    }

    fn at(level: f64, window: usize) -> Treatment {
        Treatment {
            level,
            window: Some(window),
        }
    }

    #[test]
    fn the_smallest_setting_below_the_target_is_taken() {
        let settings = [
            setting(1.0, None, 40, 100),
            setting(1.1, Some(20), 0, 100),
            setting(1.05, Some(64), 1, 100),
            setting(1.05, Some(20), 20, 100),
            setting(1.1, Some(64), 0, 100),
        ];
        assert_eq!(
            of(&settings),
            Verdict::Take {
                setting: at(1.05, 64)
            }
        );
    }

    #[test]
    fn a_stroke_of_luck_between_failures_is_not_taken() {
        let settings = [
            setting(1.0, None, 40, 100),
            setting(1.05, Some(20), 0, 100),
            setting(1.1, Some(20), 30, 100),
            setting(1.2, Some(20), 0, 100),
        ];
        assert_eq!(
            of(&settings),
            Verdict::Take {
                setting: at(1.2, 20)
            }
        );
    }

    #[test]
    fn a_setting_tried_only_where_nothing_loops_is_no_cure() {
        let under = |condition: &str, outcome: TreatmentOutcome| TreatmentOutcome {
            only_under: vec![condition.to_owned()],
            by_condition: vec![(condition.to_owned(), outcome.loops)],
            ..outcome
        };
        let (greedy, sampled) = (setting(1.0, None, 40, 100), setting(1.0, None, 0, 100));
        let off = TreatmentOutcome {
            by_condition: vec![
                ("temperature 0".to_owned(), greedy.loops),
                ("temperature 1".to_owned(), sampled.loops),
            ],
            ..greedy
        };
        let idle = under("temperature 1", setting(1.1, Some(20), 0, 100));
        assert_eq!(of(&[off.clone(), idle.clone()]), Verdict::NotFound);
        let cure = under("temperature 0", setting(1.2, Some(20), 0, 100));
        assert_eq!(
            of(&[off, idle, cure]),
            Verdict::Take {
                setting: at(1.2, 20)
            }
        );
    }

    #[test]
    fn lost_answers_are_a_price_that_is_not_paid() {
        let weak = setting(1.05, Some(20), 20, 100);
        let cured = worse(setting(1.1, Some(20), 0, 100));
        let settings = [setting(1.0, None, 40, 100), weak, cured];
        assert_eq!(
            of(&settings),
            Verdict::CostsQuality {
                setting: at(1.1, 20)
            }
        );
    }

    #[test]
    fn too_few_prompts_are_told_how_many_are_missing() {
        let settings = [setting(1.0, None, 5, 12), setting(1.1, Some(20), 0, 12)];
        let found = Recommendation::of(&settings, wanted(12)).verdict;
        // 35 runs without a loop have an upper bound below 10 %.
        let expected = Verdict::Inconclusive {
            candidate: at(1.1, 20),
            more_prompts: Some(23),
        };
        assert_eq!(found, expected);
    }

    #[test]
    fn no_loops_need_no_cure_and_some_have_none() {
        let healthy = [setting(1.0, None, 1, 100), setting(1.1, Some(20), 0, 100)];
        assert_eq!(of(&healthy), Verdict::NotNeeded);
        let stuck = [setting(1.0, None, 90, 100), setting(1.1, Some(20), 80, 100)];
        assert_eq!(of(&stuck), Verdict::NotFound);
        assert_eq!(of(&[]), Verdict::NotAsked);
    }
}
