//! The rules for usage books and their tables.

use std::time::Duration;

use usage::Breakdown;

use super::{SharedPlace, members::id};
use crate::{
    BookId, Shared, TableCells, TableChange, TableContent, TableReply, TableStamp, TableStep, UsageTable,
};

/// Holds shared state against every rule for usage books.
pub fn tables<P: SharedPlace>(new_place: impl Fn() -> P) {
    let rules: [fn(&P); 7] = [
        what_is_written_is_read_by_all,
        what_another_has_written_is_not_written_over,
        a_change_whose_answer_was_lost_may_be_repeated,
        tables_are_found_by_their_time,
        tables_end_after_their_time,
        a_full_change_is_written_whole,
        who_keeps_a_book_is_known_for_some_seconds,
    ];
    for rule in rules {
        rule(&new_place());
    }
}

fn book(id: &str) -> BookId {
    BookId::new(id).expect("a book's id")
}

/// Now, in seconds of the shared clock.
fn now(node: &mut impl Shared) -> i64 {
    i64::try_from(node.hello().expect("a hello").at_ms / 1_000).expect("a time")
}

fn models(of: &str, at: i64) -> UsageTable {
    UsageTable { book: book(of), step: TableStep::Hour, at, by: Breakdown::Models }
}

fn cells(all: &[(&str, &[u8])]) -> Vec<(Vec<u8>, Vec<u8>)> {
    all.iter().map(|(labels, cell)| (labels.as_bytes().to_vec(), cell.to_vec())).collect()
}

fn change(
    table: &UsageTable,
    before: Option<u64>,
    after: u64,
    set: &[(&str, &[u8])],
    removed: &[&str],
) -> TableChange {
    let removed = removed.iter().map(|labels| labels.as_bytes().to_vec()).collect();
    TableChange::new(table.clone(), before.map(TableStamp), TableStamp(after), cells(set), removed)
        .expect("a change")
}

fn content(stamp: u64, all: &[(&str, &[u8])]) -> TableContent {
    TableContent { stamp: Some(TableStamp(stamp)), cells: cells(all).into_iter().collect() }
}

fn what_is_written_is_read_by_all(place: &impl SharedPlace) {
    let (mut one, mut other) = (place.node(&id("one")), place.node(&id("other")));
    let table = models("a", now(&mut one));
    let sibling = UsageTable { by: Breakdown::Callers, ..table.clone() };
    assert_eq!(other.read_tables(std::slice::from_ref(&table)), Ok(vec![TableContent::default()]));
    let (old, new): (&[u8], &[u8]) = (&[0, 255, b'\n'], b"new");
    let first = change(&table, None, 7, &[("", old), ("s", old), ("{x} \0", old)], &[]);
    assert_eq!(one.write_table(&first), Ok(TableReply::Written));
    let second = change(&table, Some(7), u64::MAX, &[("s", new), ("more", new)], &["", "never there"]);
    assert_eq!(one.write_table(&second), Ok(TableReply::Written));
    let whole = content(u64::MAX, &[("s", new), ("{x} \0", old), ("more", new)]);
    assert_eq!(other.read_tables(&[sibling, table]), Ok(vec![TableContent::default(), whole]));
    assert_eq!(other.read_tables(&[]), Ok(vec![]));
}

fn what_another_has_written_is_not_written_over(place: &impl SharedPlace) {
    let (mut one, mut other) = (place.node(&id("one")), place.node(&id("other")));
    let table = models("a", now(&mut one));
    assert_eq!(one.write_table(&change(&table, Some(1), 2, &[("x", b"1")], &[])), Ok(TableReply::Stale));
    assert_eq!(one.write_table(&change(&table, None, 2, &[("x", b"1")], &[])), Ok(TableReply::Written));
    for before in [None, Some(1)] {
        let late = change(&table, before, 3, &[("x", b"2")], &["x"]);
        assert_eq!(other.write_table(&late), Ok(TableReply::Stale));
    }
    assert_eq!(other.read_tables(std::slice::from_ref(&table)), Ok(vec![content(2, &[("x", b"1")])]));
    assert_eq!(other.write_table(&change(&table, Some(2), 3, &[], &["x"])), Ok(TableReply::Written));
    // One whose cells are all removed is a table still.
    assert_eq!(one.read_tables(std::slice::from_ref(&table)), Ok(vec![content(3, &[])]));
    place.lose_everything();
    assert_eq!(one.write_table(&change(&table, Some(3), 4, &[], &[])), Ok(TableReply::Stale));
}

fn a_change_whose_answer_was_lost_may_be_repeated(place: &impl SharedPlace) {
    let mut one = place.node(&id("one"));
    let table = models("a", now(&mut one));
    let first = change(&table, None, 1, &[("x", b"1")], &[]);
    for _ in 0..3 {
        assert_eq!(one.write_table(&first), Ok(TableReply::Written));
    }
    assert_eq!(one.write_table(&change(&table, Some(1), 2, &[("x", b"2")], &[])), Ok(TableReply::Written));
    assert_eq!(one.write_table(&first), Ok(TableReply::Stale), "it is too late for that");
    assert_eq!(one.read_tables(&[table]), Ok(vec![content(2, &[("x", b"2")])]));
}

