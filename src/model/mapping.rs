//! Maps a file into memory. The only `unsafe` outside the CPU kernels.

use std::fs::File;
use std::io;
use std::path::Path;

use crate::backend::Blob;

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
    Ok(Blob::new(mapping))
}
