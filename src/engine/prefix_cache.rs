//! Sequences of requests that have ended, for prompts that begin with the same tokens.
//!
//! A tree: each node continues its parent's tokens, so what many sequences begin with is kept
//! once. Knows token ids and what a position costs. A hit never changes an answer: keys and
//! values of a position depend on nothing but the tokens up to it.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;

use crate::backend::Backend;
use crate::model::{Decoder, ModelError, Sequence};

/// Positions that a node may hold besides the tokens that it adds: forks share whole blocks, and
/// copy what they have of the last one.
const FORK_POSITIONS: usize = 31;

/// The least recently used leaves go when the bound is passed.
pub(super) struct PrefixCache<B: Backend> {
    roots: Children<B>,
    /// What all nodes cost together.
    positions: usize,
    most_positions: usize,
    /// Counts uses.
    clock: u64,
}

/// Nodes by the first token that they add, which is never that of a sibling.
type Children<B> = BTreeMap<u32, Node<B>>;

struct Node<B: Backend> {
    /// What it adds to its parent, at least one token.
    tokens: Vec<u32>,
    /// Has been fed the tokens of all nodes down to this one.
    sequence: Sequence<B>,
    /// When it, or a node below it, was last used.
    used: u64,
    children: Children<B>,
}

impl<B: Backend> PrefixCache<B> {
    pub(super) fn new(most_bytes: usize, bytes_per_position: usize) -> Self {
        Self {
            roots: BTreeMap::new(),
            positions: 0,
            most_positions: most_bytes / bytes_per_position.max(1),
            clock: 0,
        }
    }

    /// A sequence for `prompt`, with as much of its beginning as is known: at most all but the
    /// last token, which has to be computed for its logits.
    pub(super) fn start(
        &mut self,
        decoder: &Decoder<B>,
        prompt: &[u32],
    ) -> Result<Sequence<B>, ModelError> {
        self.clock += 1;
        let mut rest = &prompt[..prompt.len().saturating_sub(1)];
        let mut children = &mut self.roots;
        let mut nearest = None;
        while let Some(node) = rest.first().and_then(|first| children.get_mut(first)) {
            let common = common_length(&node.tokens, rest);
            rest = &rest[common..];
            node.used = self.clock;
            nearest = Some(&node.sequence);
            if common < node.tokens.len() {
                break;
            }
            children = &mut node.children;
        }
        match nearest {
            Some(sequence) => decoder.fork(sequence, prompt.len() - 1 - rest.len()),
            None => decoder.start(),
        }
    }

    /// Keeps a copy of a sequence that has been fed exactly `tokens`.
    pub(super) fn keep(
        &mut self,
        decoder: &Decoder<B>,
        tokens: &[u32],
        sequence: &Sequence<B>,
    ) -> Result<(), ModelError> {
        if tokens.is_empty() || tokens.len() + FORK_POSITIONS > self.most_positions {
            return Ok(());
        }
        self.clock += 1;
        self.positions += insert(&mut self.roots, decoder, tokens, sequence, self.clock)?;
        while self.positions > self.most_positions {
            let Some(oldest) = oldest_leaf(&self.roots) else {
                break;
            };
            self.positions -= remove_leaf(&mut self.roots, oldest);
        }
        Ok(())
    }
}

impl<B: Backend> Node<B> {
    fn cost(&self) -> usize {
        self.tokens.len() + FORK_POSITIONS
    }

    /// Cuts a node into one with its first `at` tokens, which end at `depth`, and one below it.
    fn split(&mut self, decoder: &Decoder<B>, at: usize, depth: usize) -> Result<(), ModelError> {
        let beginning = decoder.fork(&self.sequence, depth)?;
        let rest = self.tokens.split_off(at);
        let Some(first) = rest.first().copied() else {
            return Ok(());
        };
        let below = Self {
            tokens: rest,
            sequence: std::mem::replace(&mut self.sequence, beginning),
            used: self.used,
            children: std::mem::take(&mut self.children),
        };
        self.children.insert(first, below);
        Ok(())
    }
}

/// Adds what is not known yet, and returns its cost.
fn insert<B: Backend>(
    mut children: &mut Children<B>,
    decoder: &Decoder<B>,
    tokens: &[u32],
    sequence: &Sequence<B>,
    now: u64,
) -> Result<usize, ModelError> {
    let mut cost = 0;
    let mut depth = 0;
    while let Some(first) = tokens.get(depth) {
        let node = match children.entry(*first) {
            Entry::Occupied(known) => known.into_mut(),
            Entry::Vacant(place) => {
                let node = place.insert(Node {
                    tokens: tokens[depth..].to_vec(),
                    sequence: decoder.fork(sequence, tokens.len())?,
                    used: now,
                    children: BTreeMap::new(),
                });
                return Ok(cost + node.cost());
            }
        };
        let common = common_length(&node.tokens, &tokens[depth..]);
        depth += common;
        if common < node.tokens.len() && depth < tokens.len() {
            node.split(decoder, common, depth)?;
            cost += FORK_POSITIONS;
        }
        node.used = now;
        children = &mut node.children;
    }
    Ok(cost)
}

