//! Takes tokens back: for speculative decoding, which drafts tokens and then rejects some.

use super::verdict::{Change, LoopVerdict};
use super::watch::Watch;

/// A watch that reads drafts at once and can be told later how many of them hold.
///
/// Two watches are kept: one has read what is certain, the other the draft as well. Rejecting
/// costs one copy of a watch's state, without an allocation; accepting everything costs nothing
/// but reading the draft twice.
#[derive(Clone, Debug)]
pub struct Rewind {
    certain: Watch,
    drafted: Watch,
    draft: Vec<(u32, String)>,
}

impl Rewind {
    /// Around a watch, with what it has read as certain.
    #[must_use]
    pub fn new(watch: Watch) -> Self {
        Self {
            drafted: watch.clone(),
            certain: watch,
            draft: Vec::new(),
        }
    }

    /// Reads a drafted token.
    pub fn draft(&mut self, id: u32, text: &str) -> Option<Change> {
        self.draft.push((id, text.to_owned()));
        self.drafted.push_token(id, text)
    }

    /// Keeps the first `accepted` tokens of the draft and forgets the others.
    pub fn accept(&mut self, accepted: usize) {
        let rejected = accepted < self.draft.len();
        for (id, text) in self.draft.drain(..).take(accepted) {
            self.certain.push_token(id, &text);
        }
        if rejected {
            self.drafted.clone_from(&self.certain);
        }
    }

    /// What is known, the draft included.
    #[must_use]
    pub fn verdict(&self) -> Option<LoopVerdict> {
        self.drafted.verdict()
    }
}

#[cfg(test)]
mod tests {
    use super::super::Settings;
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(24))]

        /// A rejected draft leaves no trace.
        #[test]
        fn what_was_rejected_was_never_read(
            rounds in prop::collection::vec((1..9_usize, 0..9_usize, 0..40_u32), 1..120),
        ) {
            let mut rewind = Rewind::new(Watch::new(Settings::default()));
            let mut plain = Watch::new(Settings::default());
            for (drafted, accepted, noise) in rounds {
                for index in 0..drafted {
                    // Right tokens first, then wrong ones.
                    let wrong = index >= accepted;
                    let id = if wrong { 500 + noise } else { index as u32 };
                    let text = format!("word{id} ");
                    rewind.draft(id, &text);
                    if !wrong {
                        plain.push_token(id, &text);
                    }
                }
                rewind.accept(accepted);
                prop_assert_eq!(rewind.verdict(), plain.verdict());
            }
        }
    }
}
