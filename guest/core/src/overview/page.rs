//! The page: one file of HTML that needs nothing from elsewhere and has no script.

use time::{Date, OffsetDateTime, Weekday};

use super::calendar::{self, MARKS};
use super::chart::{self, Area};
use super::html::Html;
use super::risk::{self, Kind};
use super::{CollectionRow, Overview, SetRow};
use crate::report::total;
use crate::reporter::{age, size};
use crate::timestamp;

const STYLE: &str = include_str!("style.css");

/// The chart of one source, in the units of its picture.
const CHART: Area = Area { left: 760, right: 3_560, top: 120, bottom: 1_180 };

/// The small one of a collection.
const SPARK: Area = Area { left: 20, right: 820, top: 20, bottom: 200 };

/// The page of `all`.
pub(crate) fn page(all: &Overview) -> String {
    let mut html = Html::default();
    let days = calendar::days(all);
    head(&mut html, all);
    verdict(&mut html, all);
    tiles(&mut html, all);
    risks(&mut html, all);
    sources(&mut html, all);
    collections(&mut html, all, &days);
    calendar(&mut html, all, &days);
    charts(&mut html, all, &days);
    retention(&mut html, all);
    foot(&mut html, all);
    html.end()
}

fn at(moment: OffsetDateTime) -> String {
    format!("{} UTC", timestamp::LOG.write(moment))
}

fn head(html: &mut Html, all: &Overview) {
    html.markup("<!doctype html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n")
        .markup("<meta name=\"viewport\" content=\"width=device-width,initial-scale=1\">\n")
        .markup(
            "<meta name=\"referrer\" content=\"no-referrer\">\n<meta name=\"color-scheme\" content=\"light dark\">\n",
        )
        .markup(
            "<meta http-equiv=\"Content-Security-Policy\" content=\"default-src 'none';style-src 'unsafe-inline'\">\n",
        )
        .markup("<title>Qdrant backups in ")
        .text(&all.bucket)
        .markup("</title>\n<style>\n")
        .markup(STYLE)
        .markup("</style>\n</head>\n<body>\n<main>\n<header><h1>Qdrant backups</h1>\n<p class=\"soft\">Bucket <code>")
        .text(&all.bucket)
        .markup("</code> as it was at <b>")
        .text(&at(all.made_at))
        .markup("</b></p>\n<nav aria-label=\"Sections\"><a href=\"#risks\">At risk</a><a href=\"#sources\">Sources</a>")
        .markup("<a href=\"#collections\">Collections</a><a href=\"#calendar\">Calendar</a>")
        .markup("<a href=\"#sizes\">Sizes</a><a href=\"#retention\">Retention</a></nav></header>\n");
}

/// How many collections something other than a note is said of, and how many something bad.
fn at_risk(all: &Overview) -> (usize, usize) {
    let of = |is: &dyn Fn(Kind) -> bool| {
        let has = |one: &&CollectionRow| risk::of_collection(one, all).iter().any(|(kind, _)| is(*kind));
        all.collections.iter().filter(has).count()
    };
    (of(&|kind| !kind.is_note()), of(&|kind| !kind.is_minor()))
}

fn verdict(html: &mut Html, all: &Overview) {
    let (some, bad) = at_risk(all);
    let (class, text) = match (all.collections.len(), some, bad) {
        _ if !all.not_known.is_empty() => {
            ("b", "This page is not complete: not everything could be read. What is missing is not known.".to_owned())
        }
        (0, ..) => ("w", "There are no backups in this bucket.".to_owned()),
        (count, some, bad @ 1..) => {
            let more = match some - bad {
                0 => String::new(),
                more => format!(", and of {more} more there are warnings"),
            };
            ("b", format!("{bad} of {count} collections are at risk{more}."))
        }
        (count, some @ 1.., 0) => {
            let limit = risk::limit(all);
            (
                "w",
                format!(
                    "Every backup is recent, younger than {limit}; of {some} of {count} collections there are warnings."
                ),
            )
        }
        _ => (
            "g",
            format!("Every collection has a good backup younger than {}, and one that was drilled.", risk::limit(all)),
        ),
    };
    html.markup("<div class=\"say ");
    html.markup(class).markup("\">").text(&text);
    if !all.not_known.is_empty() {
        html.markup("<ul>");
        for unknown in &all.not_known {
            html.markup("<li><b>Not known:</b> ").text(unknown).markup("</li>");
        }
        html.markup("</ul>");
    }
    html.markup("</div>\n");
}

