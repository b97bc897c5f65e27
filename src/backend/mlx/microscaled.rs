//! Matrices of small floating-point elements: MLX's modes `mxfp4`, `nvfp4` and `mxfp8`.
//!
//! mlx-rs 0.33.0 multiplies in the affine mode only, so this calls the C interface below it. Its
//! errors come back as a status, because mlx-rs has installed its handler by then: `Mlx::new` asks
//! for the device first.

use mlx_rs::{Array, Stream};
use mlx_sys::{mlx_array, mlx_optional_dtype, mlx_optional_int};

use super::convert::{bytes, words};
use crate::backend::{BackendError, Microformat, Microscaled};

/// Weights whose groups share a scale of one byte, `[outputs, inputs]`.
#[derive(Debug)]
pub(super) struct Packed {
    format: Microformat,
    packed: Array,
    scales: Array,
}

impl Packed {
    pub(super) fn new(data: &Microscaled, [rows, cols]: [usize; 2]) -> Result<Self, BackendError> {
        let Microscaled { format, .. } = *data;
        Ok(Self {
            format,
            packed: words(&data.packed, [rows, cols * format.bits() / 32])?,
            scales: bytes(&data.scales, [rows, cols / format.group_size()])?,
        })
    }

    fn mode(&self) -> &'static std::ffi::CStr {
        match self.format {
            Microformat::Mxfp4 => c"mxfp4",
            Microformat::Nvfp4 => c"nvfp4",
            Microformat::Mxfp8 => c"mxfp8",
        }
    }

    /// Group size and bits.
    fn sizes(&self) -> [mlx_optional_int; 2] {
        // Both are below 64.
        [self.format.group_size(), self.format.bits()].map(|value| mlx_optional_int {
            value: value as i32,
            has_value: true,
        })
    }

    /// `x · wᵀ`, f32.
    #[expect(unsafe_code, reason = "mlx-rs has no safe call for this mode")]
    pub(super) fn product(&self, x: &Array) -> Result<Array, BackendError> {
        let stream = Stream::thread_local_or_default();
        let [group_size, bits] = self.sizes();
        // SAFETY: the arrays and the stream are borrowed handles that live until the call returns;
        // an empty array is how the C interface spells "no biases"; the mode ends with a NUL;
        // `result` is the fresh handle that `owned` hands over.
        owned(|result| unsafe {
            mlx_sys::mlx_quantized_matmul(
                result,
                x.as_ptr(),
                self.packed.as_ptr(),
                self.scales.as_ptr(),
                mlx_sys::mlx_array_new(),
                true,
                group_size,
                bits,
                self.mode().as_ptr(),
                stream.as_ptr(),
            )
        })
    }

    /// The rows with these indices, f32.
    #[expect(unsafe_code, reason = "mlx-rs has no safe call for this mode")]
    pub(super) fn rows_of(&self, rows: &Array) -> Result<Array, BackendError> {
        let packed = self.packed.take_axis(rows, 0)?;
        let scales = self.scales.take_axis(rows, 0)?;
        let stream = Stream::thread_local_or_default();
        let [group_size, bits] = self.sizes();
        let f32 = mlx_optional_dtype {
            value: mlx_sys::mlx_dtype__MLX_FLOAT32,
            has_value: true,
        };
        // SAFETY: as in `product`; the two empty arrays say "no biases" and "no global scale".
        owned(|result| unsafe {
            mlx_sys::mlx_dequantize(
                result,
                packed.as_ptr(),
                scales.as_ptr(),
                mlx_sys::mlx_array_new(),
                group_size,
                bits,
                self.mode().as_ptr(),
                mlx_sys::mlx_array_new(),
                f32,
                stream.as_ptr(),
            )
        })
    }
}

/// The array that a call of the C interface makes.
#[expect(unsafe_code, reason = "the call fills a handle of the C interface")]
fn owned(call: impl FnOnce(*mut mlx_array) -> i32) -> Result<Array, BackendError> {
    // SAFETY: makes an empty handle, which owns nothing yet.
    let mut result = unsafe { mlx_sys::mlx_array_new() };
    let status = call(&raw mut result);
    // SAFETY: the handle is this function's own, empty or filled by the call, and is given away
    // once: the array frees it.
    let array = unsafe { Array::from_ptr(result) };
    match status {
        0 => Ok(array),
        _ => Err(BackendError(
            "MLX refuses a product with microscaled weights".to_owned(),
        )),
    }
}
