//! The time until something happens, where some were not watched to the end.
//!
//! It knows times and whether they ended in the event. What the event is, it does not know.

use serde::{Deserialize, Serialize};

use super::{Interval, two_sided};

/// How long one was watched.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Observation {
    /// When the event happened, or when the watching ended without it.
    pub time: usize,
    /// Whether it happened.
    pub event: bool,
}

/// The curve behind one time at which something happened.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Survival {
    /// The time.
    pub time: usize,
    /// Watched and without the event until then.
    pub at_risk: usize,
    /// Events at this time.
    pub events: usize,
    /// The share that is without the event after this time.
    pub share: f64,
    /// The uncertainty of the share.
    pub interval: Interval,
}

/// The curve of Kaplan and Meier, "Nonparametric estimation from incomplete observations", JASA
/// 53 (1958), 457-481, one entry for each time with an event. Its interval has the variance of
/// Greenwood (1926) on the scale log(-log), so that it stays between 0 and 1 (Kalbfleisch and
/// Prentice, "The Statistical Analysis of Failure Time Data", 1980, §1.3). Where nobody is left
/// the variance does not exist, and the interval reaches from 0 to where it last ended.
///
/// Those whose watching ends at a time of events count as watched at it. That the end of the
/// watching says nothing of the event to come is an assumption, and the caller's.
#[must_use]
pub fn kaplan_meier(observations: &[Observation], confidence: f64) -> Vec<Survival> {
    let mut sorted = observations.to_vec();
    sorted.sort_by_key(|observation| observation.time);
    let z = two_sided(confidence);
    let (mut share, mut greenwood, mut last_high) = (1.0, 0.0, 1.0);
    let mut curve = Vec::new();
    let mut at_risk = sorted.len();
    for same in sorted.chunk_by(|a, b| a.time == b.time) {
        let events = same.iter().filter(|observation| observation.event).count();
        if events > 0 {
            let (n, d) = (at_risk as f64, events as f64);
            share *= 1.0 - d / n;
            greenwood += d / (n * (n - d));
            let interval = interval(share, greenwood, z, last_high);
            last_high = interval.high;
            curve.push(Survival {
                time: same[0].time,
                at_risk,
                events,
                share,
                interval,
            });
        }
        at_risk -= same.len();
    }
    curve
}

fn interval(share: f64, greenwood: f64, z: f64, last_high: f64) -> Interval {
    if share <= 0.0 {
        return Interval {
            low: 0.0,
            high: last_high,
        };
    }
    let reach = z * greenwood.sqrt() / share.ln().abs();
    Interval {
        low: share.powf(reach.exp()),
        high: share.powf((-reach).exp()),
    }
}

/// The share that is still without the event after `time`, with its interval.
#[must_use]
pub fn at(curve: &[Survival], time: usize) -> (f64, Interval) {
    let everyone = Interval {
        low: 1.0,
        high: 1.0,
    };
    curve
        .iter()
        .take_while(|step| step.time <= time)
        .last()
        .map_or((1.0, everyone), |step| (step.share, step.interval))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The treated group of Freireich et al. (1963), weeks in remission of acute leukaemia, the
    /// textbook example. Shares as printed in Klein and Moeschberger, "Survival Analysis" (2003),
    /// table 4.1.
    #[test]
    fn the_remissions_of_6_mercaptopurine() {
        let relapsed = [6, 6, 6, 7, 10, 13, 16, 22, 23];
        let censored = [6, 9, 10, 11, 17, 19, 20, 25, 32, 32, 34, 35];
        let observation = |event| move |time: &usize| Observation { time: *time, event };
        let all: Vec<Observation> = (relapsed.iter().map(observation(true)))
            .chain(censored.iter().map(observation(false)))
            .collect();
        let curve = kaplan_meier(&all, 0.95);
        let shares: Vec<(usize, usize, f64)> = curve
            .iter()
            .map(|step| (step.time, step.at_risk, (step.share * 1e3).round() / 1e3))
            .collect();
        assert_eq!(
            shares,
            [
                (6, 21, 0.857),
                (7, 17, 0.807),
                (10, 15, 0.753),
                (13, 12, 0.690),
                (16, 11, 0.627),
                (22, 7, 0.538),
                (23, 6, 0.448),
            ]
        );
        assert_eq!(at(&curve, 5).0, 1.0);
        assert_eq!(at(&curve, 8).0, curve[1].share);
    }

    #[test]
    fn a_curve_that_reaches_the_ground_has_an_interval_all_the_same() {
        let both = [1, 2].map(|time| Observation { time, event: true });
        let curve = kaplan_meier(&both, 0.95);
        assert_eq!(curve[1].share, 0.0);
        assert_eq!(curve[1].interval.high, curve[0].interval.high);
        assert!(kaplan_meier(&[], 0.95).is_empty());
    }
}
