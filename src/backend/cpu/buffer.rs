//! Memory of activations, used again by the thread that gave it up.
//!
//! A pass makes some hundred tensors of a few sizes, on one thread while the others wait. Asking the
//! system for each of them, and clearing it, stood out in the profile of a batch. Knows sizes; what
//! the elements are is not its business.

use std::cell::RefCell;
use std::ops::{Deref, DerefMut};

/// Most buffers that a thread keeps.
const MOST_BUFFERS: usize = 16;
/// Most elements that they have together: 16 MiB.
const MOST_ELEMENTS: usize = 4 << 20;

thread_local! {
    static UNUSED: RefCell<Vec<Vec<f32>>> = const { RefCell::new(Vec::new()) };
}

/// Elements of a tensor.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Buffer(Vec<f32>);

impl Buffer {
    /// `length` elements, each of which is to be written before it is read: they may be anything.
    pub(super) fn unwritten(length: usize) -> Self {
        let smallest = |unused: &mut Vec<Vec<f32>>| {
            let fitting = unused.iter().enumerate();
            let fitting = fitting.filter(|(_, buffer)| buffer.capacity() >= length);
            let (index, _) = fitting.min_by_key(|(_, buffer)| buffer.capacity())?;
            Some(unused.swap_remove(index))
        };
        let known = UNUSED.try_with(|unused| smallest(&mut unused.borrow_mut()));
        Self(match known {
            Ok(Some(mut buffer)) => {
                buffer.resize(length, 0.0);
                buffer
            }
            _ => vec![0.0; length],
        })
    }

    /// The elements, for somebody who keeps them.
    pub(super) fn into_vec(mut self) -> Vec<f32> {
        std::mem::take(&mut self.0)
    }
}

impl From<Vec<f32>> for Buffer {
    fn from(elements: Vec<f32>) -> Self {
        Self(elements)
    }
}

impl Drop for Buffer {
    fn drop(&mut self) {
        let buffer = std::mem::take(&mut self.0);
        if buffer.capacity() == 0 {
            return;
        }
        // A thread that ends keeps nothing.
        let _ = UNUSED.try_with(|unused| {
            let mut unused = unused.borrow_mut();
            let kept: usize = unused.iter().map(Vec::capacity).sum();
            if unused.len() < MOST_BUFFERS && kept + buffer.capacity() <= MOST_ELEMENTS {
                unused.push(buffer);
            }
        });
    }
}

impl Deref for Buffer {
    type Target = [f32];

    fn deref(&self) -> &[f32] {
        &self.0
    }
}

impl DerefMut for Buffer {
    fn deref_mut(&mut self) -> &mut [f32] {
        &mut self.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn memory_is_used_again_and_what_is_kept_is_bounded() {
        let first = Buffer::from(vec![1.0; 1000]);
        let place = first.as_ptr();
        drop(first);
        let second = Buffer::unwritten(600);
        assert_eq!((second.as_ptr(), second.len()), (place, 600));
        let other = Buffer::unwritten(600);
        assert_ne!(other.as_ptr(), place);
        for _ in 0..2 * MOST_BUFFERS {
            drop(Buffer::from(vec![0.0; MOST_ELEMENTS / 4]));
            drop([(); 4].map(|()| Buffer::from(vec![0.0; MOST_ELEMENTS / 2])));
        }
        UNUSED.with_borrow(|unused| {
            assert!(unused.len() <= MOST_BUFFERS);
            assert!(unused.iter().map(Vec::capacity).sum::<usize>() <= MOST_ELEMENTS);
        });
    }

    #[test]
    fn who_keeps_elements_has_them_alone() {
        let kept = Buffer::from(vec![3.0; 50]).into_vec();
        let mut other = Buffer::unwritten(50);
        other.fill(4.0);
        assert_eq!(kept, [3.0; 50]);
    }
}
