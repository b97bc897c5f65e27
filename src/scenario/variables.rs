//! The variables of a test: values, and lists of which it becomes a case for each.
//!
//! Knows names, values, and how cases are told apart. What a template looks like is the neighbour
//! `template`.

use indexmap::IndexMap;
use serde_json::Value;
use serde_saphyr::{Location, Spanned};
use sha2::{Digest, Sha256};

use super::slug::slug;
use super::template::{self, TemplateError, is_name};
use super::wire::{Lists, Values};
use crate::yaml::{Source, YamlError};

/// More cases of one test are a mistake.
const MOST_CASES: usize = 1_000;
/// Characters of a value that its case shows in its id.
const SLUG_CHARS: usize = 32;

/// The variables that a file or a test writes down.
#[derive(Debug, Clone, Copy)]
pub(super) struct Written<'a> {
    pub(super) source: Source<'a>,
    pub(super) vars: &'a Values,
    pub(super) matrix: &'a Lists,
}

/// The variables of a test, those of its files included.
#[derive(Debug, Default, Clone)]
pub(super) struct Scope<'a> {
    fixed: IndexMap<&'a str, &'a Value>,
    lists: IndexMap<&'a str, Axis<'a>>,
}

/// A list, and where it stands if it is the test's own.
#[derive(Debug, Clone)]
struct Axis<'a> {
    values: Vec<(&'a Value, String)>,
    own: Option<Location>,
}

/// The variables of one case.
#[derive(Debug, Clone)]
pub(super) struct Bound<'a> {
    values: IndexMap<&'a str, &'a Value>,
    /// What tells the case from the others of its test: empty, or such as `+readme-md+2`.
    pub(super) suffix: String,
}

impl<'a> Scope<'a> {
    /// Lays variables over these. A name that stands here already gets a new meaning.
    pub(super) fn lay(&mut self, written: &Written<'a>, own: bool) -> Result<(), YamlError> {
        let source = written.source;
        for (name, value) in written.vars {
            check_name(&source, name, &value.referenced)?;
            self.lists.shift_remove(name.as_str());
            self.fixed.insert(name, &value.value);
        }
        for (name, values) in written.matrix {
            let at = &values.referenced;
            check_name(&source, name, at)?;
            if written.vars.contains_key(name) {
                let message = format!("'{name}' stands in 'vars' and in 'matrix'");
                return Err(source.error(at, message));
            }
            let axis = Axis {
                values: slugs(&source, name, values)?,
                own: own.then_some(*at),
            };
            self.fixed.shift_remove(name.as_str());
            self.lists.shift_remove(name.as_str());
            self.lists.insert(name, axis);
        }
        Ok(())
    }

    /// The cases of a test whose texts name `used`: one for each combination of the lists that
    /// are named. The last list changes fastest.
    pub(super) fn cases(
        &self,
        source: &Source<'_>,
        at: &Location,
        used: &[String],
    ) -> Result<Vec<Bound<'a>>, YamlError> {
        let mut cases = vec![Bound {
            values: self.fixed.clone(),
            suffix: String::new(),
        }];
        for (name, axis) in &self.lists {
            if !used.iter().any(|used| used == name) {
                if let Some(own) = &axis.own {
                    let message = format!(
                        "no text of this test names '{name}', so its cases would all be the same"
                    );
                    let help = format!("write {{{{{name}}}}} where the values belong");
                    return Err(source.error(own, message).with_help(help));
                }
                continue;
            }
            let with = |case: &Bound<'a>, (value, slug): &(&'a Value, String)| {
                let mut case = case.clone();
                case.values.insert(name, value);
                case.suffix += &format!("+{slug}");
                case
            };
            if cases.len().saturating_mul(axis.values.len()) > MOST_CASES {
                let message = format!("this test has more than {MOST_CASES} cases");
                return Err(source.error(at, message));
            }
            let all = cases
                .iter()
                .flat_map(|case| axis.values.iter().map(move |value| with(case, value)));
            cases = all.collect();
        }
        Ok(cases)
    }
}

impl Bound<'_> {
    /// A text with the variables put in.
    pub(super) fn text(&self, text: &str) -> Result<String, TemplateError> {
        template::fill(text, &|name| self.get(name), &|| self.names())
    }

    /// A value with the variables put into its texts.
    pub(super) fn value(&self, value: &Value) -> Result<Value, TemplateError> {
        template::fill_value(value, &|name| self.get(name), &|| self.names())
    }

    fn get(&self, name: &str) -> Option<&Value> {
        self.values.get(name).copied()
    }

    fn names(&self) -> Vec<String> {
        self.values.keys().map(ToString::to_string).collect()
    }
}

/// The error of a template, at its place behind `at`.
pub(super) fn at(source: &Source<'_>, at: &Location, error: &TemplateError) -> YamlError {
    source
        .error_at_text(at, &error.piece, &error.message)
        .with_help(&error.help)
}

fn check_name(source: &Source<'_>, name: &str, at: &Location) -> Result<(), YamlError> {
    if is_name(name) {
        return Ok(());
    }
    let message = format!("'{name}' cannot be the name of a variable");
    Err(source
        .error(at, message)
        .with_help("use letters, digits and underscores, and begin with a letter"))
}

/// The values of a list, each with what stands for it in an id.
fn slugs<'a>(
    source: &Source<'_>,
    name: &str,
    values: &'a Spanned<Vec<Value>>,
) -> Result<Vec<(&'a Value, String)>, YamlError> {
    let at = &values.referenced;
    let values = &values.value;
    if values.is_empty() {
        return Err(source.error(at, format!("the list '{name}' is empty")));
    }
    if let Some(twice) = (1..values.len()).find(|at| values[..*at].contains(&values[*at])) {
        let message = format!("the list '{name}' has {} twice", values[twice]);
        return Err(source.error(at, message));
    }
    let short: Vec<String> = values.iter().map(short).collect();
    let told = |at: usize| {
        let same = short.iter().filter(|other| **other == short[at]).count();
        match same > 1 || short[at].is_empty() || short[at].ends_with('-') {
            // Of what the value is, and not of where it stands: ids stay when a list grows.
            true => short[at].clone() + &digest(&values[at]),
            false => short[at].clone(),
        }
    };
    Ok(values
        .iter()
        .enumerate()
        .map(|(at, value)| (value, told(at)))
        .collect())
}

/// A value as part of an id. A hyphen at its end says that it was cut.
fn short(value: &Value) -> String {
    let whole = match value {
        Value::String(text) => slug(text),
        other => slug(&other.to_string()),
    };
    match whole.get(..SLUG_CHARS) {
        Some(cut) if cut.len() < whole.len() => cut.trim_end_matches('-').to_owned() + "-",
        _ => whole,
    }
}

fn digest(value: &Value) -> String {
    let digest = Sha256::digest(value.to_string());
    digest
        .iter()
        .take(3)
        .map(|byte| format!("{byte:02x}"))
        .collect()
}
