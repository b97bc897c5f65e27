//! Keys and values of one sequence, in blocks that forks share until one of them writes.
//!
//! Knows positions and layers. What a block holds, and what is computed from it, is the business
//! of `kernels::attention`.

use std::ops::Range;
use std::sync::Arc;

use super::kernels::attention::{BLOCK, Block, Bytes, Floats};
use super::{AttentionShape, BackendError, Precision};
use crate::simd::{Kernel, Lanes};

/// Keys and values of all layers.
#[derive(Debug)]
pub struct KvCache {
    layers: Vec<Layer>,
}

/// One layer's positions: as they were computed, or as whole numbers.
#[derive(Debug, Clone)]
pub(super) enum Layer {
    Exact(Positions<Floats>),
    Fast(Positions<Bytes>),
}

/// Positions in blocks of one kind.
#[derive(Debug, Clone)]
pub(super) struct Positions<B> {
    blocks: Vec<Arc<B>>,
    positions: usize,
}

/// Bytes of the key and the value of one head at one position.
pub(super) fn bytes_per_head(head_dim: usize, precision: Precision) -> usize {
    match precision {
        Precision::Exact => 2 * size_of::<f32>() * head_dim,
        // A number for each element, keys four by four, and a step for all of them.
        Precision::Fast => head_dim.next_multiple_of(4) + head_dim + 2 * size_of::<f32>(),
    }
}

impl KvCache {
    pub(super) fn new(layers: usize, precision: Precision) -> Self {
        let layer = match precision {
            Precision::Exact => Layer::Exact(Positions::default()),
            Precision::Fast => Layer::Fast(Positions::default()),
        };
        Self {
            layers: vec![layer; layers],
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
        Ok(match self {
            Self::Exact(layer) => Self::Exact(layer.fork(positions)?),
            Self::Fast(layer) => Self::Fast(layer.fork(positions)?),
        })
    }

    /// How many positions there are.
    pub(super) fn positions(&self) -> usize {
        match self {
            Self::Exact(layer) => layer.positions,
            Self::Fast(layer) => layer.positions,
        }
    }
}

impl<B> Default for Positions<B> {
    fn default() -> Self {
        Self {
            blocks: Vec::new(),
            positions: 0,
        }
    }
}

impl<B: Block> Positions<B> {
    fn fork(&self, positions: usize) -> Result<Self, BackendError> {
        if positions > self.positions {
            return Err(BackendError(format!(
                "a fork at position {positions} of a KV cache of {}",
                self.positions
            )));
        }
        let mut blocks = self.blocks[..positions.div_ceil(BLOCK)].to_vec();
        if let Some(last) = blocks
            .last_mut()
            .filter(|_| !positions.is_multiple_of(BLOCK))
        {
            *last = Arc::new(B::clone(last));
        }
        Ok(Self { blocks, positions })
    }

    /// The blocks that hold positions from `hidden` to before `visible`, in order, and which of
    /// their positions these are.
    #[inline(always)]
    pub(super) fn blocks(
        &self,
        hidden: usize,
        visible: usize,
    ) -> impl Iterator<Item = (&B, Range<usize>)> {
        let blocks = self.blocks[..visible.div_ceil(BLOCK)].iter();
        let blocks = blocks.enumerate().skip(hidden / BLOCK);
        blocks.map(move |(index, block)| {
            let first = index * BLOCK;
            let from = hidden.saturating_sub(first);
            (&**block, from..(visible - first).min(BLOCK))
        })
    }
}

/// Appends positions to a layer.
pub(super) struct Append<'a> {
    /// The layer.
    pub(super) layer: &'a mut Layer,
    /// `[positions, kv_heads · head_dim]`.
    pub(super) keys: &'a [f32],
    /// In the shape of the keys.
    pub(super) values: &'a [f32],
    /// The heads.
    pub(super) shape: &'a AttentionShape,
}

impl Kernel for Append<'_> {
    type Output = ();

    #[inline(always)]
    fn run<L: Lanes>(self) {
        match self.layer {
            Layer::Exact(layer) => layer.append::<L>(self.keys, self.values, self.shape),
            Layer::Fast(layer) => layer.append::<L>(self.keys, self.values, self.shape),
        }
    }
}

