//! The server is the inverse of the client: a model behind `loopwatch serve`, read back through an
//! HTTP target, gives the transcript that it gives in this process, times apart.

use std::future::pending;
use std::sync::Arc;

use futures_util::StreamExt;
use loopwatch::endpoint::{Endpoint, HttpEndpoint, TargetWire};
use loopwatch::engine::{Engine, EngineOptions};
use loopwatch::generation::{
    FinishReason, GenerateRequest, Message, Prompt, RepetitionDetection, Role, SamplingSettings,
    ToolSpec, Transcript,
};
use loopwatch::model::ModelRef;
use loopwatch::server::{Served, ServerOptions, serve};
use loopwatch::target::{EngineTarget, EventStream, HttpTarget, Network, Target};
use rstest::rstest;
use serde_json::json;

use crate::served::Server;
use crate::support::{Sandbox, repository};

/// A server in this process, on a thread that outlives the test.
fn behind(target: Arc<dyn Target>) -> String {
    let runtime = tokio::runtime::Runtime::new().expect("a runtime");
    let listener = runtime.block_on(tokio::net::TcpListener::bind("127.0.0.1:0"));
    let listener = listener.expect("a port");
    let address = listener.local_addr().expect("an address");
    let served = Served {
        name: "m".to_owned(),
        target,
        vocabulary: None,
    };
    std::thread::spawn(move || {
        runtime.block_on(serve(listener, served, ServerOptions::default(), pending()));
    });
    address.to_string()
}

/// One that stands in this process.
fn engine(script: &str) -> EngineTarget {
    let name = format!(
        "script:{}",
        repository(&format!("scenarios/checkpoints/{script}.yaml"))
    );
    let engine = Engine::load(&ModelRef::parse(&name), &EngineOptions::default());
    EngineTarget::new(engine.expect("a script"))
}

fn http(api: &str, address: &str, stream: bool, network: &Network) -> HttpTarget {
    let wire: TargetWire =
        serde_json::from_value(json!({api: format!("http://{address}"), "stream": stream}))
            .expect("a target");
    let Ok(Endpoint::Http(endpoint)) = wire.resolve() else {
        panic!("no address")
    };
    connect(endpoint, network)
}

fn connect(endpoint: HttpEndpoint, network: &Network) -> HttpTarget {
    let connecting = HttpTarget::connect(endpoint, None, network.clone());
    network
        .wait_for(connecting)
        .expect("runs")
        .expect("connects")
}

/// Everything of a transcript but its times and what depends on earlier requests; or the error.
fn told(
    target: &dyn Target,
    request: GenerateRequest,
    network: &Network,
) -> Result<Transcript, String> {
    let reading = async {
        let mut events: EventStream = target.generate(request);
        let mut seen = Vec::new();
        while let Some(event) = events.next().await {
            seen.push(event.map_err(|error| error.to_string())?);
        }
        Transcript::from_events(seen).map_err(|error| error.to_string())
    };
    let mut transcript = network.wait_for(reading).expect("runs")?;
    transcript.token_at_us.clear();
    transcript.e2e_us = 0;
    transcript.usage.cached_tokens = 0;
    // Only answers that were streamed over HTTP have notes, and ours have nothing to note.
    if let Some(notes) = transcript.stream.take() {
        assert_eq!(notes.irregularities, []);
    }
    Ok(transcript)
}

/// A conversation with a tool, as a run has it after a first call.
fn chat(result: bool) -> Prompt {
    let mut messages = vec![
        Message::text(Role::System, "Be brief."),
        Message::text(Role::User, "read README.md and summarise"),
    ];
    if result {
        messages.push(Message {
            tool_calls: vec![
                serde_json::from_value(
                    json!({"name": "Read", "arguments": {"file_path": "README.md", "n": 1.50}}),
                )
                .expect("a call"),
            ],
            ..Message::text(Role::Assistant, "")
        });
        messages.push(Message::text(Role::Tool, "# Some project\n"));
    }
    Prompt::Chat {
        messages,
        tools: vec![ToolSpec {
            name: "Read".to_owned(),
            description: "Read a file".to_owned(),
            parameters: json!({"type": "object", "properties": {"file_path": {"type": "string"}}}),
        }],
        variables: Default::default(),
    }
}

