//! Rules that look at exact repetition at the end of the tokens.

use super::super::document::Document;
use super::Alarm;

/// `copies` of a block of `shortest` to `longest` tokens end at the newest one, `least` tokens in
/// all; looked at every `every` tokens.
///
/// One counter per lag says how many of the newest tokens equal the one that far back.
pub(super) fn repeats(
    document: &Document,
    shortest: usize,
    longest: usize,
    copies: f64,
    least: usize,
    every: usize,
) -> Option<Alarm> {
    let copies = (copies.round() as u32).max(2);
    let ids: Vec<u32> = document.ids();
    let mut equal = vec![0_u32; longest + 1];
    let needed: Vec<u32> = (0..=longest as u32)
        .map(|period| match period {
            _ if (period as usize) < shortest => u32::MAX,
            _ => ((copies - 1) * period).max((least as u32).saturating_sub(period)),
        })
        .collect();
    // Backwards, so that lags and the tokens at them run in one direction and the loop below is
    // done in vectors.
    let backwards: Vec<u32> = ids.iter().rev().copied().collect();
    (0..ids.len()).find_map(|at| {
        let token = ids[at];
        let reach = longest.min(at);
        let here = ids.len() - at;
        let before = &backwards[here..here + reach];
        let mut met = 0_u32;
        let lags = equal[1..=reach]
            .iter_mut()
            .zip(before)
            .zip(&needed[1..=reach]);
        for ((count, earlier), needed) in lags {
            *count = if *earlier == token { *count + 1 } else { 0 };
            met |= u32::from(*count >= *needed);
        }
        let due = at % every == every - 1;
        (due && met != 0).then(|| Alarm::at(at))
    })
}

/// One chunk more than `most` times in a row, blanks trimmed as in the original.
pub(super) fn same_chunk(document: &Document, most: usize) -> Option<Alarm> {
    let mut last = None;
    let mut count = 0;
    document.pieces.iter().enumerate().find_map(|(at, piece)| {
        let chunk = document.text.get(piece.bytes.clone()).map(str::trim);
        count = if chunk == last { count + 1 } else { 0 };
        last = chunk;
        (count > most).then(|| Alarm::at(at))
    })
}
