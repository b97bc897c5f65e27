//! How much of an output a snapshot fixes, and whether a difference is within that.
//!
//! Knows divergences. How outputs are compared, and where snapshots are kept, is not its business.

use super::spec::{AssertionSpec, SpecError};
use crate::generation::Conversation;
use crate::snapshot::{Divergence, Redactions};

/// What of the output has to be as reviewed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SnapshotMatch {
    /// Every token id.
    Tokens,
    /// So many token ids from the beginning of the conversation.
    Prefix(usize),
    /// The text only.
    Text,
    /// The text, where any white space is as good as one blank.
    Normalised,
}

/// The rule of a `snapshot`.
#[derive(Debug, Clone, PartialEq)]
pub struct SnapshotRule {
    /// What is compared.
    pub matching: SnapshotMatch,
    /// A first different token that won by less than this, in logits, is a tie that rounding
    /// decided, and what follows it is no news.
    pub tie_margin: Option<f64>,
    /// What of the text is not compared.
    pub redactions: Redactions,
}

impl SnapshotRule {
    /// Reads the parameters of a `snapshot`.
    pub(super) fn of(spec: &AssertionSpec) -> Result<Self, SpecError> {
        let matching = match (spec.matching.as_deref(), spec.tokens) {
            (Some("prefix"), Some(1..)) => SnapshotMatch::Prefix(spec.tokens.unwrap_or(1)),
            (Some("prefix"), _) => {
                return Err(spec.problem("match 'prefix' needs 'tokens', how many, at least 1"));
            }
            (_, Some(_)) => return Err(spec.problem("'tokens' belongs to match 'prefix'")),
            (None | Some("tokens"), None) => SnapshotMatch::Tokens,
            (Some("text"), None) => SnapshotMatch::Text,
            (Some("normalised"), None) => SnapshotMatch::Normalised,
            (Some(other), None) => {
                return Err(spec.problem(format!(
                    "match is '{other}', but must be 'tokens', 'prefix', 'text' or 'normalised'"
                )));
            }
        };
        let rule = Self {
            matching,
            tie_margin: spec.tie_margin,
            redactions: Redactions::new(&spec.redact)
                .map_err(|problem| spec.problem(format!("redact: {problem}")))?,
        };
        if rule.needs_ids() && !rule.redactions.is_empty() {
            return Err(spec.problem(
                "'redact' leaves no token ids to compare; write {type: snapshot, match: text}, or \
                 match: normalised",
            ));
        }
        match spec.tie_margin {
            Some(_) if !rule.needs_ids() => {
                Err(spec.problem("'tie_margin' is for tokens; text has no margins"))
            }
            Some(margin) if !(margin > 0.0 && margin <= 1.0) => Err(spec.problem(format!(
                "tie_margin is {margin}, but must be above 0 and at most 1 logit"
            ))),
            _ => Ok(rule),
        }
    }

    /// Whether token ids have to be known.
    #[must_use]
    pub fn needs_ids(&self) -> bool {
        matches!(
            self.matching,
            SnapshotMatch::Tokens | SnapshotMatch::Prefix(_)
        )
    }

    /// Whether the token ids of all generations are known, and not left out with what is redacted.
    pub(super) fn compares_ids(&self, actual: &Conversation) -> bool {
        let mut exchanges = actual.exchanges.iter();
        self.redactions.is_empty() && exchanges.all(|one| one.transcript.has_token_ids())
    }

    /// Whether a difference is within what the rule leaves open.
    pub(super) fn allows(&self, divergence: &Divergence, actual: &Conversation) -> bool {
        match self.matching {
            SnapshotMatch::Text => divergence.text.is_none(),
            SnapshotMatch::Normalised => divergence.text.is_none() || divergence.only_white_space,
            SnapshotMatch::Tokens => self.is_tie(divergence),
            SnapshotMatch::Prefix(tokens) => {
                let same = tokens_before(divergence, actual);
                same.is_some_and(|same| same >= tokens) || self.is_tie(divergence)
            }
        }
    }

    /// Whether rounding decided the first different token. What was asked differently is no tie.
    fn is_tie(&self, divergence: &Divergence) -> bool {
        let margin = divergence.tokens.as_ref().and_then(|token| token.margin);
        let tie = self.tie_margin.zip(margin);
        divergence.changed_inputs.is_empty()
            && tie.is_some_and(|(most, margin)| f64::from(margin) < most)
    }
}

/// Tokens of the whole conversation before the first different one.
fn tokens_before(divergence: &Divergence, actual: &Conversation) -> Option<usize> {
    let token = divergence.tokens.as_ref()?;
    let earlier = actual.exchanges.iter().take(token.exchange);
    let earlier: usize = earlier
        .map(|exchange| exchange.transcript.tokens.len())
        .sum();
    Some(earlier + token.token_index)
}
