//! Signature Version 4 for S3: headers for our own requests, presigned URLs for Qdrant's (AWS, "Authenticating
//! Requests (AWS Signature Version 4)" in the S3 API reference).

use std::time::{Duration, SystemTime};

use aws_credential_types::Credentials;
use aws_sigv4::http_request::{
    PayloadChecksumKind, PercentEncodingMode, SignableBody, SignableRequest, SignatureLocation, SigningSettings,
    UriPathNormalizationMode, sign,
};
use aws_sigv4::sign::v4;
use http::{HeaderMap, HeaderName, HeaderValue, Method};
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use time::OffsetDateTime;

use crate::presigned_url::PresignedUrl;
use crate::settings::Keys;

/// What stays as it is in a canonical URI (RFC 3986, unreserved).
const UNRESERVED: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');
/// The same for a whole key, whose slashes divide it.
const KEY: &AsciiSet = &UNRESERVED.remove(b'/');

/// `key` as a path, without a leading slash.
pub(super) fn encode_key(key: &str) -> String {
    utf8_percent_encode(key, KEY).to_string()
}

/// `text` as the value of a query parameter.
pub(super) fn encode_query(text: &str) -> String {
    utf8_percent_encode(text, UNRESERVED).to_string()
}

/// Signs a request to `url` and returns the headers to add. `headers` are those that are to be signed besides
/// `Host`; `sha256` is that of the body, which is left out of the signature without it.
///
/// # Errors
/// The URL can't be signed.
pub(super) fn sign_headers(
    keys: &Keys,
    region: &str,
    now: OffsetDateTime,
    method: &Method,
    url: &str,
    headers: &HeaderMap,
    sha256: Option<&[u8; 32]>,
) -> Result<HeaderMap, String> {
    let mut signing = signing_settings(SignatureLocation::Headers);
    signing.payload_checksum_kind = PayloadChecksumKind::XAmzSha256;
    let body = match sha256 {
        Some(sha256) => SignableBody::Precomputed(sha256.iter().map(|byte| format!("{byte:02x}")).collect()),
        None => SignableBody::UnsignedPayload,
    };
    let headers = headers.iter().filter_map(|(name, value)| Some((name.as_str(), value.to_str().ok()?)));
    let request = SignableRequest::new(method.as_str(), url, headers, body);
    let request = request.map_err(|error| error.to_string())?;
    let (headers, _) = instructions(keys, region, now, signing, request)?;
    headers
        .into_iter()
        .map(|(name, value)| {
            let name = HeaderName::from_bytes(name.as_bytes()).map_err(|error| error.to_string())?;
            let mut value = HeaderValue::from_str(&value).map_err(|error| error.to_string())?;
            value.set_sensitive(true);
            Ok((name, value))
        })
        .collect()
}

/// A URL by which `url` can be read with GET for `validity` from `now` on (1 s to 7 days).
///
/// # Errors
/// The URL can't be signed.
pub(super) fn presign(
    keys: &Keys,
    region: &str,
    now: OffsetDateTime,
    url: &str,
    validity: Duration,
) -> Result<PresignedUrl, String> {
    let mut signing = signing_settings(SignatureLocation::QueryParams);
    signing.expires_in = Some(validity);
    let request = SignableRequest::new("GET", url, std::iter::empty(), SignableBody::UnsignedPayload);
    let request = request.map_err(|error| error.to_string())?;
    let (_, parameters) = instructions(keys, region, now, signing, request)?;
    let query: Vec<String> = parameters.iter().map(|(name, value)| format!("{name}={}", encode_query(value))).collect();
    Ok(PresignedUrl::new(format!("{url}?{}", query.join("&"))))
}

fn signing_settings(location: SignatureLocation) -> SigningSettings {
    let mut signing = SigningSettings::default();
    signing.signature_location = location;
    // S3 differs from all other services in these two: a key is a key, and is encoded once.
    signing.percent_encoding_mode = PercentEncodingMode::Single;
    signing.uri_path_normalization_mode = UriPathNormalizationMode::Disabled;
    signing
}

type Pairs = Vec<(String, String)>;

