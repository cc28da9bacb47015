//! What a usage book says as all gateways call it: keys by their fingerprints, which are the same under whatever label. A key
//! that is gone goes by the name it was counted under. Of very many callers or keys not all are told apart.

use crate::key_ring::KeyRing;
use gemini_balance_cluster::{TableCells, TableChange, TableContent};
use keypool::KeyId;
use std::{
    collections::{BTreeMap, HashMap},
    hash::BuildHasher,
    sync::Arc,
};
use usage::{Breakdown, Cell, Labels, OTHER, ReportRow};

/// How many cells of a table are told apart; more are told as `other`, since each takes memory of Redis'.
const MOST_CELLS: usize = 5_000;

/// Returns the tables of rows that are broken down in this way, by the beginning of their time.
pub(super) fn tables_of(rows: &[ReportRow], by: Breakdown, ring: &KeyRing) -> BTreeMap<i64, TableCells> {
    tables_of_at_most(MOST_CELLS, rows, by, ring)
}

fn tables_of_at_most(
    most: usize,
    rows: &[ReportRow],
    by: Breakdown,
    ring: &KeyRing,
) -> BTreeMap<i64, TableCells> {
    let mut tables: BTreeMap<i64, HashMap<Labels, Cell>> = BTreeMap::new();
    for row in rows {
        // Two may be one: a key that was given a label is the one that it was before.
        if let Some(labels) = by.labels(&row.labels) {
            tables.entry(row.from).or_default().entry(told(labels, ring)).or_default().merge(&row.cell);
        }
    }
    let coded = |cells: HashMap<Labels, Cell>| {
        let cells = if cells.len() > most { joined(cells, most) } else { cells };
        cells.into_iter().map(|(labels, cell)| (labels.encode(), cell.encode())).collect()
    };
    tables.into_iter().map(|(at, cells)| (at, coded(cells))).collect()
}

/// Tells so many cells apart, and the others as one for each model. A cell without a label says that it is so.
fn joined(cells: HashMap<Labels, Cell>, most: usize) -> HashMap<Labels, Cell> {
    // By a hash, so that the same are told apart the next time, and by all gateways.
    let place = |labels: &Labels| foldhash::quality::FixedState::with_seed(0).hash_one(labels);
    let mut cells: Vec<_> = cells.into_iter().map(|(labels, cell)| (place(&labels), labels, cell)).collect();
    cells.sort_unstable_by(|one, other| (one.0, &one.1).cmp(&(other.0, &other.1)));
    let mut told = HashMap::from([(Labels::total(), Cell::default())]);
    for (position, (_, labels, cell)) in cells.into_iter().enumerate() {
        let labels = if position < most { labels } else { other(labels) };
        told.entry(labels).or_default().merge(&cell);
    }
    told
}

fn other(labels: Labels) -> Labels {
    let as_other = |label: Option<Arc<str>>| label.map(|_| OTHER.into());
    Labels {
        caller: as_other(labels.caller),
        key: as_other(labels.key),
        project: as_other(labels.project),
        model: labels.model,
    }
}

/// The cells of a table as this gateway calls them.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct HeardCells {
    pub(super) cells: Vec<(Labels, Cell)>,
    /// How many cannot be read: a newer version has written them.
    pub(super) unread: usize,
    /// Whether not all callers or keys are told apart.
    pub(super) is_joined: bool,
}

/// Returns the cells of a table as this gateway calls them.
pub(super) fn cells_of(content: &TableContent, ring: &KeyRing) -> HeardCells {
    let mut heard_cells = HeardCells::default();
    for (labels, cell) in &content.cells {
        match (Labels::decode(labels), Cell::decode(cell)) {
            (Ok(labels), _) if labels == Labels::total() => heard_cells.is_joined = true,
            (Ok(labels), Ok(cell)) => heard_cells.cells.push((heard(labels, ring), cell)),
            _ => heard_cells.unread += 1,
        }
    }
    heard_cells
}

