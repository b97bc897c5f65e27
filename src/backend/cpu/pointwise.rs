//! Operations that treat each row, head or element on its own: norms, rotations, activations.

use super::{Rope, Tensor, dot};

/// See [`Backend::rms_norm`](super::Backend::rms_norm).
pub(super) fn rms_norm(x: &Tensor, weight: &[f32], eps: f32) -> Tensor {
    let mut data = x.data.clone();
    for group in data.chunks_exact_mut(weight.len().max(1)) {
        let mean_square = dot(group, group) / weight.len() as f32;
        let scale = 1.0 / libm::sqrtf(mean_square + eps);
        for (value, weight) in group.iter_mut().zip(weight) {
            *value = *value * scale * weight;
        }
    }
    Tensor {
        width: x.width,
        data,
    }
}

/// See [`Backend::rope`](super::Backend::rope). Angles are formed in f32 as
/// `position · exp(-i · ln(theta) / half)`, like MLX's `fast::rope`.
pub(super) fn rope(mut x: Tensor, rope: &Rope, first_position: usize) -> Tensor {
    let half = rope.head_dim / 2;
    let step = libm::logf(rope.theta) / half as f32;
    let frequencies: Vec<f32> = (0..half).map(|i| libm::expf(-(i as f32) * step)).collect();
    for (row, values) in x.data.chunks_exact_mut(x.width.max(1)).enumerate() {
        let position = (first_position + row) as f32;
        let turns: Vec<(f32, f32)> = frequencies
            .iter()
            .map(|frequency| {
                let angle = position * frequency;
                (libm::sinf(angle), libm::cosf(angle))
            })
            .collect();
        for head in values.chunks_exact_mut(rope.head_dim) {
            let (first, second) = head.split_at_mut(half);
            for ((a, b), (sin, cos)) in first.iter_mut().zip(second).zip(&turns) {
                (*a, *b) = (*a * cos - *b * sin, *a * sin + *b * cos);
            }
        }
    }
    x
}

/// See [`Backend::swiglu`](super::Backend::swiglu).
pub(super) fn swiglu(mut gate: Tensor, up: &Tensor) -> Tensor {
    for (gate, up) in gate.data.iter_mut().zip(&up.data) {
        *gate = *gate / (1.0 + libm::expf(-*gate)) * up;
    }
    gate
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_norm_over_heads_is_the_norm_of_each_head() {
        let x = Tensor {
            width: 4,
            data: vec![3.0, 4.0, 0.0, 5.0],
        };
        let out = rms_norm(&x, &[1.0, 2.0], 0.0);
        let rms = [12.5f32.sqrt(), 12.5f32.sqrt()];
        let expected = [3.0 / rms[0], 8.0 / rms[0], 0.0, 10.0 / rms[1]];
        for (value, expected) in out.data.iter().zip(expected) {
            assert!((value - expected).abs() < 1e-6, "{value} {expected}");
        }
    }

    #[test]
    fn rotation_depends_on_the_position_only() {
        let config = Rope {
            head_dim: 4,
            theta: 10_000.0,
        };
        let row = vec![1.0, 2.0, 3.0, 4.0];
        let two_rows = Tensor {
            width: 4,
            data: [row.clone(), row.clone()].concat(),
        };
        let one_row = Tensor {
            width: 4,
            data: row.clone(),
        };
        let together = rope(two_rows, &config, 6);
        let alone = rope(one_row, &config, 7);
        assert_eq!(together.data[4..], alone.data[..]);
        let origin = Tensor {
            width: 4,
            data: row.clone(),
        };
        assert_eq!(rope(origin, &config, 0).data, row);
        // Element 0 turns with element 2 by one radian per position.
        assert!((alone.data[0] - (7f32.cos() - 3.0 * 7f32.sin())).abs() < 1e-5);
    }
}
