//! Texts that repeat and ought to, with the prompts that ask for them.
//!
//! Each is what the prompt asks for, complete and no longer than asked. Flagging one is a false
//! alarm; stopping one destroys a right answer.

use super::document::{Class, Document, Stratum};
use super::random::Random;

/// Every look-alike.
pub(super) fn documents(seed: u64) -> Vec<Document> {
    let named = |(name, class, prompt, text): (&str, Class, &str, String)| Document {
        prompt: Some(prompt.to_owned()),
        ..Document::new(
            format!("look-alike/{name}"),
            format!("look-alike-{name}"),
            Stratum::LookAlike,
            class,
            text,
        )
    };
    let mut random = Random::named(seed, "look-alikes");
    let mut all = asked_for();
    all.extend(formats());
    all.extend(code());
    all.extend(data(&mut random));
    all.into_iter().map(named).collect()
}

type LookAlike = (&'static str, Class, &'static str, String);

fn lines(range: std::ops::RangeInclusive<usize>, line: impl Fn(usize) -> String) -> String {
    range.map(|number| line(number) + "\n").collect()
}

/// Repetition that a person wants.
fn asked_for() -> Vec<LookAlike> {
    use Class::{Data, Prose};
    vec![
        ("lines-100", Prose, "Write \"I will not talk in class.\" 100 times.",
            "I will not talk in class.\n".repeat(100)),
        ("word-500", Prose, "Repeat the word hello 500 times, separated by spaces.",
            "hello ".repeat(500)),
        ("emoji-40", Prose, "Send me 40 heart emoji.", "❤️".repeat(40)),
        ("emoji-400", Prose, "Send me 400 thumbs up emoji in a row.", "👍".repeat(400)),
        ("around-the-world", Prose, "What are the complete lyrics of a song that repeats \"Around the world\" 72 times?",
            "Around the world, around the world\n".repeat(72)),
        ("coda", Prose, "Write a coda that sings \"Na na na nananana, hey Jude\" 18 times.",
            "Na na na nananana, nananana, hey Jude\n".repeat(18)),
        ("refrain", Prose, "Write a hymn of ten verses with the same refrain of two lines.",
            lines(1..=10, |verse| format!("Verse {verse} brings the day to line {}\nGlory, glory, sing the morning,\nGlory, glory, sing the night.\n", verse * 7))),
        ("litany", Prose, "Write a litany with 40 invocations, each answered by \"pray for us\".",
            lines(1..=40, |n| format!("Keeper of the {} gate, pray for us.", ["north", "south", "east", "west", "old"][n % 5]))),
        ("lorem", Prose, "Give me six identical paragraphs of lorem ipsum as filler.",
            "Lorem ipsum dolor sit amet, consectetur adipiscing elit, sed do eiusmod tempor incididunt ut labore et dolore magna aliqua.\n\n".repeat(6)),
        ("count-300", Data, "Count from 1 to 300, one number per line.", lines(1..=300, |n| n.to_string())),
        ("items-40", Prose, "Write forty lines of the form \"Line N: item number N of forty\".",
            lines(1..=40, |n| format!("Line {n}: item number {n} of forty"))),
        ("fizzbuzz", Data, "Print FizzBuzz for 1 to 200.", lines(1..=200, |n| match (n % 3, n % 5) {
            (0, 0) => "FizzBuzz".to_owned(),
            (0, _) => "Fizz".to_owned(),
            (_, 0) => "Buzz".to_owned(),
            _ => n.to_string(),
        })),
        ("a-third", Data, "Give 1/3 to 300 decimal places.", format!("0.{}", "3".repeat(300))),
        ("a-seventh", Data, "Give 1/7 to 600 decimal places.", format!("0.{}", "142857".repeat(100))),
        ("bottles", Prose, "Sing 99 bottles, but only from 30 down.",
            lines(1..=30, |n| format!("{0} bottles of beer on the wall, {0} bottles of beer. Take one down, pass it around.", 31 - n))),
        ("mantra", Prose, "Repeat the mantra \"om mani padme hum\" 108 times.", "om mani padme hum ".repeat(108)),
        ("apology", Prose, "Write the sentence \"The build failed again.\" in 30 rows.", "The build failed again.\n".repeat(30)),
        ("laugh", Prose, "Laugh with 200 ha.", "ha".repeat(200)),
        ("scream", Prose, "Scream with 300 letters a.", "a".repeat(300)),
        ("drill", Prose, "Write a typing drill: the line \"asdf jkl; asdf jkl;\" 50 times.", "asdf jkl; asdf jkl;\n".repeat(50)),
    ]
}

