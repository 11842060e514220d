//! Where a request wants to go, by the text of its address.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use http::Uri;
use http::uri::Scheme;

/// Where a request wants to go.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Target {
    pub(super) host: TargetHost,
    pub(super) port: u16,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) enum TargetHost {
    Name(String),
    Address(IpAddr),
}

/// An address that no rule can allow, with the reason.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TargetError(pub(super) &'static str);

impl Target {
    /// Where a request to `uri` goes; the scheme's own port (80, 443) where none is given.
    ///
    /// # Errors
    /// No host, a user in front of it, or a host or port that different programs could read differently.
    pub fn of(uri: &Uri) -> Result<Self, TargetError> {
        let authority = uri.authority().ok_or(TargetError("has no host"))?.as_str();
        if authority.contains('@') {
            return Err(TargetError("has a user in front"));
        }
        let (host, port) = match authority.rsplit_once(':') {
            // The last colon is inside of an IPv6 address.
            Some((_, after)) if after.ends_with(']') => (authority, None),
            Some((host, port)) => (host, Some(port)),
            None => (authority, None),
        };
        let port = match port {
            Some(port) => parse_port(port).ok_or(TargetError("has an invalid port"))?,
            None if uri.scheme() == Some(&Scheme::HTTPS) => 443,
            None => 80,
        };
        if host.contains(':') && !host.starts_with('[') {
            return Err(TargetError("has an IPv6 address without brackets"));
        }
        // What is checked here has to be what the client connects to.
        if uri.host() != Some(host) {
            return Err(TargetError("has a host that can be read in two ways"));
        }
        Ok(Self { host: parse_host(host)?, port })
    }

    /// The rule to add so that this target is allowed. The pods of a StatefulSet are named `set-0`, `set-1`,
    /// ... below their service, so that a rule for one of them is given for all; else for this host alone.
    pub fn suggestion(&self) -> String {
        match &self.host {
            TargetHost::Name(name) => match name.split_once('.') {
                Some((pod, service)) if is_numbered(pod) => format!("*.{service}"),
                _ => name.clone(),
            },
            TargetHost::Address(address) => address.to_string(),
        }
    }
}

impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.host {
            TargetHost::Name(name) => write!(f, "{name}:{}", self.port),
            TargetHost::Address(IpAddr::V4(address)) => write!(f, "{address}:{}", self.port),
            TargetHost::Address(IpAddr::V6(address)) => write!(f, "[{address}]:{}", self.port),
        }
    }
}

impl fmt::Display for TargetError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.0)
    }
}

impl std::error::Error for TargetError {}

/// 1 to 65535 in plain digits.
pub(super) fn parse_port(text: &str) -> Option<u16> {
    if !text.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    text.parse().ok().filter(|port| *port != 0)
}

/// A name, an IPv4 address, or an IPv6 address with or without brackets.
pub(super) fn parse_host(text: &str) -> Result<TargetHost, TargetError> {
    if let Some(inner) = text.strip_prefix('[') {
        let address = inner.strip_suffix(']').and_then(|inner| inner.parse::<Ipv6Addr>().ok());
        let address = address.ok_or(TargetError("has something else than an IPv6 address in brackets"))?;
        return Ok(TargetHost::Address(address.to_canonical()));
    }
    if text.contains(':') {
        let address = text.parse::<Ipv6Addr>().map_err(|_| TargetError("is no IPv6 address"))?;
        return Ok(TargetHost::Address(address.to_canonical()));
    }
    if let Ok(address) = text.parse::<Ipv4Addr>() {
        return Ok(TargetHost::Address(IpAddr::V4(address)));
    }
    let name = text.strip_suffix('.').unwrap_or(text).to_ascii_lowercase();
    let labels_are_plain = name.split('.').all(|label| {
        !label.is_empty()
            && label.len() <= 63
            && label.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_')
    });
    if !labels_are_plain || name.len() > 253 {
        return Err(TargetError("is no host name"));
    }
    // Resolvers take such names for IPv4 addresses (WHATWG URL, "ends in a number").
    let last = name.rsplit('.').next().unwrap_or_default();
    let hexadecimal = last.strip_prefix("0x").is_some_and(|digits| digits.bytes().all(|byte| byte.is_ascii_hexdigit()));
    if hexadecimal || last.bytes().all(|byte| byte.is_ascii_digit()) {
        return Err(TargetError("is no name and no address in the usual form `10.1.2.3`"));
    }
    Ok(TargetHost::Name(name))
}

/// `qdrant-0`: a name, a dash and a number.
fn is_numbered(pod: &str) -> bool {
    pod.rsplit_once('-').is_some_and(|(set, ordinal)| {
        !set.is_empty() && !ordinal.is_empty() && ordinal.bytes().all(|byte| byte.is_ascii_digit())
    })
}
