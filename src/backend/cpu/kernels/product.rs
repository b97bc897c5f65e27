//! Products of sixteen weight rows with activation rows, exactly.
//!
//! Every single product is [`dot`](super::dot) of the unpacked row and the activations, to the
//! bit. Working on several at once only saves loading and unpacking the same thing again, and
//! adding up lanes one vector at a time.

use super::super::pool::Strip;
use super::rows::Row;
use crate::simd::{Kernel, LANES, Lanes};

/// Weight rows that stay in registers together.
const ROWS: usize = 4;
/// Activation rows that stay in registers together.
pub(in super::super) const COLUMNS: usize = 4;
/// Blocks of sixteen elements after which sums are put aside, so that four weight rows and four
/// activation rows of them fit into a nearest cache of 32 KiB.
const NEAR_BLOCKS: usize = 56;

/// Sixteen weight rows, unpacked as they are needed, times up to [`COLUMNS`] activation rows.
pub(in super::super) struct Direct<'a, 'b, R> {
    /// The weight rows.
    pub(in super::super) rows: R,
    /// How many they are, at most sixteen.
    pub(in super::super) count: usize,
    /// Blocks of sixteen elements that form a group.
    pub(in super::super) blocks_per_group: usize,
    /// Activation rows one after the other.
    pub(in super::super) x: &'a [f32],
    /// Elements of a row, weight and activation alike.
    pub(in super::super) width: usize,
    /// Column `m` of the result is row `m`.
    pub(in super::super) out: &'a mut Strip<'b, f32>,
    /// Where in a row of the result the sixteen products begin.
    pub(in super::super) at: usize,
}

impl<R: Row> Kernel for Direct<'_, '_, R> {
    type Output = ();

    #[inline(always)]
    fn run<L: Lanes>(self) {
        let columns = self.x.len() / self.width;
        // Where there are fewer, the last one is computed again and thrown away.
        let row = |index: usize| self.rows.nth(index, self.count);
        let rows = |quarter: usize| {
            let first = quarter * ROWS;
            [row(first), row(first + 1), row(first + 2), row(first + 3)]
        };
        if columns == 1 {
            let mut sums = [L::splat(0.0); LANES];
            for (quarter, sums) in sums.as_chunks_mut::<ROWS>().0.iter_mut().enumerate() {
                let tile = tile::<L, R, 1>(&rows(quarter), self.blocks_per_group, [self.x]);
                *sums = tile.map(|[sum]| sum);
            }
            write(&L::sums(sums).store(), &mut self.out.row(0)[self.at..]);
            return;
        }
        // The same with activation rows.
        let x = std::array::from_fn(|m| row_of(self.x, self.width, m.min(columns - 1)));
        for quarter in 0..LANES / ROWS {
            let at = self.at + quarter * ROWS;
            if at >= self.out.columns() {
                return;
            }
            let sums = tile::<L, R, COLUMNS>(&rows(quarter), self.blocks_per_group, x);
            write_tile(&sums, columns, self.out, [0, at]);
        }
    }
}

#[inline(always)]
fn row_of(x: &[f32], width: usize, index: usize) -> &[f32] {
    &x[index * width..][..width]
}

/// Writes as many elements as both have.
#[inline(always)]
fn write(sums: &[f32], out: &mut [f32]) {
    for (out, sum) in out.iter_mut().zip(sums) {
        *out = *sum;
    }
}

/// Adds up the lanes of each sum of a tile, and writes the products of the first `columns`
/// activation rows to the result from row and column `at` on.
#[inline(always)]
fn write_tile<L: Lanes>(
    tile: &[[L; COLUMNS]; ROWS],
    columns: usize,
    out: &mut Strip<'_, f32>,
    at: [usize; 2],
) {
    let sums = L::sums(std::array::from_fn(|i| tile[i % ROWS][i / ROWS])).store();
    for (m, sums) in sums.as_chunks::<ROWS>().0.iter().take(columns).enumerate() {
        write(sums, &mut out.row(at[0] + m)[at[1]..]);
    }
}