/// Repetition of forms, drawings and documents.
fn formats() -> Vec<LookAlike> {
    use Class::{Prose, Table};
    vec![
        (
            "times-table",
            Table,
            "Write the multiplication table to 20 as a Markdown table.",
            lines(1..=20, |row| {
                (1..=20)
                    .map(|column| format!("| {} ", row * column))
                    .collect::<String>()
                    + "|"
            }),
        ),
        (
            "not-available",
            Table,
            "Make a Markdown table of 40 sensors with three readings each; none is available yet.",
            format!(
                "| sensor | a | b | c |\n|---|---|---|---|\n{}",
                lines(1..=40, |n| format!("| S{n} | n/a | n/a | n/a |"))
            ),
        ),
        (
            "equal-rows",
            Table,
            "Make an empty Markdown form with 30 rows and 4 columns.",
            format!(
                "| name | date | sum | sign |\n|---|---|---|---|\n{}",
                "|  |  |  |  |\n".repeat(30)
            ),
        ),
        (
            "contents",
            Table,
            "Write a table of contents with dot leaders for 25 chapters.",
            lines(1..=25, |n| {
                format!("Chapter {n} {} {}", ".".repeat(60 - n % 7), n * 13)
            }),
        ),
        (
            "ruler",
            Table,
            "Draw a line of 200 dashes.",
            "-".repeat(200),
        ),
        (
            "box",
            Table,
            "Draw an empty ASCII box, 60 wide and 20 high.",
            format!(
                "+{0}+\n{1}+{0}+\n",
                "-".repeat(58),
                format!("|{}|\n", " ".repeat(58)).repeat(18)
            ),
        ),
        (
            "checkerboard",
            Table,
            "Draw a checkerboard of 16 by 16 with # and spaces.",
            format!("{}\n{}\n", "# ".repeat(8), " #".repeat(8)).repeat(8),
        ),
        (
            "to-do",
            Prose,
            "Give me a to-do list with 40 empty boxes.",
            "- [ ] \n".repeat(40),
        ),
        (
            "blank-form",
            Table,
            "Write a form with 30 blank lines to fill in.",
            lines(1..=30, |_| {
                format!("Name: {} Date: {}", "_".repeat(30), "_".repeat(12))
            }),
        ),
        (
            "progress",
            Table,
            "Show what a progress bar prints, from 0 to 100 % in steps of 2.",
            lines(0..=50, |n| {
                format!("[{}{}] {}%", "#".repeat(n), ".".repeat(50 - n), n * 2)
            }),
        ),
        (
            "tab",
            Table,
            "Write a drum tab with 16 equal bars.",
            lines(1..=3, |n| {
                format!(
                    "{}|{}",
                    ["HH", "SD", "BD"][n - 1],
                    ["x-x-x-x-|", "----o---|", "o-----o-|"][n - 1].repeat(16)
                )
            }),
        ),
        (
            "chords",
            Prose,
            "Write a blues of 12 bars, six times, as chords only.",
            "E7 E7 E7 E7 | A7 A7 E7 E7 | B7 A7 E7 B7\n".repeat(6),
        ),
        (
            "tiles",
            Table,
            "Make a tile map of 40 by 30, all grass.",
            format!("{}\n", "G ".repeat(40)).repeat(30),
        ),
        (
            "separators",
            Prose,
            "Write ten notes separated by lines of 60 equal signs.",
            lines(1..=10, |n| {
                format!(
                    "Note {n}: call the {} office.\n{}",
                    ["north", "south"][n % 2],
                    "=".repeat(60)
                )
            }),
        ),
    ]
}

