//! From the tensors of a quantised matrix to its packed form: `weight`, `scales` and, if it is
//! affine, `biases`.
//!
//! Where `config.json` does not name the matrix, the shapes decide, as in mlx-lm 0.32.2
//! (`utils.py`, `infer_quant_config`): `bits = packed columns · 32 / columns`,
//! `group = columns / scale columns`, and scales of one byte mean a floating-point format.

use safetensors::Dtype;

use super::ModelError;
use super::checkpoint::{Checkpoint, Tensor};
use super::quantization::{Packing, Ruling};
use crate::backend::{Affine, Blob, Element, MatrixData, Microscaled};

/// The names of the tensors of one matrix.
struct Names {
    weight: String,
    scales: String,
    biases: String,
}

impl Checkpoint {
    /// Whether the matrix `path` is packed, and how; `None` if it is dense.
    ///
    /// # Errors
    /// If the configuration and the tensors do not agree.
    pub(super) fn packing(&self, path: &str, cols: usize) -> Result<Option<Packing>, ModelError> {
        let scales_name = format!("{path}.scales");
        let weight_name = format!("{path}.weight");
        let has_scales = self.has(&scales_name);
        let Some(quantization) = self.quantization() else {
            return match has_scales {
                false => Ok(None),
                true => {
                    let problem = "is there, but config.json has no 'quantization'; add it, with group_size and bits";
                    Err(self.tensor(&scales_name)?.problem(&scales_name, problem))
                }
            };
        };
        match (quantization.ruling(path), has_scales) {
            (Ruling::Dense | Ruling::Infer, false) => Ok(None),
            (Ruling::Dense, true) => {
                let problem = "is there, but config.json says that the matrix is not quantised";
                Err(self.tensor(&scales_name)?.problem(&scales_name, problem))
            }
            (Ruling::Packed(packing), _) => Ok(Some(packing)),
            (Ruling::Infer, true) => {
                let weight = self.tensor(&weight_name)?;
                let scales = self.tensor(&scales_name)?;
                infer(weight, scales, cols)
                    .map(Some)
                    .map_err(|problem| weight.problem(&weight_name, problem))
            }
        }
    }

    /// The matrix `path` of shape `[rows, cols]`, packed in this way.
    ///
    /// # Errors
    /// If a tensor is missing, has another shape or type, or a scale is no finite number.
    pub(super) fn packed(
        &mut self,
        path: &str,
        [rows, cols]: [usize; 2],
        packing: Packing,
    ) -> Result<MatrixData, ModelError> {
        let names = Names {
            weight: format!("{path}.weight"),
            scales: format!("{path}.scales"),
            biases: format!("{path}.biases"),
        };
        let (bits, group) = (packing.bits(), packing.group_size());
        if !cols.is_multiple_of(group) {
            let problem = format!("has {cols} columns, which groups of {group} do not divide");
            return Err(self.tensor(&names.weight)?.problem(&names.weight, problem));
        }
        let weight = self.shaped(&names.weight, &[rows, cols * bits / 32])?;
        if weight.dtype != Dtype::U32 {
            let problem = format!("has type {:?}, but packed elements are U32", weight.dtype);
            return Err(weight.problem(&names.weight, problem));
        }
        let packed = weight.data.clone();
        let shape = [rows, cols / group];
        match packing {
            Packing::Affine { bits, group_size } => {
                let (element, [scales, biases]) = self.scales_and_biases(&names, &shape)?;
                let affine = Affine {
                    bits,
                    group_size,
                    packed,
                    scales,
                    biases,
                    element,
                };
                Ok(MatrixData::Affine { rows, cols, affine })
            }
            Packing::Micro(format) => {
                let scales = self.shaped(&names.scales, &shape)?;
                if scales.dtype != Dtype::U8 {
                    let problem = format!(
                        "has type {:?}, but the scales of {} are U8",
                        scales.dtype,
                        format.name()
                    );
                    return Err(scales.problem(&names.scales, problem));
                }
                let bytes = scales.data.bytes();
                if let Some(index) = bytes.iter().position(|b| !format.is_scale_finite(*b)) {
                    return Err(not_finite(scales, &names.scales, index));
                }
                Ok(MatrixData::Microscaled {
                    rows,
                    cols,
                    microscaled: Microscaled {
                        format,
                        packed,
                        scales: scales.data.clone(),
                    },
                })
            }
        }
    }

    fn scales_and_biases(
        &mut self,
        names: &Names,
        shape: &[usize],
    ) -> Result<(Element, [Blob; 2]), ModelError> {
        let mut read = |name: &str| {
            let tensor = self.shaped(name, shape)?;
            let element = tensor.element(name)?;
            match element.first_not_finite(tensor.data.bytes()) {
                Some(index) => Err(not_finite(tensor, name, index)),
                None => Ok((element, tensor.data.clone())),
            }
        };
        let (element, scales) = read(&names.scales)?;
        let (bias_element, biases) = read(&names.biases)?;
        if bias_element != element {
            let problem = "has another type than the scales";
            return Err(self.tensor(&names.biases)?.problem(&names.biases, problem));
        }
        Ok((element, [scales, biases]))
    }
}

fn not_finite(tensor: &Tensor, name: &str, index: usize) -> ModelError {
    let problem = format!("has an element, number {index}, that is infinite or not a number");
    tensor.problem(name, problem)
}

fn infer(weight: &Tensor, scales: &Tensor, cols: usize) -> Result<Packing, String> {
    let (&[_, packed_cols], &[_, groups]) = (&weight.shape[..], &scales.shape[..]) else {
        return Err("or its scales are not a matrix".to_owned());
    };
    let packed_bits = packed_cols
        .checked_mul(32)
        .filter(|bits| weight.dtype == Dtype::U32 && bits.is_multiple_of(cols));
    let Some(packed_bits) = packed_bits else {
        return Err(format!(
            "is {:?} of shape {:?}, but a quantised matrix of {cols} columns is U32 with {cols} * bits / 32 of them",
            weight.dtype, weight.shape
        ));
    };
    let bits = packed_bits / cols;
    if groups == 0 || !cols.is_multiple_of(groups) {
        return Err(format!(
            "has {groups} groups, which do not divide {cols} columns"
        ));
    }
    match scales.dtype {
        Dtype::U8 => Packing::micro(bits, cols / groups),
        _ => Packing::affine(bits, cols / groups),
    }
    .map_err(|problem| format!("is quantised in an unknown way: {problem}"))
}
