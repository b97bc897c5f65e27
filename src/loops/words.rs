//! Words of mathematics whose repetitions are known exactly.

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
pub(super) fn thue_morse(length: usize) -> Vec<u32> {
    morphic(&[&[0, 1], &[1, 0]], length)
}

/// No block comes twice in a row.
pub(super) fn square_free(length: usize) -> Vec<u32> {
    morphic(&[&[0, 1, 2], &[0, 2], &[1]], length)
}

/// Full of repetitions that come close to 3.618 copies.
pub(super) fn fibonacci(length: usize) -> Vec<u32> {
    morphic(&[&[0, 1], &[0]], length)
}
