//! The rules for a usage book.

use std::{thread, time::Duration};

use usage::{
    Billable, Column, Cost, Counted, Counters, Days, KeyDetail, KeyUse, ModelNames, Money, Query, QueryError,
    QueryStep, ReportRow, RequestOutcome, Sample, StepSize, Sums, Times, Totals,
};

use crate::{BookError, JournalRow, Retention, UsageBook};

/// Where a usage book is kept, from which it can be opened again and again.
pub trait BookPlace {
    /// A handle on it.
    type Book: UsageBook + 'static;

    /// Opens one more handle. The place was empty when the first one was opened.
    fn open(&self) -> Self::Book;
}

/// Holds an implementation against every rule for a usage book.
pub fn usage_book<P: BookPlace>(new_place: impl Fn() -> P) {
    let rules: [fn(&P); 14] = [
        an_empty_book_has_no_rows,
        a_book_is_told_from_all_others_by_its_id,
        what_is_appended_is_in_every_answer_folded_or_not,
        a_number_is_written_down_once,
        folding_twice_changes_nothing,
        only_seconds_before_the_given_one_are_folded,
        an_answer_names_the_last_number_in_it,
        minutes_are_kept_of_each_label_alone,
        keys_alone_count_beside_keys_with_models,
        old_steps_go_each_in_its_time,
        beyond_the_most_rows_the_oldest_minutes_go_first,
        a_question_that_reads_too_much_is_refused_with_the_step_that_would_do,
        another_zone_holds_from_the_next_day_on,
        nobody_sees_a_sum_twice_or_not_at_all,
    ];
    for rule in rules {
        rule(&new_place());
    }
    let id = || id_of(&mut new_place().open());
    assert_ne!(id(), id(), "each book has its own");
}

fn id_of(book: &mut dyn UsageBook) -> String {
    book.overview().expect("an overview").id
}

/// A Tuesday, at midnight in UTC.
const START: i64 = 1_767_657_600;
const DAY: i64 = 86_400;
const NODE: &str = "node";

const KEEP: Retention =
    Retention { minutes_s: 2 * DAY, hours_s: 31 * DAY, days_s: 400 * DAY, max_rows: 1_000_000 };

fn sample(caller: &str, key: &str, model: &str) -> Sample {
    Sample {
        caller: caller.into(),
        model: Some(model.into()),
        proven: true,
        tries: vec![KeyUse { key: key.into(), project: "project".into() }],
        counted: Counted {
            outcome: RequestOutcome::Answered,
            cost: Cost::Known(Money::from_billionths(7)),
            totals: Totals {
                billable: Billable { input: 10, output: 5, ..Billable::default() },
                bytes_in: 3,
                bytes_out: 4,
                ..Totals::of_one(Duration::from_millis(20), Some(Duration::from_millis(10)))
            },
        },
        times: Times::of_one(Duration::from_millis(20), Some(Duration::from_millis(10))),
    }
}

fn row_of(seq: u64, at: i64, samples: &[Sample], detail: KeyDetail) -> JournalRow {
    let mut sums = Sums::new(at);
    let mut names = ModelNames::new(1_000_000, []);
    for sample in samples {
        sums.count(sample, &mut names, detail);
    }
    JournalRow { node: NODE.to_owned(), seq, sums }
}

fn row(seq: u64, at: i64, callers: &[&str]) -> JournalRow {
    let samples: Vec<_> = callers.iter().map(|caller| sample(caller, "key", "model")).collect();
    row_of(seq, at, &samples, KeyDetail::Models)
}

fn append(book: &mut dyn UsageBook, row: &JournalRow) {
    assert!(book.append(row).expect("a row is appended"), "it is new");
}

fn fold(book: &mut dyn UsageBook, before: i64) -> usize {
    let report = book.fold(before).expect("the journal folds");
    assert_eq!(report.damaged, 0);
    report.folded
}

