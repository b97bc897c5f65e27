//! Every contender on every document, counted.

use std::collections::BTreeMap;
use std::time::Duration;

use super::document::{Class, Document, Planted, Stratum};
use super::rules::{Alarm, Contender};
use crate::statistics::Share;

/// What one contender did at one setting.
#[derive(Clone, Debug, Default)]
pub struct Tally {
    /// Its name.
    pub name: &'static str,
    /// What its rule says.
    pub rule: &'static str,
    /// The setting; 1 is the default.
    pub scale: f64,
    /// Loops that raised an alarm after their onset and before their end, of each kind.
    pub recall: BTreeMap<Planted, Share>,
    /// Loops before which it raised an alarm.
    pub early: usize,
    /// Documents without a loop that raised an alarm.
    pub false_alarms: BTreeMap<(Stratum, Class), Share>,
    /// Tokens of these documents.
    pub healthy_tokens: BTreeMap<(Stratum, Class), usize>,
    /// Pieces between the end of the second copy and the alarm, of each kind, ascending.
    pub delays: BTreeMap<Planted, Vec<usize>>,
    /// Alarms raised at the earliest piece its own rule allows, where it says which that is.
    pub on_time: Share,
    /// Alarms that name the piece at which an exact loop begins, to within one copy.
    pub onset_right: Share,
    /// Time spent per piece, in nanoseconds.
    pub ns_per_piece: f64,
}

/// Runs a contender at one setting over all documents. `clock` tells the time since any fixed
/// moment; this module has none of its own.
pub fn evaluate(
    contender: &Contender,
    scale: f64,
    documents: &[Document],
    clock: &dyn Fn() -> Duration,
) -> Tally {
    let mut tally = Tally {
        name: contender.name,
        rule: contender.rule,
        scale,
        ..Tally::default()
    };
    let mut pieces = 0;
    let before = clock();
    let alarms: Vec<Option<Alarm>> = documents
        .iter()
        .map(|document| {
            let alarm = contender.first_alarm(document, scale);
            // Most rules stop at their first alarm.
            pieces += match alarm {
                Some(alarm) if contender.stops => alarm.at + 1,
                _ => document.pieces.len(),
            };
            alarm
        })
        .collect();
    tally.ns_per_piece = (clock() - before).as_nanos() as f64 / pieces.max(1) as f64;
    for (document, alarm) in documents.iter().zip(alarms) {
        tally.count(document, alarm);
    }
    tally
        .delays
        .values_mut()
        .for_each(|delays| delays.sort_unstable());
    tally
}

impl Tally {
    fn count(&mut self, document: &Document, alarm: Option<Alarm>) {
        let (Some(label), Some((onset, period, end))) = (&document.label, document.loop_pieces())
        else {
            let key = (document.stratum, document.class);
            self.false_alarms
                .entry(key)
                .or_default()
                .count(alarm.is_some());
            *self.healthy_tokens.entry(key).or_default() += document.pieces.len();
            return;
        };
        let early = alarm.is_some_and(|alarm| alarm.at < onset);
        self.early += usize::from(early);
        // Rules that look now and then, or at the end only, may be that much late.
        let found = alarm.filter(|alarm| !early && alarm.at <= end + SLACK);
        self.recall
            .entry(label.kind)
            .or_default()
            .count(found.is_some());
        let Some(alarm) = found else { return };
        let second = onset + 2 * period;
        self.delays
            .entry(label.kind)
            .or_default()
            .push(alarm.at.saturating_sub(second));
        if let Some(earliest) = alarm.earliest {
            self.on_time.count(alarm.at == earliest);
        }
        if label.kind.is_exact()
            && let Some(named) = alarm.onset
        {
            self.onset_right.count(named.abs_diff(onset) <= period);
        }
    }

    /// Recall over all kinds that `wanted` accepts.
    #[must_use]
    pub fn recall_of(&self, wanted: impl Fn(Planted) -> bool) -> Share {
        let kinds = self.recall.iter().filter(|(kind, _)| wanted(**kind));
        kinds.fold(Share::default(), |sum, (_, share)| sum + *share)
    }

    /// False alarms over all strata and classes that `wanted` accepts.
    #[must_use]
    pub fn false_alarms_of(&self, wanted: impl Fn(Stratum, Class) -> bool) -> Share {
        let all = self
            .false_alarms
            .iter()
            .filter(|((stratum, class), _)| wanted(*stratum, *class));
        all.fold(Share::default(), |sum, (_, share)| sum + *share)
    }

    /// False alarms per million pieces of healthy text.
    #[must_use]
    pub fn false_alarms_per_million(&self, wanted: impl Fn(Stratum, Class) -> bool) -> f64 {
        let tokens: usize = self
            .healthy_tokens
            .iter()
            .filter(|((stratum, class), _)| wanted(*stratum, *class))
            .map(|(_, tokens)| tokens)
            .sum();
        self.false_alarms_of(wanted).hits as f64 * 1e6 / tokens.max(1) as f64
    }

    /// The middle of the delays of kinds that `wanted` accepts, in pieces.
    #[must_use]
    pub fn median_delay(&self, wanted: impl Fn(Planted) -> bool) -> Option<usize> {
        let kinds = self.delays.iter().filter(|(kind, _)| wanted(**kind));
        let mut all: Vec<usize> = kinds.flat_map(|(_, delays)| delays).copied().collect();
        all.sort_unstable();
        all.get(all.len() / 2).copied()
    }

    /// The share of right alarms where a share `prevalence` of all texts has a loop.
    #[must_use]
    pub fn precision_at(&self, prevalence: f64) -> f64 {
        let right = self.recall_of(|kind| kind.is_exact()).value() * prevalence;
        let wrong = self.false_alarms_of(prose_and_code).value() * (1.0 - prevalence);
        if right + wrong == 0.0 {
            0.0
        } else {
            right / (right + wrong)
        }
    }
}

/// Pieces after the end of a loop at which an alarm still counts.
const SLACK: usize = 512;

/// The documents whose false alarms count: nobody asked them to repeat, and they do not by nature.
pub(super) fn prose_and_code(stratum: Stratum, class: Class) -> bool {
    stratum == Stratum::Healthy && matches!(class, Class::Prose | Class::Code)
}
