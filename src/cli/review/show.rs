//! A pending snapshot beside its reference, as a person reads it: marked so that colours are not
//! needed, and cut to what differs.

use std::io::{self, Write};
use std::time::Duration;

use similar::{ChangeTag, TextDiff};

use super::super::exit::Explained;
use super::super::style::{BAD, BOLD, DIM, GOOD, LOOP, RESET};
use super::margins::Records;
use crate::assertion::{change_fact, token_fact};
use crate::snapshot::{
    Comparison, Divergence, PendingSnapshot, Snapshot, SnapshotGeneration, compare, compare_pending,
};

/// Characters of unchanged text that are shown on each side of a change.
const CONTEXT: usize = 60;
/// Characters of a new text that are shown.
const NEW_CHARS: usize = 1_500;
/// After this the rest of a text counts as one change.
const DIFF_TIME: Duration = Duration::from_secs(1);

/// Everything that is to be known to decide about a snapshot.
pub(super) fn snapshot(
    out: &mut dyn Write,
    waiting: &PendingSnapshot,
    records: &mut Records,
) -> anyhow::Result<()> {
    let pending = waiting.read().map_err(Explained::usage)?;
    let reference = waiting.read_reference().map_err(Explained::usage)?;
    writeln!(
        out,
        "{BOLD}{}{RESET}  {DIM}{}{RESET}",
        waiting.name,
        waiting.pending.display()
    )?;
    match reference {
        None => new(out, &pending)?,
        Some(reference) => {
            let compared = match records.of(&pending) {
                Some(conversation) => compare(&reference, &pending.info, &conversation),
                None => compare_pending(&reference, &pending),
            };
            match compared {
                Comparison::Differs(divergence) => {
                    changed(out, &divergence)?;
                    texts(out, &reference, &pending)?;
                }
                Comparison::Match | Comparison::Missing => {
                    writeln!(
                        out,
                        "  the output is the same; only what surrounds it differs"
                    )?;
                }
            }
        }
    }
    writeln!(out)?;
    Ok(())
}

fn new(out: &mut dyn Write, pending: &Snapshot) -> io::Result<()> {
    writeln!(out, "  {LOOP}new{RESET}: there is no reference yet")?;
    for (at, generation) in pending.generations.iter().enumerate() {
        heading(out, at, generation)?;
        let text = printable(&generation.text);
        let cut = text.char_indices().nth(NEW_CHARS).map(|(end, _)| end);
        let shown = cut.and_then(|end| text.get(..end)).unwrap_or(&text);
        for line in shown.lines() {
            writeln!(out, "  {GOOD}+ {line}{RESET}")?;
        }
        if cut.is_some() {
            writeln!(out, "  {DIM}…{RESET}")?;
        }
    }
    Ok(())
}

fn changed(out: &mut dyn Write, divergence: &Divergence) -> io::Result<()> {
    for change in &divergence.changed_inputs {
        writeln!(
            out,
            "  {LOOP}asked differently{RESET}: {}",
            change_fact(change)
        )?;
    }
    match &divergence.tokens {
        Some(tokens) => writeln!(out, "  {}", token_fact(tokens))?,
        None => writeln!(out, "  the tokens are the same, or not known")?,
    }
    if divergence.text.is_none() {
        writeln!(out, "  the text is the same")?;
    }
    Ok(())
}

/// The text of each generation that differs.
fn texts(out: &mut dyn Write, reference: &Snapshot, pending: &Snapshot) -> io::Result<()> {
    let none = SnapshotGeneration::default();
    let all = reference.generations.len().max(pending.generations.len());
    for at in 0..all {
        let before = reference.generations.get(at).unwrap_or(&none);
        let after = pending.generations.get(at).unwrap_or(&none);
        if before.text == after.text {
            continue;
        }
        heading(out, at, after)?;
        let marked = marked(&printable(&before.text), &printable(&after.text));
        for line in marked.lines() {
            writeln!(out, "  {line}")?;
        }
    }
    Ok(())
}

