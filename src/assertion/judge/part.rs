//! What an assertion looks at: the whole conversation, or one turn of it with its loops.

use std::borrow::Cow;

use super::Evidence;
use crate::assertion::{LoopEvidence, Rerun};
use crate::generation::Conversation;
use crate::snapshot::Comparison;

/// A conversation or a part of it. Generations keep the numbers they have in the whole.
pub(super) struct Part<'a> {
    pub(super) conversation: Cow<'a, Conversation>,
    /// Generations before it.
    pub(super) before: usize,
    pub(super) loops: &'a [LoopEvidence],
    pub(super) snapshot: Option<&'a Comparison>,
    /// The same part of what was said when the conversation was held once more.
    pub(super) reruns: Cow<'a, [Rerun]>,
}

impl<'a> Part<'a> {
    /// The conversation, or one turn of it. Nothing if that turn was not reached: there is nothing
    /// to judge then, neither for an assertion nor for its negation.
    pub(super) fn of(
        turn: Option<usize>,
        evidence: &Evidence<'a>,
        loops: &'a [LoopEvidence],
    ) -> Option<Self> {
        let whole = evidence.conversation;
        let Some(turn) = turn else {
            return Some(Self {
                conversation: Cow::Borrowed(whole),
                before: 0,
                loops,
                snapshot: evidence.snapshot,
                reruns: Cow::Borrowed(evidence.reruns),
            });
        };
        let range = whole.turn(turn)?;
        // Loops stand in the order of the generations.
        let first = loops.partition_point(|one| one.exchange < range.start);
        let end = loops.partition_point(|one| one.exchange < range.end);
        Some(Self {
            conversation: Cow::Owned(Conversation {
                exchanges: whole.exchanges.get(range.clone())?.to_vec(),
            }),
            before: range.start,
            loops: loops.get(first..end).unwrap_or_default(),
            snapshot: None,
            reruns: evidence
                .reruns
                .iter()
                .map(|one| turn_of(one, turn))
                .collect(),
        })
    }
}

/// One turn of a rerun; nothing was said in it if it did not come to that.
fn turn_of(rerun: &Rerun, turn: usize) -> Rerun {
    let exchanges = rerun.conversation.turn(turn);
    let exchanges = exchanges.and_then(|range| rerun.conversation.exchanges.get(range));
    Rerun {
        conversation: Conversation {
            exchanges: exchanges.unwrap_or_default().to_vec(),
        },
        ..*rerun
    }
}