fn request(prompt: Prompt, sampling: SamplingSettings) -> GenerateRequest {
    GenerateRequest {
        prompt,
        sampling: sampling.resolve().expect("in range"),
        top_logprobs: 0,
        constraint: None,
    }
}

/// Settings that reach the sampler: each changes tokens of some script.
fn settings() -> Vec<SamplingSettings> {
    let base = SamplingSettings {
        max_tokens: Some(60),
        ..SamplingSettings::default()
    };
    vec![
        base.clone(),
        SamplingSettings {
            repetition_penalty: Some(1.0),
            ..base.clone()
        },
        SamplingSettings {
            repetition_penalty: Some(1.2),
            repetition_context_size: Some(3),
            ..base.clone()
        },
        SamplingSettings {
            temperature: Some(1.0),
            top_p: Some(0.9),
            min_p: Some(0.01),
            seed: Some(7),
            presence_penalty: Some(0.5),
            frequency_penalty: Some(0.25),
            frequency_context_size: Some(7),
            ..base.clone()
        },
        SamplingSettings {
            stop: Some(vec!["three".to_owned(), "READ".to_owned()]),
            repetition_penalty: Some(1.0),
            ..base.clone()
        },
        SamplingSettings {
            logit_bias: Some([(260, 4.5), (261, -1.25)].into()),
            ignore_eos: Some(true),
            max_tokens: Some(33),
            ..base.clone()
        },
        SamplingSettings {
            repetition_penalty: Some(1.0),
            repetition_detection: Some(RepetitionDetection {
                max_pattern_size: 40,
                min_pattern_size: 2,
                min_count: 2,
            }),
            max_tokens: Some(80),
            ..base
        },
    ]
}

#[rstest]
#[case::loops("period-five")]
#[case::thinks_and_calls("think-then-call")]
#[case::the_reported_loop("reported-loop")]
fn a_model_behind_the_server_gives_its_transcript(#[case] script: &str) {
    let network = Network::start().expect("a thread");
    let here = engine(script);
    let address = behind(Arc::new(here.clone()));
    let mut compared = 0;
    for sampling in settings() {
        for (plain, prompt) in [
            (false, chat(false)),
            (false, chat(true)),
            (
                true,
                Prompt::Text {
                    text: "one two".to_owned(),
                },
            ),
            (
                true,
                Prompt::Tokens {
                    tokens: vec![5, 6, 7],
                },
            ),
        ] {
            let request = request(prompt, sampling.clone());
            let expected = told(&here, request.clone(), &network).expect("an answer");
            assert!(!expected.tokens.is_empty());
            for api in ["openai", "anthropic"] {
                if plain && api == "anthropic" {
                    // It has no plain prompts.
                    continue;
                }
                for stream in [true, false] {
                    let there = http(api, &address, stream, &network);
                    assert!(there.served().tokens);
                    let got = told(&there, request.clone(), &network);
                    assert_eq!(
                        got.as_ref(),
                        Ok(&expected),
                        "{api}, stream {stream}: {sampling:?}"
                    );
                    compared += 1;
                }
            }
        }
    }
    assert_eq!(compared, 7 * (2 * 4 + 2 * 2));
}

#[test]
fn errors_come_back_as_errors() {
    let network = Network::start().expect("a thread");
    let here = engine("period-five");
    let address = behind(Arc::new(here.clone()));
    // No such token in this vocabulary.
    let sampling = SamplingSettings {
        logit_bias: Some([(4_000_000, 1.0)].into()),
        ..SamplingSettings::default()
    };
    let request = request(chat(false), sampling);
    let here = told(&here, request.clone(), &network).expect_err("no such token");
    for api in ["openai", "anthropic"] {
        for stream in [true, false] {
            let there = http(api, &address, stream, &network);
            let there = told(&there, request.clone(), &network).expect_err("no such token");
            assert!(there.contains(&here), "{api}: {there} does not tell {here}");
            assert!(
                there.starts_with(&format!("{api}:http://{address}/v1: ")),
                "{there}"
            );
        }
    }
}

