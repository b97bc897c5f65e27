//! Holds one conversation: sends turns, answers tool calls from mocks, keeps the limits.

use std::time::Duration;

use futures_util::StreamExt;
use tokio::sync::watch;
use tokio::time::{Instant, timeout_at};

use super::RunContext;
use super::early_stop::EarlyStop;
use super::limits::{LimitWatch, over};
use crate::generation::{
    Conversation, Event, EventKind, Exchange, FinishReason, GenerateRequest, Message, Prompt, Role,
    SamplingParams, Transcript, Usage,
};
use crate::plan::{Case, Mocked, Script};
use crate::target::Target;

/// How a conversation ended.
#[derive(Debug)]
pub(super) enum Ending {
    /// Every turn was answered.
    Complete,
    /// A generation looped, and was to end there.
    Looped,
    /// A limit of the scenario cut it short: which, and where.
    Limit(String),
    /// The target could not answer.
    Error(String),
    /// The user wants to stop.
    Interrupted,
}

/// Runs the case's conversation with `sampling`, and keeps what was said however it ends.
pub(super) async fn converse(
    case: &Case,
    sampling: &SamplingParams,
    target: &dyn Target,
    context: &RunContext<'_>,
    on_token: &mut dyn FnMut(),
) -> (Conversation, Ending) {
    let mut talk = Talk {
        case,
        sampling,
        target,
        interrupted: context.interrupted.clone(),
        stop_loops: context.stop_loops,
        deadline: Instant::now() + case.limits.time_limit,
        history: Vec::new(),
        conversation: Conversation::default(),
    };
    let ending = match talk.run(on_token).await {
        Ok(()) => Ending::Complete,
        Err(ending) => ending,
    };
    (talk.conversation, ending)
}

struct Talk<'a> {
    case: &'a Case,
    sampling: &'a SamplingParams,
    target: &'a dyn Target,
    interrupted: watch::Receiver<bool>,
    stop_loops: bool,
    deadline: Instant,
    /// The messages so far.
    history: Vec<Message>,
    conversation: Conversation,
}

