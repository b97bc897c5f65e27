//! Loops that are suspected though their copies differ, and what becomes of them.

use super::history::Place;
use super::requested::Requested;
use super::verdict::{Change, FRAGMENT_TOKENS, LoopKind, LoopState, LoopVerdict};

/// One suspected loop.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Sighting {
    kind: LoopKind,
    /// The token in which the first copy begins.
    onset: usize,
    onset_byte: usize,
    /// Tokens of a copy, on average.
    period: usize,
    pub(super) detected_at: usize,
    pub(super) ended_at: Option<usize>,
    /// The period in the folded text, for what was found there.
    folded: Option<usize>,
}

impl Sighting {
    /// What began at `start` and was noticed at token `at`, which stands at `place`, after
    /// `copies`.
    pub(super) fn new(kind: LoopKind, start: Place, place: Place, at: usize, copies: f64) -> Self {
        // Differences modulo 2³² are exact, since no stretch is that long.
        let onset = at - (place.token.wrapping_sub(start.token) as usize).min(at);
        let span = at + 1 - onset;
        Self {
            kind,
            onset,
            onset_byte: start.byte as usize,
            period: ((span as f64 / copies).round() as usize).clamp(1, span),
            detected_at: at,
            ended_at: None,
            folded: None,
        }
    }

    pub(super) fn with_folded(self, period: usize) -> Self {
        Self {
            folded: Some(period),
            ..self
        }
    }

    fn change(&self, state: LoopState, at: usize) -> Change {
        Change {
            kind: self.kind,
            state,
            period: self.period,
            onset: self.onset,
            at,
        }
    }

    /// The verdict after `tokens` tokens; `fragment` reads tokens that are still kept.
    pub(super) fn verdict(
        &self,
        tokens: usize,
        fragment: impl Fn(usize, usize) -> Vec<u32>,
    ) -> LoopVerdict {
        let span = self.ended_at.unwrap_or(tokens) - self.onset;
        LoopVerdict {
            kind: self.kind,
            state: if self.ended_at.is_some() {
                LoopState::Ended
            } else {
                LoopState::Suspected
            },
            period: self.period,
            span,
            onset: self.onset,
            suspected_at: self.detected_at,
            detected_at: self.detected_at,
            earliest_possible: self.detected_at,
            ended_at: self.ended_at,
            wasted_tokens: span.saturating_sub(self.period),
            fragment_tokens: fragment(self.onset, self.period.min(FRAGMENT_TOKENS)),
            onset_byte: Some(self.onset_byte),
            context: None,
            requested: Requested::Unknown,
        }
    }
}

/// The sightings of three detectors: the one that goes on, and the first that ended.
#[derive(Clone, Debug, Default)]
pub(super) struct Sightings {
    running: [Option<Sighting>; 3],
    ended: Option<Sighting>,
}

impl Sightings {
    fn slot(kind: LoopKind) -> usize {
        match kind {
            LoopKind::NearDuplicate => 1,
            LoopKind::LowNovelty => 2,
            _ => 0,
        }
    }

    /// Whether the detector of this kind sees something.
    pub(super) fn has(&self, kind: LoopKind) -> bool {
        self.running[Self::slot(kind)].is_some()
    }

    /// Notes a sighting unless its detector has one already. It is no news while an exact loop
    /// goes on (`quiet`), which explains it better.
    pub(super) fn begin(&mut self, sighting: Sighting, quiet: bool) -> Option<Change> {
        let slot = &mut self.running[Self::slot(sighting.kind)];
        if slot.is_some() {
            return None;
        }
        *slot = Some(sighting);
        (!quiet).then(|| sighting.change(LoopState::Suspected, sighting.detected_at))
    }

    /// Notes that a detector sees nothing any more.
    pub(super) fn end(&mut self, kind: LoopKind, at: usize, quiet: bool) -> Option<Change> {
        let mut over = self.running[Self::slot(kind)].take()?;
        over.ended_at = Some(at);
        if self
            .ended
            .is_none_or(|ended| over.detected_at < ended.detected_at)
        {
            self.ended = Some(over);
        }
        (!quiet).then(|| over.change(LoopState::Ended, at))
    }

    /// The period of what goes on in the folded text.
    pub(super) fn folded_period(&self) -> Option<usize> {
        self.running[0]?.folded
    }

    /// The first that goes on, else the first that ended.
    pub(super) fn first(&self) -> Option<&Sighting> {
        let running = self.running.iter().flatten();
        running
            .min_by_key(|sighting| sighting.detected_at)
            .or(self.ended.as_ref())
    }
}
