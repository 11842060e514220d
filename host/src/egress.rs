//! Where requests may go: an allow-list, decided on the text of the request's address alone.
//!
//! | rule                       | allows                                                                   |
//! |----------------------------|--------------------------------------------------------------------------|
//! | `name`                     | exactly this name, any port                                              |
//! | `*.name`                   | every name below it (`a.name`, `b.a.name`), not `name` itself, any port  |
//! | `name:6333`, `*.name:6333` | the same on this port only                                               |
//! | `10.1.2.3`                 | this address, any port                                                   |
//! | `10.0.0.0/8`               | every address of the range, any port                                     |
//! | `10.0.0.0/8:6333`          | the same on this port only                                               |
//! | `::1`, `2001:db8::/32`     | IPv6: an address, a range                                                |
//! | `[::1]:6333`, `[2001:db8::]/32:6333` | IPv6 on this port only                                         |
//!
//! - An empty list allows nothing.
//! - An address rule matches a literal address in the URL only, never a name that resolves to it: whoever
//!   controls the name server would decide otherwise.
//! - Addresses are compared as numbers; an IPv4-mapped IPv6 address (`::ffff:10.0.0.1`) is the IPv4 one.
//!   The old spellings `0x7f.1`, `2130706433` and `010.0.0.1`, which resolvers take for addresses, are denied.
//! - Names are compared in lower case and without a trailing dot.
//! - An address with a user in it (`http://allowed@other/`) is denied, whatever the list says.
//!
//! - A name that is allowed and leads to a link-local or metadata address all the same is refused where the connection is
//!   made, unless a rule names that address: see [`AllowList::allows_behind_a_name`]. Through a proxy
//!   that can't be seen. Nor does a wide range (`0.0.0.0/0`) allow such an address.
//!
//! The configured servers allow themselves: see [`AllowList::allow_server`].

mod address;
mod configured;
mod rule;
mod target;

use std::net::IpAddr;

pub use rule::{Rule, RuleError};
pub use target::{Target, TargetError};

use address::{GUARDED, contains, embedded};
use rule::{Hosts, single};
use target::{TargetHost, parse_host};

/// The rules together.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct AllowList {
    rules: Vec<Rule>,
}

impl AllowList {
    /// Adds a rule.
    pub fn allow(&mut self, rule: Rule) {
        self.rules.push(rule);
    }

    /// Allows a configured server on each of `ports`: the name (or address) itself and the names below it, as
    /// the pods of a StatefulSet and virtual-host addressed buckets have. `name` may be an IPv6 address in
    /// brackets. A name that can't be one is left out: its requests are denied.
    pub fn allow_server(&mut self, name: &str, ports: &[u16]) {
        let Ok(host) = parse_host(name) else { return };
        for port in ports.iter().copied().map(Some) {
            match &host {
                TargetHost::Name(name) => {
                    self.allow(Rule { hosts: Hosts::Name(name.clone()), port });
                    self.allow(Rule { hosts: Hosts::Below(name.clone()), port });
                }
                TargetHost::Address(address) => self.allow(Rule { hosts: single(*address), port }),
            }
        }
    }

    /// Allows the server at `name` on `port` alone: nothing below a name.
    pub fn allow_only(&mut self, name: &str, port: u16) {
        let hosts = match parse_host(name) {
            Ok(TargetHost::Name(name)) => Hosts::Name(name),
            Ok(TargetHost::Address(address)) => single(address),
            Err(_) => return,
        };
        self.allow(Rule { hosts, port: Some(port) });
    }

    /// Whether a connection may be made to `address`, to which an allowed name leads. Addresses at which clouds and nodes
    /// tell credentials to whoever asks have to be named by a rule: the address itself, or a range of no others.
    pub fn allows_behind_a_name(&self, address: IpAddr) -> bool {
        let address = embedded(address.to_canonical());
        let Some(guarded) = GUARDED.iter().find(|guarded| contains(guarded.0, guarded.1, address)) else { return true };
        self.rules.iter().any(|rule| match rule.hosts {
            Hosts::Network { address: network, prefix } => {
                prefix >= guarded.1 && contains(network, prefix, address) && contains(guarded.0, guarded.1, network)
            }
            _ => false,
        })
    }

    /// True when some rule allows `target`. A guarded address (see [`AllowList::allows_behind_a_name`]) is in no wider range.
    pub fn allows(&self, target: &Target) -> bool {
        let named = match target.host {
            TargetHost::Address(address) => self.allows_behind_a_name(address),
            TargetHost::Name(_) => true,
        };
        named && self.rules.iter().any(|rule| rule.allows(target))
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::panic)]
mod tests {
    use http::Uri;

