//! Text without loops, from word lists: what stands before and after a planted loop, and what the
//! loops are made of.

use super::document::Class;
use super::random::Random;

const NOUNS: &[&str] = &[
    "server",
    "request",
    "buffer",
    "thread",
    "window",
    "model",
    "file",
    "record",
    "answer",
    "cache",
    "reader",
    "branch",
    "signal",
    "garden",
    "river",
    "letter",
    "engine",
    "weather",
    "budget",
    "journey",
    "morning",
    "neighbour",
    "library",
    "question",
    "village",
    "account",
    "machine",
    "forest",
    "station",
    "number",
    "argument",
    "schedule",
    "pattern",
    "bridge",
    "contract",
    "kitchen",
    "measure",
    "orchard",
    "harbour",
    "mountain",
    "ticket",
    "version",
    "worker",
    "queue",
    "parser",
    "socket",
    "folder",
    "teacher",
    "doctor",
    "customer",
    "method",
    "vector",
    "channel",
    "stream",
    "token",
    "prompt",
    "scenario",
    "baseline",
    "island",
    "market",
    "winter",
    "address",
];
const VERBS: &[&str] = &[
    "reads",
    "writes",
    "checks",
    "opens",
    "closes",
    "sends",
    "keeps",
    "finds",
    "builds",
    "moves",
    "follows",
    "replaces",
    "measures",
    "returns",
    "changes",
    "explains",
    "reaches",
    "visits",
    "describes",
    "compares",
    "protects",
    "remembers",
    "rejects",
    "repairs",
    "carries",
    "crosses",
    "delivers",
    "examines",
    "gathers",
    "improves",
    "invites",
    "joins",
    "limits",
    "mentions",
    "observes",
    "prepares",
    "records",
    "shares",
    "supports",
    "updates",
];
const ADJECTIVES: &[&str] = &[
    "small", "early", "quiet", "broken", "careful", "simple", "distant", "recent", "narrow",
    "local", "heavy", "bright", "common", "empty", "final", "gentle", "hidden", "idle", "late",
    "modern", "native", "open", "plain", "quick", "rough", "sharp", "tall", "useful", "warm",
    "young", "ancient", "bitter", "curious", "dry", "eager", "familiar", "grand", "honest",
];
const OPENINGS: &[&str] = &[
    "",
    "",
    "",
    "",
    "In short, ",
    "After a while ",
    "For this reason ",
    "On the other hand, ",
    "As a rule, ",
    "Before noon ",
    "At first ",
    "Most of the time ",
    "Here ",
    "However, ",
    "In practice ",
    "Later ",
    "Once more, ",
    "Perhaps ",
    "So ",
    "Then ",
    "Usually ",
];
const LINKS: &[&str] = &[
    " because ",
    " while ",
    " and ",
    ", but ",
    " when ",
    " although ",
    " so that ",
    ", which means ",
    " until ",
    " if ",
    " where ",
    "; meanwhile ",
    " before ",
    " after ",
    ", since ",
];
const TYPES: &[&str] = &[
    "usize",
    "u32",
    "String",
    "Vec<u8>",
    "bool",
    "f64",
    "&str",
    "Option<usize>",
];

pub(super) fn noun(random: &mut Random) -> &'static str {
    random.pick(NOUNS)
}

pub(super) fn word(random: &mut Random) -> &'static str {
    match random.between(0, 2) {
        0 => random.pick(NOUNS),
        1 => random.pick(VERBS),
        _ => random.pick(ADJECTIVES),
    }
}

fn clause(random: &mut Random) -> String {
    let article = random.pick(&[
        "the", "a", "every", "this", "one", "another", "their", "our",
    ]);
    let mut text = article.to_owned();
    if random.chance(0.6) {
        text = format!("{text} {}", random.pick(ADJECTIVES));
    }
    text = format!("{text} {} {}", random.pick(NOUNS), random.pick(VERBS));
    let object = random.pick(&["the", "a", "no", "its", "each"]);
    text = format!("{text} {object} ");
    if random.chance(0.4) {
        text = format!("{text}{} ", random.pick(ADJECTIVES));
    }
    text + random.pick(NOUNS)
}

