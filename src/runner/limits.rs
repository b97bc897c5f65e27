//! The limits of a scenario while a generation goes on: time, pauses, tokens.
//!
//! Sees events come. What becomes of a conversation that is cut short is not its business.

use std::time::Duration;

use tokio::time::Instant;
use tokio::time::error::Elapsed;

use crate::generation::{Event, EventKind};
use crate::plan::Limits;
use crate::target::TargetError;

/// What came next, or that nothing came in time.
pub(super) type Next = Result<Option<Result<Event, TargetError>>, Elapsed>;

/// The limits of one generation.
pub(super) struct LimitWatch<'a> {
    limits: &'a Limits,
    started: Instant,
    /// That of the whole conversation.
    deadline: Instant,
    /// When the last text came, since the start.
    last: Option<Duration>,
}

impl<'a> LimitWatch<'a> {
    pub(super) fn new(limits: &'a Limits, started: Instant, deadline: Instant) -> Self {
        Self {
            limits,
            started,
            deadline,
            last: None,
        }
    }

    /// How long the next event may be waited for.
    pub(super) fn until(&self) -> Instant {
        match (self.last, self.limits.stall_limit) {
            (Some(last), Some(limit)) => self.deadline.min(self.started + last + limit),
            _ => self.deadline,
        }
    }

    /// What to say if a limit is broken by what came next, where the conversation has made so many
    /// tokens before it.
    pub(super) fn broken(&mut self, next: &Next, tokens: usize) -> Option<String> {
        let Limits {
            time_limit,
            token_limit,
            stall_limit,
            ..
        } = self.limits;
        // A reader that was held up finds events that came too late, so their own times count.
        let at = match next {
            Ok(Some(Ok(event))) => event.at,
            Err(_) => self.until() - self.started,
            Ok(Some(Err(_)) | None) => return None,
        };
        let timed_out = next.is_err();
        let too_late = self.started + at;
        if too_late > self.deadline || timed_out && too_late >= self.deadline {
            return Some(format!(
                "time_limit: not finished after {} s and {tokens} tokens",
                time_limit.as_secs_f64(),
            ));
        }
        let paused = at.saturating_sub(self.last.unwrap_or(at));
        if stall_limit.is_some_and(|limit| timed_out || paused > limit) {
            let limit = stall_limit.unwrap_or_default().as_secs_f64();
            return Some(format!(
                "stall_limit: nothing came for {limit} s after {tokens} tokens"
            ));
        }
        let Ok(Some(Ok(event))) = next else {
            return None;
        };
        let more = match &event.kind {
            EventKind::Delta { .. } => 1,
            EventKind::Text(_) => 0,
            _ => return None,
        };
        self.last = Some(event.at);
        over(*token_limit, tokens + more)
    }
}

/// What to say if a conversation has made too many tokens.
pub(super) fn over(most: Option<usize>, tokens: usize) -> Option<String> {
    let most = most?;
    (tokens > most).then(|| format!("token_limit: more than {most} tokens"))
}
