//! Whom the client trusts, and who it says that it is.

use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::client::{WebPkiServerVerifier, verify_server_name};
use rustls::pki_types::pem::{self, PemObject};
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime};
use rustls::server::ParsedCertificate;
use rustls::{CertificateError, ClientConfig, DigitallySignedStruct, RootCertStore, SignatureScheme};

/// Which certificates are trusted, and which one is shown. Nothing: the system's, and none.
#[derive(Clone, Debug, Default)]
pub struct Trust {
    /// Certificates (PEM) to trust in place of the system's.
    pub ca_file: Option<PathBuf>,
    /// Certificates (PEM) to trust beside those.
    pub extra_ca_file: Option<PathBuf>,
    /// What is shown to servers that ask for a certificate.
    pub client: Option<ClientCertificate>,
}

/// A certificate of our own.
#[derive(Clone, Debug)]
pub struct ClientCertificate {
    /// The certificate and those between it and its CA (PEM).
    pub chain: PathBuf,
    /// Its private key (PEM).
    pub key: PathBuf,
}

impl Trust {
    /// True where nothing is asked for that is not so by itself.
    pub fn is_default(&self) -> bool {
        self.ca_file.is_none() && self.extra_ca_file.is_none() && self.client.is_none()
    }
}

/// Why a file with certificates or a key can't be used.
#[derive(Debug)]
pub struct CertificateFileError {
    file: PathBuf,
    why: String,
}

impl fmt::Display for CertificateFileError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "the file `{}` can't be used: {}", self.file.display(), self.why)
    }
}

impl std::error::Error for CertificateFileError {}

const CERTIFICATES: &str = "accepted are one or more certificates in PEM form";

/// TLS 1.2 and 1.3 with certificates checked against, in this order: the certificates of `ca_file` alone, the
/// system's trust store (`SSL_CERT_FILE` and `SSL_CERT_DIR` are honoured), or Mozilla's list where the system
/// has none, as in an image made from scratch; and those of `extra_ca_file`. A server's own certificate that is given
/// byte for byte is trusted as such.
///
/// # Errors
/// A file is missing, or does not hold what it has to.
pub fn configuration(trust: &Trust) -> Result<ClientConfig, CertificateFileError> {
    let internal = |why: String| CertificateFileError { file: PathBuf::new(), why };
    let mut given = Vec::new();
    let mut roots = match &trust.ca_file {
        Some(file) => from_file(file, &mut given)?,
        None => from_system(),
    };
    if let Some(file) = &trust.extra_ca_file {
        roots.roots.extend(from_file(file, &mut given)?.roots);
    }
    // Named rather than taken from the process, which may have another one or two.
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let builder = ClientConfig::builder_with_provider(Arc::clone(&provider))
        .with_safe_default_protocol_versions()
        .map_err(|error| internal(error.to_string()))?;
    let builder = if given.is_empty() {
        builder.with_root_certificates(roots)
    } else {
        let usual = WebPkiServerVerifier::builder_with_provider(Arc::new(roots), provider).build();
        let usual = usual.map_err(|error| internal(error.to_string()))?;
        builder.dangerous().with_custom_certificate_verifier(Arc::new(Verifier { usual, given }))
    };
    match &trust.client {
        None => Ok(builder.with_no_client_auth()),
        Some(ClientCertificate { chain, key }) => {
            let of_key = |why: String| CertificateFileError { file: key.clone(), why };
            let text = std::fs::read(key).map_err(|cause| of_key(cause.to_string()))?;
            let private = PrivateKeyDer::from_pem_slice(&text).map_err(|_| {
                of_key("it holds no private key; accepted is one in PEM form, without a password".to_owned())
            })?;
            let chain_der = certificates(chain)?;
            builder
                .with_client_auth_cert(chain_der, private)
                .map_err(|cause| of_key(format!("it does not fit `{}`: {cause}", chain.display())))
        }
    }
}

/// The usual check of a server's certificate, but for one that was given itself: a self-signed one is not signed by a CA,
/// and as a CA (which `openssl req -x509` makes it) it could not be a server's.
#[derive(Debug)]
struct Verifier {
    usual: Arc<WebPkiServerVerifier>,
    given: Vec<CertificateDer<'static>>,
}