fn tables_are_found_by_their_time(place: &impl SharedPlace) {
    let mut one = place.node(&id("one"));
    let now = now(&mut one);
    let day = UsageTable { step: TableStep::Day, ..models("d", now) };
    let callers = UsageTable { by: Breakdown::Callers, ..models("a", now) };
    for table in [models("b", now), models("a", now), callers, models("a", now - 3_600), day] {
        assert_eq!(one.write_table(&change(&table, None, 1, &[("x", b"1")], &[])), Ok(TableReply::Written));
    }
    let (a, b) = (book("a"), book("b"));
    let both = vec![(now, a.clone()), (now, b)];
    let all = [vec![(now - 3_600, a.clone())], both.clone()].concat();
    assert_eq!(one.tables(TableStep::Hour, now - 3_600, now + 1), Ok(all));
    assert_eq!(one.tables(TableStep::Hour, now - 3_599, now + 1), Ok(both));
    assert_eq!(one.tables(TableStep::Hour, now - 3_600, now), Ok(vec![(now - 3_600, a)]));
    assert_eq!(one.tables(TableStep::Hour, now, now), Ok(vec![]));
    assert_eq!(one.tables(TableStep::Day, 0, i64::MAX), Ok(vec![(now, book("d"))]));
}

fn tables_end_after_their_time(place: &impl SharedPlace) {
    let mut one = place.node(&id("one"));
    for step in TableStep::ALL {
        let kept = i64::try_from(step.kept().as_secs()).expect("a time");
        let oldest = now(&mut one) - kept + 1;
        let at = |at| UsageTable { step, ..models("a", at) };
        let writing = |at| change(&at, None, 1, &[("x", b"1")], &[]);
        assert_eq!(one.write_table(&writing(at(oldest - 1))), Ok(TableReply::Past));
        assert_eq!(one.write_table(&writing(at(oldest))), Ok(TableReply::Written));
        assert_eq!(one.write_table(&writing(at(oldest + 100))), Ok(TableReply::Written));
        let wait = Duration::from_millis(1_050);
        place.wait_out(wait);
        assert_eq!(one.read_tables(&[at(oldest)]), Ok(vec![TableContent::default()]));
        assert_eq!(one.read_tables(&[at(oldest + 100)]), Ok(vec![content(1, &[("x", b"1")])]));
        // The list forgets with the next change.
        place.pass(wait);
        assert_eq!(one.write_table(&writing(at(oldest + 200))), Ok(TableReply::Written));
        let there = one.tables(step, 0, i64::MAX).expect("a list");
        assert_eq!(there, [(oldest + 100, book("a")), (oldest + 200, book("a"))]);
    }
}

fn a_full_change_is_written_whole(place: &impl SharedPlace) {
    let mut one = place.node(&id("one"));
    let table = models("a", now(&mut one));
    let many = |cell: &[u8]| -> Vec<_> {
        (0..TableChange::MAX_CELLS).map(|n| (n.to_string().into_bytes(), cell.to_vec())).collect()
    };
    let written = many(&[7; 300]);
    let change = TableChange::new(table.clone(), None, TableStamp(1), written.clone(), Vec::new());
    assert_eq!(one.write_table(&change.expect("a change")), Ok(TableReply::Written));
    let found = one.read_tables(std::slice::from_ref(&table)).expect("a table").remove(0);
    assert_eq!(found.cells, written.iter().cloned().collect::<TableCells>());
    let labels = || written.iter().map(|(labels, _)| labels.clone());
    let removal = TableChange::new(table.clone(), found.stamp, TableStamp(2), Vec::new(), labels().collect());
    assert_eq!(one.write_table(&removal.expect("a change")), Ok(TableReply::Written));
    assert_eq!(one.read_tables(std::slice::from_ref(&table)), Ok(vec![content(2, &[])]));
    let more = TableChange::new(table, None, TableStamp(3), many(b"x"), vec![b"one more".to_vec()]);
    more.expect_err("too many");
}

fn who_keeps_a_book_is_known_for_some_seconds(place: &impl SharedPlace) {
    let (mut one, mut other) = (place.node(&id("one")), place.node(&id("other")));
    assert_eq!(one.books(), Ok(vec![]));
    one.keep_book(&book("a")).expect("it is noted");
    other.keep_book(&book("b")).expect("it is noted");
    let sorted = |mut books: Vec<_>| {
        books.sort();
        books
    };
    let both = vec![(book("a"), id("one")), (book("b"), id("other"))];
    assert_eq!(one.books().map(sorted), Ok(both));
    place.pass(Duration::from_secs(10));
    other.keep_book(&book("b")).expect("it is noted");
    place.pass(Duration::from_secs(10));
    assert_eq!(one.books(), Ok(vec![(book("b"), id("other"))]));
}
