//! A sweep as people read it: in words, as Markdown, as drawings, and as one page of HTML.
//!
//! It shows an [`Analysis`] and computes nothing of its own. The page needs no network and no
//! script. Which settings were run, and how, is not its business.

mod drawing;
mod heat_map;
mod loop_rate;
mod markdown;
mod matrix;
mod page;
mod pareto;
mod raster;
mod survival;
mod table;
mod words;

#[cfg(test)]
mod tests;

pub use drawing::Drawing;
pub use markdown::markdown;
pub use page::html;
pub use table::{Row, head, rows};
pub use words::{Words, spared, words};

use crate::sweep::Analysis;

/// Every drawing that the sweep has figures for.
#[must_use]
pub fn drawings(analysis: &Analysis) -> Vec<Drawing> {
    // One drawing shows one condition.
    let mut shown = analysis.clone();
    shown.settings.retain(|outcome| {
        let tried = &outcome.only_under;
        tried.is_empty() || analysis.focus.iter().all(|focus| tried.contains(focus))
    });
    let analysis = &shown;
    let all = [
        loop_rate::draw(analysis),
        heat_map::draw(analysis),
        pareto::draw(analysis),
        survival::draw(analysis),
        raster::draw(analysis),
    ];
    all.into_iter().flatten().collect()
}
