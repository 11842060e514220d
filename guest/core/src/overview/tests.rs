#![allow(clippy::unwrap_used, clippy::indexing_slicing)]

use time::macros::datetime;
use time::{Duration, OffsetDateTime};

use super::*;
use crate::timestamp;

const NOW: OffsetDateTime = datetime!(2026-03-18 06:30:00 UTC);

pub(super) fn set(days_ago: i64, standing: Standing) -> SetRow {
    let started = NOW - Duration::days(days_ago) - Duration::hours(3);
    SetRow {
        id: format!("{}-backup-0", timestamp::KEY.write(started)),
        started: Some(started),
        bytes: Some(3 << 30),
        points: Some(1_234_567),
        replicas: Some(2),
        drilled_at: matches!(standing, Standing::Good(Level::Drilled))
            .then(|| timestamp::RFC3339.write(started + Duration::days(1))),
        standing,
        verdict: Some((true, "daily 1".to_owned())),
        label: None,
    }
}

pub(super) fn collection(name: &str, sets: Vec<SetRow>) -> CollectionRow {
    CollectionRow {
        source: Some(("5d41402abc4b2a76".to_owned(), "prod".to_owned())),
        name: name.to_owned(),
        sets,
        dropped: Some(false),
        whole: None,
        orphans: (0, 0),
        not_swept: None,
        unknown: None,
    }
}

pub(super) fn overview(collections: Vec<CollectionRow>) -> Overview {
    Overview {
        made_at: NOW,
        bucket: "qdrant-snapshots/team-search".to_owned(),
        max_age: Duration::days(2),
        keep: Keep { last: 2, daily: 14, weekly: 8, ..Keep::default() },
        sources: vec![SourceRow {
            id: "5d41402abc4b2a76".to_owned(),
            name: "prod".to_owned(),
            peers: 3,
            collections: collections.len(),
            sets: 7,
            snapshots: 0,
            newest: Some(NOW - Duration::hours(3)),
            seen_at: Some("2026-03-18T03:30:00Z".to_owned()),
        }],
        collections,
        verified_at: Some("2026-03-16T05:12:40Z".to_owned()),
        not_known: Vec::new(),
        notes: Vec::new(),
    }
}

fn good(level: Level) -> Standing {
    Standing::Good(level)
}