    use super::*;

    fn list(rules: &[&str]) -> AllowList {
        AllowList { rules: rules.iter().map(|rule| Rule::parse(rule).unwrap()).collect() }
    }

    fn allows(rules: &[&str], url: &str) -> bool {
        let uri: Uri = url.parse().unwrap();
        Target::of(&uri).is_ok_and(|target| list(rules).allows(&target))
    }

    #[track_caller]
    fn check(rule: &str, allowed: &[&str], denied: &[&str]) {
        for url in allowed {
            assert!(allows(&[rule], url), "`{rule}` has to allow {url}");
        }
        for url in denied {
            assert!(!allows(&[rule], url), "`{rule}` must not allow {url}");
        }
    }

    #[test]
    fn names_don_t_lead_to_metadata_unless_a_rule_names_the_address() {
        let behind = |rules: &[&str], address: &str| list(rules).allows_behind_a_name(address.parse().unwrap());
        for address in [
            "169.254.169.254",
            "169.254.170.2",
            "169.254.0.1",
            "::ffff:169.254.169.254",
            "64:ff9b::a9fe:a9fe",
            "fe80::1",
            "febf::1",
            "fd00:ec2::254",
            "fd20:ce::254",
            "100.100.100.200",
            "168.63.129.16",
        ] {
            for rules in
                [&["*.example"][..], &[], &["0.0.0.0/0", "::/0"], &["10.0.0.0/8"], &["169.0.0.0/8", "f000::/4"]]
            {
                assert!(!behind(rules, address), "{rules:?} must not lead to {address}");
            }
            assert!(behind(&["169.254.0.0/16", "fe80::/10", "fd00::/32"], "10.0.0.1"));
        }
        for (rule, address) in [
            ("169.254.169.254", "169.254.169.254"),
            ("169.254.169.254:80", "::ffff:169.254.169.254"),
            ("169.254.170.0/24", "169.254.170.23"),
            ("fe80::/10", "fe80::1"),
        ] {
            assert!(behind(&[rule], address), "{rule} names {address}");
        }
        for address in ["10.0.0.1", "127.0.0.1", "::1", "fd00::1", "100.100.100.201", "52.219.0.1"] {
            assert!(behind(&["name"], address), "{address}");
        }
    }

    #[test]
    fn a_password_in_a_rule_is_not_shown() {
        for (text, why) in [
            ("user:hunter2@host", "user in front"),
            ("a,user:hun,ter2hunter2@host", "user in front"),
            ("http://user:hunter2@host", "user in front"),
            ("http://s3/?sig=hunter2", "a query"),
        ] {
            let error = Rule::parse_list(text).unwrap_err().to_string();
            assert!(error.contains(why) && !error.contains("hunter2"), "{error}");
        }
    }

    #[test]
    fn an_empty_list_allows_nothing() {
        for url in ["http://localhost/", "http://127.0.0.1:6333/", "http://[::1]/", "https://example.com/"] {
            assert!(!allows(&[], url), "{url}");
        }
    }

    #[test]
    fn a_name_is_that_name_on_any_port() {
        check(
            "qdrant",
            &["http://qdrant/", "https://qdrant/x?y", "http://qdrant:6333/", "http://QDRANT:6333/", "http://qdrant./"],
            &["http://a.qdrant/", "http://qdrant.evil/", "http://notqdrant/", "http://qdrant-0/", "http://qdran/"],
        );
        check("Qdrant.Example.", &["http://qdrant.example/"], &["http://example/"]);
    }

    #[test]
    fn a_star_is_the_names_below() {
        check(
            "*.headless",
            &["http://qdrant-0.headless:6333/", "http://a.b.headless/", "http://QDRANT-1.Headless/"],
            &["http://headless/", "http://evilheadless/", "http://qdrant-0.headless.evil/", "http://headless.evil/"],
        );
    }

    #[test]
    fn a_port_narrows_a_rule() {
        check("qdrant:6333", &["http://qdrant:6333/"], &["http://qdrant/", "http://qdrant:6334/", "https://qdrant/"]);
        check("*.h:6333", &["http://q-0.h:6333/"], &["http://q-0.h:6335/", "http://h:6333/"]);
        check("s3.example:443", &["https://s3.example/"], &["http://s3.example/", "https://s3.example:9000/"]);
        check("10.0.0.0/8:6333", &["http://10.9.8.7:6333/"], &["http://10.9.8.7:6334/", "http://11.0.0.1:6333/"]);
    }

