//! Words of mathematics as documents: as repetitive as can be without being a loop.

use super::document::{Class, Document, Stratum};
use crate::loops::{Ending, Unit, words};

/// Letters per word.
const LENGTH: usize = 20_000;

/// Every adversarial word, one letter a piece.
pub(super) fn documents() -> Vec<Document> {
    [
        ("square-free", words::square_free(LENGTH)),
        ("thue-morse", words::thue_morse(LENGTH)),
        ("fibonacci", words::fibonacci(LENGTH)),
        ("de-bruijn-2-14", words::de_bruijn(2, 14)),
        ("de-bruijn-4-7", words::de_bruijn(4, 7)),
        ("de-bruijn-10-4", words::de_bruijn(10, 4)),
    ]
    .into_iter()
    .map(|(name, word)| Document {
        pieces: (0..word.len())
            .map(|at| Unit {
                id: word[at],
                bytes: at..at + 1,
            })
            .collect(),
        has_tokens: true,
        ending: Ending::Itself,
        text: word
            .iter()
            .filter_map(|letter| char::from_digit(letter + 10, 36))
            .collect(),
        name: format!("word/{name}"),
        source: format!("word-{name}"),
        stratum: Stratum::Adversarial,
        class: Class::Word,
        prompt: None,
        label: None,
    })
    .collect()
}
