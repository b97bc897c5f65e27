//! Weights as they lie in a checkpoint: bytes, element types, and MLX's affine quantisation.
//!
//! Knows layouts and converts elements. Does not know names, files or what a matrix is for.

use std::ops::Range;
use std::sync::Arc;

/// A range of bytes that is cheap to clone: mapped from a file, compiled in, or owned.
#[derive(Clone)]
pub struct Blob {
    owner: Arc<dyn AsRef<[u8]> + Send + Sync>,
    range: Range<usize>,
}

impl Blob {
    /// All bytes of `owner`.
    pub fn new(owner: impl AsRef<[u8]> + Send + Sync + 'static) -> Self {
        let range = 0..owner.as_ref().len();
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
        (*self.owner)
            .as_ref()
            .get(self.range.clone())
            .unwrap_or_default()
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
}

/// MLX's affine quantisation: element `i` of a row is `scale · q + bias` of its group, where `q`
/// stands at bits `i·bits ..` of the row's little-endian bit stream (layout of MLX 0.32.2,
/// `mlx.core.quantize`).
#[derive(Debug, Clone)]
pub struct Affine {
    /// Bits per element.
    pub bits: usize,
    /// Consecutive elements of a row that share a scale and a bias.
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
    /// Quantised.
    Affine {
        /// Outputs.
        rows: usize,
        /// Inputs.
        cols: usize,
        /// The packed elements.
        affine: Affine,
    },
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
    fn elements_decode() {
        assert_eq!(Element::F32.decode(&1.5f32.to_le_bytes()), [1.5]);
        assert_eq!(Element::F16.decode(&[0x00, 0x3e]), [1.5]);
        assert_eq!(Element::Bf16.decode(&[0xc0, 0x3f]), [1.5]);
    }
}
