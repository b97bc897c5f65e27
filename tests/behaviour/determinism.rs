//! The engine's promise: the same request gives the same bits, whatever the threads, the cut of
//! the prompt, the company in the batch, and what was computed before.

use loopwatch::backend::{BackendKind, Precision};
use loopwatch::engine::{Engine, EngineOptions, Events};
use loopwatch::generation::{
    GenerateRequest, Prompt, SamplingParams, SamplingSettings, Token, Transcript,
};
use loopwatch::model::ModelRef;
use loopwatch::simd::Isa;
use rstest::rstest;

const GOLDENS: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/goldens");

fn models() -> Vec<String> {
    vec![
        "builtin:readme".to_owned(),
        format!("{GOLDENS}/llama-f32"),
        format!("{GOLDENS}/qwen2-4bit"),
        format!("{GOLDENS}/qwen3-8bit"),
        format!("{GOLDENS}/llama-bf16"),
        format!("{GOLDENS}/gemma3-text-bf16"),
    ]
}

/// Requests that differ in everything a request can differ in, with shared beginnings.
fn requests() -> Vec<GenerateRequest> {
    (0..9u32)
        .map(|index| {
            let shared = (0..40 * (index % 3)).map(|i| 5 + i % 90);
            let own = (0..=17 * index).map(|i| 5 + (i * 31 + index) % 200);
            GenerateRequest {
                prompt: Prompt::Tokens {
                    tokens: shared.chain(own).collect(),
                },
                sampling: SamplingSettings {
                    temperature: Some(if index % 2 == 0 { 0.0 } else { 0.8 }),
                    seed: Some(u64::from(index)),
                    top_p: Some(0.95),
                    repetition_penalty: Some(1.0 + 0.05 * f64::from(index)),
                    max_tokens: Some(8 + 3 * index as usize),
                    ignore_eos: Some(true),
                    ..Default::default()
                }
                .resolve()
                .expect("valid"),
                top_logprobs: 3,
                constraint: None,
            }
        })
        .collect()
}

fn engine(model: &str, options: EngineOptions) -> Engine {
    Engine::load(&ModelRef::parse(model), &options).expect("loads")
}

/// One at a time, nothing remembered, one thread, the prompt in one piece.
fn plain() -> EngineOptions {
    EngineOptions {
        // The promise is the cpu backend's.
        backend: BackendKind::Cpu,
        threads: 1,
        isa: Isa::best(),
        precision: Precision::Exact,
        prefill_chunk: usize::MAX,
        max_batch: 1,
        prefix_cache_bytes: 0,
        most_wait: EngineOptions::STREAMED,
    }
}

fn collect(mut receiver: Events) -> Transcript {
    let mut events = Vec::new();
    while let Some(event) = receiver.blocking_recv() {
        events.push(event.expect("generates"));
    }
    Transcript::from_events(events).expect("complete")
}

/// All requests handed over at once.
fn together(engine: &Engine) -> Vec<Transcript> {
    all(engine, requests())
}

/// Each request after the answer to the one before.
fn one_by_one(engine: &Engine) -> Vec<Transcript> {
    requests()
        .into_iter()
        .map(|request| collect(engine.submit(request)))
        .collect()
}

/// Everything a token reports, as bits: for the token itself, then for each alternative.
type TokenBits = Vec<(u32, u32)>;

fn bits(transcripts: &[Transcript]) -> Vec<Vec<TokenBits>> {
    let token = |token: &Token| {
        let own = [
            (token.id, token.logprob.to_bits()),
            (token.id, token.margin.to_bits()),
        ];
        let top = token.top.iter().map(|(id, p)| (*id, p.to_bits()));
        own.into_iter().chain(top).collect()
    };
    transcripts
        .iter()
        .map(|transcript| transcript.tokens.iter().map(token).collect())
        .collect()
}

