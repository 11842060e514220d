//! The CSV files in the work directory: what they are called, what a line means, and how people write them.
//!
//! Lines end with LF and have no header. Read are also CRLF, a BOM, quotes, blank lines, comments (`#`), a header line
//! and a line that is there twice.

use csv::{ReaderBuilder, StringRecord, WriterBuilder};

use crate::ports::{FileError, Files};

/// `host,collection`: the collections a task is about.
pub const COLLECTIONS: &str = "collections";
/// `host,collection,snapshot`: the snapshots that were made, or that are to be restored.
pub const SNAPSHOTS: &str = "snapshots";
/// `collection,alias`.
pub const ALIASES: &str = "collection_aliases";
/// `host,snapshot,ok`: what was restored and proven.
pub const RECOVERY_HISTORY: &str = "snapshot_recovery_history";
/// `host,snapshot,reason`: what could not be restored.
pub const FAILED_RECOVERY: &str = "failed_snapshot_recovery";
/// `collection,alias,ok`: the aliases that were restored.
pub const ALIAS_HISTORY: &str = "alias_recovery_history";
/// `host,collection,snapshots`: the restores that were begun.
pub const RESTORE_BEGUN: &str = "collection_restore_begun";

/// Every state file; what `reset` removes.
pub const STATE_FILES: &[&str] =
    &[COLLECTIONS, SNAPSHOTS, ALIASES, RECOVERY_HISTORY, FAILED_RECOVERY, ALIAS_HISTORY, RESTORE_BEGUN];

/// A line of [`COLLECTIONS`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Collection {
    /// The host it was found on; none where it came from the bucket or from a person.
    pub host: Option<String>,
    /// Its name.
    pub collection: String,
}

/// A line of [`SNAPSHOTS`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Snapshot {
    /// The host that made it; none where it came from the bucket or from a person.
    pub host: Option<String>,
    /// Its collection.
    pub collection: String,
    /// Its name.
    pub snapshot_name: String,
}

/// A line of [`ALIASES`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Alias {
    /// The collection.
    pub collection: String,
    /// The alias that points to it.
    pub alias: String,
}

/// A line of [`RECOVERY_HISTORY`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Recovery {
    /// The target.
    pub host: String,
    /// The snapshot.
    pub snapshot_name: String,
    /// `ok`.
    pub outcome: String,
}

/// A line of [`FAILED_RECOVERY`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Failure {
    /// The target.
    pub host: String,
    /// The snapshot.
    pub snapshot_name: String,
    /// Why.
    pub reason: String,
}

/// A line of [`ALIAS_HISTORY`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AliasRecovery {
    /// The collection.
    pub collection: String,
    /// The alias.
    pub alias: String,
    /// `ok`.
    pub outcome: String,
}

/// A line of [`RESTORE_BEGUN`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Begun {
    /// The target.
    pub host: String,
    /// The collection.
    pub collection: String,
    /// The snapshots it is restored from, by spaces.
    pub snapshots: String,
}

/// Reads [`COLLECTIONS`]; empty where there is no such file.
///
/// # Errors
/// The file can't be read, or a line isn't `host,collection`.
pub fn read_collections(files: &dyn Files) -> Result<Vec<Collection>, FileError> {
    let lines = parse(COLLECTIONS, &content(files, COLLECTIONS)?, ["host", "collection"])?;
    Ok(lines.into_iter().map(|[host, collection]| Collection { host: optional(host), collection }).collect())
}

/// Reads [`SNAPSHOTS`]; empty where there is no such file.
///
/// # Errors
/// The file can't be read, or a line isn't `host,collection,snapshot`.
pub fn read_snapshots(files: &dyn Files) -> Result<Vec<Snapshot>, FileError> {
    parse_snapshots(SNAPSHOTS, &content(files, SNAPSHOTS)?)
}

