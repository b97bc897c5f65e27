//! Cuts a text into tokens, much as the tokenizers of chat models do.

use std::sync::LazyLock;

use regex::Regex;

use super::table::Reserved;

/// Qwen2's pre-tokenisation (`tokenizer.json` of Qwen2.5) without its one look-ahead: English
/// contractions, words with the character before them, single digits, punctuation with the
/// space before it, line ends, other white space.
const PIECES: &str = r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+";

#[expect(
    clippy::expect_used,
    reason = "the expression is a constant, and a test compiles it"
)]
static PIECE: LazyLock<Regex> = LazyLock::new(|| Regex::new(PIECES).expect("a valid expression"));

/// The tokens of a text. Together they spell it; reserved tokens such as `<think>` stand alone.
pub(super) fn cut(text: &str) -> Vec<String> {
    let mut tokens = Vec::new();
    let mut rest = text;
    while !rest.is_empty() {
        let next = Reserved::SPOKEN
            .iter()
            .filter_map(|reserved| Some((rest.find(reserved.text())?, *reserved)))
            .min_by_key(|(at, _)| *at);
        let (plain, reserved) = match next {
            Some((at, reserved)) => (&rest[..at], Some(reserved)),
            None => (rest, None),
        };
        tokens.extend(
            PIECE
                .find_iter(plain)
                .map(|piece| piece.as_str().to_owned()),
        );
        let reserved = reserved.map_or("", Reserved::text);
        if !reserved.is_empty() {
            tokens.push(reserved.to_owned());
        }
        rest = &rest[plain.len() + reserved.len()..];
    }
    tokens
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use rstest::rstest;

    use super::*;

    #[rstest]
    #[case("I'm going, 2000 times...\n", &["I", "'m", " going", ",", " ", "2", "0", "0", "0", " times", "...\n"])]
    #[case("a<think>\nb", &["a", "<think>", "\n", "b"])]
    #[case("", &[])]
    fn tokens_are_words_digits_and_punctuation(#[case] text: &str, #[case] tokens: &[&str]) {
        assert_eq!(cut(text), tokens);
    }

    proptest! {
        #[test]
        fn the_tokens_spell_the_text(text in "\\PC{0,30}|[a-z0-9 \n\r\t'.<>]{0,40}|(a|<think>|</tool_call>|é){0,9}") {
            prop_assert_eq!(cut(&text).concat(), text);
        }
    }
}
