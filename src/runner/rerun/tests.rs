//! Conversations held once more, with targets that keep a word or break it.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use futures_util::StreamExt;
use rstest::rstest;
use tokio::sync::{Mutex, watch};

use crate::assertion::{Rerun, Way};
use crate::endpoint::{Api, Endpoint};
use crate::generation::{
    Event, EventKind, FinishReason, GenerateRequest, SamplingSettings, Token, Usage,
};
use crate::plan::{Overrides, expand};
use crate::record::{CaseRecord, CaseVerdict, Record, RecordWriter, Summary};
use crate::runner::{RunContext, Targets, run};
use crate::scenario::Scenario;
use crate::snapshot::SnapshotStore;
use crate::target::{EventStream, Target, TargetError};

/// What may change the fourth of six tokens.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Mood {
    /// Nothing.
    Steady,
    /// That it was asked before.
    Forgetful,
    /// That somebody else is answered.
    Crowded,
    /// A penalty.
    Penalised,
    /// The form in which it is asked.
    Formal,
    /// Nothing, but it answers one after the other.
    Single,
}

#[derive(Clone)]
struct Moody {
    mood: Mood,
    asked_as: (Api, bool),
    asked: Arc<AtomicUsize>,
    answering: Arc<AtomicUsize>,
    turn: Arc<Mutex<()>>,
}

impl Moody {
    fn new(mood: Mood) -> Self {
        Self {
            mood,
            asked_as: (Api::OpenAi, true),
            asked: Arc::default(),
            answering: Arc::default(),
            turn: Arc::default(),
        }
    }
}

impl Target for Moody {
    fn generate(&self, request: GenerateRequest) -> EventStream {
        let target = self.clone();
        let penalty = request.sampling.repetition_penalty;
        let earlier = self.asked.fetch_add(1, Ordering::SeqCst);
        let step = move |number: u32| {
            let target = target.clone();
            async move {
                tokio::time::sleep(Duration::from_millis(2)).await;
                let others = target.answering.load(Ordering::SeqCst);
                let other = match target.mood {
                    Mood::Steady | Mood::Single => false,
                    Mood::Forgetful => earlier > 0,
                    Mood::Crowded => others > 1,
                    Mood::Penalised => penalty != 1.0,
                    Mood::Formal => target.asked_as != (Api::OpenAi, true),
                };
                let id = 10 + number + u32::from(other && number == 3) * 50;
                let token = Token {
                    id,
                    logprob: -0.5,
                    margin: 1.0,
                    top: Vec::new(),
                };
                event(EventKind::Delta {
                    token,
                    text: format!("{id} "),
                })
            }
        };
        let finished = event(EventKind::Finished {
            reason: FinishReason::Stop,
            text: String::new(),
            content: None,
            reasoning: None,
            usage: Usage {
                output_tokens: 6,
                ..Usage::default()
            },
        });
        let here = Here::new(&self.answering);
        let single = (self.mood == Mood::Single).then(|| self.turn.clone());
        let answer = async move {
            // Held until the answer has ended, or nobody reads it any more.
            let turn = match single {
                Some(turn) => Some(turn.lock_owned().await),
                None => None,
            };
            (here, turn)
        };
        let tokens = futures_util::stream::once(answer).flat_map(move |held| {
            let last = finished.clone();
            let tokens = futures_util::stream::iter(0..6).then(step.clone());
            tokens
                .chain(futures_util::stream::once(async move {
                    drop(held);
                    last
                }))
                .map(Ok)
        });
        tokens.boxed()
    }

    fn in_form(&self, api: Api, stream: bool) -> Result<Option<Box<dyn Target>>, TargetError> {
        Ok(Some(Box::new(Self {
            asked_as: (api, stream),
            ..self.clone()
        })))
    }
}

/// One that is being answered.
struct Here(Arc<AtomicUsize>);

impl Here {
    fn new(answering: &Arc<AtomicUsize>) -> Self {
        answering.fetch_add(1, Ordering::SeqCst);
        Self(Arc::clone(answering))
    }
}

impl Drop for Here {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::SeqCst);
    }
}

fn event(kind: EventKind) -> Event {
    Event {
        at: Duration::from_millis(1),
        kind,
    }
}