impl<B: Block> Positions<B> {
    #[inline(always)]
    fn append<L: Lanes>(&mut self, keys: &[f32], values: &[f32], shape: &AttentionShape) {
        let width = shape.kv_heads * shape.head_dim;
        for (key, value) in keys.chunks_exact(width).zip(values.chunks_exact(width)) {
            let column = self.positions % BLOCK;
            if column == 0 {
                self.blocks.push(Arc::new(B::with_room(shape)));
            }
            if let Some(last) = self.blocks.last_mut() {
                // Shared blocks are full, or were copied when they were forked.
                Arc::make_mut(last).put::<L>(column, key, value);
            }
            self.positions += 1;
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::simd::Isa;

    const SHAPE: AttentionShape = AttentionShape {
        heads: 1,
        kv_heads: 1,
        head_dim: 2,
        scale: 1.0,
        window: None,
        softcap: None,
    };

    fn rows(from: usize, count: usize) -> Vec<f32> {
        (from * 2..(from + count) * 2).map(|i| i as f32).collect()
    }

    fn append(cache: &mut KvCache, rows: &[f32]) {
        Isa::best().run(Append {
            layer: cache.layer_mut(0).expect("layer 0"),
            keys: rows,
            values: rows,
            shape: &SHAPE,
        });
    }

    /// The keys of all positions, and then the values.
    fn contents(cache: &KvCache) -> [Vec<f32>; 2] {
        fn of<B: Block>(layer: &Positions<B>) -> [Vec<f32>; 2] {
            let places = || {
                let blocks = layer.blocks(0, layer.positions);
                blocks.flat_map(|(block, positions)| positions.map(move |p| (block, p)))
            };
            let key = |(block, position): (&B, usize)| {
                [0, 1].map(|element| block.key(0, position, element))
            };
            let value = |(block, position): (&B, usize)| {
                let mut step = [1.0];
                block.weigh(0, position..position + 1, &mut step, 1.0);
                [0, 1].map(|element| block.value(0, position, element) * step[0])
            };
            [
                places().flat_map(key).collect(),
                places().flat_map(value).collect(),
            ]
        }
        match cache.layer(0).expect("one layer") {
            Layer::Exact(layer) => of(layer),
            Layer::Fast(layer) => of(layer),
        }
    }

    /// Whether a cache holds these rows: to the bit, or in fast to half a step, where the greatest
    /// element of a row is one more than the other.
    fn holds(cache: &KvCache, expected: &[f32]) -> bool {
        let exact = matches!(cache.layers[0], Layer::Exact(_));
        contents(cache).iter().all(|found| {
            let near = |(found, expected): (&f32, &f32)| {
                let half_a_step = if exact {
                    0.0
                } else {
                    (expected + 1.01) / 254.0
                };
                (found - expected).abs() <= half_a_step
            };
            found.len() == expected.len() && found.iter().zip(expected).all(near)
        })
    }

    #[test]
    fn a_block_takes_as_many_bytes_as_are_counted() {
        fn bytes<B: Block>(shape: &AttentionShape) -> usize {
            B::with_room(shape).bytes()
        }
        for head_dim in [30, 64] {
            let shape = AttentionShape {
                kv_heads: 3,
                head_dim,
                ..SHAPE
            };
            let counted = |precision| 3 * BLOCK * bytes_per_head(head_dim, precision);
            assert_eq!(bytes::<Floats>(&shape), counted(Precision::Exact));
            assert_eq!(bytes::<Bytes>(&shape), counted(Precision::Fast));
        }
    }

    proptest! {
        #[test]
        fn a_fork_has_the_beginning_and_neither_sees_the_other(
            length in 1usize..100,
            cut in 0usize..100,
            more in 1usize..50,
            precision in 0usize..2,
        ) {
            let cut = cut.min(length);
            let mut original = KvCache::new(1, Precision::ALL[precision]);
            append(&mut original, &rows(0, length));
            let mut fork = original.fork(cut).expect("long enough");
            prop_assert!(holds(&fork, &rows(0, cut)));
            append(&mut fork, &rows(900, more));
            append(&mut original, &rows(length, more));
            prop_assert!(holds(&original, &rows(0, length + more)));
            let expected = [rows(0, cut), rows(900, more)].concat();
            prop_assert!(holds(&fork, &expected));
        }
    }

    #[test]
    fn whole_blocks_are_shared() {
        let mut original = KvCache::new(1, Precision::Exact);
        append(&mut original, &rows(0, 70));
        let fork = original.fork(65).expect("long enough");
        let (Layer::Exact(ours), Layer::Exact(theirs)) = (&original.layers[0], &fork.layers[0])
        else {
            panic!("exact");
        };
        assert!(Arc::ptr_eq(&ours.blocks[0], &theirs.blocks[0]));
        assert!(Arc::ptr_eq(&ours.blocks[1], &theirs.blocks[1]));
        assert!(!Arc::ptr_eq(&ours.blocks[2], &theirs.blocks[2]));
    }

    #[test]
    fn what_is_not_there_is_an_error() {
        let cache = KvCache::new(1, Precision::Exact);
        assert!(cache.layer(1).is_err());
        assert!(cache.fork(1).is_err());
    }
}
