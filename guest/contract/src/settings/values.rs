//! The values that are more than a text, a number or a time. Each reader says what is wrong and what is accepted; what
//! may be a password or a signature is not said.

use time::OffsetDateTime;

use super::endpoint::Endpoint;
use super::host::{DefaultPort, Host};
use super::setting::{Variable, items};
use crate::timestamp;

/// Addresses of servers; those without a port get the one of another setting.
#[derive(Clone, Debug, Default)]
pub struct Addresses(Vec<String>);

impl Addresses {
    pub(super) fn read(_: &Variable, text: &str) -> Result<Self, String> {
        without_user(text)?;
        if items(text).next().is_none() {
            return Err("names no host".to_owned());
        }
        let problems: Vec<_> = items(text)
            .filter_map(|item| {
                Host::parse(item, DefaultPort::OfScheme).err().map(|why| format!("`{}`: {why}", shown(item)))
            })
            .collect();
        if problems.is_empty() { Ok(Self(items(text).map(str::to_owned).collect())) } else { Err(problems.join("; ")) }
    }

    /// The servers, each once.
    pub(super) fn with_port(&self, port: u16) -> Vec<Host> {
        let mut hosts = Vec::new();
        for host in self.0.iter().filter_map(|text| Host::parse(text, DefaultPort::Always(port)).ok()) {
            if !hosts.contains(&host) {
                hosts.push(host);
            }
        }
        hosts
    }
}

/// The address of an S3 service.
pub(super) fn endpoint(_: &Variable, text: &str) -> Result<Option<Endpoint>, String> {
    without_user(text)?;
    Endpoint::parse(text).map(Some).map_err(|problem| {
        let hint = if text.contains("://") { "" } else { " (write http:// or https:// in front)" };
        format!("`{}`: {problem}; the bucket goes into QDRANT_S3_BUCKET_NAME{hint}", shown(text))
    })
}

/// The address of a service other than S3.
pub(super) fn server(_: &Variable, text: &str) -> Result<Option<Endpoint>, String> {
    without_user(text)?;
    if !text.contains("://") {
        return Err(format!("`{}` has no http:// or https:// in front", shown(text)));
    }
    Endpoint::parse(text).map(Some).map_err(|problem| format!("`{}`: {problem}", shown(text)))
}

/// A path from the root on, without steps back.
pub(super) fn absolute_path(_: &Variable, text: &str) -> Result<Option<String>, String> {
    if text.starts_with('/') && !text.ends_with('/') && text.split('/').all(|part| part != "..") {
        Ok(Some(text.to_owned()))
    } else {
        Err(format!("`{}` is not a file's absolute path", shown(text)))
    }
}

/// What AWS takes for the name of a session.
pub(super) fn session_name(_: &Variable, text: &str) -> Result<Option<String>, String> {
    let good = |c: char| c.is_ascii_alphanumeric() || "_=,.@-".contains(c);
    if (2..=64).contains(&text.len()) && text.chars().all(good) {
        Ok(Some(text.to_owned()))
    } else {
        Err(format!("`{}` is not 2 to 64 letters, digits and `_=,.@-`", shown(text)))
    }
}

/// Where metrics are sent to.
pub(super) fn push_url(variable: &Variable, text: &str) -> Result<Option<String>, String> {
    let server = text.split("/metrics/job/").next().unwrap_or_default();
    without_user(server)?;
    let base = text.split('/').take(3).collect::<Vec<_>>().join("/");
    Host::parse(&base, DefaultPort::OfScheme).map_err(|problem| format!("`{}`: {problem}", shown(&base)))?;
    if text.contains("://") && text.contains("/metrics/job/") {
        Ok(Some(text.to_owned()))
    } else {
        Err(format!("it has to be of the form {}", variable.accepts()))
    }
}

/// A bucket; one of another tenant of a Ceph is `tenant:bucket`.
pub(super) fn bucket(_: &Variable, text: &str) -> Result<Option<String>, String> {
    let good = |part: &str| part.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '-' | '.' | '_'));
    let (tenant, name) = text.split_once(':').unwrap_or(("", text));
    if good(tenant) && good(name) && !name.is_empty() && text.len() <= 255 && !text.starts_with('.') {
        Ok(Some(text.to_owned()))
    } else {
        Err(format!("`{}` is not a bucket's name (letters, digits, `-`, `.`; Ceph's tenant:bucket)", shown(text)))
    }
}

/// An id, a name or an ARN.
pub(super) fn word(variable: &Variable, text: &str) -> Result<Option<String>, String> {
    if text.chars().all(|c| c.is_ascii_graphic()) {
        Ok(Some(text.to_owned()))
    } else {
        Err(format!("has spaces or other signs in it that no {} has", variable.accepts()))
    }
}

pub(super) fn region(_: &Variable, text: &str) -> Result<Option<String>, String> {
    if text.contains(|c: char| c.is_whitespace() || c == '/') {
        return Err(format!("`{}` is not a region's name, such as eu-central-1", shown(text)));
    }
    Ok(Some(text.to_owned()))
}

/// `snapshots_path`, with or without `./` in front and slashes around it.
pub(super) fn key_prefix(_: &Variable, text: &str) -> Result<Option<String>, String> {
    let prefix = text.trim_start_matches("./").trim_matches('/');
    if prefix.split('/').any(|part| part == ".." || part == ".") {
        return Err(format!("`{text}` has a `.` or `..` in it; accepted is a path such as snapshots"));
    }
    Ok(Some(prefix.to_owned()))
}

