//! Which sets of a collection are kept: a pure function of the sets, the rules and the time.

use time::{Date, OffsetDateTime};

use crate::settings::Keep;

/// A set, or a generation, as it was found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Candidate {
    /// When it was begun, where its id says so.
    pub started: Option<OffsetDateTime>,
    /// What is wrong with it; `None` for a good one.
    pub damage: Option<String>,
    /// Why it has to stay, whatever the rules say.
    pub pinned: Option<String>,
    /// Why all sets of its collection go: it was dropped at its source, for longer than such sets are kept.
    pub dropped: Option<String>,
    /// The id of its source, where its manifest says it.
    pub source: Option<String>,
    /// The peers that it was made on. Sets that name no source, or only one of which does, are of one where they have a
    /// peer in common, through however many others. The rules count for each source by itself.
    pub peers: Vec<u64>,
}

impl Candidate {
    fn is_of_the_source_of(&self, other: &Self) -> bool {
        match (&self.source, &other.source) {
            (Some(one), Some(other)) => one == other,
            _ => self.peers.iter().any(|peer| other.peers.contains(peer)),
        }
    }
}

/// What becomes of a set, and why.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Verdict {
    /// False: it may be deleted.
    pub keep: bool,
    /// The rules that keep it, or why none does.
    pub reason: String,
}

/// Judges `sets`, the oldest first. Where no rule is set, all are kept. Only good sets count for the rules, so that a
/// damaged one never pushes out a good one, and only those that were begun before `now`: a wrong clock pushes out
/// nothing either. The newest good set of each cluster is always kept, but where the collection was dropped. A damaged set goes when it is older than every good
/// set of its cluster that is kept: it may be all there is until then. What has no date in its id, or one in the future,
/// is left alone.
pub fn judge(sets: &[Candidate], keep: &Keep, now: OffsetDateTime) -> Vec<Verdict> {
    let mut verdicts = if keep.has_rules() {
        by_rules(sets, keep, now)
    } else {
        vec![Verdict { keep: true, reason: "no retention rule is set".to_owned() }; sets.len()]
    };
    for (set, verdict) in sets.iter().zip(&mut verdicts) {
        if let Some(reason) = set.dropped.as_ref().filter(|_| !of_itself(set, keep, now).keep) {
            *verdict = Verdict { keep: false, reason: reason.clone() };
        }
    }
    verdicts
}

fn by_rules(sets: &[Candidate], keep: &Keep, now: OffsetDateTime) -> Vec<Verdict> {
    let clusters = clusters(sets);
    let mut verdicts: Vec<Verdict> = sets.iter().map(|set| of_itself(set, keep, now)).collect();
    for cluster in 0..sets.len() {
        let mine = |place: &usize| clusters.get(*place) == Some(&cluster);
        let good: Vec<usize> = (0..sets.len())
            .rev()
            .filter(mine)
            .filter(|place| {
                sets.get(*place)
                    .is_some_and(|set| set.damage.is_none() && set.started.is_some_and(|started| started <= now))
            })
            .collect();
        for rule in RULES {
            let mut periods: Vec<i64> = Vec::new();
            for place in &good {
                let Some(started) = sets.get(*place).and_then(|set| set.started) else { continue };
                let period = if rule.name == "last" { periods.len() as i64 } else { (rule.period)(started) };
                if periods.len() as u64 >= (rule.count)(keep) {
                    break;
                }
                if !periods.contains(&period) {
                    periods.push(period);
                    note(&mut verdicts, *place, format!("{} {}", rule.name, periods.len()));
                }
            }
        }
        if let Some(newest) = good.first() {
            note(&mut verdicts, *newest, "the newest good set".to_owned());
        }
        let oldest_kept = good.iter().rev().find(|place| verdicts.get(**place).is_some_and(|verdict| verdict.keep));
        for place in (0..sets.len()).filter(mine) {
            let Some(damage) = sets.get(place).and_then(|set| set.damage.as_ref()) else { continue };
            if oldest_kept.is_none_or(|oldest| place > *oldest) {
                note(&mut verdicts, place, format!("damaged, and newer than the oldest set that is kept: {damage}"));
            } else if let Some(verdict) = verdicts.get_mut(place).filter(|verdict| !verdict.keep) {
                verdict.reason = format!("damaged: {damage}");
            }
        }
    }
    verdicts
}

