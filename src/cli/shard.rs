//! `--shard`: which part of the plan this job takes, as told or as the scheduler's variables say.

use super::exit::Explained;
use crate::plan::Shard;

/// A scheduler and the variables by which it tells a job its place.
struct Scheduler {
    name: &'static str,
    index: &'static str,
    /// The number of the first job, or the variable that has it.
    first: First,
    step: Option<&'static str>,
    count: Option<&'static str>,
}

enum First {
    Number(usize),
    Variable(&'static str),
}

const SCHEDULERS: [Scheduler; 5] = [
    Scheduler {
        name: "GitLab",
        index: "CI_NODE_INDEX",
        first: First::Number(1),
        step: None,
        count: Some("CI_NODE_TOTAL"),
    },
    Scheduler {
        name: "CircleCI",
        index: "CIRCLE_NODE_INDEX",
        first: First::Number(0),
        step: None,
        count: Some("CIRCLE_NODE_TOTAL"),
    },
    Scheduler {
        name: "Buildkite",
        index: "BUILDKITE_PARALLEL_JOB",
        first: First::Number(0),
        step: None,
        count: Some("BUILDKITE_PARALLEL_JOB_COUNT"),
    },
    Scheduler {
        name: "Kubernetes",
        index: "JOB_COMPLETION_INDEX",
        first: First::Number(0),
        step: None,
        // An indexed job does not tell its pods how many they are.
        count: None,
    },
    Scheduler {
        name: "Slurm",
        index: "SLURM_ARRAY_TASK_ID",
        first: First::Variable("SLURM_ARRAY_TASK_MIN"),
        step: Some("SLURM_ARRAY_TASK_STEP"),
        count: Some("SLURM_ARRAY_TASK_COUNT"),
    },
];

/// The shard that `text` means, and where it was found if it was looked for. `variable` reads the
/// environment.
pub(super) fn find(
    text: &str,
    variable: &dyn Fn(&str) -> Option<String>,
) -> anyhow::Result<(Shard, Option<String>)> {
    let told = match text.split_once('/') {
        _ if text == "auto" => None,
        Some(("auto", count)) => Some(count.parse::<usize>().map_err(|_| {
            Explained::usage(format!("--shard {text}: write it as auto/4, or as auto"))
        })?),
        _ => {
            let shard = Shard::parse(text)
                .map_err(|problem| Explained::usage(format!("--shard: {problem}")))?;
            return Ok((shard, None));
        }
    };
    let present: Vec<&Scheduler> = SCHEDULERS
        .iter()
        .filter(|scheduler| variable(scheduler.index).is_some_and(|value| !value.is_empty()))
        .collect();
    let names = |schedulers: &mut dyn Iterator<Item = &Scheduler>| {
        let names: Vec<&str> = schedulers.map(|scheduler| scheduler.index).collect();
        names.join(", ")
    };
    match present.as_slice() {
        [scheduler] => scheduler.shard(told, variable),
        [] => Err(Explained::usage(format!(
            "--shard {text}: none of {} is set; write --shard 2/4",
            names(&mut SCHEDULERS.iter())
        ))),
        several => Err(Explained::usage(format!(
            "--shard {text}: more than one of them is set ({}); write --shard 2/4",
            names(&mut several.iter().copied())
        ))),
    }
}

impl Scheduler {
    fn shard(
        &self,
        told: Option<usize>,
        variable: &dyn Fn(&str) -> Option<String>,
    ) -> anyhow::Result<(Shard, Option<String>)> {
        let mut used = Vec::new();
        let mut number = |name: &str| -> anyhow::Result<Option<usize>> {
            let Some(text) = variable(name).filter(|text| !text.is_empty()) else {
                return Ok(None);
            };
            let number = text.trim().parse().map_err(|_| {
                Explained::usage(format!("{name} is '{text}', but must be a whole number"))
            })?;
            used.push(format!("{name}={number}"));
            Ok(Some(number))
        };
        let index = number(self.index)?.unwrap_or_default();
        let first = match self.first {
            First::Number(first) => first,
            First::Variable(name) => number(name)?.unwrap_or(0),
        };
        let step = match self.step {
            Some(name) => number(name)?.unwrap_or(1).max(1),
            None => 1,
        };
        let count = match self.count {
            Some(name) => number(name)?,
            None => None,
        };
        let refused =
            |problem: String| Explained::usage(format!("{} ({})", problem, used.join(", ")));
        let count = match (told, count) {
            (Some(told), Some(count)) if told != count => {
                return Err(refused(format!(
                    "--shard auto/{told}, but {} has {count} jobs",
                    self.name
                )));
            }
            (Some(count), _) | (None, Some(count)) => count,
            (None, None) => {
                return Err(refused(format!(
                    "{} does not say how many jobs there are; write --shard auto/4",
                    self.name
                )));
            }
        };
        let place = index
            .checked_sub(first)
            .filter(|offset| offset.is_multiple_of(step))
            .map(|offset| offset / step + 1);
        let shard = match place {
            Some(place) => Shard::new(place, count).map_err(|problem| refused(problem.to_string())),
            None => Err(refused(format!("{} counts from {first}", self.name))),
        }?;
        Ok((shard, Some(format!("{} ({})", self.name, used.join(", ")))))
    }
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;

