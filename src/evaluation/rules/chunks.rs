//! Rules that look at characters.

use std::collections::HashMap;

use super::super::document::Document;
use super::Alarm;

/// Characters with the piece each belongs to.
fn characters(document: &Document) -> (Vec<char>, Vec<usize>) {
    let mut all = (Vec::new(), Vec::new());
    for (at, piece) in document.pieces.iter().enumerate() {
        let text = document.text.get(piece.bytes.clone()).unwrap_or_default();
        for character in text.chars() {
            all.0.push(character);
            all.1.push(at);
        }
    }
    all
}

/// The prefix function of Knuth, Morris and Pratt over the text read backwards from its end; entry
/// `n` gives the smallest period of its last `n + 1` characters as `n + 1 - value`.
fn borders(tail: &[char]) -> Vec<usize> {
    let reversed: Vec<char> = tail.iter().rev().copied().collect();
    let mut border = vec![0; reversed.len()];
    for at in 1..reversed.len() {
        let mut length: usize = border[at - 1];
        while length > 0 && reversed[at] != reversed[length] {
            length = border[length - 1];
        }
        border[at] = length + usize::from(reversed[at] == reversed[length]);
    }
    border
}

/// Every `every` characters, whether the longest suffix of some period among the last `window`
/// meets `met(period, copies, span, unit)`.
fn periodic(
    document: &Document,
    window: usize,
    every: usize,
    met: impl Fn(usize, usize, usize, &[char]) -> bool,
) -> Option<Alarm> {
    let (chars, pieces) = characters(document);
    (every..=chars.len()).step_by(every).find_map(|end| {
        let tail = &chars[end.saturating_sub(window)..end];
        let border = borders(tail);
        let found = (1..=tail.len()).any(|span| {
            let period = span - border[span - 1];
            let copies = span / period;
            copies >= 2 && met(period, copies, span, &tail[tail.len() - period..])
        });
        found.then(|| Alarm::at(pieces[end - 1]))
    })
}

pub(super) fn mimo(document: &Document, scale: f64) -> Option<Alarm> {
    periodic(document, 8_192, 256, |period, copies, _, _| {
        let needed = match period {
            1 => 300.0,
            2..5 => 80.0,
            5..15 => 40.0,
            15..50 => 16.0,
            50..200 => 8.0,
            _ => 5.0,
        };
        copies as f64 >= needed * scale
    })
}

pub(super) fn oh_my_pi(document: &Document, scale: f64) -> Option<Alarm> {
    periodic(document, 4_096, 128, |period, copies, span, unit| {
        let (needed, least) = match period {
            2..=60 => (4.0, 180.0),
            61..=1_024 => (3.0, 1_024.0),
            _ => return false,
        };
        copies as f64 >= needed * scale
            && span as f64 >= least * scale
            && unit
                .iter()
                .any(|c| c.is_alphabetic() || ('\u{1F300}'..='\u{1FAFF}').contains(c))
    })
}

/// A chunk of 50 characters comes 10 times, on average at most 250 characters apart, with at most 5
/// different texts between. A delta with a fence, table, list, heading or divider resets all; the
/// divider's pattern spans `+` to `_`, so a delta that is one digit or full stop is one too.
pub(super) fn gemini(document: &Document, scale: f64, delta_chars: usize) -> Option<Alarm> {
    let (chars, pieces) = characters(document);
    let times = ((10.0 * scale).round() as usize).max(2);
    let mut state = Gemini::default();
    let mut start = 0;
    while start < chars.len() {
        let end = if delta_chars > 0 {
            (start + delta_chars).min(chars.len())
        } else {
            start + pieces[start..].partition_point(|piece| *piece == pieces[start])
        };
        if state.delta(&chars[start..end], times) {
            return Some(Alarm::at(pieces[end - 1]));
        }
        start = end;
    }
    None
}

#[derive(Default)]
struct Gemini {
    history: Vec<char>,
    /// Characters that were cut from the front of the history.
    cut: usize,
    next: usize,
    fenced: bool,
    seen: HashMap<[char; 50], Vec<usize>>,
}

impl Gemini {
    const CHUNK: usize = 50;
    const HISTORY: usize = 5_000;

    fn delta(&mut self, delta: &[char], times: usize) -> bool {
        let text: String = delta.iter().collect();
        let fences = text.matches("```").count();
        if fences > 0 || resets(&text) {
            self.reset();
        }
        let was_fenced = self.fenced;
        self.fenced ^= fences % 2 == 1;
        if was_fenced || self.fenced {
            return false;
        }
        self.history.extend(delta);
        if self.history.len() > Self::HISTORY {
            let gone = self.history.len() - Self::HISTORY;
            self.history.drain(..gone);
            self.cut += gone;
        }
        // The original drops what left the history with each delta. To drop it when it is met, and
        // all of it now and then, comes to the same and takes less time than the rest of the page.
        if self.seen.len() > 4 * Self::HISTORY {
            let cut = self.cut;
            self.seen
                .retain(|_, places| places.last().is_some_and(|place| *place >= cut));
        }
        self.next = self.next.max(self.cut);
        while self.next + Self::CHUNK <= self.cut + self.history.len() {
            let at = self.next;
            self.next += 1;
            let from = at - self.cut;
            let Ok(chunk) = <[char; 50]>::try_from(&self.history[from..from + Self::CHUNK]) else {
                continue;
            };
            let cut = self.cut;
            let places = self.seen.entry(chunk).or_default();
            places.retain(|place| *place >= cut);
            places.push(at);
            if places.len() < times {
                continue;
            }
            let recent = &places[places.len() - times..];
            let distance = (recent[times - 1] - recent[0]) as f64 / (times - 1) as f64;
            if distance > 5.0 * Self::CHUNK as f64 {
                continue;
            }
            let mut between: Vec<&[char]> = recent
                .windows(2)
                .map(|pair| &self.history[pair[0] - self.cut..pair[1] - self.cut])
                .collect();
            between.sort();
            between.dedup();
            if between.len() <= 5 {
                return true;
            }
        }
        false
    }

    fn reset(&mut self) {
        self.cut += self.history.len();
        self.next = self.cut;
        self.history.clear();
        self.seen.clear();
    }
}

fn resets(delta: &str) -> bool {
    let divider = !delta.is_empty()
        && delta.chars().all(|c| {
            ('+'..='_').contains(&c)
                || c == '='
                || c == '*'
                || ('\u{2500}'..='\u{257F}').contains(&c)
        });
    divider
        || delta.lines().any(|line| {
            let line = line.trim_start();
            let numbered = line.trim_start_matches(|c: char| c.is_ascii_digit());
            (line.starts_with('|') && line.len() > 1)
                || line.starts_with("* ")
                || line.starts_with("- ")
                || line.starts_with("+ ")
                || line.starts_with("# ")
                || line.starts_with("## ")
                || line.starts_with("> ")
                || (numbered.len() < line.len() && numbered.starts_with(". "))
        })
}
