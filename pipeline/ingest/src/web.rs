//! Reads web archives: WARC records, their HTTP messages, the character encodings of pages, MIME
//! types and addresses. [`page::page`] turns one WARC record into a page.

#[cfg(test)]
mod cases;
pub mod charset;
pub mod digest;
mod encodings;
pub mod headers;
pub mod http;
pub mod mime;
pub mod page;
mod prescan;
pub mod rights;
pub mod url;
pub mod warc;
