//! Whom the client trusts.

use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::{self, PemObject};
use rustls::{ClientConfig, RootCertStore};

/// Why a CA file can't be used.
#[derive(Debug)]
pub struct CaFileError {
    file: PathBuf,
    why: String,
}

impl fmt::Display for CaFileError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "the CA file `{}` can't be used: {}; accepted are one or more certificates in PEM form",
            self.file.display(),
            self.why
        )
    }
}

impl std::error::Error for CaFileError {}

/// TLS 1.2 and 1.3 with certificates checked against, in this order: the certificates of `ca_file` alone, the
/// system's trust store (`SSL_CERT_FILE` and `SSL_CERT_DIR` are honoured), or Mozilla's list where the system
/// has none, as in an image made from scratch.
///
/// # Errors
/// The CA file is missing or holds no certificate.
pub fn configuration(ca_file: Option<&Path>) -> Result<ClientConfig, CaFileError> {
    let roots = match ca_file {
        Some(file) => from_file(file)?,
        None => from_system(),
    };
    // Named rather than taken from the process, which may have another one or two.
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let versions = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(|error| CaFileError { file: PathBuf::new(), why: error.to_string() })?;
    Ok(versions.with_root_certificates(roots).with_no_client_auth())
}

fn from_file(file: &Path) -> Result<RootCertStore, CaFileError> {
    let error = |why: String| CaFileError { file: file.to_path_buf(), why };
    let text = std::fs::read(file).map_err(|cause| error(cause.to_string()))?;
    let mut roots = RootCertStore::empty();
    for certificate in CertificateDer::pem_slice_iter(&text) {
        let certificate = certificate.map_err(|cause| error(pem_error(&cause)))?;
        roots.add(certificate).map_err(|cause| error(cause.to_string()))?;
    }
    if roots.is_empty() {
        return Err(error("it holds no certificate".to_string()));
    }
    Ok(roots)
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

    fn problem(content: &[u8]) -> String {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), content).unwrap();
        configuration(Some(file.path())).unwrap_err().to_string()
    }

    #[test]
    fn there_are_roots_without_a_file() {
        assert!(!from_system().is_empty());
        assert!(configuration(None).is_ok());
    }

    #[test]
    fn several_certificates_are_several_roots() {
        let pem: String =
            (0..2).map(|_| rcgen::generate_simple_self_signed(["qdrant".to_string()]).unwrap().cert.pem()).collect();
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), format!("a comment\n{pem}")).unwrap();
        assert_eq!(from_file(file.path()).unwrap().len(), 2);
    }

    #[test]
    fn a_file_without_certificates_is_named() {
        assert!(problem(b"").contains("it holds no certificate"));
        assert!(problem(b"hello").contains("it holds no certificate"));
        assert!(problem(b"-----BEGIN CERTIFICATE-----\nAAAA\n").contains("has no end"));
        assert!(problem(b"-----BEGIN CERTIFICATE-----\n!!!\n-----END CERTIFICATE-----\n").contains("no base64"));
        assert!(problem(b"-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n").contains("can't be used"));
        let missing = configuration(Some(Path::new("/no/such.pem"))).unwrap_err().to_string();
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