/// Weeks of 40 collections of a cluster of three peers, and some of a second one.
fn weeks() -> Overview {
    let names = [
        "products", "reviews", "tickets", "faq", "mails", "wiki", "chat", "images", "logos", "songs", "papers",
        "patents", "recipes", "laws", "news",
    ];
    let mut collections = Vec::new();
    for number in 0..46_usize {
        let second = number >= 40;
        let name = match number / names.len() {
            0 => names[number % names.len()].to_owned(),
            round => format!("{}-v{}", names[number % names.len()], round + 1),
        };
        let size = 40_000_000 + (number as u64 * 7_919_773 % 97) * 61_000_000;
        let mut sets = Vec::new();
        for days_ago in (0..33_i64).rev() {
            let weekly = days_ago > 14 && (NOW - Duration::days(days_ago)).date().to_julian_day() % 7 != 0;
            let skipped = (number + days_ago as usize * 5).is_multiple_of(61) || number == 12 && days_ago < 5;
            let new = number == 21 && days_ago > 9;
            if weekly || skipped || new {
                continue;
            }
            let standing = match (number, days_ago) {
                (5, 2) => Standing::Failed(
                    "the snapshot of shard 1 (`snapshots/wiki/shards/1/wiki-1.snapshot`): the object is missing"
                        .to_owned(),
                ),
                (17, 0..=1) => Standing::Partial("it is partial: it lacks shard 2".to_owned()),
                (30, 3) => Standing::Unknown("the snapshot of shard 0: status 503 SlowDown".to_owned()),
                (9, 6) => Standing::Failed(
                    "`verify` has found: its SHA-256 is another one: it is not the one that was made".to_owned(),
                ),
                (7, _) => good(Level::Recorded),
                (_, 4 | 18) if number % 3 == 0 => good(Level::Drilled),
                (_, 2..) if !second => Standing::Verified(Level::Restorable),
                _ => good(Level::Restorable),
            };
            let grown =
                size + size / 45 * (32 - days_ago as u64) + (number as u64 * days_ago as u64 * 977 % 13) * 900_000;
            let keep = days_ago < 13 || days_ago % 7 == 4;
            let bytes = if number == 28 && days_ago < 6 { grown / 3 } else { grown };
            sets.push(SetRow {
                bytes: (!matches!(standing, Standing::Unknown(_))).then_some(bytes),
                points: Some(bytes / 3_300),
                replicas: Some(if number % 13 == 4 { 1 } else { 2 }),
                verdict: (number != 30).then(|| match keep {
                    true => (
                        true,
                        if days_ago == 0 {
                            "last 1, daily 1, the newest good set".to_owned()
                        } else {
                            format!("daily {}", days_ago + 1)
                        },
                    ),
                    false => (false, "no rule keeps it".to_owned()),
                }),
                label: (number == 3 && days_ago == 1).then(|| "before the migration".to_owned()),
                ..set(days_ago, standing)
            });
        }
        let mut one = collection(&name, sets);
        match number {
            12 => one.dropped = Some(false),
            25 => {
                one.dropped = Some(true);
                one.sets.retain(|set| set.started.unwrap() < NOW - Duration::days(11));
            }
            30 => one.unknown = Some("the set: the snapshot of shard 0: status 503 SlowDown".to_owned()),
            33 => {
                one.whole = Some(WholeSnapshots { count: 6, bytes: 14 << 30, newest: Some(NOW - Duration::days(40)) })
            }
            _ => {}
        }
        if second {
            one.source = Some(("098f6bcd4621d373".to_owned(), "staging.search.svc".to_owned()));
        }
        collections.push(one);
    }
    collections.sort_by(|left, right| (&left.name, &left.source).cmp(&(&right.name, &right.source)));
    let mut all = overview(collections);
    all.sources.push(SourceRow {
        id: "098f6bcd4621d373".to_owned(),
        name: "staging.search.svc".to_owned(),
        peers: 1,
        collections: 6,
        sets: 96,
        snapshots: 6,
        newest: Some(NOW - Duration::hours(3)),
        seen_at: None,
    });
    (all.sources[0].sets, all.sources[0].collections) = (660, 40);
    all.not_known =
        vec!["products-v3, set 2026-03-15T03-30-00Z-backup-0: the snapshot of shard 0: status 503 SlowDown".to_owned()];
    all
}

/// `QDRANT_TEST_PAGE=FILE` writes the page there, to look at it.
#[test]
fn a_page_of_weeks_has_every_collection_in_every_part() {
    let all = weeks();
    let page = page(&all);
    if let Ok(file) = std::env::var("QDRANT_TEST_PAGE") {
        std::fs::write(file, &page).unwrap();
    }
    for one in &all.collections {
        // The table, the calendar, and retention.
        let in_them = |after: &str| page.matches(&format!(">{}{after}", one.name)).count();
        assert!(in_them("<") + in_them(" <") >= 3, "{}", one.name);
    }
}

fn kinds(one: CollectionRow) -> Vec<&'static str> {
    let all = overview(vec![one]);
    risk::of_collection(&all.collections[0], &all).iter().map(|(kind, _)| kind.name()).collect()
}

fn drilled(days_ago: i64) -> SetRow {
    set(days_ago, good(Level::Drilled))
}

