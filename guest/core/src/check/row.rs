//! What was found out about one thing.

use serde_json::{Value, json};

use crate::error::{Code, Error};
use crate::printable;
use crate::report::Item;
use crate::table;

/// How it is about one thing that a backup or a restore needs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// As it has to be.
    Ok,
    /// A run goes on with it, and a person should know.
    Warning,
    /// A run fails by it.
    Failure,
    /// It could not be asked.
    Unknown,
}

impl Verdict {
    /// Its name, in tables and JSON.
    pub fn name(self) -> &'static str {
        match self {
            Self::Ok => "ok",
            Self::Warning => "warning",
            Self::Failure => "failure",
            Self::Unknown => "not known",
        }
    }
}

/// One line of the answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Row {
    /// How it is.
    pub verdict: Verdict,
    /// `settings`, `work directory`, `bucket`, `source` or `target`.
    pub area: &'static str,
    /// What was looked at, such as `put` or `peer 17`.
    pub what: String,
    /// What was found.
    pub finding: String,
    /// What to do; empty where there is nothing to do.
    pub advice: String,
    code: Option<Code>,
}

impl Row {
    fn new(verdict: Verdict, area: &'static str, what: impl Into<String>, finding: impl Into<String>) -> Self {
        Self { verdict, area, what: what.into(), finding: finding.into(), advice: String::new(), code: None }
    }

    /// As it has to be.
    pub(super) fn ok(area: &'static str, what: impl Into<String>, finding: impl Into<String>) -> Self {
        Self::new(Verdict::Ok, area, what, finding)
    }

    /// A person should know.
    pub(super) fn warning(area: &'static str, what: impl Into<String>, finding: impl Into<String>) -> Self {
        Self::new(Verdict::Warning, area, what, finding)
    }

    /// It could not be asked.
    pub(super) fn unknown(area: &'static str, what: impl Into<String>, finding: impl Into<String>) -> Self {
        Self::new(Verdict::Unknown, area, what, finding)
    }

    /// A run fails by it. What was not even sent, as this is a dry run, is not known.
    pub(super) fn failed(area: &'static str, what: impl Into<String>, error: impl Into<Error>) -> Self {
        let error = error.into();
        let verdict = if error.code() == Code::DryRun { Verdict::Unknown } else { Verdict::Failure };
        let row = Self { code: Some(error.code()), ..Self::new(verdict, area, what, error.reason()) };
        match error.what_to_do() {
            "" => row.advice(format!("usual causes: {}", error.code().explained().cause)),
            advice => row.advice(advice),
        }
    }

    /// Ok with what `answer` says, or failed by its error.
    pub(super) fn of(area: &'static str, what: &str, answer: Result<impl Into<String>, Error>) -> Self {
        match answer {
            Ok(finding) => Self::ok(area, what, finding),
            Err(error) => Self::failed(area, what, error),
        }
    }

    /// With what to do.
    #[must_use]
    pub(super) fn advice(self, advice: impl Into<String>) -> Self {
        Self { advice: advice.into(), ..self }
    }

    /// The same, and as bad as this.
    #[must_use]
    pub(super) fn verdict(self, verdict: Verdict) -> Self {
        Self { verdict, ..self }
    }

    /// The same with its texts as `clean` makes them: they may be somebody else's words.
    #[must_use]
    pub(super) fn map_text(self, clean: impl Fn(&str) -> String) -> Self {
        Self { what: clean(&self.what), finding: clean(&self.finding), advice: clean(&self.advice), ..self }
    }

    /// As an item of the run's report, by which it ends with 0, 1 or 3.
    pub fn item(&self) -> Item {
        let name = format!("{}: {}", self.area, self.what);
        let text =
            if self.advice.is_empty() { self.finding.clone() } else { format!("{}; {}", self.finding, self.advice) };
        let item = match (self.verdict, self.code) {
            (Verdict::Ok, _) => Item::done(KIND),
            (Verdict::Warning, _) => Item::done(KIND).cause(format!("warning: {text}")),
            (Verdict::Unknown, _) => Item::skipped(KIND, format!("not known: {text}")),
            (Verdict::Failure, code) => Item::failed(KIND, Error::new(code.unwrap_or(Code::Configuration), "", text)),
        };
        item.name(name)
    }
}

/// The kind of its items in a report.
pub const KIND: &str = "check";

/// The rows for people, each with its advice below it.
pub fn text(rows: &[Row]) -> String {
    let cells = rows
        .iter()
        .map(|row| [row.verdict.name(), row.area, row.what.as_str(), row.finding.as_str()].map(str::to_owned).to_vec());
    let lines = table::lines(&["STATUS", "AREA", "CHECK", "FINDING"], cells.collect());
    let mut lines = lines.into_iter();
    let mut text = lines.next().unwrap_or_default() + "\n";
    for (line, row) in lines.zip(rows) {
        text.push_str(&format!("{line}\n"));
        if !row.advice.is_empty() {
            text.push_str(&format!("           -> {}\n", printable::visible(&row.advice)));
        }
    }
    let count = |verdict| rows.iter().filter(|row| row.verdict == verdict).count();
    let [ok, warnings, failures, unknown] =
        [Verdict::Ok, Verdict::Warning, Verdict::Failure, Verdict::Unknown].map(count);
    text + &format!("\n{ok} ok, {warnings} warnings, {failures} failures, {unknown} not known\n")
}

/// The rows for programs; docs/schemas/check.json.
pub fn json(rows: &[Row]) -> Value {
    let rows: Vec<Value> = rows
        .iter()
        .map(|row| {
            json!({
                "status": row.verdict.name(),
                "area": row.area,
                "check": row.what,
                "finding": row.finding,
                "advice": row.advice,
                "code": row.code.map(Code::name),
            })
        })
        .collect();
    json!({"version": 1, "rows": rows})
}