fn tile(html: &mut Html, value: &str, of: &str) {
    html.markup("<div class=\"tile\"><b>").text(value).markup("</b><span>").text(of).markup("</span></div>");
}

fn tiles(html: &mut Html, all: &Overview) {
    let now = all.made_at;
    let collections = &all.collections;
    let of = collections.len();
    let count = |is: &dyn Fn(&&CollectionRow) -> bool| collections.iter().filter(is).count();
    let sets: usize = collections.iter().map(|collection| collection.sets.len()).sum();
    let bytes = total(collections.iter().map(CollectionRow::bytes));
    html.markup("<div class=\"tiles\">");
    tile(html, &of.to_string(), &format!("collections of {} sources", all.sources.len()));
    let recent = count(&|one| risk::is_recent(one, all, now));
    tile(html, &format!("{recent} of {of}"), &format!("have a good backup younger than {}", risk::limit(all)));
    let drilled = count(&|one| one.drilled_at().is_some());
    tile(html, &format!("{drilled} of {of}"), "were restored by a drill");
    tile(html, &size(bytes), &format!("in {sets} sets"));
    let oldest = collections.iter().filter(|one| one.dropped != Some(true)).filter_map(|one| one.newest_at(now)).min();
    tile(html, &oldest.map_or("-".to_owned(), |oldest| age(now - oldest)), "the oldest of the newest good backups");
    html.markup("</div>\n");
}

fn risks(html: &mut Html, all: &Overview) {
    let several = all.origins().len() > 1;
    html.markup("<section id=\"risks\"><h2>At risk</h2>\n<div class=\"risks\">");
    let found = risk::of_all(all);
    if found.is_empty() {
        html.markup("<p>Nothing that is known.</p>");
    }
    for (kind, of) in found {
        let (_, title, advice) = kind.words();
        html.markup(match (kind.is_note(), kind.is_minor()) {
            (true, _) => "<div class=\"card s\"><h3><span class=\"tag s\">i note</span>",
            (_, true) => "<div class=\"card w\"><h3><span class=\"tag w\">! warning</span>",
            _ if kind == Kind::NotKnown => "<div class=\"card u\"><h3><span class=\"tag u\">? not known</span>",
            _ => "<div class=\"card b\"><h3><span class=\"tag b\">\u{d7} at risk</span>",
        });
        html.text(title).markup("<span class=\"soft small\">");
        html.number(of.len() as u64).markup(if of.len() == 1 { " collection" } else { " collections" });
        html.markup("</span></h3><p>").with_code(advice).markup("</p><ul class=\"of\">");
        for (collection, finding) in of {
            html.markup("<li><b>").text(&collection.name).markup("</b>");
            if several {
                html.markup(" <i>").text(collection.source_name()).markup("</i>");
            }
            html.markup(" ").text(&finding).markup("</li>");
        }
        html.markup("</ul></div>\n");
    }
    html.markup("</div></section>\n");
}

fn sources(html: &mut Html, all: &Overview) {
    html.markup("<section id=\"sources\"><h2>Sources</h2>\n<div class=\"box\" tabindex=\"0\"><table><thead><tr>")
        .markup("<th scope=\"col\">Source</th><th scope=\"col\">Id</th><th scope=\"col\" class=\"n\">Peers</th>")
        .markup("<th scope=\"col\" class=\"n\">Collections</th><th scope=\"col\" class=\"n\">Sets</th>")
        .markup("<th scope=\"col\" class=\"n\">Whole snapshots</th><th scope=\"col\">Newest backup</th>")
        .markup("<th scope=\"col\">Last seen</th></tr></thead><tbody>");
    for source in &all.sources {
        html.markup("<tr><th scope=\"row\" class=\"name\">").text(&source.name).markup("</th><td><code>");
        html.text(&source.id).markup("</code></td>");
        for figure in [source.peers as u64, source.collections as u64, source.sets, source.snapshots] {
            html.markup("<td class=\"n\">").number(figure).markup("</td>");
        }
        html.markup("<td>");
        moment(html, source.newest, all.made_at);
        html.markup("</td><td>");
        match &source.seen_at {
            Some(at) => written(html, at, all.made_at),
            None => html.markup("<span class=\"soft\">no record</span>"),
        };
        html.markup("</td></tr>\n");
    }
    html.markup("</tbody></table></div></section>\n");
}

