//! One rule of the list: how it is written, and what it allows.

use std::fmt;
use std::net::IpAddr;

use super::address::contains;
use super::target::{Target, TargetError, TargetHost, parse_host, parse_port};

/// One rule; the table of `egress` shows how it is written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rule {
    pub(super) hosts: Hosts,
    /// `None`: any port.
    pub(super) port: Option<u16>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Hosts {
    Name(String),
    Below(String),
    Network { address: IpAddr, prefix: u8 },
}

/// A rule that can't be understood: what is wrong and what is accepted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RuleError(String);

impl Rule {
    /// Reads one rule.
    ///
    /// # Errors
    /// It is none of the forms of the table of `egress`.
    pub fn parse(text: &str) -> Result<Self, RuleError> {
        without_secrets(text)?;
        let error = |why: &str| RuleError(format!("`{text}` {why}; {ACCEPTED}"));
        if text.contains("://") {
            return Err(error("has a scheme in front"));
        }
        let (host, prefix, port) = split_rule(text).ok_or_else(|| error("has an invalid port"))?;
        let port = match port {
            None => None,
            Some(port) => Some(parse_port(port).ok_or_else(|| error("has an invalid port"))?),
        };
        if let Some(name) = host.strip_prefix("*.") {
            return match (parse_host(name), prefix) {
                (Ok(TargetHost::Name(name)), None) => Ok(Self { hosts: Hosts::Below(name), port }),
                _ => Err(error("has no name after `*.`")),
            };
        }
        if host.contains('*') {
            return Err(error("may have a `*` only as `*.name`"));
        }
        match (parse_host(host), prefix) {
            (Ok(TargetHost::Name(name)), None) => Ok(Self { hosts: Hosts::Name(name), port }),
            (Ok(TargetHost::Name(_)), Some(_)) => Err(error("gives a range of something that is no address")),
            (Ok(TargetHost::Address(address)), None) => Ok(Self { hosts: single(address), port }),
            (Ok(TargetHost::Address(address)), Some(prefix)) => {
                let mapped = host.contains(':') && address.is_ipv4();
                let hosts = range(address, prefix, mapped).ok_or_else(|| error("has no such range"))?;
                Ok(Self { hosts, port })
            }
            (Err(TargetError(why)), _) => Err(error(why)),
        }
    }

    /// Reads a list separated by commas; spaces around rules and empty ones don't matter.
    ///
    /// # Errors
    /// The first one that can't be understood.
    pub fn parse_list(text: &str) -> Result<Vec<Self>, RuleError> {
        // Before it is cut at commas, which a password may have.
        without_secrets(text)?;
        text.split(',').map(str::trim).filter(|item| !item.is_empty()).map(Self::parse).collect()
    }

    pub(super) fn allows(&self, target: &Target) -> bool {
        if self.port.is_some_and(|port| port != target.port) {
            return false;
        }
        match (&self.hosts, &target.host) {
            (Hosts::Name(name), TargetHost::Name(wanted)) => name == wanted,
            (Hosts::Below(name), TargetHost::Name(wanted)) => {
                wanted.strip_suffix(name.as_str()).is_some_and(|front| front.ends_with('.'))
            }
            (Hosts::Network { address, prefix }, TargetHost::Address(wanted)) => contains(*address, *prefix, *wanted),
            _ => false,
        }
    }
}

/// Refuses what may have a password or a signature in it, and shows nothing of the text: where that ends, only its author
/// knows.
fn without_secrets(text: &str) -> Result<(), RuleError> {
    let what = match text {
        _ if text.contains('@') => "a user in front",
        _ if text.contains(['?', '#']) => "a query",
        _ => return Ok(()),
    };
    Err(RuleError(format!("the rule has {what} (its value is not shown); {ACCEPTED}")))
}

impl fmt::Display for RuleError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for RuleError {}

const ACCEPTED: &str = "accepted are `name`, `*.name`, an address, a range such as `10.0.0.0/8`, each with an \
                        optional `:port` (IPv6 then in brackets: `[::1]:6333`)";

/// Host, prefix length and port as written; `None` where text follows that is none of them.
fn split_rule(text: &str) -> Option<(&str, Option<&str>, Option<&str>)> {
    if let Some((address, rest)) = text.strip_prefix('[').and_then(|inner| inner.split_once(']')) {
        // Keeps the brackets: only an IPv6 address may stand in them.
        let host = text.get(..address.len() + 2)?;
        let (prefix, port) = match rest.strip_prefix('/') {
            Some(rest) => rest.split_once(':').map_or((Some(rest), None), |(prefix, port)| (Some(prefix), Some(port))),
            None if rest.is_empty() => (None, None),
            None => (None, Some(rest.strip_prefix(':')?)),
        };
        return Some((host, prefix, port));
    }
    if text.matches(':').count() > 1 {
        // A bare IPv6 address: no port can follow.
        return Some(text.split_once('/').map_or((text, None, None), |(host, prefix)| (host, Some(prefix), None)));
    }
    let (front, port) = text.split_once(':').map_or((text, None), |(front, port)| (front, Some(port)));
    Some(front.split_once('/').map_or((front, None, port), |(host, prefix)| (host, Some(prefix), port)))
}

/// The range of this address alone.
pub(super) fn single(address: IpAddr) -> Hosts {
    Hosts::Network { address, prefix: if address.is_ipv4() { 32 } else { 128 } }
}

/// The range `address/prefix`; `mapped`: written as IPv6, whose first 96 bits are not the IPv4 address's.
fn range(address: IpAddr, prefix: &str, mapped: bool) -> Option<Hosts> {
    if prefix.is_empty() || !prefix.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    let prefix: u8 = prefix.parse().ok()?;
    let prefix = if mapped { prefix.checked_sub(96)? } else { prefix };
    let longest = if address.is_ipv4() { 32 } else { 128 };
    (prefix <= longest).then_some(Hosts::Network { address, prefix })
}
