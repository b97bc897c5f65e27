//! From `rope_theta` and `rope_scaling` to a rotation: every scaling of mlx-lm 0.32.2
//! (`models/rope_utils.py`), in f32 where MLX computes in f32 and in double precision where
//! Python does.

use std::f64::consts::PI;

use serde::Deserialize;
use serde_json::Value;

use crate::backend::{Rope, RopeLayout};

/// What a family knows about its rotation.
#[derive(Debug, Clone)]
pub(super) struct Rotation<'a> {
    /// Elements per head.
    pub(super) head_dim: usize,
    /// Elements of each head that turn.
    pub(super) dims: usize,
    /// Base of the wavelengths.
    pub(super) theta: f64,
    /// Whether neighbours turn together.
    pub(super) traditional: bool,
    /// `rope_scaling`, if there is one.
    pub(super) scaling: Option<&'a Value>,
    /// `max_position_embeddings`, if there is one.
    pub(super) max_positions: Option<usize>,
}

/// A rotation, and up to which position it is exact.
#[derive(Debug, Clone, PartialEq)]
pub(in crate::model) struct Rotary {
    pub(in crate::model) rope: Rope,
    /// Positions from here on would turn in a way that depends on how mlx-lm cut the prompt.
    pub(in crate::model) limit: Option<usize>,
}

/// `rope_scaling` as written; which fields matter depends on the type.
#[derive(Debug, Default, Deserialize)]
struct Scaling {
    r#type: Option<String>,
    rope_type: Option<String>,
    factor: Option<f64>,
    low_freq_factor: Option<f64>,
    high_freq_factor: Option<f64>,
    original_max_position_embeddings: Option<f64>,
    beta_fast: Option<f64>,
    beta_slow: Option<f64>,
    mscale: Option<f64>,
    mscale_all_dim: Option<f64>,
    long_factor: Option<Factors>,
    short_factor: Option<Factors>,
    partial_rotary_factor: Option<f64>,
    mrope_section: Option<Vec<usize>>,
}

#[derive(Debug, Deserialize)]
#[serde(untagged)]
enum Factors {
    One(f32),
    Many(Vec<f32>),
}