/// How long ago a moment was, and its day; the rest of it is shown when it is pointed at.
fn moment(html: &mut Html, moment: Option<OffsetDateTime>, now: OffsetDateTime) -> &mut Html {
    let Some(moment) = moment else { return html.markup("<span class=\"soft\">none</span>") };
    html.markup("<span title=\"").text(&at(moment)).markup("\">").text(&age(now - moment));
    html.markup(" <span class=\"soft small\">").text(&timestamp::DATE.write(moment)).markup("</span></span>")
}

/// The same of a moment as a record has it.
fn written<'a>(html: &'a mut Html, written: &str, now: OffsetDateTime) -> &'a mut Html {
    match timestamp::RFC3339.read(written) {
        Some(at) => moment(html, Some(at), now),
        None => html.text(written),
    }
}

fn collections(html: &mut Html, all: &Overview, days: &[Date]) {
    let now = all.made_at;
    let several = all.origins().len() > 1;
    let whole = all.collections.iter().any(|collection| collection.whole.is_some());
    html.markup(
        "<section id=\"collections\"><h2>Collections</h2>\n<p class=\"soft small\">The newest good backup of each, as ",
    )
    .markup("far as the bucket's lists and manifests tell.");
    if whole {
        html.markup(" Snapshots of whole collections (<code>create_snap</code>) are counted and not looked at here: ")
            .markup("<code>restore</code> does that.");
    }
    html.markup("</p>\n<div class=\"box\" tabindex=\"0\"><table><thead><tr><th scope=\"col\">Collection</th>")
        .markup("<th scope=\"col\">State</th><th scope=\"col\">Newest good backup</th><th scope=\"col\" class=\"n\">Points</th>")
        .markup("<th scope=\"col\" class=\"n\">Size</th><th scope=\"col\">Over time</th>")
        .markup("<th scope=\"col\" class=\"n\">Replicas</th><th scope=\"col\" class=\"n\">Sets</th>")
        .markup("<th scope=\"col\" class=\"n\">All sets</th><th scope=\"col\">Last drill</th>");
    html.markup("</tr></thead><tbody>\n");
    for collection in &all.collections {
        let newest = collection.newest_good(now);
        html.markup("<tr><th scope=\"row\" class=\"name\">").text(&collection.name);
        if several {
            html.markup(" <span class=\"of-source\">").text(collection.source_name()).markup("</span>");
        }
        html.markup("</th><td>");
        state(html, collection, all);
        html.markup("</td><td>");
        moment(html, collection.newest_at(now), now);
        html.markup("</td><td class=\"n\">");
        figure(html, newest.map(|set| set.points));
        html.markup("</td><td class=\"n\">");
        words(html, newest.map(|set| set.bytes.map(size)));
        html.markup("</td><td>");
        spark(html, &chart::sizes(all, std::iter::once(collection), days));
        html.markup("</td><td class=\"n\">");
        figure(html, newest.map(|set| set.replicas.map(|replicas| replicas as u64)));
        html.markup("</td><td class=\"n\">").number(collection.sets.len() as u64).markup("</td><td class=\"n\">");
        html.text(&size(collection.bytes()));
        if let Some(whole) = &collection.whole {
            html.markup("<span class=\"of-source\">+ ").number(whole.count).markup(" whole, ").text(&size(whole.bytes));
            html.markup("</span>");
        }
        html.markup("</td><td>");
        match collection.drilled_at() {
            Some(at) => written(html, at, now),
            None => html.markup("<span class=\"soft\">never</span>"),
        };
        html.markup("</td></tr>\n");
    }
    html.markup("</tbody></table></div></section>\n");
}

