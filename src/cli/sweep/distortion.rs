//! Reads healthy answers again, token by token, and sees what every setting would have done.
//!
//! Healthy are greedy answers without a penalty that ended by themselves and did not loop, and
//! where no greedy ones were asked for, sampled ones. All settings share one pass over each text.

use super::super::targets::Answering;
use super::Progress;
use crate::engine::{Engine, EngineError};
use crate::generation::{Conversation, Prompt, SamplingParams};
use crate::plan::Case;
use crate::record::Record;
use crate::sampling::{Sequence, TeacherForced};
use crate::sweep::{Design, DistortionSummary, Distortions, Outcome};

/// More texts than this make the figures hardly more certain.
const MOST_TEXTS: usize = 64;

/// What each point does to healthy text; nothing where the sweep has no penalty, no healthy
/// answer, or a target that shows no logits.
pub(super) fn measure(
    design: &Design,
    record: &Record,
    outcomes: &[Option<Outcome>],
    answering: &Answering,
    progress: &mut Progress,
) -> Result<Vec<Option<DistortionSummary>>, EngineError> {
    let texts = texts(design, outcomes);
    progress.distortion(texts.len());
    let mut all = Distortions::new(design.points.len());
    for (prompt, run) in texts {
        let case = &design.runs[run];
        let recorded = record.cases.iter().find(|recorded| recorded.index == run);
        let (Some(recorded), Some(engine)) = (recorded, answering.engines.get(&case.answerer()))
        else {
            continue;
        };
        let settings: Option<Vec<SamplingParams>> = design
            .points
            .iter()
            .map(|(_, trials)| {
                let trial = trials.iter().find(|trial| trial.prompt == prompt)?;
                Some(design.runs[trial.run].sampling.clone())
            })
            .collect();
        if let Some(settings) = settings {
            read(
                engine,
                case,
                &recorded.run.conversation,
                &settings,
                &mut all,
            )?;
        }
        progress.text_read();
    }
    Ok(all.summaries())
}

/// For each prompt the run of a healthy answer, if there is one.
fn texts(design: &Design, outcomes: &[Option<Outcome>]) -> Vec<(usize, usize)> {
    let mut texts = Vec::new();
    for prompt in 0..design.prompts.len() {
        let without = design.points.iter().filter(|(point, _)| {
            point
                .treatment
                .is_some_and(|treatment| treatment.level == design.off)
        });
        let trials = without.flat_map(|(_, trials)| trials);
        let healthy = trials.filter(|trial| {
            let outcome = outcomes.get(trial.run).and_then(Option::as_ref);
            let outcome = outcome.filter(|outcome| outcome.ended && outcome.tokens > 1);
            trial.prompt == prompt && outcome.is_some_and(|outcome| outcome.looped.is_none())
        });
        // Greedy ones have no seed, and come first.
        if let Some(trial) = healthy.min_by_key(|trial| trial.seed) {
            texts.push((prompt, trial.run));
        }
    }
    // Evenly over all prompts.
    let every = texts.len().div_ceil(MOST_TEXTS).max(1);
    texts.into_iter().step_by(every).collect()
}

/// Every generation of a conversation.
fn read(
    engine: &Engine,
    case: &Case,
    conversation: &Conversation,
    settings: &[SamplingParams],
    all: &mut Distortions,
) -> Result<(), EngineError> {
    all.begin_text();
    let mut history = Vec::new();
    for exchange in &conversation.exchanges {
        history.extend(exchange.added.iter().cloned());
        let prompt = match &case.script {
            crate::scenario::Script::Prompt(text) => Prompt::Text { text: text.clone() },
            _ => Prompt::Chat {
                messages: history.clone(),
                tools: case.tools.specs(),
                variables: case.template.clone(),
            },
        };
        history.push(exchange.transcript.message());
        let prompt = engine.model().tokenize(&prompt)?;
        let answer = exchange.transcript.token_ids();
        let sequence = Sequence {
            prompt: &prompt,
            cached: 0,
            eos: engine.model().eos(),
            newline: &[],
        };
        let mut forced = TeacherForced::new(settings, &sequence);
        let tokens = [prompt.as_slice(), &answer].concat();
        let mut rows = engine.score(tokens, prompt.len())?;
        for next in answer {
            let row = rows.blocking_recv().ok_or(EngineError::Stopped)??;
            all.push(forced.step(&row, next));
        }
    }
    Ok(())
}
