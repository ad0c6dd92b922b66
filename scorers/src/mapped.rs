//! The bytes of a model file: mapped, or in memory.

use std::fs::{self, File};
use std::io;
use std::ops::Deref;
use std::path::Path;

use memmap2::Mmap;

/// The bytes of a model file.
pub(crate) enum Bytes {
    /// Pages are read when they are needed, and shared between processes.
    Mapped(Mmap),
    /// The bytes are in memory.
    Owned(Vec<u8>),
}

impl Bytes {
    /// Maps a file. The file must not be changed in place while it is mapped. Replace it instead.
    ///
    /// # Errors
    /// If the path is not a regular file, or if the file cannot be opened or mapped.
    #[expect(
        unsafe_code,
        reason = "a mapped file may be changed by others; what is read from it is never trusted"
    )]
    pub(crate) fn map(path: &Path) -> io::Result<Bytes> {
        // Checked before the file is opened: a pipe may never open.
        if !fs::metadata(path)?.is_file() {
            return Err(io::Error::other("it is not a regular file"));
        }
        let file = File::open(path)?;

        // SAFETY: numbers are read out of the map as bytes, and every index made of them is
        // checked. A file that shrinks while it is mapped ends the process by a signal; the
        // documentation says so.
        let map = unsafe { Mmap::map(&file) }?;
        Ok(Bytes::Mapped(map))
    }
}

impl Deref for Bytes {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        match self {
            Bytes::Mapped(map) => map,
            Bytes::Owned(bytes) => bytes,
        }
    }
}