/// The worst that is said of a collection.
fn state(html: &mut Html, collection: &CollectionRow, all: &Overview) {
    let risks = risk::of_collection(collection, all);
    let worst = risks.iter().map(|(kind, _)| *kind).min();
    match worst {
        None => html.markup("<span class=\"tag g\">\u{2713} good</span>"),
        Some(Kind::NotKnown) => html.markup("<span class=\"tag u\">? not known</span>"),
        Some(kind) => {
            html.markup(match (kind.is_note(), kind.is_minor()) {
                (true, _) => "<span class=\"tag s\">i ",
                (_, true) => "<span class=\"tag w\">! ",
                _ => "<span class=\"tag b\">\u{d7} ",
            });
            html.text(&kind.name().replace('-', " ")).markup("</span>")
        }
    };
    let more = risks.len().saturating_sub(1) as u64;
    if more > 0 {
        html.markup(" <span class=\"soft small\">+").number(more).markup("</span>");
    }
}

/// A figure of the newest set: none without one, not known where it does not say.
fn figure(html: &mut Html, figure: Option<Option<u64>>) {
    match figure {
        Some(Some(figure)) => html.number(figure),
        Some(None) => html.markup("<span class=\"soft\">not known</span>"),
        None => html.markup("<span class=\"soft\">-</span>"),
    };
}

fn words(html: &mut Html, words: Option<Option<String>>) {
    match words {
        Some(Some(words)) => html.text(&words),
        Some(None) => html.markup("<span class=\"soft\">not known</span>"),
        None => html.markup("<span class=\"soft\">-</span>"),
    };
}

fn spark(html: &mut Html, figures: &[u64]) {
    let most = figures.iter().copied().max().unwrap_or_default();
    if most == 0 {
        return;
    }
    html.markup("<svg class=\"spark\" viewBox=\"0 0 840 220\" preserveAspectRatio=\"none\" aria-hidden=\"true\">");
    line(html, &chart::points(figures, most, SPARK));
    html.markup("</svg>");
}

fn line(html: &mut Html, points: &[(u64, u64)]) {
    html.markup("<polyline class=\"line\" points=\"");
    html.places(points).markup("\"/>");
}

/// The letter of a set, in its shape.
fn letter(html: &mut Html, mark: usize, goes: bool) {
    let Some((letter, class, _)) = MARKS.get(mark) else { return };
    html.markup("<b class=\"k ").markup(class).markup(if goes { " goes\">" } else { "\">" }).markup(letter);
}

fn calendar(html: &mut Html, all: &Overview, days: &[Date]) {
    html.markup("<section id=\"calendar\"><h2>Calendar</h2>\n<p class=\"soft small\">The sets that are in the bucket, by the day ")
        .markup("(UTC) on which their backup began; of several on a day the worst is shown, with their number. What retention has ")
        .markup("removed is not in it any more.</p>\n<ul class=\"key\">");
    for (number, (_, _, what)) in MARKS.iter().enumerate().rev() {
        html.markup("<li>");
        letter(html, number, false);
        html.markup("</b><span>").with_code(what).markup("</span>").markup("</li>");
    }
    html.markup("<li>");
    letter(html, 4, true);
    html.markup(
        "</b>struck out: retention removes it</li></ul>\n<div class=\"box cal\" tabindex=\"0\"><table><thead><tr>",
    )
    .markup("<th scope=\"col\" rowspan=\"2\">Collection</th><th scope=\"col\" rowspan=\"2\">Others</th>");
    let mut months: Vec<(time::Month, usize)> = Vec::new();
    for day in days {
        match months.last_mut() {
            Some((month, count)) if *month == day.month() => *count += 1,
            _ => months.push((day.month(), 1)),
        }
    }
    for (month, count) in months {
        html.markup("<th scope=\"colgroup\" class=\"m\" colspan=\"").number(count as u64).markup("\"><span>");
        let name = month.to_string();
        // Two days have no room for more.
        html.text(if count < 4 { name.get(..3).unwrap_or_default() } else { &name }).markup("</span></th>");
    }
    html.markup("</tr><tr>");
    for day in days {
        html.markup("<th scope=\"col\"").markup(weekend(*day)).markup(">").number(u64::from(day.day())).markup("</th>");
    }
    html.markup("</tr></thead><tbody>\n");
    let origins = all.origins();
    for origin in &origins {
        let of = || all.collections.iter().filter(|collection| collection.source.as_ref() == *origin);
        if origins.len() > 1 {
            html.markup("<tr class=\"src\"><th scope=\"rowgroup\">")
                .text(of().next().map_or("", CollectionRow::source_name));
            html.markup("</th><td colspan=\"").number(days.len() as u64 + 1).markup("\"></td></tr>\n");
        }
        of().for_each(|collection| week(html, collection, all, days));
    }
    html.markup("</tbody></table></div></section>\n");
}

