//! Lines of fields, as CSV has them (RFC 4180), each of which is one record whatever is in it.

use csv::{QuoteStyle, ReaderBuilder, StringRecord, WriterBuilder};

use crate::ports::FileError;

/// The lines of a history that are whole: three fields and a line end.
pub(super) fn history(bytes: &[u8]) -> Vec<[String; 3]> {
    let end = bytes.iter().rposition(|byte| *byte == b'\n').unwrap_or_default();
    let whole = bytes.get(..end).unwrap_or_default();
    let texts = |fields: Vec<Field>| -> Vec<String> { fields.into_iter().map(|field| field.text).collect() };
    records(whole).into_iter().filter_map(|(_, fields)| texts(fields.ok()?).try_into().ok()).collect()
}

/// One line with its line end; line breaks within a field become spaces, so that a line stays one.
pub(super) fn csv_line(fields: &[&str]) -> String {
    let fields: Vec<String> = fields.iter().map(|field| field.replace(['\n', '\r'], " ")).collect();
    // At the beginning of a file this is something else; and spaces alone are nothing.
    let is_special = fields.first().is_some_and(|first| first.starts_with('\u{feff}'))
        || fields.iter().any(|field| !field.is_empty() && field.trim().is_empty());
    let style = if is_special { QuoteStyle::Always } else { QuoteStyle::Necessary };
    let mut writer = WriterBuilder::new().comment(Some(b'#')).quote_style(style).from_writer(Vec::new());
    // Writing to memory does not fail.
    let _ = writer.write_record(&fields);
    writer.into_inner().ok().and_then(|bytes| String::from_utf8(bytes).ok()).unwrap_or_default()
}

/// Changes the fields of a line to what they mean.
pub(super) type Tidy<'a> = &'a dyn Fn(&mut [String]);

/// Reads lines of just these `columns`, as [`lines`] does.
pub(super) fn parse<const N: usize>(
    name: &str,
    bytes: &[u8],
    columns: [&str; N],
    tidy: Tidy<'_>,
) -> Result<Vec<[String; N]>, FileError> {
    Ok(lines(name, bytes, &columns, tidy)?.into_iter().filter_map(|line| line.try_into().ok()).collect())
}

/// Reads lines of just these `columns`, all but the first of which must have a value (the host is optional). Of lines that
/// are equal once they are tidy the first counts.
fn lines(name: &str, bytes: &[u8], columns: &[&str], tidy: Tidy<'_>) -> Result<Vec<Vec<String>>, FileError> {
    let mut lines: Vec<Vec<String>> = Vec::new();
    let mut is_first = true;
    for (number, fields) in records(bytes) {
        let mut fields = fields.and_then(|fields| complete(fields, columns)).map_err(|cause| FileError {
            name: name.to_owned(),
            action: "use",
            cause: format!("line {number}: {cause}; a line is `{}`", columns.join(",")),
        })?;
        if !(std::mem::take(&mut is_first) && is_header(&fields, columns)) {
            tidy(&mut fields);
            lines.push(fields);
        }
    }
    let mut places: Vec<usize> = (0..lines.len()).collect();
    places.sort_by(|left, right| lines.get(*left).cmp(&lines.get(*right)));
    let again =
        places.iter().zip(places.iter().skip(1)).filter(|(left, right)| lines.get(**left) == lines.get(**right));
    let mut again: Vec<usize> = again.map(|(_, right)| *right).collect();
    again.sort();
    let mut again = again.into_iter().peekable();
    let mut place = 0..;
    lines.retain(|_| again.next_if_eq(&place.next().unwrap_or_default()).is_none());
    Ok(lines)
}

/// The texts of `fields`, where they are those of a line.
fn complete(fields: Vec<Field>, columns: &[&str]) -> Result<Vec<String>, String> {
    if fields.len() < columns.len() {
        return Err(format!("column {} is missing", fields.len() + 1));
    }
    if fields.len() > columns.len() {
        let cause = "is one too many (put a name with a comma in quotes)";
        return Err(format!("column {} {cause}", columns.len() + 1));
    }
    let host_first = columns.first() == Some(&"host");
    let mut empty = fields.iter().zip(columns).enumerate().skip(usize::from(host_first));
    match empty.find(|(_, (field, _))| field.is_empty()) {
        Some((column, (_, title))) => Err(format!("column {} ({title}) is empty", column + 1)),
        None => Ok(fields.into_iter().map(|field| field.text).collect()),
    }
}

