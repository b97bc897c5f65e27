//! The tensors of a checkpoint, by name, with their shapes checked against the bytes.

use std::collections::HashMap;

use safetensors::{Dtype, SafeTensors};

use super::{ModelError, ModelFiles};
use crate::backend::{Affine, Blob, Element, MatrixData};

/// All tensors of a model.
#[derive(Debug)]
pub struct Checkpoint {
    tensors: HashMap<String, Tensor>,
    /// The file to name when a tensor is missing.
    first_file: String,
    /// Elements of all floating-point tensors, counted before quantisation.
    parameters: u64,
}

#[derive(Debug)]
struct Tensor {
    file: String,
    dtype: Dtype,
    shape: Vec<usize>,
    data: Blob,
}

impl Checkpoint {
    /// Reads the headers of all weight files. Elements stay on disk until they are used.
    ///
    /// # Errors
    /// If a file is truncated or corrupt, or two files hold a tensor of the same name.
    pub fn open(files: &ModelFiles) -> Result<Self, ModelError> {
        let mut tensors = HashMap::new();
        let weights = files.weights()?;
        let first_file = weights.first().map(|(file, _)| file.clone());
        for (file, blob) in weights {
            for (name, tensor) in read_header(&file, &blob)? {
                if let Some(other) = tensors.insert(name.clone(), tensor) {
                    return Err(ModelError::Tensor {
                        file,
                        tensor: name,
                        problem: format!("stands in {} as well", other.file),
                    });
                }
            }
        }
        Ok(Self {
            tensors,
            first_file: first_file.unwrap_or_default(),
            parameters: 0,
        })
    }

    /// Parameters of the matrices and vectors taken so far, each quantised element counted once.
    #[must_use]
    pub fn parameters(&self) -> u64 {
        self.parameters
    }

    /// How the matrix `path` with `cols` columns is stored, for people: `4-bit, groups of 64`,
    /// or an element type.
    #[must_use]
    pub fn storage(&self, path: &str, cols: usize) -> String {
        let shape = |name: &str| {
            let tensor = self.tensors.get(&format!("{path}.{name}"))?;
            Some((tensor.dtype, *tensor.shape.last()?))
        };
        match (shape("weight"), shape("scales")) {
            (Some((_, packed)), Some((_, groups))) if groups > 0 => {
                format!("{}-bit, groups of {}", packed * 32 / cols, cols / groups)
            }
            (Some((dtype, _)), _) => format!("{dtype:?}").to_lowercase(),
            _ => "unknown storage".to_owned(),
        }
    }

    /// What is to blame if a model's logits are not numbers: the first tensor, by name, that
    /// holds such a value. Reads all weights, so it is for that case only.
    #[must_use]
    pub fn not_finite(&self) -> Option<ModelError> {
        /// Elements looked at together, so that no tensor is decoded whole.
        const STEP: usize = 1 << 16;

        let mut tensors: Vec<(&String, &Tensor)> = self.tensors.iter().collect();
        tensors.sort_by_key(|(name, _)| *name);
        tensors.into_iter().find_map(|(name, tensor)| {
            let element = tensor.element(name).ok()?;
            let chunks = tensor.data.bytes().chunks(STEP * element.size());
            let (at, value) = chunks.enumerate().find_map(|(chunk, bytes)| {
                let values = element.decode(bytes);
                let at = values.iter().position(|value| !value.is_finite())?;
                Some((chunk * STEP + at, values[at]))
            })?;
            Some(tensor.problem(name, format!("holds {value} at element {at}")))
        })
    }

    /// Whether there is a tensor of this name.
    #[must_use]
    pub fn has(&self, name: &str) -> bool {
        self.tensors.contains_key(name)
    }

    /// A vector of `length` floating-point elements.
    ///
    /// # Errors
    /// If it is missing, has another shape, or holds another type.
    pub fn vector(&mut self, name: &str, length: usize) -> Result<Vec<f32>, ModelError> {
        let tensor = self.shaped(name, &[length])?;
        let element = tensor.element(name)?;
        let values = element.decode(tensor.data.bytes());
        self.parameters += length as u64;
        Ok(values)
    }

    /// The matrix `<path>.weight` of shape `[rows, cols]`: dense, or quantised if there are
    /// `<path>.scales`.
    ///
    /// # Errors
    /// If a tensor is missing, has another shape, or holds another type.
    pub fn matrix(
        &mut self,
        path: &str,
        rows: usize,
        cols: usize,
    ) -> Result<MatrixData, ModelError> {
        let matrix = if self.has(&format!("{path}.scales")) {
            self.affine(path, rows, cols)?
        } else {
            let name = format!("{path}.weight");
            let tensor = self.shaped(&name, &[rows, cols])?;
            MatrixData::Dense {
                rows,
                cols,
                element: tensor.element(&name)?,
                data: tensor.data.clone(),
            }
        };
        self.parameters += (rows * cols) as u64;
        Ok(matrix)
    }

