//! `QDRANT_PEER_HOSTS`: where the peers of a cluster are reached whose own addresses can't be, as those of managed clusters.

use super::host::{DefaultPort, Host};
use super::setting::{Variable, items};
use super::values::{shown, without_user};

/// Rules from a peer to its REST address; the first that fits counts.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PeerHosts(Vec<Rule>);

#[derive(Clone, Debug, PartialEq, Eq)]
struct Rule {
    /// A peer id, or the name in the peer's address for other peers; `*` stands for any text.
    peer: String,
    /// The address; `*` for what it stands for in `peer`.
    host: String,
}

impl PeerHosts {
    pub(super) fn read(_: &Variable, text: &str) -> Result<Self, String> {
        without_user(text)?;
        let rules = items(text).map(|item| Rule::read(item).map_err(|why| format!("`{}`: {why}", shown(item))));
        rules.collect::<Result<_, _>>().map(Self)
    }

    /// Where the peer `id` is reached, whose address for other peers has the name `name`; `port` where the rule names none.
    pub fn host(&self, id: u64, name: &str, port: u16) -> Option<Host> {
        self.0.iter().find_map(|rule| rule.host(id, name, port))
    }

    /// The servers that the rules lead to; for a rule with a `*` the domain that they are in.
    pub fn servers(&self, port: u16) -> Vec<Host> {
        let host = |rule: &Rule| {
            let host = Host::parse(&rule.host.replace('*', "x"), DefaultPort::Always(port)).ok()?;
            if !rule.host.contains('*') {
                return Some(host);
            }
            let (_, domain) = host.name.split_once('.')?;
            Some(Host { name: domain.to_owned(), ..host })
        };
        self.0.iter().filter_map(host).collect()
    }
}

impl Rule {
    fn read(item: &str) -> Result<Self, String> {
        let (peer, host) = item.split_once('=').ok_or("has to be <peer id or name>=<address>")?;
        let rule = Self { peer: peer.trim().to_ascii_lowercase(), host: host.trim().to_owned() };
        if rule.peer.is_empty() {
            return Err("names no peer".to_owned());
        }
        let parsed = Host::parse(&rule.host.replace('*', "x"), DefaultPort::OfScheme)?;
        let stars = |text: &str| text.matches('*').count();
        if stars(&rule.peer) > 1 || stars(&rule.host) > stars(&rule.peer) {
            return Err("one `*` is accepted on the left, and where one is there, one on the right".to_owned());
        }
        if stars(&rule.host) == 1 {
            // What is admitted then is the domain, which must not be all of a country's.
            let authority = rule.host.split_once("://").map_or(rule.host.as_str(), |(_, rest)| rest);
            let first = authority.split('.').next().unwrap_or_default();
            let domain = parsed.name.split_once('.').map(|(_, domain)| domain).unwrap_or_default();
            if !first.contains('*') || !domain.contains('.') || domain.parse::<std::net::Ipv4Addr>().is_ok() {
                let why =
                    "a `*` has to be in the first part of a name with a domain, as in https://node-*.x.example.com";
                return Err(why.to_owned());
            }
        }
        Ok(rule)
    }

    fn host(&self, id: u64, name: &str, port: u16) -> Option<Host> {
        let is_id = self.peer.bytes().all(|byte| byte.is_ascii_digit());
        let host = if is_id {
            (self.peer == id.to_string()).then(|| self.host.clone())
        } else {
            let name = name.to_ascii_lowercase();
            match self.peer.split_once('*') {
                None => (self.peer == name).then(|| self.host.clone()),
                Some((before, after)) => {
                    let text = name.strip_prefix(before)?.strip_suffix(after)?;
                    Some(self.host.replace('*', text))
                }
            }
        };
        Host::parse(&host?, DefaultPort::Always(port)).ok()
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::super::table::QDRANT_PEER_HOSTS;
    use super::*;

    fn read(text: &str) -> PeerHosts {
        QDRANT_PEER_HOSTS.read(text).unwrap()
    }

    #[test]
    fn a_peer_is_found_by_id_by_name_and_by_pattern() {
        let rules = read(
            "7=https://seven.example.com, qdrant-1.inner=http://10.0.0.1:7000,qdrant-*.inner=https://node-*.x.example.com:6333",
        );
        let host = |id, name| rules.host(id, name, 6333).map(|host| host.to_string());
        assert_eq!(host(7, "qdrant-1.inner").as_deref(), Some("https://seven.example.com:6333"));
        assert_eq!(host(8, "Qdrant-1.inner").as_deref(), Some("http://10.0.0.1:7000"));
        assert_eq!(host(9, "qdrant-12.inner").as_deref(), Some("https://node-12.x.example.com:6333"));
        // What would lead elsewhere is no name of a host.
        for other in ["qdrant-1.other", "qdrant-a/b.inner", "qdrant-@evil.inner", "qdrant-.inner", ""] {
            let found = host(9, other);
            assert!(
                found.is_none() || found.as_deref() == Some("https://node-.x.example.com:6333"),
                "{other}: {found:?}"
            );
        }
        let servers: Vec<String> = rules.servers(6333).iter().map(Host::to_string).collect();
        assert_eq!(servers, ["https://seven.example.com:6333", "http://10.0.0.1:7000", "https://x.example.com:6333"]);
    }

    #[test]
    fn rules_that_are_none_say_what_is_accepted() {
        for (text, why) in [
            ("seven", "<peer id or name>=<address>"),
            ("=http://a", "names no peer"),
            ("7=ftp://a", "not supported"),
            ("7=https://node-*.x.example.com", "one `*`"),
            ("a*b*=https://node-*.x.example.com", "one `*`"),
            ("a*=https://node-*.com", "first part of a name with a domain"),
            ("a*=https://*", "first part of a name with a domain"),
            ("a*=https://node.*.example.com", "first part of a name with a domain"),
            ("7=https://user:secret@a", "user"),
        ] {
            let error = QDRANT_PEER_HOSTS.read(text).unwrap_err();
            assert!(error.contains(why) && !error.contains("secret"), "{text}: {error}");
        }
    }
}