/// Reads the text of a file called `name` as [`SNAPSHOTS`].
///
/// # Errors
/// A line isn't `host,collection,snapshot`.
pub fn parse_snapshots(name: &str, bytes: &[u8]) -> Result<Vec<Snapshot>, FileError> {
    let lines = parse(name, bytes, ["host", "collection", "snapshot"])?;
    let lines = lines.into_iter().map(|[host, collection, snapshot_name]| {
        // People write a space after a comma. A name that really begins with one begins both.
        let exact = snapshot_name.starts_with(&format!("{collection}-")) && snapshot_name.ends_with(".snapshot");
        let trim = |text: String| if exact { text } else { text.trim().to_owned() };
        Snapshot { host: optional(host), collection: trim(collection), snapshot_name: trim(snapshot_name) }
    });
    Ok(lines.collect())
}

/// Reads the text of a file or object called `name` as [`ALIASES`].
///
/// # Errors
/// A line isn't `collection,alias`.
pub fn parse_aliases(name: &str, bytes: &[u8]) -> Result<Vec<Alias>, FileError> {
    let lines = parse(name, bytes, ["collection", "alias"])?;
    Ok(lines.into_iter().map(|[collection, alias]| Alias { collection, alias }).collect())
}

/// Reads [`RECOVERY_HISTORY`]. What a crash left of a last line is not one.
///
/// # Errors
/// The file can't be read, or a line isn't `host,snapshot,ok`.
pub fn read_recovery_history(files: &dyn Files) -> Result<Vec<Recovery>, FileError> {
    let lines = parse(RECOVERY_HISTORY, whole_lines(&content(files, RECOVERY_HISTORY)?), ["host", "snapshot", "ok"])?;
    Ok(lines.into_iter().map(|[host, snapshot_name, outcome]| Recovery { host, snapshot_name, outcome }).collect())
}

/// Reads [`RESTORE_BEGUN`]. What a crash left of a last line is not one.
///
/// # Errors
/// The file can't be read, or a line isn't `host,collection,snapshots`.
pub fn read_begun(files: &dyn Files) -> Result<Vec<Begun>, FileError> {
    let lines =
        parse(RESTORE_BEGUN, whole_lines(&content(files, RESTORE_BEGUN)?), ["host", "collection", "snapshots"])?;
    Ok(lines.into_iter().map(|[host, collection, snapshots]| Begun { host, collection, snapshots }).collect())
}

/// The text of [`COLLECTIONS`].
pub fn collections_csv(lines: &[Collection]) -> String {
    lines.iter().map(|line| csv_line(&[line.host.as_deref().unwrap_or_default(), &line.collection])).collect()
}

/// The text of [`SNAPSHOTS`].
pub fn snapshots_csv(lines: &[Snapshot]) -> String {
    lines.iter().map(snapshot_line).collect()
}

/// The text of [`ALIASES`].
pub fn aliases_csv(lines: &[Alias]) -> String {
    lines.iter().map(|line| csv_line(&[&line.collection, &line.alias])).collect()
}

/// Adds a line to [`SNAPSHOTS`].
///
/// # Errors
/// The file can't be written.
pub fn append_snapshot(files: &dyn Files, line: &Snapshot) -> Result<(), FileError> {
    files.append(SNAPSHOTS, snapshot_line(line).as_bytes())
}

/// Adds a line to [`RECOVERY_HISTORY`].
///
/// # Errors
/// The file can't be written.
pub fn append_recovery(files: &dyn Files, line: &Recovery) -> Result<(), FileError> {
    files.append(RECOVERY_HISTORY, csv_line(&[&line.host, &line.snapshot_name, &line.outcome]).as_bytes())
}

/// Adds a line to [`FAILED_RECOVERY`].
///
/// # Errors
/// The file can't be written.
pub fn append_failure(files: &dyn Files, line: &Failure) -> Result<(), FileError> {
    files.append(FAILED_RECOVERY, csv_line(&[&line.host, &line.snapshot_name, &line.reason]).as_bytes())
}

/// Adds a line to [`ALIAS_HISTORY`].
///
/// # Errors
/// The file can't be written.
pub fn append_alias_recovery(files: &dyn Files, line: &AliasRecovery) -> Result<(), FileError> {
    files.append(ALIAS_HISTORY, csv_line(&[&line.collection, &line.alias, &line.outcome]).as_bytes())
}

