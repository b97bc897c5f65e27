//! What the snapshots of a test do not hold, as the files and the test write it.
//!
//! Those of the files come first and the test's own last, as with assertions. What a redaction does is
//! known to `snapshot`.

use serde_saphyr::Spanned;

use super::asserted::Placed;
use super::lower_test::Tests;
use super::wire::{RedactWire, TestWire};
use crate::assertion::{MOST_REDACTIONS, Redaction};
use crate::yaml::{Source, YamlError};

/// The redactions of a test, each checked where it stands. Its own are for its snapshot, so there has to
/// be one.
pub(super) fn redactions(
    all: &Tests<'_>,
    test: &TestWire,
    assertions: &[Placed<'_>],
) -> Result<Vec<Redaction>, YamlError> {
    let mut kinds = assertions.iter().map(|placed| &placed.wire.value.0.kind);
    if let Some(first) = test.redact.first()
        && !kinds.any(|kind| kind == "snapshot")
    {
        let message = "'redact' is for a snapshot, and this test has none";
        let help = "add the assertion {type: snapshot, match: text}";
        return Err(all.source.error(&first.referenced, message).with_help(help));
    }
    let mut found = Vec::new();
    for layer in all.layers {
        let file = &layer.file;
        let shared = file.redact.iter().chain(&file.default_test.redact);
        for written in shared {
            take(&layer.source(), written, &mut found)?;
        }
    }
    for written in &test.redact {
        take(&all.source, written, &mut found)?;
    }
    Ok(found)
}

fn take(
    source: &Source<'_>,
    written: &Spanned<RedactWire>,
    found: &mut Vec<Redaction>,
) -> Result<(), YamlError> {
    let redaction = Redaction {
        pattern: written.value.pattern.clone(),
        replacement: written.value.replacement.clone(),
    };
    let refused = |problem: String| source.error(&written.referenced, format!("redact: {problem}"));
    redaction.compile().map_err(refused)?;
    if found.len() == MOST_REDACTIONS {
        let problem = format!("a test has at most {MOST_REDACTIONS} redactions");
        return Err(refused(problem));
    }
    found.push(redaction);
    Ok(())
}
