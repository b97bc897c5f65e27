//! Affine weights repacked for integer products: the rows of a panel lie side by side, one per
//! lane.
//!
//! A panel is sixteen rows. For each group it has lines of sixty-four bytes with the codes, four
//! bytes of each row as they stand in the checkpoint, and behind them a line or two with the
//! sixteen scales and the sixteen biases, also as they stand in the checkpoint. Nothing is
//! rounded, and nothing grows but a last panel that is not full.

use super::pool::Pool;
use super::quantized::Layout;
use super::region::{Region, Regions};
use super::{BackendError, Precision};
use crate::backend::{self, Element};
use crate::simd::LANES;

/// Bytes of a line.
pub(super) const LINE: usize = 4 * LANES;
/// Bytes of a checkpoint that are read before the memory they were mapped into is given back.
const RELEASE_AFTER: usize = 4 << 20;

/// A repacked matrix.
#[derive(Debug)]
pub(super) struct Interleaved {
    bits: usize,
    group_size: usize,
    element: Element,
    group_lines: usize,
    panel_lines: usize,
    lines: Region,
}

impl Interleaved {
    /// Repacks a matrix whose shapes were checked, and gives back what it read of a mapped file
    /// as it goes, so that the two do not lie in memory together. `None` if its codes do not have
    /// four or eight bits.
    ///
    /// # Errors
    /// If the system has no memory.
    pub(super) fn new(
        rows: usize,
        cols: usize,
        data: &backend::Affine,
        (pool, regions): (&Pool, &Regions),
    ) -> Result<Option<Self>, BackendError> {
        if !matches!(data.bits, 4 | 8) || rows == 0 || cols == 0 {
            return Ok(None);
        }
        let parameters = 2 * LANES * data.element.size();
        let group_lines = (LANES * data.group_size * data.bits / 8 + parameters) / LINE;
        let panel_lines = cols / data.group_size * group_lines;
        let panels = rows.div_ceil(LANES);
        let mut lines = regions.take(panels * panel_lines * LINE)?;
        let source = Source { rows, cols, data };
        let panels_at_once = (RELEASE_AFTER / (panel_lines * LINE)).max(1);
        let mut first = 0;
        for lines in lines.chunks_mut(panels_at_once * panel_lines * LINE) {
            pool.for_each_piece(lines, panel_lines * LINE, |index, panel| {
                source.repack((first + index) * LANES, group_lines, panel);
            });
            first += panels_at_once;
            source.release(first * LANES);
        }
        Ok(Some(Self {
            bits: data.bits,
            group_size: data.group_size,
            element: data.element,
            group_lines,
            panel_lines,
            lines,
        }))
    }

    /// What its products want of activations.
    pub(super) fn layout(&self, precision: Precision) -> Layout {
        Layout {
            bits: self.bits,
            group_size: self.group_size,
            precision,
        }
    }

    /// Writes row `row` as f32: `scale · q + bias`, product before sum.
    pub(super) fn row_into(&self, row: usize, out: &mut [f32]) {
        let lane = row % LANES;
        let panel = self.panel(row / LANES);
        let code_lines = self.group_lines - 2 * LANES * self.element.size() / LINE;
        for (group, out) in panel.groups().zip(out.chunks_exact_mut(self.group_size)) {
            let (lines, parameters) = group.split_at(code_lines);
            let (scales, biases) = parameters
                .as_flattened()
                .split_at(LANES * self.element.size());
            let [scale, bias] = [scales, biases].map(|of| self.element.decode(of)[lane]);
            let words = lines.iter().map(|line| &line[4 * lane..][..4]);
            let codes = words.flatten().flat_map(|byte| match self.bits {
                4 => [byte & 15, byte >> 4].into_iter().take(2),
                _ => [*byte, 0].into_iter().take(1),
            });
            for (value, code) in out.iter_mut().zip(codes) {
                *value = scale * f32::from(code) + bias;
            }
        }
    }

    /// The rows from `16 · index` on.
    pub(super) fn panel(&self, index: usize) -> Panel<'_> {
        let lines = self.lines.as_chunks::<LINE>().0;
        Panel {
            bits: self.bits,
            group_size: self.group_size,
            element: self.element,
            group_lines: self.group_lines,
            lines: &lines[index * self.panel_lines..][..self.panel_lines],
        }
    }
}

/// Sixteen rows.
#[derive(Debug, Clone, Copy)]
pub(super) struct Panel<'a> {
    /// Bits of a code: four or eight.
    pub(super) bits: usize,
    /// Elements that share a scale and a bias.
    pub(super) group_size: usize,
    /// The type of scales and biases.
    pub(super) element: Element,
    group_lines: usize,
    lines: &'a [[u8; LINE]],
}

