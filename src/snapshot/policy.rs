//! Whether a run may leave pending snapshots. Knows the rule, not the environment.

/// What a run does with an output that has no reference or departs from it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum UpdatePolicy {
    /// Write nothing: nobody reviews the working directory of a CI machine.
    Never,
    /// Write it beside the reference as `.snap.new`. The test fails all the same.
    WritePending,
}

impl UpdatePolicy {
    /// The policy for these values of the environment variables `CI` and `TF_BUILD`.
    ///
    /// `TF_BUILD` is set by Azure Pipelines, which does not set `CI`.
    #[must_use]
    pub fn from_environment(ci: Option<&str>, tf_build: Option<&str>) -> Self {
        let in_ci = ci.is_some_and(|value| !matches!(value, "" | "0" | "false"));
        if in_ci || tf_build.is_some() {
            Self::Never
        } else {
            Self::WritePending
        }
    }
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;

    #[rstest]
    #[case(None, None, UpdatePolicy::WritePending)]
    #[case(Some(""), None, UpdatePolicy::WritePending)]
    #[case(Some("0"), None, UpdatePolicy::WritePending)]
    #[case(Some("false"), None, UpdatePolicy::WritePending)]
    #[case(Some("1"), None, UpdatePolicy::Never)]
    #[case(Some("true"), None, UpdatePolicy::Never)]
    #[case(Some("woodpecker"), None, UpdatePolicy::Never)]
    #[case(None, Some("True"), UpdatePolicy::Never)]
    #[case(Some("false"), Some("True"), UpdatePolicy::Never)]
    fn ci_never_writes(
        #[case] ci: Option<&str>,
        #[case] tf_build: Option<&str>,
        #[case] expected: UpdatePolicy,
    ) {
        assert_eq!(UpdatePolicy::from_environment(ci, tf_build), expected);
    }
}
