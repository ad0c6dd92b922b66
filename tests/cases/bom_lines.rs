//! Byte order marks, odd line ends and files of another kind.
