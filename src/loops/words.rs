//! Words of mathematics whose repetitions are known exactly: what a detector must not be fooled by.

/// A fixed point of a morphism, cut to `length`.
fn morphic(images: &[&[u32]], length: usize) -> Vec<u32> {
    let mut word = vec![0];
    while word.len() < length {
        word = word
            .iter()
            .flat_map(|&letter| images[letter as usize].to_vec())
            .collect();
    }
    word.truncate(length);
    word
}

/// No block comes more than twice in a row, not even with one more token (Thue, 1912).
#[must_use]
pub fn thue_morse(length: usize) -> Vec<u32> {
    morphic(&[&[0, 1], &[1, 0]], length)
}

/// No block comes twice in a row.
#[must_use]
pub fn square_free(length: usize) -> Vec<u32> {
    morphic(&[&[0, 1, 2], &[0, 2], &[1]], length)
}

/// Full of repetitions that come close to 3.618 copies.
#[must_use]
pub fn fibonacci(length: usize) -> Vec<u32> {
    morphic(&[&[0, 1], &[0]], length)
}

/// Every block of `order` letters comes once: the cycle of de Bruijn (1946), built from Lyndon
/// words in order (Fredricksen, Kessler and Maiorana), `letters` to the power of `order` long.
#[must_use]
pub fn de_bruijn(letters: u32, order: usize) -> Vec<u32> {
    let mut word = vec![0_u32];
    let mut cycle = Vec::new();
    while !word.is_empty() {
        if order.is_multiple_of(word.len()) {
            cycle.extend(&word);
        }
        // The next Lyndon word: repeat up to the order, drop the largest letters, count up.
        let period = word.len();
        while word.len() < order {
            word.push(word[word.len() - period]);
        }
        while word.last().is_some_and(|&letter| letter + 1 == letters) {
            word.pop();
        }
        if let Some(letter) = word.last_mut() {
            *letter += 1;
        }
    }
    cycle
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_de_bruijn_cycle_has_every_block_once() {
        let cycle = de_bruijn(3, 4);
        assert_eq!(cycle.len(), 81);
        let mut blocks: Vec<Vec<u32>> = (0..81)
            .map(|at| (0..4).map(|offset| cycle[(at + offset) % 81]).collect())
            .collect();
        blocks.sort();
        blocks.dedup();
        assert_eq!(blocks.len(), 81);
    }
}
