//! The usual advice on penalties, and how it fares on this model.
//!
//! It repeats claims and puts figures beside them. It does not say who made them.

use serde::{Deserialize, Serialize};

use super::point::Treatment;
use super::treatment::TreatmentOutcome;

/// A claim about a range of settings.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Advice {
    /// What it is said to be for.
    pub purpose: &'static str,
    /// The penalties, both ends included.
    pub levels: (f64, f64),
    /// The windows, both ends included; `None` is any.
    pub windows: Option<(usize, usize)>,
}

/// What is said in guides to local models.
const USUAL: [Advice; 5] = [
    Advice {
        purpose: "coding",
        levels: (1.0, 1.05),
        windows: Some((20, 20)),
    },
    Advice {
        purpose: "general text",
        levels: (1.05, 1.1),
        windows: Some((20, 20)),
    },
    Advice {
        purpose: "creative text",
        levels: (1.0, 1.03),
        windows: Some((20, 40)),
    },
    Advice {
        purpose: "loop prevention",
        levels: (1.05, 1.2),
        windows: Some((20, 20)),
    },
    Advice {
        purpose: "said to distort",
        levels: (1.2, f64::INFINITY),
        windows: None,
    },
];

impl Advice {
    fn covers(&self, setting: Treatment, off: f64) -> bool {
        let (low, high) = self.levels;
        // "Above 1.2" leaves 1.2 out.
        let above = low < setting.level || (high.is_finite() && low == setting.level);
        let window = match (self.windows, setting.window) {
            (None, _) => setting.level != off,
            (Some(_), None) => true,
            (Some((low, high)), Some(window)) => (low..=high).contains(&window),
        };
        above && setting.level <= high && window
    }

    /// The claim in a few words.
    #[must_use]
    pub fn claim(&self) -> String {
        let levels = match self.levels {
            (low, high) if high.is_infinite() => format!("above {low}"),
            (low, high) => format!("{low} to {high}"),
        };
        match self.windows {
            None => levels,
            Some((low, high)) if low == high => format!("{levels}, window {low}"),
            Some((low, high)) => format!("{levels}, window {low} to {high}"),
        }
    }
}

/// A claim, and the settings of the sweep that it is about.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AdviceFound {
    /// What the range is said to be for.
    pub purpose: String,
    /// The range in words.
    pub claim: String,
    /// The settings of the sweep in it, from the weakest to the strongest; may be none.
    pub settings: Vec<String>,
    /// The least and the greatest loop rate among them.
    pub loops: Option<(f64, f64)>,
    /// The least and the greatest share of changed first choices among them.
    pub flips: Option<(f64, f64)>,
}

impl AdviceFound {
    /// Every claim, if it is about the repetition penalty that was swept. Only settings that were
    /// tried under `focus`, the condition that loops most, say how it fares there.
    pub(super) fn all(settings: &[TreatmentOutcome], off: f64, focus: Option<&str>) -> Vec<Self> {
        let found = USUAL.iter().map(|advice| {
            let covered: Vec<&TreatmentOutcome> = settings
                .iter()
                .filter(|outcome| outcome.treatment.is_some_and(|t| advice.covers(t, off)))
                .filter(|outcome| focus.is_none_or(|focus| outcome.was_tried_under(focus)))
                .collect();
            let loops = covered.iter().map(|outcome| outcome.loops.share.value());
            let flips = covered.iter().filter_map(|outcome| outcome.distortion);
            Self {
                purpose: advice.purpose.to_owned(),
                claim: advice.claim(),
                settings: covered
                    .iter()
                    .map(|outcome| outcome.label.clone())
                    .collect(),
                loops: ends(loops),
                flips: ends(flips.map(|distortion| distortion.flips.value())),
            }
        });
        found.collect()
    }
}

fn ends(values: impl Iterator<Item = f64>) -> Option<(f64, f64)> {
    values.fold(None, |ends, value| match ends {
        None => Some((value, value)),
        Some((low, high)) => Some((low.min(value), high.max(value))),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn claims_cover_what_they_say() {
        let covered = |purpose: &str, level, window| {
            let advice = USUAL.iter().find(|advice| advice.purpose == purpose);
            advice
                .expect("known")
                .covers(Treatment { level, window }, 1.0)
        };
        assert!(covered("coding", 1.0, None) && covered("coding", 1.05, Some(20)));
        assert!(!covered("coding", 1.05, Some(64)) && !covered("coding", 1.1, Some(20)));
        assert!(covered("creative text", 1.02, Some(40)));
        assert!(covered("said to distort", 1.3, Some(64)));
        assert!(!covered("said to distort", 1.2, Some(20)));
        assert_eq!(USUAL[4].claim(), "above 1.2");
        assert_eq!(USUAL[2].claim(), "1 to 1.03, window 20 to 40");
    }
}