/// What is to be done to a table so that it has these cells, in parts.
pub(super) struct TableDifference {
    pub(super) set: Vec<(Vec<u8>, Vec<u8>)>,
    pub(super) removed: Vec<Vec<u8>>,
}

impl TableDifference {
    pub(super) fn between(is: &TableCells, wanted: &TableCells) -> Self {
        let set = wanted.iter().filter(|(labels, cell)| is.get(*labels) != Some(*cell));
        let removed = is.keys().filter(|labels| !wanted.contains_key(*labels));
        Self {
            set: set.map(|(labels, cell)| (labels.clone(), cell.clone())).collect(),
            removed: removed.cloned().collect(),
        }
    }

    /// Takes as much as fits into one change; `None` when there is nothing to do any more.
    pub(super) fn next(&mut self) -> Option<Self> {
        let (set, removed) = (self.set.len(), self.removed.len());
        if set + removed == 0 {
            return None;
        }
        let set_now = set.min(TableChange::MAX_CELLS);
        let removed_now = removed.min(TableChange::MAX_CELLS - set_now);
        Some(Self {
            set: self.set.split_off(set - set_now),
            removed: self.removed.split_off(removed - removed_now),
        })
    }
}

/// As all gateways call it.
fn told(labels: Labels, ring: &KeyRing) -> Labels {
    let Some(key) = &labels.key else { return labels };
    let Some(present) = ring.find(&KeyId::from(&**key)) else { return labels };
    let fingerprint = present.fingerprint().into();
    // Without a label a key is a project of its own, which is called as the key is.
    let project = if labels.project == labels.key { Some(Arc::clone(&fingerprint)) } else { labels.project };
    Labels { key: Some(fingerprint), project, ..labels }
}

