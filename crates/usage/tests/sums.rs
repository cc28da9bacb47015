//! Sums are the same however they are grouped, ordered, written down and read again; and names are bounded.

#![allow(clippy::unwrap_used, reason = "functions that tests call are tests too")]

use proptest::prelude::*;
use std::{collections::HashMap, sync::Arc, time::Duration};
use usage::{
    Billable, Breakdown, Cell, Column, Cost, Counted, Counters, Days, Family, Folded, KeyDetail, KeyUse,
    Labels, ModelNames, Money, OTHER, Query, QueryError, QueryStep, Report, RequestOutcome, Sample, StepSize,
    Sums, Times, Totals, fold,
};

fn name(text: &str) -> Arc<str> {
    text.into()
}

prop_compose! {
    fn samples()(
        caller in 0..3_u8, model in 0..4_u8, proven: bool, tries in proptest::collection::vec(0..3_u8, 0..4),
        outcome in 0..RequestOutcome::ALL.len(), tokens in proptest::collection::vec(prop_oneof![0..1000_u64, Just(u64::MAX)], 5),
        cost in prop_oneof![Just(Cost::Free), Just(Cost::Unknown), (0..1_000_000_u64).prop_map(|n| Cost::Known(Money::from_billionths(n)))],
        bytes in 0..10_000_u64, duration in 0..1_000_000_u64, first in proptest::option::of(0..1_000_000_u64),
    ) -> Sample {
        Sample {
            caller: name(&format!("caller-{caller}")),
            model: (model > 0).then(|| name(&format!("model-{model}"))),
            proven,
            tries: tries.into_iter().map(|key| KeyUse { key: name(&format!("key-{key}")), project: name(&format!("p-{}", key / 2)) }).collect(),
            counted: Counted { outcome: RequestOutcome::ALL[outcome], cost, totals: Totals { billable: Billable { input: tokens[0], cached: tokens[1], output: tokens[2], thoughts: tokens[3], tool: tokens[4], prompt: 0 }, bytes_in: bytes, bytes_out: bytes * 2, ..Totals::of_one(Duration::from_millis(duration), first.map(Duration::from_millis)) } },
            times: Times::of_one(Duration::from_millis(duration), first.map(Duration::from_millis)),
        }
    }
}

/// Samples with the second in which each ends: within some hours, around a change of clocks.
fn histories() -> impl Strategy<Value = Vec<(i64, Sample)>> {
    proptest::collection::vec((0..12_000_i64, samples()), 0..40)
        .prop_map(|all| all.into_iter().map(|(at, sample)| (1_793_484_000 + at, sample)).collect())
}

/// All names are known, so that the order in which they come does not matter.
fn names() -> ModelNames {
    ModelNames::new(10, (1..4).map(|n| name(&format!("model-{n}"))))
}

/// The sums of each second by itself.
fn seconds(history: &[(i64, Sample)], detail: KeyDetail) -> Vec<Sums> {
    let mut seconds: HashMap<i64, Sums> = HashMap::new();
    for (at, sample) in history {
        seconds.entry(*at).or_insert_with(|| Sums::new(*at)).count(sample, &mut names(), detail);
    }
    seconds.into_values().collect()
}

fn merged(mut folded: Folded, more: Folded) -> Folded {
    for (place, cell) in more {
        folded.entry(place).or_default().merge(&cell);
    }
    folded
}

/// But for the peaks, which need whole minutes.
fn without_peaks(folded: Folded) -> Folded {
    folded.into_iter().map(|(place, cell)| (place, Cell { peak: 0, ..cell })).collect()
}

fn sum_of<'c>(cells: impl IntoIterator<Item = &'c Cell>) -> Counters {
    let mut sum = Counters::default();
    cells.into_iter().for_each(|cell| sum.merge(&cell.counters));
    sum
}

