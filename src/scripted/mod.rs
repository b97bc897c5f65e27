//! Scripted checkpoints: real checkpoints that say exactly what a short YAML file says.
//!
//! A [`Script`] is a graph of states. Each state is one token of the vocabulary with a text of
//! its own, and the model's output depends on the last token alone: one layer of zeros, one-hot
//! embeddings, and an output layer that holds the next-token table. [`Script::files`] writes it
//! in Hugging Face / MLX layout, so any server that loads such checkpoints can be tested with
//! known answers: loops of an exact period, a loop that breaks only above a chosen repetition
//! penalty, an end, tool calls, thinking. `scenarios/checkpoints/README.md` documents the
//! language.
//!
//! This module does not load models, does not sample, and writes no files.

mod cut;
mod logits;
mod lower;
mod table;
mod tokenizer;
mod weights;
mod wire;

#[cfg(test)]
mod tests;

use std::path::Path;

use crate::yaml::{self, Source, YamlError};
use table::{Graph, Reserved};

/// Most bytes of a script.
const MAX_FILE_BYTES: u64 = 1 << 20;
/// Most tokens that the states of one script may have. At this size the weights are 40 MB.
pub const MAX_STATE_TOKENS: usize = 2048;

/// A checked script.
#[derive(Debug, Clone, PartialEq)]
pub struct Script {
    description: String,
    /// What the chat template puts behind the last message; its last token leads to the start.
    generation_prompt: String,
    graph: Graph,
}

/// One file of a checkpoint: its name and its contents.
pub type ScriptedFile = (&'static str, Vec<u8>);

impl Script {
    /// Reads a script file.
    ///
    /// # Errors
    /// If the file cannot be read, or anything in it is not understood.
    pub fn load(path: &Path) -> Result<Self, YamlError> {
        let help = "give a checkpoint script; scenarios/checkpoints/README.md has the language";
        let text = yaml::read_text(path, MAX_FILE_BYTES, help)?;
        Self::parse(path, &text)
    }

    /// Reads a script from its text. `path` is for errors.
    ///
    /// # Errors
    /// The first thing that is not understood, with its place and the remedy.
    pub fn parse(path: &Path, text: &str) -> Result<Self, YamlError> {
        let source = Source { path, text };
        lower::lower(source, yaml::read(source)?)
    }

    /// What the script is about.
    #[must_use]
    pub fn description(&self) -> &str {
        &self.description
    }

    /// Tokens of all states together.
    #[must_use]
    pub fn state_tokens(&self) -> usize {
        self.graph.states.len()
    }

    /// Tokens of the vocabulary: fixed ones, a token for each byte, and those of the states.
    #[must_use]
    pub fn vocab_size(&self) -> usize {
        Reserved::FIRST_STATE_ID as usize + self.graph.own_tokens()
    }

    /// The files of the checkpoint. The same script gives the same bytes.
    ///
    /// # Errors
    /// If the weights cannot be serialised.
    pub fn files(&self) -> Result<Vec<ScriptedFile>, safetensors::SafeTensorError> {
        let vocabulary = self.graph.vocabulary();
        let shape = weights::Shape::of(&self.graph, vocabulary.len());
        Ok(vec![
            ("config.json", weights::config(&shape)),
            ("generation_config.json", weights::generation_config()),
            (
                "model.safetensors",
                weights::safetensors(&self.graph, &shape)?,
            ),
            ("tokenizer.json", tokenizer::tokenizer(&vocabulary)),
            ("tokenizer_config.json", tokenizer::tokenizer_config()),
            (
                "chat_template.jinja",
                tokenizer::chat_template(&self.generation_prompt),
            ),
        ])
    }
}
