//! Memory of activations, used again by the thread that gave it up.
//!
//! A pass makes some hundred tensors of a few sizes, on one thread while the others wait. Asking the
//! system for each of them, and clearing it, stood out in the profile of a batch. Knows sizes; what
//! the elements are is not its business.

use std::cell::RefCell;
use std::ops::{Deref, DerefMut};
use std::sync::Mutex;

/// Most buffers that a thread keeps.
const MOST_BUFFERS: usize = 16;
/// Most elements that they have together: 16 MiB.
const MOST_ELEMENTS: usize = 4 << 20;

thread_local! {
    static UNUSED: RefCell<Unused> = const { RefCell::new(Unused(Vec::new())) };
}

/// What came back from outside, for whichever thread needs it.
static RETURNED: Mutex<Unused> = Mutex::new(Unused(Vec::new()));
/// Elements from which on a buffer may be one of these.
const RETURNED_FROM: usize = 1 << 14;

/// Buffers that nobody uses.
struct Unused(Vec<Vec<f32>>);

impl Unused {
    /// The smallest one with room for `length` elements.
    fn take(&mut self, length: usize) -> Option<Vec<f32>> {
        let fitting = self.0.iter().enumerate();
        let fitting = fitting.filter(|(_, buffer)| buffer.capacity() >= length);
        let (index, _) = fitting.min_by_key(|(_, buffer)| buffer.capacity())?;
        Some(self.0.swap_remove(index))
    }

    fn put(&mut self, buffer: Vec<f32>) {
        let kept: usize = self.0.iter().map(Vec::capacity).sum();
        if self.0.len() < MOST_BUFFERS && kept + buffer.capacity() <= MOST_ELEMENTS {
            self.0.push(buffer);
        }
    }
}

/// Elements of a tensor.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Buffer(Vec<f32>);

impl Buffer {
    /// `length` elements, each of which is to be written before it is read: they may be anything.
    pub(super) fn unwritten(length: usize) -> Self {
        let known = UNUSED.try_with(|unused| unused.borrow_mut().take(length));
        let known = known.ok().flatten().or_else(|| match length {
            RETURNED_FROM.. => RETURNED.try_lock().ok()?.take(length),
            _ => None,
        });
        Self(match known {
            Some(mut buffer) => {
                buffer.resize(length, 0.0);
                buffer
            }
            None => vec![0.0; length],
        })
    }

    /// The elements, for somebody who keeps them, or [returns](Self::returned) them.
    pub(super) fn into_vec(mut self) -> Vec<f32> {
        std::mem::take(&mut self.0)
    }

    /// Takes elements back, for buffers of any thread.
    pub(super) fn returned(elements: Vec<f32>) {
        if elements.capacity() >= RETURNED_FROM
            && let Ok(mut returned) = RETURNED.try_lock()
        {
            returned.put(elements);
        }
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
        let _ = UNUSED.try_with(|unused| unused.borrow_mut().put(buffer));
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
        UNUSED.with_borrow(|Unused(unused)| {
            assert!(unused.len() <= MOST_BUFFERS);
            assert!(unused.iter().map(Vec::capacity).sum::<usize>() <= MOST_ELEMENTS);
        });
    }

    #[test]
    fn what_one_thread_took_out_another_may_use() {
        // Other tests return buffers too, but none of this size.
        let length = MOST_ELEMENTS - 12_345;
        let place = Buffer::from(vec![1.0; length]).into_vec();
        let address = place.as_ptr() as usize;
        Buffer::returned(place);
        let other = std::thread::spawn(move || Buffer::unwritten(length).as_ptr() as usize);
        assert_eq!(other.join().expect("no panic"), address);
    }

    #[test]
    fn who_keeps_elements_has_them_alone() {
        let kept = Buffer::from(vec![3.0; 50]).into_vec();
        let mut other = Buffer::unwritten(50);
        other.fill(4.0);
        assert_eq!(kept, [3.0; 50]);
    }
}