/// Runs one case that makes this assertion of a server.
async fn run_one(mood: Mood, asserted: &str, control: &str) -> CaseRecord {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("s.yaml");
    let text = format!(
        "version: 1\ndescription: d\nwhy: w\ntarget: {{openai: 'http://127.0.0.1:9/v1'}}\ntests:\n\
         - id: one\n  user: go\n  assert: [{asserted}]\n{control}"
    );
    std::fs::write(&path, text).expect("written");
    let scenario = Scenario::load(&path).expect("a scenario");
    let overrides = Overrides::parse(&[]).expect("none");
    let cases = expand(&[scenario], &overrides, &SamplingSettings::default()).expect("a plan");
    assert!(matches!(cases[0].target, Endpoint::Http(_)));
    let mut targets: Targets = BTreeMap::new();
    targets.insert(cases[0].answerer(), Arc::new(Moody::new(mood)));
    let (_stop, interrupted) = watch::channel(false);
    let context = RunContext {
        targets: &targets,
        snapshots: &SnapshotStore::new(folder.path()),
        jobs: 4,
        stop_loops: false,
        write_pending: false,
        interrupted,
        may_begin: &|| true,
        earlier: Summary::default(),
    };
    let at = folder.path().join("run");
    let writer = RecordWriter::create(&at, &crate::runner::tests::provenance()).expect("a record");
    let ended = run(&cases, &context, writer, &mut |_| ()).await;
    ended.expect("recorded");
    let mut record = Record::read(&at).expect("a record");
    record.cases.remove(0)
}

#[rstest]
#[case(Mood::Steady, "deterministic", true)]
#[case(Mood::Forgetful, "deterministic", false)]
#[case(Mood::Crowded, "deterministic", true)]
#[case(Mood::Steady, "batch-invariant", true)]
#[case(Mood::Crowded, "batch-invariant: 2", false)]
#[case(Mood::Forgetful, "batch-invariant: 1", false)]
#[case(Mood::Steady, "api-parity", true)]
#[case(Mood::Formal, "api-parity", false)]
#[case(Mood::Formal, "api-parity: [openai-whole]", false)]
#[case(Mood::Steady, "penalty-effect", false)]
#[case(Mood::Penalised, "penalty-effect", true)]
#[tokio::test]
async fn a_target_that_breaks_its_word_is_found(
    #[case] mood: Mood,
    #[case] asserted: &str,
    #[case] holds: bool,
) {
    let case = run_one(mood, asserted, "").await;
    assert_eq!(case.run.error, None);
    let expected = match holds {
        true => CaseVerdict::Passed,
        false => CaseVerdict::Failed,
    };
    assert_eq!(case.verdict, expected, "{:?}", case.run.judgement);
    let told = case.run.conversation.output_tokens();
    let again = |one: &Rerun| one.conversation.output_tokens();
    assert!(
        case.run
            .reruns
            .iter()
            .all(|one| again(one) == told && told == 6)
    );
    let forms = if asserted == "api-parity" { 3 } else { 1 };
    assert_eq!(case.run.reruns.len(), forms);
}

/// A server that lets everybody else wait shows nothing about company.
#[tokio::test]
async fn company_that_waits_is_no_company() {
    let case = run_one(Mood::Single, "batch-invariant: 2", "").await;
    assert_eq!(case.verdict, CaseVerdict::Errored);
    let error = case.run.error.expect("an error");
    assert!(
        error.starts_with("asked beside 2 others: the others got nothing between"),
        "{error}"
    );
}

#[tokio::test]
async fn a_control_without_the_penalty_has_to_fail() {
    let control = "  control: {sampling: {repetition_penalty: 1.0}, must_fail: [penalty-effect]}\n";
    let case = run_one(Mood::Penalised, "penalty-effect", control).await;
    assert_eq!(case.verdict, CaseVerdict::Passed);
    let control = case.control.expect("a control");
    assert_eq!(control.run.reruns[0].way, Way::WithoutPenalties);
    assert!(!control.run.judgement.passed());
}

/// What was recorded is judged again from the record alone.
#[tokio::test]
async fn a_record_keeps_what_was_said_once_more() {
    let case = run_one(Mood::Crowded, "batch-invariant: 2", "").await;
    let comparisons = crate::runner::RecordedComparisons {
        run: crate::snapshot::Comparison::Missing,
        control: None,
    };
    let again = crate::runner::rejudge(&case, &comparisons).expect("judged");
    assert_eq!(again, case);
    let mut cured = case.clone();
    cured.run.reruns[0].conversation = cured.run.conversation.clone();
    let cured = crate::runner::rejudge(&cured, &comparisons).expect("judged");
    assert_eq!(cured.verdict, CaseVerdict::Passed);
}
