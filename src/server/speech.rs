//! What of a growing answer may be shown: its text, without the tool calls that are told apart.
//!
//! Text that may be the beginning of a call is held back, and so is the white space before it.

/// What begins a tool call.
const OPENINGS: [&str; 1] = ["<tool_call>"];

/// The text of one answer, as it is shown.
#[derive(Debug, Default)]
pub(super) struct Speech {
    shown: String,
    held: String,
    /// Whether a call has begun; then the rest is held until the end says what it is.
    calling: bool,
}

impl Speech {
    /// Takes more text and returns what may be shown of it.
    pub(super) fn push(&mut self, text: &str) -> String {
        self.held.push_str(text);
        if self.calling {
            return String::new();
        }
        let opening = OPENINGS
            .iter()
            .filter_map(|open| self.held.find(open))
            .min();
        self.calling = opening.is_some();
        let certain = opening.unwrap_or_else(|| self.held.len() - self.beginning());
        let certain = self.held[..certain].trim_end().len();
        let rest = self.held.split_off(certain);
        let show = std::mem::replace(&mut self.held, rest);
        self.shown.push_str(&show);
        show
    }

    /// Bytes at the end of the held text that are the beginning of some opening.
    fn beginning(&self) -> usize {
        let beginnings = OPENINGS
            .iter()
            .flat_map(|open| (1..open.len()).filter_map(move |length| open.get(..length)));
        beginnings
            .filter(|beginning| self.held.ends_with(beginning))
            .map(str::len)
            .max()
            .unwrap_or(0)
    }

    /// The rest, at the end: `rest` is text that came late, and `content` is what was said in all
    /// if there were calls.
    pub(super) fn finish(self, rest: &str, content: Option<&str>) -> String {
        match content {
            // What is shown cannot be taken back, so only what follows it is added.
            Some(content) => content.strip_prefix(&self.shown).unwrap_or("").to_owned(),
            None => self.held + rest,
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::text::tool_calls;

    #[test]
    fn a_call_is_never_shown() {
        let mut speech = Speech::default();
        let pieces = [
            "I look. ",
            "\n<tool",
            "_call>\n{\"name\": \"f\", ",
            "\"arguments\": {}}\n</tool_call>",
        ];
        let shown: Vec<String> = pieces.iter().map(|piece| speech.push(piece)).collect();
        assert_eq!(shown, ["I look.", "", "", ""]);
        assert_eq!(speech.finish("", Some("I look.")), "");
    }

    #[test]
    fn a_beginning_that_comes_to_nothing_is_shown() {
        let mut speech = Speech::default();
        assert_eq!(speech.push("a <tool"), "a");
        assert_eq!(speech.push("box>"), " <toolbox>");
        assert_eq!(speech.push(" <"), "");
        assert_eq!(speech.finish("!", None), " <!");
    }

    proptest! {
        /// However the text is cut, what is shown joins to its content.
        #[test]
        fn pieces_join_to_the_content(
            pieces in prop::collection::vec(
                prop_oneof![
                    "[ab<\n ]{0,4}",
                    Just("<tool_call>".to_owned()),
                    Just("{\"name\":\"f\",\"arguments\":{}}".to_owned()),
                    Just("</tool_call>".to_owned()),
                ],
                0..12,
            ),
        ) {
            let text = pieces.concat();
            let taken = tool_calls(&text);
            let content = (!taken.calls.is_empty()).then_some(taken.content);
            let mut speech = Speech::default();
            let mut shown = String::new();
            for piece in &pieces {
                shown += &speech.push(piece);
            }
            shown += &speech.finish("", content.as_deref());
            prop_assert_eq!(shown, content.unwrap_or(text));
        }
    }
}
