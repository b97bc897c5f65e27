//! Measures of finished texts, which are asked at the end or about the latest stretch.

use std::io::Write;

use flate2::{Compression, write::ZlibEncoder};

use super::super::document::Document;
use super::Alarm;

/// A block of 1 to 90 tokens ends the text at least twice, and has 3 tokens or comes 50 times.
pub(super) fn holtzman(document: &Document, scale: f64) -> Option<Alarm> {
    let ids = document.ids();
    let end = ids.len();
    let needed = (2.0 * scale).max(2.0);
    (1..=90.min(end / 2)).find_map(|period| {
        let equal = (period..end)
            .rev()
            .take_while(|at| ids[*at] == ids[at - period])
            .count();
        let copies = 1.0 + equal as f64 / period as f64;
        let long = period >= 3 || copies > 50.0;
        (copies >= needed && long).then(|| Alarm::at(end - 1))
    })
}

/// Bytes whose compressed size is asked for.
const STRETCH: usize = 4_000;

/// The latest stretch is more than 2.4 times its compressed size, asked every 1,000 bytes.
pub(super) fn compression(document: &Document, scale: f64) -> Option<Alarm> {
    let bytes = document.text.as_bytes();
    let ends = (STRETCH..=bytes.len()).step_by(1_000).chain([bytes.len()]);
    for end in ends {
        let stretch = &bytes[end.saturating_sub(STRETCH)..end];
        let mut encoder = ZlibEncoder::new(Vec::new(), Compression::default());
        let size = encoder
            .write_all(stretch)
            .and_then(|()| encoder.finish())
            .map_or(usize::MAX, |packed| packed.len());
        if stretch.len() as f64 > 2.4 * scale * size as f64 {
            return Some(Alarm::at(
                document
                    .piece_at(end.saturating_sub(1))
                    .min(document.pieces.len().saturating_sub(1)),
            ));
        }
    }
    None
}