/// The headers and the query parameters that carry the signature.
fn instructions(
    keys: &Keys,
    region: &str,
    now: OffsetDateTime,
    signing: SigningSettings,
    request: SignableRequest<'_>,
) -> Result<(Pairs, Pairs), String> {
    let identity = Credentials::new(
        keys.access_key.as_str(),
        keys.secret_key.reveal(),
        keys.session_token.as_ref().map(|token| token.reveal().to_owned()),
        None,
        "qdrant-backup",
    )
    .into();
    let parameters = v4::SigningParams::builder()
        .identity(&identity)
        .region(region)
        .name("s3")
        .time(SystemTime::from(now))
        .settings(signing)
        .build()
        .map_err(|error| error.to_string())?;
    let (instructions, _) = sign(request, &parameters.into()).map_err(|error| error.to_string())?.into_parts();
    let headers = instructions.headers().map(|(name, value)| (name.to_owned(), value.to_owned())).collect();
    let query = instructions.params().iter().map(|(name, value)| ((*name).to_owned(), value.to_string())).collect();
    Ok((headers, query))
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use sha2::{Digest, Sha256};

    use super::*;
    use crate::settings::Secret;
    use time::macros::datetime;

    /// The keys of AWS's documented examples.
    fn keys() -> Keys {
        let secret_key = Secret::new("wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY");
        Keys { access_key: "AKIAIOSFODNN7EXAMPLE".to_owned(), secret_key, session_token: None }
    }

    const NOW: OffsetDateTime = datetime!(2013-05-24 00:00 UTC);

    /// AWS, "Authenticating Requests: Using Query Parameters", the example at the end.
    #[test]
    fn the_documented_presigned_url_is_made() {
        let url = "https://examplebucket.s3.amazonaws.com/test.txt";
        let url = presign(&keys(), "us-east-1", NOW, url, Duration::from_secs(86_400)).unwrap();
        assert!(
            url.reveal().ends_with("&X-Amz-Signature=aeeed9bbccd4d02ee5c0109b86d86835f995330da4c265957d157751f604d404"),
            "{}",
            url.reveal()
        );
        for part in [
            "https://examplebucket.s3.amazonaws.com/test.txt?",
            "X-Amz-Algorithm=AWS4-HMAC-SHA256",
            "X-Amz-Credential=AKIAIOSFODNN7EXAMPLE%2F20130524%2Fus-east-1%2Fs3%2Faws4_request",
            "X-Amz-Date=20130524T000000Z",
            "X-Amz-Expires=86400",
            "X-Amz-SignedHeaders=host",
        ] {
            assert!(url.reveal().contains(part), "{part}");
        }
        assert!(!format!("{url:?}").contains("aeeed9"));
    }

    /// AWS, "Signature Calculations for the Authorization Header", all of its examples.
    #[test]
    fn the_documented_headers_are_made() {
        let authorization = |method: Method, url: &str, headers: &[(&'static str, &'static str)], body: &[u8]| {
            let headers = headers
                .iter()
                .map(|(name, value)| (HeaderName::from_static(name), HeaderValue::from_static(value)))
                .collect();
            let sha256 = Sha256::digest(body).into();
            let signed = sign_headers(&keys(), "us-east-1", NOW, &method, url, &headers, Some(&sha256)).unwrap();
            signed.get("authorization").unwrap().to_str().unwrap().to_owned()
        };
        let url = "https://examplebucket.s3.amazonaws.com/test.txt";
        assert!(
            authorization(Method::GET, url, &[("range", "bytes=0-9")], b"")
                .ends_with("Signature=f0e8bdb87c964420e857bd35b5d6ed310bd44f0170aba48dd91039c6036bdb41")
        );
        let url = "https://examplebucket.s3.amazonaws.com/test%24file.text";
        let headers = [("date", "Fri, 24 May 2013 00:00:00 GMT"), ("x-amz-storage-class", "REDUCED_REDUNDANCY")];
        assert!(
            authorization(Method::PUT, url, &headers, b"Welcome to Amazon S3.")
                .ends_with("Signature=98ad721746da40c64f1a55b78f14c238d841ea1380cd77a1b5971af0ece108bd")
        );
        let url = "https://examplebucket.s3.amazonaws.com/?lifecycle";
        assert!(
            authorization(Method::GET, url, &[], b"")
                .ends_with("Signature=fea454ca298b7da1c68078a5d1bdbfbbe0d65c699e0f91ac7a200a0136783543")
        );
        let url = "https://examplebucket.s3.amazonaws.com/?max-keys=2&prefix=J";
        assert!(
            authorization(Method::GET, url, &[], b"")
                .ends_with("Signature=34b48302e7b5fa45bde8084f4b7868a86f0a534bc59db6670ed5711ef69dc6f7")
        );
    }

    #[test]
    fn keys_are_encoded_once() {
        assert_eq!(encode_key("snapshots/ge %C3%BCn%25,odd/a+b~c"), "snapshots/ge%20%25C3%25BCn%2525%2Codd/a%2Bb~c");
    }
}
