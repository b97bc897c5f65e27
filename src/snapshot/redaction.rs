//! Parts of an answer that a snapshot does not hold, such as dates and ids.
//!
//! Each is a pattern and what stands there instead. A conversation is redacted before it is compared
//! or written, so files and comparisons see one text. Which tests want it is not known here.

use std::borrow::Cow;

use regex::{NoExpand, Regex};
use serde::{Deserialize, Serialize};

use crate::generation::Conversation;

/// Most redactions of one test.
pub const MOST_REDACTIONS: usize = 32;

/// One kind of text, and what a snapshot holds in its place.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Redaction {
    /// A regular expression that matches no empty text.
    pub pattern: String,
    /// What stands there instead, as it is: `$1` is no group.
    #[serde(rename = "as")]
    pub replacement: String,
}

impl Redaction {
    /// The expression, compiled.
    ///
    /// # Errors
    /// If it is none, or matches an empty text; in words for a person.
    pub fn compile(&self) -> Result<Regex, String> {
        let compiled = Regex::new(&self.pattern).map_err(|error| error.to_string())?;
        let parsed = regex_syntax::parse(&self.pattern).map_err(|error| error.to_string())?;
        match parsed.properties().minimum_len() {
            // An expression that matches nothing at all has no length.
            Some(1..) => Ok(compiled),
            Some(0) => Err(format!(
                "'{}' matches an empty text, which is everywhere; ask for at least one character, \
                 with + in place of *",
                self.pattern
            )),
            None => Err(format!("'{}' can match nothing", self.pattern)),
        }
    }
}

/// The redactions of a test, compiled; they are applied one after the other.
#[derive(Debug, Clone, Default)]
pub struct Redactions {
    all: Vec<(Redaction, Regex)>,
}

/// Equal patterns compile to the same.
impl PartialEq for Redactions {
    fn eq(&self, other: &Self) -> bool {
        self.written() == other.written()
    }
}

impl Redactions {
    /// Compiles them.
    ///
    /// # Errors
    /// If there are too many, or one is wrong; in words for a person.
    pub fn new(written: &[Redaction]) -> Result<Self, String> {
        if written.len() > MOST_REDACTIONS {
            return Err(format!("there are more than {MOST_REDACTIONS} redactions"));
        }
        let compiled = written
            .iter()
            .map(|one| Ok((one.clone(), one.compile()?)))
            .collect::<Result<_, String>>()?;
        Ok(Self { all: compiled })
    }

    /// Whether nothing is redacted.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.all.is_empty()
    }

    /// As they were written.
    #[must_use]
    pub fn written(&self) -> Vec<Redaction> {
        self.all
            .iter()
            .map(|(written, _)| written.clone())
            .collect()
    }

    /// A text without what is redacted.
    #[must_use]
    pub fn text<'a>(&self, text: &'a str) -> Cow<'a, str> {
        let mut text = Cow::Borrowed(text);
        for (written, pattern) in &self.all {
            let replacement = NoExpand(&written.replacement);
            if let Cow::Owned(changed) = pattern.replace_all(&text, replacement) {
                text = Cow::Owned(changed);
            }
        }
        text
    }

    /// A conversation as its snapshot holds it: texts without what is redacted, and without token ids,
    /// which would tell it.
    #[must_use]
    pub fn conversation<'a>(&self, conversation: &'a Conversation) -> Cow<'a, Conversation> {
        if self.is_empty() {
            return Cow::Borrowed(conversation);
        }
        let mut redacted = conversation.clone();
        for exchange in &mut redacted.exchanges {
            let transcript = &mut exchange.transcript;
            transcript.text = self.text(&transcript.text).into_owned();
            transcript.tokens.clear();
            transcript.token_at_us.clear();
            transcript.text_ends.clear();
        }
        Cow::Owned(redacted)
    }
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;

    fn one(pattern: &str, replacement: &str) -> Redaction {
        Redaction {
            pattern: pattern.to_owned(),
            replacement: replacement.to_owned(),
        }
    }

    #[rstest]
    #[case("x*", "matches an empty text")]
    #[case("", "matches an empty text")]
    #[case(r"\b", "matches an empty text")]
    #[case("a|(?m)^", "matches an empty text")]
    #[case("[a&&b]", "can match nothing")]
    #[case("(", "unclosed group")]
    fn what_cannot_be_is_refused(#[case] pattern: &str, #[case] message: &str) {
        let error = one(pattern, "").compile().expect_err("refused");
        assert!(error.contains(message), "{error}");
    }

    #[test]
    fn they_follow_each_other_and_their_texts_are_literal() {
        let written = [one(r"\d{4}-\d\d", "[$0 date]"), one(r"\[.*?\]", "<$1>")];
        let redactions = Redactions::new(&written).expect("right");
        assert_eq!(
            redactions.text("on 2026-11 and 2025-01"),
            "on <$1> and <$1>"
        );
        let first = Redactions::new(&written[..1]).expect("right");
        assert_eq!(first.text("on 2026-11."), "on [$0 date].");
        assert!(matches!(first.text("never"), Cow::Borrowed(_)));
        assert!(Redactions::new(&vec![one("a", "b"); 33]).is_err());
    }
}