/// When the least recently used leaf was used. No other leaf was used then: a use follows one
/// path.
fn oldest_leaf<B: Backend>(children: &Children<B>) -> Option<u64> {
    let oldest = |node: &Node<B>| oldest_leaf(&node.children).unwrap_or(node.used);
    children.values().map(oldest).min()
}

/// Removes the leaf last used then, and returns what it had cost.
fn remove_leaf<B: Backend>(children: &mut Children<B>, used: u64) -> usize {
    let is_it = |node: &Node<B>| node.children.is_empty() && node.used == used;
    let found = children.iter().find(|(_, node)| is_it(node));
    if let Some(first) = found.map(|(first, _)| *first) {
        return children.remove(&first).map_or(0, |node| node.cost());
    }
    children
        .values_mut()
        .map(|node| remove_leaf(&mut node.children, used))
        .find(|cost| *cost > 0)
        .unwrap_or(0)
}

/// Tokens that two sequences begin with alike.
pub(super) fn common_length(a: &[u32], b: &[u32]) -> usize {
    a.iter().zip(b).take_while(|(a, b)| a == b).count()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::backend::cpu::Cpu;
    use crate::model::{Feed, ModelFiles, ModelRef, Wanted};

    fn decoder() -> Decoder<Cpu> {
        let files = ModelFiles::find(ModelRef::parse("builtin:readme")).expect("built in");
        Decoder::load(&files, Cpu::new(1).expect("a thread")).expect("loads")
    }

    /// A cache with room for this many positions.
    fn cache(positions: usize) -> PrefixCache<Cpu> {
        PrefixCache::new(positions, 1)
    }

    /// Keeps a sequence that was fed these tokens, on top of what is known already.
    fn keep(cache: &mut PrefixCache<Cpu>, decoder: &Decoder<Cpu>, tokens: &[u32]) {
        let mut sequence = cache.start(decoder, tokens).expect("starts");
        let known = sequence.position();
        let feed = Feed {
            sequence: &mut sequence,
            tokens: &tokens[known..],
            logits: Wanted::None,
        };
        decoder.feed(&mut [feed]).expect("feeds");
        cache.keep(decoder, tokens, &sequence).expect("keeps");
    }

    /// How much of a prompt is known.
    fn known(cache: &mut PrefixCache<Cpu>, decoder: &Decoder<Cpu>, prompt: &[u32]) -> usize {
        cache.start(decoder, prompt).expect("starts").position()
    }

    #[test]
    fn the_longest_known_beginning_is_found_but_never_the_last_token() {
        let decoder = decoder();
        let mut cache = cache(1000);
        assert_eq!(known(&mut cache, &decoder, &[1, 2]), 0);
        keep(&mut cache, &decoder, &[1, 2, 3, 4]);
        keep(&mut cache, &decoder, &[1, 2, 5]);
        keep(&mut cache, &decoder, &[1, 2, 3, 4, 6, 7]);
        for (prompt, expected) in [
            (&[1, 2, 3, 4, 6, 7, 8][..], 6),
            (&[1, 2, 3, 4, 6, 7], 5),
            (&[1, 2, 3, 9], 3),
            (&[1, 2, 5, 5, 5], 3),
            (&[1], 0),
            (&[2, 1, 2], 0),
        ] {
            assert_eq!(known(&mut cache, &decoder, prompt), expected, "{prompt:?}");
        }
    }

    #[test]
    fn what_many_begin_with_is_kept_once_and_outlives_them() {
        let decoder = decoder();
        // Room for the prompt and two answers.
        let mut cache = cache(20 + 10 + 10 + 3 * FORK_POSITIONS);
        let prompt: Vec<u32> = (10..30).collect();
        let answer = |index: u32| -> Vec<u32> {
            let own = (0..10).map(|token| 100 + 50 * index + token);
            prompt.iter().copied().chain(own).collect()
        };
        for index in 0..20 {
            keep(&mut cache, &decoder, &answer(index));
            assert!(cache.positions <= cache.most_positions);
        }
        for (index, expected) in [(19, 29), (18, 29), (17, 20), (0, 20)] {
            assert_eq!(known(&mut cache, &decoder, &answer(index)), expected);
        }
    }

    #[test]
    fn the_least_recently_used_goes_first() {
        let decoder = decoder();
        let mut cache = cache(3 * (4 + FORK_POSITIONS));
        for first in [1, 2, 3] {
            keep(&mut cache, &decoder, &[first, 7, 7, 7]);
        }
        assert_eq!(known(&mut cache, &decoder, &[1, 7, 7, 7, 7]), 4);
        keep(&mut cache, &decoder, &[4, 7, 7, 7]);
        assert_eq!(known(&mut cache, &decoder, &[2, 7, 7, 7, 7]), 0);
        for first in [1, 3, 4] {
            assert_eq!(known(&mut cache, &decoder, &[first, 7, 7, 7, 7]), 4);
        }
    }

    #[test]
    fn what_has_no_room_is_not_kept() {
        let decoder = decoder();
        let mut cache = cache(FORK_POSITIONS + 3);
        keep(&mut cache, &decoder, &[1, 2, 3, 4]);
        assert_eq!(known(&mut cache, &decoder, &[1, 2, 3, 4, 5]), 0);
        keep(&mut cache, &decoder, &[1, 2, 3]);
        assert_eq!(known(&mut cache, &decoder, &[1, 2, 3, 4, 5]), 3);
    }
}
