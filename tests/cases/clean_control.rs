//! Control characters, white space and newlines under `[clean]`.
