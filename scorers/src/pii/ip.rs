//! IPv4 and IPv6 addresses that a user can have: global unicast ones, except public resolvers.
//!
//! Most dotted numbers of a manual are versions, sections and object identifiers. An IPv4 address
//! is four numbers without leading zeros that nothing continues on either side, with no word such
//! as `version` before it, and not all small. The ranges are those of the IANA registries of
//! special-purpose addresses (RFC 6890), with RFC 5737, RFC 3849 and RFC 9637 for documentation.

use std::net::{Ipv4Addr, Ipv6Addr};

use super::cues::{Cue, Cues};
use super::number::Number;
use super::{byte_at, byte_before, is_word};

/// Addresses of public resolvers, which name no user.
const RESOLVERS_V4: &[[u8; 4]] = &[
    [1, 0, 0, 1],
    [1, 1, 1, 1],
    [1, 0, 0, 2],
    [1, 1, 1, 2],
    [4, 2, 2, 1],
    [4, 2, 2, 2],
    [4, 2, 2, 3],
    [4, 2, 2, 4],
    [8, 8, 4, 4],
    [8, 8, 8, 8],
    [9, 9, 9, 9],
    [9, 9, 9, 10],
    [76, 76, 2, 0],
    [94, 140, 14, 14],
    [94, 140, 15, 15],
    [149, 112, 112, 112],
    [208, 67, 220, 220],
    [208, 67, 222, 222],
];

/// The same in IPv6.
const RESOLVERS_V6: &[Ipv6Addr] = &[
    Ipv6Addr::new(0x2001, 0x4860, 0x4860, 0, 0, 0, 0, 0x8844),
    Ipv6Addr::new(0x2001, 0x4860, 0x4860, 0, 0, 0, 0, 0x8888),
    Ipv6Addr::new(0x2606, 0x4700, 0x4700, 0, 0, 0, 0, 0x1001),
    Ipv6Addr::new(0x2606, 0x4700, 0x4700, 0, 0, 0, 0, 0x1111),
    Ipv6Addr::new(0x2620, 0xfe, 0, 0, 0, 0, 0, 9),
    Ipv6Addr::new(0x2620, 0xfe, 0, 0, 0, 0, 0, 0xfe),
];

/// The IPv4 address that a number of four groups is.
pub(super) fn v4(
    bytes: &[u8],
    number: &Number,
    cues: &mut Cues,
    documentation: bool,
) -> Option<(usize, usize)> {
    let (address, end) = dotted(bytes, number.at)?;
    let is_whole = is_free_before(bytes, number.at) && is_free_after(bytes, end);
    if !is_whole
        || !is_of_user(address, documentation)
        || is_network(bytes, end, u32::from(address))
    {
        return None;
    }

    if is_heading(bytes, number.at, end, address) {
        return None;
    }

    // A word right before the number decides. Without one, small numbers are a version.
    let is_named = cues.has(Cue::Ip, 16);
    let is_version = cues.has(Cue::Version, 16) || follows_product(bytes, number.at);
    let is_address = match is_named && cues.nearer(Cue::Ip, Cue::Version) {
        true => true,
        false => !is_version && !is_small(address),
    };
    is_address.then_some((number.at, end))
}

/// Four numbers of 0 to 255 without leading zeros, with dots between them, and where they end.
fn dotted(bytes: &[u8], at: usize) -> Option<(Ipv4Addr, usize)> {
    let mut octets = [0; 4];
    let mut at = at;
    for (place, octet) in octets.iter_mut().enumerate() {
        if place > 0 {
            at += usize::from(byte_at(bytes, at) == b'.');
        }
        let group = Number::at(bytes, at);
        let text = std::str::from_utf8(&bytes[at..group.run_end]).ok()?;
        if text.len() > 1 && text.starts_with('0') {
            return None;
        }
        *octet = text.parse().ok()?;
        at = group.run_end;
    }
    Some((Ipv4Addr::from(octets), at))
}

