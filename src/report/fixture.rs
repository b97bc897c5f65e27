//! Records for the tests of the report: the kinds of outcome, made by hand, judged by the real
//! detector.

mod cases;

use crate::assertion::{Check, CheckStatus, Judgement, LoopEvidence};
use crate::generation::{
    Conversation, Exchange, FinishReason, Message, Role, SamplingSettings, Token, ToolCall,
    ToolResult, Transcript, Usage,
};
use crate::loops::{FRAGMENT_CHARS, Thresholds, detect, escape_fragment, text_units};
use crate::record::{
    CaseRecord, CaseVerdict, ControlRecord, FORMAT_VERSION, ModelProvenance, Provenance, Record,
    RunRecord, Summary,
};

use cases::{cured, errored, failed_by_loop, failed_by_snapshot, held_control, plain_pass};

const README: &str = "# Tidepool\n\nTidepool keeps small data sets in memory and writes them to \
    one file, so that a program can be stopped at any time and started again where it was.\n\n\
    ## Installing\n\nAdd it to your project:\n\n    cargo add tidepool\n\n## Using it\n\nOpen a \
    store, put something in, and read it back. Every write is appended to the log before the call \
    returns; the log is rewritten when more than half of it is stale.\n\n    let store = \
    Store::open(\"pool.log\")?;\n    store.put(\"key\", b\"value\")?;\n    assert_eq!(store.get(\
    \"key\")?, Some(b\"value\".to_vec()));\n\n## Limits\n\nOne process at a time, keys up to 64 \
    KiB, and everything has to fit in memory. Use a database if that is not enough for you.\n";

const SUMMARY: &str = "Tidepool is a small store for data sets that fit in memory. It appends \
    every write to one log file before the call returns, so a program can be stopped and started \
    again, and it rewrites the log when more than half of it is stale. It serves one process at a \
    time, and keys may have up to 64 KiB.";

/// The generation of a text, cut into pieces the size of tokens.
pub(super) fn generation(
    text: &str,
    finish_reason: FinishReason,
    input_tokens: usize,
) -> Transcript {
    let units = text_units(text);
    let mut at = 96_000 + 350 * input_tokens as u64;
    let mut token_at_us = Vec::new();
    for index in 0..units.len() as u64 {
        token_at_us.push(at);
        // Some unevenness, and a stall now and then.
        at += 7_600 + index * 7_919 % 900 + if index % 97 == 60 { 9_000 } else { 0 } + index * 2;
    }
    let token = |id| Token {
        id,
        logprob: -0.25,
        margin: 1.5,
        top: Vec::new(),
    };
    Transcript {
        tokens: units.iter().map(|unit| token(unit.id)).collect(),
        text_ends: units.iter().map(|unit| unit.bytes.end).collect(),
        usage: Usage {
            input_tokens,
            cached_tokens: 0,
            output_tokens: units.len(),
        },
        token_at_us,
        text: text.to_owned(),
        content: None,
        reasoning: None,
        tool_calls: Vec::new(),
        finish_reason,
        e2e_us: at,
        pieces: Vec::new(),
        retries: Vec::new(),
        stream: None,
    }
}

/// A conversation of generations without text, at these times.
pub(super) fn timed(generations: &[&[u64]]) -> Conversation {
    let exchanges = generations.iter().map(|at| Exchange {
        added: Vec::new(),
        transcript: Transcript {
            token_at_us: at.to_vec(),
            ..generation("", FinishReason::Stop, 10)
        },
        tool_results: Vec::new(),
    });
    Conversation {
        exchanges: exchanges.collect(),
    }
}

fn said(role: Role, text: &str) -> Message {
    Message::text(role, text)
}

/// One question, one answer.
fn answered(question: &str, answer: Transcript) -> Conversation {
    Conversation {
        exchanges: vec![Exchange {
            added: vec![said(Role::User, question)],
            transcript: answer,
            tool_results: Vec::new(),
        }],
    }
}

