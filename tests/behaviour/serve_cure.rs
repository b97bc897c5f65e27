//! The cure reaches the tokens on every path of the server, and what is nearer to the request wins.
//!
//! The scripted model repeats five tokens for ever and leaves the loop above a penalty of 1.031,
//! if the window holds a whole period. So the tokens tell both: whether the penalty arrived, and
//! whether the window did. A path that drops either parameter fails here.

use rstest::rstest;
use serde_json::{Value, json};

use crate::served::{Path, Server, scripted};
use crate::support::Sandbox;

/// Tokens of an answer that leaves the loop: one period, and the end.
const CURED: usize = 6;
/// Tokens of an answer that does not: as many as were asked for.
const LOOPING: usize = 60;

fn length(server: &Server, path: Path, stream: bool, over: &Value) -> usize {
    let answer = server.post(path.as_str(), &path.body("go", stream, over));
    assert_eq!(answer.status, 200, "{}", answer.body);
    let (ids, reason) = answer.tokens();
    let expected = if ids.len() == CURED { "stop" } else { "length" };
    assert_eq!(reason, expected, "{path:?}, stream: {stream}, {over}");
    ids.len()
}

#[rstest]
fn a_request_decides(
    #[values(Path::Chat, Path::Completions, Path::Messages)] path: Path,
    #[values(false, true)] stream: bool,
) {
    let server = Server::scripted("period-five", &[]);
    let cases = [
        (json!({}), CURED),
        (json!({"repetition_penalty": 1.0}), LOOPING),
        (json!({"repetition_penalty": 1.02}), LOOPING),
        (json!({"repetition_penalty": 1.05}), CURED),
        (json!({"repetition_context_size": 4}), LOOPING),
        (json!({"repetition_context_size": 5}), CURED),
        (
            json!({"repetition_penalty": 1.0, "frequency_penalty": 2.0}),
            CURED,
        ),
        (
            json!({"repetition_penalty": 1.0, "presence_penalty": 2.0}),
            CURED,
        ),
    ];
    for (over, expected) in &cases {
        assert_eq!(
            length(&server, path, stream, over),
            *expected,
            "alone: {over}"
        );
    }
    // Together in one batch, each with its own.
    std::thread::scope(|scope| {
        let answers: Vec<_> = cases
            .iter()
            .map(|(over, expected)| {
                let server = &server;
                let answer = scope.spawn(move || length(server, path, stream, over));
                (answer, over, expected)
            })
            .collect();
        for (answer, over, expected) in answers {
            let tokens = answer.join().expect("an answer");
            assert_eq!(tokens, *expected, "in company: {over}");
        }
    });
}

const PENALTY: &str = "MLX_REPETITION_PENALTY";
const WINDOW: &str = "MLX_REPETITION_CONTEXT_SIZE";

/// Each layer wins over the ones before it: default, file, environment, flags, request.
#[rstest]
#[case::default_("", &[], &[], json!({}), CURED)]
#[case::file("{repetition_penalty: 1.0}", &[], &[], json!({}), LOOPING)]
#[case::file_window("{repetition_context_size: 3}", &[], &[], json!({}), LOOPING)]
#[case::environment("{repetition_penalty: 1.0}", &[(PENALTY, "1.05")], &[], json!({}), CURED)]
#[case::environment_off("", &[(PENALTY, "1.0")], &[], json!({}), LOOPING)]
#[case::environment_window("", &[(WINDOW, "3")], &[], json!({}), LOOPING)]
#[case::flags("", &[(PENALTY, "1.0")], &["--repetition-penalty", "1.05"], json!({}), CURED)]
#[case::request_over_environment("", &[(PENALTY, "1.0")], &[], json!({"repetition_penalty": 1.05}), CURED)]
#[case::request_over_window("", &[(WINDOW, "3")], &[], json!({"repetition_context_size": 20}), CURED)]
#[case::request_over_flags("", &[], &["--repetition-penalty", "1.05"], json!({"repetition_penalty": 1.0}), LOOPING)]
fn the_nearest_layer_wins(
    #[case] file: &str,
    #[case] variables: &[(&str, &str)],
    #[case] flags: &[&str],
    #[case] request: Value,
    #[case] expected: usize,
) {
    let sandbox = Sandbox::new();
    let sampling = if file.is_empty() { "{}" } else { file };
    sandbox.write("serve.yaml", &format!("version: 1\nsampling: {sampling}\n"));
    let arguments = [&["--config", "serve.yaml"], flags].concat();
    let server = Server::start(sandbox, &scripted("period-five"), &arguments, variables);
    for path in [Path::Chat, Path::Completions, Path::Messages] {
        for stream in [false, true] {
            assert_eq!(length(&server, path, stream, &request), expected);
        }
    }
}

#[test]
fn a_wrong_environment_or_file_is_refused_by_name() {
    let sandbox = Sandbox::new();
    sandbox
        .run_with(&[(PENALTY, "-1")], &["serve", "--port", "0"])
        .expect_code(2)
        .expect_stderr("environment variable MLX_REPETITION_PENALTY is -1");
    sandbox.write(
        "serve.yaml",
        "version: 1\nsampling: {repetition_penalti: 1.1}\n",
    );
    sandbox
        .run(&["serve", "--config", "serve.yaml"])
        .expect_code(2)
        .expect_stderr("unknown key 'repetition_penalti'")
        .expect_stderr("did you mean 'repetition_penalty'?");
    sandbox.write("serve.yaml", "version: 1\ntime_outs: {write: -3}\n");
    sandbox
        .run(&["serve", "--config", "serve.yaml"])
        .expect_code(2)
        .expect_stderr("-3 seconds");
}