fn details() -> impl Strategy<Value = KeyDetail> {
    prop_oneof![Just(KeyDetail::Models), Just(KeyDetail::Alone)]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]

    #[test]
    fn sums_are_the_same_in_any_order_and_grouping(
        history in histories(), order in any::<u64>(), cuts in proptest::collection::vec(0..40_usize, 0..6), detail in details(),
    ) {
        let days = Days::of("Europe/Berlin").unwrap();
        let whole = fold(&seconds(&history, detail), &days);
        let mut shuffled = history.clone();
        // Any order will do.
        shuffled.sort_by_key(|(at, sample)| at.cast_unsigned().wrapping_mul(order | 1) ^ sample.counted.totals.bytes_in.rotate_left(7));
        let mut cuts: Vec<_> = cuts.into_iter().map(|cut| cut.min(history.len())).collect();
        cuts.extend([0, history.len()]);
        cuts.sort_unstable();
        let parts = cuts.windows(2).map(|cut| fold(&seconds(&shuffled[cut[0]..cut[1]], detail), &days));
        let together = parts.fold(Folded::default(), merged);
        prop_assert_eq!(without_peaks(together), without_peaks(whole.clone()));
        let in_order = fold(&seconds(&shuffled, detail), &days);
        prop_assert_eq!(in_order, whole);
    }

    #[test]
    fn each_family_of_each_step_counts_every_request_once(history in histories(), detail in details()) {
        let days = Days::of("Asia/Kolkata").unwrap();
        let folded = fold(&seconds(&history, detail), &days);
        let expected = u64::try_from(history.len()).unwrap();
        let attempts: u64 = history.iter().map(|(_, sample)| sample.tries.len() as u64).sum();
        for step in StepSize::ALL {
            let mut families: HashMap<Family, Vec<&Cell>> = HashMap::new();
            for ((size, _, labels), cell) in &folded {
                if *size == step {
                    families.entry(labels.family()).or_default().push(cell);
                }
            }
            prop_assert_eq!(families.is_empty(), history.is_empty());
            for (family, cells) in families {
                let sum = sum_of(cells);
                prop_assert_eq!((sum.requests, sum.attempts), (expected, attempts), "{:?} {:?}", step, family);
                let ends = sum.answered + sum.client_errors + sum.refused_caller + sum.refused_pool + sum.refused_google
                    + sum.failed + sum.left + sum.broken;
                prop_assert_eq!(ends, expected);
                prop_assert_eq!(sum.retries, attempts - history.iter().filter(|(_, sample)| !sample.tries.is_empty()).count() as u64);
            }
        }
    }

    #[test]
    fn what_is_written_down_is_read_again(history in histories(), detail in details()) {
        for sums in seconds(&history, detail) {
            prop_assert_eq!(&Sums::decode(&sums.encode()).unwrap(), &sums);
            for (labels, cell) in sums.cells() {
                let bytes = labels.encode();
                prop_assert_eq!(&Labels::decode(&bytes).unwrap(), labels);
                for end in 0..bytes.len() {
                    prop_assert!(Labels::decode(&bytes[..end]).is_err());
                }
                let bytes = cell.encode();
                prop_assert_eq!(&Cell::decode(&bytes).unwrap(), cell);
                for end in 0..bytes.len() {
                    prop_assert!(Cell::decode(&bytes[..end]).is_err());
                }
            }
        }
    }

    #[test]
    fn no_bytes_make_reading_panic(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
        let _ = Cell::decode(&bytes);
        let _ = Labels::decode(&bytes);
        let _ = Sums::decode(&bytes);
        let mut begun = vec![1];
        begun.extend(bytes);
        let _ = Cell::decode(&begun);
        let _ = Sums::decode(&begun);
    }

    #[test]
    fn a_question_is_answered_by_the_rows_of_its_breakdown_as_by_the_sums_themselves(
        history in histories(), detail in details(),
        by in proptest::sample::subsequence(vec![Column::Caller, Column::Key, Column::Project, Column::Model], 0..=4),
        step in prop_oneof![Just(QueryStep::Hour), Just(QueryStep::Day), Just(QueryStep::Month), Just(QueryStep::All)],
        long: bool, filter in proptest::option::of(Just((Column::Model, "model-1".to_owned()))),
    ) {
        let days = Days::of("America/New_York").unwrap();
        let from = if long { 1_793_000_000 } else { 1_793_484_000 };
        let filter = filter.into_iter().collect();
        let query = Query { from, to: 1_793_500_000, step, by, filter, most_rows: Query::MOST_ROWS };
        let Ok(breakdown) = Breakdown::of(&query) else {
            prop_assert_eq!(query.families(), Err(QueryError::CallerAndKey));
            return Ok(());
        };
        let sums = seconds(&history, detail);
        let mut expected = Report::new(query.clone(), days).unwrap();
        expected.add_unfolded(&sums);
        let step = if query.stored_step() == StepSize::Hour { QueryStep::Hour } else { QueryStep::Day };
        let told = Query { step, by: breakdown.columns(), filter: Vec::new(), ..query.clone() };
        let mut table = Report::new(told, days).unwrap();
        table.add_unfolded(&sums);
        let mut found = Report::new(query, days).unwrap();
        for row in table.rows() {
            found.add(row.from, &breakdown.labels(&row.labels).unwrap(), &row.cell);
        }
        prop_assert_eq!(found.rows(), expected.rows());
    }

    #[test]
    fn a_report_is_the_same_whatever_is_folded_already(
        history in histories(), cut in 0..40_usize,
        by in proptest::sample::subsequence(vec![Column::Caller, Column::Model], 0..=2),
        step in prop_oneof![Just(QueryStep::Hour), Just(QueryStep::Day), Just(QueryStep::Month), Just(QueryStep::All)],
    ) {
        let days = Days::of("America/New_York").unwrap();
        let query = Query { from: 1_793_484_000, to: 1_793_500_000, step, by, filter: Vec::new(), most_rows: Query::MOST_ROWS };
        let mut unfolded = Report::new(query.clone(), days).unwrap();
        unfolded.add_unfolded(&seconds(&history, KeyDetail::Models));
        let cut = cut.min(history.len());
        let mut half = Report::new(query.clone(), days).unwrap();
        for ((size, at, labels), cell) in fold(&seconds(&history[..cut], KeyDetail::Models), &days) {
            if size == query.stored_step() && query.families().unwrap().contains(&labels.family()) {
                half.add(at, &labels, &cell);
            }
        }
        half.add_unfolded(&seconds(&history[cut..], KeyDetail::Models));
        let rows = |report: Report| report.rows().into_iter().map(|row| (row.from, row.to, row.labels, row.cell.counters)).collect::<Vec<_>>();
        let unfolded = rows(unfolded);
        prop_assert_eq!(unfolded.iter().map(|row| row.3.requests).sum::<u64>(), history.len() as u64);
        prop_assert_eq!(rows(half), unfolded);
    }
}

