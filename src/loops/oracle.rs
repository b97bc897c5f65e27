//! The slow and obvious detector the fast one is tested against: one counter per lag.
//!
//! It knows nothing of hashes or levels. After each token, `run[p]` is the number of newest tokens
//! that equal the one `p` places before them.

use super::{Change, LoopKind, LoopState, Thresholds};

/// Every change that a detector with these thresholds must report, in order.
pub(super) fn changes(tokens: &[u32], thresholds: &Thresholds) -> Vec<Change> {
    let mut run = vec![0_usize; thresholds.max_period() + 1];
    let mut alarms = vec![None; run.len()];
    let mut changes = Vec::new();
    for (at, &token) in tokens.iter().enumerate() {
        let mut told = Vec::new();
        for period in 1..run.len() {
            if at >= period && tokens[at - period] == token {
                run[period] += 1;
                continue;
            }
            if let Some((onset, state)) = alarms[period].take() {
                let state = if state == LoopState::Confirmed {
                    LoopState::Recovered
                } else {
                    LoopState::Ended
                };
                told.push(Change {
                    kind: LoopKind::Exact,
                    state,
                    period,
                    onset,
                    at,
                });
            }
            run[period] = 0;
        }
        for period in 1..run.len() {
            let span = run[period] + period;
            let reached = |limit: Option<usize>| limit.is_some_and(|limit| span >= limit);
            let state = if reached(thresholds.confirmed_span(period)) {
                LoopState::Confirmed
            } else if reached(thresholds.suspected_span(period)) {
                LoopState::Suspected
            } else {
                continue;
            };
            let onset = at + 1 - span;
            if is_primitive(&tokens[onset..onset + period])
                && alarms[period] != Some((onset, state))
            {
                alarms[period] = Some((onset, state));
                told.push(Change {
                    kind: LoopKind::Exact,
                    state,
                    period,
                    onset,
                    at,
                });
            }
        }
        let rank = |change: &Change| match change.state {
            LoopState::Confirmed => 0,
            LoopState::Suspected => 1,
            LoopState::Recovered => 2,
            LoopState::Ended | LoopState::Relapsed => 3,
        };
        changes.extend(
            told.into_iter()
                .min_by_key(|change| (rank(change), change.period)),
        );
    }
    changes
}

/// Whether a block is not a repetition of a shorter one, by trying every divisor.
fn is_primitive(block: &[u32]) -> bool {
    (1..block.len())
        .filter(|divisor| block.len().is_multiple_of(*divisor))
        .all(|divisor| {
            block
                .iter()
                .zip(&block[divisor..])
                .any(|(one, other)| one != other)
        })
}
