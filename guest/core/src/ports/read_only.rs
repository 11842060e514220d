//! Ports by which nothing can be changed: a dry run has no others. What it should not have tried fails, and says what it
//! was.

use std::rc::Rc;

use http::Method;
use http::header::AUTHORIZATION;

use super::{Body, FileError, Files, Http, HttpError, LocalBoxFuture, Ports, Request, Response};

/// `ports` with the network and the work directory to be read from alone.
pub(crate) fn read_only(ports: Ports) -> Ports {
    Ports { http: Rc::new(ReadOnly(ports.http)), files: Rc::new(ReadOnly(ports.files)), ..ports }
}

/// A port of which only what reads gets through.
struct ReadOnly<T: ?Sized>(Rc<T>);

impl Http for ReadOnly<dyn Http> {
    fn send(&self, request: Request) -> LocalBoxFuture<'_, Result<Response, HttpError>> {
        if only_reads(&request.method, request.uri.path(), request.uri.query()) || only_lends_keys(&request) {
            self.0.send(request)
        } else {
            Box::pin(std::future::ready(Err(refused(&request))))
        }
    }

    fn send_stream<'a>(
        &'a self,
        request: Request,
        _length: u64,
        _body: &'a mut dyn Body,
    ) -> LocalBoxFuture<'a, Result<Response, HttpError>> {
        // Nothing is read by a body that is worth a stream.
        Box::pin(std::future::ready(Err(refused(&request))))
    }
}

/// The query is not told: it may hold a signature.
fn refused(request: &Request) -> HttpError {
    let uri = &request.uri;
    let authority = uri.authority().map_or("", |authority| authority.as_str());
    HttpError::ReadOnly(format!("{} {authority}{}", request.method, uri.path()))
}

/// True for a request that no server changes anything for. GET and HEAD do not, at Qdrant and at S3 (RFC 9110, "Safe
/// Methods"); of what Qdrant takes by POST, these do not.
fn only_reads(method: &Method, path: &str, query: Option<&str>) -> bool {
    if *method == Method::GET || *method == Method::HEAD {
        return true;
    }
    let segments: Vec<&str> = path.trim_start_matches('/').split('/').collect();
    // A POST to S3 says what it is for by its query.
    *method == Method::POST
        && query.is_none()
        && matches!(
            segments.as_slice(),
            ["collections", _, "points", "count" | "query" | "scroll"]
                | ["collections", _, "shards", _, "points"]
                | ["collections", _, "shards", _, "points", "count" | "query" | "scroll"]
        )
}

/// True for a request by which keys of the bucket are lent, which every reading of it may need: to STS (AWS,
/// "AssumeRoleWithWebIdentity", which is not signed), and for a session of a machine's metadata (AWS, "IMDSv2").
fn only_lends_keys(request: &Request) -> bool {
    let Request { method, uri, headers, body, .. } = request;
    if headers.contains_key(AUTHORIZATION) || uri.query().is_some() {
        return false;
    }
    let by_identity = *method == Method::POST && body.starts_with(b"Action=AssumeRoleWithWebIdentity&");
    let of_machine = *method == Method::PUT
        && uri.path() == "/latest/api/token"
        && headers.contains_key("x-aws-ec2-metadata-token-ttl-seconds")
        && body.is_empty();
    by_identity || of_machine
}

impl ReadOnly<dyn Files> {
    fn refused<T>(name: &str) -> Result<T, FileError> {
        let cause = "a dry run changes nothing".to_owned();
        Err(FileError { name: name.to_owned(), action: FileError::CHANGE, cause })
    }
}

impl Files for ReadOnly<dyn Files> {
    fn read(&self, name: &str) -> Result<Option<Vec<u8>>, FileError> {
        self.0.read(name)
    }

    fn replace(&self, name: &str, _content: &[u8]) -> Result<(), FileError> {
        Self::refused(name)
    }

    fn append(&self, name: &str, _content: &[u8]) -> Result<(), FileError> {
        Self::refused(name)
    }

    fn rename(&self, from: &str, _to: &str) -> Result<(), FileError> {
        Self::refused(from)
    }

    fn remove(&self, name: &str) -> Result<bool, FileError> {
        Self::refused(name)
    }

    fn read_path(&self, path: &str) -> Result<Vec<u8>, FileError> {
        self.0.read_path(path)
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use std::time::Duration;

    use http::header::{HeaderMap, HeaderName, HeaderValue};

    use super::*;
    use crate::ports::Timeouts;

    const SECOND: Duration = Duration::from_secs(1);

    #[test]
    fn keys_are_lent_in_a_dry_run() {
        let request = |method: Method, uri: &str, header: Option<&'static str>, body: &str| {
            let mut headers = HeaderMap::new();
            headers.extend(header.map(|name| (HeaderName::from_static(name), HeaderValue::from_static("60"))));
            let timeouts = Timeouts { connect: SECOND, first_byte: SECOND, between_bytes: SECOND };
            Request { method, uri: uri.parse().unwrap(), headers, body: body.as_bytes().to_vec(), timeouts }
        };
        let (ttl, token) = ("x-aws-ec2-metadata-token-ttl-seconds", "http://169.254.169.254/latest/api/token");
        let assume = "Action=AssumeRoleWithWebIdentity&Version=2011-06-15";
        for lends in [
            request(Method::PUT, token, Some(ttl), ""),
            request(Method::POST, "https://sts.amazonaws.com/", None, assume),
        ] {
            assert!(only_lends_keys(&lends), "{lends:?}");
        }
        for changes in [
            request(Method::PUT, token, None, ""),
            request(Method::PUT, token, Some(ttl), "an object"),
            request(Method::PUT, "http://s3/latest/api/tokens", Some(ttl), ""),
            request(Method::PUT, token, Some("authorization"), ""),
            request(Method::POST, "https://sts.amazonaws.com/", None, "Action=CreateRole&RoleName=x"),
            request(Method::POST, "https://sts.amazonaws.com/", Some("authorization"), assume),
            request(Method::DELETE, "https://sts.amazonaws.com/", None, assume),
        ] {
            assert!(!only_lends_keys(&changes), "{changes:?}");
        }
    }

    #[test]
    fn what_reads_gets_through_and_nothing_else() {
        let reads = |method: &Method, target: &str| {
            let (path, query) = target.split_once('?').map_or((target, None), |(path, query)| (path, Some(query)));
            only_reads(method, path, query)
        };
        for target in [
            "/collections/docs/points/count",
            "/collections/docs/points/query",
            "/collections/docs/points/scroll",
            "/collections/docs/shards/0/points",
            "/collections/docs/shards/0/points/count",
            "/collections/docs/shards/0/points/scroll",
        ] {
            assert!(reads(&Method::POST, target), "POST {target}");
            assert!(!reads(&Method::PUT, target) && !reads(&Method::DELETE, target), "{target}");
        }
        for target in ["/", "/collections", "/bucket/key?versionId=1"] {
            assert!(reads(&Method::GET, target) && reads(&Method::HEAD, target), "{target}");
        }
        for target in [
            "/",
            "/collections/docs/points",
            "/collections/docs/points/delete",
            "/collections/docs/points/count/",
            "/collections/docs/points/count?uploads",
            "/collections/docs/snapshots",
            "/collections/docs/shards/0/snapshots/upload?wait=true",
            "/collections/aliases",
            "/bucket/collections/docs/points/count",
            "/collections/x/y/points/count",
        ] {
            for method in [Method::POST, Method::PUT, Method::PATCH, Method::DELETE] {
                assert!(!reads(&method, target), "{method} {target}");
            }
        }
    }
}
