//! Products of a weight matrix with activations: which rows, on which thread, with which kernel.

use super::affine::Affine;
use super::kernels::product::{TILE_COLUMNS, TILE_ROWS, Tile, Unpack};
use super::kernels::rows::{Bf16, Dense, F16, F32, Plain, Row, Stored};
use super::matrix::{Matrix, Storage};
use super::pool::Pool;
use crate::backend::{Element, Microformat};
use crate::simd::Isa;
use crate::simd::LANES;

/// Output rows that one task computes at least: enough to pay for handing it to a thread.
const ROWS_PER_TASK: usize = 32;
/// Tasks of a large matrix, so that threads of unequal speed end together.
const MOST_TASKS: usize = 64;
/// Multiplications below which a product is not worth a second thread: about three microseconds
/// of work, where a hand-off costs one.
const PARALLEL_FROM: usize = 1 << 16;
/// Unpacked weights that are used again for many activation rows; half of a small L2 cache.
const UNPACKED_ELEMENTS: usize = 64 << 10;

/// `x · matrixᵀ` for `rows` activation rows; the result is `[rows, matrix.rows()]`.
pub(super) fn multiply(matrix: &Matrix, x: &[f32], rows: usize, isa: Isa, pool: &Pool) -> Vec<f32> {
    // Computed transposed, so that each task writes to a part of its own.
    let mut transposed = vec![0.0; matrix.rows() * rows];
    let per_task = matrix
        .rows()
        .div_ceil(MOST_TASKS)
        .next_multiple_of(ROWS_PER_TASK);
    let task = |index: usize, out: &mut [f32]| {
        let part = Part {
            first: index * per_task,
            x,
            columns: rows,
            width: matrix.cols(),
            isa,
        };
        part.multiply(matrix, out);
    };
    if rows * matrix.rows() * matrix.cols() < PARALLEL_FROM {
        for (index, out) in transposed.chunks_mut(per_task * rows).enumerate() {
            task(index, out);
        }
    } else {
        pool.for_each_piece(&mut transposed, per_task * rows, task);
    }
    if rows == 1 {
        return transposed;
    }
    let mut out = vec![0.0; transposed.len()];
    for (row, out) in out.chunks_exact_mut(matrix.rows()).enumerate() {
        for (value, column) in out.iter_mut().zip(transposed.chunks_exact(rows)) {
            *value = column[row];
        }
    }
    out
}

/// The weight rows from `first` on, times all activation rows.
#[derive(Clone, Copy)]
struct Part<'a> {
    first: usize,
    x: &'a [f32],
    /// Activation rows.
    columns: usize,
    /// Elements of a row.
    width: usize,
    isa: Isa,
}