    /// Bits and group size follow from the shapes: `bits = packed columns · 32 / cols`,
    /// `group = cols / scale columns` (mlx-lm 0.32.2, `utils.py`).
    fn affine(&self, path: &str, rows: usize, cols: usize) -> Result<MatrixData, ModelError> {
        let weight_name = format!("{path}.weight");
        let scales_name = format!("{path}.scales");
        let weight = self.tensor(&weight_name)?;
        let scales = self.tensor(&scales_name)?;
        let [packed_rows, packed_cols] = weight.shape[..] else {
            return Err(weight.problem(&weight_name, "is not a matrix"));
        };
        let [_, groups] = scales.shape[..] else {
            return Err(scales.problem(&scales_name, "is not a matrix"));
        };
        let bits = packed_cols * 32 / cols;
        let fits = packed_rows == rows && bits * cols == packed_cols * 32;
        if weight.dtype != Dtype::U32 || !fits {
            let problem = format!(
                "is {:?} of shape {:?}, but a quantised matrix of {rows} by {cols} is U32 of shape [{rows}, {cols} * bits / 32]",
                weight.dtype, weight.shape
            );
            return Err(weight.problem(&weight_name, problem));
        }
        if scales.dtype == Dtype::U8 {
            let problem = "is U8: the modes mxfp4, mxfp8 and nvfp4 are not supported";
            return Err(scales.problem(&scales_name, problem));
        }
        if groups == 0 || !cols.is_multiple_of(groups) {
            let problem = format!("has {groups} groups, which do not divide {cols} columns");
            return Err(scales.problem(&scales_name, problem));
        }
        if !matches!(bits, 4 | 8) {
            let problem =
                format!("is quantised to {bits} bits, which is not supported; 4 and 8 are");
            return Err(weight.problem(&weight_name, problem));
        }
        let element = scales.element(&scales_name)?;
        let biases_name = format!("{path}.biases");
        let scales = self.shaped(&scales_name, &[rows, groups])?;
        let biases = self.shaped(&biases_name, &[rows, groups])?;
        if biases.dtype != scales.dtype {
            return Err(biases.problem(&biases_name, "has another type than the scales"));
        }
        Ok(MatrixData::Affine {
            rows,
            cols,
            affine: Affine {
                bits,
                group_size: cols / groups,
                packed: weight.data.clone(),
                scales: scales.data.clone(),
                biases: biases.data.clone(),
                element,
            },
        })
    }

    fn tensor(&self, name: &str) -> Result<&Tensor, ModelError> {
        self.tensors.get(name).ok_or_else(|| ModelError::Tensor {
            file: self.first_file.clone(),
            tensor: name.to_owned(),
            problem: "is missing".to_owned(),
        })
    }

    fn shaped(&self, name: &str, shape: &[usize]) -> Result<&Tensor, ModelError> {
        let tensor = self.tensor(name)?;
        if tensor.shape == shape {
            Ok(tensor)
        } else {
            let problem = format!(
                "has shape {:?}, but config.json needs {shape:?}",
                tensor.shape
            );
            Err(tensor.problem(name, problem))
        }
    }
}

impl Tensor {
    fn element(&self, name: &str) -> Result<Element, ModelError> {
        match self.dtype {
            Dtype::F32 => Ok(Element::F32),
            Dtype::F16 => Ok(Element::F16),
            Dtype::BF16 => Ok(Element::Bf16),
            other => Err(self.problem(
                name,
                format!("has type {other:?}; supported are F32, F16 and BF16"),
            )),
        }
    }

    fn problem(&self, name: &str, problem: impl Into<String>) -> ModelError {
        ModelError::Tensor {
            file: self.file.clone(),
            tensor: name.to_owned(),
            problem: problem.into(),
        }
    }
}

/// The tensors of one file, by name. The `safetensors` crate checks that each lies inside the file and
/// that its length agrees with its shape and type.
fn read_header(file: &str, blob: &Blob) -> Result<Vec<(String, Tensor)>, ModelError> {
    let bytes = blob.bytes();
    let parsed = SafeTensors::deserialize(bytes).map_err(|error| {
        let problem = format!("not a complete safetensors file ({error}); fetch it again");
        ModelError::file(file, problem)
    })?;
    let mut views = parsed.tensors();
    // So that the same file always gives the same error.
    views.sort_by(|(one, _), (other, _)| one.cmp(other));
    views
        .into_iter()
        .map(|(name, view)| {
            let start = view.data().as_ptr().addr() - bytes.as_ptr().addr();
            let data = blob.slice(start..start + view.data().len());
            let data = data.ok_or_else(|| ModelError::Tensor {
                file: file.to_owned(),
                tensor: name.clone(),
                problem: "lies outside its file".to_owned(),
            })?;
            Ok((
                name,
                Tensor {
                    file: file.to_owned(),
                    dtype: view.dtype(),
                    shape: view.shape().to_vec(),
                    data,
                },
            ))
        })
        .collect()
}
