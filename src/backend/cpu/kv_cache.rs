//! Keys and values of one sequence, in blocks that forks share until one of them writes.
//!
//! Knows positions and layers. Does not know heads, nor what is computed from the contents.

use std::sync::Arc;

use super::BackendError;

/// Positions per block: small enough that a fork copies little, large enough that walking the
/// blocks costs nothing beside the work on their contents.
pub(super) const BLOCK: usize = 32;

/// Keys and values of all layers, one row of `kv_heads · head_dim` elements per position.
#[derive(Debug)]
pub struct KvCache {
    layers: Vec<Layer>,
}

/// One layer's positions.
#[derive(Debug, Clone, Default)]
pub(super) struct Layer {
    blocks: Vec<Arc<Block>>,
    positions: usize,
}

/// Up to [`BLOCK`] positions.
#[derive(Debug, Clone, Default)]
struct Block {
    /// `[width, BLOCK]`: a vector has one element of several positions, so that a query meets
    /// many keys at once and no sum runs across a vector. Behind the last position lies anything.
    keys: Vec<f32>,
    /// `[positions, width]`.
    values: Vec<f32>,
}

impl KvCache {
    pub(super) fn new(layers: usize) -> Self {
        Self {
            layers: vec![Layer::default(); layers],
        }
    }

    /// A cache of the first `positions` positions; whole blocks are shared.
    pub(super) fn fork(&self, positions: usize) -> Result<Self, BackendError> {
        let layers = self.layers.iter().map(|layer| layer.fork(positions));
        Ok(Self {
            layers: layers.collect::<Result<_, _>>()?,
        })
    }

    /// Layer `index`, to read.
    pub(super) fn layer(&self, index: usize) -> Result<&Layer, BackendError> {
        self.layers.get(index).ok_or_else(|| self.no_layer(index))
    }

    /// Layer `index`, to append to.
    pub(super) fn layer_mut(&mut self, index: usize) -> Result<&mut Layer, BackendError> {
        if index >= self.layers.len() {
            return Err(self.no_layer(index));
        }
        Ok(&mut self.layers[index])
    }

    fn no_layer(&self, index: usize) -> BackendError {
        let layers = self.layers.len();
        BackendError(format!("layer {index} of a KV cache of {layers} layers"))
    }
}

impl Layer {
    fn fork(&self, positions: usize) -> Result<Self, BackendError> {
        if positions > self.positions {
            return Err(BackendError(format!(
                "a fork at position {positions} of a KV cache of {}",
                self.positions
            )));
        }
        let mut blocks = self.blocks[..positions.div_ceil(BLOCK)].to_vec();
        let kept = positions % BLOCK;
        if let Some(last) = blocks.last_mut().filter(|_| kept > 0) {
            *last = Arc::new(last.beginning(kept));
        }
        Ok(Self { blocks, positions })
    }

    /// Appends rows of `width` elements.
    pub(super) fn append(&mut self, width: usize, keys: &[f32], values: &[f32]) {
        for (key, value) in keys.chunks_exact(width).zip(values.chunks_exact(width)) {
            let column = self.positions % BLOCK;
            if column == 0 {
                self.blocks.push(Arc::new(Block::with_room(width)));
            }
            if let Some(last) = self.blocks.last_mut() {
                // Shared blocks are full, or were cut to size when they were forked.
                let block = Arc::make_mut(last);
                for (row, key) in block.keys.chunks_exact_mut(BLOCK).zip(key) {
                    row[column] = *key;
                }
                block.values.extend_from_slice(value);
            }
            self.positions += 1;
        }
    }

    /// How many positions there are.
    pub(super) fn positions(&self) -> usize {
        self.positions
    }

