//! The lines below the log: one for all, one for each collection at work.

use std::time::{Duration, Instant};

use console::{measure_text_width, truncate_str};
use qdrant_backup_contract::printable;
use qdrant_backup_contract::size::size;

use super::paint::Paint;
use super::work::{Collection, Passing, Work};

/// How wide the bar is, without its ends.
const BAR: usize = 24;

/// How much room there is.
#[derive(Clone, Copy, Debug)]
pub struct Room {
    /// The columns of the terminal.
    pub columns: usize,
    /// Its rows: half of them are left to the log.
    pub rows: usize,
}

/// The lines of `work` at `now`, none of them wider than the terminal.
pub fn lines(work: &Work, now: Instant, room: Room, paint: Paint) -> Vec<String> {
    // A line that fills a terminal's last column is broken by some.
    let columns = room.columns.saturating_sub(1);
    let mut lines = vec![all(work, now, columns, paint)];
    if work.is_ending {
        lines.push(paint.yellow("  ending: the lock is released, uploads are aborted; Ctrl-C once more ends at once"));
    }
    if let Some((text, since)) = work.waiting(now) {
        lines.push(paint.yellow(&format!("  waiting, for {}: {text}", time(now.saturating_duration_since(since)))));
    }
    let rows = (room.rows / 2).saturating_sub(lines.len() + 1);
    let shown = if work.at_work.len() <= rows + 1 { work.at_work.len() } else { rows };
    let shown: Vec<&Collection> = work.at_work.iter().take(shown).collect();
    let several = shown.iter().any(|one| Some(&one.host) != shown.first().map(|first| &first.host));
    let names: Vec<String> = shown.iter().map(|one| name(one, several)).collect();
    let width = names.iter().map(|name| measure_text_width(name)).max().unwrap_or_default().min(columns / 3);
    for (one, name) in shown.iter().zip(&names) {
        lines.push(of_one(one, &fitted(name, width), now, columns, paint));
    }
    let more = work.at_work.len() - shown.len();
    if more > 0 {
        lines.push(paint.dim(&format!("  and {more} more at work")));
    }
    lines.iter().map(|line| truncate_str(line, columns, "...").into_owned()).collect()
}

/// A time for people: `34 s`, `2 min 05 s`, `1 h 02 min`.
pub fn time(elapsed: Duration) -> String {
    match elapsed.as_secs() {
        seconds @ ..60 => format!("{seconds} s"),
        seconds @ 60..3_600 => format!("{} min {:02} s", seconds / 60, seconds % 60),
        seconds => format!("{} h {:02} min", seconds / 3_600, seconds / 60 % 60),
    }
}

fn all(work: &Work, now: Instant, columns: usize, paint: Paint) -> String {
    let (ended, failed) = work.ended();
    let elapsed = time(now.saturating_duration_since(work.begun));
    let mut parts = vec![paint.bold(&work.task)];
    let total = work.total();
    if total > 0 {
        parts.push(format!("{ended} of {total} collections"));
    } else if ended > 0 {
        parts.push(format!("{ended} collections"));
    }
    if failed > 0 {
        parts.push(paint.red(&format!("{failed} failed")));
    }
    parts.push(elapsed);
    if work.bytes() > 0 {
        parts.push(size(work.bytes()));
    }
    let line = parts.join("  ");
    if total == 0 || measure_text_width(&line) + BAR + 4 > columns {
        return line;
    }
    parts.insert(1, bar(ended, total, failed, paint));
    parts.join("  ")
}

fn bar(ended: usize, total: usize, failed: usize, paint: Paint) -> String {
    let full = (ended.min(total) * BAR).checked_div(total).unwrap_or_default();
    let filled = if full < BAR && ended > 0 { format!("{}>", "=".repeat(full)) } else { "=".repeat(full) };
    let filled: String = filled.chars().take(BAR).collect();
    let empty = " ".repeat(BAR - filled.len());
    let filled = if failed > 0 { paint.red(&filled) } else { paint.green(&filled) };
    format!("[{filled}{empty}]")
}

/// The name of a collection, with its cluster's host where there are several.
fn name(one: &Collection, several: bool) -> String {
    let name = printable::in_one_line(&one.name);
    if several { format!("{name} at {}", one.host.split("://").last().unwrap_or_default()) } else { name }
}

fn of_one(one: &Collection, name: &str, now: Instant, columns: usize, paint: Paint) -> String {
    let right = match one.passing(now) {
        Some(passing) => bytes(passing),
        None => time(now.saturating_duration_since(one.begun)),
    };
    let step = one.step.as_ref().map_or("looking at it", |(text, _)| text.as_str());
    let taken = 2 + measure_text_width(name) + 2 + 2 + measure_text_width(&right);
    let step = fitted(step, columns.saturating_sub(taken));
    format!("  {name}  {}  {right}", paint.dim(&step))
}

