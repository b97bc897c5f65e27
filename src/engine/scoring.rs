//! Raw logits along a text that is already written: what the model thinks of each of its tokens.
//!
//! One pass over a text gives the logits in front of every token of it, so that any number of
//! sampling settings can be compared on the same ones. What is done with them is the reader's.

use tokio::sync::mpsc;

use super::EngineError;
use super::prefix_cache::PrefixCache;
use crate::backend::Backend;
use crate::model::{Decoder, Feed, Wanted};

/// Rows of logits that may wait for their reader.
pub(super) const ROW_BUFFER: usize = 16;

/// Tokens whose logits are made in one pass: a row is as long as the vocabulary.
const ROWS_PER_PASS: usize = 64;

/// Logits in front of each token, in order, or why there are no more.
pub type Scores = mpsc::Receiver<Result<Vec<f32>, EngineError>>;

/// A text in the queue.
pub(super) struct ScoreJob {
    pub(super) tokens: Vec<u32>,
    /// The first token whose logits are wanted; at least 1, because the first token of all has
    /// nothing in front of it.
    pub(super) from: usize,
    pub(super) rows: mpsc::Sender<Result<Vec<f32>, EngineError>>,
}

impl ScoreJob {
    /// Works until the text is at its end or the reader has gone. Nothing else is decoded
    /// meanwhile.
    pub(super) fn run<B: Backend>(
        self,
        decoder: &Decoder<B>,
        known: &mut PrefixCache<B>,
        prefill_chunk: usize,
    ) {
        let chunk = prefill_chunk.max(1);
        if let Err(error) = self.feed(decoder, known, chunk) {
            // A reader that has gone does not want the error either.
            let _ = self.rows.blocking_send(Err(error));
        }
    }

    fn feed<B: Backend>(
        &self,
        decoder: &Decoder<B>,
        known: &mut PrefixCache<B>,
        chunk: usize,
    ) -> Result<(), EngineError> {
        let mut sequence = known.start(decoder, &self.tokens[..self.from])?;
        // The logits in front of a token are those behind the one before it.
        let (silent, scored) = (self.from - 1, self.tokens.len() - 1);
        while sequence.position() < scored {
            let at = sequence.position();
            let (end, logits) = if at < silent {
                (silent.min(at + chunk), Wanted::None)
            } else {
                (scored.min(at + chunk.min(ROWS_PER_PASS)), Wanted::Each)
            };
            let feed = Feed {
                sequence: &mut sequence,
                tokens: &self.tokens[at..end],
                logits,
            };
            let rows = decoder.feed(&mut [feed])?;
            for row in rows.rows() {
                if self.rows.blocking_send(Ok(row.to_vec())).is_err() {
                    return Ok(());
                }
            }
        }
        Ok(())
    }
}
