//! Sizes and stored elements as MLX takes them.
//!
//! MLX counts in `i32`, so everything that comes from a checkpoint or a request is checked here
//! before it gets there.

use mlx_rs::Array;

use super::super::{BackendError, Blob, Element};

/// A size or index.
pub(super) fn index(size: usize) -> Result<i32, BackendError> {
    i32::try_from(size).map_err(|_| BackendError(format!("{size} is more than MLX counts to")))
}

/// The shape of a new array. MLX itself would take larger ones, `mlx-rs` does not.
pub(super) fn shape<const N: usize>(sizes: [usize; N]) -> Result<[i32; N], BackendError> {
    let elements = sizes
        .iter()
        .try_fold(1, |all: usize, size| all.checked_mul(*size));
    index(elements.unwrap_or(usize::MAX))?;
    let mut shape = [0; N];
    for (place, size) in shape.iter_mut().zip(sizes) {
        *place = index(size)?;
    }
    Ok(shape)
}

/// A matrix of floating-point elements, in their stored type.
pub(super) fn elements(
    element: Element,
    data: &Blob,
    [rows, cols]: [usize; 2],
) -> Result<Array, BackendError> {
    let shape = shape([rows, cols])?;
    let bytes = data.bytes();
    check_length(bytes, rows * cols * element.size())?;
    let halves = || bytes.as_chunks::<2>().0.iter().copied();
    Ok(match element {
        Element::F32 => Array::from_slice(&element.decode(bytes), &shape),
        Element::F16 => Array::from_iter(halves().map(half::f16::from_le_bytes), &shape),
        Element::Bf16 => Array::from_iter(halves().map(half::bf16::from_le_bytes), &shape),
    })
}

/// Packed elements as the words of 32 bits that MLX's quantisation is made of.
pub(super) fn words(data: &Blob, [rows, cols]: [usize; 2]) -> Result<Array, BackendError> {
    let shape = shape([rows, cols])?;
    let bytes = data.bytes();
    check_length(bytes, rows * cols * 4)?;
    let words = bytes.as_chunks::<4>().0.iter().copied();
    Ok(Array::from_iter(words.map(u32::from_le_bytes), &shape))
}

/// Scales of one byte.
pub(super) fn bytes(data: &Blob, [rows, cols]: [usize; 2]) -> Result<Array, BackendError> {
    let shape = shape([rows, cols])?;
    check_length(data.bytes(), rows * cols)?;
    Ok(Array::from_slice(data.bytes(), &shape))
}

fn check_length(bytes: &[u8], expected: usize) -> Result<(), BackendError> {
    match bytes.len() == expected {
        true => Ok(()),
        false => Err(BackendError(format!(
            "a matrix has {} bytes instead of {expected}",
            bytes.len()
        ))),
    }
}