fn sample(model: &str, proven: bool) -> Sample {
    Sample {
        caller: name("alice"),
        model: Some(name(model)),
        proven,
        tries: vec![KeyUse { key: name("key"), project: name("p") }],
        counted: Counted {
            outcome: RequestOutcome::Answered,
            cost: Cost::Free,
            totals: Totals::of_one(Duration::from_millis(1), None),
        },
        times: Times::of_one(Duration::from_millis(1), None),
    }
}

#[test]
fn ten_thousand_made_up_models_make_501_cells() {
    for proven in [true, false] {
        let mut names = ModelNames::new(500, []);
        let mut sums = Sums::new(0);
        for n in 0..10_000 {
            sums.count(&sample(&format!("made-up-{n}"), proven), &mut names, KeyDetail::Models);
        }
        let models = sums.cells().iter().filter(|(labels, _)| labels.family() == Family::Model);
        assert_eq!(models.clone().count(), if proven { 501 } else { 1 });
        let other = models.clone().find(|(labels, _)| labels.model.as_deref() == Some(OTHER)).unwrap().1;
        assert_eq!(other.counters.requests, if proven { 9_500 } else { 10_000 });
        assert_eq!(sums.requests(), 10_000);
    }
}

#[test]
fn a_model_counts_by_itself_only_after_a_success() {
    let mut names = ModelNames::new(2, [name("kept")]);
    let mut named = |model: &str, proven| names.name(Some(&name(model)), proven).to_string();
    assert_eq!(named("a", false), OTHER);
    assert_eq!(named("a", true), "a");
    assert_eq!(named("a", false), "a");
    assert_eq!(named("kept", false), "kept");
    assert_eq!(named("b", true), OTHER, "there is room for two");
    assert_eq!(names.name(None, true).to_string(), "");
    assert_eq!(ModelNames::new(5, []).name(Some(&name(&"x".repeat(201))), true).to_string(), OTHER);
}