impl<'a> Panel<'a> {
    /// How many bytes it has; the next panel lies behind them.
    #[inline(always)]
    pub(super) fn bytes(&self) -> usize {
        self.lines.len() * LINE
    }

    /// The lines of each group: codes, then scales and biases.
    #[inline(always)]
    pub(super) fn groups(&self) -> impl Iterator<Item = &'a [[u8; LINE]]> {
        self.lines.chunks_exact(self.group_lines)
    }
}

/// A matrix as the checkpoint has it.
struct Source<'a> {
    rows: usize,
    cols: usize,
    data: &'a backend::Affine,
}

impl Source<'_> {
    /// Writes the sixteen rows from `first` on; what lies behind the last row stays zero.
    fn repack(&self, first: usize, group_lines: usize, panel: &mut [u8]) {
        let data = self.data;
        let codes = data.group_size * data.bits / 8;
        let size = data.element.size();
        let groups = self.cols / data.group_size;
        for lane in 0..LANES.min(self.rows - first) {
            let row = first + lane;
            let packed = &data.packed.bytes()[row * groups * codes..][..groups * codes];
            let scales = &data.scales.bytes()[row * groups * size..][..groups * size];
            let biases = &data.biases.bytes()[row * groups * size..][..groups * size];
            for (index, group) in panel.chunks_exact_mut(group_lines * LINE).enumerate() {
                let (lines, parameters) = group.split_at_mut(codes * LANES);
                let words = packed[index * codes..][..codes].as_chunks::<4>().0;
                for (line, word) in lines.as_chunks_mut::<LINE>().0.iter_mut().zip(words) {
                    line[4 * lane..][..4].copy_from_slice(word);
                }
                let (of_scales, of_biases) = parameters.split_at_mut(LANES * size);
                let own = lane * size..(lane + 1) * size;
                let theirs = index * size..(index + 1) * size;
                of_scales[own.clone()].copy_from_slice(&scales[theirs.clone()]);
                of_biases[own].copy_from_slice(&biases[theirs]);
            }
        }
    }

    /// Gives back the memory of the rows before `end`.
    fn release(&self, end: usize) {
        let data = self.data;
        let rows = end.min(self.rows);
        data.packed.release_before(rows * self.cols * data.bits / 8);
        let parameters = rows * (self.cols / data.group_size) * data.element.size();
        data.scales.release_before(parameters);
        data.biases.release_before(parameters);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::backend::Blob;

    #[test]
    fn a_line_has_four_bytes_of_each_row_and_missing_rows_are_zero() {
        let (rows, cols) = (17, 64);
        let row_bytes = cols / 2;
        let packed: Vec<u8> = (0..rows * row_bytes)
            .map(|i| (i / row_bytes * 8 + i % row_bytes / 4) as u8)
            .collect();
        let parameters = |from: u16| -> Vec<u8> {
            (0..rows as u16)
                .flat_map(|row| (from + row).to_le_bytes())
                .collect()
        };
        let data = backend::Affine {
            bits: 4,
            group_size: 64,
            packed: Blob::new(packed),
            scales: Blob::new(parameters(100)),
            biases: Blob::new(parameters(200)),
            element: Element::Bf16,
        };
        let pool = Pool::new(2).expect("threads");
        let regions = Regions::default();
        let matrix = Interleaved::new(rows, cols, &data, (&pool, &regions))
            .expect("memory")
            .expect("four bits");
        for (panel, rows) in [(0, 16), (1, 1)] {
            let groups: Vec<_> = matrix.panel(panel).groups().collect();
            assert_eq!(groups.len(), 1);
            assert_eq!(groups[0].len(), 8 + 1);
            for lane in 0..LANES {
                let row = panel * LANES + lane;
                for (k, line) in groups[0][..8].iter().enumerate() {
                    let code = if lane < rows { (row * 8 + k) as u8 } else { 0 };
                    assert_eq!(line[4 * lane..][..4], [code; 4]);
                }
                let parameter =
                    |at: usize| u16::from_le_bytes([groups[0][8][at], groups[0][8][at + 1]]);
                let [scale, bias] = if lane < rows {
                    [100 + row as u16, 200 + row as u16]
                } else {
                    [0, 0]
                };
                assert_eq!(
                    [parameter(2 * lane), parameter(32 + 2 * lane)],
                    [scale, bias]
                );
            }
        }
    }
}
