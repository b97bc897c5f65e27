//! All detectors on one channel of a generation, with one verdict.
//!
//! | what | sees | confirms |
//! |---|---|---|
//! | [`LoopDetector`] | tokens that repeat exactly | yes |
//! | `folded` | the same but for numbers and white space | no |
//! | `segments` | sentences and lines like those before | no |
//! | `novelty` | few different stretches among the latest | no |
//!
//! The text is followed piece by piece, whatever deltas it comes in, so the same text gets the
//! same verdict at the same place however it was cut. Memory is allocated once. A token costs the
//! same whether it repeats or not, within the bounds that `benches/detector.rs` holds.

use super::context::{Context, ContextTracker};
use super::detector::LoopDetector;
use super::folded::Folded;
use super::history::{Mark, Place};
use super::novelty::{Novelty, WINDOW};
use super::pieces::{Piece, PieceKind, PieceReader};
use super::segments::Segments;
use super::settings::Settings;
use super::sighting::{Sighting, Sightings};
use super::thresholds::{BARE_SPAN, PATIENT_SPAN};
use super::verdict::{Change, LoopKind, LoopState, LoopVerdict};

/// How a generation came to its end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ending {
    /// It ended by itself, or how is not known.
    Itself,
    /// The allowance of tokens was used up.
    CutOff,
}

/// Watches one channel: the reasoning, the answer, or the arguments of tools. Two channels are two
/// watches, so that a code fence in a thought says nothing about the answer.
#[derive(Clone, Debug)]
pub struct Watch {
    settings: Settings,
    exact: LoopDetector,
    folded: Folded,
    segments: Segments,
    novelty: Novelty,
    context: ContextTracker,
    reader: PieceReader,
    /// Bytes of text before the open piece, and in all.
    piece_start: usize,
    bytes: usize,
    /// Tokens were pushed with ids of their own.
    has_ids: bool,
    /// Some text was read, so that there is a context.
    has_text: bool,
    /// The last piece was a digit.
    in_number: bool,
    /// The period of what repeats in the folded text but is not long enough for its context yet.
    awaited: Option<usize>,
    /// For how many pieces little has differed.
    low: usize,
    sightings: Sightings,
}

impl Watch {
    /// A watch that has read nothing.
    #[must_use]
    pub fn new(settings: Settings) -> Self {
        let exact = LoopDetector::new(settings.thresholds.clone());
        let context = ContextTracker::new();
        Self {
            exact,
            folded: Folded::new(settings.folded.clone()),
            segments: Segments::new(settings.likeness),
            novelty: Novelty::new(),
            context,
            reader: PieceReader::default(),
            piece_start: 0,
            bytes: 0,
            has_ids: false,
            has_text: false,
            in_number: false,
            awaited: None,
            low: 0,
            sightings: Sightings::default(),
            settings,
        }
    }

    /// Reads one token and the text it brought, which may be none, and says whether that changed
    /// anything. Positions in verdicts count these tokens.
    ///
    /// Use either this or [`push_text`](Self::push_text) on one watch, not both.
    pub fn push_token(&mut self, id: u32, text: &str) -> Option<Change> {
        self.has_ids = true;
        let place = self.place(self.bytes);
        let told = self.exact.push_at(id, place);
        let mut changes = Changes(told);
        for character in text.chars() {
            self.read(character, &mut changes);
        }
        changes.0
    }

    /// Reads one token whose text is not known. Only what repeats exactly and what has little new in
    /// it can be found that way, and no context is named; thresholds are those for prose.
    ///
    /// Use nothing else on the same watch.
    pub fn push_id(&mut self, id: u32) -> Option<Change> {
        let place = self.place(0);
        let mut changes = Changes(self.exact.push_at(id, place));
        self.take_novelty(id, place, &mut changes);
        changes.0
    }

    /// Reads text whose tokens are not known and passes on what changed. Positions in verdicts
    /// count pieces, those of [`text_units`](super::text_units).
    pub fn push_text(&mut self, text: &str, mut told: impl FnMut(Change)) {
        for character in text.chars() {
            let mut changes = Changes(None);
            self.read(character, &mut changes);
            if let Some(change) = changes.0 {
                told(change);
            }
        }
    }

