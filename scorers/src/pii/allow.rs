//! Values that are let through: addresses and domains of one's own, networks, and any value by its
//! text.

use std::collections::HashSet;
use std::net::IpAddr;

use super::Kind;
use super::replace::canonical;

/// A list of values that are no personal data to its owner.
#[derive(Debug, Clone, Default)]
pub struct Allowed {
    /// Values in canonical form.
    values: HashSet<String>,
    /// Domains, in lower case.
    domains: HashSet<String>,
    /// Networks: address and length of the prefix.
    networks: Vec<(IpAddr, u32)>,
}

/// A line of a list that is no value, domain or network.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("line {line}: expected an address, @domain, a network such as 192.0.2.0/24, or =value")]
pub struct AllowError {
    /// Number of the line, from 1.
    pub line: usize,
}

impl Allowed {
    /// Reads a list with an entry a line. Empty lines, and lines that begin with `#`, count for
    /// nothing. An entry is
    ///
    /// - `name@example.org`, an address,
    /// - `@example.org`, every address of the domain and of the domains below it,
    /// - `192.0.2.1` or `192.0.2.0/24`, IPv6 alike,
    /// - `=+1 201 555 0123`, a value of any kind, compared without blanks and hyphens.
    ///
    /// # Errors
    /// If a line is none of these. The error does not repeat the line.
    pub fn read(list: &str) -> Result<Allowed, AllowError> {
        let mut allowed = Allowed::default();
        for (at, line) in list.lines().enumerate() {
            let line = line.trim();
            if line.is_empty() || line.starts_with('#') {
                continue;
            }
            allowed.add(line).ok_or(AllowError { line: at + 1 })?;
        }
        Ok(allowed)
    }

    /// Adds an entry. `None` if it is none.
    fn add(&mut self, entry: &str) -> Option<()> {
        if let Some(value) = entry.strip_prefix('=') {
            self.values.insert(canonical(Kind::Card, value));
            return (!value.is_empty()).then_some(());
        }
        if let Some(domain) = entry.strip_prefix('@') {
            self.domains.insert(domain.to_lowercase());
            return domain.contains('.').then_some(());
        }
        if entry.contains(char::is_whitespace) {
            return None;
        }
        if entry.contains('@') {
            self.values.insert(canonical(Kind::Email, entry));
            return Some(());
        }

        let (address, length) = entry.split_once('/').unwrap_or((entry, ""));
        let address: IpAddr = address.parse().ok()?;
        let longest = if address.is_ipv4() { 32 } else { 128 };
        let length = match length {
            "" => longest,
            length => length.parse().ok().filter(|length| *length <= longest)?,
        };
        self.networks.push((address, length));
        Some(())
    }

    /// True if the list has the value.
    pub fn lets_through(&self, kind: Kind, value: &str) -> bool {
        match kind {
            _ if self.values.is_empty() && self.domains.is_empty() && self.networks.is_empty() => {
                false
            }
            Kind::Email => self.values.contains(&canonical(kind, value)) || self.has_domain(value),
            Kind::Ipv4 | Kind::Ipv6 => {
                let address = value.parse::<IpAddr>();
                address.is_ok_and(|address| {
                    self.networks.iter().any(|network| is_in(address, *network))
                })
            }
            _ => self.values.contains(&canonical(Kind::Card, value)),
        }
    }

    /// True if the domain of an address, or one above it, is in the list.
    fn has_domain(&self, address: &str) -> bool {
        let Some((_, domain)) = address.rsplit_once('@') else {
            return false;
        };
        let domain = domain.to_lowercase();
        let mut rest = domain.as_str();
        loop {
            if self.domains.contains(rest) {
                return true;
            }
            match rest.split_once('.') {
                Some((_, above)) => rest = above,
                None => return false,
            }
        }
    }
}

/// True if an address lies in a network.
fn is_in(address: IpAddr, (network, length): (IpAddr, u32)) -> bool {
    match (address, network) {
        (IpAddr::V4(address), IpAddr::V4(network)) => {
            let mask = u32::MAX.checked_shl(32 - length).unwrap_or(0);
            (u32::from(address) ^ u32::from(network)) & mask == 0
        }
        (IpAddr::V6(address), IpAddr::V6(network)) => {
            let mask = u128::MAX.checked_shl(128 - length).unwrap_or(0);
            (u128::from(address) ^ u128::from(network)) & mask == 0
        }
        _ => false,
    }
}
