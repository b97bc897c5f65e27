//! Loops planted in healthy text: kind, period, length, onset and surroundings drawn from a seed,
//! the label known because it was planted.
//!
//! How long a planted loop goes on was fixed before any detector was tuned: at least 600 units and
//! at least five copies; in tables and data, where shorter repetition is what the format looks
//! like, at least 2,500 units.

use super::document::{Class, Document, Label, Planted, Stratum};
use super::healthy;
use super::random::Random;
use crate::loops::text_units;

/// The shortest planted loop, in units.
const SHORTEST: usize = 600;
/// The same in tables and data.
const SHORTEST_IN_DATA: usize = 2_500;

/// `count` documents of one kind. They share nothing, so each is a source of its own.
pub(super) fn documents(seed: u64, kind: Planted, count: usize) -> Vec<Document> {
    (0..count)
        .map(|index| document(seed, kind, index))
        .collect()
}

fn document(seed: u64, kind: Planted, index: usize) -> Document {
    let name = format!("planted/{}/{index:03}", kind.name().replace(' ', "-"));
    let mut random = Random::named(seed, &name);
    let class = class_of(kind, &mut random);
    let prefix_bytes = random.log_between(80, 12_000);
    let mut text = healthy::text(&mut random, class, prefix_bytes);
    let onset = text.len();
    let body = body(kind, class, &mut random);
    text += &body.text;
    let label = Label {
        kind,
        bytes: onset..text.len(),
        first_copy: body.first_copy,
    };
    // Three in ten loops end, and the text goes on.
    if random.chance(0.3) {
        let after = random.between(300, 3_000);
        text += &healthy::text(&mut random, Class::Prose, after);
    }
    let mut document = Document::new(name.clone(), name, Stratum::Planted, class, text);
    document.label = Some(label);
    document
}

fn class_of(kind: Planted, random: &mut Random) -> Class {
    match kind {
        Planted::CodeBlock => Class::Code,
        Planted::TableRow => Class::Table,
        Planted::JsonElement => Class::Data,
        Planted::Token | Planted::Whitespace | Planted::LongBlock | Planted::Counter
            if random.chance(0.3) =>
        {
            Class::Code
        }
        _ => Class::Prose,
    }
}

struct Body {
    text: String,
    first_copy: usize,
}

fn body(kind: Planted, class: Class, random: &mut Random) -> Body {
    match kind {
        Planted::Counter => counter(random),
        Planted::Growing => growing(random),
        Planted::PingPong => ping_pong(random),
        Planted::Interleaved => interleaved(random),
        Planted::Drift8 => drift(random, 0.08),
        Planted::Drift25 => drift(random, 0.25),
        _ => {
            let copy = block(kind, random);
            let shortest = match class {
                Class::Table | Class::Data => SHORTEST_IN_DATA,
                _ => SHORTEST,
            };
            // Letters of neighbouring copies share pieces, so one copy alone says too much.
            let eight = text_units(&copy.repeat(8)).len();
            let copies = (shortest * 8).div_ceil(eight).max(5) * random.between(100, 300) / 100;
            // The last copy stops anywhere, as a cap on tokens would have it.
            let mut text = copy.repeat(copies + 1);
            let rest = random.between(0, copy.len() - 1);
            let end = (copies * copy.len() + rest..).find(|end| text.is_char_boundary(*end));
            text.truncate(end.unwrap_or(copies * copy.len()));
            Body {
                first_copy: copy.len(),
                text,
            }
        }
    }
}

/// One copy of an exact loop.
fn block(kind: Planted, random: &mut Random) -> String {
    match kind {
        Planted::Token => random
            .pick(&["!", "the", "0", "<", " ", "好", "…", "ha", ",", "\u{1F642}"])
            .to_owned(),
        Planted::Whitespace => random
            .pick(&["\n", "\n\n", " \n", "\t\n", "\r\n"])
            .to_owned(),
        Planted::Punctuation => random
            .pick(&["?!", ". ", "-=", "}, ", "*#", "!?.", "). "])
            .to_owned(),
        Planted::Phrase => {
            let words = random.between(1, 8);
            let words: Vec<_> = (0..words).map(|_| healthy::word(random)).collect();
            words.join(" ") + random.pick(&[" ", "\n", ", ", "; "])
        }
        Planted::Sentence => healthy::sentence(random) + random.pick(&[" ", "\n", "\n\n"]),
        Planted::Paragraph => {
            sized(random, 97, 512, |random| healthy::sentence(random) + " ") + "\n\n"
        }
        Planted::LongBlock => {
            let code = random.chance(0.4);
            sized(random, 513, 4_000, |random| {
                if code {
                    healthy::function(random, 8) + "\n"
                } else {
                    healthy::paragraph(random, 4) + "\n\n"
                }
            })
        }
        Planted::CodeBlock => {
            let lines = random.between(1, 20);
            healthy::function(random, lines) + "\n"
        }
        Planted::Bullets => {
            let bullets = random.between(1, 5);
            (0..bullets)
                .map(|_| format!("- {}\n", healthy::sentence(random)))
                .collect()
        }
        Planted::TableRow => healthy::table_row(random),
        _ => healthy::json_element(random),
    }
}

/// Parts until a block has a length between `low` and `high` units, drawn with a uniform
/// logarithm.
fn sized(
    random: &mut Random,
    low: usize,
    high: usize,
    part: impl Fn(&mut Random) -> String,
) -> String {
    let wanted = random.log_between(low, high);
    let mut text = String::new();
    loop {
        text += &part(random);
        let units = text_units(&text);
        if let Some(unit) = units.get(wanted) {
            text.truncate(unit.bytes.start);
            return text;
        }
    }
}

