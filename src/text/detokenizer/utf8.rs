//! Bytes that arrive in pieces, as text: complete characters at once, incomplete ones later.

/// How broken bytes become U+FFFD.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Broken {
    /// One for each broken sequence, as `String::from_utf8_lossy` has it.
    PerSequence,
    /// One for each byte, as the `tokenizers` crate's `ByteFallback` has it.
    PerByte,
}

/// The bytes of an incomplete character: three at most.
#[derive(Debug)]
pub(super) struct Utf8 {
    held: Vec<u8>,
    broken: Broken,
}

impl Utf8 {
    pub(super) fn new(broken: Broken) -> Self {
        Self {
            held: Vec::new(),
            broken,
        }
    }

    /// Takes bytes and appends the text that became certain.
    pub(super) fn push(&mut self, bytes: &[u8], out: &mut String) {
        self.held.extend_from_slice(bytes);
        let mut rest = self.held.as_slice();
        loop {
            match std::str::from_utf8(rest) {
                Ok(text) => {
                    out.push_str(text);
                    rest = &[];
                    break;
                }
                Err(error) => {
                    let (valid, after) = rest.split_at(error.valid_up_to());
                    // Valid as just found, so nothing is replaced here.
                    out.push_str(&String::from_utf8_lossy(valid));
                    rest = after;
                    let Some(length) = error.error_len() else {
                        break;
                    };
                    self.broken.replace(length, out);
                    rest = rest.get(length..).unwrap_or_default();
                }
            }
        }
        let kept = rest.len();
        self.held.drain(..self.held.len() - kept);
    }

    /// The end, or something that is no byte: an incomplete character will not be completed.
    pub(super) fn flush(&mut self, out: &mut String) {
        if !self.held.is_empty() {
            self.broken.replace(self.held.len(), out);
            self.held.clear();
        }
    }
}

impl Broken {
    fn replace(self, length: usize, out: &mut String) {
        let times = match self {
            Self::PerSequence => 1,
            Self::PerByte => length,
        };
        out.extend(std::iter::repeat_n(char::REPLACEMENT_CHARACTER, times));
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn any_cut_of_any_bytes_gives_what_lossy_gives(
            bytes in prop::collection::vec(any::<u8>(), 0..40),
            text in "\\PC{0,10}",
            step in 1usize..7,
        ) {
            let all = [text.as_bytes(), &bytes, text.as_bytes()].concat();
            let mut utf8 = Utf8::new(Broken::PerSequence);
            let mut out = String::new();
            for piece in all.chunks(step) {
                utf8.push(piece, &mut out);
                prop_assert!(utf8.held.len() <= 3);
            }
            utf8.flush(&mut out);
            prop_assert_eq!(out, String::from_utf8_lossy(&all));
        }
    }

    #[test]
    fn broken_bytes_are_counted_one_by_one_where_asked() {
        let mut utf8 = Utf8::new(Broken::PerByte);
        let mut out = String::new();
        utf8.push(&[0xe5, 0x8f], &mut out);
        assert_eq!(out, "");
        utf8.push(&[0x41, 0xf0, 0x9f], &mut out);
        utf8.flush(&mut out);
        assert_eq!(out, "\u{fffd}\u{fffd}A\u{fffd}\u{fffd}");
    }
}
