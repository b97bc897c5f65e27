//! Weights as they lie in a checkpoint: bytes, element types, and MLX's quantised layouts.
//!
//! Knows layouts and converts elements. Does not know names, files or what a matrix is for, nor
//! how a backend computes with packed weights.

use std::ops::Range;
use std::sync::Arc;

use super::BackendError;

/// Where bytes lie.
pub trait Bytes: Send + Sync {
    /// All of them.
    fn bytes(&self) -> &[u8];

    /// Says that a part will hardly be read again. Bytes that are a copy of a file may leave the
    /// memory, and come back when they are read after all.
    fn release(&self, _part: Range<usize>) {}
}

impl Bytes for Vec<u8> {
    fn bytes(&self) -> &[u8] {
        self
    }
}

impl Bytes for &'static [u8] {
    fn bytes(&self) -> &[u8] {
        self
    }
}

/// A range of bytes that is cheap to clone: mapped from a file, compiled in, or owned.
#[derive(Clone)]
pub struct Blob {
    owner: Arc<dyn Bytes>,
    range: Range<usize>,
}

impl Blob {
    /// All bytes of `owner`.
    pub fn new(owner: impl Bytes + 'static) -> Self {
        let range = 0..owner.bytes().len();
        Self {
            owner: Arc::new(owner),
            range,
        }
    }

    /// A part of these bytes, or `None` if it does not lie inside them.
    #[must_use]
    pub fn slice(&self, part: Range<usize>) -> Option<Self> {
        let start = self.range.start.checked_add(part.start)?;
        let end = self.range.start.checked_add(part.end)?;
        (start <= end && end <= self.range.end).then(|| Self {
            owner: Arc::clone(&self.owner),
            range: start..end,
        })
    }

    /// The bytes.
    #[must_use]
    pub fn bytes(&self) -> &[u8] {
        self.owner
            .bytes()
            .get(self.range.clone())
            .unwrap_or_default()
    }

    /// Says that the bytes before `end` will hardly be read again.
    pub fn release_before(&self, end: usize) {
        let end = self.range.start.saturating_add(end);
        self.owner
            .release(self.range.start..end.min(self.range.end));
    }
}

impl std::fmt::Debug for Blob {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Blob({} bytes)", self.range.len())
    }
}

/// The type of a stored floating-point element, little-endian.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Element {
    /// 4 bytes.
    F32,
    /// 2 bytes, IEEE 754 binary16.
    F16,
    /// 2 bytes, the upper half of an f32.
    Bf16,
}

impl Element {
    /// Bytes per element.
    #[must_use]
    pub fn size(self) -> usize {
        match self {
            Self::F32 => 4,
            Self::F16 | Self::Bf16 => 2,
        }
    }

    /// Converts as many elements as both sides have.
    pub fn decode_into(self, bytes: &[u8], out: &mut [f32]) {
        match self {
            Self::F32 => {
                for (value, raw) in out.iter_mut().zip(bytes.as_chunks::<4>().0) {
                    *value = f32::from_le_bytes(*raw);
                }
            }
            Self::F16 => {
                for (value, raw) in out.iter_mut().zip(bytes.as_chunks::<2>().0) {
                    *value = half::f16::from_le_bytes(*raw).to_f32();
                }
            }
            Self::Bf16 => {
                for (value, raw) in out.iter_mut().zip(bytes.as_chunks::<2>().0) {
                    *value = half::bf16::from_le_bytes(*raw).to_f32();
                }
            }
        }
    }

    /// Converts all elements.
    #[must_use]
    pub fn decode(self, bytes: &[u8]) -> Vec<f32> {
        let mut out = vec![0.0; bytes.len() / self.size()];
        self.decode_into(bytes, &mut out);
        out
    }

    /// The index of the first element that is infinite or not a number.
    #[must_use]
    pub fn first_not_finite(self, bytes: &[u8]) -> Option<usize> {
        // Exactly such values have an exponent of all ones.
        let half = |exponent: u16| {
            let mut elements = bytes.as_chunks::<2>().0.iter();
            elements.position(|raw| u16::from_le_bytes(*raw) & exponent == exponent)
        };
        match self {
            Self::F32 => {
                let mut elements = bytes.as_chunks::<4>().0.iter();
                elements.position(|raw| !f32::from_le_bytes(*raw).is_finite())
            }
            Self::F16 => half(0x7c00),
            Self::Bf16 => half(0x7f80),
        }
    }
}

