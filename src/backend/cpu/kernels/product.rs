//! Products of weight rows with activation rows, several of both at a time.
//!
//! Every single product is [`dot`](super::dot) of the unpacked row and the activations, to the
//! bit. Working on several at once only saves loading and unpacking the same thing again.

use super::rows::Row;
use crate::simd::{Kernel, LANES, Lanes};

/// Weight rows of a tile.
pub(in super::super) const TILE_ROWS: usize = 4;
/// Activation rows of a tile.
pub(in super::super) const TILE_COLUMNS: usize = 4;

/// [`TILE_ROWS`] weight rows times up to [`TILE_COLUMNS`] activation rows.
///
/// `out[r · columns + m]` becomes the product of weight row `r` and activation row `m`, where
/// `columns` is the number of activation rows.
pub(in super::super) struct Tile<'a, R> {
    /// The weights.
    pub(in super::super) rows: [R; TILE_ROWS],
    /// Blocks of sixteen elements that form a group.
    pub(in super::super) blocks_per_group: usize,
    /// Activation rows one after the other.
    pub(in super::super) x: &'a [f32],
    /// Elements of a row, weight and activation alike.
    pub(in super::super) width: usize,
    /// Where the products go.
    pub(in super::super) out: &'a mut [f32],
}

impl<R: Row> Kernel for Tile<'_, R> {
    type Output = ();

    #[inline(always)]
    fn run<L: Lanes>(self) {
        match self.x.len() / self.width {
            1 => {
                let sums = tile::<L, R, 1>(&self.rows, self.blocks_per_group, [self.x]);
                for (out, sum) in self.out.iter_mut().zip(sums) {
                    *out = sum[0].sum();
                }
            }
            columns => {
                // Where there are fewer, the last one is computed again and thrown away.
                let x = std::array::from_fn(|m| {
                    let m = m.min(columns - 1);
                    &self.x[m * self.width..][..self.width]
                });
                let sums = tile::<L, R, TILE_COLUMNS>(&self.rows, self.blocks_per_group, x);
                for (out, sums) in self.out.chunks_exact_mut(columns).zip(sums) {
                    for (out, sum) in out.iter_mut().zip(sums) {
                        *out = sum.sum();
                    }
                }
            }
        }
    }
}

#[inline(always)]
fn tile<L: Lanes, R: Row, const M: usize>(
    rows: &[R; TILE_ROWS],
    blocks_per_group: usize,
    x: [&[f32]; M],
) -> [[L; M]; TILE_ROWS] {
    let zero = L::splat(0.0);
    let mut sums = [[zero; M]; TILE_ROWS];
    let blocks = x.map(|x| x.as_chunks::<LANES>().0);
    let count = blocks[0].len();
    let mut start = 0;
    let mut group = 0;
    while start < count {
        let shared: [[L; 2]; TILE_ROWS] = std::array::from_fn(|r| rows[r].group(group));
        #[expect(
            clippy::needless_range_loop,
            reason = "the index is that of a block in weights and activations alike"
        )]
        for block in start..(start + blocks_per_group).min(count) {
            let x: [L; M] = std::array::from_fn(|m| L::load(&blocks[m][block]));
            for r in 0..TILE_ROWS {
                let weights = rows[r].block(block, &shared[r]);
                for m in 0..M {
                    sums[r][m] = x[m].fma(weights, sums[r][m]);
                }
            }
        }
        start += blocks_per_group;
        group += 1;
    }
    let rest = x.map(|x| x.as_chunks::<LANES>().1);
    if !rest[0].is_empty() {
        for r in 0..TILE_ROWS {
            let weights = L::load_partial(&rows[r].rest());
            for m in 0..M {
                sums[r][m] = L::load_partial(rest[m]).fma(weights, sums[r][m]);
            }
        }
    }
    sums
}

/// Unpacks one row.
pub(in super::super) struct Unpack<'a, R> {
    /// The row.
    pub(in super::super) row: R,
    /// Blocks of sixteen elements that form a group.
    pub(in super::super) blocks_per_group: usize,
    /// Its elements.
    pub(in super::super) out: &'a mut [f32],
}

impl<R: Row> Kernel for Unpack<'_, R> {
    type Output = ();

    #[inline(always)]
    fn run<L: Lanes>(self) {
        let (blocks, rest) = self.out.as_chunks_mut::<LANES>();
        for (group, blocks) in blocks.chunks_mut(self.blocks_per_group).enumerate() {
            let shared: [L; 2] = self.row.group(group);
            let first = group * self.blocks_per_group;
            for (index, out) in blocks.iter_mut().enumerate() {
                *out = self.row.block(first + index, &shared).store();
            }
        }
        if !rest.is_empty() {
            rest.copy_from_slice(&self.row.rest());
        }
    }
}
