//! What settings do to healthy text, summed up over many steps of many texts.
//!
//! It adds up figures. It does not compute them, and does not choose the texts.

use serde::{Deserialize, Serialize};

use crate::sampling::Distortion;
use crate::statistics::{CONFIDENCE, Clusters, Interval, Share};

/// The figures of one setting.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DistortionSummary {
    /// Texts.
    pub texts: usize,
    /// Steps at which another token became the likeliest.
    pub flips: Share,
    /// The uncertainty of their share, with steps of one text taken as alike as they are.
    pub flips_interval: Interval,
    /// The mean divergence of the penalised distribution from the raw one, in nats.
    pub mean_kl: f64,
    /// The divergence that 99 % of the steps stay below, in nats.
    pub p99_kl: f64,
    /// The mean total variation, 0 to 1.
    pub mean_total_variation: f64,
    /// The mean probability that the end of the answer gained; negative if it lost.
    pub mean_eos_gain: f64,
}

/// Collects the steps of every text for some settings.
#[derive(Debug, Clone)]
pub struct Distortions {
    /// For each setting, for each text, its steps.
    settings: Vec<Vec<Vec<Distortion>>>,
}

impl Distortions {
    /// Nothing yet, for so many settings.
    #[must_use]
    pub fn new(settings: usize) -> Self {
        Self {
            settings: vec![Vec::new(); settings],
        }
    }

    /// Begins the next text.
    pub fn begin_text(&mut self) {
        for texts in &mut self.settings {
            texts.push(Vec::new());
        }
    }

    /// Adds what each setting did to the next step of the text.
    pub fn push(&mut self, step: Vec<Distortion>) {
        for (texts, distortion) in self.settings.iter_mut().zip(step) {
            if let Some(text) = texts.last_mut() {
                text.push(distortion);
            }
        }
    }

    /// The figures of each setting; `None` without a single step.
    #[must_use]
    pub fn summaries(&self) -> Vec<Option<DistortionSummary>> {
        self.settings.iter().map(|texts| summary(texts)).collect()
    }
}

fn summary(texts: &[Vec<Distortion>]) -> Option<DistortionSummary> {
    let steps: Vec<Distortion> = texts.iter().flatten().copied().collect();
    let count = steps.len() as f64;
    let mean = |part: fn(&Distortion) -> f64| steps.iter().map(part).sum::<f64>() / count;
    let mut divergences: Vec<f64> = steps.iter().map(|step| step.kl).collect();
    divergences.sort_by(f64::total_cmp);
    let rank = (divergences.len() * 99).div_ceil(100).checked_sub(1)?;
    let flips = Clusters::new(texts.iter().map(|text| Share {
        hits: text.iter().filter(|step| step.flipped).count(),
        of: text.len(),
    }));
    Some(DistortionSummary {
        texts: flips.count(),
        flips: flips.total(),
        flips_interval: flips.interval(0.0, CONFIDENCE),
        mean_kl: mean(|step| step.kl),
        p99_kl: *divergences.get(rank)?,
        mean_total_variation: mean(|step| step.total_variation),
        mean_eos_gain: mean(|step| step.eos_gain),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn steps_are_summed_over_texts() {
        let mut all = Distortions::new(2);
        for text in 0..2 {
            all.begin_text();
            for step in 0..50 {
                let strong = Distortion {
                    kl: f64::from(step),
                    total_variation: 0.5,
                    flipped: text == 0,
                    eos_gain: -0.1,
                };
                all.push(vec![Distortion::default(), strong]);
            }
        }
        let [Some(none), Some(strong)] = all.summaries()[..] else {
            panic!("both were measured");
        };
        assert_eq!((none.flips.hits, none.mean_kl), (0, 0.0));
        assert_eq!(
            (strong.texts, strong.flips),
            (2, Share { hits: 50, of: 100 })
        );
        assert_eq!((strong.mean_kl, strong.p99_kl), (24.5, 49.0));
        assert!((strong.mean_eos_gain + 0.1).abs() < 1e-12);
        // Two texts that are so different say little of a third.
        assert!(strong.flips_interval.high > 0.9, "{strong:?}");
        assert_eq!(Distortions::new(1).summaries(), [None]);
    }
}
