//! The bucket's side. Signatures are not looked at.

use http::header::RANGE;
use http::request::Parts;
use hyper::body::Bytes;

use super::archive;
use super::state::{Answer, Object, State};

/// What parts of an upload are checked by.
const CHECKSUM: &str = "x-amz-checksum-crc32";

/// What S3 gives at most.
const PAGE: usize = 1000;

/// A call without its names.
pub fn kind(head: &Parts, path: &[&str]) -> String {
    let what = match (path.len(), path.get(1)) {
        (..=1, _) => "listing",
        (_, Some(folder)) => folder,
        (_, None) => "",
    };
    format!("S3 {} {what}", head.method)
}

/// True for a part of an upload.
pub fn is_part(head: &Parts) -> bool {
    head.uri.query().is_some_and(|query| query.contains("partNumber="))
}

/// What becomes of an upload: its parts were thrown away, and the snapshot that they were is made anew when it is read.
fn upload(state: &State, head: &Parts, key: &str) -> Option<Answer> {
    let query = head.uri.query().unwrap_or_default();
    let xml = |text: String| Answer {
        headers: vec![("content-type", "application/xml".to_owned())],
        body: text.into(),
        ..empty(200)
    };
    match head.method.as_str() {
        "GET" if key.is_empty() && query.contains("uploads") => Some(xml(
            "<ListMultipartUploadsResult><IsTruncated>false</IsTruncated></ListMultipartUploadsResult>".to_owned(),
        )),
        "POST" if query.contains("uploads") => Some(xml(
            "<InitiateMultipartUploadResult><UploadId>bench</UploadId></InitiateMultipartUploadResult>".to_owned(),
        )),
        "PUT" if is_part(head) => {
            let mut headers = vec![("etag", "\"part\"".to_owned())];
            // It is thrown away; a store that keeps it names what it has checked it by.
            let checksum = head.headers.get(CHECKSUM).and_then(|value| value.to_str().ok());
            headers.extend(checksum.map(|checksum| (CHECKSUM, checksum.to_owned())));
            Some(Answer { headers, ..empty(200) })
        }
        "POST" => {
            let mut parts = key.rsplit('/');
            let shard = parts.next()?.strip_suffix(".snapshot")?.parse().ok()?;
            let collection = super::qdrant::number(parts.nth(1)?)?;
            let peer = (collection + shard) % state.options.peers;
            let object = Object::Archive { collection, peer, shard: Some(shard) };
            let answer = format!(
                "<CompleteMultipartUploadResult><ETag>\"{}\"</ETag></CompleteMultipartUploadResult>",
                size(state, &object)
            );
            state.objects.lock().unwrap().insert(key.to_owned(), object);
            Some(xml(answer))
        }
        _ => None,
    }
}

pub fn answer(state: &State, head: &Parts, path: &[&str], body: Bytes) -> Answer {
    let key = path.get(1..).unwrap_or_default().join("/");
    if let Some(answer) = upload(state, head, &key) {
        return answer;
    }
    let mut objects = state.objects.lock().unwrap();
    match head.method.as_str() {
        "GET" if key.is_empty() => {
            let query = head.uri.query().unwrap_or_default();
            let field = |name: &str| query.split('&').find_map(|pair| pair.strip_prefix(name)?.strip_prefix('='));
            let prefix = decoded(field("prefix").unwrap_or_default());
            let after = field("continuation-token").map(decoded);
            let limit = field("max-keys").and_then(|number| number.parse().ok()).unwrap_or(PAGE);
            let from = after.clone().unwrap_or_else(|| prefix.clone());
            let mut found = objects
                .range(from..)
                .filter(|(key, _)| Some(*key) != after.as_ref())
                .take_while(|(key, _)| key.starts_with(&prefix))
                .take(limit + 1);
            let page: Vec<_> = found.by_ref().take(limit).collect();
            let more = found.next().is_some();
            let mut xml = "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<ListBucketResult>".to_owned();
            xml.push_str(&format!("<IsTruncated>{more}</IsTruncated>"));
            if let Some((last, _)) = page.last().filter(|_| more) {
                xml.push_str(&format!("<NextContinuationToken>{last}</NextContinuationToken>"));
            }
            for (key, object) in page {
                let size = size(state, object);
                xml.push_str(&format!(
                    "<Contents><Key>{key}</Key><LastModified>2026-01-01T00:00:01.000Z</LastModified><ETag>&quot;{size}&quot;\
                     </ETag><Size>{size}</Size><StorageClass>STANDARD</StorageClass></Contents>"
                ));
            }
            xml.push_str("</ListBucketResult>");
            Answer {
                status: 200,
                headers: vec![("content-type", "application/xml".to_owned())],
                body: xml.into(),
                length: None,
            }
        }
        "PUT" => {
            let etag = ("etag", format!("\"{}\"", body.len()));
            objects.insert(key, Object::Stored(body));
            Answer { headers: vec![etag], ..empty(200) }
        }
        "DELETE" => {
            objects.remove(&key);
            empty(204)
        }
        method => match objects.get(&key) {
            // A 404 without S3's own word would be anybody's.
            None if method == "HEAD" => empty(404),
            None => {
                let body = "<Error><Code>NoSuchKey</Code><Message>The specified key does not exist.</Message></Error>";
                Answer { body: body.into(), ..empty(404) }
            }
            Some(object) => {
                let size = size(state, object);
                let etag = ("etag", format!("\"{size}\""));
                if method == "HEAD" {
                    return Answer { headers: vec![etag], length: Some(size), ..empty(200) };
                }
                let asked = head.headers.get(RANGE).and_then(|range| range.to_str().ok()?.strip_prefix("bytes="));
                let (from, last) = asked.and_then(|range| range.split_once('-')).unwrap_or(("0", ""));
                let (from, to) = (from.parse().unwrap(), last.parse().map_or(size, |last: u64| size.min(last + 1)));
                let status = if asked.is_some() { 206 } else { 200 };
                let range = ("content-range", format!("bytes {from}-{}/{size}", to.saturating_sub(1)));
                Answer { headers: vec![etag, range], body: part(state, object, from, to), ..empty(status) }
            }
        },
    }
}

fn size(state: &State, object: &Object) -> u64 {
    match object {
        Object::Stored(bytes) => bytes.len() as u64,
        Object::Archive { collection, peer, shard } => archive::size(&state.options, *collection, *peer, *shard),
    }
}

fn part(state: &State, object: &Object, from: u64, to: u64) -> Bytes {
    match object {
        Object::Stored(bytes) => bytes.slice(usize::try_from(from).unwrap()..usize::try_from(to).unwrap()),
        Object::Archive { collection, peer, shard } => {
            archive::range(&state.options, *collection, *peer, *shard, from, to)
        }
    }
}

fn empty(status: u16) -> Answer {
    Answer { status, headers: Vec::new(), body: Bytes::new(), length: None }
}

/// `%2F` and the like as what they stand for.
fn decoded(text: &str) -> String {
    let mut bytes = Vec::new();
    let mut rest = text.as_bytes();
    while let [first, more @ ..] = rest {
        match (first, more) {
            (b'%', [high, low, after @ ..]) => {
                let digits = [*high, *low];
                bytes.push(u8::from_str_radix(std::str::from_utf8(&digits).unwrap(), 16).unwrap());
                rest = after;
            }
            _ => {
                bytes.push(*first);
                rest = more;
            }
        }
    }
    String::from_utf8(bytes).unwrap()
}