    #[test]
    fn a_range_matches_literal_addresses_only() {
        check(
            "10.0.0.0/8",
            &["http://10.0.0.1/", "https://10.255.255.255:6333/", "http://[::ffff:10.1.2.3]/"],
            &[
                "http://11.0.0.1/",
                "http://localhost/",
                "http://10.example/",
                "http://10.0.0.1.example/",
                "http://[::1]/",
            ],
        );
        check("10.1.2.3/30", &["http://10.1.2.0/", "http://10.1.2.3/"], &["http://10.1.2.4/"]);
        check(
            "0.0.0.0/0",
            &["http://1.2.3.4/", "http://255.255.255.255/"],
            &["http://[::1]/", "http://name/", "http://169.254.169.254/", "http://[::ffff:169.254.169.254]/"],
        );
        check("169.254.0.0/16", &["http://169.254.169.254/"], &[]);
        check("10.1.2.3", &["http://10.1.2.3:1/"], &["http://10.1.2.30/", "http://10.1.2.4/"]);
    }

    #[test]
    fn ipv6_in_all_its_forms() {
        check(
            "2001:db8::/32",
            &["http://[2001:db8::1]/", "http://[2001:0DB8:0:0:0:0:0:1]:6333/", "http://[2001:db8:ffff::]/"],
            &["http://[2001:db9::1]/", "http://32.1.13.184/"],
        );
        check(
            "[::1]:6333",
            &["http://[::1]:6333/", "http://[0:0:0:0:0:0:0:1]:6333/"],
            &["http://[::1]/", "http://[::2]:6333/"],
        );
        check("::1", &["http://[::1]:9/"], &["http://[::]/"]);
        check("[2001:db8::]/32:6333", &["http://[2001:db8::5]:6333/"], &["http://[2001:db8::5]:6334/"]);
        check("[fd00::]/8", &["http://[fd12::1]/"], &["http://[fe80::1]/"]);
        check("::/0", &["http://[::1]/"], &["http://127.0.0.1/", "http://[::ffff:127.0.0.1]/"]);
    }

    #[test]
    fn an_ipv4_mapped_ipv6_address_is_ipv4() {
        check("127.0.0.1", &["http://[::ffff:127.0.0.1]/", "http://[::ffff:7f00:1]/"], &["http://[::127.0.0.1]/"]);
        check("::ffff:10.0.0.1", &["http://10.0.0.1/"], &["http://10.0.0.2/"]);
        check("::ffff:10.0.0.0/104", &["http://10.200.0.1/"], &["http://11.0.0.1/"]);
        assert!(Rule::parse("::ffff:10.0.0.0/64").is_err(), "reaches beyond the mapped addresses");
    }

    #[test]
    fn old_spellings_of_addresses_are_denied() {
        let anything = &["0.0.0.0/0", "::/0", "localhost"];
        for url in [
            "http://0x7f.1/",
            "http://0x7f000001/",
            "http://2130706433/",
            "http://127.1/",
            "http://0177.0.0.1/",
            "http://127.0.0.01/",
            "http://127.0.0.1./",
            "http://256.0.0.1/",
            "http://1.2.3.4.5/",
            "http://0x/",
        ] {
            let uri: Uri = url.parse().unwrap();
            assert!(Target::of(&uri).is_err(), "{url}");
            assert!(!allows(anything, url), "{url}");
        }
        for rule in ["0x7f.1", "127.1", "2130706433", "*.127.0.0.1", "*.0x7f", "127.0.0.1."] {
            assert!(Rule::parse(rule).is_err(), "{rule}");
        }
    }

    #[test]
    fn a_user_in_front_is_denied() {
        let rules = &["qdrant", "evil", "*.qdrant", "0.0.0.0/0"];
        for url in [
            "http://qdrant@evil/",
            "http://qdrant:6333@evil/",
            "http://a:b@qdrant/",
            "http://@qdrant/",
            "http://qdrant:6333@10.0.0.1:6333/",
        ] {
            assert!(!allows(rules, url), "{url}");
        }
    }

    #[test]
    fn ports_that_are_none_are_denied() {
        for url in ["http://qdrant:/", "http://qdrant:0/"] {
            assert!(!allows(&["qdrant"], url), "{url}");
        }
        // The URI parser refuses the others already, or this check does.
        for url in ["http://qdrant:99999/", "http://qdrant:+80/", "http://qdrant:8x/"] {
            assert!(!url.parse::<Uri>().is_ok_and(|uri| Target::of(&uri).is_ok()), "{url}");
        }
    }