fn query(step: QueryStep, by: &[Column], from: i64, to: i64) -> Query {
    Query { from, to, step, by: by.to_vec(), filter: Vec::new(), most_rows: Query::MOST_ROWS }
}

fn ask(book: &mut dyn UsageBook, query: &Query) -> Vec<ReportRow> {
    book.query(query, NODE).expect("an answer").report.rows()
}

/// The labels and the number of requests.
fn requests(book: &mut dyn UsageBook, query: &Query) -> Vec<(String, u64)> {
    ask(book, query).into_iter().map(|row| (row.labels.join(","), row.cell.counters.requests)).collect()
}

fn total(book: &mut dyn UsageBook) -> Counters {
    let mut sum = Counters::default();
    for row in ask(book, &query(QueryStep::Day, &[], START - 1_000 * DAY, START + 1_000 * DAY)) {
        sum.merge(&row.cell.counters);
    }
    sum
}

fn an_empty_book_has_no_rows(place: &impl BookPlace) {
    let mut book = place.open();
    for step in [QueryStep::Minute, QueryStep::Hour, QueryStep::Day, QueryStep::Month, QueryStep::All] {
        assert_eq!(ask(&mut book, &query(step, &[], START, START + DAY)), []);
    }
    assert_eq!(fold(&mut book, i64::MAX), 0);
    let pruned = book.prune(START, &KEEP, 100).expect("an empty book is pruned");
    assert_eq!((pruned.removed, pruned.more), (0, false));
    let overview = book.overview().expect("an overview");
    assert_eq!((overview.rows, overview.days, overview.models), (0, Days::default(), Vec::new()));
}

fn a_book_is_told_from_all_others_by_its_id(place: &impl BookPlace) {
    let mut book = place.open();
    let id = id_of(&mut book);
    assert!(id.len() == 16 && id.bytes().all(|byte| byte.is_ascii_hexdigit()), "{id}");
    append(&mut book, &row(1, START, &["alice"]));
    fold(&mut book, START + 60);
    assert_eq!(id_of(&mut book), id);
    assert_eq!(id_of(&mut place.open()), id, "another handle");
}

fn what_is_appended_is_in_every_answer_folded_or_not(place: &impl BookPlace) {
    let mut book = place.open();
    append(&mut book, &row(1, START + 5, &["alice", "bob"]));
    append(&mut book, &row(2, START + 65, &["alice"]));
    let questions = [
        query(QueryStep::Minute, &[Column::Caller], START, START + DAY),
        query(QueryStep::Hour, &[Column::Caller, Column::Model], START, START + DAY),
        query(QueryStep::Day, &[Column::Key], START, START + DAY),
        query(QueryStep::Month, &[Column::Project], START, START + DAY),
        query(QueryStep::All, &[], START, START + DAY),
    ];
    let before: Vec<_> = questions.iter().map(|query| ask(&mut book, query)).collect();
    assert_eq!(fold(&mut book, START + 120), 2);
    let mut other = place.open();
    for (question, before) in questions.iter().zip(&before) {
        assert_eq!(&ask(&mut book, question), before, "{question:?}");
        assert_eq!(&ask(&mut other, question), before, "another handle: {question:?}");
        assert_eq!(&ask(&mut *book.reader().expect("a reader"), question), before, "a reader: {question:?}");
    }
    let by_caller = requests(&mut book, &query(QueryStep::All, &[Column::Caller], START, START + DAY));
    assert_eq!(by_caller, [("alice".to_owned(), 2), ("bob".to_owned(), 1)]);
    let sum = total(&mut book);
    assert_eq!((sum.requests, sum.input_tokens, sum.output_tokens, sum.cost_billionths), (3, 30, 15, 21));
    let spreads =
        ask(&mut book, &query(QueryStep::Day, &[Column::Model], START, START + DAY))[0].cell.spreads.clone();
    assert_eq!(spreads.expect("models have spreads").duration.counts()[1], 3);
    assert_eq!(book.overview().expect("an overview").models, ["model"]);
}