    fn found(text: &str, variables: &[(&str, &str)]) -> Result<String, String> {
        let variable = |name: &str| {
            let found = variables.iter().find(|(other, _)| *other == name);
            found.map(|(_, value)| (*value).to_owned())
        };
        match find(text, &variable) {
            Ok((shard, _)) => Ok(shard.to_string()),
            Err(error) => Err(error.to_string()),
        }
    }

    #[rstest]
    #[case("2/4", &[("CI_NODE_INDEX", "1"), ("CI_NODE_TOTAL", "9")], "2/4")]
    #[case("auto", &[("CI_NODE_INDEX", "1"), ("CI_NODE_TOTAL", "3")], "1/3")]
    #[case("auto", &[("CIRCLE_NODE_INDEX", "0"), ("CIRCLE_NODE_TOTAL", "3")], "1/3")]
    #[case("auto/3", &[("BUILDKITE_PARALLEL_JOB", "2"), ("BUILDKITE_PARALLEL_JOB_COUNT", "3")], "3/3")]
    #[case("auto/4", &[("JOB_COMPLETION_INDEX", "3")], "4/4")]
    #[case("auto", &[("SLURM_ARRAY_TASK_ID", "7"), ("SLURM_ARRAY_TASK_MIN", "5"), ("SLURM_ARRAY_TASK_COUNT", "4")], "3/4")]
    #[case("auto", &[("SLURM_ARRAY_TASK_ID", "9"), ("SLURM_ARRAY_TASK_MIN", "1"), ("SLURM_ARRAY_TASK_STEP", "4"), ("SLURM_ARRAY_TASK_COUNT", "3")], "3/3")]
    fn places_are_found(
        #[case] text: &str,
        #[case] variables: &[(&str, &str)],
        #[case] shard: &str,
    ) {
        assert_eq!(found(text, variables), Ok(shard.to_owned()));
    }

    #[rstest]
    #[case("auto", &[], "none of CI_NODE_INDEX,")]
    #[case("auto", &[("JOB_COMPLETION_INDEX", "3")], "Kubernetes does not say how many")]
    #[case("auto/2", &[("JOB_COMPLETION_INDEX", "3")], "there is no shard 4/2")]
    #[case("auto/2", &[("CI_NODE_INDEX", "1"), ("CI_NODE_TOTAL", "3")], "GitLab has 3 jobs")]
    #[case("auto", &[("CI_NODE_INDEX", "0"), ("CI_NODE_TOTAL", "3")], "GitLab counts from 1")]
    #[case("auto", &[("CI_NODE_INDEX", "x"), ("CI_NODE_TOTAL", "3")], "CI_NODE_INDEX is 'x'")]
    #[case("auto/4", &[("JOB_COMPLETION_INDEX", "3"), ("SLURM_ARRAY_TASK_ID", "1")], "more than one")]
    #[case("auto/x", &[], "write it as auto/4")]
    fn what_is_unclear_is_refused(
        #[case] text: &str,
        #[case] variables: &[(&str, &str)],
        #[case] message: &str,
    ) {
        let error = found(text, variables).expect_err("refused");
        assert!(error.contains(message), "{error}");
    }
}
