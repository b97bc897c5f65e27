//! One repetition, from its first copy to the newest token, and when it becomes an alarm.

use std::ops::RangeInclusive;

use super::context::Context;
use super::history::{History, Mark, Place};
use super::requested::Requested;
use super::thresholds::Thresholds;
use super::verdict::{FRAGMENT_TOKENS, LoopKind, LoopState, LoopVerdict};

/// Periods that a row of a table of constants may have, in tokens.
const ROW: RangeInclusive<usize> = 25..=256;

/// How often each token of a bare row comes in it, on average, at least.
const SAME: usize = 6;

/// A repetition that goes on.
#[derive(Clone, Debug)]
pub(super) struct Run {
    pub(super) period: usize,
    pub(super) onset: usize,
    pub(super) place: Place,
    pub(super) span: usize,
    suspected_span: usize,
    confirmed_span: usize,
    /// The length at which something changes next.
    next_span: usize,
    /// What is asked instead if the block is one of [`Others`], until that is known.
    others: Option<Others>,
    context: Option<Context>,
    alarm: Option<Box<Alarm>>,
}

/// What is asked of a block that says little or is part of a list, in tokens until suspected and
/// until confirmed.
#[derive(Clone, Copy, Debug)]
struct Others {
    bare: (usize, usize),
    elements: (usize, usize),
    signs: (usize, usize),
}

/// What is kept about a run that was suspected.
#[derive(Clone, Debug)]
struct Alarm {
    suspected_at: usize,
    confirmed_at: Option<usize>,
    ended_at: Option<usize>,
    fragment_tokens: Vec<u32>,
}

impl Others {
    fn of(period: usize, context: Context, thresholds: &Thresholds) -> Option<Self> {
        Some(Self {
            bare: thresholds.spans_of_bare(period, context)?,
            elements: thresholds.spans_of_elements(period, context)?,
            signs: thresholds.spans_of_signs(period, context)?,
        })
    }
}

impl Run {
    /// The run of `period` whose newest `known` tokens at least equal those a period before them.
    /// Its first token is found backwards. What is asked of it is decided by the context in which
    /// its second copy ends.
    pub(super) fn traced(
        period: usize,
        known: usize,
        history: &History,
        thresholds: &Thresholds,
    ) -> Self {
        let span = period + history.repeated_at(period, known);
        let context = history.context_back(span - 2 * period);
        let (suspected_span, confirmed_span) = thresholds
            .spans_in(period, context)
            .unwrap_or((usize::MAX, usize::MAX));
        Self {
            period,
            onset: history.len() - span,
            place: history.place_back(span - 1),
            span,
            suspected_span,
            confirmed_span,
            next_span: suspected_span,
            others: context.and_then(|context| Others::of(period, context, thresholds)),
            context,
            alarm: None,
        }
    }

    /// A run that is followed only because nothing else can be found while it lasts.
    pub(super) fn ignored(period: usize) -> Self {
        Self {
            period,
            onset: 0,
            place: Place::default(),
            span: 0,
            suspected_span: usize::MAX,
            confirmed_span: usize::MAX,
            next_span: usize::MAX,
            others: None,
            context: None,
            alarm: None,
        }
    }

    /// The tier that the newest token completes, if any.
    pub(super) fn cross(&mut self, history: &History) -> Option<LoopState> {
        if self.span < self.next_span {
            return None;
        }
        let at = history.len() - 1;
        let mut crossed = None;
        if self.alarm.is_none() {
            let fragment_tokens = self.first_copy(history);
            if let Some(others) = self.others.take()
                && let Some(spans) = self.asked_instead(others, &fragment_tokens, history)
            {
                (self.suspected_span, self.confirmed_span) = spans;
                self.next_span = self.suspected_span;
                if self.span < self.next_span {
                    return None;
                }
            }
            self.alarm = Some(Box::new(Alarm {
                suspected_at: at,
                confirmed_at: None,
                ended_at: None,
                fragment_tokens,
            }));
            self.next_span = self.confirmed_span;
            crossed = Some(LoopState::Suspected);
        }
        if self.span >= self.confirmed_span
            && let Some(alarm) = &mut self.alarm
            && alarm.confirmed_at.is_none()
        {
            alarm.confirmed_at = Some(at);
            self.next_span = usize::MAX;
            crossed = Some(LoopState::Confirmed);
        }
        crossed
    }

    /// What is asked of the run for what a copy of it says; `None` if for that it is asked nothing else.
    fn asked_instead(
        &self,
        others: Others,
        copy: &[u32],
        history: &History,
    ) -> Option<(usize, usize)> {
        let before = history.len() - 1 - self.period;
        let has = |mark| history.has_since(mark, before);
        if !has(Mark::Word) && has(Mark::Digit) || self.is_row(copy) {
            Some(others.bare)
        } else if has(Mark::Comma) {
            Some(others.elements)
        } else if !has(Mark::Word) {
            Some(others.signs)
        } else {
            None
        }
    }

    /// Whether a copy is a row of the same few tokens.
    fn is_row(&self, copy: &[u32]) -> bool {
        if !ROW.contains(&self.period) {
            return false;
        }
        let mut different = copy.to_vec();
        different.sort_unstable();
        different.dedup();
        different.len() * SAME <= copy.len()
    }

    /// Confirms a suspected run that went on to token `at`, at which the generation was cut off. Says
    /// whether that is news.
    pub(super) fn cut_off(&mut self, at: usize) -> bool {
        let Some(alarm) = &mut self.alarm else {
            return false;
        };
        if alarm.confirmed_at.is_some() {
            return false;
        }
        alarm.confirmed_at = Some(at);
        self.confirmed_span = self.span;
        true
    }

    /// The run closed by token `at`, if it was ever suspected.
    pub(super) fn broken(mut self, at: usize) -> Option<(LoopState, Self)> {
        self.alarm.as_mut()?.ended_at = Some(at);
        let state = match self.state()? {
            LoopState::Confirmed => LoopState::Recovered,
            _ => LoopState::Ended,
        };
        Some((state, self))
    }

    /// Suspected or confirmed, if it is either.
    pub(super) fn state(&self) -> Option<LoopState> {
        let alarm = self.alarm.as_ref()?;
        Some(if alarm.confirmed_at.is_some() {
            LoopState::Confirmed
        } else {
            LoopState::Suspected
        })
    }

    /// The start of the first copy. It may have left the history, but all copies are equal, so it
    /// is read off the newest one.
    fn first_copy(&self, history: &History) -> Vec<u32> {
        let newest = self.span - 1;
        (0..self.period.min(FRAGMENT_TOKENS))
            .map(|offset| history.back((newest - offset) % self.period))
            .collect()
    }

    pub(super) fn verdict(&self, state: LoopState) -> Option<LoopVerdict> {
        let alarm = self.alarm.as_ref()?;
        let required = if state.is_confirmed() {
            self.confirmed_span
        } else {
            self.suspected_span
        };
        Some(LoopVerdict {
            kind: LoopKind::Exact,
            state,
            period: self.period,
            span: self.span,
            onset: self.onset,
            suspected_at: alarm.suspected_at,
            detected_at: alarm.confirmed_at.unwrap_or(alarm.suspected_at),
            earliest_possible: self.onset + required - 1,
            ended_at: alarm.ended_at,
            wasted_tokens: self.span - self.period,
            fragment_tokens: alarm.fragment_tokens.clone(),
            onset_byte: self.context.map(|_| self.place.byte as usize),
            context: self.context,
            requested: Requested::Unknown,
        })
    }
}
