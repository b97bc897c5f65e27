//! Whether the streams that brought a conversation kept to their API.
//!
//! Knows what was noted about them. Which rules there are is known to the client that read them.

use super::finding::{Finding, found};
use super::message::count;
use crate::generation::{Conversation, Irregularity};

/// Judges every generation. One without notes was cut short or not streamed; of that an error has
/// been made before, since there is no evidence either way.
///
/// `before` is how many generations came before these.
pub(super) fn valid(conversation: &Conversation, before: usize) -> Finding {
    let (mut events, mut lines) = (0, Vec::new());
    for (at, exchange) in conversation.exchanges.iter().enumerate() {
        let Some(notes) = &exchange.transcript.stream else {
            return found(
                false,
                format!("generation {} has no stream", before + at + 1),
            );
        };
        events += notes.events;
        let broken = notes.irregularities.iter();
        lines.extend(broken.map(|one| line(before + at + 1, one)));
    }
    match lines.is_empty() {
        true => found(
            true,
            format!("no rule is broken in {}", count(events, "event")),
        ),
        false => found(
            false,
            format!(
                "{} broken\n{}",
                count(lines.len(), "rule"),
                lines.join("\n")
            ),
        ),
    }
}

fn line(generation: usize, broken: &Irregularity) -> String {
    let Irregularity {
        rule,
        found,
        event,
        times,
    } = broken;
    let often = match times {
        1 => String::new(),
        _ => format!(", {times} times"),
    };
    format!("{rule}: event {event} of generation {generation}{often}: {found}")
}
