//! Lets requests in: checks them against the model, and counts how many are in the house.

use std::sync::Arc;
use std::time::Instant;

use axum::http::StatusCode;
use tokio::sync::{Semaphore, watch};

use super::answer_cache::AnswerCache;
use super::health::Pulse;
use super::metrics::Metrics;
use super::names;
use super::refusal::{Api, Refusal};
use super::trace::TraceLine;
use super::watch::Watched;
use super::{Served, ServerOptions};
use crate::generation::{Constraint, GenerateRequest, Prompt, SamplingParams, SamplingSettings};

/// What all requests share.
pub(super) struct App {
    pub(super) served: Served,
    pub(super) options: ServerOptions,
    pub(super) metrics: Metrics,
    pub(super) pulse: Pulse,
    answer_cache: Arc<AnswerCache>,
    /// When the server started, in seconds since 1970.
    pub(super) created: u64,
    room: Arc<Semaphore>,
    /// True when no more answers may be written.
    stop: watch::Receiver<bool>,
    /// True when no more requests are taken.
    closing: watch::Receiver<bool>,
}

/// A request read by its API: what to generate, how often, and what its answers report.
pub(super) struct Order {
    pub(super) api: Api,
    /// The field that holds the prompt.
    pub(super) field: &'static str,
    pub(super) prompts: Vec<Prompt>,
    pub(super) sampling: SamplingSettings,
    pub(super) top_logprobs: usize,
    /// The form of the answers, and the field that asks for it.
    pub(super) constraint: Option<(Constraint, &'static str)>,
    /// Answers to each prompt.
    pub(super) n: usize,
    /// Whether the answers have to be generated, though they were before.
    pub(super) fresh: bool,
}

/// Answers that have begun.
pub(super) struct Admitted {
    /// Those to one prompt next to each other.
    pub(super) answers: Vec<Watched>,
    /// What was changed about the request.
    pub(super) notes: Vec<String>,
    /// Whether all of them had been given before.
    pub(super) known: bool,
}

impl App {
    pub(super) fn new(
        served: Served,
        options: ServerOptions,
        stop: watch::Receiver<bool>,
        closing: watch::Receiver<bool>,
    ) -> Self {
        Self {
            metrics: Metrics::new(&served.name),
            room: Arc::new(Semaphore::new(options.limits.answers)),
            pulse: Pulse::default(),
            answer_cache: AnswerCache::new(options.limits.answer_cache_bytes),
            created: names::now(),
            served,
            options,
            stop,
            closing,
        }
    }

    /// Checks an order and starts its answers.
    pub(super) async fn admit(&self, order: Order) -> Result<Admitted, Refusal> {
        if *self.closing.borrow() {
            return Err(Refusal::stopping());
        }
        let count = order.prompts.len() * order.n;
        let permits = u32::try_from(count).unwrap_or(u32::MAX);
        let Ok(mut room) = Arc::clone(&self.room).try_acquire_many_owned(permits) else {
            let most = self.options.limits.answers;
            let problem = format!("{most} answers are running or waiting; try again soon");
            return Err(Refusal::busy(problem));
        };
        self.check_repetition(&order.sampling)?;
        let sampling = self.options.sampling.overlaid(&order.sampling).resolve()?;
        self.check_bias(&sampling)?;

        let repeatable = sampling.temperature == 0.0 || sampling.seed.is_some();
        let mut known = repeatable && !order.fresh;
        let mut answers = Vec::with_capacity(count);
        let mut notes = Vec::new();
        for prompt in order.prompts {
            let (fitted, note) = self.fit(prompt, &sampling, order.field).await?;
            notes.extend(note);
            let request = GenerateRequest {
                top_logprobs: order.top_logprobs,
                constraint: order.constraint.as_ref().map(|(form, _)| form.clone()),
                ..fitted
            };
            if let Some((_, field)) = order.constraint {
                self.check_form(&request, field).await?;
            }
            let seed = request.sampling.seed;
            for index in 0..order.n {
                let mut request = request.clone();
                // Each of several answers draws its own numbers, and the same ones every time.
                request.sampling.seed = seed.map(|seed| seed.wrapping_add(index as u64));
                // One permit for each answer; the semaphore gave as many as there are answers.
                let Some(permit) = room.split(1) else {
                    continue;
                };
                let traced = self.options.trace.as_ref().map(|_| request.clone());
                let line = TraceLine::new(order.api, traced);
                let before = match order.fresh || !repeatable {
                    true => None,
                    false => self.answer_cache.find(&request),
                };
                known &= before.is_some();
                let events = match before {
                    Some(events) => events,
                    None if repeatable => {
                        let events = self.served.target.generate(request.clone());
                        self.answer_cache.record(&request, events)
                    }
                    None => self.served.target.generate(request),
                };
                let watched = Watched::new(self, events, permit, line);
                answers.push(watched);
            }
        }
        notes.dedup();
        if known {
            self.metrics.known_again();
        }
        Ok(Admitted {
            answers,
            notes,
            known,
        })
    }

