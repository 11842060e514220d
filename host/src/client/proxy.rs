//! The proxy for `https://` servers (`HTTPS_PROXY`, `NO_PROXY`). What goes to `http://` servers, which are mostly those of
//! the same cluster, never goes through one.

use std::fmt;
use std::sync::Arc;

use http::{HeaderValue, Uri};
use hyper_util::client::proxy::matcher::Matcher;

/// A proxy, and who is reached without it.
#[derive(Clone)]
pub struct Proxy(Arc<Matcher>);

impl Proxy {
    /// `url` is an `http://` address, with user and password where the proxy asks for them. `no_proxy`: names (each with
    /// those below it), addresses and ranges by commas, or `*`.
    ///
    /// # Errors
    /// It is another kind of address; in words without it, as it may have a password.
    pub fn parse(url: &str, no_proxy: &str) -> Result<Self, String> {
        let accepted = "accepted is http://host:port, with user:password@ in front of the host where it is needed";
        let whole = if url.contains("://") { url.to_owned() } else { format!("http://{url}") };
        let uri: Uri = whole.parse().map_err(|_| format!("is not an address; {accepted}"))?;
        if uri.scheme_str() != Some("http") || uri.host().is_none_or(str::is_empty) {
            return Err(format!("is not a proxy that can be used; {accepted}"));
        }
        Ok(Self(Arc::new(Matcher::builder().https(whole).no(no_proxy.to_owned()).build())))
    }

    /// The proxy by which `uri` is reached, and its `Proxy-Authorization`; `None`: directly.
    pub fn of(&self, uri: &Uri) -> Option<(Uri, Option<HeaderValue>)> {
        self.0.intercept(uri).map(|found| (found.uri().clone(), found.basic_auth().cloned()))
    }
}

impl fmt::Debug for Proxy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Proxy(***)")
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn https_goes_through_it_but_for_what_is_left_out() {
        let proxy = Proxy::parse("http://user:pw@proxy:3128", "svc.cluster.local, 10.0.0.0/8,.internal").unwrap();
        let of = |uri: &str| proxy.of(&uri.parse().unwrap());
        let (uri, authorization) = of("https://s3.example.com/bucket").unwrap();
        assert_eq!((uri.host(), uri.port_u16()), (Some("proxy"), Some(3128)));
        assert_eq!(authorization.unwrap(), "Basic dXNlcjpwdw==");
        for direct in [
            "http://s3.example.com/bucket",
            "https://minio.default.svc.cluster.local/",
            "https://10.1.2.3:6333/",
            "https://a.internal/",
        ] {
            assert!(of(direct).is_none(), "{direct}");
        }
        assert!(Proxy::parse("proxy:3128", "*").unwrap().of(&"https://s3/".parse().unwrap()).is_none());
    }

    #[test]
    fn what_is_no_proxy_is_refused_and_not_shown() {
        for text in ["https://u:hunter2@proxy", "socks5://u:hunter2@proxy", "http://u:hunter2@", "http://hunter 2"] {
            let problem = Proxy::parse(text, "").unwrap_err();
            assert!(!problem.contains("hunter"), "{problem}");
        }
    }
}