/// Reads an answer of text alone, from a server that does not tell tokens.
#[test]
fn without_tokens_the_text_is_the_same() {
    let network = Network::start().expect("a thread");
    let here = engine("period-five");
    let address = behind(Arc::new(here.clone()));
    let request = request(chat(false), settings().remove(1));
    let expected = told(&here, request.clone(), &network).expect("an answer");
    for api in ["openai", "anthropic"] {
        let wire = json!({api: format!("http://{address}"), "tokens": false});
        let wire: TargetWire = serde_json::from_value(wire).expect("a target");
        let Ok(Endpoint::Http(endpoint)) = wire.resolve() else {
            panic!("no address")
        };
        let got = told(&connect(endpoint, &network), request.clone(), &network).expect("an answer");
        assert!(!got.has_token_ids());
        assert_eq!(got.text, expected.text, "{api}");
        assert_eq!(got.finish_reason, expected.finish_reason);
        assert_eq!(got.usage, expected.usage);
    }
}

/// Thoughts and calls are told apart in this process, and come back through every door: with the
/// tokens as the whole transcript, without them as channels of text.
#[rstest]
#[case::prompt_opens_the_thought(true, "I read the file first.", "I look.")]
#[case::model_opens_the_thought(false, "The user wants a summary. I read the file first.", "")]
fn thoughts_and_calls_come_back(#[case] coder: bool, #[case] thought: &str, #[case] said: &str) {
    let network = Network::start().expect("a thread");
    let sandbox = Sandbox::new();
    let here = match coder {
        false => engine("think-then-call"),
        true => {
            let name = ModelRef::parse(&sandbox.coder());
            let engine = Engine::load(&name, &EngineOptions::default());
            EngineTarget::new(engine.expect("a checkpoint"))
        }
    };
    let address = behind(Arc::new(here.clone()));
    let request = request(chat(false), SamplingSettings::default());
    let expected = told(&here, request.clone(), &network).expect("an answer");
    assert_eq!(expected.reasoning.as_deref(), Some(thought));
    assert_eq!(expected.content.as_deref(), Some(said));
    assert!(expected.text.contains(thought), "{}", expected.text);
    assert_eq!(expected.finish_reason, FinishReason::ToolCalls);
    assert_eq!(
        expected.message().reasoning_content.as_deref(),
        Some(thought)
    );
    for api in ["openai", "anthropic"] {
        for stream in [true, false] {
            let there = http(api, &address, stream, &network);
            let got = told(&there, request.clone(), &network);
            assert_eq!(got.as_ref(), Ok(&expected), "{api}, stream {stream}");

            let wire = json!({api: format!("http://{address}"), "tokens": false, "stream": stream});
            let wire: TargetWire = serde_json::from_value(wire).expect("a target");
            let Ok(Endpoint::Http(endpoint)) = wire.resolve() else {
                panic!("no address")
            };
            let got = told(&connect(endpoint, &network), request.clone(), &network);
            let got = got.expect("an answer");
            assert_eq!(got.reasoning, expected.reasoning, "{api}, stream {stream}");
            assert_eq!(got.text, said, "{api}, stream {stream}");
            assert_eq!(got.finish_reason, expected.finish_reason);
            let call = |transcript: &Transcript| {
                let [call] = transcript.tool_calls.as_slice() else {
                    panic!("{transcript:?}")
                };
                (call.name.clone(), call.arguments.clone())
            };
            assert_eq!(call(&got), call(&expected));
        }
    }
}

/// Loses the repetition penalty on the way, as the server of the original report did.
struct Lossy(EngineTarget);

impl Target for Lossy {
    fn generate(&self, mut request: GenerateRequest) -> EventStream {
        let defaults = SamplingSettings::default().resolve().expect("defaults");
        request.sampling.repetition_penalty = defaults.repetition_penalty;
        self.0.generate(request)
    }
}

