//! A server's address as people write it.

use std::fmt;
use std::net::{Ipv4Addr, Ipv6Addr};

/// Scheme, host and port of a server; no path, no user, no query.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Host {
    /// True for https.
    pub tls: bool,
    /// Name or address; IPv6 in brackets, names in lower case.
    pub name: String,
    /// Port, always known.
    pub port: u16,
}

/// The port of an address that names none.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DefaultPort {
    /// This one, whatever the scheme: Qdrant listens on 6333 with TLS and without.
    Always(u16),
    /// The scheme's own: 80 or 443.
    OfScheme,
}

impl Host {
    /// Reads `name`, `name:port`, `http://name:port/`, `https://name`, an IPv4 address, an IPv6 address with or
    /// without brackets. Without a scheme it is http.
    ///
    /// # Errors
    /// Anything else, in words: another scheme, a user, a path, a query, a bad name or port.
    pub fn parse(text: &str, default_port: DefaultPort) -> Result<Self, String> {
        let text = text.trim();
        if text.starts_with("tcp://") {
            return Err(injected(text));
        }
        let (tls, rest) = match text.split_once("://") {
            None => (false, text),
            Some((scheme, rest)) if scheme.eq_ignore_ascii_case("http") => (false, rest),
            Some((scheme, rest)) if scheme.eq_ignore_ascii_case("https") => (true, rest),
            Some((scheme, _)) => return Err(format!("`{scheme}://` is not supported; use http:// or https://")),
        };
        if rest.contains('@') {
            return Err("user and password in an address are not supported; use the variables for keys".to_owned());
        }
        let authority = rest.trim_end_matches('/');
        if authority.contains(['/', '?', '#']) {
            return Err("only scheme, host and port are accepted, no path".to_owned());
        }
        let (name, port) = split_port(authority)?;
        let port = match (port, default_port) {
            (Some(port), _) => port,
            (None, DefaultPort::Always(port)) => port,
            (None, DefaultPort::OfScheme) if tls => 443,
            (None, DefaultPort::OfScheme) => 80,
        };
        Ok(Self { tls, name, port })
    }

    /// `host` or `host:port`, the port left out where it is the scheme's own (80, 443), as the `Host`
    /// header and a signature have it.
    pub fn authority(&self) -> String {
        match (self.tls, self.port) {
            (false, 80) | (true, 443) => self.name.clone(),
            (_, port) => format!("{}:{port}", self.name),
        }
    }
}

impl fmt::Display for Host {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}://{}", if self.tls { "https" } else { "http" }, self.authority())
    }
}

/// What a value such as `tcp://10.0.0.1:6333` means.
pub(super) fn injected(text: &str) -> String {
    format!(
        "`{text}` was put there by Kubernetes, for a Service whose name makes a variable of the same name; set \
         `enableServiceLinks: false` in the pod, or set the variable yourself"
    )
}

fn split_port(authority: &str) -> Result<(String, Option<u16>), String> {
    if let Some(rest) = authority.strip_prefix('[') {
        let (address, rest) = rest.split_once(']').ok_or("the bracket of an IPv6 address is not closed")?;
        let address: Ipv6Addr = address.parse().map_err(|_| format!("`{address}` is not an IPv6 address"))?;
        return Ok((format!("[{address}]"), port(rest)?));
    }
    if let Ok(address) = authority.parse::<Ipv6Addr>() {
        return Ok((format!("[{address}]"), None));
    }
    let (name, rest) = authority.find(':').map_or((authority, ""), |colon| authority.split_at(colon));
    Ok((name_of(name)?, port(rest)?))
}

fn port(text: &str) -> Result<Option<u16>, String> {
    match text.strip_prefix(':') {
        None if text.is_empty() => Ok(None),
        Some(digits) => match digits.parse() {
            Ok(port) if port > 0 && digits.bytes().all(|byte| byte.is_ascii_digit()) => Ok(Some(port)),
            _ => Err(format!("`{digits}` is not a port (1 to 65535)")),
        },
        None => Err(format!("`{text}` after the address is not a port")),
    }
}

/// A DNS name (RFC 1123, with the underscore that some clusters use) or an IPv4 address.
fn name_of(name: &str) -> Result<String, String> {
    let name = name.trim_end_matches('.').to_ascii_lowercase();
    let bad = name.chars().find(|c| !(c.is_ascii_alphanumeric() || matches!(c, '-' | '.' | '_')));
    if let Some(bad) = bad {
        return Err(format!("`{bad}` can't be in a host's name"));
    }
    if name.is_empty() || name.len() > 253 || name.split('.').any(|label| label.is_empty() || label.len() > 63) {
        return Err("a host's name or address is missing, or too long".to_owned());
    }
    let numeric = name.split('.').all(|label| label.bytes().all(|byte| byte.is_ascii_digit()));
    if numeric && name.parse::<Ipv4Addr>().is_err() {
        return Err(format!("`{name}` is not an IPv4 address"));
    }
    Ok(name)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn qdrant(text: &str) -> Result<String, String> {
        Host::parse(text, DefaultPort::Always(6333)).map(|host| format!("{host}"))
    }

    #[test]
    fn hosts_are_read_as_people_write_them() {
        for (text, expected) in [
            ("qdrant-headless", "http://qdrant-headless:6333"),
            (" http://Qdrant-Headless:6333/ ", "http://qdrant-headless:6333"),
            ("https://qdrant.example.com", "https://qdrant.example.com:6333"),
            ("https://qdrant.example.com:443", "https://qdrant.example.com"),
            ("10.0.0.7:7000", "http://10.0.0.7:7000"),
            ("::1", "http://[::1]:6333"),
            ("[::1]", "http://[::1]:6333"),
            ("http://[FD00::0:1]:80", "http://[fd00::1]"),
            ("qdrant.svc.", "http://qdrant.svc:6333"),
        ] {
            assert_eq!(qdrant(text).unwrap(), expected, "{text}");
        }
        assert_eq!(Host::parse("https://s3.example.com", DefaultPort::OfScheme).unwrap().authority(), "s3.example.com");
    }

    #[test]
    fn anything_else_is_refused_in_words() {
        for (text, why) in [
            ("ftp://host", "not supported"),
            ("http://user:pw@host", "user and password"),
            ("http://host/path", "no path"),
            ("host:0", "not a port"),
            ("host:70000", "not a port"),
            ("host:+80", "not a port"),
            ("[::1", "not closed"),
            ("[::1]x", "not a port"),
            ("", "missing"),
            ("a..b", "missing"),
            ("ho st", "can't be"),
            ("999.1.1.1", "IPv4"),
            ("127.1", "IPv4"),
            ("tcp://10.0.0.1:6333", "enableServiceLinks"),
        ] {
            let error = qdrant(text).unwrap_err();
            assert!(error.contains(why), "{text}: {error}");
        }
    }
}
