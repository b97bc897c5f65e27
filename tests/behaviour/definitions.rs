//! What the latency figures mean, where it takes a whole engine to see it, and that the page on them
//! names tests that exist.

use std::path::Path;

use loopwatch::backend::{BackendKind, Precision};
use loopwatch::engine::{Engine, EngineOptions, Events};
use loopwatch::generation::{GenerateRequest, Prompt, SamplingSettings, Transcript};
use loopwatch::metrics::Timings;
use loopwatch::model::ModelRef;

use crate::support::repository;

fn transcript(mut events: Events) -> Transcript {
    let mut all = Vec::new();
    while let Some(event) = events.blocking_recv() {
        all.push(event.expect("generates"));
    }
    Transcript::from_events(all).expect("complete")
}

/// guidellm#1048: a request that waits for others began when it was sent, not when its turn came.
#[test]
fn waiting_for_a_turn_is_part_of_the_time_to_the_first_token() {
    let options = EngineOptions {
        backend: BackendKind::Cpu,
        precision: Precision::Exact,
        threads: 1,
        max_batch: 1,
        prefix_cache_bytes: 0,
        ..EngineOptions::default()
    };
    let model = ModelRef::parse("builtin:readme");
    let engine = Engine::load(&model, &options).expect("loads");
    let request = |text: &str| GenerateRequest {
        prompt: Prompt::Text {
            text: text.to_owned(),
        },
        sampling: SamplingSettings {
            max_tokens: Some(200),
            ignore_eos: Some(true),
            ..SamplingSettings::default()
        }
        .resolve()
        .expect("valid"),
        top_logprobs: 0,
        constraint: None,
    };
    // Both are handed over before either is answered, and one runs at a time.
    let (first, second) = (
        engine.submit(request("One")),
        engine.submit(request("Another")),
    );
    let (first, second) = (transcript(first), transcript(second));
    let waited = Timings::of(&second).ttft_us.expect("a first token");
    assert!(
        waited > first.e2e_us / 2,
        "{waited} µs, while the one before took {} µs",
        first.e2e_us
    );
    assert!(second.e2e_us > waited);
}

/// A row of the page that names a test which nobody wrote would be a promise without a check.
#[test]
fn every_mistake_on_the_page_has_its_test() {
    let page = std::fs::read_to_string(repository("docs/latency.md")).expect("the page");
    let rows = page.lines().filter_map(|line| {
        let test = line.strip_suffix("` |")?.rsplit_once("| `")?.1;
        Some((line, test))
    });
    let mut sources = String::new();
    for folder in ["src", "tests/behaviour"] {
        read_all(Path::new(&repository(folder)), &mut sources);
    }
    let mut mistakes = 0;
    for (line, test) in rows {
        mistakes += 1;
        assert!(sources.contains(&format!("fn {test}(")), "{line}");
        let place = line.split('|').nth(2).expect("a place").trim();
        assert!(sources.contains(place), "no test says {place}");
    }
    assert_eq!(mistakes, 13);
}

fn read_all(folder: &Path, text: &mut String) {
    for entry in std::fs::read_dir(folder).expect("a folder") {
        let path = entry.expect("an entry").path();
        if path.is_dir() {
            read_all(&path, text);
        } else if path.extension().is_some_and(|end| end == "rs") {
            *text += &std::fs::read_to_string(&path).expect("UTF-8");
        }
    }
}
