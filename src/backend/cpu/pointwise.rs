//! Operations that treat each row, head or element on its own: norms, rotations, activations.

use super::buffer::Buffer;
use super::kernels::pointwise::{RmsNorm, SiluGate, TurnHalves, turn_pair};
use super::pool::Pool;
use super::{Activation, Rope, Tensor};
use crate::backend::RopeLayout;
use crate::simd::Isa;

/// Elements from which on several threads compute exponentials.
const PARALLEL_FROM: usize = 1 << 13;

/// See [`Backend::rms_norm`](super::Backend::rms_norm).
pub(super) fn rms_norm(x: &Tensor, weight: &[f32], eps: f32, isa: Isa) -> Tensor {
    let mut data = Buffer::unwritten(x.data.len());
    isa.run(RmsNorm {
        x: &x.data,
        weight,
        eps,
        out: &mut data,
    });
    Tensor {
        width: x.width,
        data,
    }
}

/// Sines and cosines for some rows.
#[derive(Debug)]
pub struct Rotation {
    head_dim: usize,
    amplitude: f32,
    layout: RopeLayout,
    pairs: usize,
    /// The sine of each pair, row by row.
    sines: Vec<f32>,
    /// The cosine of each pair, row by row.
    cosines: Vec<f32>,
}

impl Rotation {
    /// See [`Backend::rotation`](super::Backend::rotation).
    pub(super) fn new(rope: &Rope, positions: &[usize]) -> Self {
        let angles = positions.iter().flat_map(|position| {
            let position = *position as f32 * rope.position_scale;
            rope.frequencies.iter().map(move |turn| position * turn)
        });
        let turns = angles.map(|angle| (libm::sinf(angle), libm::cosf(angle)));
        let (sines, cosines) = turns.unzip();
        Self {
            head_dim: rope.head_dim,
            amplitude: rope.amplitude,
            layout: rope.layout,
            pairs: rope.frequencies.len(),
            sines,
            cosines,
        }
    }
}

/// See [`Backend::rotate`](super::Backend::rotate).
pub(super) fn rotate(mut x: Tensor, rotation: &Rotation, isa: Isa) -> Tensor {
    let pairs = rotation.pairs;
    if pairs == 0 {
        return x;
    }
    let turns = rotation.sines.chunks_exact(pairs);
    let turns = turns.zip(rotation.cosines.chunks_exact(pairs));
    let rows = x.data.chunks_exact_mut(x.width.max(1));
    for (row, (sines, cosines)) in rows.zip(turns) {
        if rotation.amplitude != 1.0 {
            for head in row.chunks_exact_mut(rotation.head_dim) {
                for value in &mut head[..2 * pairs] {
                    *value *= rotation.amplitude;
                }
            }
        }
        match rotation.layout {
            RopeLayout::HalfSplit => isa.run(TurnHalves {
                row,
                head_dim: rotation.head_dim,
                sines,
                cosines,
            }),
            RopeLayout::Interleaved => {
                for head in row.chunks_exact_mut(rotation.head_dim) {
                    let pairs = head[..2 * pairs].as_chunks_mut::<2>().0;
                    for (pair, turn) in pairs.iter_mut().zip(sines.iter().zip(cosines)) {
                        (pair[0], pair[1]) = turn_pair(pair[0], pair[1], (*turn.0, *turn.1));
                    }
                }
            }
        }
    }
    x
}

/// See [`Backend::gated`](super::Backend::gated).
pub(super) fn gated(
    mut gate: Tensor,
    up: &Tensor,
    activation: Activation,
    (isa, pool): (Isa, &Pool),
) -> Tensor {
    let width = gate.width.max(1);
    let task = |row: usize, gate: &mut [f32]| {
        let up = &up.data[row * width..][..gate.len()];
        let activate = match activation {
            Activation::Silu => return isa.run(SiluGate { gate, up }),
            Activation::Gelu => gelu,
            Activation::GeluTanh => gelu_tanh,
        };
        for (gate, up) in gate.iter_mut().zip(up) {
            *gate = activate(*gate) * up;
        }
    };
    if gate.data.len() < PARALLEL_FROM {
        task(0, &mut gate.data);
    } else {
        pool.for_each_piece(&mut gate.data, width, task);
    }
    gate
}