impl ServerCertVerifier for Verifier {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        server_name: &ServerName<'_>,
        ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        let checked = self.usual.verify_server_cert(end_entity, intermediates, server_name, ocsp_response, now);
        let Err(refusal) = checked else { return checked };
        let lasts = matches!(
            refusal,
            rustls::Error::InvalidCertificate(
                CertificateError::Expired
                    | CertificateError::ExpiredContext { .. }
                    | CertificateError::NotValidYet
                    | CertificateError::NotValidYetContext { .. }
                    | CertificateError::Revoked
            )
        );
        if lasts || !self.given.iter().any(|given| given == end_entity) {
            return Err(refusal);
        }
        match verify_server_name(&ParsedCertificate::try_from(end_entity)?, server_name) {
            // It names nobody, as those without a subjectAltName do: what was given was given for this.
            Err(rustls::Error::InvalidCertificate(CertificateError::NotValidForNameContext { presented, .. }))
                if presented.is_empty() =>
            {
                Ok(ServerCertVerified::assertion())
            }
            named => named.map(|()| ServerCertVerified::assertion()),
        }
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        self.usual.verify_tls12_signature(message, certificate, signature)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        self.usual.verify_tls13_signature(message, certificate, signature)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.usual.supported_verify_schemes()
    }
}

/// The certificates of a file as roots, and themselves into `given`.
fn from_file(file: &Path, given: &mut Vec<CertificateDer<'static>>) -> Result<RootCertStore, CertificateFileError> {
    let mut roots = RootCertStore::empty();
    for certificate in certificates(file)? {
        roots.add(certificate.clone()).map_err(|cause| CertificateFileError {
            file: file.to_path_buf(),
            why: format!("{cause}; {CERTIFICATES}"),
        })?;
        given.push(certificate);
    }
    Ok(roots)
}

fn certificates(file: &Path) -> Result<Vec<CertificateDer<'static>>, CertificateFileError> {
    let error = |why: String| CertificateFileError { file: file.to_path_buf(), why: format!("{why}; {CERTIFICATES}") };
    let text = std::fs::read(file).map_err(|cause| error(cause.to_string()))?;
    let found: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(&text).collect();
    let found = found.map_err(|cause| error(pem_error(&cause)))?;
    if found.is_empty() { Err(error("it holds no certificate".to_string())) } else { Ok(found) }
}

/// Never with the file's content, which may be a key given by mistake.
fn pem_error(error: &pem::Error) -> String {
    match error {
        pem::Error::MissingSectionEnd { .. } => "a certificate has no end".to_string(),
        pem::Error::Base64Decode(_) => "a certificate is no base64".to_string(),
        _ => "it is no PEM file".to_string(),
    }
}

fn from_system() -> RootCertStore {
    let mut roots = RootCertStore::empty();
    // Single certificates that can't be read are no reason to trust none.
    roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
    if roots.is_empty() {
        roots.extend(webpki_roots::TLS_SERVER_ROOTS.iter().cloned());
    }
    roots
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn of_file(file: &Path) -> Trust {
        Trust { ca_file: Some(file.to_path_buf()), ..Trust::default() }
    }

    fn problem(content: &[u8]) -> String {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), content).unwrap();
        configuration(&of_file(file.path())).unwrap_err().to_string()
    }

    #[test]
    fn there_are_roots_without_a_file() {
        assert!(!from_system().is_empty());
        assert!(configuration(&Trust::default()).is_ok());
    }

    #[test]
    fn several_certificates_are_several_roots() {
        let pem: String =
            (0..2).map(|_| rcgen::generate_simple_self_signed(["qdrant".to_string()]).unwrap().cert.pem()).collect();
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), format!("a comment\n{pem}")).unwrap();
        let mut given = Vec::new();
        assert_eq!(from_file(file.path(), &mut given).unwrap().len(), 2);
        assert_eq!(given.len(), 2);
    }

    #[test]
    fn a_file_without_certificates_is_named() {
        assert!(problem(b"").contains("it holds no certificate"));
        assert!(problem(b"hello").contains("it holds no certificate"));
        assert!(problem(b"-----BEGIN CERTIFICATE-----\nAAAA\n").contains("has no end"));
        assert!(problem(b"-----BEGIN CERTIFICATE-----\n!!!\n-----END CERTIFICATE-----\n").contains("no base64"));
        assert!(problem(b"-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n").contains("can't be used"));
        let missing = configuration(&of_file(Path::new("/no/such.pem"))).unwrap_err().to_string();
        assert!(missing.contains("`/no/such.pem`") && missing.contains("No such file"), "{missing}");
    }

    #[test]
    fn a_private_key_is_no_certificate_and_is_not_shown() {
        let key = rcgen::KeyPair::generate().unwrap().serialize_pem();
        let problem = problem(key.as_bytes());
        assert!(problem.contains("it holds no certificate"), "{problem}");
        assert!(!problem.contains(key.lines().nth(1).unwrap()), "{problem}");
    }
}
