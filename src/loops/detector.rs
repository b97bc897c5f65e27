//! Exact detection of tandem repeats, one token at a time, in memory fixed by the longest period.
//!
//! For each power of two *k* up to the longest period, a level remembers where every block of *k*
//! tokens ended during the last *k* positions. When the newest *k* tokens stood there before, at
//! lag *d* ≤ *k*, the text is repeating with period *d*, and from then on it takes one comparison
//! per token to see whether it still does.
//!
//! Why that misses nothing: let *p* be the primitive period of a repetition and *k* the power of
//! two with *p* ≤ *k* < 2*p*. Once the repetition is *p* + *k* long, its last *k* tokens also
//! stand at lag *p*. Had they stood at a smaller lag *d* too, the last *k* + *d* ≥ *p* + *d* tokens
//! would have the periods *p* and *d*, hence their greatest common divisor (Fine and Wilf, 1965),
//! and *p* would not be primitive. So the nearest earlier place is exactly *p*, at a length below
//! 3*p*, and a rule that asks for three copies or more is met at the very token that completes
//! them. For the same reason a level follows at most one period at a time and need not search
//! while it does, and what it finds is always primitive.
//!
//! The cost is one hash and one look-up per level and token, O(log P). Comparing a block when a
//! repetition is first seen takes *k* steps, but repetitions of similar period that long cannot
//! start often, so the average stays; one token never costs more than O(P).

use super::context::Context;
use super::history::{History, Place, weight};
use super::last_seen::LastSeen;
use super::requested::Requested;
use super::thresholds::Thresholds;
use super::verdict::{Change, FRAGMENT_TOKENS, LoopKind, LoopState, LoopVerdict};

/// Watches one sequence of tokens for loops.
///
/// Use one detector per channel: reasoning, answer and tool arguments are separate sequences.
#[derive(Clone, Debug)]
pub struct LoopDetector {
    thresholds: Thresholds,
    /// What the tokens are part of, where that is known.
    context: Option<Context>,
    history: History,
    levels: Vec<Level>,
    /// The earliest confirmed loop among those that are over.
    recovered: Option<LoopVerdict>,
    /// The earliest suspected loop among those that ended unconfirmed.
    ended: Option<LoopVerdict>,
    /// When a loop was last confirmed.
    last_confirmed_at: Option<usize>,
}

impl LoopDetector {
    /// A detector that has read nothing. All memory it will ever hold, fragments of found loops
    /// aside, is allocated here and depends only on the longest period of the thresholds.
    #[must_use]
    pub fn new(thresholds: Thresholds) -> Self {
        let reach = thresholds.max_period().next_power_of_two();
        let levels = (0..=reach.trailing_zeros())
            .map(|exponent| Level::new(1 << exponent))
            .collect();
        Self {
            thresholds,
            context: None,
            history: History::new(reach),
            levels,
            recovered: None,
            ended: None,
            last_confirmed_at: None,
        }
    }

    /// Says what the tokens that follow are part of. A repetition that begins in a table or in data
    /// has to be longer before it counts; see [`Thresholds::spans_in`].
    pub fn set_context(&mut self, context: Context) {
        self.context = Some(context);
    }

    /// Reads one token and says whether that changed anything.
    ///
    /// When one token changes more than one loop, the most urgent change is returned: confirmed,
    /// suspected, recovered, ended, and the shorter period first. [`verdict`](Self::verdict)
    /// misses none.
    pub fn push(&mut self, token: u32) -> Option<Change> {
        self.push_at(token, Place::default())
    }

