//! Proves loop detectors: a labelled corpus, every known detector on it, and the figures.
//!
//! It knows documents with labels, rules that raise an alarm at a piece, and how to count. It does
//! not know models, files, or how to print: whoever collects generations or reads files hands them
//! over as [`Document`]s.
//!
//! The order of work is part of the method. The corpus, its labels and its split into a half to
//! tune on and a half to test on were fixed first; thresholds were chosen on the tuning half; the
//! published page shows the test half.

mod adversarial;
mod corpus;
mod document;
mod files;
mod healthy;
mod labels;
mod lookalikes;
mod page;
mod page_generated;
mod planted;
mod plot;
mod random;
mod rules;
mod score;

pub use crate::statistics::Share;
pub use corpus::{PER_KIND, SEED, seeded};
pub use document::{Class, Document, Half, Label, Planted, Stratum};
pub use files::{PER_SOURCE, document as file};
pub use labels::Outcome;
pub use page::{Provenance, page};
pub use plot::{curves, delays};
pub use rules::{Alarm, Contender, SCALE, contenders};
pub use score::{Tally, evaluate};

use crate::loops::{Change, Ending, Settings, Watch};

/// Documents of prose and code without a loop that would be confirmed loops if an allowance cut
/// them off at a random piece, and are none if they end there.
#[must_use]
pub fn cut_short(documents: &[Document]) -> Share {
    let mut share = Share::default();
    let healthy = documents
        .iter()
        .filter(|document| document.stratum == Stratum::Healthy)
        .filter(|document| matches!(document.class, Class::Prose | Class::Code));
    for document in healthy {
        let mut random = random::Random::named(SEED, &document.name);
        let end = document.pieces[random.between(0, document.pieces.len().max(1) - 1)]
            .bytes
            .end;
        let confirmed = |ending| {
            let verdict = watch_text(&document.text[..end], ending, |_| ()).verdict();
            verdict.is_some_and(|verdict| verdict.state.is_confirmed())
        };
        share.count(confirmed(Ending::CutOff) && !confirmed(Ending::Itself));
    }
    share
}

/// What our own detectors say about a document, and every change on the way.
fn watch(document: &Document, mut told: impl FnMut(Change)) -> Watch {
    if !document.has_tokens {
        return watch_text(&document.text, document.ending, told);
    }
    let mut watch = Watch::new(Settings::default());
    for piece in &document.pieces {
        let text = document.text.get(piece.bytes.clone()).unwrap_or_default();
        watch
            .push_token(piece.id, text)
            .into_iter()
            .for_each(&mut told);
    }
    watch.finish(document.ending).into_iter().for_each(told);
    watch
}

fn watch_text(text: &str, ending: Ending, mut told: impl FnMut(Change)) -> Watch {
    let mut watch = Watch::new(Settings::for_text());
    watch.push_text(text, &mut told);
    watch.finish(ending).into_iter().for_each(told);
    watch
}