#[rstest]
#[case::two_threads(EngineOptions { threads: 2, ..plain() })]
#[case::prompts_token_by_token(EngineOptions { prefill_chunk: 1, ..plain() })]
#[case::prompts_in_pieces_of_seven(EngineOptions { prefill_chunk: 7, ..plain() })]
#[case::nine_in_a_batch(EngineOptions { max_batch: 9, ..plain() })]
#[case::three_in_a_batch_and_pieces(EngineOptions { max_batch: 3, prefill_chunk: 16, ..plain() })]
#[case::everything(EngineOptions { threads: 2, ..EngineOptions::default() })]
fn nothing_but_the_request_decides_the_bits(
    #[case] options: EngineOptions,
    #[values(Precision::Exact, Precision::Fast)] precision: Precision,
) {
    let with = |options| EngineOptions {
        precision,
        ..options
    };
    for model in models() {
        let reference = bits(&one_by_one(&engine(&model, with(plain()))));
        let engine = engine(&model, with(options.clone()));
        assert_eq!(bits(&together(&engine)), reference, "{model}");
        // Again, with whatever this engine remembers now.
        assert_eq!(bits(&one_by_one(&engine)), reference, "{model}");
    }
}

/// Sequences enough that each thread takes some through all layers, and draws for four at a time.
#[rstest]
fn a_batch_in_parts_has_the_bits_of_each_alone(
    #[values(Precision::Exact, Precision::Fast)] precision: Precision,
    #[values(2, 3)] threads: usize,
) {
    let many = || {
        let short = requests().into_iter().cycle().take(90).enumerate();
        short.map(|(index, request)| GenerateRequest {
            sampling: SamplingParams {
                seed: Some(index as u64 / 5),
                temperature: [0.0, 0.8, 1.3][index % 3],
                max_tokens: 6 + index % 4,
                ..request.sampling
            },
            ..request
        })
    };
    let plain = EngineOptions {
        precision,
        ..plain()
    };
    for model in models() {
        let alone = engine(&model, plain.clone());
        let reference: Vec<_> = many()
            .map(|request| collect(alone.submit(request)))
            .collect();
        let together = EngineOptions {
            threads,
            max_batch: 90,
            ..plain.clone()
        };
        let answers = all(&engine(&model, together), many().collect());
        assert_eq!(bits(&answers), bits(&reference), "{model}");
    }
}

/// Without vector instructions a fused operation is a function call, so the largest model is left
/// to the others.
#[rstest]
fn the_instruction_set_does_not_decide_the_bits(
    #[values(Precision::Exact, Precision::Fast)] precision: Precision,
) {
    let plain = || EngineOptions {
        precision,
        ..plain()
    };
    for model in models() {
        let reference = bits(&one_by_one(&engine(&model, plain())));
        for isa in Isa::available() {
            if isa == Isa::Portable && model.starts_with("builtin:") {
                continue;
            }
            let engine = engine(&model, EngineOptions { isa, ..plain() });
            assert_eq!(bits(&one_by_one(&engine)), reference, "{model}, {isa}");
        }
    }
}

/// Fast is what its name says and no more: other bits, and nearly the same numbers.
#[test]
fn fast_differs_from_exact_and_stays_close() {
    for model in models() {
        let fast = EngineOptions {
            precision: Precision::Fast,
            ..plain()
        };
        let exact = one_by_one(&engine(&model, plain()));
        let fast = one_by_one(&engine(&model, fast));
        assert_ne!(bits(&exact), bits(&fast), "{model}");
        // The small random models say nothing about how close the two are on a trained one.
        let trained = model.starts_with("builtin:");
        for (exact, fast) in exact.iter().zip(&fast).filter(|_| trained) {
            // Before the first token the two have seen the same.
            let (exact, fast) = (&exact.tokens[0], &fast.tokens[0]);
            for (id, logprob) in &exact.top {
                let other = fast.top.iter().find(|(other, _)| other == id);
                if let Some((_, other)) = other {
                    assert!(
                        (logprob - other).abs() < 0.25,
                        "{model}: {logprob} and {other}"
                    );
                }
            }
        }
    }
}

