//! Activation functions and caps, element by element.

use std::cell::RefCell;

use mlx_rs::Array;
use mlx_rs::error::Exception;
use mlx_rs::ops::{erf, sigmoid, tanh};
use mlx_rs::transforms::compile::compile;

use crate::backend::Activation;

type Compiled = Box<dyn for<'a> FnMut((&'a Array, &'a Array)) -> Result<Array, Exception>>;

/// The gates of feed-forward layers, compiled: on a GPU each is one kernel instead of one for
/// every operation in its formula. MLX compiles at the first call.
pub(super) struct Gates {
    silu: RefCell<Compiled>,
    gelu: RefCell<Compiled>,
    gelu_tanh: RefCell<Compiled>,
}

impl Gates {
    pub(super) fn new() -> Self {
        let compiled = |activation| -> RefCell<Compiled> {
            let formula = move |(gate, up): (&Array, &Array)| gated(gate, up, activation);
            // Shapeless: one program for any number of rows.
            RefCell::new(Box::new(compile(formula, true)))
        };
        Self {
            silu: compiled(Activation::Silu),
            gelu: compiled(Activation::Gelu),
            gelu_tanh: compiled(Activation::GeluTanh),
        }
    }

    /// `activation(gate) · up`.
    pub(super) fn apply(
        &self,
        gate: &Array,
        up: &Array,
        activation: Activation,
    ) -> Result<Array, Exception> {
        let compiled = match activation {
            Activation::Silu => &self.silu,
            Activation::Gelu => &self.gelu,
            Activation::GeluTanh => &self.gelu_tanh,
        };
        (compiled.borrow_mut())((gate, up))
    }
}

fn gated(gate: &Array, up: &Array, activation: Activation) -> Result<Array, Exception> {
    let number = Array::from_f32;
    let active = match activation {
        Activation::Silu => gate.multiply(sigmoid(gate)?)?,
        Activation::Gelu => {
            let inner = gate.multiply(number(std::f32::consts::FRAC_1_SQRT_2))?;
            let both = gate.multiply(erf(&inner)?.add(number(1.0))?)?;
            both.multiply(number(0.5))?
        }
        Activation::GeluTanh => {
            let cube = gate.multiply(gate)?.multiply(gate)?;
            let inner = gate.add(cube.multiply(number(0.044_715))?)?;
            let inner = inner.multiply(number((2.0 / std::f32::consts::PI).sqrt()))?;
            let half = gate.multiply(number(0.5))?;
            half.multiply(tanh(&inner)?.add(number(1.0))?)?
        }
    };
    active.multiply(up)
}

/// `cap · tanh(x / cap)`.
pub(super) fn softcap(x: &Array, cap: f32) -> Result<Array, Exception> {
    let cap = Array::from_f32(cap);
    tanh(x.divide(&cap)?)?.multiply(&cap)
}