struct Rule {
    name: &'static str,
    count: fn(&Keep) -> u64,
    /// Numbers the period in which a moment lies.
    period: fn(OffsetDateTime) -> i64,
}

const RULES: [Rule; 6] = [
    Rule { name: "last", count: |keep| keep.last, period: |_| 0 },
    Rule { name: "hourly", count: |keep| keep.hourly, period: |moment| moment.unix_timestamp().div_euclid(3600) },
    Rule { name: "daily", count: |keep| keep.daily, period: |moment| day(moment.date()) },
    // A Julian day that 7 divides is a Monday.
    Rule { name: "weekly", count: |keep| keep.weekly, period: |moment| day(moment.date()).div_euclid(7) },
    Rule {
        name: "monthly",
        count: |keep| keep.monthly,
        period: |moment| i64::from(moment.year()) * 12 + i64::from(u8::from(moment.month())),
    },
    Rule { name: "yearly", count: |keep| keep.yearly, period: |moment| i64::from(moment.year()) },
];

fn day(date: Date) -> i64 {
    i64::from(date.to_julian_day())
}

/// What can be said of a set without the others.
fn of_itself(set: &Candidate, keep: &Keep, now: OffsetDateTime) -> Verdict {
    let reason = match set.started {
        _ if set.pinned.is_some() => set.pinned.as_deref(),
        None => Some("its id has no date"),
        Some(started) if started > now => Some("its date is in the future"),
        Some(started) if set.damage.is_none() && now - started <= keep.within && !keep.within.is_zero() => {
            Some("young enough")
        }
        Some(_) => None,
    };
    Verdict { keep: reason.is_some(), reason: reason.unwrap_or("no rule keeps it").to_owned() }
}

fn note(verdicts: &mut [Verdict], place: usize, reason: String) {
    let Some(verdict) = verdicts.get_mut(place) else { return };
    verdict.reason = if verdict.keep { format!("{}, {reason}", verdict.reason) } else { reason };
    verdict.keep = true;
}

/// For every set the number of its cluster: the place of a set of that cluster. Sets of unknown peers belong to the
/// cluster of the known set before them, or else after them.
fn clusters(sets: &[Candidate]) -> Vec<usize> {
    let mut clusters: Vec<usize> = (0..sets.len()).collect();
    for (place, set) in sets.iter().enumerate() {
        let others = sets.iter().zip(clusters.iter().copied()).take(place);
        let same: Vec<usize> =
            others.filter(|(other, _)| other.is_of_the_source_of(set)).map(|(_, cluster)| cluster).collect();
        for cluster in clusters.iter_mut().filter(|cluster| same.contains(cluster)) {
            *cluster = place;
        }
    }
    let known = |place: &usize| sets.get(*place).is_some_and(|set| set.source.is_some() || !set.peers.is_empty());
    let nearest = |place: usize| {
        if known(&place) { Some(place) } else { (0..place).rev().chain(place..sets.len()).find(known) }
    };
    (0..sets.len()).map(|place| clusters.get(nearest(place).unwrap_or(0)).copied().unwrap_or(0)).collect()
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::indexing_slicing)]
mod tests {
    use super::super::SetId;
    use super::*;
    use std::time::Duration;
    use time::macros::datetime;

    const NOW: OffsetDateTime = datetime!(2026-03-02 12:00:00 UTC);
    const ONE: Keep = Keep {
        last: 1,
        hourly: 0,
        daily: 0,
        weekly: 0,
        monthly: 0,
        yearly: 0,
        within: Duration::ZERO,
        dropped: Duration::ZERO,
    };

    fn set(text: &str) -> Candidate {
        let (text, pinned) = text.strip_suffix(" pinned").map_or((text, false), |text| (text, true));
        let (text, damage) = text.strip_suffix(" damaged").map_or((text, None), |text| (text, Some("x".to_owned())));
        let (text, peer) = text.split_once(" of ").unwrap_or((text, "1"));
        let peers = peer.split('+').filter_map(|peer| peer.parse().ok()).collect();
        let pinned = pinned.then(|| "pinned".to_owned());
        Candidate { started: SetId::from_text(text).started(), damage, pinned, dropped: None, source: None, peers }
    }

