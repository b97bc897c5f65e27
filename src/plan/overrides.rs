//! `--set key.path=value`: scenario fields overridden from the command line.

use serde::Deserialize;

use super::PlanError;
use crate::endpoint::{Endpoint, TargetWire};
use crate::generation::{SamplingSettings, TemplateVariables};
use crate::scenario::LimitsWire;
use crate::yaml::nearest;

/// What can be overridden.
#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Overrides {
    /// The model of every scenario.
    pub model: Option<String>,
    /// Laid over every scenario's target.
    pub target: Option<TargetWire>,
    /// Who answers instead of every scenario's target: each of them, if there are several.
    #[serde(skip)]
    pub targets: Vec<TargetWire>,
    /// Laid over every test's sampling.
    pub sampling: SamplingSettings,
    /// Laid over every test's limits.
    pub limits: LimitsWire,
    /// Laid over every test's template variables.
    pub template: TemplateVariables,
}

impl Overrides {
    /// Who answers the cases of a scenario that has this target, with a name for each if there
    /// are several.
    ///
    /// # Errors
    /// If one is not valid with what is laid over it.
    pub(super) fn endpoints(
        &self,
        written: &TargetWire,
    ) -> Result<Vec<(Option<String>, Endpoint)>, PlanError> {
        let bases = match self.targets.as_slice() {
            [] => std::slice::from_ref(written),
            targets => targets,
        };
        let mut endpoints: Vec<(Option<String>, Endpoint)> = Vec::new();
        for base in bases {
            let wire = match &self.target {
                Some(over) => base.overlaid(over),
                None => base.clone(),
            };
            let endpoint = wire.resolve().map_err(PlanError)?;
            let before = endpoints
                .iter()
                .filter(|(_, other)| other.kind() == endpoint.kind());
            let name = match before.count() {
                0 => endpoint.kind().to_owned(),
                earlier => format!("{}-{}", endpoint.kind(), earlier + 1),
            };
            let name = Some(name).filter(|_| bases.len() > 1);
            endpoints.push((name, endpoint));
        }
        Ok(endpoints)
    }

    /// Reads the values of all `--set` flags; later ones win.
    ///
    /// # Errors
    /// If one is not `key=value`, its key is unknown, or its value has the wrong type.
    pub fn parse(flags: &[String]) -> Result<Self, PlanError> {
        flags.iter().try_fold(Self::default(), |sum, flag| {
            let one = parse_one(flag)?;
            Ok(Self {
                model: one.model.or(sum.model),
                target: match (sum.target, one.target) {
                    (Some(sum), Some(one)) => Some(sum.overlaid(&one)),
                    (sum, one) => one.or(sum),
                },
                targets: Vec::new(),
                sampling: sum.sampling.overlaid(&one.sampling),
                limits: sum.limits.overlaid(&one.limits),
                template: sum.template.overlaid(&one.template),
            })
        })
    }
}

/// One flag is a small YAML document: `a.b=v` is `a: {b: v}`.
fn parse_one(flag: &str) -> Result<Overrides, PlanError> {
    let refuse = |problem: String| PlanError(format!("--set {flag}: {problem}"));
    let (key, value) = flag
        .split_once('=')
        .ok_or_else(|| refuse("write it as key=value".to_owned()))?;
    let parts: Vec<&str> = key.trim().split('.').collect();
    let legal = |part: &&str| part.chars().all(|c| c.is_ascii_alphanumeric() || c == '_');
    if !parts.iter().all(legal) {
        return Err(refuse("a key is words joined by dots".to_owned()));
    }
    let (open, close) = (": {", "}".repeat(parts.len() - 1));
    let yaml = format!("{{{}: {}{close}}}", parts.join(open), value.trim());
    serde_saphyr::from_str(&yaml).map_err(|error| match error.without_snippet() {
        serde_saphyr::Error::SerdeUnknownField {
            field, expected, ..
        } => refuse(match nearest(field, expected.iter().copied()) {
            Some(near) => format!("unknown key '{field}', did you mean '{near}'?"),
            None => format!("unknown key '{field}'; known are {}", expected.join(", ")),
        }),
        other => {
            let text = other.to_string();
            let first = text.lines().next().unwrap_or_default();
            refuse(first.split(" at line ").next().unwrap_or(first).to_owned())
        }
    })
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;

    fn parse(flags: &[&str]) -> Result<Overrides, String> {
        let flags: Vec<String> = flags.iter().map(ToString::to_string).collect();
        Overrides::parse(&flags).map_err(|error| error.to_string())
    }

    #[test]
    fn flags_reach_their_fields_and_later_ones_win() {
        let overrides = parse(&[
            "sampling.repetition_penalty=1.0",
            "sampling.stop=[a, 'b c']",
            "limits.time_limit=5s",
            "model=some/folder",
            "template.enable_thinking=false",
            "sampling.repetition_penalty=1.2",
        ])
        .expect("known keys");
        assert_eq!(overrides.sampling.repetition_penalty, Some(1.2));
        let stop = Some(vec!["a".to_owned(), "b c".to_owned()]);
        assert_eq!(overrides.sampling.stop, stop);
        assert_eq!(overrides.limits.time_limit.as_deref(), Some("5s"));
        assert_eq!(overrides.model.as_deref(), Some("some/folder"));
        let template: Vec<_> = overrides.template.iter().collect();
        assert_eq!(template, [("enable_thinking", &false.into())]);
    }

    #[rstest]
    #[case("sampling.repetition_penality=1", "did you mean 'repetition_penalty'?")]
    #[case("smapling.seed=1", "did you mean 'sampling'?")]
    #[case("seed=1", "known are model, target, sampling, limits, template")]
    #[case("sampling.seed", "write it as key=value")]
    #[case("sampling.seed=abc", "--set sampling.seed=abc: ")]
    #[case("template.messages=[]", "the template variable 'messages'")]
    #[case("a b=1", "a key is words joined by dots")]
    fn mistakes_are_explained(#[case] flag: &str, #[case] message: &str) {
        let error = parse(&[flag]).expect_err("refused");
        assert!(error.contains(message), "{error}");
    }
}
