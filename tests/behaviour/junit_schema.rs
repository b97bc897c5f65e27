//! The rules of the JUnit schema that Jenkins' xUnit plugin validates with (`junit-10.xsd`, at
//! `src/main/resources/org/jenkinsci/plugins/xunit/types/model/xsd` in jenkinsci/xunit-plugin),
//! written down anew as far as a file of ours can use them, and what we add to it.
//!
//! Where that schema takes any string, the types are those of the schema for Ant's reports
//! (`JUnit.xsd` in windyroad/JUnit-Schema): `xs:decimal`, `xs:dateTime`, whole numbers. Knows no
//! runs and no scenarios.

use std::collections::BTreeSet;

use Kind::{Count, DateTime, Seconds, Text, Token};
use roxmltree::{Document, Node};

/// The type of an attribute.
#[derive(Clone, Copy)]
pub(crate) enum Kind {
    /// `xs:string`.
    Text,
    /// `xs:token` of at least one character.
    Token,
    /// `xs:int`, and no count is negative.
    Count,
    /// `xs:decimal` with at most three places, as Surefire writes seconds.
    Seconds,
    /// `xs:dateTime`.
    DateTime,
}

/// Which elements may be in another one. None of them is bound to an order by this schema, except
/// that `properties` of a suite come first for Ant.
enum Content {
    /// Text alone.
    Text,
    /// Nothing.
    Empty,
    /// Any number of these.
    Elements(&'static [&'static str]),
}

struct Rule {
    element: &'static str,
    required: &'static [(&'static str, Kind)],
    optional: &'static [(&'static str, Kind)],
    content: Content,
}

const RULES: &[Rule] = &[
    Rule {
        element: "testsuites",
        required: &[],
        optional: &[
            ("name", Text),
            ("time", Seconds),
            ("tests", Count),
            ("failures", Count),
            ("errors", Count),
        ],
        content: Content::Elements(&["testsuite"]),
    },
    Rule {
        element: "testsuite",
        required: &[
            ("name", Token),
            ("tests", Count),
            ("failures", Count),
            ("errors", Count),
        ],
        optional: &[
            ("time", Seconds),
            ("skipped", Count),
            ("timestamp", DateTime),
            ("hostname", Token),
            ("id", Text),
            ("package", Token),
            ("file", Text),
        ],
        content: Content::Elements(&["properties", "testcase", "system-out", "system-err"]),
    },
    Rule {
        element: "testcase",
        required: &[("name", Token)],
        optional: &[("time", Seconds), ("classname", Token), ("group", Text)],
        content: Content::Elements(&["skipped", "error", "failure", "system-out", "system-err"]),
    },
    Rule {
        element: "properties",
        required: &[],
        optional: &[],
        content: Content::Elements(&["property"]),
    },
    Rule {
        element: "property",
        required: &[("name", Token), ("value", Text)],
        optional: &[],
        content: Content::Empty,
    },
    Rule {
        element: "system-out",
        required: &[],
        optional: &[],
        content: Content::Text,
    },
    Rule {
        element: "system-err",
        required: &[],
        optional: &[],
        content: Content::Text,
    },
    // A message and a type are optional there; without them a server has nothing to show.
    Rule {
        element: "failure",
        required: &[("message", Text), ("type", Token)],
        optional: &[],
        content: Content::Text,
    },
    Rule {
        element: "error",
        required: &[("message", Text), ("type", Token)],
        optional: &[],
        content: Content::Text,
    },
    Rule {
        element: "skipped",
        required: &[],
        optional: &[("message", Text), ("type", Token)],
        content: Content::Text,
    },
];

/// What our files have beyond the schema, since readers know it: GitLab and CircleCI read `file`,
/// Jenkins' JUnit step the properties of a case. `@` is an attribute, `/` a child.
pub(crate) const ADDITIONS: &[(&str, Addition)] = &[
    ("testsuites@timestamp", Some(DateTime)),
    ("testsuites@skipped", Some(Count)),
    ("testcase@assertions", Some(Count)),
    ("testcase@file", Some(Token)),
    ("testcase@line", Some(Count)),
    ("testcase/properties", None),
];