fn counter(random: &mut Random) -> Body {
    let verb = healthy::word(random);
    let (first, second) = (healthy::sentence(random), healthy::sentence(random));
    let start = random.between(1, 60);
    let step = random.between(1, 3);
    let items = random.between(60, 150);
    let shape = random.between(0, 4);
    let item = |number: usize| match shape {
        0 => format!("Step {number}: {first}\n"),
        1 => format!("Wait, I should {verb} item {number}. {first} Done. "),
        2 => format!("{number}. {first} {second}\n"),
        3 => format!("Now {verb} line {number} of {}. ", number + step),
        _ => format!("    let value_{number} = {verb}(input[{number}]);\n"),
    };
    let text: String = (0..items).map(|index| item(start + index * step)).collect();
    Body {
        first_copy: item(start).len(),
        text,
    }
}

fn growing(random: &mut Random) -> Body {
    let rounds = random.between(25, 45);
    let opening = format!("{} the ", healthy::word(random));
    let fixed = random.chance(0.5);
    let piece = format!(
        " | {} -v {}",
        healthy::word(random),
        healthy::identifier(random)
    );
    let mut grown = opening.clone();
    let mut text = String::new();
    let mut first_copy = 0;
    for _ in 0..rounds {
        grown += &if fixed {
            piece.clone()
        } else {
            format!(" {} {},", healthy::word(random), healthy::word(random))
        };
        text += &grown;
        text += "\n";
        if first_copy == 0 {
            first_copy = text.len();
        }
    }
    Body { text, first_copy }
}

fn ping_pong(random: &mut Random) -> Body {
    let count = random.between(2, 4);
    let short = random.chance(0.5);
    let sides: Vec<String> = (0..count)
        .map(|side| match side {
            _ if !short => healthy::sentence(random),
            0 => format!("No, it is {}.", random.between(2, 99)),
            1 => format!("Wait, {}.", random.between(2, 99)),
            _ => format!("Let me {} that again.", healthy::word(random)),
        })
        .collect();
    let gap = random.pick(&[" ", "\n"]);
    let mut text = String::new();
    let mut first_copy = 0;
    while text_units(&text).len() < 900 {
        text += &sides[random.between(0, count - 1)];
        text += gap;
        if first_copy == 0 {
            first_copy = text.len();
        }
    }
    Body { text, first_copy }
}

fn interleaved(random: &mut Random) -> Body {
    let fixed = healthy::sentence(random);
    let mut text = String::new();
    let mut first_copy = 0;
    for _ in 0..random.between(30, 60) {
        text += &format!("{fixed} {} ", healthy::sentence(random));
        if first_copy == 0 {
            first_copy = text.len();
        }
    }
    Body { text, first_copy }
}

/// A paragraph again and again, each copy with a share of the original's words replaced.
fn drift(random: &mut Random, share: f64) -> Body {
    let sentences = random.between(2, 5);
    let original = healthy::paragraph(random, sentences);
    let copies = random.between(15, 30);
    let mut text = original.clone() + "\n\n";
    let first_copy = text.len();
    for _ in 1..copies {
        let words: Vec<String> = original
            .split(' ')
            .map(|word| {
                if random.chance(share) {
                    let end: String = word.chars().filter(|c| ".,;".contains(*c)).collect();
                    healthy::word(random).to_owned() + &end
                } else {
                    word.to_owned()
                }
            })
            .collect();
        text += &words.join(" ");
        text += "\n\n";
    }
    Body { text, first_copy }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rstest::rstest;

    #[test]
    fn the_same_seed_plants_the_same_loops() {
        for kind in Planted::ALL {
            let (once, again) = (document(7, kind, 3), document(7, kind, 3));
            assert_eq!((once.text, once.label), (again.text, again.label));
            assert_ne!(document(8, kind, 3).text, document(7, kind, 3).text);
        }
    }

    #[rstest]
    fn an_exact_loop_is_as_long_as_promised_and_exact(#[values(0, 1, 2, 5, 9)] index: usize) {
        for kind in Planted::ALL.into_iter().filter(|kind| kind.is_exact()) {
            let document = document(20, kind, index);
            let label = document.label.clone().unwrap_or_else(|| panic!("no label"));
            let bytes = &document.text.as_bytes()[label.bytes.clone()];
            assert!(
                (label.first_copy..bytes.len()).all(|at| bytes[at] == bytes[at - label.first_copy])
            );
            let (onset, period, end) = document.loop_pieces().unwrap_or_default();
            assert!(end - onset >= SHORTEST.min(5 * period), "{}", document.name);
            assert!(period <= 4_096, "{}: {period}", document.name);
        }
    }

    #[test]
    fn a_drift_changes_about_its_share() {
        let document = document(20, Planted::Drift8, 0);
        let copies: Vec<Vec<&str>> = document.text
            [document.label.map_or(0, |label| label.bytes.start)..]
            .split("\n\n")
            .take(10)
            .map(|copy| copy.split(' ').collect())
            .collect();
        let pairs = copies[0].iter().zip(&copies[5]);
        let changed = pairs.filter(|(one, other)| one != other).count();
        assert!(changed > 0 && changed * 4 < copies[0].len(), "{changed}");
    }
}
