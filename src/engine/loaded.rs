//! What belongs to a model besides its weights: tokenizer, chat template, end tokens.

use std::sync::OnceLock;

use super::EngineError;
use crate::backend::Backend;
use crate::generation::{GenerateRequest, Prompt, SamplingParams};
use crate::model::{self, Checkpoint, Decoder, ModelFiles};
use crate::text::{
    ChatTemplate, Grammar, GrammarError, Grammars, OutputFormat, TemplateFiles, TextError,
    Tokenizer,
};

/// The text side of a loaded model. The weights stay with the engine's thread.
pub struct LoadedModel {
    name: String,
    /// Where it came from, to look again when something is wrong.
    files: ModelFiles,
    description: String,
    vocab_size: usize,
    kv_bytes_per_position: usize,
    /// `None` if the checkpoint has none: then only token ids go in and out.
    pub(super) tokenizer: Option<Tokenizer>,
    template: Option<ChatTemplate>,
    /// How the model writes thoughts and calls.
    pub(super) output: OutputFormat,
    pub(super) eos: Vec<u32>,
    /// The ids of a line break as mlx-lm's server encodes it, with the special tokens that the
    /// tokenizer adds (0.32.2, `server.py`, `_make_sampler`); empty without a tokenizer.
    pub(super) newline: Vec<u32>,
    /// Made with the first request for one: it takes a while, and most need none.
    grammars: OnceLock<Result<Grammars, GrammarError>>,
}

impl std::fmt::Debug for LoadedModel {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "LoadedModel({})", self.name)
    }
}

impl LoadedModel {
    pub(super) fn load<B: Backend>(
        files: ModelFiles,
        decoder: &Decoder<B>,
    ) -> Result<Self, EngineError> {
        let name = files.name().to_string();
        let text_error = |file: &str| {
            let model = files.label(file);
            move |problem| EngineError::Text { model, problem }
        };
        let tokenizer = match files.text("tokenizer.json")? {
            Some(json) => Some(Tokenizer::from_json(&json).map_err(text_error("tokenizer.json"))?),
            None => None,
        };
        let template = ChatTemplate::from_files(TemplateFiles {
            jinja: files.text("chat_template.jinja")?,
            tool_use: files.text("additional_chat_templates/tool_use.jinja")?,
            tokenizer_config: files.text("tokenizer_config.json")?,
            special_tokens_map: files.text("special_tokens_map.json")?,
        })
        .map_err(text_error("chat_template.jinja"))?;
        let newline = match &tokenizer {
            Some(tokenizer) => tokenizer
                .encode("\n", true)
                .map_err(text_error("tokenizer.json"))?,
            None => Vec::new(),
        };
        let is_token = |token: &str| {
            let known = tokenizer.as_ref().map(|tokenizer| tokenizer.id(token));
            known.flatten().is_some()
        };
        let source = template.as_ref().map(ChatTemplate::source);
        let output = OutputFormat::detect(&source.unwrap_or_default(), &is_token);
        // As mlx-lm 0.32.2 (`tokenizer_utils.py`, `apply_chat_template`): templates are told
        // whether the model can think, unless the caller says otherwise.
        let thinks = tokenizer.as_ref().is_some_and(Tokenizer::has_thinking);
        let template = template.map(|template| template.with_default("enable_thinking", thinks));
        Ok(Self {
            name,
            description: decoder.description().to_owned(),
            vocab_size: decoder.vocab_size(),
            kv_bytes_per_position: decoder.kv_bytes_per_position(),
            tokenizer,
            template,
            output,
            eos: model::eos_token_ids(&files)?,
            newline,
            grammars: OnceLock::new(),
            files,
        })
    }

    /// One line for people: architecture, parameters, storage.
    #[must_use]
    pub fn description(&self) -> &str {
        &self.description
    }

    /// Tokens in the vocabulary: ids are below this.
    #[must_use]
    pub fn vocab_size(&self) -> usize {
        self.vocab_size
    }

    /// The tokens that end a sequence.
    #[must_use]
    pub fn eos(&self) -> &[u32] {
        &self.eos
    }

    /// Bytes that one token of one sequence takes in the KV cache.
    #[must_use]
    pub fn kv_bytes_per_position(&self) -> usize {
        self.kv_bytes_per_position
    }

    /// Bytes of the weight files.
    ///
    /// # Errors
    /// If they have gone since the model was loaded.
    pub fn weight_bytes(&self) -> Result<usize, EngineError> {
        let files = self.files.weights()?;
        Ok(files.iter().map(|(_, blob)| blob.bytes().len()).sum())
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
            Prompt::Chat {
                messages,
                tools,
                variables,
            } => {
                let template = self.template.as_ref().ok_or_else(|| {
                    EngineError::Request(format!(
                        "{} has no chat template; give a plain prompt instead of messages",
                        self.name
                    ))
                })?;
                let text = template
                    .render(messages, tools, variables)
                    .map_err(|problem| self.text_error(problem))?;
                self.encode(&text, false)?
            }
        };
        let vocabulary = self.vocab_size;
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

    /// The text of some tokens, special ones included; empty without a tokenizer.
    #[must_use]
    pub fn text(&self, ids: &[u32]) -> String {
        let Some(tokenizer) = &self.tokenizer else {
            return String::new();
        };
        let mut detokenizer = tokenizer.detokenizer();
        // A token whose text cannot be told has none here; the answer itself reports the error.
        let mut text: String = ids
            .iter()
            .map(|id| detokenizer.push(*id).unwrap_or_default())
            .collect();
        text.push_str(&detokenizer.finish().unwrap_or_default());
        text
    }

    /// What the answer to a request has to be; `None` if it is free. The first time is slow; then
    /// the same form is ready.
    ///
    /// # Errors
    /// If this model cannot be held to the form, or the form is wrong.
    pub fn grammar(&self, request: &GenerateRequest) -> Result<Option<Grammar>, EngineError> {
        let Some(constraint) = &request.constraint else {
            return Ok(None);
        };
        let Some(tokenizer) = &self.tokenizer else {
            let problem = "without a tokenizer, an answer cannot be held to a form";
            return Err(EngineError::Request(problem.to_owned()));
        };
        let grammars = self
            .grammars
            .get_or_init(|| Grammars::new(tokenizer, self.vocab_size, &self.eos, &self.output));
        let tools = match &request.prompt {
            Prompt::Chat { tools, .. } => tools.as_slice(),
            Prompt::Text { .. } | Prompt::Tokens { .. } => &[],
        };
        let grammars = grammars.as_ref().map_err(Clone::clone)?;
        Ok(Some(grammars.compile(constraint, tools)?))
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

    /// A bias on a token that does not exist would be ignored without a word.
    pub(super) fn check_ids(&self, sampling: &SamplingParams) -> Result<(), EngineError> {
        let vocabulary = self.vocab_size;
        match sampling
            .logit_bias
            .keys()
            .find(|id| **id as usize >= vocabulary)
        {
            Some(id) => Err(EngineError::Request(format!(
                "logit_bias names token {id}, but the vocabulary has {vocabulary} tokens"
            ))),
            None => Ok(()),
        }
    }

    /// Why the logits at a token are not numbers.
    pub(super) fn not_numbers(&self, token: usize) -> EngineError {
        match Checkpoint::open(&self.files, None).map(|checkpoint| checkpoint.not_finite()) {
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