    /// Reads one token that stands at `place`.
    pub(super) fn push_at(&mut self, token: u32, place: Place) -> Option<Change> {
        self.history.push(token, place);
        let at = self.history.len() - 1;
        let mut told: Option<Change> = None;
        for index in 0..self.levels.len() {
            let level = &mut self.levels[index];
            if level.length > self.history.len() {
                break;
            }
            let Some((state, run)) = level.advance(&self.history, &self.thresholds, self.context)
            else {
                continue;
            };
            let change = Change {
                kind: LoopKind::Exact,
                state,
                period: run.period,
                onset: run.onset,
                at,
            };
            if told.is_none_or(|earlier| change.urgency() > earlier.urgency()) {
                told = Some(change);
            }
            match state {
                LoopState::Confirmed => self.last_confirmed_at = Some(at),
                LoopState::Recovered => keep_first(&mut self.recovered, run.verdict(state)),
                LoopState::Ended => keep_first(&mut self.ended, run.verdict(state)),
                LoopState::Suspected | LoopState::Relapsed => {}
            }
        }
        told
    }

    /// How many tokens were read.
    #[must_use]
    pub fn tokens(&self) -> usize {
        self.history.len()
    }

    /// The repetition of `period` that goes on at the newest token: the place of its first token,
    /// and its length so far.
    pub(super) fn running(&self, period: usize) -> Option<(Place, usize)> {
        let level = period.next_power_of_two().trailing_zeros() as usize;
        let run = self.levels.get(level)?.run.as_ref()?;
        (run.period == period).then_some((run.place, run.span))
    }

    /// Whether a repetition that was suspected or confirmed goes on at the newest token.
    pub(super) fn is_alarmed(&self) -> bool {
        let mut runs = self.levels.iter().filter_map(|level| level.run.as_ref());
        runs.any(|run| run.alarm.is_some())
    }

    /// The tokens from `onset`, at most `length`, as far as they are still kept.
    pub(super) fn kept_from(&self, onset: usize, length: usize) -> Vec<u32> {
        let back = (self.history.len() - onset).min(self.history.kept());
        let length = length.min(back);
        (0..length)
            .map(|offset| self.history.back(back - 1 - offset))
            .collect()
    }

    /// What is known so far: the first confirmed loop; else the first suspected one that still
    /// repeats; else the first suspected one that ended.
    #[must_use]
    pub fn verdict(&self) -> Option<LoopVerdict> {
        let mut confirmed = self.recovered.clone();
        let mut suspected = None;
        for run in self.levels.iter().filter_map(|level| level.run.as_ref()) {
            match run.state() {
                Some(LoopState::Confirmed) => {
                    keep_first(&mut confirmed, run.verdict(LoopState::Confirmed));
                }
                Some(state) => keep_first(&mut suspected, run.verdict(state)),
                None => {}
            }
        }
        // Two loops overlap by less than the sum of their periods, so a loop confirmed after the
        // first one was, and before it ended, would show in an earlier copy and come first itself.
        // What was confirmed since the end is all there can be.
        if let Some(first) = &mut confirmed
            && let (Some(ended_at), Some(last)) = (first.ended_at, self.last_confirmed_at)
            && last >= ended_at
        {
            first.state = LoopState::Relapsed;
        }
        confirmed.or(suspected).or_else(|| self.ended.clone())
    }

    /// The size of the state in bytes, fragments of found loops aside. It does not grow.
    #[must_use]
    pub fn memory_bytes(&self) -> usize {
        let levels = self
            .levels
            .iter()
            .map(|level| size_of::<Level>() + level.seen.memory_bytes());
        size_of::<Self>() + self.history.memory_bytes() + levels.sum::<usize>()
    }
}

/// The verdict of a [`LoopDetector`] on a whole sequence.
#[must_use]
pub fn detect(tokens: &[u32], thresholds: &Thresholds) -> Option<LoopVerdict> {
    let mut detector = LoopDetector::new(thresholds.clone());
    for &token in tokens {
        detector.push(token);
    }
    detector.verdict()
}

/// Keeps the loop that was detected first; of two at one token, the one already kept.
fn keep_first(kept: &mut Option<LoopVerdict>, found: Option<LoopVerdict>) {
    let Some(found) = found else { return };
    if kept
        .as_ref()
        .is_none_or(|kept| found.detected_at < kept.detected_at)
    {
        *kept = Some(found);
    }
}

/// Finds and follows repetitions whose period is above half of `length` and at most `length`.
#[derive(Clone, Debug)]
struct Level {
    /// The length of the blocks looked up, a power of two.
    length: usize,
    weight: u64,
    seen: LastSeen,
    run: Option<Run>,
}

