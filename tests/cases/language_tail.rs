//! A short tail in another language, and no-break spaces.