/// A field, and whether there are quotes in its line.
struct Field {
    text: String,
    quoted: bool,
}

impl Field {
    /// True without a value. In a line with quotes, spaces are one.
    fn is_empty(&self) -> bool {
        if self.quoted { self.text.is_empty() } else { self.text.trim().is_empty() }
    }
}

/// The fields of every line that has some, with its number.
fn records(bytes: &[u8]) -> Vec<(usize, Result<Vec<Field>, String>)> {
    let bytes = bytes.strip_prefix(b"\xef\xbb\xbf").unwrap_or(bytes);
    let numbered = bytes.split(|byte| *byte == b'\n').enumerate();
    let lines = numbered.flat_map(|(index, line)| line.split(|byte| *byte == b'\r').map(move |line| (index + 1, line)));
    // Only lines that are one record each get to the reader, which would make one of several where a quote stays open.
    let mut checked = Vec::new();
    let mut sound = String::new();
    for (number, line) in lines.filter(|(_, line)| !line.trim_ascii().is_empty() && !line.starts_with(b"#")) {
        let line = check(line);
        if let Ok(line) = &line {
            sound.push_str(line);
            sound.push('\n');
        }
        checked.push((number, line.map(|line| line.contains('"'))));
    }
    let mut reader = ReaderBuilder::new().has_headers(false).flexible(true).from_reader(sound.as_bytes());
    let mut record = StringRecord::new();
    let mut fields = |quoted| -> Result<Vec<Field>, String> {
        reader.read_record(&mut record).map_err(|error| error.to_string())?;
        Ok(record.iter().map(|text| Field { text: text.to_owned(), quoted }).collect())
    };
    checked
        .into_iter()
        .map(|(number, line)| (number, line.and_then(&mut fields)))
        .filter(|(_, fields)| fields.as_ref().map_or(true, |fields| fields.iter().any(|field| !field.is_empty())))
        .collect()
}

/// The line as text without spaces around quotes, unless the reader would forgive it and make something else of it: a
/// quote that is not closed, or text beside quotes.
fn check(line: &[u8]) -> Result<String, String> {
    let text = std::str::from_utf8(line).map_err(|error| {
        let before = line.get(..error.valid_up_to()).unwrap_or_default();
        let column = before.iter().filter(|byte| **byte == b',').count() + 1;
        format!("column {column} is not UTF-8 text")
    })?;
    let mut fields: Vec<&str> = Vec::new();
    let mut rest = Some(text);
    while let Some(text) = rest {
        let column = fields.len() + 1;
        let trimmed = text.trim_start_matches([' ', '\t']);
        let Some(quoted) = trimmed.strip_prefix('"') else {
            let (field, after) = text.split_once(',').map_or((text, None), |(field, after)| (field, Some(after)));
            fields.push(field);
            rest = after;
            continue;
        };
        // Two quotes stand for one.
        let mut quotes = quoted.match_indices('"').map(|(place, _)| place).peekable();
        let close = loop {
            let place =
                quotes.next().ok_or_else(|| format!("column {column}: its quote is not closed in this line"))?;
            if quotes.next_if_eq(&(place + 1)).is_none() {
                break place + 2;
            }
        };
        let (field, after) = trimmed.split_at(close);
        let after = after.trim_start_matches([' ', '\t']);
        fields.push(field);
        rest = after.strip_prefix(',');
        if rest.is_none() && !after.is_empty() {
            return Err(format!(
                "column {column}: something follows its closing quote (a quote within quotes is written twice)"
            ));
        }
    }
    Ok(fields.join(","))
}

/// True for a first line such as `host,collection,snapshot_name`.
pub(super) fn is_header(fields: &[String], columns: &[&str]) -> bool {
    fields.iter().zip(columns).all(|(field, column)| {
        let field = field.trim().to_ascii_lowercase();
        field == *column || field.strip_suffix("_name") == Some(column)
    })
}
