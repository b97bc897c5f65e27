//! What to do about a loop, apart from finding it.
//!
//! A detector gives evidence. Whether a generation should be stopped for it is another question:
//! between one in ten and one in two looping generations end by themselves, and some of those are
//! right. So the default is to observe, and [`Shadow`] counts what stopping would have saved and
//! what it would have cost, without stopping anything.

use super::verdict::{LoopState, LoopVerdict};

/// What to do about a confirmed loop.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Policy {
    /// Nothing; the verdict is evidence.
    #[default]
    Observe,
    /// Say so beside the text.
    Annotate,
    /// End the generation once the loop has gone on for this many tokens after it was confirmed.
    Stop {
        /// Tokens a loop has to end by itself.
        grace: usize,
    },
}

/// What a policy wants now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Action {
    /// Go on.
    Continue,
    /// Go on, and tell the reader.
    Annotate,
    /// End the generation.
    Stop {
        /// Tokens worth keeping: all before the loop, and its first copy.
        keep: usize,
    },
}

impl Policy {
    /// What to do after `tokens` tokens, given what is known. Only a confirmed loop that still goes
    /// on and that nobody asked for is ever acted upon.
    #[must_use]
    pub fn decide(self, verdict: &LoopVerdict, tokens: usize) -> Action {
        let goes_on = verdict.state == LoopState::Confirmed;
        if !goes_on || verdict.requested.covers(verdict.copies()) {
            return Action::Continue;
        }
        match self {
            Self::Observe => Action::Continue,
            Self::Annotate => Action::Annotate,
            Self::Stop { grace } if tokens > verdict.detected_at + grace => Action::Stop {
                keep: verdict.onset + verdict.period,
            },
            Self::Stop { .. } => Action::Continue,
        }
    }
}

/// What a policy of stopping would have done to finished generations.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Shadow {
    /// Generations seen.
    pub generations: usize,
    /// Generations that would have been stopped.
    pub stopped: usize,
    /// Tokens that would not have been generated.
    pub tokens_saved: usize,
    /// Generations that would have been stopped though they went on to end by themselves.
    pub answers_lost: usize,
}

impl Shadow {
    /// Counts one finished generation of `tokens` tokens; `ended_itself` says whether the model
    /// ended it.
    pub fn count(
        &mut self,
        verdict: Option<&LoopVerdict>,
        grace: usize,
        tokens: usize,
        ended_itself: bool,
    ) {
        self.generations += 1;
        let Some(verdict) = verdict.filter(|verdict| verdict.state.is_confirmed()) else {
            return;
        };
        let stop = verdict.detected_at + grace + 1;
        let over = verdict.ended_at.unwrap_or(tokens);
        if stop > over || verdict.requested.covers(verdict.copies()) {
            return;
        }
        self.stopped += 1;
        self.tokens_saved += tokens.saturating_sub(stop);
        self.answers_lost += usize::from(ended_itself);
    }
}

#[cfg(test)]
mod tests {
    use super::super::{Requested, Thresholds, detect};
    use super::*;

    fn looping(copies: usize, after: usize) -> LoopVerdict {
        let block: Vec<u32> = (0..20).collect();
        let mut tokens = block.repeat(copies);
        tokens.extend(1_000..1_000 + after as u32);
        detect(&tokens, &Thresholds::default()).unwrap_or_else(|| panic!("no loop"))
    }

    #[test]
    fn a_stop_waits_for_its_grace_and_keeps_one_copy() {
        let verdict = looping(30, 0);
        let confirmed = verdict.detected_at;
        let stop = Policy::Stop { grace: 100 };
        assert_eq!(stop.decide(&verdict, confirmed + 100), Action::Continue);
        assert_eq!(
            stop.decide(&verdict, confirmed + 101),
            Action::Stop { keep: 20 }
        );
        assert_eq!(Policy::Observe.decide(&verdict, 10_000), Action::Continue);
        assert_eq!(Policy::Annotate.decide(&verdict, 600), Action::Annotate);
    }

    #[test]
    fn neither_a_recovered_nor_a_requested_loop_is_stopped() {
        let stop = Policy::Stop { grace: 0 };
        assert_eq!(stop.decide(&looping(30, 50), 650), Action::Continue);
        let asked = LoopVerdict {
            requested: Requested::Counted(30),
            ..looping(30, 0)
        };
        assert_eq!(stop.decide(&asked, 600), Action::Continue);
        let too_much = LoopVerdict {
            requested: Requested::Counted(14),
            ..looping(30, 0)
        };
        assert_ne!(stop.decide(&too_much, 600), Action::Continue);
    }

    #[test]
    fn a_shadow_counts_what_was_saved_and_what_was_lost() {
        let mut shadow = Shadow::default();
        shadow.count(Some(&looping(30, 0)), 50, 600, false);
        shadow.count(Some(&looping(30, 40)), 50, 640, true);
        // Over before the grace was.
        shadow.count(Some(&looping(15, 40)), 200, 340, true);
        shadow.count(None, 50, 100, true);
        let confirmed = looping(30, 0).detected_at;
        assert_eq!(
            (shadow.generations, shadow.stopped, shadow.answers_lost),
            (4, 2, 1)
        );
        assert_eq!(
            shadow.tokens_saved,
            (600 - confirmed - 51) + (640 - confirmed - 51)
        );
    }
}
