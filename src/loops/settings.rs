//! What the operator of a [`Watch`](super::Watch) may set. A request never sets any of it: the
//! longest period decides what a token costs, and whoever pays must choose.

use super::segments::Likeness;
use super::thresholds::{Band, DEFAULT_MAX_PERIOD, Rule, Thresholds};

/// Everything a watch is told.
#[derive(Clone, Debug)]
pub struct Settings {
    /// For exact loops.
    pub thresholds: Thresholds,
    pub(super) folded: Thresholds,
    pub(super) likeness: Likeness,
    /// Fewer different stretches of [`super::novelty`]'s window than this are suspected.
    pub(super) novelty: usize,
    /// The same in code.
    pub(super) novelty_in_code: usize,
    /// The same in tables and data.
    pub(super) novelty_in_data: usize,
}

impl Settings {
    /// The published settings with other thresholds for exact loops.
    #[must_use]
    pub fn with_thresholds(thresholds: Thresholds) -> Self {
        Self {
            thresholds,
            folded: folded(),
            likeness: Likeness {
                words: 4,
                percent: 45,
                penalty: 2,
                copies: 4,
                segments: 7,
                pieces: 400,
                recurring: 14,
                refrain: 10,
            },
            novelty: 100,
            novelty_in_code: 30,
            novelty_in_data: 30,
        }
    }

    /// For text whose tokens are not known: a ruler of 80 signs is 80 pieces and three tokens, so
    /// repetitions of the shortest periods count for less.
    #[must_use]
    pub fn for_text() -> Self {
        let mut bands = Thresholds::default().bands().to_vec();
        for (band, (suspected, confirmed)) in bands.iter_mut().zip([(128, 256), (160, 256)]) {
            band.suspected.span = suspected;
            band.confirmed.span = confirmed;
            band.confirmed.copies = band.confirmed.copies.max(band.suspected.copies);
        }
        Self::with_thresholds(Thresholds::known(DEFAULT_MAX_PERIOD, bands))
    }

    /// How long a counter of a period has to go on in a program.
    pub(super) fn counters_in_code(&self, period: usize) -> usize {
        self.folded.confirmed_span(period).unwrap_or(usize::MAX)
    }
}

impl Default for Settings {
    fn default() -> Self {
        Self::with_thresholds(Thresholds::default())
    }
}

/// Suspected in prose, and suspected elsewhere: lists of similar lines are what programs and data
/// are made of.
fn folded() -> Thresholds {
    let band = |first_period, in_prose: (u32, u32), elsewhere: (u32, u32)| {
        let rule = |(copies, span)| Rule { copies, span };
        Band {
            first_period,
            suspected: rule(in_prose),
            confirmed: rule(elsewhere),
        }
    };
    Thresholds::known(
        512,
        vec![
            band(1, (128, 256), (512, 1_000)),
            band(4, (32, 256), (160, 1_000)),
            band(9, (16, 320), (60, 1_000)),
            band(25, (10, 500), (30, 1_000)),
            band(97, (5, 600), (12, 1_000)),
        ],
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_settings_pass_validation() {
        let text = Settings::for_text();
        for thresholds in [text.thresholds, folded()] {
            let rebuilt = Thresholds::new(thresholds.max_period(), thresholds.bands().to_vec());
            assert_eq!(rebuilt, Ok(thresholds));
        }
    }
}