/// Adds a line to [`RESTORE_BEGUN`].
///
/// # Errors
/// The file can't be written.
pub fn append_begun(files: &dyn Files, line: &Begun) -> Result<(), FileError> {
    files.append(RESTORE_BEGUN, csv_line(&[&line.host, &line.collection, &line.snapshots]).as_bytes())
}

fn snapshot_line(line: &Snapshot) -> String {
    csv_line(&[line.host.as_deref().unwrap_or_default(), &line.collection, &line.snapshot_name])
}

fn content(files: &dyn Files, name: &str) -> Result<Vec<u8>, FileError> {
    Ok(files.read(name)?.unwrap_or_default())
}

fn optional(host: String) -> Option<String> {
    let host = host.trim();
    (!host.is_empty()).then(|| host.to_owned())
}

/// `bytes` up to its last line end.
fn whole_lines(bytes: &[u8]) -> &[u8] {
    let end = bytes.iter().rposition(|byte| *byte == b'\n').map_or(0, |last| last + 1);
    bytes.get(..end).unwrap_or_default()
}

/// One line with its line end; line breaks within a field become spaces, so that a line stays one.
fn csv_line(fields: &[&str]) -> String {
    let fields = fields.iter().map(|field| field.replace(['\n', '\r'], " "));
    let mut writer = WriterBuilder::new().comment(Some(b'#')).from_writer(Vec::new());
    // Writing to memory does not fail.
    let _ = writer.write_record(fields);
    writer.into_inner().ok().and_then(|bytes| String::from_utf8(bytes).ok()).unwrap_or_default()
}

/// Reads lines of just these `columns`, all but the first of which must have a value (the host is optional).
fn parse<const N: usize>(name: &str, bytes: &[u8], columns: [&str; N]) -> Result<Vec<[String; N]>, FileError> {
    let bytes = bytes.strip_prefix(b"\xef\xbb\xbf").unwrap_or(bytes);
    let unusable = |end: u64, cause: String| FileError {
        name: name.to_owned(),
        action: "use",
        cause: format!("line {}: {cause}; a line is `{}`", line_at(bytes, end), columns.join(",")),
    };
    let mut reader = ReaderBuilder::new().has_headers(false).flexible(true).comment(Some(b'#')).from_reader(bytes);
    let mut lines = Vec::new();
    let mut seen = crate::ordered::Set::new();
    let mut record = StringRecord::new();
    loop {
        let more = reader.read_record(&mut record);
        let end = reader.position().byte();
        match more {
            Ok(false) => return Ok(lines),
            Ok(true) => {}
            Err(_) => return Err(unusable(end, "it is not UTF-8 text".to_owned())),
        }
        if record.iter().all(|field| field.trim().is_empty()) {
            continue;
        }
        if record.len() != N {
            let there = if record.len() < N {
                format!("column {} is missing", record.len() + 1)
            } else {
                format!("column {} is one too many (a name with a comma goes between quotes)", N + 1)
            };
            return Err(unusable(end, there));
        }
        let fields: [String; N] = std::array::from_fn(|column| record.get(column).unwrap_or_default().to_owned());
        let host_first = columns.first() == Some(&"host");
        for (column, field) in fields.iter().enumerate().skip(usize::from(host_first)) {
            if field.trim().is_empty() {
                let title = columns.get(column).copied().unwrap_or_default();
                return Err(unusable(end, format!("column {} ({title}) is empty", column + 1)));
            }
        }
        if lines.is_empty() && is_header(&fields, columns) {
            continue;
        }
        if seen.insert(fields.clone()) {
            lines.push(fields);
        }
    }
}

/// The number of the line that ends before `end`. The reader's own count is where it began to look, before the
/// comments and blank lines that it skipped.
fn line_at(bytes: &[u8], end: u64) -> usize {
    let read = usize::try_from(end).ok().and_then(|end| bytes.get(..end)).unwrap_or(bytes);
    read.trim_ascii_end().iter().filter(|byte| **byte == b'\n').count() + 1
}

