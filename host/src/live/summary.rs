//! How a run ended, for people at a terminal: what failed first, each with what to type next, then the counts.

use std::collections::BTreeSet;
use std::time::Duration;

use console::truncate_str;
use qdrant_backup_contract::printable;
use qdrant_backup_contract::size::size;

use super::lines::time;
use super::next;
use super::paint::Paint;
use crate::options::Options;
use crate::sandbox::operations::{Error, Item, Kind, Outcome, Report};

/// The page with every code.
const PAGE: &str = "docs/troubleshooting.md";

/// More names are counted.
const NAMES: usize = 6;

/// The kinds, in the order of the table.
const KINDS: [(Kind, &str); 12] = [
    (Kind::Collection, "collections"),
    (Kind::Set, "sets"),
    (Kind::Snapshot, "snapshots"),
    (Kind::Manifest, "manifests"),
    (Kind::Alias, "aliases"),
    (Kind::Cluster, "clusters"),
    (Kind::File, "files"),
    (Kind::Record, "records"),
    (Kind::Choice, "choices"),
    (Kind::Retention, "retention"),
    (Kind::Task, "run"),
    (Kind::Other, "others"),
];

/// The lines for a run that ended with `report`; none of them is wider than `columns`, but for commands, which are copied.
pub fn summary(options: &Options, report: &Report, columns: usize, paint: Paint) -> Vec<String> {
    let mut lines = Vec::new();
    for group in groups(&report.items) {
        lines.push(String::new());
        lines.extend(group.lines(options, report, columns, paint));
    }
    let unverified = unverified(&report.items);
    if !unverified.is_empty() {
        lines.push(String::new());
        lines.push(format!("{}  {}", paint.yellow("NOT VERIFIED"), named(&unverified)));
        lines.push(format!("  next:  {}", paint.bold(&next::unverified(options, &unverified))));
    }
    if !lines.is_empty() || report.items.len() > 1 {
        lines.push(String::new());
        lines.extend(table(report, paint));
    }
    lines
}

/// The lines for a run that could not be done.
pub fn why_not(options: &Options, error: &Error, paint: Paint) -> Vec<String> {
    advice(options, &error.code, &[], false, paint)
}

/// What failed with the same code.
struct Group<'a> {
    code: &'a str,
    items: Vec<(&'a Item, &'a Error)>,
}

/// What failed, by codes, in the order in which they first came.
fn groups(items: &[Item]) -> Vec<Group<'_>> {
    let mut groups: Vec<Group<'_>> = Vec::new();
    for item in items {
        let Outcome::Failed(error) = &item.outcome else { continue };
        match groups.iter_mut().find(|group| group.code == error.code) {
            Some(group) => group.items.push((item, error)),
            None => groups.push(Group { code: &error.code, items: vec![(item, error)] }),
        }
    }
    groups
}

impl Group<'_> {
    fn lines(&self, options: &Options, report: &Report, columns: usize, paint: Paint) -> Vec<String> {
        let collections: BTreeSet<&str> =
            self.items.iter().filter_map(|(item, _)| item.collection.as_deref()).collect();
        let collections: Vec<&str> = collections.into_iter().collect();
        let all: BTreeSet<&str> = report.items.iter().filter_map(|item| item.collection.as_deref()).collect();
        let subjects = if collections.is_empty() { self.items.first().map(|(item, _)| thing(item)) } else { None };
        let subjects = subjects.unwrap_or_else(|| named(&collections));
        let mut lines = vec![format!("{}  {}  {subjects}", paint.red("FAILED"), paint.bold(self.code))];
        if let Some((_, error)) = self.items.first() {
            let message = printable::in_one_line(&error.message);
            lines.push(format!("  {}", truncate_str(&message, columns.saturating_sub(3), "...")));
        }
        lines.extend(advice(options, self.code, &collections, collections.len() == all.len(), paint));
        lines
    }
}

fn advice(options: &Options, code: &str, collections: &[&str], all: bool, paint: Paint) -> Vec<String> {
    let next = next::after(options, code, collections, all);
    let next = next.map(|next| format!("  next:  {}", paint.bold(&next)));
    let about = (!code.is_empty()).then(|| format!("  about: {PAGE}#{code}"));
    next.into_iter().chain(about).collect()
}

/// What an item is about that is no collection's.
fn thing(item: &Item) -> String {
    let kind = match item.kind {
        Kind::Task => "the run",
        Kind::Cluster => "the cluster",
        kind => KINDS.iter().find(|(one, _)| *one == kind).map_or("", |(_, name)| name),
    };
    let name = item.name.as_deref().or(item.host.as_deref()).map(printable::in_one_line);
    name.map_or_else(|| kind.to_owned(), |name| format!("{kind} {name}"))
}

/// The collections that were restored and not verified.
fn unverified(items: &[Item]) -> Vec<&str> {
    let items = items.iter().filter(|item| matches!(item.outcome, Outcome::Done) && item.verified == Some(false));
    items.filter_map(|item| item.collection.as_deref()).collect()
}

