//! Every request of the component: held against the allow-list, then sent by the client.

use std::sync::Arc;

use http::Request;
use wasmtime_wasi_http::{Error, RequestOptions, WasiBody, WasiHttpHooks};

use crate::client::Client;
use crate::egress::{AllowList, Target};
use crate::messages::Messages;

type Transmission = Box<dyn Future<Output = Result<(), Error>> + Send>;
type Answer = Box<dyn Future<Output = Result<(http::Response<WasiBody>, Transmission), Error>> + Send>;

/// The component's way to the network, and its only one.
pub struct Network {
    client: Client,
    allowed: AllowList,
    messages: Arc<Messages>,
}

impl Network {
    /// Requests go through `client` where `allowed` says so; `messages` tells a person about the others.
    pub fn new(client: Client, allowed: AllowList, messages: Arc<Messages>) -> Self {
        Self { client, allowed, messages }
    }

    /// Where the request goes, if it may go there.
    fn admit(&self, request: &Request<WasiBody>) -> Option<Target> {
        let target = match Target::of(request.uri()) {
            Ok(target) => target,
            Err(why) => {
                self.messages.once(&format!("denied: the address of a request {why}"));
                return None;
            }
        };
        if self.allowed.allows(&target) {
            return Some(target);
        }
        self.messages.once(&denial(&target));
        None
    }
}

/// What was denied, and exactly what allows it.
fn denial(target: &Target) -> String {
    let rule = target.suggestion();
    format!(
        "denied: {target} is neither a configured server nor allowed; to allow it, add `--allow-host '{rule}'` \
         or set `QDRANT_ALLOW_HOSTS={rule}`"
    )
}

impl WasiHttpHooks for Network {
    fn send_request(
        &mut self,
        request: Request<WasiBody>,
        options: Option<RequestOptions>,
        _processed: Transmission,
    ) -> Answer {
        let Some(target) = self.admit(&request) else {
            return Box::new(async { Err(Error::HttpRequestDenied) });
        };
        let client = self.client.clone();
        let messages = Arc::clone(&self.messages);
        Box::new(async move {
            let answer = client.send(request, options.unwrap_or_default()).await.map_err(|failure| {
                if let Some(words) = failure.words {
                    messages.once(&format!("{target}: {words}"));
                }
                failure.code
            })?;
            let sent: Transmission = Box::new(async { Ok(()) });
            Ok((answer, sent))
        })
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::panic)]
mod tests {
    use std::pin::Pin;

    use http_body_util::{BodyExt, Empty};
    use qdrant_backup_contract::settings::LogFormat;

    use super::*;
    use crate::egress::Rule;
    use crate::io::Io;

    fn request(uri: &str) -> Request<WasiBody> {
        let body = Empty::new().map_err(|never| match never {}).boxed_unsync();
        Request::get(uri).body(body).unwrap()
    }

    #[tokio::test]
    async fn what_is_denied_is_said_once_with_the_rule_that_allows_it() {
        let (io, captured) = Io::capture();
        let mut allowed = AllowList::default();
        allowed.allow(Rule::parse("qdrant").unwrap());
        let client = Client::new(None, AllowList::default(), None);
        let mut network = Network::new(client, allowed, Arc::new(Messages::new(io, LogFormat::Text)));
        for uri in [
            "http://qdrant-0.qdrant-headless:6333/a?X-Amz-Signature=secret",
            "http://qdrant-0.qdrant-headless:6333/b",
            "http://user:secret@qdrant/",
        ] {
            let answer = network.send_request(request(uri), None, Box::new(async { Ok(()) }));
            assert!(matches!(Pin::from(answer).await, Err(Error::HttpRequestDenied)), "{uri}");
        }
        let said = captured.stderr();
        assert_eq!(said.lines().count(), 2, "{said}");
        assert!(said.contains("denied: qdrant-0.qdrant-headless:6333"), "{said}");
        assert!(said.contains("`--allow-host '*.qdrant-headless'`"), "{said}");
        assert!(said.contains("`QDRANT_ALLOW_HOSTS=*.qdrant-headless`"), "{said}");
        assert!(!said.contains("secret"), "{said}");
    }
}
