//! The core's ports without WASI: HTTP with TLS, the clock, a folder, the console.

use std::io::Write;
use std::path::Path;
use std::rc::Rc;

use hyper_rustls::HttpsConnectorBuilder;
use qdrant_backup_core::ports::{Console, Ports};
use qdrant_backup_native::{Directory, Hyper, Tokio};
use time::OffsetDateTime;

/// Ports for work in the directory `work`, with TLS that trusts `ca_file` or the system.
///
/// # Errors
/// The CA file can't be used.
pub fn ports(work: &Path, ca_file: Option<&Path>) -> Result<Ports, String> {
    use qdrant_backup::client::Trust;
    let tls =
        qdrant_backup::client::configuration(&Trust { ca_file: ca_file.map(Path::to_path_buf), ..Trust::default() })
            .map_err(|error| error.to_string())?;
    let connector = HttpsConnectorBuilder::new().with_tls_config(tls).https_or_http().enable_http1().build();
    Ok(Ports {
        http: Rc::new(Hyper::new(connector)),
        clock: Rc::new(Tokio::new(OffsetDateTime::now_utc)),
        files: Rc::new(Directory(work.to_owned())),
        console: Rc::new(Streams),
    })
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
