//! An S3 server in process: `s3s` for the protocol and the signatures, memory for the objects.

pub mod dialect;
mod server;
mod store;

use std::collections::BTreeMap;
use std::time::Duration;

use tokio::net::TcpListener;

pub use crate::faults::{Fault, Request, Wrong};
pub use store::Store;

use crate::faults::{Chosen, Faults, Listener, Place, Server};
use crate::lender::Loans;
use crate::network;

use dialect::{Dialect, Speaker};

/// The bucket that is there.
pub const BUCKET: &str = "qdrant-snapshots";
/// The access key that is known.
pub const ACCESS_KEY: &str = "test-access";
/// Its secret key.
pub const SECRET_KEY: &str = "canary-secret/+key=(\"&%41";
/// The region of servers that don't insist on one.
pub const REGION: &str = "us-east-1";

/// How a server is started.
#[derive(Clone, Default)]
pub struct Options {
    /// A region that every signature has to name.
    pub region: Option<String>,
    /// The most keys on a page of a listing; 1,000 by default.
    pub page: Option<usize>,
    /// On the network in memory, not with sockets.
    pub memory: bool,
    /// It is called `https://...`, as if the network in memory were encrypted.
    pub tls: bool,
    /// How it differs from AWS; the row that is named for the whole run where there is none.
    pub dialect: Option<Dialect>,
    /// Which session tokens are good; all, where there is none.
    pub loans: Option<Loans>,
}

/// A running server; stops when dropped.
pub struct S3 {
    store: Store,
    region: Option<String>,
    faults: Faults,
    endpoint: String,
    _server: Server,
}

impl S3 {
    /// Starts a server.
    pub async fn start() -> Self {
        Self::with(Options::default()).await
    }

    /// Starts a server as `options` say.
    pub async fn with(options: Options) -> Self {
        let (address, listener) = if options.memory {
            let address = format!("{}.1:9000", network::subnet());
            (address.clone(), Listener::Memory(address))
        } else {
            let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
            (listener.local_addr().expect("its address").to_string(), Listener::Socket(listener))
        };
        let dialect = options.dialect.or_else(Dialect::of_environment);
        let store = Store::new(options.page.unwrap_or(1000), dialect.is_none_or(|dialect| dialect.checks_parts()));
        let endpoint = format!("{}://{address}", if options.tls { "https" } else { "http" });
        let region = options.region.or_else(|| dialect?.region.map(str::to_owned));
        let (speaker, faults) = (dialect.map(|dialect| Speaker::new(dialect, store.clone())), Faults::default());
        let server = server::start(listener, store.clone(), region.clone(), speaker, options.loans, faults.clone());
        Self { store, region, faults, endpoint, _server: server }
    }

    /// `http://ip:port`.
    pub fn endpoint(&self) -> String {
        self.endpoint.clone()
    }

    /// The region that signatures have to name, or may.
    pub fn region(&self) -> &str {
        self.region.as_deref().unwrap_or(REGION)
    }

    /// The objects, for what happens at a request.
    pub fn store(&self) -> Store {
        self.store.clone()
    }

    /// Every request so far.
    pub fn requests(&self) -> Vec<Request> {
        self.faults.requests().into_iter().filter(|request| request.place == Place::S3).collect()
    }

    /// Has requests go wrong from now on.
    pub fn fail(&self, fault: Fault) {
        self.faults.add(Chosen::S3, fault);
    }

    /// What goes wrong here; Qdrants at this bucket share it.
    pub fn faults(&self) -> &Faults {
        &self.faults
    }

    /// Ends all that goes wrong.
    pub fn heal(&self) {
        self.faults.heal();
    }

    /// The keys that begin with `prefix`, in order.
    pub fn keys(&self, prefix: &str) -> Vec<String> {
        self.store.keys(prefix)
    }

    /// An object.
    pub fn get(&self, key: &str) -> Option<Vec<u8>> {
        self.store.get(key)
    }

    /// Stores an object.
    pub fn put(&self, key: &str, bytes: Vec<u8>) {
        self.store.put(key, bytes);
    }

    /// Stores an object under an ETag that is another one's.
    pub fn put_with_etag(&self, key: &str, bytes: Vec<u8>, etag: &str) {
        self.store.insert(key, bytes, etag.to_owned());
    }

    /// Has the objects whose keys begin with `prefix` be older than they are, as if so much time had passed.
    pub fn age(&self, prefix: &str, by: Duration) {
        self.store.age(prefix, by);
    }

    /// Deletes an object.
    pub fn delete(&self, key: &str) {
        self.store.delete(key);
    }

    /// The keys of the uploads that were begun and not ended.
    pub fn uploads(&self) -> Vec<String> {
        self.store.uploads()
    }

    /// Every object.
    pub fn objects(&self) -> BTreeMap<String, Vec<u8>> {
        self.keys("").into_iter().filter_map(|key| self.get(&key).map(|bytes| (key, bytes))).collect()
    }

    /// Has these objects and no others.
    pub fn replace_all(&self, objects: &BTreeMap<String, Vec<u8>>) {
        self.keys("").iter().filter(|key| !objects.contains_key(*key)).for_each(|key| self.delete(key));
        objects.iter().for_each(|(key, bytes)| self.put(key, bytes.clone()));
    }
}