/// As this gateway calls it.
fn heard(labels: Labels, ring: &KeyRing) -> Labels {
    let Some(key) = &labels.key else { return labels };
    let Some(present) = ring.with_fingerprint(key) else { return labels };
    let id = present.id().as_str();
    let project = if labels.project == labels.key {
        Some(present.project().unwrap_or(id).into())
    } else {
        labels.project
    };
    Labels { key: Some(id.into()), project, ..labels }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Secret;
    use keypool::{KeySpec, Project};
    use usage::Counters;

    fn ring(keys: &[(&str, &str, Option<&str>)]) -> KeyRing {
        let key = |(id, secret, project): &(&str, &str, Option<&str>)| {
            let project = project.map(Project::from);
            (KeySpec { project, ..KeySpec::new(*id) }, Secret::new((*secret).to_owned()))
        };
        KeyRing::new(keys.iter().map(key).collect()).unwrap()
    }

    fn row(at: i64, labels: &[&str], requests: u64) -> ReportRow {
        let counters = Counters { requests, ..Counters::default() };
        ReportRow {
            from: at,
            to: at + 3_600,
            labels: labels.iter().map(|label| (*label).into()).collect(),
            cell: Cell { counters, ..Cell::default() },
        }
    }

    fn read(content: &TableContent, ring: &KeyRing) -> Vec<(String, String, u64)> {
        let HeardCells { cells, unread, is_joined } = cells_of(content, ring);
        assert_eq!((unread, is_joined), (0, false));
        let text = |label: &Option<Arc<str>>| label.as_deref().unwrap_or("-").to_owned();
        let mut cells: Vec<_> = cells
            .iter()
            .map(|(labels, cell)| (text(&labels.key), text(&labels.project), cell.counters.requests))
            .collect();
        cells.sort();
        cells
    }

    #[test]
    fn a_key_goes_by_its_fingerprint_and_is_called_by_each_as_it_knows_it() {
        let here = ring(&[("team-a", "one", None), ("team-b", "two", Some("p"))]);
        let there = ring(&[("spare", "one", Some("q")), ("other", "two", None)]);
        let former = here.find(&"team-a".into()).unwrap().fingerprint().to_owned();
        let rows = [
            row(0, &["team-a", "team-a", "m"], 1),
            row(0, &[&former, &former, "m"], 2),
            row(0, &["team-b", "p", "*"], 4),
            row(0, &["gone", "gone", "m"], 8),
            row(0, &["", "", "m"], 16),
            row(3_600, &["team-a", "team-a", "m"], 32),
        ];
        let tables = tables_of(&rows, Breakdown::Keys, &here);
        assert_eq!(tables.keys().collect::<Vec<_>>(), [&0, &3_600]);
        let content = TableContent { stamp: None, cells: tables[&0].clone() };
        for labels in content.cells.keys() {
            assert!(!String::from_utf8_lossy(labels).contains("team-"));
        }
        let named = |all: [(&str, &str, u64); 4]| {
            all.map(|(key, project, n)| (key.to_owned(), project.to_owned(), n))
        };
        let gone = ("gone", "gone", 8);
        assert_eq!(
            read(&content, &here),
            named([("", "", 16), gone, ("team-a", "team-a", 3), ("team-b", "p", 4)])
        );
        assert_eq!(read(&content, &there), named([("", "", 16), gone, ("other", "p", 4), ("spare", "q", 3)]));
    }

    #[test]
    fn a_difference_makes_a_table_what_it_is_to_be_in_parts_that_fit() {
        let many = |range: std::ops::Range<u32>, cell: u8| -> TableCells {
            range.map(|n| (n.to_be_bytes().to_vec(), vec![cell])).collect()
        };
        let mut is = many(0..1_500, 1);
        let mut wanted = many(700..1_000, 1);
        wanted.extend(many(1_000..3_200, 2));
        let mut difference = TableDifference::between(&is, &wanted);
        let mut parts = 0;
        while let Some(part) = difference.next() {
            let TableDifference { set, removed } = part;
            assert!((1..=TableChange::MAX_CELLS).contains(&(set.len() + removed.len())));
            is.extend(set);
            for labels in &removed {
                assert!(is.remove(labels).is_some());
            }
            parts += 1;
        }
        assert_eq!((is, parts), (wanted, 3), "2,200 to set and 700 to remove");
    }

    #[test]
    fn of_very_many_the_same_are_told_apart_each_time_and_none_is_missing() {
        let rows: Vec<_> = (0..100)
            .map(|n| row(0, &[&format!("caller-{n}"), if n % 2 == 0 { "m" } else { "n" }], 1))
            .collect();
        let tables = |rows: &[ReportRow]| {
            let cells = tables_of_at_most(20, rows, Breakdown::Callers, &ring(&[])).remove(&0).unwrap();
            cells_of(&TableContent { stamp: None, cells }, &ring(&[]))
        };
        let named = |heard: &HeardCells| -> Vec<String> {
            let callers = heard.cells.iter().map(|(labels, _)| labels.caller.as_deref().unwrap().to_owned());
            callers.filter(|caller| caller != OTHER).collect()
        };
        let requests =
            |heard: &HeardCells| heard.cells.iter().map(|(_, cell)| cell.counters.requests).sum::<u64>();
        let (all, fewer) = (tables(&rows), tables(&rows[..90]));
        assert!(all.is_joined && fewer.is_joined);
        assert_eq!((requests(&all), all.cells.len(), named(&all).len()), (100, 22, 20));
        assert_eq!(requests(&fewer), 90);
        let still = named(&fewer).iter().filter(|caller| named(&all).contains(caller)).count();
        assert!(still >= 10, "those that came may take the place of as many: {still}");
        assert_eq!(tables(&rows[..20]).cells.len(), 20);
        assert!(!tables(&rows[..20]).is_joined);
    }

    #[test]
    fn what_a_newer_version_has_written_is_counted_as_unread() {
        let cells =
            [(Labels::model("m".into()).encode(), vec![99, 0]), (vec![255], Cell::default().encode())];
        let content = TableContent { stamp: None, cells: cells.into() };
        assert_eq!(cells_of(&content, &ring(&[])), HeardCells { unread: 2, ..HeardCells::default() });
    }
}