    /// The keys of each block that holds positions from `hidden` to before `visible`,
    /// `[width, BLOCK]`, in order.
    #[inline(always)]
    pub(super) fn keys(&self, hidden: usize, visible: usize) -> impl Iterator<Item = &[f32]> {
        let blocks = self.blocks[..visible.div_ceil(BLOCK)].iter();
        let blocks = blocks.skip(hidden / BLOCK);
        blocks.map(|block| block.keys.as_slice())
    }

    /// The values of the positions from `hidden` to before `visible`, block by block,
    /// `[positions, width]`.
    #[inline(always)]
    pub(super) fn values(&self, hidden: usize, visible: usize) -> impl Iterator<Item = &[f32]> {
        let blocks = self.blocks[..visible.div_ceil(BLOCK)].iter();
        let blocks = blocks.enumerate().skip(hidden / BLOCK);
        blocks.map(move |(index, block)| {
            let first = index * BLOCK;
            let from = hidden.saturating_sub(first);
            let to = (visible - first).min(BLOCK);
            &block.values[from * block.width()..to * block.width()]
        })
    }
}

impl Block {
    fn with_room(width: usize) -> Self {
        Self {
            keys: vec![0.0; BLOCK * width],
            values: Vec::with_capacity(BLOCK * width),
        }
    }

    /// Elements of a position.
    fn width(&self) -> usize {
        self.keys.len() / BLOCK
    }

    /// A block with room for all positions, of which it has the first `positions`.
    fn beginning(&self, positions: usize) -> Self {
        let mut values = Vec::with_capacity(BLOCK * self.width());
        values.extend_from_slice(&self.values[..positions * self.width()]);
        Self {
            keys: self.keys.clone(),
            values,
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn rows(from: usize, count: usize) -> Vec<f32> {
        (from * 2..(from + count) * 2).map(|i| i as f32).collect()
    }

    fn append(cache: &mut KvCache, rows: &[f32]) {
        cache.layer_mut(0).expect("layer 0").append(2, rows, rows);
    }

    /// The keys of all positions, and that the values are the same.
    fn keys(cache: &KvCache) -> Vec<f32> {
        let layer = cache.layer(0).expect("one layer");
        let keys: Vec<&[f32]> = layer.keys(0, layer.positions()).collect();
        let rows = (0..layer.positions()).flat_map(|position| {
            let (block, column) = (keys[position / BLOCK], position % BLOCK);
            [block[column], block[BLOCK + column]]
        });
        let rows: Vec<f32> = rows.collect();
        let values = layer.values(0, layer.positions());
        assert_eq!(values.flatten().copied().collect::<Vec<_>>(), rows);
        rows
    }

    proptest! {
        #[test]
        fn a_fork_has_the_beginning_and_neither_sees_the_other(
            length in 1usize..100,
            cut in 0usize..100,
            more in 1usize..50,
        ) {
            let cut = cut.min(length);
            let mut original = KvCache::new(1);
            append(&mut original, &rows(0, length));
            let mut fork = original.fork(cut).expect("long enough");
            prop_assert_eq!(keys(&fork), rows(0, cut));
            append(&mut fork, &rows(900, more));
            append(&mut original, &rows(length, more));
            prop_assert_eq!(keys(&original), rows(0, length + more));
            prop_assert_eq!(keys(&fork), [rows(0, cut), rows(900, more)].concat());
        }
    }

    #[test]
    fn whole_blocks_are_shared() {
        let mut original = KvCache::new(1);
        append(&mut original, &rows(0, 70));
        let fork = original.fork(65).expect("long enough");
        let (ours, theirs) = (&original.layers[0].blocks, &fork.layers[0].blocks);
        assert!(Arc::ptr_eq(&ours[0], &theirs[0]));
        assert!(Arc::ptr_eq(&ours[1], &theirs[1]));
        assert!(!Arc::ptr_eq(&ours[2], &theirs[2]));
    }

    #[test]
    fn what_is_not_there_is_an_error() {
        let cache = KvCache::new(1);
        assert!(cache.layer(1).is_err());
        assert!(cache.fork(1).is_err());
    }
}
