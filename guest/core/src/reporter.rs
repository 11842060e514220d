//! How a run goes: items as they end, progress, and the summary.

use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::time::Duration;

use crate::log::Log;
use crate::ports::{Clock, Ports};
use qdrant_backup_contract::exit::Status;
pub use qdrant_backup_contract::size::size;

use crate::report::{Item, Outcome, Report};
use crate::settings::Host;

/// Collects how everything in a run ended, and tells it.
pub struct Reporter {
    log: Log,
    clock: Rc<dyn Clock>,
    started: Duration,
    items: RefCell<Vec<Item>>,
    /// Items are shown elsewhere: in the table that was asked for.
    shown: Cell<bool>,
    dry_run: bool,
}

impl Reporter {
    /// The reporter of a run that begins now; `dry_run`: what would be done is on standard output already.
    pub fn new(ports: &Ports, log: &Log, dry_run: bool) -> Self {
        let clock = Rc::clone(&ports.clock);
        Self {
            log: log.clone(),
            started: clock.monotonic(),
            clock,
            items: RefCell::default(),
            shown: Cell::default(),
            dry_run,
        }
    }

    /// How long the run has taken so far.
    pub fn elapsed(&self) -> Duration {
        self.clock.monotonic().saturating_sub(self.started)
    }

    /// Reports how something ended: in the log now, in the report at the end. Causes may be somebody else's words.
    pub fn report(&self, item: Item) {
        let item = Item { cause: item.cause.map(|cause| self.log.clean(&cause)), ..item };
        self.log_item(&item);
        self.log.ended(&item);
        self.items.borrow_mut().push(item);
    }

    /// Reports several things.
    pub fn report_all(&self, items: impl IntoIterator<Item = Item>) {
        items.into_iter().for_each(|item| self.report(item));
    }

    /// Reports things that a table on standard output shows: in the report alone.
    pub fn enter(&self, items: impl IntoIterator<Item = Item>) {
        self.items.borrow_mut().extend(items);
        self.shown.set(true);
    }

    /// True until the first report.
    pub fn has_reported_nothing(&self) -> bool {
        self.items.borrow().is_empty()
    }

    /// Reports that one of `total` collections ended, and how each of its parts did.
    pub fn progress(&self, host: &Host, ended: usize, total: usize, what: &str, items: Vec<Item>) {
        let failed = items.iter().any(Item::is_failed);
        let elapsed = self.elapsed().as_secs();
        let outcome = if failed { "failed" } else { "done" };
        self.report_all(items);
        self.log
            .info(Some(&host.to_string()), &format!("{ended} of {total} collections, {elapsed} s: `{what}` {outcome}"));
    }

    fn log_item(&self, item: &Item) {
        let is_planned = |cause: &String| self.dry_run && cause.starts_with("would be ");
        if item.is_skipped() && item.cause.as_ref().is_some_and(is_planned) {
            return;
        }
        let host = item.host.as_deref();
        let mut text = item.kind.to_owned();
        match &item.collection {
            Some(collection) if item.kind == "collection" => text.push_str(&format!(" `{collection}`")),
            Some(collection) => text.push_str(&format!(" of `{collection}`")),
            None => {}
        }
        if let Some(name) = &item.name {
            text.push_str(&format!(" {name}"));
        }
        if let Some(bytes) = item.bytes {
            text.push_str(&format!(", {}", size(bytes)));
        }
        if item.is_done() && item.elapsed > Duration::ZERO {
            text.push_str(&format!(", {}", seconds(item.elapsed)));
        }
        let cause = item.cause.as_deref().map(|cause| format!(": {cause}")).unwrap_or_default();
        match item.outcome {
            Outcome::Done => self.log.info(host, &format!("done: {text}{cause}")),
            Outcome::Skipped => self.log.info(host, &format!("skipped: {text}{cause}")),
            Outcome::Failed(_) => self.log.error(host, &format!("FAILED: {text}{cause}")),
        }
    }

    /// Ends the run: logs what failed once more, then the counts, and gives the report.
    pub fn finish(&self) -> Report {
        let report = Report { items: self.items.take() };
        let (done, failed, skipped) = (report.done(), report.failed(), report.skipped());
        let bytes = report.bytes();
        let elapsed = self.elapsed();
        if failed > 1 && !self.shown.get() {
            self.log.error(None, "what failed:");
            for item in report.items.iter().filter(|item| item.is_failed()) {
                self.log_item(item);
            }
        }
        // What was left out by choice is said at the end, where people look.
        for item in report.items.iter().filter(|item| item.kind == "choice") {
            self.log_item(item);
        }
        let verdict = match report.status() {
            Status::Done => "all done",
            Status::Failed => "FAILED",
            Status::Partial => "PARTLY FAILED",
        };
        let bytes = if bytes > 0 { format!(", {}", size(bytes)) } else { String::new() };
        let text = format!("{verdict}: {done} done, {failed} failed, {skipped} skipped{bytes}, {}", seconds(elapsed));
        match report.status() {
            Status::Done => self.log.info(None, &text),
            _ => self.log.error(None, &text),
        }
        report
    }
}

/// A time for people: seconds and a tenth.
fn seconds(elapsed: Duration) -> String {
    format!("{}.{} s", elapsed.as_secs(), elapsed.subsec_millis() / 100)
}

/// How long ago something was, for people: in the largest unit that there are two of.
pub fn age(elapsed: time::Duration) -> String {
    let seconds = elapsed.whole_seconds();
    match seconds {
        // A minute's difference is nobody's wrong clock.
        ..-60 => "in the future".to_owned(),
        -60..120 => format!("{}s", seconds.max(0)),
        120..7_200 => format!("{}m", seconds / 60),
        7_200..172_800 => format!("{}h", seconds / 3_600),
        _ => format!("{}d", seconds / 86_400),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_for_people() {
        assert_eq!(seconds(Duration::from_millis(61_250)), "61.2 s");
    }

    #[test]
    fn ages_are_for_people() {
        let ages = [-61, -60, 0, 119, 120, 7_199, 7_200, 172_799, 172_800].map(|at| age(time::Duration::seconds(at)));
        assert_eq!(ages, ["in the future", "0s", "0s", "119s", "2m", "119m", "2h", "47h", "2d"]);
    }
}