/// The type of an added attribute; nothing for an added element.
pub(crate) type Addition = Option<Kind>;

/// What a document has that the rules do not allow.
#[derive(Default)]
pub(crate) struct Findings {
    /// Violations, each with its place.
    pub(crate) problems: Vec<String>,
    /// Which of [`ADDITIONS`] it uses.
    pub(crate) additions: BTreeSet<&'static str>,
}

/// Holds a document against the rules.
pub(crate) fn validate(document: &Document<'_>) -> Findings {
    let mut findings = Findings::default();
    let root = document.root_element();
    if root.tag_name().name() != "testsuites" {
        findings.report(root, "is no root");
    }
    findings.element(root);
    findings.counts(root);
    for suite in elements(root).filter(|node| node.has_tag_name("testsuite")) {
        findings.counts(suite);
    }
    findings.identities(root);
    findings
}

fn elements<'a, 'i>(node: Node<'a, 'i>) -> impl Iterator<Item = Node<'a, 'i>> {
    node.children().filter(Node::is_element)
}

impl Findings {
    fn report(&mut self, node: Node<'_, '_>, what: &str) {
        let at = node.document().text_pos_at(node.range().start);
        let name = node.tag_name().name();
        self.problems.push(format!("{at}: <{name}> {what}"));
    }

    /// Whether it is a known addition; then it is noted.
    fn addition(&mut self, what: &str) -> Option<Addition> {
        let (name, kind) = ADDITIONS.iter().find(|(name, _)| *name == what)?;
        self.additions.insert(name);
        Some(*kind)
    }

    fn element(&mut self, node: Node<'_, '_>) {
        let name = node.tag_name().name();
        let Some(rule) = RULES.iter().find(|rule| rule.element == name) else {
            self.report(node, "is not in the schema");
            return;
        };
        if node.tag_name().namespace().is_some() {
            self.report(node, "has a namespace");
        }
        for (attribute, _) in rule.required {
            if !node.has_attribute(*attribute) {
                self.report(node, &format!("lacks {attribute}"));
            }
        }
        for attribute in node.attributes() {
            let known = rule.required.iter().chain(rule.optional);
            let known = known.filter(|(name, _)| *name == attribute.name());
            let kind = known.map(|(_, kind)| *kind).next();
            let added = || format!("{name}@{}", attribute.name());
            match kind.or_else(|| self.addition(&added()).flatten()) {
                None => self.report(node, &format!("must not have {}", attribute.name())),
                Some(kind) if !fits(attribute.value(), kind) => {
                    let (key, value) = (attribute.name(), attribute.value());
                    self.report(
                        node,
                        &format!("has {key}={value:?}, which is of another type"),
                    );
                }
                Some(_) => {}
            }
        }
        self.content(node, &rule.content);
    }

    fn content(&mut self, node: Node<'_, '_>, content: &Content) {
        let name = node.tag_name().name();
        let allowed: &[&str] = match content {
            Content::Text | Content::Empty => &[],
            Content::Elements(names) => names,
        };
        let text = node.children().filter(Node::is_text);
        let text: String = text.filter_map(|text| text.text()).collect();
        if !matches!(content, Content::Text) && !text.trim().is_empty() {
            self.report(node, "must not hold text");
        }
        let mut other = false;
        let mut verdicts = 0;
        for child in node.children().filter(Node::is_element) {
            let kind = child.tag_name().name();
            if !allowed.contains(&kind) && self.addition(&format!("{name}/{kind}")).is_none() {
                self.report(child, &format!("must not be in <{name}>"));
            }
            if kind == "properties" && other {
                self.report(child, "must come first");
            }
            other = true;
            verdicts += usize::from(matches!(kind, "skipped" | "error" | "failure"));
            self.element(child);
        }
        if verdicts > 1 {
            self.report(node, "has more than one verdict");
        }
    }

