//! The CSV files in the work directory: what they are called, what a line means, and how people write them.
//!
//! Lines end with LF and have no header. Read are also CRLF, a BOM, quotes, blank lines, comments (`#`), a header line
//! and a line that is there twice. A record is one line, whatever is in it: a quote that isn't closed, or half a line
//! that a crash left, spoils that line and not those after it, as it would with CSV's quoted line breaks.

mod lines;

use crate::ports::{FileError, Files};
use lines::{csv_line, history, is_header, parse};

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
/// `host,collection,snapshots`: the restores that earlier versions have begun.
pub const RESTORE_BEGUN: &str = "collection_restore_begun";
/// The restores that were begun and ended: a JSON object a line.
pub const RESTORE_RECORDS: &str = "restore_records";

/// Every state file; what `reset` removes.
pub const STATE_FILES: &[&str] = &[
    COLLECTIONS,
    SNAPSHOTS,
    ALIASES,
    RECOVERY_HISTORY,
    FAILED_RECOVERY,
    ALIAS_HISTORY,
    RESTORE_BEGUN,
    RESTORE_RECORDS,
];

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
    let lines = parse(COLLECTIONS, &content(files, COLLECTIONS)?, ["host", "collection"], &trim_host)?;
    Ok(lines.into_iter().map(|[host, collection]| Collection { host: optional(host), collection }).collect())
}

/// What a person has chosen by [`COLLECTIONS`]; empty where there is no such file, or where it is as this program wrote
/// it: a list of what there was once must not narrow what is backed up later.
///
/// # Errors
/// As for [`read_collections`].
pub fn chosen_collections(files: &dyn Files) -> Result<Vec<Collection>, FileError> {
    let lines = read_collections(files)?;
    let text = content(files, COLLECTIONS)?;
    let text = String::from_utf8_lossy(&text);
    let is_ours = text.split_once('\n').is_some_and(|(first, rest)| first == marker(rest));
    Ok(if is_ours { Vec::new() } else { lines })
}

/// The first line of a [`COLLECTIONS`] that this program has written. It ends with a number that is made of all other
/// lines, so that it holds for these and not for what a person has made of them.
fn marker(lines: &str) -> String {
    let number = crate::settings::hash(lines);
    format!("# a list by qdrant-backup that chooses nothing as it is; edited, it chooses its lines ({number:016x})")
}

/// The text of [`COLLECTIONS`] as this program writes it: it chooses nothing until somebody edits it.
pub fn collections_file(lines: &[Collection]) -> String {
    let text = collections_csv(lines);
    format!("{}\n{text}", marker(&text))
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
    let tidy = |fields: &mut [String]| {
        trim_host(fields);
        let [_, collection, name] = fields else { return };
        // People write a space after a comma. A name that really begins with one begins both.
        let exact = name.starts_with(&format!("{collection}-")) && name.ends_with(".snapshot");
        for text in [collection, name] {
            if !exact && !text.trim().is_empty() {
                *text = text.trim().to_owned();
            }
        }
    };
    let lines = parse(name, bytes, ["host", "collection", "snapshot"], &tidy)?;
    let line =
        |[host, collection, snapshot_name]: [String; 3]| Snapshot { host: optional(host), collection, snapshot_name };
    Ok(lines.into_iter().map(line).collect())
}

/// Hosts have no spaces around them.
fn trim_host(fields: &mut [String]) {
    if let Some(host) = fields.first_mut() {
        *host = host.trim().to_owned();
    }
}

/// Reads the text of a file or object called `name` as [`ALIASES`].
///
/// # Errors
/// A line isn't `collection,alias`.
pub fn parse_aliases(name: &str, bytes: &[u8]) -> Result<Vec<Alias>, FileError> {
    let lines = parse(name, bytes, ["collection", "alias"], &|_| ())?;
    Ok(lines.into_iter().map(|[collection, alias]| Alias { collection, alias }).collect())
}

/// Reads [`RECOVERY_HISTORY`]. What a crash or a full disk left of a line is none.
///
/// # Errors
/// The file can't be read.
pub fn read_recovery_history(files: &dyn Files) -> Result<Vec<Recovery>, FileError> {
    let lines = history(&content(files, RECOVERY_HISTORY)?);
    Ok(lines.into_iter().map(|[host, snapshot_name, outcome]| Recovery { host, snapshot_name, outcome }).collect())
}