/// MLX's affine quantisation: element `i` of a row is `scale · q + bias` of its group, where `q`
/// stands at bits `i·bits ..` of the row's little-endian bit stream (layout of MLX 0.32.4,
/// `mlx.core.quantize`; widths of 3, 5 and 6 bits cross the bounds of bytes and words).
#[derive(Debug, Clone)]
pub struct Affine {
    /// Bits per element: 2, 3, 4, 5, 6 or 8.
    pub bits: usize,
    /// Consecutive elements of a row that share a scale and a bias: 32, 64 or 128.
    pub group_size: usize,
    /// Packed elements, `cols · bits / 8` bytes per row.
    pub packed: Blob,
    /// Scales, `[rows, cols / group_size]`.
    pub scales: Blob,
    /// Biases, same shape as the scales.
    pub biases: Blob,
    /// The type of scales and biases.
    pub element: Element,
}

/// A format of small floating-point elements whose groups share a scale of one byte and have no
/// bias (OCP Microscaling Formats 1.0 for the two `mx` formats; layout of MLX 0.32.4,
/// `mlx.core.quantize`).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Microformat {
    /// E2M1 elements, a power of two (E8M0) for each 32.
    Mxfp4,
    /// E2M1 elements, an E4M3 scale for each 16.
    Nvfp4,
    /// E4M3 elements, a power of two (E8M0) for each 32.
    Mxfp8,
}

impl Microformat {
    /// All formats.
    pub const ALL: [Self; 3] = [Self::Mxfp4, Self::Nvfp4, Self::Mxfp8];

    /// The name in `config.json`.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Mxfp4 => "mxfp4",
            Self::Nvfp4 => "nvfp4",
            Self::Mxfp8 => "mxfp8",
        }
    }

    /// Bits per element.
    #[must_use]
    pub fn bits(self) -> usize {
        match self {
            Self::Mxfp4 | Self::Nvfp4 => 4,
            Self::Mxfp8 => 8,
        }
    }

    /// Consecutive elements of a row that share a scale.
    #[must_use]
    pub fn group_size(self) -> usize {
        match self {
            Self::Nvfp4 => 16,
            Self::Mxfp4 | Self::Mxfp8 => 32,
        }
    }

    /// Whether a scale byte stands for a number: 255 in E8M0 does not, nor all ones below the sign
    /// in E4M3.
    #[must_use]
    pub fn is_scale_finite(self, scale: u8) -> bool {
        match self {
            Self::Nvfp4 => scale & 0x7f != 0x7f,
            Self::Mxfp4 | Self::Mxfp8 => scale != 0xff,
        }
    }
}

/// Elements in a [`Microformat`].
#[derive(Debug, Clone)]
pub struct Microscaled {
    /// Which format.
    pub format: Microformat,
    /// Packed elements, `cols · bits / 8` bytes per row, the earlier of two in the lower half of
    /// a byte.
    pub packed: Blob,
    /// Scales of one byte, `[rows, cols / group_size]`.
    pub scales: Blob,
}

/// A matrix as stored, `[rows, cols]`.
#[derive(Debug, Clone)]
pub enum MatrixData {
    /// One element after the other, row by row.
    Dense {
        /// Outputs.
        rows: usize,
        /// Inputs.
        cols: usize,
        /// The type of the elements.
        element: Element,
        /// The elements.
        data: Blob,
    },
    /// Quantised to integers.
    Affine {
        /// Outputs.
        rows: usize,
        /// Inputs.
        cols: usize,
        /// The packed elements.
        affine: Affine,
    },
    /// Quantised to small floating-point numbers.
    Microscaled {
        /// Outputs.
        rows: usize,
        /// Inputs.
        cols: usize,
        /// The packed elements.
        microscaled: Microscaled,
    },
}