/// A folder of the bucket, with or without slashes around it.
pub(super) fn own_prefix(variable: &Variable, text: &str) -> Result<Option<String>, String> {
    let prefix = key_prefix(variable, text)?.filter(|prefix| !prefix.is_empty());
    if prefix.as_ref().is_some_and(|prefix| prefix.split('/').any(str::is_empty)) {
        return Err(format!("`{text}` has an empty part; accepted is a path such as team/backups"));
    }
    Ok(prefix)
}

/// The name of an object in a folder, or of a file in the work directory: one segment.
pub(super) fn file_name(_: &Variable, text: &str) -> Result<Option<String>, String> {
    if text.contains('/') || text == ".." || text == "." {
        return Err(format!("`{text}` is not the name of an object or file (no `/`)"));
    }
    Ok(Some(text.to_owned()))
}

/// A name that can be a part of an object's key, of at most 100 characters.
pub(super) fn restore_id(_: &Variable, text: &str) -> Result<Option<String>, String> {
    let good = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.');
    if text.is_empty() || text.len() > 100 || text.starts_with('.') || !text.chars().all(good) {
        return Err(format!("`{text}` is not 1 to 100 letters, digits, `-`, `_` and `.`, the first no `.`"));
    }
    Ok(Some(text.to_owned()))
}

/// `old=new`, several by commas, no name twice on either side.
pub(super) fn rename(_: &Variable, text: &str) -> Result<Vec<(String, String)>, String> {
    let mut renamed: Vec<(String, String)> = Vec::new();
    for pair in items(text) {
        let names = pair.split_once('=').map(|(old, new)| (old.trim().to_owned(), new.trim().to_owned()));
        let named = names.filter(|(old, new)| !old.is_empty() && !new.is_empty());
        let (old, new) = named.ok_or_else(|| format!("`{pair}` is not of the form old=new"))?;
        if renamed.iter().any(|(other, to)| *other == old || *to == new) {
            return Err(format!("`{pair}` names a collection that stands there already"));
        }
        renamed.push((old, new));
    }
    Ok(renamed)
}

/// A day, which means its beginning, or a second; UTC.
pub(super) fn utc(_: &Variable, text: &str) -> Result<Option<OffsetDateTime>, String> {
    let whole = if text.len() == timestamp::DATE.length() { format!("{text}T00:00:00Z") } else { text.to_owned() };
    let read = timestamp::RFC3339.read(&whole);
    read.map(Some)
        .ok_or_else(|| format!("`{text}` is not a timestamp in UTC such as 2026-01-29 or 2026-01-29T12:00:00Z"))
}

/// Refuses addresses with a user in them, and shows nothing of them: where a password ends, only its author knows.
pub(super) fn without_user(addresses: &str) -> Result<(), String> {
    if addresses.contains('@') {
        return Err(
            "has an `@` in it (its value is not shown): user and password in an address are not supported; use \
                    the variables for keys"
                .to_owned(),
        );
    }
    Ok(())
}

/// `text` for an error: without a query, in which a signature may stand.
pub(super) fn shown(text: &str) -> String {
    match text.split_once(['?', '#']) {
        Some((shown, _)) => format!("{shown}?***"),
        None => text.to_owned(),
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::super::table;

    #[test]
    fn passwords_and_signatures_are_not_shown() {
        for text in [
            "http://user:hunter2@b",
            "a,http://user:x,hunter2@b",
            "http://b/?X-Amz-Signature=hunter2",
            "http://b?sig=hunter2",
            "user:hunter2@b/metrics/job/x",
        ] {
            let problems = [
                table::QDRANT_SOURCE_HOSTS.read(text).map(|_| ()),
                table::QDRANT_RESTORE_HOSTS.read(text).map(|_| ()),
                table::QDRANT_S3_ENDPOINT_URL.read(text).map(|_| ()),
                table::QDRANT_S3_ENDPOINT_URL_FOR_QDRANT.read(text).map(|_| ()),
                table::QDRANT_METRICS_PUSH_URL.read(text).map(|_| ()),
            ];
            for problem in problems {
                let problem = problem.unwrap_err();
                assert!(!problem.contains("hunter2"), "{text}: {problem}");
            }
        }
    }

    #[test]
    fn a_renaming_names_each_collection_once() {
        let rename = |text| table::QDRANT_RESTORE_RENAME.read(text);
        let pair = |old: &str, new: &str| (old.to_owned(), new.to_owned());
        assert_eq!(rename("a=b, c = d").unwrap(), [pair("a", "b"), pair("c", "d")]);
        for text in ["a", "a=", "=b", "a=b,a=c", "a=c,b=c"] {
            assert!(rename(text).is_err(), "{text}");
        }
    }

    #[test]
    fn a_day_means_its_beginning() {
        let read = |text| table::QDRANT_RESTORE_BEFORE.read(text);
        assert_eq!(read("2026-01-29").unwrap(), read("2026-01-29T00:00:00Z").unwrap());
        assert!(read("yesterday").unwrap_err().contains("2026-01-29T12:00:00Z"));
    }
}