fn heading(out: &mut dyn Write, at: usize, generation: &SnapshotGeneration) -> io::Result<()> {
    let tokens = generation.tokens.len();
    writeln!(out, "  {DIM}generation {}, {tokens} tokens:{RESET}", at + 1)
}

/// A model may say anything, also what makes a terminal do things.
fn printable(text: &str) -> String {
    let shown = |character: char| match character {
        '\n' | '\t' => character.to_string(),
        other if other.is_control() => other.escape_default().to_string(),
        other => other.to_string(),
    };
    text.chars().map(shown).collect()
}

/// The new text with `[-what is gone-]` and `{+what is new+}`, word by word. What is the same for
/// long is cut.
fn marked(before: &str, after: &str) -> String {
    let diff = TextDiff::configure()
        .timeout(DIFF_TIME)
        .diff_words(before, after);
    let mut runs: Vec<(ChangeTag, String)> = Vec::new();
    for change in diff.iter_all_changes() {
        match runs.last_mut() {
            Some((tag, text)) if *tag == change.tag() => text.push_str(change.value()),
            _ => runs.push((change.tag(), change.value().to_owned())),
        }
    }
    let last = runs.len().saturating_sub(1);
    let shown = runs.iter().enumerate().map(|(at, (tag, text))| match tag {
        ChangeTag::Equal => same(text, at == 0, at == last),
        ChangeTag::Delete => coloured(BAD, "[-", text, "-]"),
        ChangeTag::Insert => coloured(GOOD, "{+", text, "+}"),
    });
    shown.collect()
}

/// A colour ends with its line, so that nothing else on the screen takes it.
fn coloured(colour: &str, open: &str, text: &str, close: &str) -> String {
    let lines: Vec<String> = format!("{open}{text}{close}")
        .split('\n')
        .map(|line| format!("{colour}{line}{RESET}"))
        .collect();
    lines.join("\n")
}

/// An unchanged text, cut in its middle, or towards the side where nothing changed.
fn same(text: &str, is_first: bool, is_last: bool) -> String {
    let chars = text.chars().count();
    let keep = |wanted: bool| if wanted { CONTEXT } else { 0 };
    let (head, tail) = (keep(!is_first), keep(!is_last));
    if chars <= head + tail {
        return text.to_owned();
    }
    let start: String = text.chars().take(head).collect();
    let end: String = text.chars().skip(chars - tail).collect();
    format!("{start}{DIM}…{RESET}{end}")
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;

    #[rstest]
    #[case("a b c", "a x c", "a [-b-]{+x+} c")]
    #[case("", "a", "{+a+}")]
    #[case("a\nb\n", "a\n", "a\n[-b\n-]")]
    fn changes_are_marked_without_colours(
        #[case] before: &str,
        #[case] after: &str,
        #[case] expected: &str,
    ) {
        let shown = anstream::adapter::strip_str(&marked(before, after)).to_string();
        assert_eq!(shown, expected);
    }

    #[test]
    fn what_is_the_same_for_long_is_cut() {
        let long = "word ".repeat(200);
        let before = format!("{long}old {long}old {long}");
        let after = format!("{long}new {long}new {long}");
        let shown = anstream::adapter::strip_str(&marked(&before, &after)).to_string();
        assert_eq!(shown.matches('…').count(), 3, "{shown}");
        assert_eq!(shown.matches("[-old-]{+new+}").count(), 2, "{shown}");
        assert!(shown.chars().count() < 4 * CONTEXT + 60, "{shown}");
    }

    #[test]
    fn what_a_model_says_does_nothing_to_the_terminal() {
        assert_eq!(printable("a\u{1b}[2J\tb\n\r"), "a\\u{1b}[2J\tb\n\\r");
    }

    #[test]
    fn every_line_ends_its_colour() {
        let shown = marked("", "one\ntwo\nthree");
        assert!(shown.lines().all(|line| line.ends_with(RESET)), "{shown:?}");
    }
}