/// Reads [`RESTORE_BEGUN`], in the order in which it was written. What a crash or a full disk left of a line is none.
///
/// # Errors
/// The file can't be read.
pub fn read_begun(files: &dyn Files) -> Result<Vec<Begun>, FileError> {
    let lines = history(&content(files, RESTORE_BEGUN)?);
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
    let columns = ["collection", "alias"];
    let first = lines.first().map(|line| [line.collection.clone(), line.alias.clone()]);
    // An alias `alias` of a collection `collection` would be taken for the header.
    let header = first.filter(|first| is_header(first, &columns)).map(|_| csv_line(&columns));
    header.into_iter().chain(lines.iter().map(|line| csv_line(&[&line.collection, &line.alias]))).collect()
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

/// A line of [`SNAPSHOTS`].
pub fn snapshot_line(line: &Snapshot) -> String {
    csv_line(&[line.host.as_deref().unwrap_or_default(), &line.collection, &line.snapshot_name])
}

fn content(files: &dyn Files, name: &str) -> Result<Vec<u8>, FileError> {
    Ok(files.read(name)?.unwrap_or_default())
}

fn optional(host: String) -> Option<String> {
    Some(host).filter(|host| !host.is_empty())
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::indexing_slicing)]
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
        let twice = snapshots(",x,x-1.snapshot\n , x, x-1.snapshot \n").unwrap();
        assert_eq!(twice, [line("", "x", "x-1.snapshot")]);
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
        assert!(error.contains("line 2: column 2 is not UTF-8 text"), "{error}");
    }

    #[test]
    fn a_quote_spoils_its_own_line_only() {
        for (text, what) in [
            (",a,a-1.snapshot\n,\"b,b-1.snapshot\n,c,c-1.snapshot\n", "line 2: column 2: its quote is not closed"),
            (",\"b\"c,b-1.snapshot\n", "line 1: column 2: something follows its closing quote"),
        ] {
            let error = snapshots(text).unwrap_err();
            assert!(error.contains(what), "{error}");
        }
        let line = ("".to_owned(), "a,b".to_owned(), "x\"y".to_owned());
        assert_eq!(snapshots(", \"a,b\" ,x\"y\r").unwrap(), [line]);
    }

    #[test]
    fn what_is_written_is_read_back() {
        for name in
            ["docs", "ge ün%,odd", "a \"b\"", " space ", "# no comment", "a\tb", " \"", "alias", "\u{feff}", "  "]
        {
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
    fn an_alias_that_reads_as_the_header_is_kept() {
        let alias = Alias { collection: "collection".to_owned(), alias: "alias".to_owned() };
        let text = aliases_csv(std::slice::from_ref(&alias));
        assert_eq!(parse_aliases("f", text.as_bytes()).unwrap(), [alias]);
    }

    #[test]
    fn a_torn_line_of_a_history_is_none_wherever_it_is() {
        assert_eq!(history(b"a,b,ok\nc,d"), [["a", "b", "ok"]]);
        assert_eq!(history(b"c,d,ok"), [[""; 3]; 0]);
        // The next run begins a new line after what a full disk left of one.
        assert_eq!(
            history(b"a,b,ok\nc,\"d\ne,f,ok\n\xff,,\ng,h,ok\n"),
            [["a", "b", "ok"], ["e", "f", "ok"], ["g", "h", "ok"]]
        );
        // What came last counts, also where it was there before.
        assert_eq!(history(b"h,c,1\nh,c,2\nh,c,1\n").last().unwrap()[2], "1");
    }

    #[test]
    fn a_hundred_thousand_lines_are_no_trouble() {
        // In no order, and each twice.
        let numbers = (0..200_000_u64).map(|number| number.wrapping_mul(48_271) % 100_000);
        let mut text: String = numbers.map(|number| format!(",docs,docs-{number}.snapshot\n")).collect();
        assert_eq!(parse_snapshots("snapshots", text.as_bytes()).unwrap().len(), 100_000);
        text.push_str(",docs\n");
        let error = parse_snapshots("snapshots", text.as_bytes()).unwrap_err().to_string();
        assert!(error.contains("line 200001: column 3 is missing"), "{error}");
    }
}
