//! The XML that S3 answers with: one page of a listing (`ListObjectsV2`, `ListMultipartUploads`), what begins and ends an
//! upload in parts, and errors.

use quick_xml::de::from_str;
use serde::Deserialize;

use super::sign::encode_query;
use crate::store::{Object, Upload};
use crate::timestamp;

/// One page of a listing.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Page {
    pub objects: Vec<Object>,
    /// Whether there is more, where it says so.
    pub truncated: Option<bool>,
    /// The token for the next page.
    pub next: Option<String>,
}

/// The way through the pages of a listing, to its end.
#[derive(Debug, Default)]
pub(super) struct Following {
    query: String,
    /// The greatest key so far.
    greatest: String,
    /// How many pages in a row brought no greater key.
    idle: usize,
}

impl Following {
    /// A store that has deleted much may give some pages without a key; one that goes on so has no end.
    const MOST_IDLE: usize = 100;

    /// What the query for the next page begins with.
    pub(super) fn query(&self) -> &str {
        &self.query
    }

    /// Takes note of a page; true where there is a next one.
    ///
    /// # Errors
    /// It doesn't say where the listing goes on, or it goes on and on.
    pub(super) fn turn(&mut self, page: &Page) -> Result<bool, String> {
        let last = page.objects.iter().map(|object| object.key.as_str()).max().unwrap_or_default();
        let moved = last > self.greatest.as_str();
        if moved {
            self.greatest = last.to_owned();
        }
        let query = match &page.next {
            Some(token) => format!("continuation-token={}&", encode_query(token)),
            None if self.greatest.is_empty() => String::new(),
            // The older form of the call (V1) goes by `marker`.
            None => format!("start-after={0}&marker={0}&", encode_query(&self.greatest)),
        };
        let more = match page.truncated {
            Some(truncated) => truncated,
            // Who doesn't say is asked until nothing more comes.
            None => page.next.is_some() || moved,
        };
        if !more {
            return Ok(false);
        }
        self.idle = if moved { 0 } else { self.idle + 1 };
        if query == self.query || query.is_empty() {
            return Err("a listing that says there is more and not where".to_owned());
        }
        if self.idle > Self::MOST_IDLE {
            return Err(format!("a listing without end: {} pages without a new key", self.idle));
        }
        self.query = query;
        Ok(true)
    }
}

