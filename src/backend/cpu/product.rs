//! Products of weight matrices with activations: which rows, on which thread, with which kernel.

use std::ops::Range;

use super::Precision;
use super::buffer::Buffer;
use super::interleaved::Interleaved;
use super::kernels::interleaved::PanelProduct;
use super::kernels::product::{Arrange, COLUMNS, Direct, Many, Unpack};
use super::kernels::rows::{Bf16, Dense, F16, F32, Row, Stored};
use super::matrix::{Matrix, Storage};
use super::pool::{Pool, Strip, Strips};
use super::quantized::Quantized;
use crate::backend::{Blob, Element, Microformat};
use crate::simd::{Isa, LANES};

/// Tasks of a large matrix for each thread, so that threads of unequal speed end together.
const TASKS_PER_THREAD: usize = 8;
/// Multiplications below which a product is not worth a second thread: about two microseconds
/// of work, where a hand-off costs half of one.
const PARALLEL_FROM: usize = 1 << 16;

/// Activation rows, and who multiplies them.
#[derive(Clone, Copy)]
pub(super) struct Input<'a> {
    /// `rows · width` elements.
    pub(super) x: &'a [f32],
    /// Elements of a row.
    pub(super) width: usize,
    /// What they become for weights that are multiplied as integers.
    pub(super) precision: Precision,
    /// The instruction set of the kernels.
    pub(super) isa: Isa,
    /// The threads.
    pub(super) pool: &'a Pool,
}

/// `x · matrixᵀ + bias` for each of `N` matrices, all handed to the threads at once; each result
/// is `[activation rows, matrix.rows()]`.
pub(super) fn multiply<const N: usize>(
    input: Input<'_>,
    factors: [(&Matrix, Option<&[f32]>); N],
) -> [Buffer; N] {
    let rows = input.x.len() / input.width.max(1);
    let mut products = factors.map(|(matrix, _)| Buffer::unwritten(rows * matrix.rows()));
    let work: usize = factors.iter().map(|(matrix, _)| matrix.rows()).sum();
    let parallel = rows * work * input.width >= PARALLEL_FROM;
    let quantized = quantize(input, factors.map(|(matrix, _)| matrix));
    let mut strips = Vec::with_capacity(N);
    for ((matrix, _), product) in factors.iter().zip(&mut products) {
        let tasks = if parallel {
            TASKS_PER_THREAD * input.pool.threads()
        } else {
            1
        };
        let per_task = matrix.rows().div_ceil(tasks).next_multiple_of(LANES);
        strips.push(Strips::new(product, matrix.rows(), per_task));
    }
    let task = |mut index: usize| {
        for ((matrix, bias), strips) in factors.iter().zip(&strips) {
            if index < strips.count() {
                #[expect(unsafe_code, reason = "each thread writes to strips of its own")]
                // SAFETY: the indices of all strips of all matrices follow each other, and each
                // comes once.
                let mut strip = unsafe { strips.strip(index) };
                let part = Part {
                    first: strip.first(),
                    x: input.x,
                    width: input.width,
                    isa: input.isa,
                };
                match panels(matrix, &quantized) {
                    Some((panels, x)) => part.panels(panels, x, &mut strip),
                    None => part.multiply(matrix, &mut strip),
                }
                if let Some(bias) = bias {
                    add_bias(bias, rows, &mut strip);
                }
                return;
            }
            index -= strips.count();
        }
    };
    let tasks = strips.iter().map(Strips::count).sum();
    if parallel {
        input.pool.for_each(tasks, task);
    } else {
        (0..tasks).for_each(task);
    }
    products
}

/// The activations, quantised once for each layout among the matrices.
fn quantize<const N: usize>(input: Input<'_>, matrices: [&Matrix; N]) -> Vec<Quantized> {
    let mut all: Vec<Quantized> = Vec::new();
    for panels in matrices.iter().filter_map(|matrix| matrix.interleaved()) {
        let layout = panels.layout(input.precision);
        if all.iter().all(|known| known.layout() != layout) {
            let work = (input.isa, input.pool);
            all.push(Quantized::new(input.x, input.width, layout, work));
        }
    }
    all
}