    /// The attributes that count elements below them.
    fn counts(&mut self, node: Node<'_, '_>) {
        for (attribute, element) in [
            ("tests", "testcase"),
            ("failures", "failure"),
            ("errors", "error"),
            ("skipped", "skipped"),
        ] {
            let all = node.descendants();
            let counted = all.filter(|node| node.has_tag_name(element)).count();
            match node.attribute(attribute) {
                Some(told) if told != counted.to_string() => {
                    self.report(node, &format!("says {attribute}={told} for {counted}"));
                }
                // Of tests, failures and errors the root may be silent in the schema; ours is not.
                None if attribute != "skipped" || counted > 0 => {
                    self.report(node, &format!("does not say {attribute}"));
                }
                _ => {}
            }
        }
    }

    /// Servers know a case by its class and its name.
    fn identities(&mut self, root: Node<'_, '_>) {
        let mut seen = BTreeSet::new();
        for case in root.descendants().filter(|n| n.has_tag_name("testcase")) {
            let identity = (case.attribute("classname"), case.attribute("name"));
            if !seen.insert(identity) {
                self.report(case, &format!("is there twice: {identity:?}"));
            }
        }
    }
}

fn fits(value: &str, kind: Kind) -> bool {
    match kind {
        Kind::Text => true,
        // No space at either end, no two in a row, no line break.
        Kind::Token => {
            !value.is_empty() && value.split(' ').all(|w| !w.is_empty()) && !has_break(value)
        }
        Kind::Count => digits(value) && value.parse::<i32>().is_ok(),
        Kind::Seconds => match value.split_once('.') {
            Some((whole, part)) => digits(whole) && digits(part) && part.len() <= 3,
            None => digits(value),
        },
        Kind::DateTime => is_date_time(value),
    }
}

fn has_break(value: &str) -> bool {
    value.contains(['\n', '\r', '\t'])
}

fn digits(text: &str) -> bool {
    !text.is_empty() && text.chars().all(|c| c.is_ascii_digit())
}

/// `2026-11-26T21:00:00`, perhaps with a part of a second and a zone.
fn is_date_time(value: &str) -> bool {
    let Some((date, rest)) = value.split_once('T') else {
        return false;
    };
    let in_range = |text: &str, width: usize, range: std::ops::RangeInclusive<u32>| {
        text.len() == width
            && digits(text)
            && text.parse().is_ok_and(|number| range.contains(&number))
    };
    let clock = |text: &str, widths: &[u32]| {
        let parts: Vec<&str> = text.split(':').collect();
        let bounds = parts.iter().zip(widths);
        parts.len() == widths.len()
            && bounds
                .into_iter()
                .all(|(part, most)| in_range(part, 2, 0..=*most))
    };
    let (time, zone) = match rest.find(['Z', '+', '-']) {
        Some(at) => rest.split_at(at),
        None => (rest, ""),
    };
    let (time, part) = time.split_once('.').unwrap_or((time, "0"));
    let date: Vec<&str> = date.split('-').collect();
    let [year, month, day] = date.as_slice() else {
        return false;
    };
    in_range(year, 4, 1..=9999)
        && in_range(month, 2, 1..=12)
        && in_range(day, 2, 1..=31)
        && clock(time, &[23, 59, 59])
        && digits(part)
        && match zone.strip_prefix(['+', '-']) {
            Some(offset) => clock(offset, &[14, 59]),
            None => matches!(zone, "" | "Z"),
        }
}

mod tests {
    use rstest::rstest;

    use super::*;

    const SUITE: &str = "name='s' tests='1' failures='0' errors='0'";

    fn in_root(suite: &str, case: &str) -> String {
        format!(
            "<testsuites tests='1' failures='0' errors='0'><testsuite {suite}>{case}</testsuite></testsuites>"
        )
    }