fn a_number_is_written_down_once(place: &impl BookPlace) {
    let (mut one, mut other) = (place.open(), place.open());
    append(&mut one, &row(1, START, &["alice"]));
    for book in [&mut one, &mut other] {
        assert!(!book.append(&row(1, START, &["alice"])).expect("a known number is no error"));
    }
    fold(&mut one, START + 60);
    for book in [&mut one, &mut other] {
        assert!(!book.append(&row(1, START + 70, &["alice"])).expect("nor is one that is folded"));
    }
    // Another node's numbers are its own.
    append(&mut other, &JournalRow { node: "another".to_owned(), ..row(1, START, &["alice"]) });
    append(&mut one, &row(2, START + 70, &["alice"]));
    assert_eq!(total(&mut one).requests, 3);
}

fn folding_twice_changes_nothing(place: &impl BookPlace) {
    let mut book = place.open();
    append(&mut book, &row(1, START, &["alice"]));
    append(&mut book, &row(2, START + 61, &["bob"]));
    fold(&mut book, START + 120);
    let rows = book.overview().expect("an overview").rows;
    for _ in 0..3 {
        assert_eq!(fold(&mut book, START + 120), 0);
        assert_eq!(fold(&mut place.open(), START + 120), 0);
    }
    assert_eq!(total(&mut book).requests, 2);
    assert_eq!(book.overview().expect("an overview").rows, rows);
    // What comes to a minute later adds to it.
    append(&mut book, &row(3, START + 2, &["alice"]));
    fold(&mut book, START + 120);
    let minutes = requests(&mut book, &query(QueryStep::Minute, &[], START, START + 60));
    assert_eq!(minutes, [(String::new(), 2)]);
    assert_eq!(book.overview().expect("an overview").rows, rows);
}

fn only_seconds_before_the_given_one_are_folded(place: &impl BookPlace) {
    let mut book = place.open();
    append(&mut book, &row(1, START + 59, &["alice"]));
    append(&mut book, &row(2, START + 60, &["alice"]));
    assert_eq!(fold(&mut book, START + 60), 1);
    assert_eq!(fold(&mut book, START + 60), 0);
    assert_eq!(fold(&mut book, START + 61), 1);
    assert_eq!(total(&mut book).requests, 2);
}

fn an_answer_names_the_last_number_in_it(place: &impl BookPlace) {
    let mut book = place.open();
    let all = query(QueryStep::All, &[], START, START + DAY);
    let last = |book: &mut dyn UsageBook, node: &str| book.query(&all, node).expect("an answer").last_seq;
    assert_eq!(last(&mut book, NODE), 0);
    append(&mut book, &row(7, START, &["alice"]));
    append(&mut book, &row(9, START + 60, &["alice"]));
    assert_eq!((last(&mut book, NODE), last(&mut book, "another")), (9, 0));
    fold(&mut book, START + 60);
    assert_eq!(last(&mut book, NODE), 9);
    fold(&mut book, START + 120);
    assert_eq!(last(&mut book, NODE), 9);
}

fn minutes_are_kept_of_each_label_alone(place: &impl BookPlace) {
    let mut book = place.open();
    let samples = [sample("alice", "one", "a"), sample("alice", "two", "b"), sample("bob", "two", "a")];
    append(&mut book, &row_of(1, START, &samples, KeyDetail::Models));
    fold(&mut book, START + 60);
    for (column, expected) in [
        (Column::Caller, [("alice", 2), ("bob", 1)]),
        (Column::Key, [("one", 1), ("two", 2)]),
        (Column::Model, [("a", 2), ("b", 1)]),
    ] {
        let found = requests(&mut book, &query(QueryStep::Minute, &[column], START, START + 60));
        assert_eq!(found, expected.map(|(label, count)| (label.to_owned(), count)));
    }
    let pair =
        book.query(&query(QueryStep::Minute, &[Column::Caller, Column::Model], START, START + 60), NODE);
    assert_eq!(pair.expect_err("no such cells"), BookError::Query(QueryError::PairOfMinutes));
    // Two callers, two keys, two models and all together; three pairs, three pairs and two models for hour and day.
    assert_eq!(book.overview().expect("an overview").rows, 7 + 2 * 8);
}