fn weekend(day: Date) -> &'static str {
    if matches!(day.weekday(), Weekday::Saturday | Weekday::Sunday) { " class=\"we\"" } else { "" }
}

fn week(html: &mut Html, collection: &CollectionRow, all: &Overview, days: &[Date]) {
    html.markup("<tr><th scope=\"row\" title=\"").text(&collection.name).markup("\">").text(&collection.name);
    html.markup("</th><td class=\"soft\">");
    let others = calendar::others(collection, days, all.made_at) as u64;
    if others > 0 {
        html.number(others);
    }
    html.markup("</td>");
    for day in days {
        html.markup("<td").markup(weekend(*day)).markup(">");
        match calendar::cell(collection, *day, all.made_at) {
            Some(cell) => {
                letter(html, cell.mark, cell.goes);
                if cell.sets > 1 {
                    html.markup("<sup>").number(cell.sets as u64).markup("</sup>");
                }
                html.markup("</b>")
            }
            None => html.markup("<span class=\"none\" aria-label=\"none\">\u{b7}</span>"),
        };
        html.markup("</td>");
    }
    html.markup("</tr>\n");
}

fn charts(html: &mut Html, all: &Overview, days: &[Date]) {
    html.markup("<section id=\"sizes\"><h2>Size over time</h2>\n<p class=\"soft small\">What the newest good set of each ")
        .markup("collection took on each day, all together: how much data a restore of everything would have read. Days whose sets ")
        .markup("retention has removed show the set before them.</p>\n<div class=\"charts\">");
    for origin in all.origins() {
        let of = all.collections.iter().filter(|collection| collection.source.as_ref() == origin);
        chart_of(html, of.clone().next().map_or("", CollectionRow::source_name), &chart::sizes(all, of, days), days);
    }
    html.markup("</div></section>\n");
}

fn chart_of(html: &mut Html, name: &str, figures: &[u64], days: &[Date]) {
    let top = chart::ceiling(figures.iter().copied().max().unwrap_or_default());
    let (first, last) = (figures.first().copied().unwrap_or_default(), figures.last().copied().unwrap_or_default());
    html.markup("<figure class=\"card\"><h3>").text(name).markup(" <span class=\"soft small\">").text(&size(last));
    html.markup(" now</span></h3><svg viewBox=\"0 0 3600 1400\" role=\"img\" aria-label=\"").text(name);
    html.text(&format!(": from {} to {}", size(first), size(last))).markup("\">");
    for (part, of) in [(0, 0), (1, top / 2), (2, top)] {
        let height = CHART.bottom - (CHART.bottom - CHART.top) / 2 * part;
        html.markup("<polyline class=\"grid\" points=\"").places(&[(CHART.left, height), (CHART.right, height)]);
        html.markup("\"/><text text-anchor=\"end\" x=\"680\" y=\"").text(&(height + 30).to_string()).markup("\">");
        html.text(&size(of).replace(".0 ", " ")).markup("</text>");
    }
    let points = chart::points(figures, top, CHART);
    html.markup("<polygon class=\"area\" points=\"").places(&[(CHART.left, CHART.bottom)]);
    html.places(&points).places(&[(CHART.right, CHART.bottom)]).markup("\"/>");
    line(html, &points);
    if let Some((x, y)) = points.last() {
        html.markup("<circle class=\"dot\" r=\"36\" cx=\"")
            .text(&x.to_string())
            .markup("\" cy=\"")
            .text(&y.to_string());
        html.markup("\"/>");
    }
    let middle = days.get(days.len() / 2);
    for (day, anchor) in [
        (days.first(), "<text y=\"1350\" x=\"760\">"),
        (middle, "<text y=\"1350\" x=\"2160\" text-anchor=\"middle\">"),
        (days.last(), "<text y=\"1350\" x=\"3560\" text-anchor=\"end\">"),
    ] {
        let Some(day) = day else { continue };
        html.markup(anchor).text(&timestamp::DATE.write(day.midnight().assume_utc())).markup("</text>");
    }
    html.markup("</svg></figure>\n");
}

