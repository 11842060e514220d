//! Requests by their kind: two runs of a task make the same kinds of requests, with other names in them.

use http::{Method, Uri};

use super::Place;

/// `GET qdrant /collections/{collection}/cluster` and the like.
pub fn class(place: Place, method: &Method, uri: &Uri) -> String {
    match place {
        Place::Qdrant(_) => format!("{method} qdrant {}", of_qdrant(uri.path())),
        Place::S3 => {
            let query = uri.query().unwrap_or_default();
            format!("{method} s3 {}{}", of_s3(uri.path(), query), of_upload(query))
        }
    }
}

fn of_qdrant(path: &str) -> String {
    let mut parts: Vec<&str> = path.trim_matches('/').split('/').collect();
    if parts.first() == Some(&"collections") {
        if parts.len() > 1 && parts[1] != "aliases" {
            parts[1] = "{collection}";
        }
        // Not the list of shards, nor what is done to it.
        if parts.len() > 3 && parts[2] == "shards" && parts[3] != "delete" {
            parts[3] = "{shard}";
        }
    }
    format!("/{}", parts.join("/"))
}

fn of_s3(path: &str, query: &str) -> String {
    let key = path.trim_start_matches('/').split_once('/').map_or("", |(_, key)| key);
    if key.is_empty() {
        let prefix = query.split('&').find_map(|pair| pair.strip_prefix("prefix=")).unwrap_or_default();
        return format!("listing of {}", folder(&prefix.replace("%2F", "/")));
    }
    folder(key)
}

/// Which call of an upload in parts it is.
fn of_upload(query: &str) -> &'static str {
    let has = |name: &str| query.split('&').any(|pair| pair.split('=').next() == Some(name));
    match () {
        () if has("uploads") => "?uploads",
        () if has("partNumber") => "?partNumber",
        () if has("uploadId") => "?uploadId",
        () => "",
    }
}

/// The top folder, what is below it, and what kind of file it is.
fn folder(key: &str) -> String {
    let parts: Vec<&str> = key.split('/').collect();
    let last = parts.last().copied().unwrap_or_default();
    let kind = match (parts[0], last) {
        (_, "") => "",
        (_, last) if last.ends_with(".snapshot") => "{snapshot}",
        (_, last) if last.ends_with(".snapshot.checksum") => "{snapshot}.checksum",
        (_, last) if last.ends_with(".json") => "{json}",
        (_, last) if last.ends_with(".pin") => "{pin}",
        (_, last) if last.ends_with(".drill") => "{drill}",
        (_, last) if last.starts_with("collection_aliases-") => "collection_aliases-{time}",
        (_, last) => last,
    };
    match parts.as_slice() {
        [_] => key.to_owned(),
        [top, _] => format!("{top}/{kind}"),
        [top, _, "shards", ..] => format!("{top}/{{collection}}/shards/{kind}"),
        [top, ..] => format!("{top}/{{collection}}/{kind}"),
        [] => String::new(),
    }
}
