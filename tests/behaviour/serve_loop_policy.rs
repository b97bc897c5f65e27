//! What a server does with an answer that loops: it watches, tells the client, or stops the answer.
//!
//! The scripted model repeats five tokens for ever without a penalty, and ends by itself with one.

use loopwatch::loops::{LoopDetector, LoopState, Thresholds};
use rstest::rstest;
use serde_json::{Value, json};

use crate::served::{Answer, Path, Server, scripted};
use crate::support::Sandbox;

/// As many tokens as are asked for.
const ASKED: usize = 600;

/// The token ids and the reason of an answer that loops.
fn looping(server: &Server, path: Path, stream: bool) -> (Vec<u64>, String, String) {
    let over = json!({"repetition_penalty": 1.0, "max_tokens": ASKED});
    let answer = server.post(path.as_str(), &path.body("go", stream, &over));
    assert_eq!(answer.status, 200, "{}", answer.body);
    let (ids, reason) = answer.tokens();
    (ids, reason, answer.body)
}

/// The number of tokens with which a detector is certain.
fn confirmed(ids: &[u64]) -> usize {
    let mut detector = LoopDetector::new(Thresholds::default());
    let is_certain = |id: &u64| {
        let change = detector.push(u32::try_from(*id).expect("an id"));
        change.is_some_and(|change| change.state == LoopState::Confirmed)
    };
    let at = ids.iter().position(is_certain).expect("a loop");
    assert!(at < ASKED / 2, "{at}");
    at + 1
}