    /// Reads the piece that waits for the character after it, because there is none. Nothing may
    /// be pushed afterwards.
    ///
    /// Where the allowance cut the generation off ([`Ending::CutOff`]), an exact loop that is
    /// suspected and went on to the last token is confirmed: nobody saw it end, and most texts that
    /// repeat on purpose are not cut in the middle of that.
    pub fn finish(&mut self, ending: Ending) -> Option<Change> {
        let mut changes = Changes(None);
        if let Some(piece) = self.reader.finish() {
            self.take(&piece, &mut changes);
        }
        if ending == Ending::CutOff {
            changes.add(self.exact.cut_off());
        }
        changes.0
    }

    /// How many tokens, or pieces of text, were read.
    #[must_use]
    pub fn tokens(&self) -> usize {
        self.exact.tokens()
    }

    /// What is known so far: the first confirmed loop; else the exact one that is suspected and
    /// goes on; else the first of the other suspected ones that go on; else the first that ended.
    #[must_use]
    pub fn verdict(&self) -> Option<LoopVerdict> {
        let exact = self.exact.verdict();
        if exact
            .as_ref()
            .is_some_and(|exact| exact.state.is_confirmed() || exact.state.is_running())
        {
            return exact;
        }
        let other = self.sightings.first();
        match (exact, other) {
            (Some(exact), Some(other)) => Some(
                if other.ended_at.is_none() || other.detected_at < exact.detected_at {
                    self.lower(other)
                } else {
                    exact
                },
            ),
            (exact, other) => exact.or_else(|| other.map(|other| self.lower(other))),
        }
    }

    /// The size of the state in bytes, fragments of found loops aside. It does not grow.
    #[must_use]
    pub fn memory_bytes(&self) -> usize {
        size_of::<Self>()
            + self.exact.memory_bytes()
            + self.folded.memory_bytes()
            + self.novelty.memory_bytes()
    }

    fn place(&self, byte: usize) -> Place {
        Place {
            token: self.exact.tokens() as u32,
            byte: byte as u32,
        }
    }

    fn read(&mut self, character: char, changes: &mut Changes) {
        if let Some(piece) = self.reader.push(character) {
            self.take(&piece, changes);
        }
        self.bytes += character.len_utf8();
        let before = self.has_text.then(|| self.context.current());
        self.has_text = true;
        self.context.push(character);
        let context = self.context.current();
        if before != Some(context) {
            self.exact.set_context(context);
        }
    }

    /// Reads a finished piece.
    fn take(&mut self, piece: &Piece, changes: &mut Changes) {
        let mut place = self.place(self.piece_start);
        self.piece_start += piece.bytes;
        if self.has_ids {
            // The newest token, which brought the end of the piece or the character behind it.
            place.token = place.token.wrapping_sub(1);
        } else {
            changes.add(self.exact.push_at(piece.id, place));
        }
        self.take_folded(piece, place, changes);
        self.take_segments(piece, place, changes);
        self.take_novelty(piece.id, place, changes);
        self.weigh(piece);
    }

    /// Reads a piece into the folded text. A repetition there is news once it is long enough for what
    /// it is part of by then.
    fn take_folded(&mut self, piece: &Piece, place: Place, changes: &mut Changes) {
        let change = self.folded.push(piece, place);
        if let Some(change) = change
            && change.state == LoopState::Suspected
        {
            self.awaited = Some(change.period);
        }
        if let Some(period) = self.awaited {
            self.await_folded(period, place, changes);
        } else if let Some(period) = self.sightings.folded_period()
            && self.folded.running(period).is_none()
        {
            self.end(LoopKind::Counter, changes);
        }
    }

