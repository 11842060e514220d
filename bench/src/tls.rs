//! TLS with a throw-away CA: for the bucket, and for the native client that trusts it.

use std::path::Path;
use std::sync::Arc;

use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder};
use hyper_util::client::legacy::connect::HttpConnector;
use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair};
use rustls::crypto::{CryptoProvider, ring};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::{ClientConfig, RootCertStore, ServerConfig};
use tempfile::NamedTempFile;
use tokio_rustls::TlsAcceptor;

/// The setting that names the CA's certificate, for the program and for the native client.
pub const CA_FILE: &str = "QDRANT_CA_FILE";

/// A server's side.
pub struct Certified {
    /// The CA's certificate.
    pub ca: NamedTempFile,
    pub acceptor: TlsAcceptor,
}

/// A certificate for `name`, signed by a CA of its own.
pub fn certified(name: &str) -> Certified {
    let mut ca = CertificateParams::new(Vec::new()).unwrap();
    ca.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let ca_key = KeyPair::generate().unwrap();
    let file = NamedTempFile::new().unwrap();
    std::fs::write(file.path(), ca.self_signed(&ca_key).unwrap().pem()).unwrap();
    let (issuer, key) = (Issuer::new(ca, ca_key), KeyPair::generate().unwrap());
    let certificate = CertificateParams::new([name.to_owned()]).unwrap().signed_by(&key, &issuer).unwrap();
    let server = ServerConfig::builder_with_provider(provider()).with_safe_default_protocol_versions().unwrap();
    let key = PrivateKeyDer::try_from(key.serialize_der()).unwrap();
    let server = server.with_no_client_auth().with_single_cert(vec![certificate.der().clone()], key).unwrap();
    Certified { ca: file, acceptor: TlsAcceptor::from(Arc::new(server)) }
}

/// Connects by http, and by https where [`CA_FILE`] names whom to trust.
pub fn connector() -> HttpsConnector<HttpConnector> {
    let mut roots = RootCertStore::empty();
    if let Some(file) = std::env::var_os(CA_FILE) {
        roots.add(CertificateDer::from_pem_file(Path::new(&file)).unwrap()).unwrap();
    }
    let client = ClientConfig::builder_with_provider(provider()).with_safe_default_protocol_versions().unwrap();
    let client = client.with_root_certificates(roots).with_no_client_auth();
    let mut http = HttpConnector::new();
    http.set_nodelay(true);
    http.enforce_http(false);
    HttpsConnectorBuilder::new().with_tls_config(client).https_or_http().enable_http1().wrap_connector(http)
}

fn provider() -> Arc<CryptoProvider> {
    Arc::new(ring::default_provider())
}
