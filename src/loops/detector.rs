//! Exact detection of tandem repeats, one token at a time, in memory fixed by the longest period.
//!
//! Periods are searched for in ranges, one level for each. A level whose longest period is *k*
//! remembers at some positions where the block of the newest *k* tokens ended, and looks the newest
//! block up at others. When it stood at lag *d* ≤ *k* before, the text is repeating with period *d*.
//! Its first token is then found backwards, and from there on it takes one comparison per token to
//! see whether it still repeats.
//!
//! Why that misses nothing: let *p* be the primitive period of a repetition and *k* ≥ *p* the block
//! of its level. Once the repetition is *p* + *k* long, its last *k* tokens also stand at lag *p*.
//! Had they stood at another lag *d* ≤ *k* too, *k* + min(*p*, *d*) ≥ *p* + *d* tokens would have
//! the periods *p* and *d*, hence their greatest common divisor (Fine and Wilf, 1965): *d* is a
//! multiple of *p*, and dividing it as long as the text allows gives *p*. A rule that asks for three
//! copies or more leaves several positions between the length *p* + *k* and its own, and among them
//! is always one at which the block is looked up while the one a period before it was remembered
//! (`plan`). So the rule is met at the very token that completes it. Two repetitions overlap by less
//! than the sum of their periods, so while a level follows one, a second one cannot be *p* + *k*
//! long yet; a level follows at most one period at a time and need not search while it does.
//!
//! The cost is a few hashes and look-ups per token, and their tables fit the nearest cache. Tracing
//! a repetition back takes as many steps as it is long, but long ones of similar period cannot start
//! often, so the average stays; one token never costs more than O(P).

use super::context::Context;
use super::history::{History, Mark, Place};
use super::level::Level;
use super::plan::{MAX_STRIDE, deadline, plans};
use super::run::Run;
use super::thresholds::Thresholds;
use super::verdict::{Change, LoopKind, LoopState, LoopVerdict};

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
    /// For each of the next positions, one bit for each level that searches there.
    searching: [u64; MAX_STRIDE],
    /// One bit for each level that follows a run.
    following: u64,
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
        let plans = plans(&thresholds);
        let kept = (1..=thresholds.max_period()).map(|period| deadline(&thresholds, period));
        let mut searching = [0; MAX_STRIDE];
        searching[0] = u64::MAX >> (64 - plans.len());
        Self {
            context: None,
            history: History::new(thresholds.max_period(), kept.max().unwrap_or(1)),
            levels: plans.into_iter().map(Level::new).collect(),
            searching,
            following: 0,
            thresholds,
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

    /// Notes that such a piece was finished by the tokens read.
    pub(super) fn note(&mut self, mark: Mark) {
        self.history.note(mark);
    }

    /// Whether a word was finished after token `token` was read; the token modulo 2³².
    pub(super) fn has_word_since(&self, token: u32) -> bool {
        let since = (self.history.len() as u32).wrapping_sub(token) as usize;
        self.history
            .has_since(Mark::Word, self.history.len() - since)
    }

    /// Reads one token that stands at `place`.
    pub(super) fn push_at(&mut self, token: u32, place: Place) -> Option<Change> {
        let slot = self.history.len() % MAX_STRIDE;
        self.history.push(token, place, self.context);
        let mut told = None;
        for index in bits(self.following) {
            self.follow(index, &mut told);
        }
        for index in bits(std::mem::take(&mut self.searching[slot])) {
            self.search(index, &mut told);
        }
        told
    }

    /// Follows the run of one level by the newest token.
    fn follow(&mut self, index: usize, told: &mut Option<Change>) {
        let level = &mut self.levels[index];
        let Some(run) = &mut level.run else {
            return;
        };
        if self.history.repeats_at(run.period) {
            run.span += 1;
            if let Some(state) = run.cross(&self.history) {
                let run = run.clone();
                self.tell(state, &run, told);
            }
            return;
        }
        self.following &= !(1 << index);
        let broken = level.run.take();
        let at = self.history.len() - 1;
        if let Some((state, run)) = broken.and_then(|run| run.broken(at)) {
            self.tell(state, &run, told);
        }
    }

    /// Lets one level search at the newest token.
    fn search(&mut self, index: usize, told: &mut Option<Change>) {
        let at = self.history.len() - 1;
        let bit = 1 << index;
        let shorter = self.following & (bit - 1);
        let (below, level) = self.levels.split_at_mut(index);
        let level = &mut level[0];
        let wait = level.search(&self.history, &self.thresholds, |level| {
            bits(shorter).any(|index| {
                let run = below[index].run.as_ref();
                run.is_some_and(|run| level.is_covered_by(run))
            })
        });
        self.searching[(at + wait) % MAX_STRIDE] |= bit;
        let Some(run) = &mut level.run else {
            self.following &= !bit;
            return;
        };
        self.following |= bit;
        if let Some(state) = run.cross(&self.history) {
            let run = run.clone();
            self.tell(state, &run, told);
        }
    }

    /// Says that the generation was cut off after the newest token, and whether that changed
    /// anything: what is suspected and still repeats is confirmed then. Nothing may be pushed
    /// afterwards.
    pub fn cut_off(&mut self) -> Option<Change> {
        let at = self.history.len().checked_sub(1)?;
        let mut told = None;
        for index in bits(self.following) {
            let run = self.levels[index].run.as_mut();
            if let Some(run) = run.filter(|run| run.state().is_some())
                && run.cut_off(at)
            {
                let run = run.clone();
                self.tell(LoopState::Confirmed, &run, &mut told);
            }
        }
        told
    }

    fn tell(&mut self, state: LoopState, run: &Run, told: &mut Option<Change>) {
        let at = self.history.len() - 1;
        let change = Change {
            kind: LoopKind::Exact,
            state,
            period: run.period,
            onset: run.onset,
            at,
        };
        let rank = |change: Change| (change.urgency(), std::cmp::Reverse(change.period));
        if told.is_none_or(|earlier| rank(change) > rank(earlier)) {
            *told = Some(change);
        }
        match state {
            LoopState::Confirmed => self.last_confirmed_at = Some(at),
            LoopState::Recovered => keep_first(&mut self.recovered, run.verdict(state)),
            LoopState::Ended => keep_first(&mut self.ended, run.verdict(state)),
            LoopState::Suspected | LoopState::Relapsed => {}
        }
    }

    /// How many tokens were read.
    #[must_use]
    pub fn tokens(&self) -> usize {
        self.history.len()
    }

    /// The repetition of `period` that goes on at the newest token: the place of its first token,
    /// and its length so far.
    pub(super) fn running(&self, period: usize) -> Option<(Place, usize)> {
        let mut levels = self.levels.iter();
        let run = levels
            .find(|level| level.has_period(period))?
            .run
            .as_ref()?;
        (run.period == period).then_some((run.place, run.span))
    }

    /// Whether a repetition that was suspected or confirmed goes on at the newest token.
    pub(super) fn is_alarmed(&self) -> bool {
        let mut runs = self.levels.iter().filter_map(|level| level.run.as_ref());
        self.following != 0 && runs.any(|run| run.state().is_some())
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
        let levels = self.levels.iter().map(Level::memory_bytes);
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

/// The numbers of the bits that are set, lowest first.
fn bits(mut word: u64) -> impl Iterator<Item = usize> {
    std::iter::from_fn(move || {
        let lowest = (word != 0).then(|| word.trailing_zeros() as usize)?;
        word &= word - 1;
        Some(lowest)
    })
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
