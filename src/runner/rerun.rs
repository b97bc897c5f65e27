//! Holds a conversation once more, in the ways that its assertions ask for.
//!
//! Knows how to ask beside others, in another form, or without penalties. What a difference means
//! is judged elsewhere.

use std::cell::Cell;

use futures_util::StreamExt;
use futures_util::future::select_all;
use tokio::time::timeout;

use super::RunEvent;
use super::case::Session;
use super::conversation::{Ending, converse};
use crate::assertion::{ApiForm, Rerun, Way, ways};
use crate::endpoint::Api;
use crate::generation::{
    Conversation, EventKind, GenerateRequest, Message, Prompt, Role, SamplingParams,
};
use crate::plan::{Case, Script};
use crate::record::RunRecord;
use crate::target::Target;

/// Holds the conversation of `run` in every way that the case asks for, one after the other, and
/// puts them into it, or the error of the first that could not be ended. Returns the limits that were
/// broken on the way; nothing if the user interrupts.
pub(super) async fn hold_again(
    session: &Session<'_>,
    run: &mut RunRecord,
    target: &dyn Target,
) -> Option<Vec<String>> {
    let case = session.case;
    let mut limits = Vec::new();
    for way in ways(&case.assertions, case.asked()) {
        let (rerun, ending) = match once(session, &run.sampling, way, target).await {
            Ok(held) => held,
            Err(error) => {
                run.error = Some(format!("{way}: {error}"));
                break;
            }
        };
        match ending {
            Ending::Interrupted => return None,
            Ending::Error(error) => {
                run.error = Some(format!("{way}: {error}"));
                break;
            }
            Ending::Limit(limit) => limits.push(format!("{way}: {limit}")),
            Ending::Complete | Ending::Looped => {}
        }
        run.reruns.push(rerun);
    }
    Some(limits)
}

async fn once(
    session: &Session<'_>,
    sampling: &SamplingParams,
    way: Way,
    target: &dyn Target,
) -> Result<(Rerun, Ending), String> {
    let (conversation, ending, company_tokens) = match way {
        Way::Unchanged => without_company(session, sampling, target).await,
        Way::WithoutPenalties => {
            without_company(session, &sampling.without_penalties(), target).await
        }
        Way::Form(form) => {
            let (api, stream) = match form {
                ApiForm::Openai => (Api::OpenAi, true),
                ApiForm::OpenaiWhole => (Api::OpenAi, false),
                ApiForm::Anthropic => (Api::Anthropic, true),
                ApiForm::AnthropicWhole => (Api::Anthropic, false),
            };
            let other = target.in_form(api, stream);
            let other = other.map_err(|error| error.to_string())?;
            let other = other.ok_or("the target is no server")?;
            without_company(session, sampling, other.as_ref()).await
        }
        Way::Beside(others) => beside(session, sampling, target, others).await?,
    };
    let rerun = Rerun {
        way,
        conversation,
        company_tokens,
    };
    Ok((rerun, ending))
}

async fn without_company(
    session: &Session<'_>,
    sampling: &SamplingParams,
    target: &dyn Target,
) -> (Conversation, Ending, Option<usize>) {
    let on_token = &mut || told(session);
    let (conversation, ending) =
        converse(session.case, sampling, target, session.context, on_token).await;
    (conversation, ending, None)
}

/// Progress goes on while nothing of it is the case's own answer.
fn told(session: &Session<'_>) {
    (session.emit)(RunEvent::Token {
        index: session.index,
        control: false,
    });
}