#[rstest]
fn stop_ends_a_loop_and_says_so(
    #[values(Path::Chat, Path::Completions, Path::Messages)] path: Path,
    #[values(false, true)] stream: bool,
) {
    let watching = Server::scripted("period-five", &[]);
    let stopping = Server::scripted("period-five", &["--on-loop", "stop"]);
    let (whole, reason, _) = looping(&watching, path, stream);
    assert_eq!((whole.len(), reason.as_str()), (ASKED, "length"));
    let (cut, reason, body) = looping(&stopping, path, stream);
    assert_eq!(reason, "repetition");
    assert_eq!(cut, whole[..confirmed(&whole)], "to there it is the same");
    let (told, counted) = match path {
        Path::Messages => (r#""stop_reason":"max_tokens""#, "output_tokens"),
        Path::Chat | Path::Completions if stream => {
            (r#""finish_reason":"repetition""#, "output_tokens")
        }
        Path::Chat | Path::Completions => (r#""finish_reason":"repetition""#, "completion_tokens"),
    };
    assert!(body.contains(told), "{body}");
    let usage = format!("\"{counted}\":{}", cut.len());
    assert!(body.contains(&usage), "{usage} in {body}");
    stopping.wait_until("the end is counted", |server| {
        server.metric("loopwatch_answers_total{reason=\"repetition\"}") > 0.0
    });
    // The engine is free: what it was told to leave, it left.
    assert!(stopping.metric("loopwatch_answers_running") < 0.5);
}

/// The loops that an answer tells of.
fn told(answer: &Answer) -> Vec<Value> {
    let objects = match answer.head.contains("text/event-stream") {
        true => answer.chunks(),
        false => vec![answer.json()],
    };
    let loops = objects.iter().flat_map(|object| {
        let told = object.get("loopwatch").unwrap_or(object);
        told["loops"].as_array().cloned().unwrap_or_default()
    });
    loops.collect()
}

#[rstest]
fn annotate_tells_the_client_and_changes_no_token(
    #[values(Path::Chat, Path::Completions, Path::Messages)] path: Path,
    #[values(false, true)] stream: bool,
) {
    let watching = Server::scripted("period-five", &[]);
    let telling = Server::scripted("period-five", &["--on-loop", "annotate"]);
    let (whole, reason, silent) = looping(&watching, path, stream);
    assert!(!silent.contains("loops"), "{silent}");
    let (same, same_reason, _) = looping(&telling, path, stream);
    assert_eq!((same, same_reason), (whole.clone(), reason));

    let at = confirmed(&whole) - 1;
    let expected = json!({"choice": 0, "period": 5, "onset": 0, "at": at});
    for return_tokens in [true, false] {
        let over = json!({
            "repetition_penalty": 1.0, "max_tokens": ASKED, "return_tokens": return_tokens,
        });
        let answer = telling.post(path.as_str(), &path.body("go", stream, &over));
        let loops = told(&answer);
        assert_eq!(loops, std::slice::from_ref(&expected), "{}", answer.body);
        let header = format!("x-loopwatch-loop: choice=0; period=5; onset=0; at={at}");
        assert_eq!(answer.head.contains(&header), !stream, "{}", answer.head);
        if stream {
            told_at_once(&answer, path);
        }
    }
    let healthy = path.body("go", stream, &json!({}));
    let healthy = telling.post(path.as_str(), &healthy);
    assert_eq!(healthy.tokens().1, "stop");
    assert_eq!(told(&healthy), Vec::<Value>::new());
    assert!(
        !healthy.head.contains("x-loopwatch-loop"),
        "{}",
        healthy.head
    );
}

/// A client hears of the loop while the answer goes on, in a chunk of the form that it knows.
fn told_at_once(answer: &Answer, path: Path) {
    let events = answer.events();
    let mut places = (0..)
        .zip(&events)
        .filter(|(_, (_, data))| data.contains("\"loops\""));
    let (place, (name, data)) = places.next().expect("told");
    assert!(place * 2 < events.len(), "{place} of {}", events.len());
    assert!(places.next().is_none(), "told once");
    match path {
        Path::Messages => assert_eq!(name, "loopwatch"),
        Path::Chat | Path::Completions => {
            assert!(data.contains("\"choices\":[{\"index\":0"), "{data}");
        }
    }
}

#[rstest]
fn annotate_says_which_of_several_answers(
    #[values(Path::Chat, Path::Completions)] path: Path,
    #[values(false, true)] stream: bool,
) {
    let server = Server::scripted("period-five", &["--on-loop", "annotate"]);
    let over = json!({
        "repetition_penalty": 1.0, "max_tokens": ASKED, "return_tokens": false, "n": 2,
    });
    let answer = server.post(path.as_str(), &path.body("go", stream, &over));
    let mut choices: Vec<_> = told(&answer)
        .iter()
        .map(|told| told["choice"].clone())
        .collect();
    choices.sort_by_key(Value::as_u64);
    assert_eq!(choices, [0, 1], "{}", answer.head);
    for chunk in answer.chunks().iter().filter(|_| stream) {
        if let Some(told) = chunk.get("loopwatch") {
            assert_eq!(told["loops"][0]["choice"], chunk["choices"][0]["index"]);
        }
    }
}

#[rstest]
fn a_healthy_answer_is_the_same_under_all(
    #[values(Path::Chat, Path::Completions, Path::Messages)] path: Path,
    #[values(false, true)] stream: bool,
) {
    let ask = |policy| {
        let server = Server::scripted("period-five", &["--on-loop", policy]);
        let over = json!({"repetition_penalty": 1.05});
        let answer = server.post(path.as_str(), &path.body("go", stream, &over));
        answer.tokens()
    };
    let (ids, reason) = ask("stop");
    assert_eq!((ids.len(), reason.as_str()), (6, "stop"));
    assert_eq!((ids.clone(), reason.clone()), ask("observe"));
    assert_eq!((ids, reason), ask("annotate"));
}

#[rstest]
#[case::file(&[], None, "repetition")]
#[case::environment_over_file(&[], Some("observe"), "length")]
#[case::flag_over_environment(&["--on-loop", "stop"], Some("observe"), "repetition")]
fn the_nearest_policy_wins(
    #[case] flags: &[&str],
    #[case] variable: Option<&str>,
    #[case] expected: &str,
) {
    let sandbox = Sandbox::new();
    sandbox.write("serve.yaml", "version: 1\non_loop: stop\n");
    let arguments = [&["--config", "serve.yaml"], flags].concat();
    let variables: Vec<_> = variable
        .map(|policy| ("LOOPWATCH_ON_LOOP", policy))
        .into_iter()
        .collect();
    let server = Server::start(sandbox, &scripted("period-five"), &arguments, &variables);
    let (_, reason, _) = looping(&server, Path::Chat, false);
    assert_eq!(reason, expected);
}