/// Reads the README with a tool, then answers.
fn read_and_answered(answer: Transcript) -> Conversation {
    let call = ToolCall {
        id: None,
        name: "read_file".to_owned(),
        arguments: [("path".to_owned(), "README.md".into())]
            .into_iter()
            .collect(),
    };
    let text = "<tool_call>\n{\"name\": \"read_file\", \"arguments\": {\"path\": \"README.md\"}}\n</tool_call>";
    let mut asking = generation(text, FinishReason::ToolCalls, 148);
    asking.content = Some(String::new());
    asking.tool_calls = vec![call.clone()];
    Conversation {
        exchanges: vec![
            Exchange {
                added: vec![
                    said(
                        Role::System,
                        "You are a coding assistant. Use the tools you are given.",
                    ),
                    said(Role::User, "Read README.md and summarise it."),
                ],
                transcript: asking,
                tool_results: vec![ToolResult {
                    call,
                    content: README.to_owned(),
                    is_error: false,
                }],
            },
            Exchange {
                added: vec![said(Role::Tool, README)],
                transcript: answer,
                tool_results: Vec::new(),
            },
        ],
    }
}

fn check(label: &str, line: usize, status: CheckStatus, message: &str) -> Check {
    Check {
        label: label.to_owned(),
        kind: label.split(' ').next().unwrap_or_default().to_owned(),
        turn: None,
        file: None,
        line,
        status,
        message: message.to_owned(),
        diff: None,
    }
}

fn passed(label: &str, line: usize, message: &str) -> Check {
    check(label, line, CheckStatus::Passed, message)
}

fn failed(label: &str, line: usize, message: &str) -> Check {
    check(label, line, CheckStatus::Failed, message)
}

/// What `not-loop` says of the answer, in the words of the judge.
fn not_loop(line: usize, answer: &Transcript) -> Check {
    match detect(&answer.token_ids(), &Thresholds::default()) {
        Some(verdict) => failed(
            "not-loop",
            line,
            &format!(
                "loop confirmed: period {} tokens, {:.1} copies from token {} (detected at token \
                 {}, {} wasted)",
                verdict.period,
                verdict.copies(),
                verdict.onset,
                verdict.detected_at,
                verdict.wasted_tokens
            ),
        ),
        None => passed("not-loop", line, "no loop"),
    }
}

/// A run with these checks and the loops that are there.
fn run(settings: &SamplingSettings, conversation: Conversation, checks: Vec<Check>) -> RunRecord {
    let evidence = |(exchange, of): (usize, &Exchange)| {
        let verdict = detect(&of.transcript.token_ids(), &Thresholds::default())?;
        let range = of
            .transcript
            .text_range(verdict.onset..verdict.onset + verdict.period);
        Some(LoopEvidence {
            exchange,
            fragment: escape_fragment(&of.transcript.text[range], FRAGMENT_CHARS),
            verdict,
        })
    };
    RunRecord {
        sampling: settings.resolve().expect("valid"),
        judgement: Judgement {
            checks,
            loops: conversation
                .exchanges
                .iter()
                .enumerate()
                .filter_map(evidence)
                .collect(),
        },
        conversation,
        reruns: Vec::new(),
        error: None,
    }
}

fn cure() -> SamplingSettings {
    SamplingSettings {
        max_tokens: Some(400),
        ..SamplingSettings::default()
    }
}

fn no_cure() -> SamplingSettings {
    SamplingSettings {
        repetition_penalty: Some(1.0),
        ..SamplingSettings::default()
    }
}

fn control(conversation: Conversation, checks: Vec<Check>, held: &[&str]) -> ControlRecord {
    ControlRecord {
        sampling: no_cure(),
        must_fail: vec!["not-loop".to_owned()],
        held: held.iter().map(|kind| (*kind).to_owned()).collect(),
        run: run(&cure().overlaid(&no_cure()), conversation, checks),
    }
}

fn case(
    id: &str,
    line: usize,
    description: &str,
    why: &str,
    verdict: CaseVerdict,
    run: RunRecord,
) -> CaseRecord {
    let file = id.split('/').next().unwrap_or_default();
    CaseRecord {
        id: id.to_owned(),
        index: 0,
        scenario: format!("scenarios/{file}.yaml"),
        scenario_line: line,
        description: description.to_owned(),
        why: why.to_owned(),
        model: "builtin:readme".to_owned(),
        target: None,
        template: Default::default(),
        assertions: Vec::new(),
        verdict,
        run,
        repeats: None,
        control: None,
        quarantine: None,
    }
}