fn bytes(Passing { passed, total, rate }: Passing) -> String {
    let mut text = match total {
        Some(total) => format!("{} of {}", size(passed), size(total)),
        None => size(passed),
    };
    let Some(rate) = rate else { return text };
    text.push_str(&format!(", {}/s", size(rate)));
    if let Some(left) = total.and_then(|total| total.saturating_sub(passed).checked_div(rate)) {
        text.push_str(&format!(", {} left", time(Duration::from_secs(left))));
    }
    text
}

/// `text` in exactly so many columns.
fn fitted(text: &str, columns: usize) -> String {
    let short = truncate_str(text, columns, "...");
    let missing = columns.saturating_sub(measure_text_width(&short));
    format!("{short}{}", " ".repeat(missing))
}

#[cfg(test)]
#[allow(clippy::indexing_slicing)]
mod tests {
    use super::*;
    use crate::live::work::tests::{begun, bytes, failed, item, step};
    use crate::sandbox::operations::{Event, Kind, Outcome};

    const PLAIN: Paint = Paint { colours: false };

    fn work(collections: usize, now: Instant) -> Work {
        let mut work = Work::new("backup", now);
        for number in 0..collections {
            let name = format!("docs-{number}");
            work.take(&begun(&name, 40), now);
            work.take(&step(&name, "snapshots of 3 shards"), now);
        }
        work
    }

    #[test]
    fn one_line_for_all_and_one_for_each_at_work() {
        let now = Instant::now();
        let later = |seconds| now + Duration::from_secs(seconds);
        let mut work = work(3, now);
        work.take(&Event::ItemEnded(item(Kind::Set, "docs-0", failed("changed", "x"))), later(1));
        work.take(&Event::ItemEnded(item(Kind::Set, "docs-9", Outcome::Done)), later(1));
        work.take(&bytes("docs-1-1-x.snapshot", 1 << 20, Some(9 << 20)), later(1));
        work.take(&bytes("docs-1-1-x.snapshot", 4 << 20, Some(9 << 20)), later(3));
        let shown = lines(&work, later(65), Room { columns: 80, rows: 24 }, PLAIN);
        assert_eq!(shown[0], "backup  [=>                      ]  2 of 40 collections  1 failed  1 min 05 s");
        let shown = lines(&work, later(3), Room { columns: 81, rows: 24 }, PLAIN);
        assert_eq!(
            shown[1..],
            [
                "  docs-1  snapshots of 3 shards          5.0 MiB of 9.0 MiB, 2.0 MiB/s, 2 s left",
                "  docs-2  snapshots of 3 shards                                              3 s",
            ]
        );
    }

    #[test]
    fn no_line_is_wider_than_the_terminal_and_the_log_has_half() {
        let now = Instant::now();
        let mut work = work(40, now);
        work.take(&step("docs-1", &"checking ".repeat(30)), now);
        work.take(&Event::WaitingFor("S3 answers 503 ".repeat(20)), now);
        work.is_ending = true;
        for colours in [true, false] {
            for (columns, rows) in [(80, 24), (120, 50), (40, 10), (20, 5)] {
                let shown = lines(&work, now, Room { columns, rows }, Paint { colours });
                for line in &shown {
                    assert!(measure_text_width(line) < columns, "{columns}: {line}");
                    assert_eq!(line.contains('\x1b'), colours, "{line:?}");
                }
                assert!(shown.len() <= (rows / 2).max(4), "{rows}: {shown:#?}");
            }
        }
        let shown = lines(&work, now, Room { columns: 80, rows: 24 }, PLAIN);
        assert_eq!(shown.last().map(String::as_str), Some("  and 32 more at work"));
    }

    #[test]
    fn what_is_not_known_is_not_shown() {
        let now = Instant::now();
        let work = Work::new("list", now);
        assert_eq!(lines(&work, now, Room { columns: 80, rows: 24 }, PLAIN), ["list  0 s"]);
        let unknown = Passing { passed: 2048, total: None, rate: Some(1024) };
        assert_eq!(super::bytes(unknown), "2.0 KiB, 1.0 KiB/s");
        assert_eq!(super::bytes(Passing { rate: None, ..unknown }), "2.0 KiB");
    }

    #[test]
    fn times_are_for_people() {
        let times = [0, 59, 65, 3_599, 3_720].map(|seconds| time(Duration::from_secs(seconds)));
        assert_eq!(times, ["0 s", "59 s", "1 min 05 s", "59 min 59 s", "1 h 02 min"]);
    }
}
