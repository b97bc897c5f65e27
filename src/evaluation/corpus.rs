//! The corpus from its seed: everything but generations and files, which come from outside.

use super::document::{Class, Document, Planted, Stratum};
use super::random::Random;
use super::{adversarial, healthy, lookalikes, planted};

/// The seed of the published figures.
pub const SEED: u64 = 27;

/// Planted loops of each kind.
pub const PER_KIND: usize = 200;

/// Healthy documents of each class from the generator.
const HEALTHY: usize = 200;

/// All documents that need nothing but a seed, `per_kind` of each planted kind.
#[must_use]
pub fn seeded(seed: u64, per_kind: usize) -> Vec<Document> {
    let mut documents = Vec::new();
    for kind in Planted::ALL {
        documents.extend(planted::documents(seed, kind, per_kind));
    }
    documents.extend(lookalikes::documents(seed));
    documents.extend(adversarial::documents());
    for class in [Class::Prose, Class::Code, Class::Table, Class::Data] {
        documents.extend((0..HEALTHY).map(|index| made(seed, class, index)));
    }
    documents
}

fn made(seed: u64, class: Class, index: usize) -> Document {
    let name = format!("made/{}/{index:03}", class.name());
    let mut random = Random::named(seed, &name);
    let bytes = random.log_between(600, 20_000);
    let text = healthy::text(&mut random, class, bytes);
    let source = format!("made-{}-{}", class.name(), index / 4);
    Document::new(name, source, Stratum::Healthy, class, text)
}

#[cfg(test)]
mod tests {
    use super::super::Half;
    use super::*;

    #[test]
    fn the_split_is_frozen_and_every_kind_is_in_both_halves() {
        let documents = seeded(SEED, 24);
        for half in [Half::Tune, Half::Test] {
            for kind in Planted::ALL {
                let count = documents.iter().filter(|document| {
                    document.half() == half
                        && document
                            .label
                            .as_ref()
                            .is_some_and(|label| label.kind == kind)
                });
                assert!(count.count() >= 4, "{kind:?} in {half:?}");
            }
        }
        // A change here makes all published figures void.
        let halves: String = [
            "serde-1.0.0",
            "planted/token/000",
            "planted/token/001",
            "planted/counter/002",
            "look-alike-lorem",
            "look-alike-zeros",
            "made-prose-0",
            "made-prose-1",
        ]
        .iter()
        .map(|source| {
            if Half::of(source) == Half::Test {
                't'
            } else {
                '-'
            }
        })
        .collect();
        insta::assert_snapshot!(halves, @"tt--tt-t");
    }
}
