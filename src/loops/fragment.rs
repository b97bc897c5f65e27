//! Shows the repeated text on one line.

/// The longest fragment shown, in characters.
pub const FRAGMENT_CHARS: usize = 200;

/// `text` on one line of at most `max_chars` characters (and never more than [`FRAGMENT_CHARS`]).
///
/// Line breaks, controls and invisible characters appear as Rust escapes, since the thing that
/// repeats is often one of them. A cut is marked by an ellipsis, which is counted, and never falls
/// inside an escape.
#[must_use]
pub fn escape_fragment(text: &str, max_chars: usize) -> String {
    let max_chars = max_chars.min(FRAGMENT_CHARS);
    let mut shown = String::new();
    let mut chars = 0;
    // The byte where the text ends if an ellipsis has to follow.
    let mut cut = 0;
    for character in text.chars() {
        if chars < max_chars {
            cut = shown.len();
        }
        match character {
            // Quotes are visible as they are, and frequent.
            '\'' | '"' => {
                shown.push(character);
                chars += 1;
            }
            _ => {
                chars += character.escape_debug().len();
                shown.extend(character.escape_debug());
            }
        }
        if chars > max_chars {
            shown.truncate(cut);
            if max_chars > 0 {
                shown.push('…');
            }
            return shown;
        }
    }
    shown
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use rstest::rstest;

    #[rstest]
    #[case("plain \"text\"", 20, "plain \"text\"")]
    #[case("a\nb\tc\r", 20, "a\\nb\\tc\\r")]
    #[case("\u{0}\u{200b}\\", 20, "\\0\\u{200b}\\\\")]
    #[case("größer 気 🙂", 20, "größer 気 🙂")]
    #[case("abcdef", 6, "abcdef")]
    #[case("abcdefg", 6, "abcde…")]
    #[case("abcde\n", 6, "abcde…")]
    #[case("\n\n\n\n", 6, "\\n\\n…")]
    #[case("ab", 1, "…")]
    #[case("ab", 0, "")]
    fn fragments_are_escaped_and_cut(
        #[case] text: &str,
        #[case] max_chars: usize,
        #[case] expected: &str,
    ) {
        assert_eq!(escape_fragment(text, max_chars), expected);
    }

    proptest! {
        #[test]
        fn a_fragment_is_one_short_line(text in "\\PC{0,50}[\n\t\\x00-\\x1f]{0,300}", max_chars in 0..400_usize) {
            let shown = escape_fragment(&text, max_chars);
            prop_assert!(shown.chars().count() <= max_chars.min(FRAGMENT_CHARS));
            prop_assert!(!shown.chars().any(char::is_control));
        }
    }
}
