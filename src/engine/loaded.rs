//! A model with everything that belongs to it: weights, tokenizer, chat template, end tokens.

use super::EngineError;
use crate::backend::Backend;
use crate::generation::Prompt;
use crate::model::{self, Checkpoint, LanguageModel, ModelFiles};
use crate::text::{ChatTemplate, TextError, Tokenizer};

/// A model that is ready to generate.
pub struct LoadedModel {
    name: String,
    /// Where it came from, to look again when something is wrong.
    files: ModelFiles,
    pub(super) language_model: Box<dyn LanguageModel>,
    /// `None` if the checkpoint has none: then only token ids go in and out.
    pub(super) tokenizer: Option<Tokenizer>,
    template: Option<ChatTemplate>,
    pub(super) eos: Vec<u32>,
}

impl std::fmt::Debug for LoadedModel {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "LoadedModel({})", self.name)
    }
}

impl LoadedModel {
    pub(super) fn load(files: ModelFiles, backend: impl Backend) -> Result<Self, EngineError> {
        let name = files.name().to_string();
        let text_error = |file: &str| {
            let model = files.label(file);
            move |problem| EngineError::Text { model, problem }
        };
        let tokenizer = match files.text("tokenizer.json")? {
            Some(json) => Some(Tokenizer::from_json(&json).map_err(text_error("tokenizer.json"))?),
            None => None,
        };
        let template = ChatTemplate::from_files(
            files.text("chat_template.jinja")?,
            files.text("tokenizer_config.json")?.as_deref(),
        )
        .map_err(text_error("chat_template.jinja"))?;
        Ok(Self {
            name,
            language_model: model::load(&files, backend)?,
            tokenizer,
            template,
            eos: model::eos_token_ids(&files)?,
            files,
        })
    }

    /// One line for people: architecture, parameters, storage.
    #[must_use]
    pub fn description(&self) -> &str {
        self.language_model.description()
    }

    /// The ids of a prompt.
    ///
    /// # Errors
    /// If the prompt is empty, an id is outside the vocabulary, or the model has no tokenizer or
    /// no chat template where one is needed.
    pub fn tokenize(&self, prompt: &Prompt) -> Result<Vec<u32>, EngineError> {
        let tokens = match prompt {
            Prompt::Tokens { tokens } => tokens.clone(),
            Prompt::Text { text } => self.encode(text, true)?,
            Prompt::Chat { messages, tools } => {
                let template = self.template.as_ref().ok_or_else(|| {
                    EngineError::Request(format!(
                        "{} has no chat template; give a plain prompt instead of messages",
                        self.name
                    ))
                })?;
                let text = template
                    .render(messages, tools)
                    .map_err(|problem| self.text_error(problem))?;
                self.encode(&text, false)?
            }
        };
        let vocabulary = self.language_model.vocab_size();
        match tokens.iter().find(|id| **id as usize >= vocabulary) {
            Some(id) if matches!(prompt, Prompt::Tokens { .. }) => Err(EngineError::Request(
                format!("token id {id} is outside the vocabulary of {vocabulary} tokens"),
            )),
            // Not refused earlier: some checkpoints have more names than rows, and never use them.
            Some(id) => Err(EngineError::Request(format!(
                "{}: the prompt has token id {id}, but the model's vocabulary has {vocabulary} tokens",
                self.files.label("tokenizer.json")
            ))),
            None if tokens.is_empty() => {
                Err(EngineError::Request("the prompt has no tokens".to_owned()))
            }
            None => Ok(tokens),
        }
    }

    fn encode(&self, text: &str, add_special_tokens: bool) -> Result<Vec<u32>, EngineError> {
        let tokenizer = self.tokenizer.as_ref().ok_or_else(|| {
            EngineError::Request(format!(
                "{} has no tokenizer.json; give the prompt as token ids",
                self.name
            ))
        })?;
        tokenizer
            .encode(text, add_special_tokens)
            .map_err(|problem| self.text_error(problem))
    }

    /// Why the logits at a token are not numbers.
    pub(super) fn not_numbers(&self, token: usize) -> EngineError {
        match Checkpoint::open(&self.files).map(|checkpoint| checkpoint.not_finite()) {
            Ok(Some(blamed)) => EngineError::Model(blamed),
            Ok(None) | Err(_) => EngineError::Request(format!(
                "the model's logits are not numbers at token {token}"
            )),
        }
    }

    pub(super) fn text_error(&self, problem: TextError) -> EngineError {
        EngineError::Text {
            model: self.name.clone(),
            problem,
        }
    }
}
