//! The example workflows in `docs/ci`: their syntax, and that every flag in them exists.

use std::path::PathBuf;
use std::process::Command;

use rstest::rstest;

use crate::support::Sandbox;

#[rstest]
fn yaml_is_yaml(#[files("docs/ci/*.yml")] path: PathBuf) {
    let text = std::fs::read_to_string(&path).expect("a file");
    let parsed: serde_json::Value = serde_saphyr::from_str(&text).expect("YAML");
    assert!(parsed.is_object());
    let name = path
        .file_name()
        .expect("a name")
        .to_string_lossy()
        .into_owned();
    let has = |pointer: &str| parsed.pointer(pointer).is_some();
    match &*name {
        "github-actions.yml" => assert!(has("/jobs/run/strategy/matrix/shard") && has("/on")),
        "gitlab-ci.yml" => assert!(has("/run/parallel") && has("/merge/artifacts/reports/junit")),
        "kubernetes-job.yml" => {
            assert_eq!(parsed["kind"], "Job");
            assert_eq!(parsed["spec"]["completionMode"], "Indexed");
            let shards = parsed["spec"]["completions"].as_u64().expect("a number");
            assert!(text.contains(&format!("auto/{shards}")));
        }
        other => panic!("nobody checks {other}"),
    }
}

#[rstest]
fn shell_is_shell(#[files("docs/ci/*.sh")] path: PathBuf) {
    let checked = Command::new("bash").arg("-n").arg(&path).status();
    assert!(checked.expect("bash").success());
}

/// Every command line in the examples and the page, as far as arguments can be checked without
/// running anything: an unknown one would be named.
#[rstest]
fn every_flag_exists(
    #[files("docs/ci/*")]
    #[files("docs/ci.md")]
    path: PathBuf,
) {
    let sandbox = Sandbox::new();
    let text = std::fs::read_to_string(&path).expect("a file");
    let joined = text.replace("\\\n", " ");
    let mut checked = 0;
    for line in joined.lines() {
        let Some(at) = line
            .find("loopwatch run")
            .or(line.find("loopwatch merge"))
            .or(line.find("loopwatch compare"))
        else {
            continue;
        };
        let words: Vec<&str> = line[at..]
            .split([' ', '`'])
            .filter(|word| !word.is_empty())
            .collect();
        let help = sandbox.run(&[words[1], "--help"]).expect_code(0).stdout;
        for word in words.iter().filter(|word| word.starts_with("--")) {
            let flag: String = word
                .chars()
                .take_while(|c| c.is_ascii_lowercase() || *c == '-')
                .collect();
            assert!(
                help.contains(&format!("{flag} ")) || help.contains(&format!("{flag}\n")),
                "{flag} in {}",
                path.display()
            );
            checked += 1;
        }
    }
    assert!(
        checked > 0 || path.ends_with("README.md"),
        "{}",
        path.display()
    );
}
