//! XML and HTML in an answer.
//!
//! XML is read by a parser. HTML is guessed from its signs, as promptfoo does, since a browser takes
//! any text for HTML.

use std::sync::LazyLock;

use regex::Regex;
use roxmltree::{Document, Node};

use crate::assertion::finding::{Finding, found};
use crate::assertion::message::beginning;

/// Whether an answer is one XML document that has these elements.
pub(super) fn is_xml(answer: &str, elements: &[String]) -> Finding {
    match document(answer, elements) {
        Ok(()) => found(true, "the answer is XML"),
        Err(problem) => found(false, format!("{problem}; {}", beginning(answer))),
    }
}

/// Whether an XML element with these elements stands somewhere in an answer.
pub(super) fn contains_xml(answer: &str, elements: &[String]) -> Finding {
    let mut problem = "no XML element in the answer".to_owned();
    for (start, end) in candidates(answer) {
        match document(answer.get(start..end).unwrap_or_default(), elements) {
            Ok(()) => return found(true, format!("XML stands at bytes {start} to {end}")),
            Err(one) => problem = format!("XML at byte {start}: {one}"),
        }
    }
    found(false, format!("{problem}; {}", beginning(answer)))
}

fn document(text: &str, elements: &[String]) -> Result<(), String> {
    let document =
        Document::parse(text.trim_start()).map_err(|error| format!("no XML: {error}"))?;
    let missing: Vec<&str> = elements
        .iter()
        .filter(|path| !has(document.root(), path))
        .map(String::as_str)
        .collect();
    match missing.as_slice() {
        [] => Ok(()),
        missing => Err(format!("XML without {}", missing.join(", "))),
    }
}

/// Whether there is an element below `node` at the end of a path such as `a.b`.
fn has(node: Node<'_, '_>, path: &str) -> bool {
    let (name, rest) = path.split_once('.').unwrap_or((path, ""));
    let mut named = node
        .children()
        .filter(|child| child.is_element() && child.tag_name().name() == name);
    named.any(|child| rest.is_empty() || has(child, rest))
}

/// Where elements begin and end, the outer ones first: tags that belong to each other.
fn candidates(answer: &str) -> Vec<(usize, usize)> {
    let tags = pattern(&TAG);
    let mut open: Vec<(&str, usize)> = Vec::new();
    let mut found = Vec::new();
    for tag in tags.into_iter().flat_map(|tags| tags.captures_iter(answer)) {
        let Some(whole) = tag.get(0) else { continue };
        let name = tag.get(2).map_or("", |name| name.as_str());
        if whole.as_str().ends_with("/>") {
            found.push((whole.start(), whole.end()));
        } else if tag.get(1).is_none_or(|slash| slash.is_empty()) {
            open.push((name, whole.start()));
        } else if open.last().is_some_and(|(other, _)| *other == name) {
            let start = open.pop().map_or(0, |(_, start)| start);
            found.push((start, whole.end()));
        } else {
            open.clear();
        }
    }
    found.sort_by_key(|(start, end)| (*start, usize::MAX - end));
    found
}

/// Whether an answer has signs of HTML that weigh at least 2 together.
pub(super) fn contains_html(answer: &str) -> Finding {
    let has = |pattern: &'static LazyLock<Option<Regex>>| {
        pattern.as_ref().is_some_and(|one| one.is_match(answer))
    };
    let signs: [(&str, bool, usize); 8] = [
        ("an opening tag", has(&OPENING), 1),
        ("a closing tag", has(&CLOSING), 1),
        ("a tag that closes itself", has(&SELF_CLOSING), 1),
        ("an entity", has(&ENTITY), 1),
        ("a document type", has(&DOCTYPE), 2),
        ("a comment", has(&COMMENT), 1),
        ("an attribute", has(&ATTRIBUTE), 1),
        ("a usual element", has(&USUAL), 2),
    ];
    let seen: Vec<&str> = signs
        .iter()
        .filter(|(_, seen, _)| *seen)
        .map(|(name, ..)| *name)
        .collect();
    let weight: usize = signs
        .iter()
        .filter(|(_, seen, _)| *seen)
        .map(|(.., weight)| weight)
        .sum();
    let fact = match seen.as_slice() {
        [] => format!("no sign of HTML; {}", beginning(answer)),
        seen => format!("signs of HTML: {}; {}", seen.join(", "), beginning(answer)),
    };
    found(weight >= 2, fact)
}

/// A pattern that is compiled once. None of these fails to compile; a test holds that.
const fn lazy(make: fn() -> Option<Regex>) -> LazyLock<Option<Regex>> {
    LazyLock::new(make)
}

fn pattern(pattern: &'static LazyLock<Option<Regex>>) -> Option<&'static Regex> {
    pattern.as_ref()
}

static TAG: LazyLock<Option<Regex>> =
    lazy(|| Regex::new(r#"<(/?)([A-Za-z_:][\w:.-]*)((?:[^<>"']|"[^"]*"|'[^']*')*)>"#).ok());
static OPENING: LazyLock<Option<Regex>> =
    lazy(|| Regex::new(r"<[a-zA-Z][a-zA-Z0-9-]*(?:\s[^>]*)?>").ok());
static CLOSING: LazyLock<Option<Regex>> = lazy(|| Regex::new(r"</[a-zA-Z][a-zA-Z0-9-]*\s*>").ok());
static SELF_CLOSING: LazyLock<Option<Regex>> =
    lazy(|| Regex::new(r"<[a-zA-Z][a-zA-Z0-9-]*(?:\s[^>]*)?/>").ok());
static ENTITY: LazyLock<Option<Regex>> =
    lazy(|| Regex::new(r"&(?:[a-zA-Z]+|#[0-9]+|#x[0-9a-fA-F]+);").ok());
static DOCTYPE: LazyLock<Option<Regex>> = lazy(|| Regex::new(r"(?i)<!DOCTYPE\s+html").ok());
static COMMENT: LazyLock<Option<Regex>> = lazy(|| Regex::new(r"<!--[^-]*(?:-[^-]+)*-->").ok());
static ATTRIBUTE: LazyLock<Option<Regex>> =
    lazy(|| Regex::new(r#"\s[a-zA-Z-]+=\s*["'][^"']*["']"#).ok());
static USUAL: LazyLock<Option<Regex>> = lazy(|| {
    Regex::new(concat!(
        r"(?i)<(html|head|body|div|span|p|a|img|h[1-6]|ul|ol|li|table|tr|td|th|form|input|",
        r"button|script|style|link|meta|br|hr)\b"
    ))
    .ok()
});

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_pattern_compiles() {
        let all = [
            &TAG,
            &OPENING,
            &CLOSING,
            &SELF_CLOSING,
            &ENTITY,
            &DOCTYPE,
            &COMMENT,
            &ATTRIBUTE,
            &USUAL,
        ];
        assert!(all.iter().all(|pattern| pattern.is_some()));
    }

    #[test]
    fn elements_are_found_from_outside_in() {
        let text = "a <b x='>'>1<c/></b> </d> <e>";
        let found: Vec<&str> = candidates(text)
            .into_iter()
            .map(|(start, end)| &text[start..end])
            .collect();
        assert_eq!(found, ["<b x='>'>1<c/></b>", "<c/>"]);
    }
}