impl Talk<'_> {
    async fn run(&mut self, on_token: &mut dyn FnMut()) -> Result<(), Ending> {
        match &self.case.script {
            Script::Prompt(text) => {
                let prompt = Prompt::Text { text: text.clone() };
                self.exchange(prompt, Vec::new(), on_token).await?;
            }
            Script::Messages(messages) => {
                self.turn(messages.clone(), on_token).await?;
            }
            Script::Turns { system, turns } => {
                let mut opening: Vec<Message> = system
                    .iter()
                    .map(|text| Message::text(Role::System, text))
                    .collect();
                for user in turns {
                    let mut added = std::mem::take(&mut opening);
                    added.push(Message::text(Role::User, user));
                    self.turn(added, on_token).await?;
                }
            }
        }
        Ok(())
    }

    /// One turn of the user: generations follow each other until one calls no tool.
    async fn turn(
        &mut self,
        mut added: Vec<Message>,
        on_token: &mut dyn FnMut(),
    ) -> Result<(), Ending> {
        loop {
            let max_turns = self.case.limits.max_turns;
            if self.conversation.exchanges.len() >= max_turns {
                return Err(Ending::Limit(format!(
                    "max_turns: the model still called a tool in generation {max_turns}"
                )));
            }
            self.history.extend(added.iter().cloned());
            let prompt = Prompt::Chat {
                messages: self.history.clone(),
                tools: self.case.tools.specs(),
                variables: self.case.template.clone(),
            };
            self.exchange(prompt, added, on_token).await?;
            added = self.answer_calls().await?;
            if added.is_empty() {
                return Ok(());
            }
        }
    }

    /// Lets the mocks answer the calls of the last generation, one after the other, and returns
    /// their messages.
    async fn answer_calls(&mut self) -> Result<Vec<Message>, Ending> {
        let Some(last) = self.conversation.exchanges.last_mut() else {
            return Ok(Vec::new());
        };
        self.history.push(last.transcript.message());
        let calls = last.transcript.tool_calls.iter();
        let mocked: Vec<Mocked> = calls.map(|call| self.case.tools.answer(call)).collect();
        let delay = mocked.iter().map(|one| one.delay).sum();
        last.tool_results = mocked.into_iter().map(|one| one.result).collect();
        let messages = last.tool_results.iter().map(|result| Message {
            tool_call_id: result.call.id.clone(),
            ..Message::text(Role::Tool, &result.content)
        });
        let messages = messages.collect();
        self.wait(delay).await?;
        Ok(messages)
    }

    /// Waits as long as tools take; the user and the time limit do not wait for them.
    async fn wait(&mut self, delay: Duration) -> Result<(), Ending> {
        if delay.is_zero() {
            return Ok(());
        }
        tokio::select! {
            biased;
            _ = self.interrupted.wait_for(|stop| *stop) => Err(Ending::Interrupted),
            slept = timeout_at(self.deadline, tokio::time::sleep(delay)) => slept.map_err(|_| {
                let limit = self.case.limits.time_limit.as_secs_f64();
                Ending::Limit(format!("time_limit: the tools had not answered after {limit} s"))
            }),
        }
    }

    /// One request and its answer.
    async fn exchange(
        &mut self,
        prompt: Prompt,
        added: Vec<Message>,
        on_token: &mut dyn FnMut(),
    ) -> Result<(), Ending> {
        let request = GenerateRequest {
            prompt,
            sampling: self.sampling.clone(),
            top_logprobs: 0,
            constraint: None,
        };
        let (events, ended) = self.collect(request, on_token).await;
        match Transcript::from_events(events) {
            Ok(transcript) => {
                self.conversation.exchanges.push(Exchange {
                    added,
                    transcript,
                    tool_results: Vec::new(),
                });
                ended?;
                // A target that tells no tokens tells how many there were when it has ended.
                match over(
                    self.case.limits.token_limit,
                    self.conversation.output_tokens(),
                ) {
                    Some(limit) => Err(Ending::Limit(limit)),
                    None => Ok(()),
                }
            }
            Err(error) => {
                ended?;
                Err(Ending::Error(error.to_string()))
            }
        }
    }

    /// The events of one generation. One that is cut short gets the finish event it lacks, so
    /// that its tokens are kept as evidence.
    async fn collect(
        &mut self,
        request: GenerateRequest,
        on_token: &mut dyn FnMut(),
    ) -> (Vec<Event>, Result<(), Ending>) {
        let started = Instant::now();
        let mut stream = self.target.generate(request);
        let mut events = Vec::new();
        let mut usage = Usage::default();
        let before = self.conversation.output_tokens();
        let mut watch = LimitWatch::new(&self.case.limits, started, self.deadline);
        let mut early = self.stop_loops.then(EarlyStop::default);
        loop {
            let next = tokio::select! {
                biased;
                _ = self.interrupted.wait_for(|stop| *stop) => return (events, Err(Ending::Interrupted)),
                next = timeout_at(watch.until(), stream.next()) => next,
            };
            if let Some(limit) = watch.broken(&next, before + usage.output_tokens) {
                events.push(cut(started.elapsed(), usage));
                return (events, Err(Ending::Limit(limit)));
            }
            match next {
                Ok(Some(Ok(event))) => {
                    match &event.kind {
                        EventKind::Started { input_tokens } => usage.input_tokens = *input_tokens,
                        EventKind::Delta { .. } => {
                            usage.output_tokens += 1;
                            on_token();
                        }
                        EventKind::Text(_) => on_token(),
                        EventKind::Said { .. }
                        | EventKind::ToolCall(_)
                        | EventKind::Retried(_)
                        | EventKind::Streamed(_)
                        | EventKind::Finished { .. } => {}
                    }
                    let (at, finish) = (event.at, early.as_mut().and_then(|it| it.see(&event)));
                    events.push(event);
                    if let Some(kind) = finish {
                        events.push(Event { at, kind });
                        return (events, Err(Ending::Looped));
                    }
                }
                Ok(Some(Err(error))) => {
                    events.push(cut(started.elapsed(), usage));
                    return (events, Err(Ending::Error(error.to_string())));
                }
                Ok(None) | Err(_) => return (events, Ok(())),
            }
        }
    }
}

fn cut(at: Duration, usage: Usage) -> Event {
    Event {
        at,
        kind: EventKind::Finished {
            reason: FinishReason::Cancelled,
            text: String::new(),
            content: None,
            reasoning: None,
            usage,
        },
    }
}