/// What `loopwatch serve` streams keeps to both APIs: thoughts, a call, and the answer behind its result.
#[test]
fn our_own_streams_are_valid() {
    let server = Server::scripted("think-then-call", &[]);
    let sandbox = Sandbox::new();
    for api in ["openai", "anthropic"] {
        for tokens in [true, false] {
            for tools in [true, false] {
                let tools = match tools {
                    true => {
                        "tools: {Read: {description: d, input_schema: {type: object}, mock: [{otherwise: {text: x}}]}}"
                    }
                    false => "",
                };
                let called = if tools.is_empty() {
                    ""
                } else {
                    "tool-called: Read, "
                };
                sandbox.write(
                    "s.yaml",
                    &format!(
                        "version: 1\ndescription: d\nwhy: w\n\
                         target: {{{api}: 'http://{}', tokens: {tokens}}}\n{tools}\n\
                         tests: [{{id: a, user: go, assert: [{called}stream-valid]}}]\n",
                        server.address
                    ),
                );
                sandbox.run(&["run", "s.yaml"]).expect_code(0);
            }
        }
    }
}

/// The flagship from one file, in this process and through both APIs, against one snapshot of
/// token ids.
#[test]
fn the_flagship_is_the_same_through_every_door() {
    let server = Server::start(Sandbox::new(), "builtin:readme", &[], &[]);
    let sandbox = Sandbox::new();
    let snapshots = repository("snapshots");
    let scenario = repository("scenarios/read-readme.yaml");
    let openai = format!("openai:http://{}", server.address);
    let anthropic = format!("anthropic:http://{}", server.address);
    let ran = sandbox
        .run(&[
            "run",
            &scenario,
            "--snapshots",
            &snapshots,
            "--target",
            "engine",
            "--target",
            &openai,
            "--target",
            &anthropic,
        ])
        .expect_code(0)
        .expect_stdout("3 passed; 3 of 3 controls failed as they must")
        .expect_stdout("read-readme/summarise@engine")
        .expect_stdout("tells its tokens");
    for door in ["openai", "anthropic"] {
        assert!(
            ran.stdout
                .contains(&format!("read-readme/summarise@{door}")),
            "{}",
            ran.stdout
        );
    }
}

#[test]
fn a_door_that_loses_the_penalty_is_found_by_its_control() {
    let name = ModelRef::parse("builtin:readme");
    let engine = Engine::load(&name, &EngineOptions::default()).expect("built in");
    let address = behind(Arc::new(Lossy(EngineTarget::new(engine))));
    let scenario = repository("scenarios/read-readme.yaml");
    let snapshots = repository("snapshots");
    for api in ["openai", "anthropic"] {
        let target = format!("{api}:http://{address}");
        let sandbox = Sandbox::new();
        sandbox
            .run(&[
                "run",
                &scenario,
                "--snapshots",
                &snapshots,
                "--target",
                &target,
                "--set",
                "target.model=builtin:readme",
            ])
            .expect_code(100)
            .expect_stdout("the control must fail 'not-loop' and does not");
    }
}

#[test]
fn keys_are_sent_and_never_written() {
    const KEY: &str = "s3cret-f0r-this-test";
    let script = repository("scenarios/checkpoints/period-five.yaml");
    let server = Server::start(
        Sandbox::new(),
        &format!("script:{script}"),
        &[],
        &[("LOOPWATCH_API_KEY", KEY)],
    );
    let sandbox = Sandbox::new();
    for api in ["openai", "anthropic"] {
        sandbox.write(
            "s.yaml",
            &format!(
                "version: 1\ndescription: d\nwhy: w\n\
                 target: {{{api}: 'http://{}', api_key_env: MY_KEY}}\n\
                 tests: [{{id: a, user: hi, assert: [not-loop]}}]\n",
                server.address
            ),
        );
        sandbox
            .run(&["run", "s.yaml"])
            .expect_code(2)
            .expect_stderr("the environment variable MY_KEY is not set");
        sandbox
            .run_with(&[("MY_KEY", "wrong-key-of-mine")], &["run", "s.yaml"])
            .expect_code(101)
            .expect_stderr("HTTP 401")
            .expect_stderr("api_key_env");
        let ran = sandbox
            .run_with(&[("MY_KEY", KEY)], &["run", "s.yaml"])
            .expect_code(0);
        assert!(!ran.stdout.contains(KEY) && !ran.stderr.contains(KEY));
    }
    for run in std::fs::read_dir(sandbox.path("reports")).expect("reports") {
        for file in std::fs::read_dir(run.expect("a run").path()).expect("a folder") {
            let text = std::fs::read_to_string(file.expect("a file").path()).expect("text");
            assert!(!text.contains(KEY));
        }
    }
}
