//! What services answer that lend keys: JSON from those of containers and machines, XML from STS. No text of an answer is
//! ever a part of an error: there are secrets in it.

use quick_xml::de::from_str;
use serde::Deserialize;
use time::OffsetDateTime;

use crate::settings::{Keys, Secret};
use crate::timestamp;

/// Keys and their end.
pub(super) type Found = (Keys, OffsetDateTime);

/// The same in both forms.
#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Body {
    access_key_id: String,
    secret_access_key: String,
    #[serde(alias = "SessionToken")]
    token: String,
    expiration: String,
}

impl Body {
    fn read(self) -> Result<Found, String> {
        let end = timestamp::read_s3(self.expiration.trim()).ok_or("its `Expiration` is no time")?;
        let keys = Keys {
            access_key: self.access_key_id.trim().to_owned(),
            secret_key: Secret::new(self.secret_access_key.trim()),
            session_token: Some(Secret::new(self.token.trim())),
        };
        let secrets = [&keys.access_key, keys.secret_key.reveal(), self.token.trim()];
        if secrets.iter().any(|text| text.is_empty() || !text.chars().all(|c| c.is_ascii_graphic())) {
            return Err("one of its keys is empty, or has signs in it that no key has".to_owned());
        }
        Ok((keys, end))
    }
}

/// Reads what the services of containers (AWS, "Container credential provider") and machines (Amazon EC2, "Retrieve
/// security credentials from instance metadata") answer.
///
/// # Errors
/// It is something else.
pub(super) fn from_json(answer: &[u8]) -> Result<Found, String> {
    let body: Body = serde_json::from_slice(answer).map_err(|_| {
        "the answer is not JSON with AccessKeyId, SecretAccessKey, Token and Expiration; is a role attached?".to_owned()
    })?;
    body.read()
}

/// Reads the answer to `AssumeRoleWithWebIdentity` (AWS STS API reference).
///
/// # Errors
/// It is something else.
pub(super) fn from_xml(answer: &[u8]) -> Result<Found, String> {
    #[derive(Deserialize)]
    struct Answer {
        #[serde(rename = "AssumeRoleWithWebIdentityResult")]
        result: Assumed,
    }
    #[derive(Deserialize)]
    struct Assumed {
        #[serde(rename = "Credentials")]
        credentials: Body,
    }
    let what = "the answer is not the XML of AssumeRoleWithWebIdentity";
    let text = std::str::from_utf8(answer).map_err(|_| what)?;
    let answer: Answer = from_str(text).map_err(|_| what)?;
    answer.result.credentials.read()
}

/// Code and words of a refusal, in either form; empty where it is neither.
pub(super) fn refusal(answer: &[u8]) -> (String, String) {
    #[derive(Default, Deserialize)]
    #[serde(default)]
    struct Refusal {
        #[serde(alias = "Code", alias = "__type")]
        code: String,
        #[serde(alias = "Message")]
        message: String,
    }
    #[derive(Deserialize)]
    struct Response {
        #[serde(rename = "Error")]
        error: Refusal,
    }
    let text = std::str::from_utf8(answer).unwrap_or_default();
    let json = serde_json::from_str(text).ok();
    let refusal: Refusal =
        json.or_else(|| from_str::<Response>(text).ok().map(|response| response.error)).unwrap_or_default();
    (refusal.code, refusal.message)
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
