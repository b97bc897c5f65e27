//! Stop strings: removed from the text, and the generation ends.

/// Watches a stream of text for stop strings, however they are cut into pieces.
#[derive(Debug)]
pub struct StopStrings {
    stops: Vec<String>,
    /// Text that may be the beginning of a stop string.
    held: String,
}

/// What a piece of text led to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Passed {
    /// Text that cannot belong to a stop string.
    pub text: String,
    /// Whether a stop string is complete; the rest of the text is gone.
    pub stopped: bool,
}

impl StopStrings {
    /// Watches for `stops`; empty strings are ignored.
    #[must_use]
    pub fn new(stops: &[String]) -> Self {
        Self {
            stops: stops
                .iter()
                .filter(|stop| !stop.is_empty())
                .cloned()
                .collect(),
            held: String::new(),
        }
    }

    /// Takes the next piece of text. The stop string that is complete first counts; of several
    /// that end at the same character, the longest.
    pub fn push(&mut self, text: &str) -> Passed {
        for character in text.chars() {
            self.held.push(character);
            if let Some(stop) = self.complete() {
                self.held.truncate(self.held.len() - stop);
                return Passed {
                    text: std::mem::take(&mut self.held),
                    stopped: true,
                };
            }
        }
        let keep = self.held.len() - self.longest_beginning();
        let rest = self.held.split_off(keep);
        Passed {
            text: std::mem::replace(&mut self.held, rest),
            stopped: false,
        }
    }

    /// Bytes of the longest stop string at the end of the held text.
    fn complete(&self) -> Option<usize> {
        self.stops
            .iter()
            .filter(|stop| self.held.ends_with(stop.as_str()))
            .map(String::len)
            .max()
    }

    /// The text still held back, now that nothing follows.
    #[must_use]
    pub fn finish(self) -> String {
        self.held
    }

    /// Bytes at the end of the held text that are the beginning of some stop string.
    fn longest_beginning(&self) -> usize {
        self.stops
            .iter()
            .flat_map(|stop| stop.char_indices().skip(1).map(move |(at, _)| &stop[..at]))
            .filter(|beginning| self.held.ends_with(beginning))
            .map(str::len)
            .max()
            .unwrap_or(0)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// What the watcher must do, said plainly on the whole text.
    fn reference(text: &str, stops: &[String]) -> (String, bool) {
        let complete = text.char_indices().find_map(|(at, character)| {
            let seen = &text[..at + character.len_utf8()];
            let ends = stops.iter().filter(|stop| seen.ends_with(stop.as_str()));
            ends.map(|stop| seen.len() - stop.len()).min()
        });
        match complete {
            Some(at) => (text[..at].to_owned(), true),
            None => (text.to_owned(), false),
        }
    }

    proptest! {
        #[test]
        fn pieces_do_not_matter(
            pieces in prop::collection::vec("[abé]{0,3}", 0..12),
            stops in prop::collection::vec("[abé]{1,5}", 0..3),
        ) {
            let mut watcher = StopStrings::new(&stops);
            let mut seen = String::new();
            let mut stopped = false;
            for piece in &pieces {
                let passed = watcher.push(piece);
                seen.push_str(&passed.text);
                stopped = passed.stopped;
                if stopped {
                    break;
                }
            }
            if !stopped {
                seen.push_str(&watcher.finish());
            }
            prop_assert_eq!((seen, stopped), reference(&pieces.concat(), &stops));
        }
    }

    #[test]
    fn a_possible_beginning_is_held_back() {
        let mut watcher = StopStrings::new(&["END".to_owned()]);
        assert_eq!(watcher.push("the E").text, "the ");
        assert_eq!(watcher.push("N").text, "");
        assert_eq!(watcher.push("T").text, "ENT");
        let stopped = watcher.push("s. END more");
        assert_eq!((stopped.text.as_str(), stopped.stopped), ("s. ", true));
    }
}
