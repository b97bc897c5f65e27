//! Writes a text as indented lines, so that any text survives editors, git and insta.
//!
//! Most lines stand as they are after two spaces; an empty line stays empty. A line that a tool
//! might change or a reviewer could not see (white space at its end, carriage returns, control and
//! invisible characters) stands after `~ ` with those characters escaped. The same goes for an
//! empty last line, which is how a text that ends in a line break shows it. What a text means is
//! not known here, nor what surrounds it.

/// The lines of `text`, without line breaks. An empty text has none.
pub(super) fn encode(text: &str) -> Vec<String> {
    if text.is_empty() {
        return Vec::new();
    }
    let lines: Vec<&str> = text.split('\n').collect();
    let last = lines.len() - 1;
    lines
        .iter()
        .enumerate()
        .map(|(index, line)| match *line {
            "" if index == last => "~".to_owned(),
            "" => String::new(),
            line if is_fragile(line) => format!("~ {}", escape(line)),
            line => format!("  {line}"),
        })
        .collect()
}

/// Reads one line back.
///
/// # Errors
/// What is wrong with it.
pub(super) fn decode(line: &str) -> Result<String, String> {
    if let Some(literal) = line.strip_prefix("  ") {
        return Ok(literal.to_owned());
    }
    match line.strip_prefix('~') {
        Some(escaped) => unescape(escaped.strip_prefix(' ').unwrap_or(escaped)),
        None if line.trim_end().is_empty() => Ok(String::new()),
        None => Err("a line of text starts with neither two spaces nor '~'".to_owned()),
    }
}

fn is_fragile(line: &str) -> bool {
    line.ends_with(char::is_whitespace) || line.chars().any(is_hidden)
}

/// Characters that change how a line is shown or split without being seen. The joiners U+200C and
/// U+200D are not among them: Persian, Indic scripts and emoji need them.
fn is_hidden(character: char) -> bool {
    (character.is_control() && character != '\t')
        || matches!(
            character,
            '\u{200b}'
                | '\u{200e}'
                | '\u{200f}'
                | '\u{2028}'..='\u{202e}'
                | '\u{2060}'..='\u{2069}'
                | '\u{feff}'
        )
}

fn escape(line: &str) -> String {
    let visible_end = line.trim_end().len();
    let mut escaped = String::with_capacity(line.len() + 8);
    for (at, character) in line.char_indices() {
        match character {
            '\\' => escaped.push_str("\\\\"),
            '\r' => escaped.push_str("\\r"),
            _ if is_hidden(character) || at >= visible_end => {
                escaped.extend(character.escape_unicode());
            }
            _ => escaped.push(character),
        }
    }
    escaped
}

fn unescape(escaped: &str) -> Result<String, String> {
    let mut line = String::with_capacity(escaped.len());
    let mut rest = escaped;
    while let Some((plain, after)) = rest.split_once('\\') {
        line.push_str(plain);
        let (character, remaining) = unescape_one(after)
            .ok_or_else(|| "an escape is none of \\\\, \\r and \\u{hex}".to_owned())?;
        line.push(character);
        rest = remaining;
    }
    line.push_str(rest);
    Ok(line)
}

/// The character that the escape after a backslash stands for, and what follows it.
fn unescape_one(after: &str) -> Option<(char, &str)> {
    if let Some(rest) = after.strip_prefix('\\') {
        return Some(('\\', rest));
    }
    if let Some(rest) = after.strip_prefix('r') {
        return Some(('\r', rest));
    }
    let (hex, rest) = after.strip_prefix("u{")?.split_once('}')?;
    let character = char::from_u32(u32::from_str_radix(hex, 16).ok()?)?;
    Some((character, rest))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use rstest::rstest;

    use super::*;

    #[rstest]
    #[case("", &[])]
    #[case("a", &["  a"])]
    #[case("a\n", &["  a", "~"])]
    #[case("\n", &["", "~"])]
    #[case("a\n\nb", &["  a", "", "  b"])]
    #[case("---\n~ x\n  y", &["  ---", "  ~ x", "    y"])]
    #[case("a  \nb", &["~ a\\u{20}\\u{20}", "  b"])]
    #[case("C:\\dir", &["  C:\\dir"])]
    #[case("C:\\dir\r\n", &["~ C:\\\\dir\\r", "~"])]
    #[case("\u{202e}x", &["~ \\u{202e}x"])]
    #[case("  ", &["~ \\u{20}\\u{20}"])]
    #[case("größer 👩‍💻", &["  größer 👩‍💻"])]
    fn lines_are_written_like_this(#[case] text: &str, #[case] lines: &[&str]) {
        assert_eq!(encode(text), lines);
    }

    #[rstest]
    #[case("x", "a line of text starts")]
    #[case(" x", "a line of text starts")]
    #[case("~ \\q", "an escape is none of")]
    #[case("~ \\u{110000}", "an escape is none of")]
    #[case("~ \\", "an escape is none of")]
    fn broken_lines_are_refused(#[case] line: &str, #[case] problem: &str) {
        let error = decode(line).expect_err("refused");
        assert!(error.starts_with(problem), "{error}");
    }

    proptest! {
        #[test]
        fn every_text_comes_back(text in "([ -~]|[\\n\\r\\t\\\\~ \\x00-\\x1f]|\\PC|\\p{Zs}|\\p{Cf}){0,40}") {
            let lines = encode(&text);
            for line in &lines {
                prop_assert_eq!(line.trim_end(), line.as_str());
                prop_assert!(!line.contains(['\r', '\n']));
            }
            let read: Result<Vec<String>, String> = lines.iter().map(|line| decode(line)).collect();
            prop_assert_eq!(read.expect("decodes").join("\n"), text);
        }
    }
}
