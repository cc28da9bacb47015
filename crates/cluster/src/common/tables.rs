//! Tables of usage books, in memory.

use super::CommonState;
use crate::{
    millis::millis,
    node::NodeId,
    tables::{BookId, TableChange, TableContent, TableReply, TableStep, UsageTable},
};

impl CommonState {
    pub(super) fn keep_book(&mut self, node: &NodeId, book: &BookId) {
        self.books.insert((book.clone(), node.clone()), self.now_ms);
    }

    pub(super) fn books(&self) -> Vec<(BookId, NodeId)> {
        let is_kept = |at: u64| self.now_ms.saturating_sub(at) <= 15_000;
        self.books.iter().filter(|(_, at)| is_kept(**at)).map(|(kept, _)| kept.clone()).collect()
    }

    pub(super) fn write_table(&mut self, change: &TableChange) -> TableReply {
        if self.has_ended(change.table()) {
            return TableReply::Past;
        }
        let content = self.tables.entry(change.table().clone()).or_default();
        if content.stamp == Some(change.after()) {
            return TableReply::Written;
        }
        if content.stamp != change.before() {
            return TableReply::Stale;
        }
        content.stamp = Some(change.after());
        content.cells.extend(change.set().iter().cloned());
        for labels in change.removed() {
            content.cells.remove(labels);
        }
        TableReply::Written
    }

    pub(super) fn tables(&self, step: TableStep, from: i64, to: i64) -> Vec<(i64, BookId)> {
        let there = self.tables.iter().filter(|(table, content)| {
            table.step == step
                && (from..to).contains(&table.at)
                && content.stamp.is_some()
                && !self.has_ended(table)
        });
        let mut listed: Vec<_> = there.map(|(table, _)| (table.at, table.book.clone())).collect();
        listed.sort_unstable();
        listed.dedup();
        listed
    }

    pub(super) fn read_table(&self, table: &UsageTable) -> TableContent {
        let content = self.tables.get(table).filter(|_| !self.has_ended(table));
        content.cloned().unwrap_or_default()
    }

    fn has_ended(&self, table: &UsageTable) -> bool {
        let begins_ms = table.at.saturating_mul(1_000);
        let ends_ms = begins_ms.saturating_add_unsigned(millis(table.step.kept()));
        u64::try_from(ends_ms).unwrap_or_default() <= self.now_ms
    }
}
