//! Models of the hub, fetched from a hub of our own on the loopback.

use std::fs;
use std::path::Path;

use rstest::rstest;
use serde_json::Value;

use crate::fixture_hub::{COMMIT, Fault, FixtureHub};
use crate::support::{Ran, Sandbox, repository};

const MODEL: &str = "hf:test/llama@v1";
const GENERATE: [&str; 6] = [
    "generate",
    "--prompt-ids",
    "1,2,3",
    "--max-tokens",
    "4",
    "--json",
];

/// Runs the program against a hub, or without one.
fn run(sandbox: &Sandbox, model: &str, variables: &[(&str, &str)]) -> Ran {
    let home = sandbox.path("hf");
    let home = home.to_str().expect("UTF-8");
    let mut all = vec![
        ("HF_HOME", home),
        ("HF_HUB_CACHE", ""),
        ("HF_TOKEN", ""),
        ("HF_TOKEN_PATH", ""),
        ("HF_HUB_OFFLINE", ""),
        ("HF_HUB_DOWNLOAD_TIMEOUT", "10"),
        ("NO_PROXY", "127.0.0.1"),
        ("no_proxy", "127.0.0.1"),
    ];
    all.extend(variables);
    sandbox.run_with(&all, &[&GENERATE[..], &["--model", model]].concat())
}

fn fetch(sandbox: &Sandbox, hub: &FixtureHub) -> Ran {
    run(sandbox, MODEL, &[("HF_ENDPOINT", &hub.address)])
}

/// A port where nobody listens.
const NOBODY: (&str, &str) = ("HF_ENDPOINT", "http://127.0.0.1:9");
const OFFLINE: (&str, &str) = ("HF_HUB_OFFLINE", "1");

fn tokens(ran: &Ran) -> Value {
    let answer: Value = serde_json::from_str(&ran.stdout).expect("JSON");
    answer["tokens"].clone()
}

#[rstest]
#[case("llama-f32")]
#[case("llama-f16-sharded")]
fn a_model_is_fetched_once_and_then_used_without_the_hub(#[case] checkpoint: &str) {
    let sandbox = Sandbox::new();
    let hub = FixtureHub::serving(checkpoint, Fault::None);
    let fetched = fetch(&sandbox, &hub).expect_code(0);
    let folder = repository(&format!("tests/goldens/{checkpoint}"));
    let local = sandbox.run(&[&GENERATE[..], &["--model", &folder]].concat());
    assert_eq!(tokens(&fetched), tokens(&local.expect_code(0)));

    // The layout that other programs share, and nothing that the loader does not read.
    let repo = sandbox.path("hf/hub/models--test--llama");
    let reference = fs::read_to_string(repo.join("refs/v1")).expect("a reference");
    assert_eq!(reference, COMMIT);
    let snapshot = repo.join("snapshots").join(COMMIT);
    assert!(snapshot.join("config.json").is_file());
    assert!(!snapshot.join("README.md").exists());
    assert!(!hub.requests().iter().any(|path| path.contains("README.md")));

    // A second run asks which commit it is, and fetches nothing.
    let before = hub.requests().len();
    fetch(&sandbox, &hub).expect_code(0);
    assert_eq!(hub.requests().len(), before + 1, "{:?}", hub.requests());

    drop(hub);
    for model in [MODEL, &format!("hf:test/llama@{COMMIT}")] {
        let offline = run(&sandbox, model, &[NOBODY, OFFLINE]).expect_code(0);
        assert_eq!(tokens(&fetched), tokens(&offline));
    }
}

#[test]
fn offline_says_what_is_missing() {
    let sandbox = Sandbox::new();
    run(&sandbox, MODEL, &[OFFLINE])
        .expect_code(101)
        .expect_stderr("cannot fetch hf:test/llama@v1: HF_HUB_OFFLINE is set, and the cache")
        .expect_stderr("has no revision 'v1' of it; unset HF_HUB_OFFLINE to fetch it");
    let hub = FixtureHub::serving("llama-f16-sharded", Fault::None);
    fetch(&sandbox, &hub).expect_code(0);
    let snapshot = sandbox.path("hf/hub/models--test--llama/snapshots");
    let shard = snapshot
        .join(COMMIT)
        .join("model-00002-of-00002.safetensors");
    fs::remove_file(shard).expect("removed");
    run(&sandbox, MODEL, &[OFFLINE])
        .expect_code(101)
        .expect_stderr("lacks model-00002-of-00002.safetensors");
}