impl Part<'_> {
    /// `out[r · columns + m]` becomes the product of weight row `first + r` and activation row
    /// `m`.
    fn multiply(self, matrix: &Matrix, out: &mut [f32]) {
        match matrix.storage() {
            Storage::Dense { element, data } => {
                let (elements, bytes) = (data.bytes(), self.width * element.size());
                let row = |row: usize| &elements[row * bytes..][..bytes];
                match element {
                    Element::F32 => self.tiles(self.width, |r| Dense::<F32>::new(row(r)), out),
                    Element::F16 => self.tiles(self.width, |r| Dense::<F16>::new(row(r)), out),
                    Element::Bf16 => self.tiles(self.width, |r| Dense::<Bf16>::new(row(r)), out),
                }
            }
            Storage::Affine(affine) => match affine.element() {
                Element::F32 => self.affine::<F32>(matrix, affine, out),
                Element::F16 => self.affine::<F16>(matrix, affine, out),
                Element::Bf16 => self.affine::<Bf16>(matrix, affine, out),
            },
            Storage::Microscaled(scaled) => match scaled.format() {
                Microformat::Mxfp4 | Microformat::Nvfp4 => {
                    let group = scaled.format().group_size();
                    self.tiles(group, |r| scaled.row4(r, self.width), out);
                }
                Microformat::Mxfp8 => self.unpacked_by_reference(matrix, out),
            },
        }
    }

    fn affine<E: Stored>(self, matrix: &Matrix, affine: &Affine, out: &mut [f32]) {
        let (group, rows) = (affine.group_size(), affine.rows(self.width));
        match affine.bits() {
            4 => self.tiles(group, |r| rows.row4::<E>(r), out),
            8 => self.tiles(group, |r| rows.row8::<E>(r), out),
            _ => self.unpacked_by_reference(matrix, out),
        }
    }

    /// With a kernel that unpacks the rows itself, as often as it needs them. With many
    /// activation rows it is cheaper to unpack a row once and keep it.
    fn tiles<R: Row>(self, group_size: usize, row: impl Fn(usize) -> R, out: &mut [f32]) {
        let blocks_per_group = (group_size / LANES).max(1);
        if self.columns > TILE_COLUMNS {
            self.unpacked(out, |r, weights| {
                self.isa.run(Unpack {
                    row: row(r),
                    blocks_per_group,
                    out: weights,
                });
            });
            return;
        }
        let last = self.first + (out.len() / self.columns).saturating_sub(1);
        let mut first = self.first;
        for out in out.chunks_mut(TILE_ROWS * self.columns) {
            self.isa.run(Tile {
                // Where there are fewer rows, the last one is computed again and thrown away.
                rows: std::array::from_fn(|r| row((first + r).min(last))),
                blocks_per_group,
                x: self.x,
                width: self.width,
                out,
            });
            first += TILE_ROWS;
        }
    }

    fn unpacked_by_reference(self, matrix: &Matrix, out: &mut [f32]) {
        self.unpacked(out, |r, weights| matrix.row_into(r, weights));
    }

    /// Unpacks as many rows as stay in the cache, and multiplies them with all activations.
    fn unpacked(self, out: &mut [f32], unpack: impl Fn(usize, &mut [f32])) {
        let rows = (UNPACKED_ELEMENTS / self.width / TILE_ROWS).max(1) * TILE_ROWS;
        let mut weights = vec![0.0; rows * self.width];
        let mut first = self.first;
        for out in out.chunks_mut(rows * self.columns) {
            let count = out.len() / self.columns;
            for (index, weights) in weights.chunks_exact_mut(self.width).take(count).enumerate() {
                unpack(first + index, weights);
            }
            self.plain(&weights[..count * self.width], out);
            first += count;
        }
    }

    /// Unpacked rows times all activations: a few activation rows at a time, which stay in the
    /// nearest cache while the weights pass.
    fn plain(self, weights: &[f32], out: &mut [f32]) {
        let count = weights.len() / self.width;
        let row = |r: usize| Plain(&weights[r.min(count - 1) * self.width..][..self.width]);
        let mut products = [0.0; TILE_ROWS * TILE_COLUMNS];
        for (index, x) in self.x.chunks(TILE_COLUMNS * self.width).enumerate() {
            let columns = x.len() / self.width;
            for first in (0..count).step_by(TILE_ROWS) {
                self.isa.run(Tile {
                    rows: std::array::from_fn(|r| row(first + r)),
                    blocks_per_group: self.width,
                    x,
                    width: self.width,
                    out: &mut products[..TILE_ROWS * columns],
                });
                let out = out[first * self.columns..].chunks_exact_mut(self.columns);
                for (out, products) in out.zip(products.chunks_exact(columns)).take(TILE_ROWS) {
                    out[index * TILE_COLUMNS..][..columns].copy_from_slice(products);
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::super::kernels::Dot;
    use super::*;
    use crate::backend::{Affine, Blob, MatrixData, Microscaled};

    const ROWS: usize = 75;

    fn bytes(count: usize) -> Vec<u8> {
        (0..count).map(|i| (i * 37 % 251) as u8).collect()
    }

    /// Small numbers in any element type: the exponent's upper bits are cleared.
    fn parameters(count: usize, element: Element) -> Blob {
        let values = (0..count).map(|i| 0.01 * (i % 17) as f32 - 0.05);
        Blob::new(match element {
            Element::F32 => values.flat_map(|v| v.to_le_bytes()).collect::<Vec<u8>>(),
            Element::F16 => values
                .flat_map(|v| half::f16::from_f32(v).to_le_bytes())
                .collect(),
            Element::Bf16 => values
                .flat_map(|v| half::bf16::from_f32(v).to_le_bytes())
                .collect(),
        })
    }

    fn dense(cols: usize, element: Element) -> MatrixData {
        MatrixData::Dense {
            rows: ROWS,
            cols,
            element,
            data: parameters(ROWS * cols, element),
        }
    }

    fn affine(bits: usize, group_size: usize, element: Element) -> MatrixData {
        let cols = 384;
        MatrixData::Affine {
            rows: ROWS,
            cols,
            affine: Affine {
                bits,
                group_size,
                packed: Blob::new(bytes(ROWS * cols * bits / 8)),
                scales: parameters(ROWS * cols / group_size, element),
                biases: parameters(ROWS * cols / group_size, element),
                element,
            },
        }
    }

    fn micro(format: Microformat) -> MatrixData {
        let cols = 192;
        let scales = bytes(ROWS * cols / format.group_size());
        MatrixData::Microscaled {
            rows: ROWS,
            cols,
            microscaled: Microscaled {
                format,
                packed: Blob::new(
                    bytes(ROWS * cols * format.bits() / 8)
                        .into_iter()
                        .map(|byte| byte & 0x77)
                        .collect::<Vec<u8>>(),
                ),
                scales: Blob::new(
                    scales
                        .into_iter()
                        .map(|scale| 100 + scale % 20)
                        .collect::<Vec<u8>>(),
                ),
            },
        }
    }

    /// The kernels against the plain reference: unpack a row, then one inner product.
    #[rstest]
    fn every_kernel_gives_the_bits_of_the_reference(
        #[values(
            dense(128, Element::F32),
            dense(100, Element::F32),
            dense(7, Element::F16),
            dense(144, Element::F16),
            dense(150, Element::Bf16),
            affine(4, 32, Element::F32),
            affine(4, 64, Element::F16),
            affine(4, 128, Element::Bf16),
            affine(8, 32, Element::Bf16),
            affine(8, 64, Element::F32),
            affine(8, 128, Element::F16),
            affine(2, 64, Element::F16),
            affine(3, 32, Element::F32),
            affine(5, 128, Element::Bf16),
            affine(6, 64, Element::F32),
            micro(Microformat::Mxfp4),
            micro(Microformat::Nvfp4),
            micro(Microformat::Mxfp8)
        )]
        data: MatrixData,
    ) {
        let matrix = Matrix::new(data).expect("valid");
        let (width, most) = (matrix.cols(), 11);
        let x: Vec<f32> = (0..most * width).map(|i| (i as f32 * 0.37).sin()).collect();
        let mut row = vec![0.0; width];
        let mut expected = vec![0.0; most * ROWS];
        for r in 0..ROWS {
            matrix.row_into(r, &mut row);
            for m in 0..most {
                let product = Isa::Portable.run(Dot(&row, &x[m * width..][..width]));
                expected[m * ROWS + r] = product;
            }
        }
        for isa in Isa::available() {
            for threads in [1, 2] {
                let pool = Pool::new(threads).expect("threads");
                for rows in [1, 2, 4, 5, 11] {
                    let x = &x[..rows * width];
                    let ours = multiply(&matrix, x, rows, isa, &pool);
                    let bits =
                        |values: &[f32]| values.iter().map(|v| v.to_bits()).collect::<Vec<_>>();
                    let expected = &expected[..rows * ROWS];
                    assert_eq!(bits(&ours), bits(expected), "{isa}, {rows} rows");
                }
            }
        }
    }
}
