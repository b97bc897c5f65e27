//! What a finished run costs once more: judging its record again, writing it, and its page.

#![expect(
    clippy::expect_used,
    reason = "a benchmark that cannot go on should stop"
)]

use std::hint::black_box;

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use loopwatch::assertion::{AssertionSpec, Judgement};
use loopwatch::generation::{
    Conversation, Exchange, FinishReason, Message, Role, SamplingSettings, TemplateVariables,
    Token, Transcript, Usage,
};
use loopwatch::record::{
    CaseRecord, CaseVerdict, FORMAT_VERSION, Provenance, Record, RecordWriter, RunRecord,
};
use loopwatch::report;
use loopwatch::runner::{RecordedComparisons, rejudge};
use loopwatch::snapshot::Comparison;

const CASES: usize = 100;
const TOKENS: usize = 400;

/// An answer that says something new for a while, and every second one then repeats itself.
fn answer(number: usize) -> Transcript {
    let id = |index: usize| match number % 2 == 1 && index >= 200 {
        true => 900 + (index % 13) as u32,
        false => (index * 7_919 + number) as u32 % 4_096,
    };
    let ids: Vec<u32> = (0..TOKENS).map(id).collect();
    let words: Vec<String> = ids.iter().map(|id| format!("word{id} ")).collect();
    let ends = words.iter().scan(0, |end, word| {
        *end += word.len();
        Some(*end)
    });
    let token = |id: &u32| Token {
        id: *id,
        logprob: -0.5,
        margin: 1.0,
        top: Vec::new(),
    };
    Transcript {
        tokens: ids.iter().map(token).collect(),
        token_at_us: (0..TOKENS as u64)
            .map(|index| 20_000 + 250 * index)
            .collect(),
        pieces: Vec::new(),
        text_ends: ends.collect(),
        text: words.concat(),
        content: None,
        reasoning: None,
        tool_calls: Vec::new(),
        finish_reason: FinishReason::Length,
        usage: Usage {
            input_tokens: 100,
            cached_tokens: 0,
            output_tokens: TOKENS,
        },
        e2e_us: 20_000 + 250 * TOKENS as u64,
        retries: Vec::new(),
        stream: None,
    }
}

fn case(index: usize) -> CaseRecord {
    let assertion = AssertionSpec {
        kind: "not-loop".to_owned(),
        line: 9,
        ..AssertionSpec::default()
    };
    let exchange = Exchange {
        added: vec![Message::text(Role::User, "Explain something")],
        transcript: answer(index),
        tool_results: Vec::new(),
    };
    CaseRecord {
        id: format!("bench/case-{index}"),
        index,
        scenario: "scenarios/bench.yaml".to_owned(),
        scenario_line: 7,
        description: "A benchmark".to_owned(),
        why: "To see what a report costs".to_owned(),
        model: "builtin:readme".to_owned(),
        target: None,
        template: TemplateVariables::default(),
        assertions: vec![assertion],
        verdict: CaseVerdict::Passed,
        run: RunRecord {
            sampling: SamplingSettings::default().resolve().expect("valid"),
            conversation: Conversation {
                exchanges: vec![exchange],
            },
            judgement: Judgement::default(),
            reruns: Vec::new(),
            error: None,
        },
        repeats: None,
        control: None,
        quarantine: None,
    }
}

fn judged(case: &CaseRecord) -> CaseRecord {
    let snapshots = RecordedComparisons {
        run: Comparison::Missing,
        control: None,
    };
    rejudge(case, &snapshots).expect("assertions of this version")
}

fn provenance() -> Provenance {
    Provenance {
        format: FORMAT_VERSION,
        tool: "loopwatch".to_owned(),
        command: vec!["loopwatch".to_owned(), "run".to_owned()],
        started_at: "2026-01-01T00:00:00Z".to_owned(),
        platform: "linux x86_64".to_owned(),
        processor: String::new(),
        threads: 2,
        jobs: 16,
        overrides: Vec::new(),
        environment: Vec::new(),
        models: Vec::new(),
        plan: None,
    }
}

fn reports(criterion: &mut Criterion) {
    let cases: Vec<CaseRecord> = (0..CASES).map(case).collect();
    let record = Record {
        provenance: provenance(),
        cases: cases.iter().map(judged).collect(),
        summary: None,
        truncated: false,
    };
    let looping = record
        .cases
        .iter()
        .filter(|case| case.verdict == CaseVerdict::Failed);
    assert_eq!(looping.count(), CASES / 2);
    let mut group = criterion.benchmark_group("report");
    group.sample_size(20);
    group.throughput(Throughput::Elements(CASES as u64));
    group.bench_function("judge", |bencher| {
        bencher.iter(|| cases.iter().map(judged).collect::<Vec<_>>());
    });
    group.bench_function("page", |bencher| {
        bencher.iter(|| report::html(black_box(&record)));
    });
    let folder = tempfile::tempdir().expect("a folder");
    let mut runs = 0;
    group.bench_function("write_and_read", |bencher| {
        bencher.iter(|| {
            runs += 1;
            let run = folder.path().join(runs.to_string());
            let mut writer = RecordWriter::create(&run, &record.provenance).expect("a record");
            for case in &record.cases {
                writer.append(case).expect("written");
            }
            Record::read(&run).expect("reads back")
        });
    });
    group.finish();
}

criterion_group!(benches, reports);
criterion_main!(benches);