#[test]
fn a_peak_is_the_most_requests_of_one_minute() {
    let count = |at: i64, times: usize| {
        let mut sums = Sums::new(at);
        (0..times).for_each(|_| {
            drop(sums.count(&sample("m", true), &mut ModelNames::new(5, []), KeyDetail::Models));
        });
        sums
    };
    let days = Days::default();
    // Two seconds of one minute, and one of the next.
    let folded = fold(&[count(0, 3), count(59, 4), count(60, 6)], &days);
    let peak = |step, at, labels| folded[&(step, at, labels)].peak;
    let pair = Labels::caller(name("alice")).and_model(name("m"));
    assert_eq!(peak(StepSize::Hour, 0, pair.clone()), 7);
    assert_eq!(peak(StepSize::Day, 0, pair), 7);
    assert_eq!(peak(StepSize::Minute, 60, Labels::total()), 6);
    // Minutes folded at different times: the larger counts.
    let later = fold(&[count(120, 9)], &days);
    let hour = (StepSize::Hour, 0, Labels::model(name("m")));
    assert_eq!(merged(folded, later)[&hour].peak, 9);
}

#[test]
fn keys_are_told_apart_by_model_until_there_would_be_too_many_pairs() {
    assert_eq!(KeyDetail::of(50, 20), KeyDetail::Models);
    assert_eq!(KeyDetail::of(1_000, 20), KeyDetail::Models);
    assert_eq!(KeyDetail::of(10_000, 3), KeyDetail::Alone);
    assert_eq!(KeyDetail::of(usize::MAX, usize::MAX), KeyDetail::Alone);
}

#[test]
fn each_try_counts_under_its_own_key_and_the_request_under_the_last() {
    let tries = ["one", "two", "one"].map(|key| KeyUse { key: name(key), project: name("p") });
    let retried = Sample { tries: tries.to_vec(), ..sample("m", true) };
    let mut sums = Sums::new(0);
    sums.count(&retried, &mut ModelNames::new(5, []), KeyDetail::Models);
    let key = |key: &str| sums.cells()[&Labels::key(name(key), name("p")).and_model(name("m"))].counters;
    assert_eq!((key("one").requests, key("one").attempts, key("one").retries), (1, 2, 1));
    assert_eq!((key("two").requests, key("two").attempts, key("two").retries), (0, 1, 1));
}

#[test]
fn a_question_that_no_cells_can_answer_is_refused_with_what_would_do() {
    use Column::{Caller, Key, Model, Project};
    let query = |step, by: &[Column]| Query {
        from: 0,
        to: 10 * 86_400,
        step,
        by: by.to_vec(),
        filter: Vec::new(),
        most_rows: Query::MOST_ROWS,
    };
    for by in [&[Caller, Key][..], &[Project, Caller], &[Caller, Model, Key]] {
        for step in [QueryStep::Minute, QueryStep::Day, QueryStep::All] {
            assert_eq!(query(step, by).families(), Err(QueryError::CallerAndKey));
        }
    }
    for by in [&[Caller, Model][..], &[Key, Model], &[Model, Project]] {
        assert_eq!(query(QueryStep::Minute, by).families(), Err(QueryError::PairOfMinutes));
        assert!(query(QueryStep::Hour, by).families().is_ok());
    }
    let filtered = Query { filter: vec![(Caller, "alice".to_owned())], ..query(QueryStep::Day, &[Key]) };
    assert_eq!(filtered.families(), Err(QueryError::CallerAndKey));
    assert_eq!(Query { to: -1, ..query(QueryStep::Day, &[]) }.families(), Err(QueryError::Backwards));
}

