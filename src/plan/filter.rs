//! Selects cases by id and by tag.

use super::{Case, PlanError};

/// `--filter`: any of several terms, each a part of the id or `tag:NAME`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Filter {
    terms: Vec<Term>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Term {
    Id(String),
    Tag(String),
}

impl Filter {
    /// Reads an expression.
    ///
    /// # Errors
    /// If a term is empty.
    pub fn parse(text: &str) -> Result<Self, PlanError> {
        let term = |term: &str| match term.strip_prefix("tag:") {
            Some("") | None if term.is_empty() || term == "tag:" => Err(PlanError(format!(
                "--filter '{text}' has an empty term; write part of a case id, or tag:NAME"
            ))),
            Some(tag) => Ok(Term::Tag(tag.to_owned())),
            None => Ok(Term::Id(term.to_owned())),
        };
        let terms = text.split(',').map(|part| term(part.trim()));
        Ok(Self {
            terms: terms.collect::<Result<_, _>>()?,
        })
    }

    /// Whether a case is selected.
    #[must_use]
    pub fn matches(&self, case: &Case) -> bool {
        self.terms.iter().any(|term| match term {
            Term::Id(part) => case.id.contains(part.as_str()),
            Term::Tag(tag) => case.tags.contains(tag),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn terms_are_parts_of_ids_or_tags() {
        let filter = Filter::parse("readme, tag:agent").expect("two terms");
        assert_eq!(
            filter.terms,
            [Term::Id("readme".to_owned()), Term::Tag("agent".to_owned())]
        );
        for empty in ["", "a,", "tag:"] {
            assert!(Filter::parse(empty).is_err(), "{empty}");
        }
    }
}