    #[test]
    fn a_path_or_query_is_no_host() {
        check("qdrant", &["http://qdrant/http://evil/"], &["http://evil/qdrant", "http://evil/?http://qdrant/"]);
        check("qdrant", &[], &["http://evil?@qdrant/", "http://evil/@qdrant"]);
    }

    #[test]
    fn a_uri_without_host_is_denied() {
        assert!(Target::of(&"/collections".parse().unwrap()).is_err());
    }

    #[test]
    fn rules_that_are_none_say_what_is_accepted() {
        for rule in [
            "",
            "*",
            "*.",
            "*.*",
            "*.*.name",
            "a*.name",
            "http://qdrant",
            "qdrant/8",
            "a b",
            "a..b",
            ".a",
            "-/8",
            "10.0.0.0/33",
            "10.0.0.0/",
            "10.0.0.0/+8",
            "::/129",
            "[::1",
            "[::1]6333",
            "[10.0.0.1]",
            "[name]:80",
            "fe80::1%eth0",
            "qdrant:0",
            "qdrant:",
            "qdrant:65536",
            "qdrant:http",
            "*.10.0.0.1/8",
        ] {
            let error = Rule::parse(rule).unwrap_err().to_string();
            assert!(error.contains("accepted are") && error.contains(&format!("`{rule}`")), "{rule}: {error}");
        }
        let error = Rule::parse("user:hunter2@qdrant").unwrap_err().to_string();
        assert!(error.contains("accepted are") && !error.contains("hunter2"), "{error}");
    }

    #[test]
    fn lists_are_forgiving() {
        let rules = Rule::parse_list(" a, ,b:1 ,, 10.0.0.0/8,").unwrap();
        assert_eq!(rules, [Rule::parse("a"), Rule::parse("b:1"), Rule::parse("10.0.0.0/8")].map(Result::unwrap));
        assert_eq!(Rule::parse_list(""), Ok(Vec::new()));
        assert!(Rule::parse_list("a,*").is_err());
    }

    #[test]
    fn a_configured_server_allows_itself_and_names_below_it() {
        let mut list = AllowList::default();
        list.allow_server("qdrant.ns", &[6333, 443]);
        list.allow_server("10.0.0.1", &[6333]);
        list.allow_server("[2001:db8::1]", &[6333]);
        list.allow_server("0x7f.1", &[6333]);
        let allows = |url: &str| Target::of(&url.parse().unwrap()).is_ok_and(|target| list.allows(&target));
        for url in [
            "http://qdrant.ns:6333/",
            "https://qdrant.ns/",
            "http://qdrant-0.qdrant.ns:6333/",
            "http://10.0.0.1:6333/",
            "http://[2001:db8::1]:6333/",
        ] {
            assert!(allows(url), "{url}");
        }
        for url in [
            "http://qdrant.ns:6334/",
            "http://qdrant.ns/",
            "http://ns:6333/",
            "http://qdrant-0.qdrant-headless.ns:6333/",
            "http://10.0.0.2:6333/",
            "http://x.10.0.0.1:6333/",
            "http://127.0.0.1:6333/",
            "http://0x7f.1:6333/",
        ] {
            assert!(!allows(url), "{url}");
        }
    }

    #[test]
    fn what_to_add_is_the_service_of_pods_and_else_the_host() {
        for (url, rule) in [
            ("http://qdrant-0.qdrant-headless:6333/", "*.qdrant-headless"),
            ("http://Qdrant-12.headless.ns.svc.cluster.local.:6333/", "*.headless.ns.svc.cluster.local"),
            ("https://example.com/", "example.com"),
            ("https://s3-eu.example.com/", "s3-eu.example.com"),
            ("http://minio:9000/", "minio"),
            ("http://qdrant-0:6333/", "qdrant-0"),
            ("http://10.1.2.3:6333/", "10.1.2.3"),
            ("http://[2001:DB8::1]:6333/", "2001:db8::1"),
        ] {
            let target = Target::of(&url.parse().unwrap()).unwrap();
            assert_eq!(target.suggestion(), rule);
            assert!(list(&[rule]).allows(&target), "`{rule}` has to help {url}");
        }
    }

    #[test]
    fn targets_are_shown_with_their_port() {
        let shown = |url: &str| Target::of(&url.parse().unwrap()).unwrap().to_string();
        assert_eq!(shown("https://Name.Example/"), "name.example:443");
        assert_eq!(shown("http://[::1]/"), "[::1]:80");
        assert_eq!(shown("http://127.0.0.1:6333/a"), "127.0.0.1:6333");
    }
}
