//! Names to addresses, without those that nobody named.

use std::error::Error;
use std::fmt;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use hyper_util::client::legacy::connect::dns::{GaiResolver, Name};
use tower_service::Service;

use crate::egress::AllowList;

/// Resolves names by the system, and leaves out the addresses to which a name alone must not lead.
#[derive(Clone)]
pub struct Resolver {
    system: GaiResolver,
    rules: Arc<AllowList>,
}

/// All of a name's addresses are of that kind.
#[derive(Debug)]
pub struct Guarded(IpAddr);

impl Resolver {
    /// Addresses that `rules` name are given all the same.
    pub fn new(rules: AllowList) -> Self {
        Self { system: GaiResolver::new(), rules: Arc::new(rules) }
    }
}

impl fmt::Display for Guarded {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "denied: the name leads to {address}, a link-local or metadata address, where clouds serve credentials; if you want this, name the address: `--allow-host '{address}'` or `QDRANT_ALLOW_HOSTS={address}`",
            address = self.0
        )
    }
}

impl Error for Guarded {}

impl Service<Name> for Resolver {
    type Response = std::vec::IntoIter<SocketAddr>;
    type Error = io::Error;
    type Future = Pin<Box<dyn Future<Output = io::Result<Self::Response>> + Send>>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.system.poll_ready(context)
    }

    fn call(&mut self, name: Name) -> Self::Future {
        let (found, rules) = (self.system.call(name), Arc::clone(&self.rules));
        Box::pin(async move { admitted(&rules, found.await?) })
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
pub fn guarded(address: &str) -> Guarded {
    Guarded(address.parse().unwrap())
}

fn admitted(rules: &AllowList, found: impl Iterator<Item = SocketAddr>) -> io::Result<std::vec::IntoIter<SocketAddr>> {
    let (admitted, guarded): (Vec<_>, Vec<_>) = found.partition(|address| rules.allows_behind_a_name(address.ip()));
    match guarded.first() {
        Some(guarded) if admitted.is_empty() => Err(io::Error::other(Guarded(guarded.ip()))),
        _ => Ok(admitted.into_iter()),
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::egress::Rule;

    #[test]
    fn a_name_is_left_with_the_addresses_it_may_lead_to() {
        let addresses = |texts: &[&str]| -> Vec<SocketAddr> {
            texts.iter().map(|text| SocketAddr::new(text.parse().unwrap(), 0)).collect()
        };
        let mut rules = AllowList::default();
        let mixed = addresses(&["169.254.169.254", "10.0.0.1"]);
        assert_eq!(admitted(&rules, mixed.into_iter()).unwrap().as_slice(), addresses(&["10.0.0.1"]));
        let metadata = addresses(&["169.254.169.254"]);
        let error = admitted(&rules, metadata.clone().into_iter()).unwrap_err();
        assert!(error.to_string().contains("--allow-host '169.254.169.254'"), "{error}");
        rules.allow(Rule::parse("169.254.169.254").unwrap());
        assert_eq!(admitted(&rules, metadata.into_iter()).unwrap().len(), 1);
    }
}