#[test]
fn each_risk_is_told_and_what_is_well_is_none() {
    let with = |sets: Vec<SetRow>| collection("docs", sets);
    assert_eq!(kinds(with(vec![drilled(0)])), [""; 0]);
    assert_eq!(kinds(with(vec![drilled(2)])), ["too-old"]);
    assert_eq!(kinds(with(vec![drilled(1), set(0, good(Level::Recorded))])), [""; 0]);
    assert_eq!(kinds(with(vec![set(0, Standing::Verified(Level::Restorable))])), ["never-drilled"]);
    assert_eq!(kinds(with(vec![SetRow { replicas: Some(1), ..drilled(0) }])), ["one-replica"]);
    assert_eq!(kinds(with(vec![SetRow { replicas: None, ..drilled(0) }])), [""; 0]);
    let failed = || Standing::Failed("gone".to_owned());
    assert_eq!(kinds(with(vec![set(0, failed())])), ["no-good-backup", "failed-sets", "never-drilled"]);
    assert_eq!(kinds(with(vec![drilled(3), set(0, failed())])), ["too-old", "failed-sets"]);
    assert_eq!(kinds(with(vec![drilled(1), set(0, Standing::Unknown("503".to_owned()))])), ["not-known"]);
    assert_eq!(kinds(with(vec![drilled(1), set(0, Standing::Partial("1".to_owned()))])), ["partial-newest"]);
    assert_eq!(kinds(with(vec![drilled(3), set(-5, good(Level::Drilled))])), ["too-old", "ahead"]);
    let dropped = CollectionRow {
        dropped: Some(true),
        ..with(vec![SetRow { replicas: Some(1), ..set(9, good(Level::Checked)) }])
    };
    assert_eq!(kinds(dropped), ["dropped"]);
    let left = CollectionRow { not_swept: Some("7 snapshots".to_owned()), ..with(vec![drilled(0)]) };
    assert_eq!(kinds(left), ["not-swept"]);
    // Its sets can't be listed.
    let unlisted = CollectionRow { unknown: Some("403".to_owned()), ..with(Vec::new()) };
    assert_eq!(kinds(unlisted), ["not-known"]);
    assert_eq!(kinds(with(Vec::new())), ["no-good-backup"]);
    let whole = |days_ago: i64| WholeSnapshots { count: 1, bytes: 1, newest: Some(NOW - Duration::days(days_ago)) };
    assert_eq!(kinds(CollectionRow { whole: Some(whole(1)), ..with(Vec::new()) }), [""; 0]);
    assert_eq!(kinds(CollectionRow { whole: Some(whole(3)), ..with(Vec::new()) }), ["too-old"]);
}

#[test]
fn a_day_shows_the_worst_of_its_sets() {
    let mut one =
        collection("docs", vec![drilled(40), drilled(2), set(2, Standing::Partial(String::new())), drilled(1)]);
    for set in &mut one.sets[1..3] {
        set.verdict = Some((false, String::new()));
    }
    one.sets.push(SetRow { started: None, ..drilled(0) });
    one.sets.push(set(-3, good(Level::Drilled)));
    let all = overview(vec![one]);
    let (days, one) = (calendar::days(&all), &all.collections[0]);
    assert_eq!((days.len(), days.last()), (35, Some(&NOW.date())));
    let cell = |days_ago: i64| calendar::cell(one, (NOW - Duration::days(days_ago)).date(), NOW);
    let two = cell(2).unwrap();
    assert_eq!((calendar::MARKS[two.mark].0, two.sets, two.goes), ("P", 2, true));
    let day = cell(1).unwrap();
    assert_eq!((calendar::MARKS[day.mark].0, day.sets, day.goes), ("D", 1, false));
    assert!(cell(0).is_none());
    assert_eq!(calendar::others(one, &days, NOW), 3, "too old, without a date, in the future");
    // No two states look alike where colours are not seen.
    let letters: BTreeSet<&str> = calendar::MARKS.iter().map(|(letter, ..)| *letter).collect();
    assert_eq!(letters.len(), calendar::MARKS.len());
    assert_eq!(calendar::days(&overview(Vec::new())).len(), 7);
}

#[test]
fn sizes_go_on_until_a_collection_is_dropped() {
    let sized = |days_ago: i64, bytes: u64| SetRow { bytes: Some(bytes), ..drilled(days_ago) };
    let bad = SetRow { bytes: Some(99), ..set(1, Standing::Failed(String::new())) };
    let there = collection("a", vec![sized(4, 10), sized(2, 20), bad]);
    let gone = CollectionRow { dropped: Some(true), ..collection("b", vec![sized(4, 100), sized(3, 200)]) };
    let all = overview(vec![there, gone]);
    let days = calendar::days(&all);
    assert_eq!(chart::sizes(&all, all.collections.iter(), &days), [0, 0, 110, 210, 20, 20, 20]);
}

#[test]
fn points_stay_within_their_chart() {
    let area = chart::Area { left: 10, right: 110, top: 5, bottom: 55 };
    assert_eq!(chart::points(&[0, 50, 100], 100, area), [(10, 55), (60, 30), (110, 5)]);
    assert_eq!(chart::points(&[7], 0, area), [(10, 55)]);
    assert_eq!(chart::points(&[u64::MAX; 2], u64::MAX, area), [(10, 5), (110, 5)]);
    let tops = [0, 1, 900, 1_100, 5 << 30, 161 << 30, u64::MAX].map(chart::ceiling);
    assert_eq!(tops, [1, 1, 1000, 2 << 10, 6 << 30, 200 << 30, u64::MAX]);
}