fn keys_alone_count_beside_keys_with_models(place: &impl BookPlace) {
    let mut book = place.open();
    append(&mut book, &row_of(1, START, &[sample("alice", "one", "a")], KeyDetail::Models));
    append(&mut book, &row_of(2, START + 1, &[sample("alice", "one", "a")], KeyDetail::Alone));
    fold(&mut book, START + 60);
    let by = |by: &[Column]| query(QueryStep::Day, by, START, START + DAY);
    assert_eq!(requests(&mut book, &by(&[Column::Key])), [("one".to_owned(), 2)]);
    let by_model = requests(&mut book, &by(&[Column::Key, Column::Model]));
    assert_eq!(by_model, [("one,*".to_owned(), 1), ("one,a".to_owned(), 1)]);
}

fn old_steps_go_each_in_its_time(place: &impl BookPlace) {
    let mut book = place.open();
    append(&mut book, &row_of(1, START, &[sample("alice", "one", "a")], KeyDetail::Models));
    append(&mut book, &row_of(2, START, &[sample("alice", "alone", "a")], KeyDetail::Alone));
    fold(&mut book, START + 60);
    let mut left = |after: i64| {
        while book.prune(START + after, &KEEP, 2).expect("the book is pruned").more {}
        let mut count = |step, by: &[Column]| requests(&mut book, &query(step, by, START, START + DAY)).len();
        [
            count(QueryStep::Minute, &[]),
            count(QueryStep::Hour, &[Column::Key]),
            count(QueryStep::Hour, &[]),
            count(QueryStep::Day, &[Column::Key]),
            count(QueryStep::Day, &[]),
        ]
    };
    assert_eq!(left(2 * DAY), [1, 2, 1, 2, 1]);
    assert_eq!(left(2 * DAY + 7_200), [0, 1, 1, 2, 1]);
    assert_eq!(left(31 * DAY + 7_200), [0, 0, 0, 2, 1]);
    assert_eq!(left(65 * DAY), [0, 0, 0, 1, 1]);
    assert_eq!(left(399 * DAY), [0, 0, 0, 1, 1]);
    assert_eq!(left(403 * DAY), [0; 5]);
    let overview = book.overview().expect("an overview");
    assert_eq!((overview.rows, overview.models), (0, Vec::new()), "names leave with their sums");
    append(&mut book, &row(3, START, &["alice"]));
    fold(&mut book, START + 60);
    assert_eq!(total(&mut book).requests, 1, "and come again");
}

fn beyond_the_most_rows_the_oldest_minutes_go_first(place: &impl BookPlace) {
    let mut book = place.open();
    for minute in 0..10_u64 {
        append(&mut book, &row(minute + 1, START + 60 * minute.cast_signed(), &["alice"]));
    }
    fold(&mut book, START + 600);
    // Four a minute; three for the hour and three for the day.
    assert_eq!(book.overview().expect("an overview").rows, 46);
    let mut cap = |max_rows| {
        let pruned =
            book.prune(START + 600, &Retention { max_rows, ..KEEP }, 10_000).expect("the book is pruned");
        assert!(!pruned.more && pruned.by_cap == pruned.removed);
        let mut from =
            |step| ask(&mut book, &query(step, &[], START, START + DAY)).first().map(|row| row.from);
        let from = [from(QueryStep::Minute), from(QueryStep::Hour), from(QueryStep::Day)];
        let rows = book.overview().expect("an overview").rows;
        assert!(rows <= max_rows, "{rows} rows are left of {max_rows}");
        from
    };
    assert_eq!(cap(46), [Some(START); 3]);
    assert_eq!(cap(26), [Some(START + 300), Some(START), Some(START)]);
    assert_eq!(cap(6), [None, Some(START), Some(START)]);
    assert_eq!(cap(3), [None, None, Some(START)]);
    assert_eq!(cap(0), [None, None, None]);
}