impl Rotation<'_> {
    /// # Errors
    /// If the scaling is unknown, lacks a field, or gives a rotation that is no number.
    pub(super) fn build(&self) -> Result<Rotary, String> {
        if !self.theta.is_finite() || self.theta <= 1.0 {
            return Err(format!("rope_theta is {}, but must be above 1", self.theta));
        }
        if self.dims == 0 || !self.dims.is_multiple_of(2) || self.dims > self.head_dim {
            return Err(format!(
                "{} of {} elements of a head would turn, but it must be an even number of them",
                self.dims, self.head_dim
            ));
        }
        let scaling = match self.scaling {
            Some(scaling) => {
                Scaling::deserialize(scaling).map_err(|error| format!("rope_scaling: {error}"))?
            }
            None => Scaling::default(),
        };
        let mut limit = None;
        let rope = match scaling.kind() {
            "default" => self.plain(),
            "linear" => Rope {
                position_scale: (1.0 / scaling.factor()?) as f32,
                ..self.plain()
            },
            "mrope" => match scaling.mrope_section {
                Some(sections) if sections.len() == 3 => self.plain(),
                _ => return Err("rope_scaling of type 'mrope' needs 3 mrope_section".to_owned()),
            },
            "dynamic" => {
                // Up to here the base is unchanged, whatever the factor.
                limit = Some(self.max_positions()?);
                scaling.factor()?;
                self.plain()
            }
            "llama3" => self.with_wavelengths(self.llama3(&scaling)?, 1.0),
            "yarn" | "deepseek_yarn" | "telechat3-yarn" => self.yarn(&scaling)?,
            "longrope" => {
                let original = scaling.original()?;
                self.longrope(&scaling, original)?
            }
            "proportional" => self.proportional(&scaling)?,
            other => {
                return Err(format!(
                    "rope_scaling of type '{other}' is not supported; default, linear, dynamic, llama3, yarn, longrope, proportional and mrope are"
                ));
            }
        };
        Rotary { rope, limit }.checked()
    }

    /// `SuScaledRoPE` as Phi-3 calls it, under either of its names and with the original length
    /// from the top of `config.json` (mlx-lm 0.32.2, `models/phi3.py`).
    ///
    /// # Errors
    /// As [`build`](Self::build).
    pub(super) fn build_su(&self, original: f64) -> Result<Rotary, String> {
        let scaling = Scaling::deserialize(self.scaling.unwrap_or(&Value::Null))
            .map_err(|error| format!("rope_scaling: {error}"))?;
        let rope = self.longrope(&scaling, original)?;
        Rotary { rope, limit: None }.checked()
    }

    fn plain(&self) -> Rope {
        Rope {
            head_dim: self.head_dim,
            layout: self.layout(),
            ..Rope::plain(self.dims, self.theta as f32)
        }
    }

    fn layout(&self) -> RopeLayout {
        match self.traditional {
            true => RopeLayout::Interleaved,
            false => RopeLayout::HalfSplit,
        }
    }

    fn max_positions(&self) -> Result<usize, String> {
        self.max_positions
            .filter(|positions| *positions > 0)
            .ok_or_else(|| {
                "max_position_embeddings is missing; this rope_scaling needs it".to_owned()
            })
    }

    /// `theta^(2i / dims)`, which MLX's `fast.rope` takes the reciprocals of.
    fn wavelengths(&self) -> Vec<f32> {
        (0..self.dims)
            .step_by(2)
            .map(|i| libm::powf(self.theta as f32, i as f32 / self.dims as f32))
            .collect()
    }

    fn with_wavelengths(&self, wavelengths: Vec<f32>, amplitude: f32) -> Rope {
        Rope {
            head_dim: self.head_dim,
            frequencies: wavelengths.into_iter().map(f32::recip).collect(),
            position_scale: 1.0,
            amplitude,
            layout: self.layout(),
        }
    }

    /// Long waves are stretched by the factor, short ones are not, and those between change over
    /// (`Llama3RoPE`).
    fn llama3(&self, scaling: &Scaling) -> Result<Vec<f32>, String> {
        let factor = scaling.factor()? as f32;
        let low = scaling.low_freq_factor.unwrap_or(1.0);
        let high = scaling.high_freq_factor.unwrap_or(4.0);
        let original = scaling.original_max_position_embeddings.unwrap_or(8192.0);
        let (longest, shortest) = ((original / low) as f32, (original / high) as f32);
        let stretched = self.wavelengths().into_iter().map(|wave| {
            let length = (2.0 * PI) as f32 * wave;
            if length > shortest && length < longest {
                let smooth = (original as f32 / length - low as f32) / (high - low) as f32;
                wave / ((1.0 - smooth) / factor + smooth)
            } else if length > longest {
                wave * factor
            } else {
                wave
            }
        });
        Ok(stretched.collect())
    }

    /// `YarnRoPE` (Peng et al. 2023).
    fn yarn(&self, scaling: &Scaling) -> Result<Rope, String> {
        let factor = scaling.factor()?;
        let original = scaling.original_max_position_embeddings.unwrap_or(4096.0);
        let correction = |rotations: f64| {
            self.dims as f64 * (original / (rotations * 2.0 * PI)).ln() / (2.0 * self.theta.ln())
        };
        let low = correction(scaling.beta_fast.unwrap_or(32.0))
            .floor()
            .max(0.0);
        let mut high = correction(scaling.beta_slow.unwrap_or(1.0))
            .ceil()
            .min(self.dims as f64 - 1.0);
        if low == high {
            high += 0.001;
        }
        let mscale = |mscale: f64| match factor <= 1.0 {
            true => 1.0,
            false => 0.1 * mscale * factor.ln() + 1.0,
        };
        let amplitude =
            mscale(scaling.mscale.unwrap_or(1.0)) / mscale(scaling.mscale_all_dim.unwrap_or(0.0));
        let wavelengths = self
            .wavelengths()
            .into_iter()
            .enumerate()
            .map(|(i, extra)| {
                let inter = factor as f32 * extra;
                let ramp = (i as f32 - low as f32) / (high - low) as f32;
                let mask = 1.0 - ramp.clamp(0.0, 1.0);
                inter * extra / (inter * mask + extra * (1.0 - mask))
            });
        Ok(self.with_wavelengths(wavelengths.collect(), amplitude as f32))
    }

    /// `SuScaledRoPE`: the long factors at every length, as in mlx-lm, and a factor on the
    /// elements that grows with the stretch. Half-split always.
    fn longrope(&self, scaling: &Scaling, original: f64) -> Result<Rope, String> {
        if scaling.short_factor.is_none() {
            return Err("rope_scaling has no short_factor".to_owned());
        }
        let pairs = self.dims / 2;
        let factors = match &scaling.long_factor {
            Some(Factors::One(factor)) => vec![*factor; pairs],
            Some(Factors::Many(factors)) if factors.len() == pairs => factors.clone(),
            Some(Factors::Many(factors)) => {
                return Err(format!(
                    "rope_scaling has {} long_factor, but {pairs} pairs turn",
                    factors.len()
                ));
            }
            None => return Err("rope_scaling has no long_factor".to_owned()),
        };
        let stretch = self.max_positions()? as f64 / original;
        let amplitude = match stretch <= 1.0 {
            true => 1.0,
            false => (1.0 + stretch.ln() / original.ln()).sqrt(),
        };
        let waves = self.wavelengths().into_iter().zip(factors);
        let wavelengths = waves.map(|(wave, factor)| factor * wave).collect();
        Ok(Rope {
            layout: RopeLayout::HalfSplit,
            ..self.with_wavelengths(wavelengths, amplitude as f32)
        })
    }

    /// `ProportionalRoPE`: only the first pairs turn, with wavelengths as if all did.
    fn proportional(&self, scaling: &Scaling) -> Result<Rope, String> {
        let share = scaling.partial_rotary_factor.unwrap_or(1.0);
        let rotated = (self.dims as f64 * share) as usize;
        if rotated == 0 || rotated > self.dims || !rotated.is_multiple_of(2) {
            return Err(format!(
                "rope_scaling has a partial_rotary_factor of {share}, which turns {rotated} of {} elements",
                self.dims
            ));
        }
        let factor = scaling.factor.unwrap_or(1.0) as f32;
        let mut rope = self.with_wavelengths(
            self.wavelengths()
                .into_iter()
                .map(|wave| factor * wave)
                .collect(),
            1.0,
        );
        // An infinite wavelength does not turn.
        rope.frequencies[rotated / 2..].fill(0.0);
        Ok(rope)
    }
}

impl Rotary {
    fn checked(self) -> Result<Self, String> {
        let rope = &self.rope;
        let finite = rope.frequencies.iter().all(|number| number.is_finite())
            && rope.position_scale.is_finite()
            && rope.amplitude.is_finite();
        match finite {
            true => Ok(self),
            false => Err("rope_scaling gives a rotation that is not a number".to_owned()),
        }
    }
}

impl Scaling {
    fn kind(&self) -> &str {
        let named = |name: &'_ Option<String>| name.clone().filter(|name| !name.is_empty());
        match (named(&self.r#type), named(&self.rope_type)) {
            (Some(_), _) => self.r#type.as_deref(),
            (None, _) => self.rope_type.as_deref(),
        }
        .unwrap_or("default")
    }

    fn factor(&self) -> Result<f64, String> {
        match self.factor {
            Some(factor) if factor.is_finite() && factor > 0.0 => Ok(factor),
            Some(factor) => Err(format!("rope_scaling has a factor of {factor}")),
            None => Err("rope_scaling has no factor".to_owned()),
        }
    }

    fn original(&self) -> Result<f64, String> {
        self.original_max_position_embeddings
            .ok_or_else(|| "rope_scaling has no original_max_position_embeddings".to_owned())
    }
}