/// True for a first line such as `host,collection,snapshot_name`.
fn is_header<const N: usize>(fields: &[String; N], columns: [&str; N]) -> bool {
    fields.iter().zip(columns).all(|(field, column)| {
        let field = field.trim().to_ascii_lowercase();
        field == column || field.strip_suffix("_name") == Some(column)
    })
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn snapshots(text: &str) -> Result<Vec<(String, String, String)>, String> {
        let lines = parse_snapshots("snapshots", text.as_bytes()).map_err(|error| error.to_string())?;
        Ok(lines.into_iter().map(|line| (line.host.unwrap_or_default(), line.collection, line.snapshot_name)).collect())
    }

    #[test]
    fn lines_are_read_as_people_write_them() {
        let text = "\u{feff}host,collection,snapshot_name\r\n\r\n# midlib of last week\r\n\
                    http://q:6333, midlib , midlib-1.snapshot\r\n,midlib,midlib-2.snapshot\r\n  ,,\r\n\
                    ,\"a,b \"\"c\"\"\",\"a,b \"\"c\"\"-3.snapshot\"\r\n,midlib,midlib-2.snapshot";
        let line = |host: &str, collection: &str, name: &str| (host.to_owned(), collection.to_owned(), name.to_owned());
        assert_eq!(
            snapshots(text).unwrap(),
            [
                line("http://q:6333", "midlib", "midlib-1.snapshot"),
                line("", "midlib", "midlib-2.snapshot"),
                line("", "a,b \"c\"", "a,b \"c\"-3.snapshot"),
            ]
        );
        assert_eq!(snapshots(", x , x-1.snapshot\n").unwrap(), [line("", "x", "x-1.snapshot")]);
    }

    #[test]
    fn an_error_names_line_and_column() {
        for (text, what) in [
            ("a,b,c\nmidlib,midlib-1.snapshot\n", "line 2: column 3 is missing"),
            ("# c\n\nh,a,b,midlib-1.snapshot\n", "line 3: column 4 is one too many"),
            ("h,a,\n", "line 1: column 3 (snapshot) is empty"),
            ("h,,a\n", "line 1: column 2 (collection) is empty"),
        ] {
            let error = snapshots(text).unwrap_err();
            assert!(
                error.contains(what) && error.contains("`snapshots`") && error.contains("host,collection,snapshot"),
                "{error}"
            );
        }
        let error = parse_snapshots("snapshots", b"h,a,b\nh,\xff,b\n").unwrap_err().to_string();
        assert!(error.contains("line 2") || error.contains("line 1"), "{error}");
    }

    #[test]
    fn what_is_written_is_read_back() {
        for name in ["docs", "ge ün%,odd", "a \"b\"", " space ", "# no comment", "a\tb"] {
            let line =
                Snapshot { host: None, collection: name.to_owned(), snapshot_name: format!("{name}-1.snapshot") };
            let read = parse_snapshots("snapshots", snapshots_csv(std::slice::from_ref(&line)).as_bytes()).unwrap();
            assert_eq!(read, [line]);
            let alias = Alias { collection: name.to_owned(), alias: "x".to_owned() };
            assert_eq!(parse_aliases("f", aliases_csv(std::slice::from_ref(&alias)).as_bytes()).unwrap(), [alias]);
        }
        assert_eq!(csv_line(&["h", "s", "two\nlines"]), "h,s,two lines\n");
    }

    #[test]
    fn a_torn_last_line_of_a_history_is_none() {
        assert_eq!(whole_lines(b"a,b,ok\nc,d"), b"a,b,ok\n");
        assert_eq!(whole_lines(b"c,d"), b"");
    }

    #[test]
    fn a_hundred_thousand_lines_are_no_trouble() {
        let text: String = (0..100_000).map(|number| format!(",docs,docs-{number}.snapshot\n")).collect();
        assert_eq!(parse_snapshots("snapshots", text.as_bytes()).unwrap().len(), 100_000);
    }
}
