//! The XML that S3 answers with: one page of a listing (`ListObjectsV2`), and errors.

use quick_xml::Reader;
use quick_xml::events::Event;
use time::OffsetDateTime;

use super::bucket::Object;
use crate::moment;

/// One page of a listing.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Page {
    pub objects: Vec<Object>,
    pub truncated: bool,
    pub next: Option<String>,
}

/// `<Error>`: what S3 says went wrong.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct ErrorBody {
    pub code: String,
    pub message: String,
    pub region: Option<String>,
}

/// Reads a page.
///
/// # Errors
/// It isn't a whole `ListBucketResult`: says what it is.
pub(super) fn parse_page(xml: &[u8]) -> Result<Page, String> {
    let mut page = Page::default();
    let mut object = PartialObject::default();
    let mut root = None;
    let complete = walk(xml, |path, text| {
        root.get_or_insert_with(|| path.first().cloned().unwrap_or_default());
        let path: Vec<&str> = path.iter().map(String::as_str).collect();
        match path.as_slice() {
            ["ListBucketResult", "IsTruncated"] => page.truncated = text.trim() == "true",
            ["ListBucketResult", "NextContinuationToken"] => page.next = Some(text.to_owned()),
            ["ListBucketResult", "Contents", "Key"] => object.key = Some(text.to_owned()),
            ["ListBucketResult", "Contents", "Size"] => object.bytes = text.trim().parse().ok(),
            ["ListBucketResult", "Contents", "LastModified"] => object.last_modified = moment::read_s3(text.trim()),
            ["ListBucketResult", "Contents"] => match std::mem::take(&mut object) {
                PartialObject { key: Some(key), bytes: Some(bytes), last_modified } => {
                    page.objects.push(Object { key, bytes, last_modified });
                }
                _ => return Err("an object without key or size".to_owned()),
            },
            _ => {}
        }
        Ok(())
    });
    complete?;
    match root.as_deref() {
        Some("ListBucketResult") => Ok(page),
        Some(other) => Err(format!("<{other}> in place of <ListBucketResult>")),
        None => Err("an empty text in place of a listing".to_owned()),
    }
}

#[derive(Default)]
struct PartialObject {
    key: Option<String>,
    bytes: Option<u64>,
    last_modified: Option<OffsetDateTime>,
}

/// Reads an error; `None` where the text isn't one (a HEAD's answer has none, a proxy's is HTML).
pub(super) fn parse_error(xml: &[u8]) -> Option<ErrorBody> {
    let mut error = ErrorBody::default();
    let mut found = false;
    let walked = walk(xml, |path, text| {
        let path: Vec<&str> = path.iter().map(String::as_str).collect();
        match path.as_slice() {
            ["Error"] => found = true,
            ["Error", "Code"] => error.code = text.to_owned(),
            ["Error", "Message"] => error.message = text.to_owned(),
            ["Error", "Region"] => error.region = Some(text.trim().to_owned()).filter(|region| !region.is_empty()),
            _ => {}
        }
        Ok(())
    });
    (walked.is_ok() && found).then_some(error)
}

/// How deep elements may be nested; S3's are at most 4 deep.
const DEPTH: usize = 16;

/// Calls `end` with the path of local names and the text of every element, at its end. Namespaces, comments and
/// the declaration don't matter.
fn walk(xml: &[u8], mut end: impl FnMut(&[String], &str) -> Result<(), String>) -> Result<(), String> {
    let text = std::str::from_utf8(xml).map_err(|_| "a text that is not UTF-8".to_owned())?;
    let mut reader = Reader::from_str(text.trim_start_matches('\u{feff}').trim_start());
    let mut path: Vec<String> = Vec::new();
    let mut texts: Vec<String> = Vec::new();
    loop {
        match reader.read_event().map_err(|error| format!("no well-formed XML: {error}"))? {
            Event::Start(element) => {
                if path.len() == DEPTH {
                    return Err("XML that is nested too deeply".to_owned());
                }
                path.push(element.local_name().as_ref().to_owned());
                texts.push(String::new());
            }
            Event::Empty(element) => {
                path.push(element.local_name().as_ref().to_owned());
                end(&path, "")?;
                path.pop();
            }
            Event::End(_) => {
                end(&path, &texts.pop().unwrap_or_default())?;
                path.pop();
            }
            Event::Text(part) => push(&mut texts, &part.xml10_content()),
            Event::CData(part) => push(&mut texts, &part),
            Event::GeneralRef(reference) => {
                let resolved = reference.resolve_char_ref().map_err(|error| format!("no well-formed XML: {error}"))?;
                let resolved = resolved.or(match &*reference {
                    "amp" => Some('&'),
                    "lt" => Some('<'),
                    "gt" => Some('>'),
                    "quot" => Some('"'),
                    "apos" => Some('\''),
                    _ => None,
                });
                let resolved = resolved.ok_or_else(|| format!("the unknown entity &{};", &*reference))?;
                push(&mut texts, resolved.encode_utf8(&mut [0; 4]));
            }
            Event::Eof if path.is_empty() => return Ok(()),
            Event::Eof => return Err("XML that breaks off".to_owned()),
            Event::Comment(_) | Event::Decl(_) | Event::PI(_) | Event::DocType(_) => {}
        }
    }
}

fn push(texts: &mut [String], part: &str) {
    if let Some(text) = texts.last_mut() {
        text.push_str(part);
    }
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
            ("<ListBucketResult><IsTruncated>false</IsTruncated>", "breaks off"),
            ("<ListBucketResult><Contents><Key>a</Key></Contents></ListBucketResult>", "without key or size"),
            (
                "<ListBucketResult><Contents><Key>a</Key><Size>x</Size></Contents></ListBucketResult>",
                "without key or size",
            ),
            ("<ListBucketResult><Key>&unknown;</Key></ListBucketResult>", "unknown entity"),
            ("<html><body>hi</body></html>", "<html>"),
            ("<a></b>", "well-formed"),
        ] {
            let error = parse_page(xml.as_bytes()).unwrap_err();
            assert!(error.contains(what), "{xml}: {error}");
        }
        assert!(parse_page(&[0xff, 0xfe]).is_err());
        assert!(parse_page("<a>".repeat(100_000).as_bytes()).unwrap_err().contains("deeply"));
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