fn gelu(x: f32) -> f32 {
    x * (1.0 + libm::erff(x * std::f32::consts::FRAC_1_SQRT_2)) / 2.0
}

fn gelu_tanh(x: f32) -> f32 {
    let root = (2.0 / std::f32::consts::PI).sqrt();
    let inner = root * (x + 0.044_715 * x * x * x);
    0.5 * x * (1.0 + libm::tanhf(inner))
}

/// See [`Backend::softcap`](super::Backend::softcap).
pub(super) fn softcap(x: f32, cap: f32) -> f32 {
    cap * libm::tanhf(x / cap)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_norm_over_heads_is_the_norm_of_each_head() {
        let x = Tensor {
            width: 4,
            data: vec![3.0, 4.0, 0.0, 5.0].into(),
        };
        let out = rms_norm(&x, &[1.0, 2.0], 0.0, Isa::Portable);
        let rms = [12.5f32.sqrt(), 12.5f32.sqrt()];
        let expected = [3.0 / rms[0], 8.0 / rms[0], 0.0, 10.0 / rms[1]];
        for (value, expected) in out.data.iter().zip(expected) {
            assert!((value - expected).abs() < 1e-6, "{value} {expected}");
        }
    }

    fn one_row(data: &[f32]) -> Tensor {
        Tensor {
            width: data.len(),
            data: data.to_vec().into(),
        }
    }

    #[test]
    fn rotation_depends_on_the_position_only() {
        let plain = Rope::plain(4, 10_000.0);
        let row = [1.0, 2.0, 3.0, 4.0];
        let two_rows = Tensor {
            width: 4,
            data: [row, row].concat().into(),
        };
        let rope =
            |x, positions: &[usize]| rotate(x, &Rotation::new(&plain, positions), Isa::best());
        let together = rope(two_rows, &[3, 7]);
        let alone = rope(one_row(&row), &[7]);
        assert_eq!(together.data[4..], alone.data[..]);
        assert_eq!(rope(one_row(&row), &[0]).data[..], row);
        // Element 0 turns with element 2 by one radian per position.
        assert!((alone.data[0] - (7f32.cos() - 3.0 * 7f32.sin())).abs() < 1e-5);
    }

    #[test]
    fn a_partial_interleaved_rotation_turns_neighbours_and_leaves_the_rest() {
        let partial = Rope {
            head_dim: 4,
            frequencies: vec![0.5],
            position_scale: 2.0,
            amplitude: 3.0,
            layout: RopeLayout::Interleaved,
        };
        let turns = Rotation::new(&partial, &[1]);
        let out = rotate(one_row(&[1.0, 2.0, 3.0, 4.0]), &turns, Isa::best()).data;
        let (sin, cos) = 1f32.sin_cos();
        assert!((out[0] - 3.0 * (cos - 2.0 * sin)).abs() < 1e-5);
        assert!((out[1] - 3.0 * (sin + 2.0 * cos)).abs() < 1e-5);
        assert_eq!(out[2..], [3.0, 4.0]);
    }

    #[test]
    fn activations_have_their_known_values() {
        let pool = Pool::new(1).expect("no threads");
        // Values of the formulas at 1, computed in double precision.
        for (activation, expected) in [
            (Activation::Silu, 0.731_058_6),
            (Activation::Gelu, 0.841_344_7),
            (Activation::GeluTanh, 0.841_192),
        ] {
            for isa in Isa::available() {
                let (gate, up) = (one_row(&[1.0; 19]), one_row(&[2.0; 19]));
                for value in gated(gate, &up, activation, (isa, &pool)).data.iter() {
                    assert!((value - 2.0 * expected).abs() < 1e-6, "{activation:?}");
                }
            }
        }
        assert!((softcap(30.0, 30.0) - 22.847_824).abs() < 1e-4);
    }
}