/// One sentence with its full stop, without a space behind it.
pub(super) fn sentence(random: &mut Random) -> String {
    let opening = random.pick(OPENINGS);
    let mut text = format!("{opening}{}", clause(random));
    if random.chance(0.5) {
        text = format!("{text}{}{}", random.pick(LINKS), clause(random));
    }
    if random.chance(0.15) {
        text = format!(
            "{text} ({} {})",
            random.between(2, 4000),
            random.pick(NOUNS)
        );
    }
    let mut chars = text.chars();
    let first: String = chars
        .next()
        .into_iter()
        .flat_map(char::to_uppercase)
        .collect();
    format!("{first}{}.", chars.as_str())
}

pub(super) fn paragraph(random: &mut Random, sentences: usize) -> String {
    let all: Vec<_> = (0..sentences).map(|_| sentence(random)).collect();
    all.join(" ")
}

/// A name no other one equals often.
pub(super) fn identifier(random: &mut Random) -> String {
    format!("{}_{}", random.pick(ADJECTIVES), random.pick(NOUNS))
}

/// A function in Rust of some lines.
pub(super) fn function(random: &mut Random, lines: usize) -> String {
    let (name, argument) = (identifier(random), noun(random));
    let mut text = format!(
        "fn {name}({argument}: {}) -> {} {{\n",
        random.pick(TYPES),
        random.pick(TYPES)
    );
    for _ in 0..lines {
        let (left, right) = (identifier(random), identifier(random));
        let number = random.between(0, 999);
        text += &match random.between(0, 5) {
            0 => format!("    let {left} = {right}({argument}, {number});\n"),
            1 => format!("    if {left} > {number} {{\n        return {right};\n    }}\n"),
            2 => format!("    // {}\n", sentence(random)),
            3 => format!("    {left}.{}(&{right})?;\n", noun(random)),
            4 => format!(
                "    for {} in {left}.iter() {{\n        {right} += {number};\n    }}\n",
                noun(random)
            ),
            _ => format!("    assert_eq!({left}, {right}[{number}]);\n"),
        };
    }
    text + "}\n"
}

pub(super) fn table_row(random: &mut Random) -> String {
    let (item, number, kind) = (
        identifier(random),
        random.between(1, 9999),
        random.pick(ADJECTIVES),
    );
    format!("| {item} | {number} | {kind} |\n")
}

pub(super) fn json_element(random: &mut Random) -> String {
    let (name, kind) = (identifier(random), random.pick(NOUNS));
    let (id, score) = (random.between(1, 99_999), random.between(0, 9_999));
    format!(
        "  {{\"id\": {id}, \"name\": \"{name}\", \"kind\": \"{kind}\", \"score\": 0.{score:04}}},\n"
    )
}

/// Healthy text of a class, of at least `bytes` bytes.
pub(super) fn text(random: &mut Random, class: Class, bytes: usize) -> String {
    let mut text = match class {
        Class::Table => "| item | count | kind |\n|---|---:|---|\n".to_owned(),
        Class::Data => "[\n".to_owned(),
        _ => String::new(),
    };
    while text.len() < bytes {
        text += &match class {
            Class::Code => {
                let lines = random.between(3, 14);
                function(random, lines) + "\n"
            }
            Class::Table => table_row(random),
            Class::Data => json_element(random),
            Class::Prose | Class::Word => {
                let sentences = random.between(2, 7);
                let heading = random.chance(0.15);
                let title = if heading {
                    format!("## {} {}\n\n", random.pick(ADJECTIVES), random.pick(NOUNS))
                } else {
                    String::new()
                };
                title + &paragraph(random, sentences) + "\n\n"
            }
        };
    }
    text
}
