//! A batch in parts, each of which one thread takes through all layers.
//!
//! Where each product is divided among the threads, they wait for each other some dozen times in a
//! layer, and what is not divided is done by one. With sequences enough for each thread, it is
//! faster to divide these. Knows costs and threads; what a pass computes is the decoder's business.

use std::sync::Mutex;

use super::architecture::Dimensions;
use super::decoder::{Decoder, Feed, Wanted};
use super::{Logits, ModelError};
use crate::backend::{Backend, BackendError};

/// Rows that a part must have at least: what the products of a part take at a time, so that
/// weights are read for as many rows as if the batch were whole.
const FEWEST_ROWS: usize = 12;
/// How much longer attention takes for a multiplication than a product of quantised weights, with
/// its exponentials, and keys and values that are read for one row alone.
const ATTENTION: usize = 8;

impl<B> Decoder<B>
where
    B: Backend + Sync,
    B::Matrix: Sync,
    B::Vector: Sync,
    B::KvCache: Send,
{
    /// The same decoder, and the same bits, in parts where that is faster.
    #[must_use]
    pub fn in_parts(mut self) -> Self {
        self.pass = Self::feed_in_parts;
        self
    }

    fn feed_in_parts(&self, batch: &mut [Feed<'_, B>]) -> Result<Logits, ModelError> {
        let costs = costs(&self.spec.dimensions, batch);
        let Some(sizes) = even_parts(&costs, self.backend.threads()) else {
            return self.feed_whole(batch);
        };
        let mut rest = batch;
        let mut parts = Vec::with_capacity(sizes.len());
        for size in sizes {
            let (part, others) = rest.split_at_mut(size);
            rest = others;
            parts.push(Mutex::new((part, None)));
        }
        self.backend.for_each(parts.len(), |index| {
            // Each index comes once, so a part is never locked twice.
            if let Ok(mut part) = parts[index].try_lock() {
                let (batch, logits) = &mut *part;
                *logits = Some(self.feed_whole(batch));
            }
        });
        let missing = || BackendError("a part of a batch was not computed".to_owned());
        let mut all = Logits::none(self.vocab_size());
        for part in parts {
            let logits = part.into_inner().ok().and_then(|(_, logits)| logits);
            all.append(logits.ok_or_else(missing)??);
        }
        Ok(all)
    }
}

/// How long each sequence takes, in multiplications.
fn costs<B: Backend>(sizes: &Dimensions, batch: &[Feed<'_, B>]) -> Vec<usize> {
    let heads = 2 * (sizes.heads + sizes.kv_heads) * sizes.head_dim;
    let layer = sizes.hidden_size * (heads + 3 * sizes.intermediate_size);
    let layers = sizes.layers * layer;
    let head = sizes.vocab_size * sizes.hidden_size;
    let position = ATTENTION * 2 * sizes.layers * sizes.heads * sizes.head_dim;
    let cost = |feed: &Feed<'_, B>| {
        let rows = feed.tokens.len();
        let seen = feed.sequence.position() + rows.div_ceil(2);
        let wanted = match feed.logits {
            Wanted::None => 0,
            Wanted::Last => 1,
            Wanted::Each => rows,
        };
        rows * (layers + seen * position) + wanted * head
    };
    batch.iter().map(cost).collect()
}

/// How many sequences each of `parts` parts has, in their order; `None` if they cannot be about
/// even, or some would be too small.
fn even_parts(costs: &[usize], parts: usize) -> Option<Vec<usize>> {
    if parts < 2 || costs.len() < parts * FEWEST_ROWS {
        return None;
    }
    let total: usize = costs.iter().sum();
    let mut ends = Vec::with_capacity(parts);
    let mut before = 0;
    for (index, cost) in costs.iter().enumerate() {
        // A sequence belongs to the part that its middle lies in.
        while ends.len() + 1 < parts && (2 * before + cost) * parts > 2 * total * (ends.len() + 1) {
            ends.push(index);
        }
        before += cost;
    }
    ends.resize(parts, costs.len());
    let mut start = 0;
    let sizes: Vec<usize> = ends
        .into_iter()
        .map(|end| end - std::mem::replace(&mut start, end))
        .collect();
    let mut rest = costs;
    let even = sizes.iter().all(|size| {
        let (part, others) = rest.split_at(*size);
        rest = others;
        let cost: usize = part.iter().sum();
        *size >= FEWEST_ROWS && 8 * parts * cost <= 9 * total
    });
    even.then_some(sizes)
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;

    #[rstest]
    #[case::even(&[1; 40], 2, Some(vec![20, 20]))]
    #[case::by_cost(&[[3; 12].as_slice(), &[1; 36]].concat(), 2, Some(vec![12, 36]))]
    #[case::three(&[2; 47], 3, Some(vec![16, 15, 16]))]
    #[case::one_thread(&[1; 40], 1, None)]
    #[case::too_few(&[1; 23], 2, None)]
    #[case::a_long_prompt(&[[1; 40].as_slice(), &[100]].concat(), 2, None)]
    #[case::too_few_of_the_long_ones(&[[9; 8].as_slice(), &[1; 72]].concat(), 2, None)]
    fn parts_are_even_or_none(
        #[case] costs: &[usize],
        #[case] parts: usize,
        #[case] expected: Option<Vec<usize>>,
    ) {
        assert_eq!(even_parts(costs, parts), expected);
    }
}
