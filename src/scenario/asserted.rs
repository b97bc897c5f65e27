//! What must hold for a test: the assertions of its files, of its turns, and its own.
//!
//! Knows where each of them stands, and of which turn it speaks. What they mean is known to
//! `assertion`.

use serde_saphyr::Spanned;

use super::assertion_wire::AssertionWire;
use super::lower_test::Tests;
use super::mock::MockTool;
use super::template::{self, TemplateError};
use super::tool_names::check_call;
use super::variables::{self, Bound};
use super::wire::TestWire;
use crate::assertion::{Assertion, AssertionSpec, Redaction, SpecError};
use crate::yaml::{Source, YamlError, nearest, remedy};

/// An assertion, and the place where it stands.
#[derive(Clone, Copy)]
pub(super) struct Placed<'a> {
    /// The file.
    pub(super) source: Source<'a>,
    /// The assertion as written.
    pub(super) wire: &'a Spanned<AssertionWire>,
    /// The turn of which it speaks, from 1; nothing for the whole conversation.
    turn: Option<usize>,
}

/// The assertions of the files, then those of the turns, and then the test's own.
pub(super) fn placed<'a>(
    all: &'a Tests<'_>,
    test: &'a Spanned<TestWire>,
) -> Result<Vec<Placed<'a>>, YamlError> {
    let mut found: Vec<Placed<'a>> = Vec::new();
    for layer in all.layers {
        let shared = layer.file.default_test.assertions.iter();
        found.extend(shared.map(|wire| Placed {
            source: layer.source(),
            wire,
            turn: None,
        }));
    }
    for (at, turn) in test.value.turns.iter().flatten().enumerate() {
        let Some(expect) = &turn.expect else { continue };
        if expect.value.is_empty() {
            let message = "'expect' holds no assertion, so this turn could not fail";
            return Err(all.source.error(&expect.referenced, message));
        }
        found.extend(expect.value.iter().map(|wire| Placed {
            source: all.source,
            wire,
            turn: Some(at + 1),
        }));
    }
    let own = test.value.assertions.as_ref();
    let place = own.map_or(&test.referenced, |own| &own.referenced);
    if own.is_some_and(|own| own.value.is_empty()) || (own.is_none() && found.is_empty()) {
        let message = "there is no assertion, so this test could not fail";
        return Err(all.source.error(place, message));
    }
    let own = own.into_iter().flat_map(|own| &own.value);
    found.extend(own.map(|wire| Placed {
        source: all.source,
        wire,
        turn: None,
    }));
    Ok(found)
}

/// The assertions of one case, checked, and the same as written.
pub(super) fn lower(
    all: &Tests<'_>,
    tools: &[MockTool],
    written: &[Placed<'_>],
    (bound, redact): (&Bound<'_>, &[Redaction]),
) -> Result<(Vec<Assertion>, Vec<AssertionSpec>), YamlError> {
    let mut assertions = Vec::new();
    let mut specs = Vec::new();
    for Placed { source, wire, turn } in written {
        let at = &wire.referenced;
        let elsewhere = source.path != all.source.path;
        let spec = AssertionSpec {
            turn: *turn,
            file: elsewhere.then(|| source.path.display().to_string()),
            line: at.line() as usize,
            column: at.column() as usize,
            redact: match wire.value.0.kind.as_str() {
                "snapshot" => redact.to_vec(),
                _ => Vec::new(),
            },
            ..filled(&wire.value.0, bound).map_err(|error| variables::at(source, at, &error))?
        };
        let lowered = spec.lower().map_err(|error| {
            let explained = source.error(at, error.to_string());
            match error {
                SpecError::UnknownKind { kind } => explained.with_help(kind_remedy(&kind)),
                SpecError::Parameter { .. } => explained,
            }
        })?;
        for rule in lowered.rules() {
            check_call(source, at, tools, rule)?;
        }
        assertions.push(lowered);
        specs.push(spec);
    }
    Ok((assertions, specs))
}

/// Adds the names of variables in every text of an assertion.
pub(super) fn names_of(spec: &AssertionSpec, found: &mut Vec<String>) {
    let args = spec.args.iter().flat_map(|args| args.values());
    for value in spec.value.iter().chain(args) {
        template::names_in(value, found);
    }
    for member in spec.assertions.iter().flatten() {
        names_of(member, found);
    }
}

/// An assertion with the variables put in.
fn filled(spec: &AssertionSpec, bound: &Bound<'_>) -> Result<AssertionSpec, TemplateError> {
    let mut filled = spec.clone();
    if let Some(value) = &spec.value {
        filled.value = Some(bound.value(value)?);
    }
    for value in filled.args.iter_mut().flat_map(|args| args.values_mut()) {
        *value = bound.value(value)?;
    }
    for member in filled.assertions.iter_mut().flatten() {
        *member = self::filled(member, bound)?;
    }
    Ok(filled)
}

fn kind_remedy(kind: &str) -> String {
    let negated = AssertionSpec::negatable();
    let negated: Vec<String> = negated.iter().map(|kind| format!("not-{kind}")).collect();
    let known: Vec<&str> = AssertionSpec::kinds()
        .into_iter()
        .chain(negated.iter().map(String::as_str))
        .collect();
    // `{tpye: not-loop}` reads as the short form of an assertion named `tpye`.
    if nearest(kind, known.iter().copied()).is_none() && nearest(kind, ["type"]).is_some() {
        return remedy(kind, &["type"]);
    }
    remedy(kind, &known)
}