    fn await_folded(&mut self, period: usize, place: Place, changes: &mut Changes) {
        let Some((start, span)) = self.folded.running(period) else {
            self.awaited = None;
            return;
        };
        let context = self.context.current();
        let enough = match context {
            Context::Prose => 0,
            Context::Code if self.exact.has_word_since(start.token) => {
                self.settings.counters_in_code(period)
            }
            _ => BARE_SPAN,
        };
        if span < enough {
            return;
        }
        self.awaited = None;
        let kind = self.folded.kind(period);
        // Outside prose, numbers that do not count are tables of constants.
        if kind == LoopKind::Counter || context == Context::Prose {
            let copies = span as f64 / period as f64;
            let sighting = Sighting::new(kind, start, place, self.newest(), copies);
            self.begin(sighting.with_folded(period), changes);
        }
    }

    fn take_segments(&mut self, piece: &Piece, place: Place, changes: &mut Changes) {
        let prose = self.context.current() == Context::Prose;
        match self.segments.push(piece, place, !prose) {
            Some(Some(likely)) => {
                let copies = 1.0 + f64::from(likely.score) / likely.distance as f64;
                let (kind, at) = (LoopKind::NearDuplicate, self.newest());
                let sighting = Sighting::new(kind, likely.start, place, at, copies);
                self.begin(sighting, changes);
            }
            Some(None) => self.end(LoopKind::NearDuplicate, changes),
            None => {}
        }
    }

    fn take_novelty(&mut self, id: u32, place: Place, changes: &mut Changes) {
        let Some(distinct) = self.novelty.push(id) else {
            return;
        };
        let limit = match self.context.current() {
            Context::Prose => self.settings.novelty,
            Context::Code => self.settings.novelty_in_code,
            Context::Table | Context::Data => self.settings.novelty_in_data,
        };
        self.low = if distinct < limit { self.low + 1 } else { 0 };
        let prose = self.context.current() == Context::Prose;
        if self.low >= if prose { 1 } else { PATIENT_SPAN } {
            let start = Place {
                token: place.token.saturating_sub(WINDOW as u32),
                ..place
            };
            let copies = WINDOW as f64 / distinct as f64;
            let (kind, at) = (LoopKind::LowNovelty, self.newest());
            self.begin(Sighting::new(kind, start, place, at, copies), changes);
        } else if distinct > limit * 2 {
            self.end(LoopKind::LowNovelty, changes);
        }
    }

    /// Notes the pieces that tell rows of constants and lists from what says something. Letters
    /// behind a digit belong to the number, as in 0xff.
    fn weigh(&mut self, piece: &Piece) {
        let is_digit = matches!(piece.kind, PieceKind::Digit(_));
        let was_digit = std::mem::replace(&mut self.in_number, is_digit);
        let mark = match piece.kind {
            PieceKind::Digit(_) => Mark::Digit,
            PieceKind::Letters if piece.bytes > 1 && !was_digit => Mark::Word,
            PieceKind::Sign(',') => Mark::Comma,
            _ => return,
        };
        self.exact.note(mark);
    }

    fn begin(&mut self, sighting: Sighting, changes: &mut Changes) {
        let quiet = self.exact.is_alarmed();
        changes.add(self.sightings.begin(sighting, quiet));
    }

    fn end(&mut self, kind: LoopKind, changes: &mut Changes) {
        if self.sightings.has(kind) {
            let quiet = self.exact.is_alarmed();
            changes.add(self.sightings.end(kind, self.newest(), quiet));
        }
    }

    /// The newest token.
    fn newest(&self) -> usize {
        self.exact.tokens().saturating_sub(1)
    }

    fn lower(&self, sighting: &Sighting) -> LoopVerdict {
        let mut verdict = sighting.verdict(self.exact.tokens(), |onset, length| {
            self.exact.kept_from(onset, length)
        });
        verdict.onset_byte = verdict.onset_byte.filter(|_| self.has_text);
        verdict
    }
}

/// The most urgent change so far.
struct Changes(Option<Change>);

impl Changes {
    fn add(&mut self, change: Option<Change>) {
        let Some(change) = change else { return };
        if self
            .0
            .is_none_or(|before| change.urgency() > before.urgency())
        {
            self.0 = Some(change);
        }
    }
}

#[cfg(test)]
mod tests;