/// True if nothing before an address makes it a part of something longer. A hyphen is the middle of
/// a range if an address stands before it.
fn is_free_before(bytes: &[u8], at: usize) -> bool {
    match byte_before(bytes, at) {
        b'-' => {
            let before = &bytes[at.saturating_sub(16)..at - 1];
            let start = before
                .iter()
                .rposition(|byte| !byte.is_ascii_digit() && *byte != b'.');
            let start = start.map_or(0, |other| other + 1);
            dotted(before, start).is_some_and(|(_, end)| end == before.len())
        }
        b'.' => !byte_before(bytes, at - 1).is_ascii_alphanumeric(),
        before => !is_word(before),
    }
}

/// The same behind an address.
fn is_free_after(bytes: &[u8], end: usize) -> bool {
    let after = byte_at(bytes, end + 1);
    match byte_at(bytes, end) {
        b'-' => !after.is_ascii_alphanumeric() || dotted(bytes, end + 1).is_some(),
        b'.' => !after.is_ascii_alphanumeric(),
        next => !is_word(next) && next != b'+' && next != b'~',
    }
}

/// True for numbers as versions, sections and object identifiers have them. One address in 400 is
/// so small.
fn is_small(address: Ipv4Addr) -> bool {
    let octets = address.octets();
    let below = |limit: u8| octets.iter().filter(|octet| **octet < limit).count();
    // 2.5.29 is the arc of extensions of certificates.
    below(10) >= 3
        || below(32) == 4
        || below(10) == 2 && below(100) == 4
        || octets[..3] == [2, 5, 29]
}

/// True if the number begins a line as the number of a section does, with its title behind it.
fn is_heading(bytes: &[u8], at: usize, end: usize, address: Ipv4Addr) -> bool {
    let before = bytes[at.saturating_sub(16)..at].iter().rev();
    let begins = before.copied().find(|byte| *byte != b' ');
    let title = end + usize::from(byte_at(bytes, end) == b'.');
    begins.is_none_or(|byte| byte == b'\n')
        && byte_at(bytes, title) == b' '
        && byte_at(bytes, title + 1).is_ascii_alphabetic()
        && address.octets().iter().all(|octet| *octet < 100)
}

/// True if the address stands behind a product's name and a slash, as versions in `User-Agent` do.
fn follows_product(bytes: &[u8], at: usize) -> bool {
    byte_before(bytes, at) == b'/' && byte_before(bytes, at - 1).is_ascii_alphanumeric()
}

/// True if a length of a prefix follows, and the address is the network itself, not a host in it.
fn is_network(bytes: &[u8], end: usize, address: u32) -> bool {
    if byte_at(bytes, end) != b'/' {
        return false;
    }
    let group = Number::at(bytes, end + 1);
    let length = &bytes[end + 1..group.run_end];
    let length = std::str::from_utf8(length)
        .ok()
        .and_then(|text| text.parse::<u32>().ok());
    length.is_some_and(|length| length < 32 && address << length == 0)
}

/// True for a global unicast address that is no public resolver. `documentation`: the ranges of
/// documentation count as well.
fn is_of_user(address: Ipv4Addr, documentation: bool) -> bool {
    let [a, b, c, d] = address.octets();
    if is_documentation_v4(a, b, c) {
        return documentation;
    }
    if is_made_up(address) && !documentation {
        return false;
    }
    // Networks end with 0 by custom.
    is_global_v4(address.octets()) && !RESOLVERS_V4.contains(&address.octets()) && d != 0
}

/// True for addresses that stand for any other: 1.2.3.4, 5.5.5.5, 12.34.56.78.
fn is_made_up(address: Ipv4Addr) -> bool {
    let [a, b, c, d] = address.octets();
    let steps = [b.wrapping_sub(a), c.wrapping_sub(b), d.wrapping_sub(c)];
    steps == [0; 3]
        || steps == [1; 3]
        || matches!(
            [a, b, c, d],
            [12, 34, 56, 78] | [123, 45, 67, 89] | [11, 22, 33, 44]
        )
}