impl Level {
    fn new(length: usize) -> Self {
        Self {
            length,
            weight: weight(length),
            seen: LastSeen::new(length),
            run: None,
        }
    }

    /// Takes the newest token into account. Returns the run that just crossed a threshold or
    /// broke, with its new state; a run that breaks unsuspected is nobody's business.
    fn advance(
        &mut self,
        history: &History,
        thresholds: &Thresholds,
        context: Option<Context>,
    ) -> Option<(LoopState, Run)> {
        let mut broken = None;
        match &mut self.run {
            Some(run) if history.repeats_at(run.period) => run.span += 1,
            run => broken = run.take(),
        }
        let hash = history.block_hash(self.length, self.weight);
        if self.run.is_none() {
            let lag = self
                .seen
                .find(hash, |lag| history.block_repeats_at(lag, self.length));
            self.run = lag.map(|lag| self.start(lag, history, thresholds, context));
        }
        self.seen.record(hash);
        if let Some(run) = broken {
            return run.broken(history.len() - 1);
        }
        let run = self.run.as_mut()?;
        run.cross(history).map(|state| (state, run.clone()))
    }

    /// The run that shows in the newest block and the same block `lag` tokens before.
    fn start(
        &self,
        lag: usize,
        history: &History,
        thresholds: &Thresholds,
        context: Option<Context>,
    ) -> Run {
        let span = self.length + lag;
        // A period of at most half the block has a level of its own, which saw it first. Following
        // it here as well keeps this level from searching in vain.
        let own = lag * 2 > self.length;
        let (suspected_span, confirmed_span) = thresholds
            .spans_in(lag, context)
            .filter(|_| own)
            .unwrap_or((usize::MAX, usize::MAX));
        Run {
            period: lag,
            onset: history.len() - span,
            place: history.place_back(span - 1),
            span,
            suspected_span,
            confirmed_span,
            context,
            alarm: None,
        }
    }
}

/// One repetition, from its first copy to the newest token.
#[derive(Clone, Debug)]
struct Run {
    period: usize,
    onset: usize,
    place: Place,
    span: usize,
    suspected_span: usize,
    confirmed_span: usize,
    context: Option<Context>,
    alarm: Option<Box<Alarm>>,
}

/// What is kept about a run that was suspected.
#[derive(Clone, Debug)]
struct Alarm {
    suspected_at: usize,
    confirmed_at: Option<usize>,
    ended_at: Option<usize>,
    fragment_tokens: Vec<u32>,
}

impl Run {
    /// The tier that the newest token completes, if any.
    fn cross(&mut self, history: &History) -> Option<LoopState> {
        if self.span < self.suspected_span {
            return None;
        }
        let at = history.len() - 1;
        let mut crossed = None;
        if self.alarm.is_none() {
            let fragment_tokens = self.first_copy(history);
            self.alarm = Some(Box::new(Alarm {
                suspected_at: at,
                confirmed_at: None,
                ended_at: None,
                fragment_tokens,
            }));
            crossed = Some(LoopState::Suspected);
        }
        if self.span >= self.confirmed_span
            && let Some(alarm) = &mut self.alarm
            && alarm.confirmed_at.is_none()
        {
            alarm.confirmed_at = Some(at);
            crossed = Some(LoopState::Confirmed);
        }
        crossed
    }

    /// The run closed by token `at`, if it was ever suspected.
    fn broken(mut self, at: usize) -> Option<(LoopState, Self)> {
        self.alarm.as_mut()?.ended_at = Some(at);
        let state = if self.confirmed_at().is_some() {
            LoopState::Recovered
        } else {
            LoopState::Ended
        };
        Some((state, self))
    }

    fn confirmed_at(&self) -> Option<usize> {
        self.alarm.as_ref()?.confirmed_at
    }

    fn state(&self) -> Option<LoopState> {
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

    fn verdict(&self, state: LoopState) -> Option<LoopVerdict> {
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