/// One page of the uploads that were begun and not ended.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Uploads {
    pub uploads: Vec<Upload>,
    /// The query for the next page, where there is one.
    pub next: Option<String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct ListMultipartUploadsResult {
    is_truncated: Option<String>,
    next_key_marker: Option<String>,
    next_upload_id_marker: Option<String>,
    #[serde(default)]
    upload: Vec<UploadEntry>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct UploadEntry {
    key: String,
    upload_id: String,
    initiated: Option<String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct InitiateMultipartUploadResult {
    upload_id: String,
}

/// Reads a page of uploads.
///
/// # Errors
/// It isn't a whole `ListMultipartUploadsResult`: says what it is.
pub(super) fn parse_uploads(xml: &[u8]) -> Result<Uploads, String> {
    let page: ListMultipartUploadsResult = parse(xml, "ListMultipartUploadsResult")?;
    let uploads = page.upload.into_iter().map(|UploadEntry { key, upload_id, initiated }| Upload {
        key,
        id: upload_id,
        begun: initiated.and_then(|moment| timestamp::read_s3(moment.trim())),
        crc32: false,
    });
    let more = is_true(page.is_truncated.as_deref())?.unwrap_or_default();
    let marker = page.next_key_marker.filter(|key| more && !key.is_empty());
    let id = page.next_upload_id_marker.map(|id| format!("&upload-id-marker={}", encode_query(&id)));
    let next = marker.map(|key| format!("key-marker={}{}&", encode_query(&key), id.unwrap_or_default()));
    if more && next.is_none() {
        return Err("a listing that says there is more and not where".to_owned());
    }
    Ok(Uploads { uploads: uploads.collect(), next })
}

/// Reads the id of an upload from the answer to its beginning.
///
/// # Errors
/// It is something else: says what.
pub(super) fn parse_upload_id(xml: &[u8]) -> Result<String, String> {
    let begun: InitiateMultipartUploadResult = parse(xml, "InitiateMultipartUploadResult")?;
    Some(begun.upload_id.trim().to_owned()).filter(|id| !id.is_empty()).ok_or_else(|| "an upload without id".to_owned())
}

/// Makes sure that this is the answer to the end of an upload.
///
/// # Errors
/// It is something else: says what.
pub(super) fn check_completed(xml: &[u8]) -> Result<(), String> {
    parse::<serde::de::IgnoredAny>(xml, "CompleteMultipartUploadResult").map(drop)
}

/// Reads a text whose first element is `name`.
fn parse<'de, T: Deserialize<'de>>(xml: &'de [u8], name: &str) -> Result<T, String> {
    let text = text(xml)?;
    match root(text) {
        Some(found) if found == name => {
            from_str(text).map_err(|error| format!("a <{name}> that can't be read: {error}"))
        }
        Some(other) => Err(format!("<{other}> in place of <{name}>")),
        None => Err(format!("an empty text, or not XML, in place of <{name}>")),
    }
}

/// A truth value, where there is one.
fn is_true(text: Option<&str>) -> Result<Option<bool>, String> {
    match text.map(|text| text.trim().to_ascii_lowercase()).as_deref() {
        Some("true" | "1") => Ok(Some(true)),
        Some("false" | "0") => Ok(Some(false)),
        None | Some("") => Ok(None),
        Some(other) => Err(format!("a listing that can't be read: IsTruncated is `{other}`")),
    }
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
    is_truncated: Option<String>,
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
    let truncated = is_true(page.is_truncated.as_deref())?;
    let next = page.next_continuation_token.map(|token| token.trim().to_owned()).filter(|token| !token.is_empty());
    Ok(Page { objects: objects.collect(), truncated, next })
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
        assert_eq!(page.truncated, Some(true));
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

    fn page(objects: &str, truncated: &str, token: &str) -> Page {
        let objects: String =
            objects.chars().map(|key| format!("<Contents><Key>{key}</Key><Size>1</Size></Contents>")).collect();
        parse_page(format!("<ListBucketResult>{truncated}{token}{objects}</ListBucketResult>").as_bytes()).unwrap()
    }

    #[test]
    fn every_way_to_say_that_there_is_more_is_understood() {
        let is = |text: &str| format!("<IsTruncated>{text}</IsTruncated>");
        for (truncated, more) in [("true", true), ("True", true), (" 1 ", true), ("false", false), ("0", false)] {
            let page = page("a", &is(truncated), "<NextContinuationToken>t</NextContinuationToken>");
            assert_eq!(Following::default().turn(&page), Ok(more), "{truncated}");
        }
        assert!(parse_page(b"<ListBucketResult><IsTruncated>perhaps</IsTruncated></ListBucketResult>").is_err());
        // Who does not say at all: on until nothing comes.
        let mut following = Following::default();
        assert_eq!(following.turn(&page("ab", "", "")), Ok(true));
        assert_eq!(following.query(), "start-after=b&marker=b&");
        assert_eq!(following.turn(&page("", "", "")), Ok(false));
        assert_eq!(Following::default().turn(&page("", "", "")), Ok(false));
        let empty_token = page("ab", &is("true"), "<NextContinuationToken/>");
        assert_eq!(following.turn(&empty_token).unwrap_err(), "a listing that says there is more and not where");
    }

    #[test]
    fn a_listing_without_end_ends() {
        let mut following = Following::default();
        let ended = (0..10_000).find_map(|number| {
            let token = format!("<NextContinuationToken>{number}</NextContinuationToken>");
            following.turn(&page("a", "<IsTruncated>true</IsTruncated>", &token)).err().map(|why| (number, why))
        });
        let (number, why) = ended.unwrap();
        assert!(number < 200 && why.contains("without end"), "{number}: {why}");
        // Some pages without a key are none.
        let mut following = Following::default();
        for number in 0..50 {
            let token = format!("<NextContinuationToken>{number}</NextContinuationToken>");
            assert_eq!(following.turn(&page("", "<IsTruncated>true</IsTruncated>", &token)), Ok(true));
        }
    }

    #[test]
    fn the_answers_about_an_upload_are_read() {
        let xml = br#"<?xml version="1.0"?><ListMultipartUploadsResult><Bucket>b</Bucket><KeyMarker/><IsTruncated>true</IsTruncated>
            <NextKeyMarker>a b</NextKeyMarker><NextUploadIdMarker>u+1</NextUploadIdMarker>
            <Upload><Key>a b</Key><UploadId>u+1</UploadId><Initiated>2026-11-22T10:30:51.336Z</Initiated><Owner><ID>x</ID></Owner></Upload>
            </ListMultipartUploadsResult>"#;
        let page = parse_uploads(xml).unwrap();
        let begun = Some(datetime!(2026-11-22 10:30:51 UTC));
        assert_eq!(page.uploads, [Upload { key: "a b".to_owned(), id: "u+1".to_owned(), begun, crc32: false }]);
        assert_eq!(page.next.as_deref(), Some("key-marker=a%20b&upload-id-marker=u%2B1&"));
        let none = "<ListMultipartUploadsResult><IsTruncated>false</IsTruncated></ListMultipartUploadsResult>";
        assert_eq!(parse_uploads(none.as_bytes()), Ok(Uploads::default()));
        assert!(parse_uploads(none.replace("false", "true").as_bytes()).unwrap_err().contains("and not where"));
        assert!(parse_uploads(b"<ListBucketResult/>").unwrap_err().contains("<ListBucketResult>"));
        let begun =
            b"<InitiateMultipartUploadResult><Key>k</Key><UploadId> id </UploadId></InitiateMultipartUploadResult>";
        assert_eq!(parse_upload_id(begun).as_deref(), Ok("id"));
        assert!(parse_upload_id(b"<html></html>").is_err());
        assert!(
            check_completed(b"  \n <CompleteMultipartUploadResult><ETag>x</ETag></CompleteMultipartUploadResult>")
                .is_ok()
        );
        assert!(check_completed(b"<Error><Code>InternalError</Code></Error>").is_err());
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