/// The repacked weights of a matrix, and activations for them.
fn panels<'a>(
    matrix: &'a Matrix,
    all: &'a [Quantized],
) -> Option<(&'a Interleaved, &'a Quantized)> {
    let panels = matrix.interleaved()?;
    let x = all
        .iter()
        .find(|x| x.layout() == panels.layout(x.layout().precision))?;
    Some((panels, x))
}

fn add_bias(bias: &[f32], rows: usize, strip: &mut Strip<'_, f32>) {
    let bias = &bias[strip.first()..][..strip.columns()];
    for row in 0..rows {
        for (value, bias) in strip.row(row).iter_mut().zip(bias) {
            *value += bias;
        }
    }
}

/// The weight rows from `first` on, times all activation rows.
#[derive(Clone, Copy)]
struct Part<'a> {
    first: usize,
    x: &'a [f32],
    /// Elements of a row.
    width: usize,
    isa: Isa,
}

impl Part<'_> {
    /// Activation rows.
    fn columns(self) -> usize {
        self.x.len() / self.width
    }

    /// Products with integers.
    fn panels(self, panels: &Interleaved, x: &Quantized, out: &mut Strip<'_, f32>) {
        for at in (0..out.columns()).step_by(LANES) {
            self.isa.run(PanelProduct {
                panel: panels.panel((self.first + at) / LANES),
                x,
                out,
                at,
            });
        }
    }

    /// `out[m][r]` becomes the product of weight row `first + r` and activation row `m`.
    fn multiply(self, matrix: &Matrix, out: &mut Strip<'_, f32>) {
        match matrix.storage() {
            Storage::Dense { element, data } => match element {
                Element::F32 => self.dense::<F32>(*element, data, out),
                Element::F16 => self.dense::<F16>(*element, data, out),
                Element::Bf16 => self.dense::<Bf16>(*element, data, out),
            },
            Storage::Microscaled(scaled) if scaled.format() != Microformat::Mxfp8 => {
                let rows = |range| scaled.rows4(range, self.width);
                self.rows(scaled.format().group_size(), rows, out);
            }
            Storage::Affine(_) | Storage::Interleaved(_) | Storage::Microscaled(_) => {
                let mut weights = vec![0.0; LANES * self.width];
                for at in (0..out.columns()).step_by(LANES) {
                    let rows = self.rows_at(at, out);
                    for (row, weights) in rows.zip(weights.chunks_exact_mut(self.width)) {
                        matrix.row_into(row, weights);
                    }
                    self.many(&weights, out, at);
                }
            }
        }
    }

    /// The weight rows of the sixteen products from column `at` on.
    fn rows_at(self, at: usize, out: &Strip<'_, f32>) -> Range<usize> {
        self.first + at..self.first + (at + LANES).min(out.columns())
    }

    fn dense<E: Stored>(self, element: Element, data: &Blob, out: &mut Strip<'_, f32>) {
        let (elements, bytes) = (data.bytes(), self.width * element.size());
        let rows = |range: Range<usize>| {
            Dense::<E>::new(&elements[range.start * bytes..range.end * bytes])
        };
        self.rows(self.width, rows, out);
    }

    /// With rows that need nothing but their bytes.
    fn rows<R: Row>(
        self,
        group_size: usize,
        rows: impl Fn(Range<usize>) -> R,
        out: &mut Strip<'_, f32>,
    ) {
        let mut weights = self.room_for_weights();
        let arranged = self.arranged::<R>();
        let part = Part {
            x: arranged.as_deref().unwrap_or(self.x),
            ..self
        };
        for at in (0..out.columns()).step_by(LANES) {
            let range = self.rows_at(at, out);
            let sixteen = (rows(range.clone()), range.len());
            part.sixteen(group_size, sixteen, &mut weights, out, at);
        }
    }

    /// The activations as a kernel wants them that unpacks rows of this kind itself; `None` is as
    /// they are.
    fn arranged<R: Row>(self) -> Option<Vec<f32>> {
        if !R::ARRANGED || self.columns() > COLUMNS {
            return None;
        }
        let mut x = self.x.to_vec();
        self.isa.run(Arrange { x: &mut x });
        Some(x)
    }

    /// Room for sixteen unpacked rows, if there are enough activation rows to unpack them for.
    fn room_for_weights(self) -> Vec<f32> {
        if self.columns() > COLUMNS {
            vec![0.0; LANES * self.width]
        } else {
            Vec::new()
        }
    }

    /// Up to sixteen weight rows. With few activation rows, the kernel unpacks them as it needs them;
    /// with many it is cheaper to unpack them once and keep them.
    fn sixteen<R: Row>(
        self,
        group_size: usize,
        (rows, count): (R, usize),
        weights: &mut [f32],
        out: &mut Strip<'_, f32>,
        at: usize,
    ) {
        let blocks_per_group = (group_size / LANES).max(1);
        if weights.is_empty() {
            self.isa.run(Direct {
                rows,
                count,
                blocks_per_group,
                x: self.x,
                width: self.width,
                out,
                at,
            });
            return;
        }
        for (index, weights) in weights.chunks_exact_mut(self.width).enumerate() {
            self.isa.run(Unpack {
                row: rows.nth(index, count),
                blocks_per_group,
                out: weights,
            });
        }
        self.many(weights, out, at);
    }

    /// Sixteen unpacked weight rows.
    fn many(self, weights: &[f32], out: &mut Strip<'_, f32>, at: usize) {
        self.isa.run(Many {
            weights,
            x: self.x,
            width: self.width,
            out,
            at,
        });
    }
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::super::affine::Affine as Reference;
    use super::super::kernels::Dot;
    use super::super::quantized::Layout;
    use super::super::region::Regions;
    use super::*;
    use crate::backend::{Affine, MatrixData, Microscaled};

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

    fn bits_of(values: &[f32]) -> Vec<u32> {
        values.iter().map(|value| value.to_bits()).collect()
    }

    /// The kernels against the plain reference: unpack a row, then one inner product.
    #[rstest]
    fn every_kernel_gives_the_bits_of_the_reference(
        #[values(
            dense(128, Element::F32),
            dense(100, Element::F32),
            dense(7, Element::F16),
            // One, and a little more than two, of the pieces that stay in a near cache.
            dense(56 * LANES + 5, Element::F32),
            dense(115 * LANES, Element::Bf16),
            dense(144, Element::F16),
            dense(150, Element::Bf16),
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
        let (pool, regions) = (Pool::new(1).expect("no threads"), Regions::default());
        let matrix = Matrix::new(data, (&pool, &regions)).expect("valid");
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
                    let input = Input {
                        x: &x[..rows * width],
                        width,
                        precision: Precision::Exact,
                        isa,
                        pool: &pool,
                    };
                    let [ours] = multiply(input, [(&matrix, None)]);
                    let expected = &expected[..rows * ROWS];
                    assert_eq!(bits_of(&ours), bits_of(expected), "{isa}, {rows} rows");
                }
            }
        }
    }

    /// What products with integers have to give, computed plainly: sums of integers within a
    /// group, then the groups in order.
    fn integer_reference(stored: &Affine, x: &[f32], layout: Layout) -> Vec<f32> {
        let Layout {
            bits, group_size, ..
        } = layout;
        let pool = Pool::new(1).expect("no threads");
        // Eight bits want the numbers in the order of the elements.
        let in_order = Layout { bits: 8, ..layout };
        let plain = Quantized::new(x, x.len(), in_order, (Isa::Portable, &pool));
        let plain = plain.row(0);
        let groups = x.len() / group_size;
        let product = |row: usize| {
            let bytes = groups * stored.element.size();
            let [scales, biases] = [&stored.scales, &stored.biases]
                .map(|all| stored.element.decode(&all.bytes()[row * bytes..][..bytes]));
            let bytes = x.len() * bits / 8;
            let packed = &stored.packed.bytes()[row * bytes..][..bytes];
            let code = |i: usize| match bits {
                4 => i32::from(packed[i / 2] >> (i % 2 * 4) & 15),
                _ => i32::from(packed[i]),
            };
            let mut sum = 0f32;
            for group in 0..groups {
                let mut products = 0f32;
                for digits in plain.codes.chunks(x.len()) {
                    let elements = group * group_size..(group + 1) * group_size;
                    let integers: i32 = elements.map(|i| code(i) * i32::from(digits[i])).sum();
                    products = products.mul_add(256.0, integers as f32);
                }
                sum = (products * scales[group]).mul_add(plain.steps[group], sum);
                sum = biases[group].mul_add(plain.totals[group], sum);
            }
            sum
        };
        (0..ROWS).map(product).collect()
    }

    #[rstest]
    fn integer_products_have_the_same_bits_everywhere_and_are_close_to_the_true_ones(
        #[values(4, 8)] bits: usize,
        #[values(32, 64, 128)] group_size: usize,
        #[values(Element::F32, Element::F16, Element::Bf16)] element: Element,
        #[values(Precision::Exact, Precision::Fast)] precision: Precision,
    ) {
        let pool = Pool::new(2).expect("threads");
        let data = affine(bits, group_size, element);
        let MatrixData::Affine { rows, cols, affine } = &data else {
            panic!("affine");
        };
        let stored = affine.clone();
        let reference = Reference::new(*rows, *cols, affine).expect("valid");
        let regions = Regions::default();
        let matrix = Matrix::new(data, (&pool, &regions)).expect("valid");
        let layout = matrix.interleaved().expect("repacked").layout(precision);
        let (width, most) = (matrix.cols(), 31);
        let x: Vec<f32> = (0..most * width).map(|i| (i as f32 * 0.37).sin()).collect();
        let bias: Vec<f32> = (0..ROWS).map(|row| row as f32).collect();
        let expected: Vec<f32> = x
            .chunks_exact(width)
            .flat_map(|x| integer_reference(&stored, x, layout))
            .collect();
        for isa in Isa::available() {
            // As many as fill every size of tile, and what is left over.
            for rows in [1, 2, 3, 5, 9, 13, 31] {
                let input = Input {
                    x: &x[..rows * width],
                    width,
                    precision,
                    isa,
                    pool: &pool,
                };
                let [ours, biased] = multiply(input, [(&matrix, None), (&matrix, Some(&bias))]);
                assert_eq!(
                    bits_of(&ours),
                    bits_of(&expected[..rows * ROWS]),
                    "{isa}, {rows} rows"
                );
                for (index, (plain, biased)) in ours.iter().zip(biased.iter()).enumerate() {
                    assert_eq!(*biased, plain + bias[index % ROWS]);
                }
            }
        }
        let [mut row, mut repacked] = [vec![0.0; width], vec![0.0; width]];
        // What rounding may cost, in parts of the sum of all products' sizes; f32 fused and in
        // sixteen lanes errs by up to 2e-7 here.
        let tolerance = match precision {
            Precision::Exact => 2e-7,
            Precision::Fast => 4e-3,
        };
        for (index, ours) in expected[..ROWS].iter().enumerate() {
            reference.row_into(index, &mut row);
            matrix.row_into(index, &mut repacked);
            assert_eq!(bits_of(&row), bits_of(&repacked), "row {index}");
            let products = row
                .iter()
                .zip(&x)
                .map(|(w, x)| f64::from(*w) * f64::from(*x));
            let (product, size) =
                products.fold((0.0, 0.0), |(sum, size), p| (sum + p, size + p.abs()));
            let error = (f64::from(*ours) - product).abs() / size;
            assert!(error < tolerance, "{ours} for {product}: {error:e}");
        }
    }
}
