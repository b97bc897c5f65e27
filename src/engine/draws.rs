//! The draws of one step: whose turn it is, from which logits, and what is drawn once for several.
//!
//! Requests that share a history draw from the same logits, and often all that their settings do
//! so far is the same, whatever the settings are: then one draw is enough. Knows writers and
//! logits. Which sequences a step has, and how a token is chosen, are not its business.

use super::writer::{Sampled, Writer};
use super::{EngineError, LoadedModel};
use crate::generation::Token;
use crate::sampling::{Choice, Draw, sample_together};

/// Requests of one task, about: sums of four draws take hardly longer than one.
const TOGETHER: usize = 4;

/// A sequence whose last token has been fed.
pub(super) struct Turn<'w, 'a> {
    /// Who draws.
    writers: &'w mut [Writer<'a>],
    /// The logits behind the token.
    logits: &'w mut [f32],
    /// For those who draw before the last one.
    copies: Vec<Vec<f32>>,
    /// What each writer drew, in their order.
    pub(super) sampled: Vec<Result<Sampled, EngineError>>,
}

/// How a writer comes to its token, of which the number is given.
enum Outcome {
    /// By a draw of its own.
    Drawn { token: usize },
    /// As the writer with this number in its turn, whose choice is equal.
    Follows { leader: usize, token: usize },
    /// The form that its answer is held to cannot be.
    Refused(EngineError),
}

impl<'w, 'a> Turn<'w, 'a> {
    pub(super) fn new(writers: &'w mut [Writer<'a>], logits: &'w mut [f32]) -> Self {
        Self {
            writers,
            logits,
            copies: Vec::new(),
            sampled: Vec::new(),
        }
    }

    /// Cuts turns into tasks for threads.
    pub(super) fn tasks(turns: &mut [Self]) -> Vec<&mut [Self]> {
        let mut tasks = Vec::new();
        let mut rest = turns;
        while !rest.is_empty() {
            let mut writers = 0;
            let enough = rest.iter().position(|turn| {
                writers += turn.writers.len();
                writers >= TOGETHER
            });
            let end = enough.map_or(rest.len(), |last| last + 1);
            let (task, others) = rest.split_at_mut(end);
            tasks.push(task);
            rest = others;
        }
        tasks
    }

    /// Chooses the next token of each writer, and has it written.
    pub(super) fn draw_all(turns: &mut [Self], model: &LoadedModel) {
        let mut draws = Vec::new();
        let outcomes: Vec<_> = turns
            .iter_mut()
            .map(|turn| turn.prepare(&mut draws))
            .collect();
        let tokens = sample_together(&mut draws);
        for (turn, outcomes) in turns.iter_mut().zip(outcomes) {
            turn.write(outcomes, &tokens, model);
        }
    }

    /// The draws of this turn. Each changes logits, so all but the last get a copy.
    fn prepare<'t>(&'t mut self, draws: &mut Vec<Draw<'t>>) -> Vec<Outcome> {
        let choices: Vec<Option<Choice>> = self.writers.iter().map(Writer::choice).collect();
        let leaders: Vec<Option<usize>> = (0..choices.len())
            .map(|index| {
                let own = choices[index].as_ref()?;
                let mut earlier = choices[..index].iter();
                earlier.position(|choice| choice.as_ref() == Some(own))
            })
            .collect();
        let leading = leaders.iter().filter(|leader| leader.is_none()).count();
        self.copies = (1..leading).map(|_| self.logits.to_vec()).collect();
        let copies = self.copies.iter_mut().map(Vec::as_mut_slice);
        let mut rows = copies.chain([&mut *self.logits]);
        let mut outcomes: Vec<Outcome> = Vec::with_capacity(choices.len());
        let writers = self.writers.iter_mut().zip(choices).zip(leaders);
        for ((writer, choice), leader) in writers {
            let led = leader.and_then(|leader| match outcomes.get(leader) {
                Some(Outcome::Drawn { token }) => Some((leader, *token)),
                _ => None,
            });
            outcomes.push(match led {
                Some((leader, token)) => Outcome::Follows { leader, token },
                None => match writer.draw(choice, rows.next().unwrap_or_default()) {
                    Ok(draw) => {
                        draws.push(draw);
                        Outcome::Drawn {
                            token: draws.len() - 1,
                        }
                    }
                    Err(error) => Outcome::Refused(error),
                },
            });
        }
        outcomes
    }

    fn write(&mut self, outcomes: Vec<Outcome>, tokens: &[Token], model: &LoadedModel) {
        for (index, outcome) in outcomes.into_iter().enumerate() {
            let sampled = match outcome {
                Outcome::Drawn { token } => self.writers[index].write(tokens[token].clone(), model),
                Outcome::Follows { leader, token } => {
                    let rng = self.writers[leader].rng().clone();
                    self.writers[index].follow(tokens[token].clone(), &rng, model)
                }
                Outcome::Refused(error) => Err(error),
            };
            self.sampled.push(sampled);
        }
    }
}