/// Some of the names, and how many more there are.
fn named(names: &[&str]) -> String {
    let mut text = names.iter().take(NAMES).map(|name| printable::in_one_line(name)).collect::<Vec<_>>().join(", ");
    if names.len() > NAMES {
        text.push_str(&format!(" and {} more", names.len() - NAMES));
    }
    text
}

/// The counts by kind.
fn table(report: &Report, paint: Paint) -> Vec<String> {
    let mut lines = vec![paint.dim(&format!("{:<14}{:>7}{:>8}{:>9}{:>12}", "", "done", "failed", "skipped", "size"))];
    for (kind, name) in KINDS {
        let of_kind = || report.items.iter().filter(move |item| item.kind == kind);
        let count = |is: fn(&Outcome) -> bool| of_kind().filter(|item| is(&item.outcome)).count();
        let done = count(|outcome| matches!(outcome, Outcome::Done));
        let failed = count(|outcome| matches!(outcome, Outcome::Failed(_)));
        let skipped = count(|outcome| matches!(outcome, Outcome::Skipped));
        if done + failed + skipped == 0 {
            continue;
        }
        let stored = of_kind().filter(|item| matches!(item.outcome, Outcome::Done)).filter_map(|item| item.bytes);
        let bytes = stored.fold(0_u64, u64::saturating_add);
        let bytes = if bytes > 0 { size(bytes) } else { String::new() };
        let coloured = |number: usize, width: usize, colour: fn(Paint, &str) -> String| {
            let text = format!("{number:>width$}");
            if number > 0 { colour(paint, &text) } else { text }
        };
        let line = format!(
            "{name:<14}{}{}{}{bytes:>12}",
            coloured(done, 7, Paint::green),
            coloured(failed, 8, Paint::red),
            coloured(skipped, 9, Paint::yellow)
        );
        lines.push(line.trim_end().to_owned());
    }
    lines.push(format!("{:<14}{:>7}", "in", time(Duration::from_millis(report.milliseconds))));
    lines
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::live::work::tests::{failed, item};
    use crate::sandbox::operations::Status;
    use qdrant_backup_contract::tasks::Task;

    const PLAIN: Paint = Paint { colours: false };

    fn report(items: Vec<Item>) -> Report {
        Report { status: Status::Partial, items, milliseconds: 65_400 }
    }

    #[test]
    fn what_failed_is_first_with_what_to_type_next() {
        let snapshot = Item { bytes: Some(3 << 20), ..item(Kind::Snapshot, "a", Outcome::Done) };
        let items = vec![
            snapshot,
            item(Kind::Set, "a", Outcome::Done),
            item(Kind::Set, "b", failed("changed", "shards were moved; run it again")),
            item(Kind::Set, "c", failed("store-unauthorized", &"S3 refuses ".repeat(20))),
            item(Kind::Set, "d", failed("changed", "shards were moved")),
            item(Kind::Set, "e", Outcome::Skipped),
        ];
        let shown = summary(&Options::new(Task::CreateSets), &report(items), 80, PLAIN);
        let expected = [
            "",
            "FAILED  changed  b, d",
            "  shards were moved; run it again",
            "  next:  QDRANT_COLLECTIONS=b,d qdrant-backup create_snap_shards",
            "  about: docs/troubleshooting.md#changed",
            "",
            "FAILED  store-unauthorized  c",
        ];
        assert_eq!(shown.get(..7), Some(&expected.map(str::to_owned)[..]), "{shown:#?}");
        let expected = [
            "                 done  failed  skipped        size",
            "sets                1       3        1",
            "snapshots           1       0        0     3.0 MiB",
            "in            1 min 05 s",
        ];
        assert_eq!(shown.get(shown.len() - 4..), Some(&expected.map(str::to_owned)[..]), "{shown:#?}");
        assert!(shown.iter().all(|line| line.len() <= 80), "{shown:#?}");
    }

    #[test]
    fn what_was_not_verified_is_told() {
        let items =
            ["a", "b"].map(|name| Item { verified: Some(name == "b"), ..item(Kind::Collection, name, Outcome::Done) });
        let shown = summary(&Options::new(Task::RecoverSets), &report(items.to_vec()), 80, PLAIN);
        let next = "  next:  QDRANT_COLLECTIONS=a qdrant-backup verify";
        assert_eq!(shown.get(1..3), Some(&["NOT VERIFIED  a", next].map(str::to_owned)[..]), "{shown:#?}");
    }

    #[test]
    fn a_run_of_one_thing_that_went_well_needs_no_table() {
        let items = vec![item(Kind::Set, "a", Outcome::Done)];
        assert!(summary(&Options::new(Task::ListSets), &report(items), 80, PLAIN).is_empty());
    }

    #[test]
    fn colours_are_of_outcomes_that_there_are() {
        let items = vec![item(Kind::Set, "a", Outcome::Done), item(Kind::Set, "b", failed("changed", "x"))];
        let shown = summary(&Options::new(Task::CreateSets), &report(items), 80, Paint { colours: true }).join("\n");
        assert!(
            shown.contains("\x1b[31mFAILED") && shown.contains("\x1b[32m      1") && !shown.contains("\x1b[33m"),
            "{shown:?}"
        );
    }
}
