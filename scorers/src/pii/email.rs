//! E-mail addresses, those of Unicode (RFC 6531) too.
//!
//! What stands around an `@` is an address if a local part of at most 64 bytes is before it, and
//! behind it labels whose end is a public suffix of the list at publicsuffix.org. So `logo@2x.png`,
//! `pkg@1.2.3` and `user@host` are none. A script without spaces may stand right beside an address:
//! Latin letters do not go on into letters of another script.
//!
//! Left alone are users of the web's federated services (`@a@b.org`), users in front of a host in
//! an address (`https://user@host`, `git@host:path`), ids of messages, names of algorithms
//! (`name@openssh.com`), calls in programs (`a@b.to(c)`), and the names for documentation of RFC
//! 2606.

use psl::{List, Psl as _};

use super::{byte_at, byte_before};

/// The longest local part, in bytes (RFC 5321, section 4.5.3.1.1).
const LONGEST_LOCAL: usize = 64;
/// The longest domain, in bytes (RFC 1035, section 2.3.4).
const LONGEST_DOMAIN: usize = 253;

/// The address around the `@` at `at`.
pub(super) fn around(text: &str, at: usize, documentation: bool) -> Option<(usize, usize)> {
    let start = local_start(text, at)?;
    let end = domain_end(text, at + 1)?;
    let (local, domain) = (&text[start..at], &text[at + 1..end]);

    let bytes = text.as_bytes();
    let is_address = !is_user_of_host(bytes, start, local, end)
        && !is_message_id(bytes, start)
        && !is_algorithm(local, domain)
        && byte_at(bytes, end) != b'(';
    (is_address && (documentation || !is_documentation(domain))).then_some((start, end))
}

/// The start of the local part that ends at `at`.
fn local_start(text: &str, at: usize) -> Option<usize> {
    let before = &text[..at];
    let last = before.chars().next_back()?;
    let is_of_script = same_script(last);

    let mut start = at;
    for (place, char) in before.char_indices().rev() {
        let is_part = match char {
            'a'..='z' | 'A'..='Z' | '0'..='9' => true,
            '.' | '_' | '%' | '+' | '-' | '\'' | '&' | '=' | '!' | '#' | '$' | '*' | '/' | '?'
            | '^' | '`' | '{' | '|' | '}' | '~' => true,
            _ => char.is_alphanumeric() || is_mark(char),
        };
        if !is_part || !is_of_script(char) {
            break;
        }
        start = place;
        // A part that is too long is no local part, and is not read to its start.
        if at - start > LONGEST_LOCAL {
            return None;
        }
    }

    // Marks around an address and keys before it are no part of it.
    let mut local = &text[start..at];
    if let Some(key) = local.rfind(['=', '/', '?', '|', '{', '}', '`', '*', '!', '#', '$', '^']) {
        local = &local[key + 1..];
    }
    let local = local.trim_start_matches(['.', '\'', '&', '-', '~', '+', '%']);

    let start = at - local.len();
    let is_dotted = local.ends_with('.') || local.contains("..");
    let is_user = matches!(byte_before(text.as_bytes(), start), b'@' | b'\\');
    let shows = local.chars().any(char::is_alphanumeric);
    (shows && !is_dotted && !is_user).then_some(start)
}

/// The end of the domain that starts at `from`.
fn domain_end(text: &str, from: usize) -> Option<usize> {
    let rest = &text[from..];
    let first = rest.chars().next().filter(|char| char.is_alphanumeric())?;
    let is_of_script = same_script(first);

    let mut end = from;
    for (place, char) in rest.char_indices() {
        let is_part = char.is_alphanumeric() || is_mark(char) || matches!(char, '-' | '.');
        if !is_part || !is_of_script(char) || place > LONGEST_DOMAIN {
            break;
        }
        end = from + place + char.len_utf8();
    }
    if end - from > LONGEST_DOMAIN || matches!(byte_at(text.as_bytes(), end), b'@' | b'_') {
        return None;
    }

    // The full stop of a sentence is none of the domain's, nor is the next sentence.
    let mut domain = text[from..end].trim_end_matches(['.', '-']);
    while !is_domain(domain) {
        let (head, last) = domain.rsplit_once('.')?;
        if !last.starts_with(char::is_uppercase) {
            return None;
        }
        domain = head;
    }
    Some(from + domain.len())
}

