//! From weights, probabilities and penalties to logits.

use serde_saphyr::{Location, Spanned};

use super::table::{State, Target};
use super::wire::EscapeWire;
use crate::yaml::{Source, YamlError};

/// How far above the stated penalty a loop really breaks, relative to it: more than f32 rounding
/// on any backend, so that the loop goes on at the stated penalty itself.
const MARGIN: f64 = 1e-5;
/// Logits that an escape may ask for: above, f32 no longer tells neighbouring penalties apart.
const LOGITS: std::ops::RangeInclusive<f64> = 0.1..=1000.0;

/// The way out of a loop, checked.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Escape {
    to: Target,
    strength: Strength,
    at: Location,
}

/// How strong an escape is.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Strength {
    /// Taken greedily once the token it competes with is divided by more than this.
    Penalty(f64),
    /// Its share at temperature 1 without penalties.
    Probability(f64),
    /// Both.
    Both { penalty: f64, probability: f64 },
}

impl Escape {
    pub(super) fn lower(
        source: Source<'_>,
        wire: &Spanned<EscapeWire>,
        to: Target,
    ) -> Result<Self, YamlError> {
        let EscapeWire {
            breaks_above,
            probability,
            ..
        } = &wire.value;
        if let Some(penalty) = breaks_above
            && !(penalty.value > 1.0 && penalty.value <= 10.0)
        {
            let message = format!(
                "breaks_above is {}, but must be above 1 and at most 10",
                penalty.value
            );
            return Err(source.error(&penalty.referenced, message));
        }
        if let Some(share) = probability
            && !(share.value >= 1e-6 && share.value < 0.5)
        {
            let message = format!(
                "probability is {}, but must be at least 0.000001 and below 0.5",
                share.value
            );
            return Err(source.error(&share.referenced, message));
        }
        let strength = match (breaks_above, probability) {
            (Some(penalty), None) => Strength::Penalty(penalty.value),
            (None, Some(share)) => Strength::Probability(share.value),
            (Some(penalty), Some(share)) => Strength::Both {
                penalty: penalty.value,
                probability: share.value,
            },
            (None, None) => {
                let message = "an escape needs 'breaks_above', 'probability' or both";
                return Err(source.error(&wire.referenced, message));
            }
        };
        Ok(Self {
            to,
            strength,
            at: wire.referenced,
        })
    }

    /// The logits of the heaviest target of `next` and of the escape.
    ///
    /// With the heaviest at `t`, another of weight `w` stands at `t + ln(w / heaviest)`. The
    /// escape's share is `q` if it stands at `t + ln(q / (1 - q) · sum / heaviest)`; it is
    /// chosen above the penalty `b` if it stands at `t / b`. Asking for both fixes `t`.
    fn logits(&self, heaviest: f64, sum: f64) -> (f64, f64) {
        let top = f64::from(State::LOGIT);
        let distance = |q: f64| -(q / (1.0 - q) * sum / heaviest).ln();
        let threshold = |penalty: f64| penalty * (1.0 + MARGIN);
        match self.strength {
            Strength::Penalty(penalty) => (top, top / threshold(penalty)),
            Strength::Probability(q) => (top, top - distance(q)),
            Strength::Both {
                penalty,
                probability,
            } => {
                let top = distance(probability) / (1.0 - 1.0 / threshold(penalty));
                (top, top / threshold(penalty))
            }
        }
    }
}

/// The logits of everything that follows a token: `next` with weights, and an escape.
pub(super) fn logits(
    source: Source<'_>,
    next: &[(Target, f64)],
    escape: Option<&Escape>,
) -> Result<Vec<(Target, f32)>, YamlError> {
    let heaviest = next.iter().map(|(_, weight)| *weight).fold(0.0, f64::max);
    let sum = next.iter().map(|(_, weight)| *weight).sum();
    let (top, way_out) = match escape {
        Some(escape) => {
            let (top, logit) = escape.logits(heaviest, sum);
            if next.iter().any(|(target, _)| *target == escape.to) {
                let message = "the escape leads to where the state leads anyway";
                return Err(source.error(&escape.at, message));
            }
            if !(LOGITS.contains(&top) && LOGITS.contains(&logit) && logit < top) {
                let message = format!(
                    "such an escape would need logits of {top:.3} and {logit:.3}, but they must \
                     be between 0.1 and 1000, and the escape's below the other"
                );
                return Err(source.error(&escape.at, message).with_help(
                    "leave out 'probability' or 'breaks_above', or write the escape as a weight of 'next'",
                ));
            }
            (top, Some((escape.to, logit as f32)))
        }
        None => (f64::from(State::LOGIT), None),
    };
    let weighted = next
        .iter()
        .map(|(target, weight)| (*target, (top + (weight / heaviest).ln()) as f32));
    Ok(weighted.chain(way_out).collect())
}