/// Begins as soon as each of the others has got something, and counts what they get between the
/// first token of the conversation and its end.
async fn beside(
    session: &Session<'_>,
    sampling: &SamplingParams,
    target: &dyn Target,
    others: usize,
) -> Result<(Conversation, Ending, Option<usize>), String> {
    let company = Company {
        case: session.case,
        sampling,
        target,
        begun: Cell::new(0),
        counting: Cell::new(false),
        tokens: Cell::new(0),
        all_begun: tokio::sync::Notify::new(),
        others,
    };
    let held = async {
        let mut interrupted = session.context.interrupted.clone();
        tokio::select! {
            // Then the conversation ends as soon as it begins.
            _ = interrupted.wait_for(|stop| *stop) => {}
            // A server may answer fewer at a time than it is asked; the count tells.
            _ = timeout(session.case.limits.time_limit, company.all_begun.notified()) => {}
        }
        let on_token = &mut || {
            company.counting.set(true);
            told(session);
        };
        let case = session.case;
        converse(case, sampling, target, session.context, on_token).await
    };
    let members = (1..=others).map(|number| Box::pin(company.keep(number)));
    let (conversation, ending) = tokio::select! {
        biased;
        held = held => held,
        (error, ..) = select_all(members) => return Err(error),
    };
    let tokens = company.tokens.get();
    if tokens == 0 && matches!(ending, Ending::Complete | Ending::Looped) {
        return Err(
            "the others got nothing between the first token and the end, so nothing was answered \
             beside it: let the server answer several requests at once, the target stream, and \
             the answer be longer"
                .to_owned(),
        );
    }
    Ok((conversation, ending, Some(tokens)))
}

/// Those that are answered meanwhile.
struct Company<'a> {
    case: &'a Case,
    sampling: &'a SamplingParams,
    target: &'a dyn Target,
    /// How many of them have got something.
    begun: Cell<usize>,
    all_begun: tokio::sync::Notify,
    others: usize,
    counting: Cell<bool>,
    tokens: Cell<usize>,
}

impl Company<'_> {
    /// Asks again and again, each time something else, until there is an error.
    async fn keep(&self, number: usize) -> String {
        let mut first = true;
        for round in 0_u64.. {
            let mut stream = self.target.generate(self.request(number, round));
            while let Some(event) = stream.next().await {
                match event {
                    Ok(event) => match event.kind {
                        EventKind::Delta { .. } | EventKind::Text(_) => {
                            self.begin(std::mem::take(&mut first));
                            let counted = usize::from(self.counting.get());
                            self.tokens.set(self.tokens.get() + counted);
                        }
                        EventKind::Finished { .. } => self.begin(std::mem::take(&mut first)),
                        _ => {}
                    },
                    Err(error) => return format!("one of the others: {error}"),
                }
            }
            // An answer that came at once must not keep everybody else from running.
            tokio::task::yield_now().await;
        }
        String::new()
    }

    /// The last of them lets the conversation begin.
    fn begin(&self, first: bool) {
        if first {
            self.begun.set(self.begun.get() + 1);
            if self.begun.get() == self.others {
                self.all_begun.notify_one();
            }
        }
    }

    /// The first request of the case with other words in front and another seed, so that nothing of
    /// it can be answered together with the case's own.
    fn request(&self, number: usize, round: u64) -> GenerateRequest {
        let changed = |text: &str| format!("({number}.{round}) {text}");
        let chat = |messages: Vec<Message>| Prompt::Chat {
            messages,
            tools: self.case.tools.specs(),
            variables: self.case.template.clone(),
        };
        let prompt = match &self.case.script {
            Script::Prompt(text) => Prompt::Text {
                text: changed(text),
            },
            Script::Messages(messages) => {
                let mut messages = messages.clone();
                let user = messages.iter_mut().find(|one| one.role == Role::User);
                if let Some(message) = user {
                    message.content = changed(&message.content);
                }
                chat(messages)
            }
            Script::Turns { system, turns } => {
                let system = system.iter().map(|text| Message::text(Role::System, text));
                let user = turns
                    .first()
                    .map(|text| Message::text(Role::User, changed(text)));
                chat(system.chain(user).collect())
            }
        };
        let seed = self.sampling.seed.unwrap_or(0);
        let seed = seed.wrapping_add(number as u64).wrapping_add(round << 32);
        GenerateRequest {
            prompt,
            sampling: SamplingParams {
                seed: Some(seed),
                ..self.sampling.clone()
            },
            top_logprobs: 0,
            constraint: None,
        }
    }
}

#[cfg(test)]
mod tests;
