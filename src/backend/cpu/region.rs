//! Memory for repacked weights: regions cut from large mappings, which the system backs with
//! large pages.
//!
//! Decode reads every weight once per token, so it is bound by memory; with pages of 4 KiB a good
//! part of that time goes into translating addresses. A matrix alone is often smaller than a large
//! page, hence the cutting. Knows bytes only.

use std::ops::{Deref, DerefMut};
use std::sync::{Arc, Mutex};

use memmap2::MmapMut;

use super::BackendError;

/// Bytes of a mapping; what is not used of it takes no memory.
const MAPPING: usize = 64 << 20;
/// Where a region may begin: at a line of the caches.
const ALIGNMENT: usize = 64;

/// Where regions come from.
#[derive(Debug, Default)]
pub(super) struct Regions {
    last: Mutex<Option<Rest>>,
}

/// A mapping, and how much of it is taken.
#[derive(Debug)]
struct Rest {
    mapping: Arc<Mapping>,
    used: usize,
}

/// Zeroed memory, of which regions own disjoint parts.
#[derive(Debug)]
struct Mapping {
    start: *mut u8,
    length: usize,
    /// Keeps the memory; it is only reached through `start`.
    _memory: MmapMut,
}

#[expect(unsafe_code, reason = "regions of a mapping go to different threads")]
// SAFETY: a mapping is memory and nothing else, and gives access to its bytes only through
// regions, whose parts are disjoint.
unsafe impl Send for Mapping {}
#[expect(unsafe_code, reason = "regions of a mapping go to different threads")]
// SAFETY: as above.
unsafe impl Sync for Mapping {}

/// Bytes of its own.
#[derive(Debug)]
pub(super) struct Region {
    mapping: Arc<Mapping>,
    first: usize,
    length: usize,
}

impl Regions {
    /// A region of zeros.
    ///
    /// # Errors
    /// If the system has no memory.
    pub(super) fn take(&self, length: usize) -> Result<Region, BackendError> {
        // Nothing panics while it holds this lock.
        let mut last = self.last.lock().unwrap_or_else(|error| error.into_inner());
        let mut rest = match last.take() {
            Some(rest) if rest.mapping.length - rest.used >= length => rest,
            _ => Rest {
                mapping: Arc::new(Mapping::new(length.max(MAPPING))?),
                used: 0,
            },
        };
        let region = Region {
            mapping: Arc::clone(&rest.mapping),
            first: rest.used,
            length,
        };
        rest.used = (rest.used + length)
            .next_multiple_of(ALIGNMENT)
            .min(rest.mapping.length);
        *last = Some(rest);
        Ok(region)
    }
}

impl Mapping {
    fn new(length: usize) -> Result<Self, BackendError> {
        let mut memory = MmapMut::map_anon(length)
            .map_err(|error| BackendError(format!("no memory for {length} bytes: {error}")))?;
        // A system without large pages does as well, a little slower.
        #[cfg(target_os = "linux")]
        let _ = memory.advise(memmap2::Advice::HugePage);
        Ok(Self {
            start: memory.as_mut_ptr(),
            length,
            _memory: memory,
        })
    }
}

impl Deref for Region {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        #[expect(unsafe_code, reason = "a region is a part of a shared mapping")]
        // SAFETY: the part lies inside the mapping, which lives as long as this region, and no
        // other region has any of it: `Regions::take` never gives out a byte twice.
        unsafe {
            std::slice::from_raw_parts(self.mapping.start.add(self.first), self.length)
        }
    }
}

impl DerefMut for Region {
    fn deref_mut(&mut self) -> &mut [u8] {
        #[expect(unsafe_code, reason = "a region is a part of a shared mapping")]
        // SAFETY: as for reading; and this region is borrowed mutably while the slice lives.
        unsafe {
            std::slice::from_raw_parts_mut(self.mapping.start.add(self.first), self.length)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn regions_are_zero_aligned_and_disjoint() {
        let regions = Regions::default();
        let sizes = [100, 1, MAPPING - 300, 500, 2 * MAPPING, 64];
        let mut taken: Vec<Region> = sizes
            .iter()
            .map(|size| regions.take(*size).expect("memory"))
            .collect();
        for (index, region) in taken.iter_mut().enumerate() {
            assert_eq!(region.len(), sizes[index]);
            assert!(region.as_ptr().addr().is_multiple_of(ALIGNMENT));
            assert!(region.iter().all(|byte| *byte == 0));
            region.fill(index as u8 + 1);
        }
        for (index, region) in taken.iter().enumerate() {
            assert!(region.iter().all(|byte| *byte == index as u8 + 1));
        }
        // The first three fit into one mapping, and the memory outlives where it came from.
        assert!(Arc::ptr_eq(&taken[0].mapping, &taken[2].mapping));
        drop(regions);
        assert_eq!(taken[0][99], 1);
    }
}
