//! Packed matrices read back, bit for bit as MLX reads them.
//!
//! `tests/goldens/README.md` says how `quantised.json` was made, and with which versions.

use loopwatch::backend::cpu::Cpu;
use loopwatch::backend::{Affine, Backend, Blob, Element, MatrixData, Microformat, Microscaled};
use serde::Deserialize;

#[derive(Deserialize)]
struct File {
    entries: Vec<Entry>,
}

#[derive(Deserialize)]
struct Entry {
    name: String,
    mode: String,
    bits: usize,
    group_size: usize,
    rows: usize,
    cols: usize,
    dtype: String,
    packed: String,
    scales: String,
    biases: String,
    values: String,
}

fn bytes(hexadecimal: &str) -> Vec<u8> {
    (0..hexadecimal.len() / 2)
        .map(|i| u8::from_str_radix(&hexadecimal[2 * i..][..2], 16).expect("hexadecimal"))
        .collect()
}

fn matrix(entry: &Entry) -> MatrixData {
    let (rows, cols) = (entry.rows, entry.cols);
    let packed = Blob::new(bytes(&entry.packed));
    let scales = Blob::new(bytes(&entry.scales));
    let micro = Microformat::ALL
        .into_iter()
        .find(|format| format.name() == entry.mode);
    if let Some(format) = micro {
        assert_eq!(
            (format.bits(), format.group_size()),
            (entry.bits, entry.group_size)
        );
        let microscaled = Microscaled {
            format,
            packed,
            scales,
        };
        return MatrixData::Microscaled {
            rows,
            cols,
            microscaled,
        };
    }
    assert_eq!(entry.mode, "affine");
    let affine = Affine {
        bits: entry.bits,
        group_size: entry.group_size,
        packed,
        scales,
        biases: Blob::new(bytes(&entry.biases)),
        element: match entry.dtype.as_str() {
            "f32" => Element::F32,
            "f16" => Element::F16,
            other => {
                assert_eq!(other, "bf16");
                Element::Bf16
            }
        },
    };
    MatrixData::Affine { rows, cols, affine }
}

#[test]
fn packed_rows_have_the_bits_of_mlx() {
    let text = include_str!("../goldens/quantised.json");
    let file: File = serde_json::from_str(text).expect("goldens");
    let backend = Cpu::new(1).expect("a thread");
    for entry in &file.entries {
        let ids: Vec<u32> = (0..).take(entry.rows).collect();
        let matrix = backend.matrix(matrix(entry)).expect(&entry.name);
        let rows = backend.embed(&matrix, &ids).expect(&entry.name);
        let ours = backend.to_host(rows).expect(&entry.name);
        let theirs = Element::F32.decode(&bytes(&entry.values));
        assert_eq!(ours.len(), theirs.len(), "{}", entry.name);
        for (index, (ours, theirs)) in ours.iter().zip(&theirs).enumerate() {
            assert_eq!(
                ours.to_bits(),
                theirs.to_bits(),
                "{}: element {index} is {ours}, MLX has {theirs}",
                entry.name
            );
        }
    }
    // 18 pairs of width and group size; each format twice; the elements of mxfp8.
    assert_eq!(file.entries.len(), 18 + 6 + 1);
}