    /// The texts of those that are kept.
    fn kept<'a>(sets: &[&'a str], keep: &Keep) -> Vec<&'a str> {
        let candidates: Vec<Candidate> = sets.iter().map(|text| set(text)).collect();
        let verdicts = judge(&candidates, keep, NOW);
        assert!(verdicts.iter().all(|verdict| !verdict.reason.is_empty()));
        sets.iter().zip(verdicts).filter(|(_, verdict)| verdict.keep).map(|(text, _)| *text).collect()
    }

    #[test]
    fn the_last_ones_are_kept_and_without_a_rule_all() {
        let sets = ["2026-01-01T00-00-00Z-a", "2026-01-02T00-00-00Z-a", "2026-01-03T00-00-00Z-a"];
        assert_eq!(kept(&sets, &Keep { last: 2, ..ONE }), sets[1..]);
        assert_eq!(kept(&sets, &Keep { last: 0, ..ONE }), sets);
        assert_eq!(kept(&sets, &Keep { last: 0, yearly: 1, ..ONE }), sets[2..]);
        assert_eq!(kept(&sets, &Keep { last: 9, ..ONE }), sets);
        assert!(kept(&[], &ONE).is_empty());
    }

    #[test]
    fn a_damaged_set_pushes_out_no_good_one_and_goes_as_the_oldest() {
        let sets = [
            "2026-01-01T00-00-00Z-a damaged",
            "2026-01-02T00-00-00Z-a",
            "2026-01-03T00-00-00Z-a",
            "2026-01-04T00-00-00Z-a damaged",
            "2026-01-05T00-00-00Z-a damaged",
        ];
        assert_eq!(kept(&sets, &ONE), sets[2..]);
        assert_eq!(kept(&sets[..1], &ONE), sets[..1], "all there is");
        assert_eq!(kept(&sets[3..], &ONE), sets[3..]);
    }

    #[test]
    fn what_is_kept_says_why_and_what_is_damaged_how() {
        let texts = [
            "2026-01-01T00-00-00Z-a damaged pinned",
            "2026-01-02T00-00-00Z-a damaged",
            "2026-01-03T00-00-00Z-a",
            "2026-01-04T00-00-00Z-a",
        ];
        let reasons: Vec<String> =
            judge(&texts.map(set), &ONE, NOW).into_iter().map(|verdict| verdict.reason).collect();
        assert_eq!(reasons, ["pinned", "damaged: x", "no rule keeps it", "last 1, the newest good set"]);
    }

    #[test]
    fn pinned_undated_and_young_ones_stay() {
        let sets = [
            "2020-01-01T00-00-00Z-a pinned",
            "2026-03-01T10-00-00Z-a",
            "2026-03-01T13-00-00Z-a",
            "2026-03-02T11-00-00Z-a",
            "2027-01-01T00-00-00Z-ahead-of-its-time",
            "by-hand",
        ];
        let within = Keep { last: 0, within: Duration::from_secs(86_400), ..ONE };
        assert_eq!(kept(&sets, &within), [sets[0], sets[2], sets[3], sets[4], sets[5]]);
    }

    #[test]
    fn a_date_in_the_future_takes_no_place() {
        let sets = [
            "2026-03-01T00-00-00Z-a",
            "2026-03-02T00-00-00Z-a",
            "2026-03-02T12-00-01Z-a-second-ahead",
            "2030-01-01T00-00-00Z-a damaged",
        ];
        assert_eq!(kept(&sets, &ONE), sets[1..]);
    }

    #[test]
    fn periods_are_those_that_have_a_set() {
        let sets = [
            "2024-06-01T00-00-00Z-a",
            "2025-12-31T23-59-59Z-a",
            "2026-01-31T00-00-00Z-a",
            "2026-02-01T00-00-00Z-a",
            "2026-02-22T23-00-00Z-a",
            "2026-02-23T01-00-00Z-a",
            "2026-02-23T01-30-00Z-a",
            "2026-02-23T02-00-00Z-a",
        ];
        assert_eq!(kept(&sets, &Keep { hourly: 2, last: 0, ..ONE }), [sets[6], sets[7]]);
        assert_eq!(kept(&sets, &Keep { daily: 2, last: 0, ..ONE }), [sets[4], sets[7]]);
        // The 23rd of February 2026 is a Monday.
        assert_eq!(kept(&sets, &Keep { weekly: 2, last: 0, ..ONE }), [sets[4], sets[7]]);
        assert_eq!(kept(&sets, &Keep { monthly: 3, last: 0, ..ONE }), [sets[1], sets[2], sets[7]]);
        assert_eq!(kept(&sets, &Keep { yearly: 9, last: 0, ..ONE }), [sets[0], sets[1], sets[7]]);
    }

    #[test]
    fn every_cluster_counts_for_itself() {
        let sets = [
            "2026-01-01T00-00-00Z-a of 1+2",
            "2026-01-02T00-00-00Z-b of 7",
            "2026-01-03T00-00-00Z-a of 2+3",
            "2026-01-04T00-00-00Z-b of 7+8",
            "2026-01-05T00-00-00Z-a of 3+4",
        ];
        assert_eq!(kept(&sets, &ONE), [sets[3], sets[4]]);
        // A damaged manifest does not say where it is from.
        assert_eq!(clusters(&[set("y of -"), set(sets[0]), set("x of -"), set(sets[1])]), [1, 1, 1, 3]);
        assert_eq!(clusters(&[set("y of -"), set("x of -")]), [0, 0]);
    }

    #[test]
    fn of_a_dropped_collection_even_the_newest_good_set_goes() {
        let texts = [
            "2020-01-01T00-00-00Z-a pinned",
            "2026-01-01T00-00-00Z-a damaged",
            "2026-01-02T00-00-00Z-a",
            "2027-01-01T00-00-00Z-ahead-of-its-time",
            "by-hand",
            "2026-03-02T11-00-00Z-a",
            "2026-01-03T00-00-00Z-b of 7",
        ];
        let dropped = texts.map(|text| Candidate { dropped: Some("dropped".to_owned()), ..set(text) });
        let other = set(texts[6]);
        let sets: Vec<Candidate> = dropped[..6].iter().cloned().chain([other]).collect();
        let day = Duration::from_secs(86_400);
        for keep in [Keep { within: day, ..ONE }, Keep { last: 0, within: day, ..ONE }] {
            let kept: Vec<bool> = judge(&sets, &keep, NOW).into_iter().map(|verdict| verdict.keep).collect();
            // The young one, and the other source's.
            assert_eq!(kept, [true, false, false, true, true, true, true]);
        }
        let without = judge(&sets, &Keep { last: 0, ..ONE }, NOW);
        assert_eq!(
            without.iter().map(|verdict| verdict.keep).collect::<Vec<_>>(),
            [true, false, false, true, true, false, true]
        );
    }

    #[test]
    fn a_source_is_known_by_its_id_before_its_peers() {
        let of = |text: &str, source: &str| {
            let source = (!source.is_empty()).then(|| source.to_owned());
            Candidate { source, ..set(text) }
        };
        // All peers of `a` were replaced one by one; `b` has taken over a volume of it.
        let sets = [of("x of 1", ""), of("x of 1", "a"), of("x of 2", "a"), of("x of 1", "b")];
        assert_eq!(clusters(&sets[..3]), [2, 2, 2]);
        assert_eq!(clusters(&sets[1..]), [1, 1, 2]);
    }

    /// Whatever the rules: the newest good set of a cluster stays, and more generous rules never keep less.
    #[test]
    fn more_generous_rules_keep_more() {
        let mut number = 7_u64;
        let mut next = |limit: u64| {
            number = number.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            (number >> 33) % limit
        };
        for _ in 0..300 {
            let mut sets: Vec<Candidate> = (0..next(30))
                .map(|_| {
                    let text = format!("2026-0{}-1{}T0{}-00-00Z-{}", 1 + next(9), next(9), next(9), next(1000));
                    let damage = (next(4) == 0).then(|| "x".to_owned());
                    let pinned = (next(9) == 0).then(|| "pinned".to_owned());
                    Candidate { damage, pinned, ..set(&text) }
                })
                .collect();
            sets.sort_by_key(|set| set.started);
            let keep = Keep { last: 1 + next(3), daily: next(4), monthly: next(4), ..ONE };
            let more = Keep { last: keep.last + 1, daily: keep.daily + next(2), yearly: 1, ..keep };
            let (few, many) = (judge(&sets, &keep, NOW), judge(&sets, &more, NOW));
            assert!(few.iter().zip(&many).all(|(few, many)| !few.keep || many.keep));
            let newest = sets.iter().rposition(|set| set.damage.is_none());
            assert!(newest.is_none_or(|newest| few[newest].keep));
        }
    }
}