#[test]
fn a_page_is_whole_and_has_no_way_out() {
    let page = page(&weeks());
    for part in [
        "prefers-color-scheme:dark",
        "color-scheme:light dark",
        "@media print",
        "max-width:640px",
        "overflow-x:auto",
        "<svg",
    ] {
        assert!(page.contains(part), "{part} is not in the page");
    }
    // The one `http` is of `http-equiv`.
    for part in ["http:", "https:", "src=", "<script", "url(", "@import", "<link", "<iframe", "onload"] {
        assert!(!page.contains(part), "{part} is in the page");
    }
    for tag in
        ["table", "tr", "td", "th", "div", "section", "details", "summary", "ul", "li", "span", "b", "svg", "figure"]
    {
        let opened = page.matches(&format!("<{tag}>")).count() + page.matches(&format!("<{tag} ")).count();
        assert_eq!(opened, page.matches(&format!("</{tag}>")).count(), "{tag}");
    }
}

/// Wherever a word from elsewhere stands.
#[test]
fn no_word_from_elsewhere_is_markup() {
    let word = "<script>\"'&`</title>";
    let bad = || word.to_owned();
    let sets = [Standing::Failed(bad()), Standing::Partial(bad()), Standing::Unknown(bad()), good(Level::Drilled)];
    let sets = sets.into_iter().map(|standing| SetRow {
        id: bad(),
        label: Some(bad()),
        drilled_at: Some(bad()),
        verdict: Some((true, format!("{word} kept"))),
        ..set(0, standing)
    });
    let one = |source: &str| CollectionRow {
        source: Some((bad(), source.to_owned())),
        unknown: Some(bad()),
        not_swept: Some(bad()),
        ..collection(word, Vec::new())
    };
    let all = Overview {
        bucket: bad(),
        verified_at: Some(bad()),
        not_known: vec![bad()],
        notes: vec![bad()],
        ..overview(vec![CollectionRow { sets: sets.collect(), ..one(word) }, one("other")])
    };
    let source = SourceRow {
        id: bad(),
        name: bad(),
        seen_at: Some(bad()),
        newest: None,
        ..overview(Vec::new()).sources.remove(0)
    };
    let page = page(&Overview { sources: vec![source], ..all });
    assert!(!page.contains("<script") && !page.contains(word));
    assert_eq!(page.matches("</title>").count(), 1);
    assert!(page.matches("&lt;script&gt;&quot;&#39;&amp;&#96;&lt;/title&gt;").count() > 30);
    assert!(!table(&overview(vec![collection("a\u{1b}[31m\nb", Vec::new())])).contains('\u{1b}'));
}

#[test]
fn what_is_not_known_comes_first_and_is_never_well() {
    let of = |all: &Overview| {
        let page = page(all);
        page.split_once("<div class=\"say ").unwrap().1.split_once("</div>").unwrap().0.to_owned()
    };
    let well = overview(vec![collection("docs", vec![drilled(0)])]);
    assert!(of(&well).starts_with("g\">Every collection has"));
    let unknown =
        Overview { not_known: vec!["the locks".to_owned()], ..overview(vec![collection("docs", vec![drilled(0)])]) };
    assert!(of(&unknown).starts_with("b\">This page is not complete") && of(&unknown).contains("the locks"));
    assert!(table(&unknown).ends_with("not known: the locks\n"));
    assert!(of(&overview(Vec::new())).contains("no backups"));
    assert!(of(&overview(vec![collection("docs", vec![drilled(3)])])).contains("1 of 1 collections are at risk."));
    assert!(of(&overview(vec![collection("docs", vec![set(0, good(Level::Checked))])])).starts_with("w\">"));
}

#[test]
fn spans_are_exact() {
    let seconds = [0, 59, 60, 5400, 7200, 172_800].map(|seconds| span(std::time::Duration::from_secs(seconds)));
    assert_eq!(seconds, ["0s", "59s", "1m", "90m", "2h", "2d"]);
}