#[test]
fn a_cached_beginning_is_used_and_changes_no_bit() {
    for model in models() {
        let engine = engine(&model, EngineOptions::default());
        let cold = one_by_one(&engine);
        let warm = one_by_one(&engine);
        assert_eq!(bits(&cold), bits(&warm), "{model}");
        for (cold, warm) in cold.iter().zip(&warm) {
            let (cold, warm) = (cold.usage, warm.usage);
            assert_eq!(warm.cached_tokens, warm.input_tokens - 1, "{model}");
            assert!(cold.cached_tokens < cold.input_tokens, "{model}");
        }
        // Requests 1 and 4 begin with the same forty tokens.
        assert!(cold[4].usage.cached_tokens >= 40, "{model}");
    }
}

#[test]
fn a_bounded_cache_forgets_and_changes_no_bit() {
    let model = "builtin:readme";
    let reference = bits(&one_by_one(&engine(model, plain())));
    // Room for about a hundred positions of the built-in model.
    let options = EngineOptions {
        prefix_cache_bytes: 100 * 2 * 4 * 128 * 6,
        ..plain()
    };
    let engine = engine(model, options);
    assert_eq!(bits(&one_by_one(&engine)), reference);
    let again = one_by_one(&engine);
    assert_eq!(bits(&again), reference);
    assert!(
        again
            .iter()
            .any(|t| t.usage.cached_tokens + 1 < t.usage.input_tokens)
    );
}

#[test]
fn a_reader_that_does_not_read_holds_up_nobody_else() {
    let engine = engine("builtin:readme", EngineOptions::default());
    let long = GenerateRequest {
        sampling: SamplingSettings {
            max_tokens: Some(100_000),
            ignore_eos: Some(true),
            ..Default::default()
        }
        .resolve()
        .expect("valid"),
        ..requests().remove(0)
    };
    let unread = engine.submit(long);
    let answers = together(&engine);
    assert_eq!(answers.len(), requests().len());
    drop(unread);
}

/// Eight requests with one prompt, and one that has only its first half in common with them.
fn one_prompt() -> Vec<GenerateRequest> {
    let prompt: Vec<u32> = (0..120).map(|i| 5 + (i * 37) % 500).collect();
    let other = prompt[..60].iter().copied().chain(700..760).collect();
    let sampling = requests().remove(1).sampling;
    let mut requests: Vec<_> = (0..8)
        .map(|seed| GenerateRequest {
            prompt: Prompt::Tokens {
                tokens: prompt.clone(),
            },
            sampling: SamplingParams {
                seed: Some(seed),
                max_tokens: 12,
                ..sampling.clone()
            },
            top_logprobs: 0,
            constraint: None,
        })
        .collect();
    requests.push(GenerateRequest {
        prompt: Prompt::Tokens { tokens: other },
        ..requests[0].clone()
    });
    requests
}

fn all(engine: &Engine, requests: Vec<GenerateRequest>) -> Vec<Transcript> {
    let receivers: Vec<_> = requests
        .into_iter()
        .map(|request| engine.submit(request))
        .collect();
    receivers.into_iter().map(collect).collect()
}

#[rstest]
#[case::whole_prompts(512)]
#[case::pieces(7)]
#[case::token_by_token(1)]
fn a_prompt_that_several_bring_at_once_is_computed_once(#[case] prefill_chunk: usize) {
    let model = "builtin:readme";
    let alone = engine(model, plain());
    let reference: Vec<_> = one_prompt()
        .into_iter()
        .map(|request| collect(alone.submit(request)))
        .collect();
    let engine = engine(
        model,
        EngineOptions {
            prefill_chunk,
            // Whoever runs shares; nothing is remembered.
            prefix_cache_bytes: 0,
            ..EngineOptions::default()
        },
    );
    let answers = all(&engine, one_prompt());
    assert_eq!(bits(&answers), bits(&reference));
    let cached: Vec<usize> = answers.iter().map(|a| a.usage.cached_tokens).collect();
    assert_eq!(cached, [0, 119, 119, 119, 119, 119, 119, 119, 60]);
}

