//! What services answer that lend keys: JSON from those of containers and machines, XML from STS. No text of an answer is
//! ever a part of an error: there are secrets in it.

use quick_xml::Reader;
use quick_xml::events::Event;
use serde_json::Value;
use time::OffsetDateTime;

use crate::settings::{Keys, Secret};
use crate::timestamp;

/// Keys and their end.
pub(super) type Found = (Keys, OffsetDateTime);

/// The keys by the names of their fields. STS has another name for the token.
fn found(field: impl Fn(&str) -> Option<String>) -> Result<Found, String> {
    let wanted = |name: &str| {
        let missing = || "the answer lacks AccessKeyId, SecretAccessKey, a token or Expiration; is a role attached?";
        field(name).map(|text| text.trim().to_owned()).ok_or_else(missing)
    };
    let token = wanted("Token").or_else(|_| wanted("SessionToken"))?;
    let (access_key, secret_key) = (wanted("AccessKeyId")?, wanted("SecretAccessKey")?);
    let end = timestamp::read_s3(&wanted("Expiration")?).ok_or("its `Expiration` is no time")?;
    let good = |text: &String| !text.is_empty() && text.chars().all(|c| c.is_ascii_graphic());
    if ![&access_key, &secret_key, &token].into_iter().all(good) {
        return Err("one of its keys is empty, or has signs in it that no key has".to_owned());
    }
    let (secret_key, session_token) = (Secret::new(secret_key), Some(Secret::new(token)));
    Ok((Keys { access_key, secret_key, session_token }, end))
}

/// Reads what the services of containers (AWS, "Container credential provider") and machines (Amazon EC2, "Retrieve
/// security credentials from instance metadata") answer.
///
/// # Errors
/// It is something else.
pub(super) fn from_json(answer: &[u8]) -> Result<Found, String> {
    let value: Value = serde_json::from_slice(answer).map_err(|_| "the answer is not JSON")?;
    found(|name| value.get(name)?.as_str().map(str::to_owned))
}

/// Reads the answer to `AssumeRoleWithWebIdentity` (AWS STS API reference).
///
/// # Errors
/// It is something else.
pub(super) fn from_xml(answer: &[u8]) -> Result<Found, String> {
    found(|name| element(answer, &["AssumeRoleWithWebIdentityResponse", "Credentials", name]))
}

/// Code and words of a refusal, in either form; empty where it is neither.
pub(super) fn refusal(answer: &[u8]) -> (String, String) {
    let json: Value = serde_json::from_slice(answer).unwrap_or_default();
    let field = |name: &str, other: &str| {
        let json = json.get(name).or_else(|| json.get(other)).and_then(Value::as_str).map(str::to_owned);
        json.or_else(|| element(answer, &["ErrorResponse", "Error", name])).unwrap_or_default()
    };
    (field("Code", "code"), field("Message", "message"))
}