#[inline(always)]
fn tile<L: Lanes, R: Row, const M: usize>(
    rows: &[R; ROWS],
    blocks_per_group: usize,
    x: [&[f32]; M],
) -> [[L; M]; ROWS] {
    let mut sums = [[L::splat(0.0); M]; ROWS];
    let count = x[0].len() / LANES;
    let blocks = x.map(|x| &x.as_chunks::<LANES>().0[..count]);
    let mut start = 0;
    let mut group = 0;
    while start < count {
        let shared: [[L; 2]; ROWS] = std::array::from_fn(|r| rows[r].group(group));
        #[expect(
            clippy::needless_range_loop,
            reason = "the index is that of a block in weights and activations alike"
        )]
        for block in start..(start + blocks_per_group).min(count) {
            let x: [L; M] = std::array::from_fn(|m| L::load(&blocks[m][block]));
            for r in 0..ROWS {
                let weights = rows[r].block(block, &shared[r]);
                for m in 0..M {
                    sums[r][m] = x[m].fma(weights, sums[r][m]);
                }
            }
        }
        start += blocks_per_group;
        group += 1;
    }
    if !x[0].len().is_multiple_of(LANES) {
        for r in 0..ROWS {
            add_rest(&mut sums[r], &rows[r].rest(), x);
        }
    }
    sums
}

/// The elements behind the last whole block of activations.
#[inline(always)]
fn add_rest<L: Lanes, const M: usize>(sums: &mut [L; M], weights: &[f32], x: [&[f32]; M]) {
    let weights = L::load_partial(weights);
    for (sum, x) in sums.iter_mut().zip(x) {
        *sum = L::load_partial(x.as_chunks::<LANES>().1).fma(weights, *sum);
    }
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

/// Sixteen unpacked weight rows times any number of activation rows.
pub(in super::super) struct Many<'a, 'b> {
    /// Sixteen rows; where there are fewer, what the last ones give is thrown away.
    pub(in super::super) weights: &'a [f32],
    /// Activation rows one after the other.
    pub(in super::super) x: &'a [f32],
    /// Elements of a row, weight and activation alike.
    pub(in super::super) width: usize,
    /// Column `m` of the result is row `m`.
    pub(in super::super) out: &'a mut Strip<'b, f32>,
    /// Where in a row of the result the sixteen products begin.
    pub(in super::super) at: usize,
}

impl Kernel for Many<'_, '_> {
    type Output = ();

    #[inline(always)]
    fn run<L: Lanes>(self) {
        let mut aside = [[[[0.0; LANES]; COLUMNS]; ROWS]; LANES / ROWS];
        for (index, x) in self.x.chunks(COLUMNS * self.width).enumerate() {
            let columns = x.len() / self.width;
            let x = std::array::from_fn(|m| row_of(x, self.width, m.min(columns - 1)));
            for start in (0..(self.width / LANES).max(1)).step_by(NEAR_BLOCKS) {
                for (quarter, aside) in aside.iter_mut().enumerate() {
                    let at = self.at + quarter * ROWS;
                    if at >= self.out.columns() {
                        break;
                    }
                    let weights = std::array::from_fn(|r| {
                        row_of(self.weights, self.width, quarter * ROWS + r)
                    });
                    let mut sums = match start {
                        0 => [[L::splat(0.0); COLUMNS]; ROWS],
                        _ => aside.each_ref().map(|row| row.each_ref().map(L::load)),
                    };
                    if add_blocks(&mut sums, weights, x, start) {
                        write_tile(&sums, columns, self.out, [index * COLUMNS, at]);
                    } else {
                        *aside = sums.map(|row| row.map(L::store));
                    }
                }
            }
        }
    }
}

/// Adds the products of the next [`NEAR_BLOCKS`] blocks to the sums; whether they were the last.
#[inline(always)]
fn add_blocks<L: Lanes>(
    sums: &mut [[L; COLUMNS]; ROWS],
    weights: [&[f32]; ROWS],
    x: [&[f32]; COLUMNS],
    start: usize,
) -> bool {
    let count = x[0].len() / LANES;
    let end = (start + NEAR_BLOCKS).min(count);
    let near_weights = weights.map(|row| &row.as_chunks::<LANES>().0[start..end]);
    let near_x = x.map(|row| &row.as_chunks::<LANES>().0[start..end]);
    for block in 0..end - start {
        let x: [L; COLUMNS] = std::array::from_fn(|m| L::load(&near_x[m][block]));
        for r in 0..ROWS {
            let weights = L::load(&near_weights[r][block]);
            for m in 0..COLUMNS {
                sums[r][m] = x[m].fma(weights, sums[r][m]);
            }
        }
    }
    let last = end == count;
    if last && !x[0].len().is_multiple_of(LANES) {
        for (sums, weights) in sums.iter_mut().zip(weights) {
            add_rest(sums, weights.as_chunks::<LANES>().1, x);
        }
    }
    last
}
