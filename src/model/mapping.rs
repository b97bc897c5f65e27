//! Maps a file into memory. The only `unsafe` outside the CPU kernels.

use std::fs::File;
use std::io;
use std::ops::Range;
use std::path::Path;

use crate::backend::{Blob, Bytes};

/// The bytes of a file, read from disk as they are touched.
///
/// # Errors
/// If the file cannot be opened or mapped.
pub(super) fn map(path: &Path) -> io::Result<Blob> {
    let file = File::open(path)?;
    #[expect(
        unsafe_code,
        reason = "a mapping is the only way to use a checkpoint without copying it"
    )]
    // SAFETY: the mapping is read-only and lives as long as every `Blob` cut from it. The one
    // obligation left is that nobody shortens or rewrites the file meanwhile. Checkpoint files
    // are written once and then only read; tools that replace one rename a new file over it,
    // which leaves this mapping intact. All reads go through bounds-checked slices of plain
    // bytes, for which every value is valid.
    let mapping = unsafe { memmap2::Mmap::map(&file)? };
    Ok(Blob::new(Mapping(mapping)))
}

/// A mapped file.
struct Mapping(memmap2::Mmap);

impl Bytes for Mapping {
    fn bytes(&self) -> &[u8] {
        &self.0
    }

    #[cfg(unix)]
    fn release(&self, part: Range<usize>) {
        #[expect(unsafe_code, reason = "advice that drops pages is unsafe in general")]
        // SAFETY: the mapping is of a file and never written to, so a dropped page is read from
        // the file again, with the same bytes.
        let advised = unsafe {
            let advice = memmap2::UncheckedAdvice::DontNeed;
            (self.0).unchecked_advise_range(advice, part.start, part.len())
        };
        // It only saves memory; a system that refuses keeps the pages.
        let _ = advised;
    }
}