    /// Measures the prompt, and cuts the answer's length to what the context has room for; says
    /// so if it did.
    async fn fit(
        &self,
        prompt: Prompt,
        sampling: &SamplingParams,
        field: &'static str,
    ) -> Result<(GenerateRequest, Option<String>), Refusal> {
        let mut sampling = sampling.clone();
        if sampling.seed.is_none() && sampling.temperature > 0.0 {
            sampling.seed = Some(names::random());
        }
        let (prompt, count) = self.count(prompt).await?;
        let most = self.options.limits.context_tokens;
        let mut note = None;
        if let Some(count) = count {
            if count >= most {
                let problem = format!(
                    "the prompt has {count} tokens, but prompt and answer have room for {most}"
                );
                return Err(Refusal::field(field, problem).with_code("context_length_exceeded"));
            }
            let room = most - count;
            if sampling.max_tokens > room {
                note = Some(format!(
                    "max_tokens is cut from {} to {room}, the room behind this prompt",
                    sampling.max_tokens
                ));
                sampling.max_tokens = room;
            }
        }
        let request = GenerateRequest {
            prompt,
            sampling,
            top_logprobs: 0,
            constraint: None,
        };
        Ok((request, note))
    }

    /// Refuses a form that answers cannot be held to before anything is generated. It is made
    /// where waiting is allowed, and the model finds it ready.
    async fn check_form(
        &self,
        request: &GenerateRequest,
        field: &'static str,
    ) -> Result<(), Refusal> {
        let Some(vocabulary) = self.served.vocabulary.clone() else {
            return Ok(());
        };
        let request = request.clone();
        match tokio::task::spawn_blocking(move || vocabulary.check_form(&request)).await {
            Ok(Ok(())) => Ok(()),
            Ok(Err(error)) => Err(Refusal::field(field, format!("{field}: {error}"))),
            Err(_) => Err(Refusal::new(
                StatusCode::INTERNAL_SERVER_ERROR,
                "the form of the answer could not be read",
            )),
        }
    }

    /// Tokens of a prompt, if the model's tokens are known. Long prompts take long to tokenize,
    /// so it is done where waiting is allowed.
    pub(super) async fn count(&self, prompt: Prompt) -> Result<(Prompt, Option<usize>), Refusal> {
        let Some(vocabulary) = self.served.vocabulary.clone() else {
            return Ok((prompt, None));
        };
        let counting = tokio::task::spawn_blocking(move || {
            let count = vocabulary.count(&prompt);
            (prompt, count)
        });
        match counting.await {
            Ok((prompt, Ok(count))) => Ok((prompt, Some(count))),
            Ok((_, Err(error))) => Err(error.into()),
            Err(_) => Err(Refusal::new(
                StatusCode::INTERNAL_SERVER_ERROR,
                "the prompt could not be tokenized",
            )),
        }
    }

    fn check_bias(&self, sampling: &SamplingParams) -> Result<(), Refusal> {
        let Some(vocabulary) = &self.served.vocabulary else {
            return Ok(());
        };
        let size = vocabulary.size();
        match sampling.logit_bias.keys().find(|id| **id as usize >= size) {
            None => Ok(()),
            Some(id) => {
                let problem =
                    format!("logit_bias names token {id}, but the vocabulary has {size} tokens");
                Err(Refusal::field("logit_bias", problem))
            }
        }
    }

    /// What a request makes each of its tokens cost is for the operator to limit.
    fn check_repetition(&self, asked: &SamplingSettings) -> Result<(), Refusal> {
        let most = self.options.limits.repetition_pattern_tokens;
        match asked.repetition_detection {
            Some(rule) if rule.max_pattern_size > most => {
                let field = "repetition_detection.max_pattern_size";
                let size = rule.max_pattern_size;
                let problem = format!("{field} is {size}, but this server allows at most {most}");
                Err(Refusal::field(field, problem))
            }
            _ => Ok(()),
        }
    }

    /// Completes when no more answers may be written.
    pub(super) fn stopped(&self) -> impl Future<Output = ()> + Send + 'static {
        let mut stop = self.stop.clone();
        async move {
            // The sender lives as long as the server; without it there is nothing to wait for.
            if stop.wait_for(|stop| *stop).await.is_err() {
                std::future::pending::<()>().await;
            }
        }
    }

    /// When an answer that starts now must be over.
    pub(super) fn deadline(&self) -> Instant {
        Instant::now() + self.options.time_outs.answer
    }
}
