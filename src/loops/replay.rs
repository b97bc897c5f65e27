//! Whole messages that come again: a model that answers each turn with what it said before.

use std::collections::VecDeque;

/// Messages remembered.
const REMEMBERED: usize = 16;
/// Shorter messages, such as "Done.", may come again, in characters without blanks.
const SHORTEST: usize = 64;

/// Watches the assistant's messages of one conversation.
#[derive(Clone, Debug, Default)]
pub struct ReplayWatch {
    seen: VecDeque<u64>,
}

impl ReplayWatch {
    /// Notes a message, and returns how often it was said before among the latest 16. Blanks and
    /// letter case make no difference; a message too short to tell is never a replay.
    pub fn push(&mut self, message: &str) -> usize {
        let visible = message.chars().filter(|c| !c.is_whitespace());
        let mut length = 0;
        let hash =
            visible
                .flat_map(char::to_lowercase)
                .fold(0xCBF2_9CE4_8422_2325_u64, |hash, c| {
                    length += 1;
                    (hash ^ u64::from(c)).wrapping_mul(0x0000_0100_0000_01B3)
                });
        if length < SHORTEST {
            return 0;
        }
        let before = self.seen.iter().filter(|seen| **seen == hash).count();
        self.seen.push_back(hash);
        if self.seen.len() > REMEMBERED {
            self.seen.pop_front();
        }
        before
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_said_again_is_counted() {
        let mut watch = ReplayWatch::default();
        let message = "I have read the file and will now fix the failing test in the parser module of this project.";
        assert_eq!(watch.push(message), 0);
        assert_eq!(
            watch.push(
                "Something else that is long enough to be remembered as a message of its own."
            ),
            0
        );
        assert_eq!(watch.push(&message.replace(' ', "\n").to_uppercase()), 1);
        assert_eq!(watch.push(message), 2);
        assert_eq!((0..5).map(|_| watch.push("Done.")).max(), Some(0));
    }

    #[test]
    fn old_messages_are_forgotten() {
        let mut watch = ReplayWatch::default();
        let message = |n: usize| {
            format!(
                "{n} {}",
                "words that make the message long enough ".repeat(3)
            )
        };
        watch.push(&message(0));
        (1..=REMEMBERED).for_each(|n| assert_eq!(watch.push(&message(n)), 0));
        assert_eq!(watch.push(&message(0)), 0);
    }
}