fn a_question_that_reads_too_much_is_refused_with_the_step_that_would_do(place: &impl BookPlace) {
    let mut book = place.open();
    let models: Vec<_> = (0..700).map(|n| sample("alice", "key", &format!("model-{n}"))).collect();
    for hour in 0..30_u64 {
        append(&mut book, &row_of(hour + 1, START + 3_600 * hour.cast_signed(), &models, KeyDetail::Alone));
    }
    fold(&mut book, START + 40 * 3_600);
    let limit = 20_000;
    let hours =
        Query { most_rows: limit, ..query(QueryStep::Hour, &[Column::Model], START, START + 30 * 3_600) };
    let refused = book.query(&hours, NODE).expect_err("700 times 30 is too much");
    assert_eq!(refused, BookError::Query(QueryError::TooMuch { limit, instead: Some(StepSize::Day) }));
    assert_eq!(ask(&mut book, &Query { step: QueryStep::Day, ..hours.clone() }).len(), 1_400);
    assert_eq!(ask(&mut book, &Query { to: START + 3_600, ..hours.clone() }).len(), 700);
    // Of keys there are few: a question reads its own cells only.
    assert_eq!(ask(&mut book, &Query { by: vec![Column::Key], ..hours }).len(), 30);
}

fn another_zone_holds_from_the_next_day_on(place: &impl BookPlace) {
    let zone = |zone| Days::of(zone).expect("a zone");
    let mut book = place.open();
    assert_eq!(
        book.set_days(&zone("Asia/Kolkata"), START),
        Ok(zone("Asia/Kolkata")),
        "an empty book has no former zone"
    );
    append(&mut book, &row(1, START, &["alice"]));
    fold(&mut book, START + 60);
    let days = book.set_days(&zone("UTC"), START + 60).expect("the zone is changed");
    assert_eq!(place.open().overview().expect("an overview").days, days);
    append(&mut book, &row(2, START + 61, &["alice"]));
    append(&mut book, &row(3, START + DAY, &["alice"]));
    append(&mut book, &row(4, START + 2 * DAY, &["alice"]));
    fold(&mut book, START + 3 * DAY);
    let rows = ask(&mut book, &query(QueryStep::Day, &[], START, START + 3 * DAY));
    let found: Vec<_> =
        rows.iter().map(|row| (row.from - START, row.to - START, row.cell.counters.requests)).collect();
    let half_past_six = 66_600;
    assert_eq!(
        found,
        [(half_past_six - DAY, half_past_six, 2), (DAY, 2 * DAY, 1), (2 * DAY, 3 * DAY, 1)],
        "the day under way ends as it began"
    );
}

fn nobody_sees_a_sum_twice_or_not_at_all(place: &impl BookPlace) {
    const ROWS: u64 = 300;
    let mut writer = place.open();
    let mut reader = writer.reader().expect("a reader");
    let writing = thread::spawn(move || {
        for seq in 1..=ROWS {
            append(&mut writer, &row(seq, START + seq.cast_signed() * 20, &["alice"]));
            if seq.is_multiple_of(3) {
                fold(&mut writer, START + seq.cast_signed() * 20);
            }
        }
    });
    let all = query(QueryStep::All, &[Column::Caller], START, START + DAY);
    let mut seen = 0;
    loop {
        let over = writing.is_finished();
        let answer = reader.query(&all, NODE).expect("an answer");
        let found: u64 = answer.report.rows().iter().map(|row| row.cell.counters.requests).sum();
        assert_eq!(found, answer.last_seq, "each row counts once, folded or not");
        assert!(found >= seen);
        seen = found;
        if over {
            break;
        }
    }
    writing.join().expect("the writer ends well");
    assert_eq!(seen, ROWS);
}