/// RFC 5737.
fn is_documentation_v4(a: u8, b: u8, c: u8) -> bool {
    matches!((a, b, c), (192, 0, 2) | (198, 51, 100) | (203, 0, 113))
}

/// True if IANA's registry of special-purpose addresses does not list the address, or lists it as
/// globally reachable, and it is no multicast address.
pub(super) fn is_global_v4([a, b, c, d]: [u8; 4]) -> bool {
    let is_special = match (a, b) {
        (0 | 10 | 127 | 224..=255, _) | (169, 254) | (192, 168) | (198, 18 | 19) => true,
        (100, 64..=127) | (172, 16..=31) => true,
        (192, 0) => c == 0 && !(d == 9 || d == 10),
        (192, 88) => c == 99,
        _ => false,
    };
    !is_special && !is_documentation_v4(a, b, c)
}

/// The longest address: eight groups of four digits.
const LONGEST_V6: usize = 39;

/// The IPv6 address whose first colon is at `at`.
pub(super) fn v6(text: &str, at: usize, documentation: bool) -> Option<(usize, usize)> {
    // Global addresses begin with 2 or 3 and have four digits in the first group. Few colons of a
    // text have such digits before them, so that little is read twice.
    let bytes = text.as_bytes();
    let start = at.checked_sub(4)?;
    let is_start = matches!(bytes[start], b'2' | b'3')
        && bytes[start..at].iter().all(u8::is_ascii_hexdigit)
        && !is_word(byte_before(bytes, start))
        && !matches!(byte_before(bytes, start), b':' | b'.' | b'-');
    if !is_start {
        return None;
    }

    let is_part = |byte: &&u8| byte.is_ascii_hexdigit() || matches!(byte, b':' | b'.');
    let rest = bytes[at..].iter().take(LONGEST_V6).take_while(is_part);
    let run = at + rest.count();
    // A full stop or a colon of the sentence does not belong to the address.
    let mut end = run;
    while matches!(bytes[end - 1], b'.' | b':') && !text[..end].ends_with("::") {
        end -= 1;
    }

    let is_whole = !is_word(byte_at(bytes, run)) && byte_at(bytes, run) != b'-';
    let colons = bytes[start..end]
        .iter()
        .filter(|byte| **byte == b':')
        .count();
    // Two groups are rather `a::b` of a program.
    if !is_whole || end - start > LONGEST_V6 || colons < 3 {
        return None;
    }

    let address: Ipv6Addr = text[start..end].parse().ok()?;
    let is_address = is_of_user_v6(&address, documentation) && !is_network_v6(bytes, end, &address);
    is_address.then_some((start, end))
}

/// True for a global unicast address, 2000::/3, that is no public resolver.
fn is_of_user_v6(address: &Ipv6Addr, documentation: bool) -> bool {
    let [a, b, ..] = address.segments();
    let is_documentation = (a, b) == (0x2001, 0xdb8) || (a == 0x3fff && b < 0x1000);
    if is_documentation {
        return documentation;
    }

    // 2001::/23 is for protocols, and 2002::/16 holds an IPv4 address.
    let is_protocol = a == 0x2001 && b < 0x200;
    let holds_private = a == 0x2002 && {
        let [_, _, c, ..] = address.segments();
        let [[w, x], [y, z]] = [b.to_be_bytes(), c.to_be_bytes()];
        !is_global_v4([w, x, y, z])
    };
    a >> 13 == 1 && !is_protocol && !holds_private && !RESOLVERS_V6.contains(address)
}

/// True if a length of a prefix follows, and the address is the network itself.
fn is_network_v6(bytes: &[u8], end: usize, address: &Ipv6Addr) -> bool {
    if byte_at(bytes, end) != b'/' {
        return false;
    }
    let group = Number::at(bytes, end + 1);
    let length = &bytes[end + 1..group.run_end];
    let length = std::str::from_utf8(length)
        .ok()
        .and_then(|text| text.parse::<u32>().ok());
    length.is_some_and(|length| length < 128 && u128::from(*address) << length == 0)
}