/// Requests of one prompt that differ in what they sample: some agree for long, some part at once.
fn one_history() -> Vec<GenerateRequest> {
    let first = one_prompt().remove(0);
    let settings = [
        (0.0, 1.0, 30),
        (0.0, 1.0, 30),
        (0.0, 1.0, 12),
        (0.0, 1.3, 30),
        (0.8, 1.0, 30),
        (0.8, 1.0, 20),
    ];
    settings
        .map(|(temperature, penalty, max_tokens)| GenerateRequest {
            sampling: SamplingSettings {
                temperature: Some(temperature),
                repetition_penalty: Some(penalty),
                max_tokens: Some(max_tokens),
                ignore_eos: Some(true),
                seed: Some(3),
                ..Default::default()
            }
            .resolve()
            .expect("valid"),
            ..first.clone()
        })
        .to_vec()
}

/// Beginnings of answers, the empty one included, behind which a token was sampled.
fn histories(answers: &[Transcript]) -> usize {
    let ids = answers
        .iter()
        .map(|a| a.tokens.iter().map(|t| t.id).collect::<Vec<_>>());
    let beginnings = ids.flat_map(|ids| (0..ids.len()).map(move |end| ids[..end].to_vec()));
    beginnings.collect::<std::collections::BTreeSet<_>>().len()
}

#[test]
fn one_history_is_computed_once_and_its_answers_keep_every_bit() {
    let model = "builtin:readme";
    let alone = engine(model, plain());
    let reference: Vec<_> = one_history()
        .into_iter()
        .map(|request| collect(alone.submit(request)))
        .collect();
    let engine = engine(
        model,
        EngineOptions {
            prefix_cache_bytes: 0,
            // The first prompt is still being computed when the last request comes.
            prefill_chunk: 1,
            ..EngineOptions::default()
        },
    );
    let answers = all(&engine, one_history());
    assert_eq!(bits(&answers), bits(&reference));
    let (counters, prompt) = (engine.counters(), 120);
    let sampled: usize = answers.iter().map(|a| a.tokens.len()).sum();
    assert_eq!(counters.sampled_tokens, sampled as u64);
    // The prompt's last token gives the first logits.
    let distinct = prompt - 1 + histories(&answers);
    assert_eq!(counters.computed_tokens, distinct as u64);
    assert!(distinct - prompt < sampled - 60, "they hardly agree");
}

#[test]
fn a_slow_reader_does_not_hold_up_those_with_its_history() {
    let options = EngineOptions {
        prefill_chunk: 1,
        ..EngineOptions::default()
    };
    let engine = engine("builtin:readme", options);
    let long = GenerateRequest {
        sampling: SamplingSettings {
            max_tokens: Some(2_000),
            temperature: Some(0.0),
            ignore_eos: Some(true),
            ..Default::default()
        }
        .resolve()
        .expect("valid"),
        ..one_prompt().remove(0)
    };
    let unread = engine.submit(long.clone());
    let read = collect(engine.submit(long));
    assert_eq!(read.tokens.len(), 2_000);
    // The other one goes on where it had to wait, on its own, with the same tokens.
    let late = collect(unread);
    assert_eq!(bits(&[late]), bits(&[read]));
}

#[test]
fn nobody_waits_for_a_prompt_whose_reader_has_gone() {
    let model = "builtin:readme";
    let reference = bits(&all(&engine(model, plain()), one_prompt()));
    for _ in 0..5 {
        let engine = engine(
            model,
            EngineOptions {
                prefill_chunk: 1,
                prefix_cache_bytes: 0,
                ..EngineOptions::default()
            },
        );
        let mut receivers: Vec<_> = one_prompt()
            .into_iter()
            .map(|request| engine.submit(request))
            .collect();
        // The first has begun and is far from done; the others wait for it.
        let first = receivers.remove(0).blocking_recv();
        assert!(matches!(first, Some(Ok(_))));
        let answers: Vec<_> = receivers.into_iter().map(collect).collect();
        assert_eq!(bits(&answers), reference[1..]);
        // One of the others computes what is left, and the rest take it over.
        assert_eq!(answers[1].usage.cached_tokens, 119);
    }
}
