//! What went wrong with a request, as the code that the component gets and the words that a person gets.
//!
//! The component sends a request again when the server cannot have seen it. So the codes that stand for "no
//! connection" are used for errors before the request left, and only for them.

use std::error::Error as StdError;
use std::io::{self, ErrorKind};

use hyper_util::client::legacy;
use rustls::AlertDescription;
use wasmtime_wasi_http::Error;

use super::resolve::Guarded;

/// A failed request.
#[derive(Debug)]
pub struct Failure {
    /// For the component.
    pub code: Error,
    /// For a person, where the code alone says too little.
    pub words: Option<String>,
}

impl Failure {
    /// The connection was not there in time.
    pub fn connect_timeout() -> Self {
        Self::code(Error::ConnectionTimeout)
    }

    /// The answer was not there in time.
    pub fn first_byte_timeout() -> Self {
        Self::code(Error::ConnectionReadTimeout)
    }

    /// The client's own error.
    pub fn of(error: &legacy::Error) -> Self {
        if error.is_connect() { Self::connecting(error) } else { Self::answering(error) }
    }

    /// An error before a connection was there.
    #[cfg(test)]
    pub fn of_connecting(error: &(dyn StdError + 'static)) -> Self {
        Self::connecting(error)
    }

    fn code(code: Error) -> Self {
        Self { code, words: None }
    }

    /// Nothing was sent yet.
    fn connecting(error: &(dyn StdError + 'static)) -> Self {
        if let Some(tls) = find::<rustls::Error>(error) {
            let code = match tls {
                rustls::Error::InvalidCertificate(_) => Error::TlsCertificateError,
                rustls::Error::AlertReceived(alert) => alerted(*alert),
                _ => Error::TlsProtocolError,
            };
            let mut words = format!("TLS: {tls}");
            if matches!(tls, rustls::Error::InvalidCertificate(_)) {
                words.push_str("; where a private CA signed it, give that CA with --ca-file");
            }
            return Self { code, words: Some(words) };
        }
        if let Some(guarded) = find::<Guarded>(error) {
            return Self { code: Error::DestinationIpProhibited, words: Some(guarded.to_string()) };
        }
        let words = chain(error);
        if words.contains("dns error") {
            let cause = find::<io::Error>(error).map_or(words, io::Error::to_string);
            return Self::code(Error::DnsError { rcode: Some(cause), info_code: None });
        }
        let Some(cause) = find::<io::Error>(error) else {
            return Self { code: Error::DestinationUnavailable, words: Some(words) };
        };
        let code = match cause.kind() {
            ErrorKind::ConnectionRefused => return Self::code(Error::ConnectionRefused),
            ErrorKind::TimedOut => return Self::code(Error::ConnectionTimeout),
            ErrorKind::HostUnreachable | ErrorKind::NetworkUnreachable => {
                return Self::code(Error::DestinationIpUnroutable);
            }
            // No local port is left.
            ErrorKind::AddrNotAvailable => Error::ConnectionLimitReached,
            // Also where the other side gives up in the midst of a handshake, as a proxy does that is restarted.
            _ => Error::DestinationUnavailable,
        };
        Self { code, words: Some(words) }
    }

    /// The request may have reached the server.
    fn answering(error: &(dyn StdError + 'static)) -> Self {
        // In TLS 1.3 the server looks at the client's certificate after the client has begun to send; it answers a
        // request only when it has.
        if let Some(rustls::Error::AlertReceived(alert)) = find::<rustls::Error>(error)
            && is_about_certificates(*alert)
        {
            return Self { code: alerted(*alert), words: Some(format!("TLS: {alert:?}")) };
        }
        // The component's own body broke off.
        if let Some(own) = find::<Error>(error) {
            return Self::code(Error::InternalError(Some(own.to_string())));
        }
        let reset = find::<io::Error>(error).is_some_and(|cause| {
            matches!(cause.kind(), ErrorKind::ConnectionReset | ErrorKind::ConnectionAborted | ErrorKind::BrokenPipe)
        });
        match find::<hyper::Error>(error) {
            _ if reset => Self::code(Error::ConnectionTerminated),
            Some(hyper) if hyper.is_incomplete_message() => Self::code(Error::ConnectionTerminated),
            _ => Self::code(Error::InternalError(Some(chain(error)))),
        }
    }
}

fn alerted(alert: AlertDescription) -> Error {
    Error::TlsAlertReceived { alert_id: Some(u8::from(alert)), alert_message: Some(format!("{alert:?}")) }
}

/// The alerts by which a server refuses the client's certificate, or the lack of one (RFC 8446, section 6.2).
fn is_about_certificates(alert: AlertDescription) -> bool {
    matches!(
        alert,
        AlertDescription::CertificateRequired
            | AlertDescription::BadCertificate
            | AlertDescription::UnsupportedCertificate
            | AlertDescription::CertificateRevoked
            | AlertDescription::CertificateExpired
            | AlertDescription::CertificateUnknown
            | AlertDescription::UnknownCA
            | AlertDescription::AccessDenied
    )
}

/// An error while the answer's body arrives.
pub fn of_body(error: &hyper::Error) -> Error {
    match find::<io::Error>(error).map(io::Error::kind) {
        Some(ErrorKind::UnexpectedEof) => Error::HttpResponseIncomplete,
        Some(ErrorKind::ConnectionReset | ErrorKind::ConnectionAborted) => Error::ConnectionTerminated,
        _ if error.is_incomplete_message() => Error::HttpResponseIncomplete,
        _ => Error::InternalError(Some(chain(error))),
    }
}

/// The first `E` among an error and its causes; `io::Error` hides the one it wraps from `source`.
fn find<'a, E: StdError + 'static>(error: &'a (dyn StdError + 'static)) -> Option<&'a E> {
    let mut next = Some(error);
    while let Some(error) = next {
        if let Some(found) = error.downcast_ref() {
            return Some(found);
        }
        next = match error.downcast_ref::<io::Error>().and_then(io::Error::get_ref) {
            Some(wrapped) => Some(wrapped as &(dyn StdError + 'static)),
            None => error.source(),
        };
    }
    None
}

/// An error and its causes as `a: b: c`, each text once. None of them holds the request's address or headers.
fn chain(error: &(dyn StdError + 'static)) -> String {
    let mut texts: Vec<String> = Vec::new();
    let mut next = Some(error);
    while let Some(error) = next {
        let text = error.to_string();
        if !texts.iter().any(|earlier| earlier.contains(&text)) {
            texts.push(text);
        }
        next = error.source();
    }
    texts.join(": ")
}
