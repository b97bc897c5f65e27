//! The tensors of a checkpoint, by name, with their shapes checked against the bytes.
//!
//! Knows names, shapes and types, and which tensors were used. Does not know what they mean.

use std::collections::{BTreeMap, HashMap, HashSet};

use safetensors::{Dtype, SafeTensors};

use super::quantization::Quantization;
use super::{ModelError, ModelFiles};
use crate::backend::{Blob, Element, MatrixData};

/// All tensors of a model.
#[derive(Debug)]
pub struct Checkpoint {
    tensors: HashMap<String, Tensor>,
    /// The file to name when a tensor is missing.
    first_file: String,
    quantization: Option<Quantization>,
    /// The names of the tensors taken so far.
    taken: HashSet<String>,
    /// Elements of the matrices and vectors taken so far, counted before quantisation.
    parameters: u64,
    /// Elements of the matrices taken so far, by the description of their storage.
    storage: BTreeMap<String, u64>,
}

#[derive(Debug)]
pub(super) struct Tensor {
    file: String,
    pub(super) dtype: Dtype,
    pub(super) shape: Vec<usize>,
    pub(super) data: Blob,
}

impl Checkpoint {
    /// Reads the headers of all weight files. Elements stay on disk until they are used.
    ///
    /// # Errors
    /// If a file is truncated or corrupt, or two files hold a tensor of the same name.
    pub fn open(
        files: &ModelFiles,
        quantization: Option<Quantization>,
    ) -> Result<Self, ModelError> {
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
            quantization,
            taken: HashSet::new(),
            parameters: 0,
            storage: BTreeMap::new(),
        })
    }

    /// Parameters of the matrices and vectors taken so far, each quantised element counted once.
    #[must_use]
    pub fn parameters(&self) -> u64 {
        self.parameters
    }

    /// How most elements of the matrices taken so far are stored, for people: `4-bit, groups of
    /// 64`, or an element type; and whether there are others.
    #[must_use]
    pub fn storage(&self) -> String {
        let most = self.storage.iter().max_by_key(|(_, elements)| **elements);
        match (most, self.storage.len()) {
            (Some((name, _)), 1) => name.clone(),
            (Some((name, _)), _) => format!("mostly {name}"),
            (None, _) => "no matrices".to_owned(),
        }
    }

    pub(super) fn quantization(&self) -> Option<&Quantization> {
        self.quantization.as_ref()
    }

    /// Refuses a checkpoint with tensors that were never taken, except where `dropped` says that
    /// mlx-lm drops them by name: a bias that nobody adds gives other tokens, silently.
    ///
    /// # Errors
    /// If a tensor is left over.
    pub fn refuse_left_over(&self, dropped: impl Fn(&str) -> bool) -> Result<(), ModelError> {
        let mut left: Vec<_> = self
            .tensors
            .iter()
            .filter(|(name, _)| !self.taken.contains(*name) && !dropped(name))
            .collect();
        left.sort_by_key(|(name, _)| *name);
        match left.first() {
            Some((name, tensor)) => {
                let others = match left.len() - 1 {
                    0 => String::new(),
                    others => format!(" (and {others} more)"),
                };
                let problem = format!(
                    "is in the file, but a model of this config.json has no place for it{others}"
                );
                Err(tensor.problem(name, problem))
            }
            None => Ok(()),
        }
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
        let bytes = tensor.data.bytes();
        if let Some(index) = element.first_not_finite(bytes) {
            let problem =
                format!("has an element, number {index}, that is infinite or not a number");
            return Err(tensor.problem(name, problem));
        }
        let values = element.decode(bytes);
        self.parameters += length as u64;
        Ok(values)
    }

    /// The matrix `<path>.weight` of shape `[rows, cols]`: dense, or quantised as the
    /// configuration or the shapes say.
    ///
    /// # Errors
    /// If a tensor is missing, has another shape, or holds another type.
    pub fn matrix(
        &mut self,
        path: &str,
        rows: usize,
        cols: usize,
    ) -> Result<MatrixData, ModelError> {
        let matrix = match self.packing(path, cols)? {
            Some(packing) => self.packed(path, [rows, cols], packing)?,
            None => {
                let name = format!("{path}.weight");
                let tensor = self.shaped(&name, &[rows, cols])?;
                MatrixData::Dense {
                    rows,
                    cols,
                    element: tensor.element(&name)?,
                    data: tensor.data.clone(),
                }
            }
        };
        let elements = (rows * cols) as u64;
        self.parameters += elements;
        *self.storage.entry(matrix.description()).or_default() += elements;
        Ok(matrix)
    }

    /// A tensor, without taking it.
    pub(super) fn tensor(&self, name: &str) -> Result<&Tensor, ModelError> {
        self.tensors.get(name).ok_or_else(|| ModelError::Tensor {
            file: self.first_file.clone(),
            tensor: name.to_owned(),
            problem: "is missing".to_owned(),
        })
    }

    /// Takes a tensor of this shape.
    pub(super) fn shaped(&mut self, name: &str, shape: &[usize]) -> Result<&Tensor, ModelError> {
        self.taken.insert(name.to_owned());
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
    pub(super) fn element(&self, name: &str) -> Result<Element, ModelError> {
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

    pub(super) fn problem(&self, name: &str, problem: impl Into<String>) -> ModelError {
        ModelError::Tensor {
            file: self.file.clone(),
            tensor: name.to_owned(),
            problem: problem.into(),
        }
    }
}

/// The tensors of one file. The `safetensors` crate checks that each lies inside the file and
/// that its length agrees with its shape and type.
fn read_header(file: &str, blob: &Blob) -> Result<Vec<(String, Tensor)>, ModelError> {
    let bytes = blob.bytes();
    let parsed = SafeTensors::deserialize(bytes).map_err(|error| {
        let problem = format!("not a complete safetensors file ({error}); fetch it again");
        ModelError::file(file, problem)
    })?;
    parsed
        .tensors()
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