/// A question about the sums of these seconds, each of which has one request.
fn asked(query: Query, days: Days, seconds: &[i64]) -> Report {
    let sums: Vec<_> = seconds
        .iter()
        .map(|at| {
            let mut sums = Sums::new(*at);
            sums.count(&sample("m", true), &mut ModelNames::new(5, []), KeyDetail::Models);
            sums
        })
        .collect();
    let mut report = Report::new(query, days).unwrap();
    report.add_unfolded(&sums);
    report
}

fn at(text: &str) -> i64 {
    text.parse::<chrono::DateTime<chrono::Utc>>().unwrap().timestamp()
}

#[test]
fn a_row_is_of_the_whole_time_that_it_names() {
    let days = Days::of("Europe/Berlin").unwrap();
    // A request in every hour of a quarter of a year.
    let (begin, end) = (at("2026-09-01T00:00:00Z"), at("2026-12-01T00:00:00Z"));
    let seconds: Vec<_> = (begin..end).step_by(3_600).collect();
    let spans = [
        (at("2026-10-15T13:17:05Z"), at("2026-11-14T13:17:06Z")),
        (at("2026-10-24T22:00:00Z"), at("2026-10-25T23:00:00Z")), // the day that has 25 hours
        (at("2026-11-14T13:17:01Z"), at("2026-11-14T13:17:06Z")),
    ];
    for step in [
        QueryStep::Minute,
        QueryStep::Hour,
        QueryStep::Day,
        QueryStep::Month,
        QueryStep::All,
        QueryStep::AllOfDays,
    ] {
        for (from, to) in spans {
            let query =
                Query { from, to, step, by: Vec::new(), filter: Vec::new(), most_rows: Query::MOST_ROWS };
            let span = query.span(&days);
            assert!(span.0 <= from && to <= span.1, "{step:?}");
            for row in asked(query, days, &seconds).rows() {
                let expected = seconds.iter().filter(|second| (row.from..row.to).contains(second)).count();
                assert_eq!(row.cell.counters.requests, expected as u64, "{step:?} {from} {row:?}");
                assert!(span.0 <= row.from && row.to <= span.1, "{step:?} {row:?}");
            }
        }
    }
    let nothing =
        Query { from: end, to: end, step: QueryStep::All, by: Vec::new(), filter: Vec::new(), most_rows: 1 };
    assert_eq!(nothing.span(&days), (end, end));
    for to in [i64::MAX, i64::MAX - 3_600] {
        for step in [QueryStep::Minute, QueryStep::Day, QueryStep::Month, QueryStep::All] {
            let far = Query { from: to - 5, to, step, ..nothing.clone() };
            assert!(far.span(&days).1 >= to);
        }
    }
}

