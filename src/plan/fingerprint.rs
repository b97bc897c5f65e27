//! One number for a whole plan, to tell whether two runs were to do the same.

use sha2::{Digest, Sha256};

use super::Case;

/// SHA-256, hexadecimal, over all that the scenarios, their fixtures, the environment and the
/// command line decide about these cases, in order. Models and snapshots are not in it: they are
/// named, and their contents are not known to a plan. Only one version of this program gives one
/// plan one number.
#[must_use]
pub fn fingerprint(cases: &[Case]) -> String {
    let mut hash = Sha256::new();
    for case in cases {
        // The derived form has every field, so that a new one cannot be forgotten here.
        hash.update(format!("{case:?}\n"));
    }
    let digest = hash.finalize();
    digest.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;
    use crate::generation::SamplingSettings;
    use crate::plan::{Overrides, expand};
    use crate::scenario::Scenario;

    fn of(user: &str, assertion: &str, set: &[String]) -> String {
        let text = format!(
            "version: 1\ndescription: d\nwhy: w\ntests:\n- {{id: a, user: {user}, assert: [{assertion}]}}\n"
        );
        let scenario = Scenario::parse(Path::new("s.yaml"), &text).expect("valid");
        let overrides = Overrides::parse(set).expect("valid");
        fingerprint(&expand(&[scenario], &overrides, &SamplingSettings::default()).expect("a plan"))
    }

    #[test]
    fn it_changes_with_what_is_said_asserted_and_set_and_with_nothing_else() {
        let one = of("hello", "not-loop", &[]);
        assert_eq!(one, of("hello", "not-loop", &[]));
        assert_eq!(one.len(), 64);
        assert_ne!(one, of("hello!", "not-loop", &[]));
        assert_ne!(one, of("hello", "loop", &[]));
        assert_ne!(
            one,
            of("hello", "not-loop", &["sampling.seed=3".to_owned()])
        );
    }
}
