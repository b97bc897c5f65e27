//! Loads checkpoints in Hugging Face / MLX layout and runs them over a backend.
//!
//! From files to logits: [`ModelFiles`] finds the files of a folder, of a compiled-in model or of
//! the hub ([`fetch`]),
//! [`Checkpoint`] names their tensors, [`Config`] checks `config.json`, an architecture turns it
//! into a `DecoderSpec`, and a [`Decoder`] runs it.
//! This module does not know text, sampling or requests.

mod architecture;
mod builtin;
mod checkpoint;
mod config;
mod decoder;
mod error;
mod files;
mod hub;
mod layer;
mod logits;
mod mapping;
mod packed;
mod parts;
mod quantization;

pub use builtin::names as builtin_names;
pub use checkpoint::Checkpoint;
pub use config::{Config, eos_token_ids};
pub use decoder::{Decoder, Feed, Sequence, Wanted};
pub use error::ModelError;
pub use files::{ModelFiles, ModelRef};
pub use hub::{HubName, HubProgress, HubSettings, HubSnapshot, fetch};
pub use logits::Logits;
pub use quantization::Quantization;