impl MatrixData {
    /// Some of the rows, sharing the bytes.
    ///
    /// # Errors
    /// If the matrix has no such rows.
    pub fn rows(&self, range: Range<usize>) -> Result<Self, BackendError> {
        let all = match self {
            Self::Dense { rows, .. }
            | Self::Affine { rows, .. }
            | Self::Microscaled { rows, .. } => *rows,
        };
        let cut = |blob: &Blob| {
            let bytes = blob.bytes().len().checked_div(all)?;
            blob.slice(range.start.checked_mul(bytes)?..range.end.checked_mul(bytes)?)
        };
        let rows = range.end.saturating_sub(range.start);
        let part = match self {
            Self::Dense {
                cols,
                element,
                data,
                ..
            } => cut(data).map(|data| Self::Dense {
                rows,
                cols: *cols,
                element: *element,
                data,
            }),
            Self::Affine { cols, affine, .. } => cut(&affine.packed)
                .zip(cut(&affine.scales).zip(cut(&affine.biases)))
                .map(|(packed, (scales, biases))| Self::Affine {
                    rows,
                    cols: *cols,
                    affine: Affine {
                        packed,
                        scales,
                        biases,
                        ..*affine
                    },
                }),
            Self::Microscaled {
                cols, microscaled, ..
            } => cut(&microscaled.packed)
                .zip(cut(&microscaled.scales))
                .map(|(packed, scales)| Self::Microscaled {
                    rows,
                    cols: *cols,
                    microscaled: Microscaled {
                        packed,
                        scales,
                        ..*microscaled
                    },
                }),
        };
        part.ok_or_else(|| BackendError(format!("rows {range:?} of a matrix of {all} rows")))
    }

    /// How the elements are stored, for people: `4-bit, groups of 64`, `mxfp4`, `bf16`.
    #[must_use]
    pub fn description(&self) -> String {
        match self {
            Self::Dense { element, .. } => format!("{element:?}").to_lowercase(),
            Self::Affine { affine, .. } => {
                format!("{}-bit, groups of {}", affine.bits, affine.group_size)
            }
            Self::Microscaled { microscaled, .. } => microscaled.format.name().to_owned(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_slice_stays_inside_its_blob() {
        let blob = Blob::new(vec![1, 2, 3, 4]);
        let part = blob.slice(1..3).expect("inside");
        assert_eq!(part.bytes(), [2, 3]);
        assert_eq!(part.slice(1..2).expect("inside").bytes(), [3]);
        assert!(part.slice(1..3).is_none());
        assert!(blob.slice(2..usize::MAX).is_none());
    }

    #[test]
    fn infinities_and_nans_are_found_in_every_type() {
        let f32s = [1.0f32, f32::MAX, f32::NAN].map(f32::to_le_bytes).concat();
        assert_eq!(Element::F32.first_not_finite(&f32s), Some(2));
        assert_eq!(Element::F32.first_not_finite(&f32s[..8]), None);
        let f16s = [half::f16::MAX, half::f16::NEG_INFINITY].map(|x| x.to_le_bytes());
        assert_eq!(Element::F16.first_not_finite(&f16s.concat()), Some(1));
        let bf16s = [half::bf16::MIN, half::bf16::NAN].map(|x| x.to_le_bytes());
        assert_eq!(Element::Bf16.first_not_finite(&bf16s.concat()), Some(1));
    }

    #[test]
    fn rows_are_cut_out_of_every_part_of_a_matrix() {
        let matrix = MatrixData::Affine {
            rows: 3,
            cols: 32,
            affine: Affine {
                bits: 2,
                group_size: 32,
                packed: Blob::new((0..24).collect::<Vec<u8>>()),
                scales: Blob::new(vec![0, 1, 2, 3, 4, 5]),
                biases: Blob::new(vec![6, 7, 8, 9, 10, 11]),
                element: Element::F16,
            },
        };
        let MatrixData::Affine { rows, affine, .. } = matrix.rows(1..3).expect("inside") else {
            panic!("another storage");
        };
        assert_eq!(rows, 2);
        assert_eq!(affine.packed.bytes(), (8..24).collect::<Vec<u8>>());
        assert_eq!(affine.scales.bytes(), [2, 3, 4, 5]);
        assert_eq!(affine.biases.bytes(), [8, 9, 10, 11]);
        let problem = matrix.rows(2..4).expect_err("outside").0;
        assert_eq!(problem, "rows 2..4 of a matrix of 3 rows");
    }

    #[test]
    fn elements_decode() {
        assert_eq!(Element::F32.decode(&1.5f32.to_le_bytes()), [1.5]);
        assert_eq!(Element::F16.decode(&[0x00, 0x3e]), [1.5]);
        assert_eq!(Element::Bf16.decode(&[0xc0, 0x3f]), [1.5]);
    }
}