#[rstest]
#[case(
    "hf:test/llama@nowhere",
    "has no revision 'nowhere' of test/llama; give a branch, tag or commit of it"
)]
#[case(
    "hf:test/other",
    "has no model test/other that everyone may read; check the name, or set HF_TOKEN"
)]
#[case(
    "hf:test",
    "write hf:organisation/name, or hf:organisation/name@revision"
)]
fn a_wrong_name_is_explained(#[case] model: &str, #[case] message: &str) {
    let sandbox = Sandbox::new();
    let hub = FixtureHub::serving("llama-f32", Fault::None);
    run(&sandbox, model, &[("HF_ENDPOINT", &hub.address)])
        .expect_code(101)
        .expect_stderr(message);
}

#[rstest]
#[case(Fault::NoConfig, "it has no config.json")]
#[case(Fault::NoWeights, "it has no model*.safetensors")]
#[case(Fault::HugeConfig, "config.json has 99999999999 bytes; at most")]
#[case(Fault::NotAHub, "does not answer as a hub does")]
#[case(Fault::LostFile, "config.json could not be fetched from")]
#[case(Fault::Truncated, "model.safetensors could not be fetched from")]
#[case(
    Fault::Altered,
    "model.safetensors arrived damaged: its content is not what was announced"
)]
#[case(Fault::Short, "config.json arrived damaged: it has ")]
#[case(Fault::Broken, "answers with status 500; try again later")]
fn a_failing_hub_ends_in_one_error(#[case] fault: Fault, #[case] message: &str) {
    let sandbox = Sandbox::new();
    let hub = FixtureHub::serving("llama-f32", fault);
    let ran = fetch(&sandbox, &hub).expect_code(101);
    assert!(ran.stderr.contains(message), "{}", ran.stderr);
    assert!(ran.stderr.contains("hf:test/llama@v1"), "{}", ran.stderr);
    assert_eq!(ran.stderr.lines().count(), 1, "{}", ran.stderr);

    // What was left behind does no harm: a hub that works again is enough.
    let hub = FixtureHub::serving("llama-f32", Fault::None);
    fetch(&sandbox, &hub).expect_code(0);
}

#[rstest]
#[case(Fault::Silent, "cannot be reached (timeout: ")]
#[case(Fault::SilentFile, "the server sent nothing for 1 s")]
fn a_silent_hub_is_given_up(#[case] fault: Fault, #[case] message: &str) {
    let sandbox = Sandbox::new();
    let hub = FixtureHub::serving("llama-f32", fault);
    let started = std::time::Instant::now();
    run(
        &sandbox,
        MODEL,
        &[
            ("HF_ENDPOINT", &hub.address),
            ("HF_HUB_DOWNLOAD_TIMEOUT", "1"),
        ],
    )
    .expect_code(101)
    .expect_stderr(message);
    assert!(started.elapsed().as_secs() < 20);
}

#[test]
fn nobody_there_and_a_bad_variable_are_explained() {
    let sandbox = Sandbox::new();
    run(&sandbox, MODEL, &[NOBODY])
        .expect_code(101)
        .expect_stderr("http://127.0.0.1:9 cannot be reached")
        .expect_stderr("set HF_HUB_OFFLINE=1 to use the cache alone");
    run(&sandbox, MODEL, &[("HF_ENDPOINT", "mirror")])
        .expect_code(2)
        .expect_stderr("environment variable HF_ENDPOINT is 'mirror'");
}

#[test]
fn the_token_goes_to_the_hub() {
    let sandbox = Sandbox::new();
    let hub = FixtureHub::serving("llama-f32", Fault::Private);
    fetch(&sandbox, &hub)
        .expect_code(101)
        .expect_stderr("set HF_TOKEN if it is private");
    let wrong = [("HF_ENDPOINT", hub.address.as_str()), ("HF_TOKEN", "wrong")];
    run(&sandbox, MODEL, &wrong)
        .expect_code(101)
        .expect_stderr("your token may not read it");
    let home = sandbox.path("hf");
    fs::create_dir_all(&home).expect("the folder");
    fs::write(Path::new(&home).join("token"), "letmein\n").expect("written");
    fetch(&sandbox, &hub).expect_code(0);
}