/// Repetition in programs.
fn code() -> Vec<LookAlike> {
    use Class::Code;
    vec![
        (
            "zeros",
            Code,
            "Write a 24 by 24 zero matrix in Python.",
            format!(
                "[\n{}]\n",
                format!("    [{}],\n", "0, ".repeat(24)).repeat(24)
            ),
        ),
        (
            "identity",
            Code,
            "Write the 16 by 16 identity matrix as a Rust array.",
            lines(0..=15, |row| {
                format!(
                    "    [{}],",
                    (0..16)
                        .map(|column| if row == column { "1.0, " } else { "0.0, " })
                        .collect::<String>()
                )
            }),
        ),
        (
            "latex-zeros",
            Code,
            "Write a 20 by 12 zero matrix in LaTeX.",
            format!(
                "\\begin{{pmatrix}}\n{}\\end{{pmatrix}}\n",
                format!("{}0 \\\\\n", "0 & ".repeat(11)).repeat(20)
            ),
        ),
        (
            "assertions",
            Code,
            "Write 40 assertions that f(i) equals i squared.",
            lines(1..=40, |n| format!("    assert_eq!(f({n}), {});", n * n)),
        ),
        (
            "arms",
            Code,
            "Write a match with 60 arms from numbers to names.",
            lines(1..=60, |n| format!("        {n} => \"name_{n}\",")),
        ),
        (
            "closing",
            Code,
            "Close 20 nested blocks.",
            (0..20)
                .rev()
                .map(|n| format!("{}}}\n", "    ".repeat(n)))
                .collect(),
        ),
        (
            "options",
            Code,
            "Write an HTML select for the years 1950 to 2025.",
            lines(1950..=2025, |n| {
                format!("  <option value=\"{n}\">{n}</option>")
            }),
        ),
        (
            "empty-cells",
            Code,
            "Write an HTML table of 20 by 10 empty cells.",
            format!("<tr>{}</tr>\n", "<td></td>".repeat(10)).repeat(20),
        ),
        (
            "inserts",
            Code,
            "Write 50 SQL INSERT statements for test users.",
            lines(1..=50, |n| {
                format!("INSERT INTO users (id, name, active) VALUES ({n}, 'user{n}', true);")
            }),
        ),
        (
            "license",
            Code,
            "Put the SPDX header over 12 empty files.",
            lines(1..=12, |n| {
                format!(
                    "// file_{n}.rs\n// SPDX-License-Identifier: MIT OR Apache-2.0\n// Copyright the authors. All rights reserved under the terms above.\n"
                )
            }),
        ),
        (
            "elif",
            Code,
            "Write a Python chain of 40 elif branches that map codes to labels.",
            lines(1..=40, |n| {
                format!("elif code == {n}:\n    label = \"L{n}\"")
            }),
        ),
        (
            "getters",
            Code,
            "Write getters for 25 fields in Java.",
            lines(1..=25, |n| {
                format!("    public int getField{n}() {{\n        return field{n};\n    }}\n")
            }),
        ),
        (
            "renames",
            Code,
            "Write the commands that move 60 photos into an album.",
            lines(1..=60, |n| {
                format!("mv IMG_{:04}.jpg album/photo_{n:03}.jpg", n * 3 + 100)
            }),
        ),
    ]
}

/// Repetition in data.
fn data(random: &mut Random) -> Vec<LookAlike> {
    use Class::Data;
    let mut log = String::new();
    for second in 0..120 {
        log += &format!(
            "2026-03-01T10:{:02}:{:02}Z INFO health check passed in {} ms\n",
            second / 60,
            second % 60,
            random.between(1, 9)
        );
    }
    vec![
        ("log", Data, "Show 120 lines of a health check log.", log),
        (
            "same-log",
            Data,
            "Show a log in which the same warning comes 60 times.",
            "WARN connection reset by peer, retrying\n".repeat(60),
        ),
        (
            "base64",
            Data,
            "Encode 600 bytes 0x55 as base64.",
            format!("{}=\n", "VVVV".repeat(200)),
        ),
        (
            "hexdump",
            Data,
            "Show a hex dump of 512 zero bytes.",
            lines(0..=31, |n| {
                format!(
                    "{:08x}  00 00 00 00 00 00 00 00  00 00 00 00 00 00 00 00  |................|",
                    n * 16
                )
            }),
        ),
        (
            "csv-constant",
            Data,
            "Write a CSV of 80 samples with the constant value 20.5.",
            lines(1..=80, |n| format!("{n},20.5,ok")),
        ),
        (
            "json-equal",
            Data,
            "Write a JSON array of 40 equal points at the origin.",
            format!("[{}]\n", "{\"x\": 0, \"y\": 0},\n".repeat(40)),
        ),
        (
            "json-null",
            Data,
            "Write a JSON array of 200 nulls.",
            format!("[{}null]\n", "null, ".repeat(199)),
        ),
        (
            "repeat-expansion",
            Data,
            "Write a DNA sequence with 60 CAG repeats.",
            format!("ATGGCGACC{}CCGCCA", "CAG".repeat(60)),
        ),
        (
            "bits",
            Data,
            "Write the Thue-Morse sequence to 512 places.",
            (0..512_u32)
                .map(|n| if n.count_ones() & 1 == 0 { '0' } else { '1' })
                .collect(),
        ),
        (
            "translations",
            Data,
            "Translate 40 times the key \"ok\" into JSON for 40 languages; the word stays the same.",
            lines(1..=40, |n| {
                format!("  {{\"lang\": \"l{n:02}\", \"ok\": \"OK\"}},")
            }),
        ),
        (
            "vector",
            Data,
            "Give an embedding of 384 zeros.",
            format!("[{}0.0]", "0.0, ".repeat(383)),
        ),
        (
            "chess",
            Data,
            "Show an empty FEN board and eight empty ranks.",
            "8/".repeat(8),
        ),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_look_alike_has_a_prompt_and_a_name_of_its_own() {
        let all = documents(20);
        assert!(all.len() >= 53, "{}", all.len());
        let mut names: Vec<_> = all.iter().map(|document| &document.name).collect();
        names.sort();
        names.dedup();
        assert_eq!(names.len(), all.len());
        assert!(
            all.iter()
                .all(|document| document.prompt.is_some() && document.label.is_none())
        );
    }
}
