//! The XML that S3 answers with: one page of a listing (`ListObjectsV2`), and errors.

use quick_xml::de::from_str;
use serde::Deserialize;

use crate::store::Object;
use crate::timestamp;

/// One page of a listing.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Page {
    pub objects: Vec<Object>,
    pub truncated: bool,
    pub next: Option<String>,
}

/// `<Error>`: what S3 says went wrong.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub(super) struct ErrorBody {
    pub code: String,
    pub message: String,
    pub region: Option<String>,
}

/// `<ListBucketResult>`; what a listing has besides is not looked at.
#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct ListBucketResult {
    #[serde(default)]
    is_truncated: bool,
    next_continuation_token: Option<String>,
    #[serde(default)]
    contents: Vec<Contents>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Contents {
    key: String,
    size: u64,
    last_modified: Option<String>,
}

/// Reads a page.
///
/// # Errors
/// It isn't a whole `ListBucketResult`: says what it is.
pub(super) fn parse_page(xml: &[u8]) -> Result<Page, String> {
    let text = text(xml)?;
    match root(text) {
        Some("ListBucketResult") => {}
        Some(other) => return Err(format!("<{other}> in place of <ListBucketResult>")),
        None => return Err("an empty text, or not XML, in place of a listing".to_owned()),
    }
    let page: ListBucketResult = from_str(text).map_err(|error| format!("a listing that can't be read: {error}"))?;
    let objects = page.contents.into_iter().map(|Contents { key, size, last_modified }| Object {
        key,
        bytes: size,
        last_modified: last_modified.and_then(|moment| timestamp::read_s3(moment.trim())),
    });
    Ok(Page { objects: objects.collect(), truncated: page.is_truncated, next: page.next_continuation_token })
}

/// Reads an error; `None` where the text isn't one (a HEAD's answer has none, a proxy's is HTML).
pub(super) fn parse_error(xml: &[u8]) -> Option<ErrorBody> {
    let text = text(xml).ok().filter(|text| root(text) == Some("Error"))?;
    let mut error: ErrorBody = from_str(text).ok()?;
    error.region = error.region.map(|region| region.trim().to_owned()).filter(|region| !region.is_empty());
    Some(error)
}

fn text(xml: &[u8]) -> Result<&str, String> {
    let text = std::str::from_utf8(xml).map_err(|_| "a text that is not UTF-8".to_owned())?;
    Ok(text.trim_start_matches('\u{feff}').trim())
}

/// The local name of the first element.
fn root(text: &str) -> Option<&str> {
    let tag = text.split('<').skip(1).find(|tag| !tag.starts_with(['?', '!']))?;
    let name = tag.split(|c: char| c.is_whitespace() || matches!(c, '>' | '/')).next()?;
    name.rsplit(':').next().filter(|name| !name.is_empty())
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use time::macros::datetime;

    #[test]
    fn a_page_is_read() {
        let xml = br#"<?xml version="1.0" encoding="UTF-8"?>
            <ListBucketResult xmlns="http://s3.amazonaws.com/doc/2006-03-01/"><Prefix>a</Prefix><IsTruncated>true</IsTruncated>
            <NextContinuationToken>]c25h&#43;=</NextContinuationToken>
            <Contents><Key>snapshots/a&amp;b &lt;c&gt;/x</Key><LastModified>2026-11-22T10:30:51.336Z</LastModified><ETag>&quot;1&quot;</ETag><Size>2000</Size></Contents>
            <Contents><Key><![CDATA[y<z]]></Key><Size>0</Size><Owner><ID>Key</ID></Owner></Contents>
            <CommonPrefixes><Prefix>p/</Prefix></CommonPrefixes></ListBucketResult>"#;
        let page = parse_page(xml).unwrap();
        assert!(page.truncated);
        assert_eq!(page.next.as_deref(), Some("]c25h+="));
        let object = |key: &str, bytes, last_modified| Object { key: key.to_owned(), bytes, last_modified };
        assert_eq!(
            page.objects,
            [object("snapshots/a&b <c>/x", 2000, Some(datetime!(2026-11-22 10:30:51 UTC))), object("y<z", 0, None)]
        );
    }

    #[test]
    fn half_a_page_or_something_else_is_not_a_page() {
        for (xml, what) in [
            ("", "empty"),
            ("<ListBucketResult><IsTruncated>false</IsTruncated>", "not closed"),
            ("<ListBucketResult><Contents><Key>a</Key></Contents></ListBucketResult>", "`Size`"),
            ("<ListBucketResult><Contents><Key>a</Key><Size>x</Size></Contents></ListBucketResult>", "expected u64"),
            ("<ListBucketResult><Contents><Key>&unknown;</Key><Size>1</Size></Contents></ListBucketResult>", "unknown"),
            ("<html><body>hi</body></html>", "<html>"),
            ("<ListBucketResult></b>", "can't be read"),
        ] {
            let error = parse_page(xml.as_bytes()).unwrap_err();
            assert!(error.contains(what), "{xml}: {error}");
        }
        assert!(parse_page(&[0xff, 0xfe]).is_err());
        let deep = format!("<ListBucketResult>{}", "<a>".repeat(100_000));
        assert!(parse_page(deep.as_bytes()).unwrap_err().contains("not closed"));
    }

    #[test]
    fn an_error_is_read_with_and_without_namespace() {
        for xml in [
            "<?xml version=\"1.0\"?><Error><Code>AuthorizationHeaderMalformed</Code><Message>expected: &apos;garage&apos;</Message><Region>garage</Region></Error>",
            "<Error xmlns=\"http://s3.amazonaws.com/doc/2006-03-01/\"><Code>AuthorizationHeaderMalformed</Code><Message>expected: 'garage'</Message><Region>garage</Region></Error>",
        ] {
            let error = parse_error(xml.as_bytes()).unwrap();
            assert_eq!(
                (error.code.as_str(), error.message.as_str()),
                ("AuthorizationHeaderMalformed", "expected: 'garage'")
            );
            assert_eq!(error.region.as_deref(), Some("garage"));
        }
        assert_eq!(parse_error(b""), None);
        assert_eq!(parse_error(b"<html></html>"), None);
        assert_eq!(parse_error(b"Bad Gateway"), None);
    }
}
