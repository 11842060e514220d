//! The core's ports without WASI: HTTP with TLS, the clock, a folder, the console.

use std::io::Write;
use std::path::Path;
use std::rc::Rc;

use hyper_rustls::HttpsConnectorBuilder;
use qdrant_backup::client;
use qdrant_backup::egress::{AllowList, Rule, Target};
use qdrant_backup_core::ports::{Console, Http, HttpError, LocalBoxFuture, Ports, Request, Response};
use qdrant_backup_native::{Directory, Hyper, Tokio};
use time::OffsetDateTime;

/// Ports for work in the directory `work`, with TLS that trusts `ca_file` or the system, to the servers that `settings` name
/// and no others: there is no sandbox around this program.
///
/// # Errors
/// The CA file can't be used, or a rule of `QDRANT_ALLOW_HOSTS`.
pub fn ports(work: &Path, ca_file: Option<&Path>, settings: &[(String, String)]) -> Result<Ports, String> {
    let mut allowed = AllowList::of_settings(settings);
    let rules = settings.iter().rev().find(|(name, _)| name == "QDRANT_ALLOW_HOSTS").map_or("", |(_, rules)| rules);
    let rules = Rule::parse_list(rules).map_err(|error| format!("QDRANT_ALLOW_HOSTS: {error}"))?;
    rules.into_iter().for_each(|rule| allowed.allow(rule));
    let trust = client::Trust { ca_file: ca_file.map(Path::to_path_buf), ..client::Trust::default() };
    let tls = client::configuration(&trust).map_err(|error| format!("QDRANT_CA_FILE: {error}"))?;
    let tcp = client::connector(allowed.clone());
    let connector =
        HttpsConnectorBuilder::new().with_tls_config(tls).https_or_http().enable_http1().wrap_connector(tcp);
    Ok(Ports {
        http: Rc::new(Guarded { http: Hyper::new(connector), allowed }),
        clock: Rc::new(Tokio::new(OffsetDateTime::now_utc)),
        files: Rc::new(Directory(work.to_owned())),
        console: Rc::new(Streams),
    })
}

/// Sends to allowed servers alone.
struct Guarded<T> {
    http: T,
    allowed: AllowList,
}

impl<T: Http> Http for Guarded<T> {
    fn send(&self, request: Request) -> LocalBoxFuture<'_, Result<Response, HttpError>> {
        if Target::of(&request.uri).is_ok_and(|target| self.allowed.allows(&target)) {
            return self.http.send(request);
        }
        Box::pin(async { Err(HttpError::Denied) })
    }
}

struct Streams;

impl Console for Streams {
    fn data(&self, text: &str) {
        // A closed pipe must not stop the drill.
        let _ = std::io::stdout().write_all(text.as_bytes());
    }

    fn log(&self, line: &str) {
        let _ = writeln!(std::io::stderr(), "{line}");
    }
}