/// The text of the first element that is within those named before it, however deep.
fn element(xml: &[u8], path: &[&str]) -> Option<String> {
    let mut reader = Reader::from_reader(xml);
    let mut path = path.iter();
    let mut wanted = path.next()?;
    let mut buffer = Vec::new();
    loop {
        match reader.read_event_into(&mut buffer).ok()? {
            Event::Start(start) if start.local_name().as_ref() == *wanted => match path.next() {
                Some(next) => wanted = next,
                None => break,
            },
            Event::Eof => return None,
            _ => {}
        }
        buffer.clear();
    }
    let mut text = String::new();
    loop {
        buffer.clear();
        match reader.read_event_into(&mut buffer).ok()? {
            Event::Text(part) => text.push_str(&part),
            Event::GeneralRef(name) => {
                let name = format!("&{};", &*name);
                text.push_str(&quick_xml::escape::unescape(&name).ok()?);
            }
            Event::End(_) => return Some(text),
            _ => return None,
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use time::macros::datetime;

    use super::*;

    fn keys() -> Keys {
        Keys {
            access_key: "ASIAEXAMPLE".to_owned(),
            secret_key: Secret::new("wJalr/K7"),
            session_token: Some(Secret::new("to+ken==")),
        }
    }

    #[test]
    fn the_documented_answers_are_read() {
        let ecs = r#"{"RoleArn": "arn", "AccessKeyId": "ASIAEXAMPLE", "SecretAccessKey": "wJalr/K7", "Token": "to+ken==",
            "Expiration": "2026-01-29T12:00:00Z"}"#;
        let ec2 = r#"{"Code": "Success", "LastUpdated": "2026-01-29T06:00:00Z", "Type": "AWS-HMAC",
            "AccessKeyId": "ASIAEXAMPLE", "SecretAccessKey": "wJalr/K7", "Token": "to+ken==",
            "Expiration": "2026-01-29T12:00:00Z"}"#;
        let sts = r#"<AssumeRoleWithWebIdentityResponse xmlns="https://sts.amazonaws.com/doc/2011-06-15/">
            <AssumeRoleWithWebIdentityResult><SubjectFromWebIdentityToken>sub</SubjectFromWebIdentityToken>
            <AssumedRoleUser><Arn>arn</Arn></AssumedRoleUser><Credentials><SessionToken>to+ken==</SessionToken>
            <SecretAccessKey>wJalr/K7</SecretAccessKey><Expiration>2026-01-29T12:00:00.123Z</Expiration>
            <AccessKeyId>ASIAEXAMPLE</AccessKeyId></Credentials></AssumeRoleWithWebIdentityResult>
            <ResponseMetadata><RequestId>1</RequestId></ResponseMetadata></AssumeRoleWithWebIdentityResponse>"#;
        let expected = (keys(), datetime!(2026-01-29 12:00 UTC));
        for found in [from_json(ecs.as_bytes()), from_json(ec2.as_bytes()), from_xml(sts.as_bytes())] {
            assert_eq!(found.unwrap(), expected);
        }
    }

    #[test]
    fn anything_else_is_an_error_without_a_word_of_it() {
        for answer in [
            "",
            "hunter2",
            r#"{"Code": "hunter2", "Message": "hunter2"}"#,
            r#"{"AccessKeyId": {"hunter2": 1}, "SecretAccessKey": "hunter2", "Token": "t", "Expiration": "2026-01-29T12:00:00Z"}"#,
            r#"{"AccessKeyId": "hunter2", "SecretAccessKey": "s", "Token": "t", "Expiration": "hunter2"}"#,
            r#"{"AccessKeyId": "hunter2", "SecretAccessKey": "s", "Token": "t"}"#,
            r#"{"AccessKeyId": "hunter2", "SecretAccessKey": "", "Token": "t", "Expiration": "2026-01-29T12:00:00Z"}"#,
            r#"{"AccessKeyId": "a\r\nhunter2", "SecretAccessKey": "s", "Token": "t", "Expiration": "2026-01-29T12:00:00Z"}"#,
            "<AssumeRoleWithWebIdentityResponse><hunter2/></AssumeRoleWithWebIdentityResponse>",
        ] {
            for error in [from_json(answer.as_bytes()).unwrap_err(), from_xml(answer.as_bytes()).unwrap_err()] {
                assert!(!error.contains("hunter2"), "{answer}: {error}");
            }
        }
    }

    #[test]
    fn refusals_are_read_in_either_form() {
        let sts = "<ErrorResponse xmlns=\"https://sts.amazonaws.com/doc/2011-06-15/\"><Error><Type>Sender</Type>\
                   <Code>ExpiredTokenException</Code><Message>Token expired</Message></Error><RequestId>1</RequestId>\
                   </ErrorResponse>";
        let read = |text: &str| refusal(text.as_bytes());
        assert_eq!(read(sts), ("ExpiredTokenException".to_owned(), "Token expired".to_owned()));
        assert_eq!(read(r#"{"code": "A", "message": "b"}"#), ("A".to_owned(), "b".to_owned()));
        assert_eq!(read("<html>"), (String::new(), String::new()));
    }
}