/// True for labels under a public suffix.
fn is_domain(domain: &str) -> bool {
    let is_label = |label: &str| {
        !label.is_empty() && label.len() <= 63 && !label.starts_with('-') && !label.ends_with('-')
    };
    if !domain.contains('.') || !domain.split('.').all(is_label) {
        return false;
    }

    let lower = domain.to_lowercase();
    let suffix = List.suffix(lower.as_bytes());
    suffix.is_some_and(|suffix| suffix.is_known() && suffix.as_bytes().len() < lower.len())
}

/// A test for characters that may stand beside `neighbour` in one word: ASCII and Latin letters
/// beside ASCII, and all but ASCII letters beside others.
fn same_script(neighbour: char) -> impl Fn(char) -> bool {
    let is_latin = |char: char| char < '\u{250}' || is_mark(char);
    let beside_latin = is_latin(neighbour);
    move |char| match beside_latin {
        true => is_latin(char),
        false => !is_latin(char) || !char.is_alphabetic(),
    }
}

/// True for combining marks of Latin letters and of Indic scripts, which are parts of words.
fn is_mark(char: char) -> bool {
    matches!(char, '\u{300}'..='\u{36f}' | '\u{93c}'..='\u{94f}' | '\u{9bc}'..='\u{9cd}' | '\u{bbe}'..='\u{bcd}')
}

/// Accounts that stand for a protocol, not for a person.
const SERVICES: &[&str] = &["git", "hg", "svn", "bzr", "cvs", "anonymous", "anoncvs"];

/// True if the address is a user in front of a host: in a URL, or in a path of scp and git.
fn is_user_of_host(bytes: &[u8], start: usize, local: &str, end: usize) -> bool {
    if SERVICES.contains(&local) {
        return true;
    }

    // `scheme://user:password@host`: a user name and a password hold no blanks and no slashes.
    let before = &bytes[start.saturating_sub(LONGEST_LOCAL)..start];
    let is_edge = |byte: &u8| byte.is_ascii_whitespace() || *byte == b'/' || *byte == b'@';
    let edge = before.iter().rposition(is_edge);
    if edge.is_some_and(|edge| edge >= 2 && before[..=edge].ends_with(b"://")) {
        return true;
    }

    // `user@host:path/file`. A password behind a colon has rarely a slash.
    let path = bytes[end..].iter().take(LONGEST_LOCAL);
    let mut path = path.take_while(|byte| !byte.is_ascii_whitespace());
    path.next() == Some(&b':') && byte_at(bytes, end + 1) != b'/' && path.any(|byte| *byte == b'/')
}

/// True if the line says that an id of a message follows.
fn is_message_id(bytes: &[u8], start: usize) -> bool {
    if byte_before(bytes, start) != b'<' {
        return false;
    }
    let before = bytes[start.saturating_sub(24)..start - 1].to_ascii_lowercase();
    let before = before.trim_ascii_end();
    [
        &b"message-id:"[..],
        b"in-reply-to:",
        b"references:",
        b"content-id:",
    ]
    .iter()
    .any(|header| before.ends_with(header))
}

/// Domains that own names of algorithms (RFC 4251, section 6).
const NAMESPACES: &[&str] = &[
    "openssh.com",
    "libssh.org",
    "lysator.liu.se",
    "ssh.com",
    "putty.projects.tartarus.org",
];

/// True for a name of an algorithm of SSH, such as `hmac-sha2-256-etm@openssh.com`.
fn is_algorithm(local: &str, domain: &str) -> bool {
    let is_name = local.contains(['-', '0', '1', '2', '3', '4', '5', '6', '7', '8', '9']);
    NAMESPACES.contains(&domain)
        && (is_name || local == "zlib" || local == "statvfs" || local == "fsync")
}

/// True for the domains that RFC 2606 and RFC 6761 keep for documentation.
fn is_documentation(domain: &str) -> bool {
    let lower = domain.to_ascii_lowercase();
    let labels: Vec<&str> = lower.rsplit('.').take(2).collect();
    match labels[..] {
        ["com" | "net" | "org" | "edu", "example"] => true,
        [top, ..] => matches!(top, "example" | "test" | "invalid" | "localhost"),
        [] => false,
    }
}
