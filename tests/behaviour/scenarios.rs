//! Every scenario of the repository passes on the built-in model, its control fails as it must,
//! and its snapshots are the reviewed ones.

use std::path::PathBuf;

use crate::support::{Sandbox, repository};
use rstest::rstest;

#[rstest]
fn passes(
    #[files("scenarios/*.yaml")]
    #[files("scenarios/reported/*.yaml")]
    scenario: PathBuf,
) {
    let sandbox = Sandbox::new();
    let scenario = scenario.to_str().expect("UTF-8");
    let snapshots = repository("snapshots");
    sandbox
        .run_with(
            &[("CI", "1")],
            &["run", scenario, "--snapshots", &snapshots],
        )
        .expect_code(0)
        .expect_stdout(" passed; ");
}