    #[track_caller]
    fn problems(xml: &str) -> String {
        let document = Document::parse(xml).expect("XML");
        validate(&document).problems.join("; ")
    }

    /// What the checker lets pass it has to let pass for a reason: each rule, broken once.
    #[rstest]
    #[case("<testcase name='a'/>", "")]
    #[case(
        "<testcase name='a' classname='c' file='f' line='3' time='0.125'/>",
        ""
    )]
    #[case("<testcase name='a'/><testcase name='a'/>", "there twice")]
    #[case("<testcase classname='c'/>", "lacks name")]
    #[case("<testcase name=''/>", "of another type")]
    #[case("<testcase name='a' flavour='x'/>", "must not have flavour")]
    #[case("<testcase name='a' time='1e-3'/>", "time=\"1e-3\"")]
    #[case("<testcase name='a' time='0.1234'/>", "time=\"0.1234\"")]
    #[case("<testcase name='a' time='-1'/>", "time=\"-1\"")]
    #[case("<testcase name='a' line='-1'/>", "line=\"-1\"")]
    #[case("<testcase name='a'>text</testcase>", "must not hold text")]
    #[case(
        "<testcase name='a'><testcase name='b'/></testcase>",
        "must not be in <testcase>"
    )]
    #[case("<testcase name='a'><note/></testcase>", "is not in the schema")]
    #[case("<testcase name='a'><failure message='m'/></testcase>", "lacks type")]
    #[case(
        "<testcase name='a'><failure message='m' type='t'/></testcase>",
        "failures=0 for 1"
    )]
    #[case(
        "<testcase name='a'><error message='m' type='t'/></testcase>",
        "errors=0 for 1"
    )]
    #[case("<testcase name='a'><skipped/></testcase>", "does not say skipped")]
    #[case(
        "<testcase name='a'><skipped/><skipped/></testcase>",
        "more than one verdict"
    )]
    #[case(
        "<testcase name='a'><system-out/><properties/></testcase>",
        "must come first"
    )]
    #[case("<testcase name='a' xmlns='urn:x'/>", "has a namespace")]
    #[case("<properties><property name='n'/></properties>", "lacks value")]
    #[case("", "tests=1 for 0")]
    fn each_rule_of_a_case_is_kept(#[case] case: &str, #[case] problem: &str) {
        let found = problems(&in_root(SUITE, case));
        match problem {
            "" => assert_eq!(found, ""),
            _ => assert!(found.contains(problem), "{found:?}"),
        }
    }

    #[rstest]
    #[case("name='s' tests='1' failures='0'", "lacks errors")]
    #[case("name='s' tests='01x' failures='0' errors='0'", "tests=\"01x\"")]
    #[case(
        "name='s' tests='1' failures='0' errors='0' timestamp='yesterday'",
        "yesterday"
    )]
    #[case(
        "name='s' tests='1' failures='0' errors='0' time='1 s'",
        "time=\"1 s\""
    )]
    fn each_rule_of_a_suite_is_kept(#[case] suite: &str, #[case] problem: &str) {
        let found = problems(&in_root(suite, "<testcase name='a'/>"));
        assert!(found.contains(problem), "{found:?}");
    }

    #[rstest]
    #[case("2026-11-26T21:00:00", true)]
    #[case("2026-11-26T21:00:00.123+00:00", true)]
    #[case("2026-11-26T21:00:00Z", true)]
    #[case("2026-11-26 21:00:00", false)]
    #[case("2026-13-26T21:00:00", false)]
    #[case("2026-11-26T25:00:00", false)]
    #[case("2026-11-26T21:00", false)]
    #[case("2026-11-26T21:00:00+0000", false)]
    fn times_are_read(#[case] text: &str, #[case] valid: bool) {
        assert_eq!(is_date_time(text), valid);
    }
}