fn retention(html: &mut Html, all: &Overview) {
    html.markup("<section id=\"retention\"><h2>Retention</h2>\n<p>");
    let rules = all.rules();
    if rules.is_empty() {
        html.markup("No rule is set: everything is kept.");
    }
    for rule in &rules {
        html.markup("<span class=\"tag s\">").text(rule).markup("</span> ");
    }
    html.markup("</p>\n<p class=\"soft small\">What <code>prune_snap</code> would do now by the settings of this run. It looks ")
        .markup("closer at the sets, and spares what a backup at work has made.</p>\n<div class=\"box\">");
    let several = all.origins().len() > 1;
    for collection in all.collections.iter().filter(|collection| !collection.sets.is_empty()) {
        html.markup("<details><summary><b>").text(&collection.name);
        if several {
            html.markup(" <span class=\"soft small\">").text(collection.source_name()).markup("</span>");
        }
        html.markup("</b>");
        match &collection.unknown {
            Some(why) => {
                html.markup("<span class=\"tag u\">? not known</span> <span class=\"small\">")
                    .text(why)
                    .markup("</span>");
            }
            None => planned(html, collection),
        }
        html.markup("</summary><div class=\"box\" tabindex=\"0\" style=\"border:0\"><table><thead><tr><th scope=\"col\">Set</th>")
            .markup("<th scope=\"col\">Age</th><th scope=\"col\">State</th><th scope=\"col\" class=\"n\">Size</th>")
            .markup("<th scope=\"col\">Retention</th><th scope=\"col\">Reason</th><th scope=\"col\">Label</th></tr></thead><tbody>");
        collection.sets.iter().rev().for_each(|set| one_set(html, set, all.made_at));
        html.markup("</tbody></table></div></details>\n");
    }
    html.markup("</div></section>\n");
}

fn planned(html: &mut Html, collection: &CollectionRow) {
    for (keep, word) in [(true, "keeps "), (false, "removes ")] {
        let (sets, bytes) = collection.judged(keep);
        html.markup("<span>").markup(word).number(sets as u64).markup(" <span class=\"soft small\">");
        html.text(&size(bytes)).markup("</span></span>");
    }
    let (orphans, bytes) = collection.orphans;
    if orphans > 0 {
        html.markup("<span>deletes ").number(orphans as u64).markup(" orphaned snapshots <span class=\"soft small\">");
        html.text(&size(bytes)).markup("</span></span>");
    }
}

fn one_set(html: &mut Html, set: &SetRow, now: OffsetDateTime) {
    html.markup("<tr><td><code>").text(&set.id).markup("</code></td><td>");
    html.text(&set.started.map_or("no date".to_owned(), |started| age(now - started))).markup("</td><td>");
    letter(html, calendar::mark(&set.standing), false);
    html.markup("</b> ").markup(set.standing.name()).markup("</td><td class=\"n\">");
    words(html, Some(set.bytes.map(size)));
    html.markup("</td><td>");
    match &set.verdict {
        Some((true, reason)) => html.markup("keeps</td><td class=\"w\">").text(reason),
        Some((false, reason)) => html.markup("<b>removes</b></td><td class=\"w\">").text(reason),
        None => html.markup("not known</td><td class=\"w\">"),
    };
    if let Some(why) =
        set.standing.why().filter(|why| set.verdict.as_ref().is_none_or(|(_, reason)| !reason.contains(why)))
    {
        html.markup(" <span class=\"soft\">").text(why).markup("</span>");
    }
    html.markup("</td><td>").text(set.label.as_deref().unwrap_or_default()).markup("</td></tr>\n");
}

fn foot(html: &mut Html, all: &Overview) {
    html.markup("<footer>");
    for note in &all.notes {
        html.markup("<p>").text(note).markup("</p>");
    }
    html.markup("<p>");
    match &all.verified_at {
        Some(at) => html.markup("The last <code>verify</code> whose report is in the bucket ended at ").text(at).markup("."),
        None => html
            .markup("No report of a <code>verify</code> is in the bucket, so that no set is shown as verified: run it with ")
            .markup("<code>QDRANT_REPORT_ON_S3=true</code>."),
    };
    html.markup("</p><p>Made by ").text(crate::CREATED_BY).markup(" <code>report</code>.</p></footer>\n");
    html.markup("</main>\n</body>\n</html>\n");
}
