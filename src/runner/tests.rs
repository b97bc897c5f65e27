//! Who runs beside whom, with targets that only count.

use std::sync::Mutex;
use std::time::Duration;

use futures_util::StreamExt;
use rstest::rstest;

use super::*;
use crate::generation::{Event, EventKind, FinishReason, GenerateRequest, SamplingSettings, Usage};
use crate::plan::{Overrides, expand};
use crate::record::{FORMAT_VERSION, Provenance, Record};
use crate::scenario::Scenario;
use crate::target::EventStream;

/// What all targets of a run see: the models that are generating now, and the most there were.
#[derive(Default)]
struct Crowd {
    now: Mutex<Vec<&'static str>>,
    most: Mutex<BTreeMap<String, usize>>,
}

/// Answers nothing after a while, and writes down who else is asked meanwhile.
struct Counting {
    name: &'static str,
    crowd: Arc<Crowd>,
}

impl Target for Counting {
    fn generate(&self, request: GenerateRequest) -> EventStream {
        let (name, crowd) = (self.name, Arc::clone(&self.crowd));
        let prompt = format!("{:?}", request.prompt);
        let answer = async move {
            {
                let mut now = crowd.now.lock().expect("not poisoned");
                now.push(name);
                assert!(now.iter().all(|other| *other == name), "two models at once");
                let mut most = crowd.most.lock().expect("not poisoned");
                for key in [
                    "any",
                    if prompt.contains("timed") {
                        "timed"
                    } else {
                        "other"
                    },
                ] {
                    let seen = most.entry(key.to_owned()).or_default();
                    *seen = now.len().max(*seen);
                }
            }
            tokio::time::sleep(Duration::from_millis(5)).await;
            crowd.now.lock().expect("not poisoned").pop();
            let kind = EventKind::Finished {
                reason: FinishReason::Stop,
                text: String::new(),
                content: None,
                reasoning: None,
                usage: Usage::default(),
            };
            Ok(Event {
                at: Duration::from_millis(5),
                kind,
            })
        };
        futures_util::stream::once(answer).boxed()
    }
}

/// Eight cases for two models in turn, half of them with a control; the first of each model
/// judges its time.
fn cases(folder: &std::path::Path) -> Vec<Case> {
    let mut scenarios = Vec::new();
    for model in ["a", "b"] {
        let path = folder.join(format!("{model}.yaml"));
        let text = format!(
            "version: 1\ndescription: d\nwhy: w\nmodel: {model}\ntests:\n\
             - {{id: timed, prompt: timed, assert: [e2e: 10s]}}\n\
             - {{id: one, prompt: one, assert: [not-loop]}}\n\
             - {{id: two, prompt: two, assert: [not-loop]}}\n\
             - id: three\n  prompt: three\n  assert: [not-loop]\n  \
               control: {{sampling: {{repetition_penalty: 1.0}}, must_fail: [not-loop]}}\n"
        );
        std::fs::write(&path, text).expect("written");
        scenarios.push(Scenario::load(&path).expect("a scenario"));
    }
    let overrides = Overrides::parse(&[]).expect("none");
    expand(&scenarios, &overrides, &SamplingSettings::default()).expect("a plan")
}

pub(super) fn provenance() -> Provenance {
    Provenance {
        format: FORMAT_VERSION,
        tool: String::new(),
        command: Vec::new(),
        started_at: String::new(),
        platform: String::new(),
        processor: String::new(),
        threads: 1,
        jobs: 1,
        overrides: Vec::new(),
        environment: Vec::new(),
        models: Vec::new(),
        plan: None,
    }
}

/// Runs all cases; stops after `stop_after` of them. Returns what the targets saw, the ids in the
/// order in which they ended, and the record.
fn run_all(jobs: usize, stop_after: usize) -> (BTreeMap<String, usize>, Vec<String>, Record) {
    let folder = tempfile::tempdir().expect("a folder");
    let cases = cases(folder.path());
    let crowd = Arc::new(Crowd::default());
    let mut targets = Targets::new();
    for (case, name) in [(&cases[0], "a"), (&cases[4], "b")] {
        let crowd = Arc::clone(&crowd);
        targets.insert(case.answerer(), Arc::new(Counting { name, crowd }));
    }
    let snapshots = SnapshotStore::new(folder.path());
    let (stop, interrupted) = watch::channel(false);
    let context = RunContext {
        targets: &targets,
        snapshots: &snapshots,
        jobs,
        stop_loops: false,
        write_pending: false,
        interrupted,
        may_begin: &|| true,
        earlier: Summary::default(),
    };
    let mut ended = Vec::new();
    let mut on_event = |event: RunEvent<'_>| {
        if let RunEvent::CaseFinished { record, .. } = event {
            ended.push(record.id.clone());
            if ended.len() == stop_after {
                stop.send(true).expect("somebody listens");
            }
        }
    };
    let record = RecordWriter::create(&folder.path().join("run"), &provenance()).expect("a record");
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .build();
    let outcome =
        runtime
            .expect("a runtime")
            .block_on(run(&cases, &context, record, &mut on_event));
    let summary = outcome.expect("recorded");
    assert_eq!(summary.not_run, cases.len() - ended.len());
    let record = Record::read(&folder.path().join("run")).expect("a record");
    let most = std::mem::take(&mut *crowd.most.lock().expect("not poisoned"));
    (most, ended, record)
}

/// evalscope PR 1641: the burst at the start of a closed loop stood in the tail of the times. What
/// is timed has no company here.
#[rstest]
#[case(1, 1)]
#[case(2, 2)]
#[case(3, 3)]
// One model's cases that want no time to themselves: three, and a control.
#[case(16, 4)]
fn as_many_go_on_together_as_there_are_jobs_and_what_is_timed_goes_alone(
    #[case] jobs: usize,
    #[case] most: usize,
) {
    let (seen, ended, record) = run_all(jobs, usize::MAX);
    assert_eq!(seen["any"], most);
    assert_eq!(seen["timed"], 1);
    assert_eq!(ended.len(), 8);
    let ids: Vec<&str> = record.cases.iter().map(|case| case.id.as_str()).collect();
    let plan = ["timed", "one", "two", "three"].map(|id| [format!("a/{id}"), format!("b/{id}")]);
    let plan: Vec<String> = [0, 1]
        .into_iter()
        .flat_map(|model| plan.iter().map(move |ids| ids[model].clone()))
        .collect();
    assert_eq!(ids, plan);
}

#[test]
fn one_job_keeps_the_order() {
    let (_, ended, _) = run_all(1, usize::MAX);
    assert_eq!(ended[..4], ["a/one", "a/two", "a/three", "a/timed"]);
}

#[test]
fn an_interrupted_run_leaves_out_what_is_in_flight() {
    let (_, ended, record) = run_all(2, 2);
    assert_eq!(ended.len(), 2);
    assert_eq!(record.cases.len(), 2);
    assert!(record.summary.is_some());
}