#[test]
fn a_span_whose_hours_are_gone_is_answered_by_its_days() {
    let now = at("2026-11-28T12:00:00Z");
    let days = Days::default();
    let kept_since = |step| match step {
        StepSize::Minute => now - 48 * 3_600,
        StepSize::Hour => now - 31 * 86_400,
        StepSize::Day => at("2026-01-01T00:00:00Z"),
    };
    let query = |from: i64, to: i64| {
        let query = Query {
            from: now - from * 86_400,
            to: now - to * 86_400,
            step: QueryStep::All,
            by: Vec::new(),
            filter: Vec::new(),
            most_rows: Query::MOST_ROWS,
        };
        query.of_what_is_kept(&days, kept_since)
    };
    assert_eq!(query(2, 0).stored_step(), StepSize::Hour);
    assert_eq!(query(31, 30).stored_step(), StepSize::Hour);
    let old = query(40, 38);
    assert_eq!((old.stored_step(), old.step.as_str()), (StepSize::Day, "all"));
    let whole_days = (at("2026-10-19T00:00:00Z"), at("2026-10-22T00:00:00Z"));
    let used = at("2026-10-20T08:00:00Z");
    let mut report = asked(old, days, &[used]);
    report.note_kept_since(kept_since(StepSize::Day));
    assert_eq!(report.kept_since(), None);
    let rows = report.rows();
    assert_eq!((rows[0].from, rows[0].to), whole_days, "the days that were read");
    assert_eq!(rows[0].cell.counters.requests, 1);
    // What begins before even the days says so.
    let mut report = asked(query(400, 300), days, &[]);
    report.note_kept_since(kept_since(StepSize::Day));
    assert_eq!(report.kept_since(), Some((StepSize::Day, kept_since(StepSize::Day))));
}

#[test]
fn a_name_that_nothing_has_is_told_apart_from_one_that_has_used_nothing_of_what_is_asked() {
    let not_found = |filter: &[(Column, &str)]| {
        let filter: Vec<_> = filter.iter().map(|(column, name)| (*column, (*name).to_owned())).collect();
        let query = Query {
            from: 0,
            to: 1_000,
            step: QueryStep::Day,
            by: Vec::new(),
            filter,
            most_rows: Query::MOST_ROWS,
        };
        let mut sums = Sums::new(100);
        for (caller, model) in [("alice", "a"), ("bob", "b")] {
            let sample = Sample { caller: name(caller), ..sample(model, true) };
            sums.count(&sample, &mut ModelNames::new(5, []), KeyDetail::Models);
        }
        let mut report = Report::new(query, Days::default()).unwrap();
        report.add_unfolded([&sums]);
        report.not_found().map(|(_, name)| name.clone()).collect::<Vec<_>>()
    };
    assert_eq!(not_found(&[(Column::Caller, "typo")]), ["typo"]);
    assert_eq!(not_found(&[(Column::Caller, "alice"), (Column::Model, "b")]), [] as [&str; 0]);
    assert_eq!(not_found(&[(Column::Caller, "alice"), (Column::Model, "c")]), ["c"]);
}

#[test]
fn a_filter_leaves_only_what_has_its_labels() {
    let mut sums = Sums::new(100);
    let mut names = ModelNames::new(5, []);
    for (caller, model) in [("alice", "a"), ("alice", "b"), ("bob", "a")] {
        sums.count(&Sample { caller: name(caller), ..sample(model, true) }, &mut names, KeyDetail::Alone);
    }
    let rows = |by: &[Column], filter: &[(Column, &str)]| {
        let filter = filter.iter().map(|(column, label)| (*column, (*label).to_owned())).collect();
        let query = Query {
            from: 0,
            to: 1_000,
            step: QueryStep::Day,
            by: by.to_vec(),
            filter,
            most_rows: Query::MOST_ROWS,
        };
        let mut report = Report::new(query, Days::default()).unwrap();
        report.add_unfolded([&sums]);
        let rows = report.rows().into_iter();
        rows.map(|row| (row.labels.join(","), row.cell.counters.requests)).collect::<Vec<_>>()
    };
    assert_eq!(
        rows(&[Column::Model], &[(Column::Caller, "alice")]),
        [("a".to_owned(), 1), ("b".to_owned(), 1)]
    );
    assert_eq!(rows(&[], &[(Column::Model, "a")]), [(String::new(), 2)]);
    assert_eq!(rows(&[Column::Model, Column::Caller], &[]).len(), 3);
    assert_eq!(rows(&[Column::Caller], &[(Column::Caller, "nobody")]), []);
    // Keys are kept alone here, so that their models are not told apart.
    assert_eq!(rows(&[Column::Key, Column::Model], &[]), [("key,*".to_owned(), 3)]);
}