fn looping(start: &str, unit: &str, copies: usize, end: &str) -> String {
    format!("{start}{}{end}", unit.repeat(copies))
}

fn provenance() -> Provenance {
    Provenance {
        format: FORMAT_VERSION,
        tool: "loopwatch 0.1.0".to_owned(),
        command: ["loopwatch", "run", "scenarios", "--filter", "id = readme-*"]
            .map(str::to_owned)
            .to_vec(),
        started_at: "2025-11-24T08:27:11Z".to_owned(),
        platform: "linux x86_64".to_owned(),
        processor: "AMD EPYC 9B14".to_owned(),
        threads: 2,
        jobs: 16,
        overrides: vec!["sampling.max_tokens=400".to_owned()],
        environment: Vec::new(),
        models: vec![ModelProvenance {
            name: "builtin:readme".to_owned(),
            description: "llama, 5.5 M parameters, 4 bit".to_owned(),
            weights_sha256: "0123456789abcdef".repeat(4),
        }],
        plan: None,
    }
}

/// A finished run with every kind of outcome.
pub(super) fn record() -> Record {
    Record {
        provenance: provenance(),
        cases: vec![
            cured(),
            failed_by_loop(),
            failed_by_snapshot(),
            held_control(),
            errored(),
            plain_pass(),
        ],
        summary: Some(Summary {
            passed: 2,
            failed: 3,
            errored: 1,
            not_run: 0,
            wall_ms: 72_400,
        }),
        truncated: false,
    }
}

/// A record in which every text that a model or a file can decide is `text`.
pub(super) fn hostile(text: &str) -> Record {
    let mut record = record();
    let own = || text.to_owned();
    record.provenance = Provenance {
        tool: own(),
        command: vec![own()],
        started_at: own(),
        platform: own(),
        processor: own(),
        overrides: vec![own()],
        environment: vec![own()],
        models: vec![ModelProvenance {
            name: own(),
            description: own(),
            weights_sha256: own(),
        }],
        ..record.provenance
    };
    for case in &mut record.cases {
        for field in [
            &mut case.id,
            &mut case.scenario,
            &mut case.description,
            &mut case.why,
            &mut case.model,
        ] {
            *field = own();
        }
        corrupt(&mut case.run, text);
        if let Some(control) = &mut case.control {
            control.must_fail.push(own());
            control.held.push(own());
            corrupt(&mut control.run, text);
        }
    }
    record
}

fn corrupt(run: &mut RunRecord, text: &str) {
    run.sampling.stop = vec![text.to_owned()];
    run.error = run.error.as_ref().map(|_| text.to_owned());
    for check in &mut run.judgement.checks {
        for field in [&mut check.label, &mut check.kind, &mut check.message] {
            *field = text.to_owned();
        }
    }
    for evidence in &mut run.judgement.loops {
        evidence.fragment = text.to_owned();
    }
    for exchange in &mut run.conversation.exchanges {
        let repeated = text.repeat(20);
        exchange.transcript = Transcript {
            tool_calls: exchange.transcript.tool_calls.clone(),
            ..generation(&repeated, FinishReason::Length, 9)
        };
        for call in &mut exchange.transcript.tool_calls {
            call.name = text.to_owned();
            call.arguments = [(text.to_owned(), text.into())].into_iter().collect();
        }
        for message in &mut exchange.added {
            message.content = text.to_owned();
        }
        for result in &mut exchange.tool_results {
            result.call.name = text.to_owned();
            result.content = repeated.clone();
        }
    }
}

/// A record of `cases` cases with answers of several thousand tokens, whose controls loop.
pub(super) fn long(cases: usize) -> Record {
    let words: Vec<String> = (0..4_000).map(|number| format!("w{number}")).collect();
    let prose = words.join(" ");
    let text = looping("Well: ", "and <so> it \"goes\" on & on, ", 600, "");
    let make = |number| CaseRecord {
        id: format!("long/{number}"),
        control: Some(control(
            answered(&prose, generation(&text, FinishReason::Length, 9)),
            vec![failed("not-loop", 20, "loops")],
            &[],
        )),
        run: run(
            &cure(),
            answered(&prose, generation(&prose, FinishReason::Length, 9)),
            Vec::new(),
        ),
        ..cured()
    };
    Record {
        cases: (0..cases).map(make).collect(),
        ..record()
    }
}
