//! Tables of usage books, on Redis.

use std::collections::HashMap;

use redis::cmd;

use super::{
    Redis,
    connection::{RedisConnection, read},
};
use crate::{
    away::Away,
    millis::millis,
    node::NodeId,
    tables::{BookId, TableChange, TableContent, TableReply, TableStamp, TableStep, UsageTable},
};

/// The field with the stamp; those of cells begin with another letter.
const STAMP: &[u8] = b"s";
const CELL: u8 = b'c';
/// For how long after it was noted last a book counts as one that is kept.
const BOOKS_COUNTED_MS: u64 = 15_000;

impl Redis {
    pub(super) fn note_book(&self, connection: &mut RedisConnection, book: &BookId) -> Result<(), Away> {
        let kept = format!("{book} {}", self.node);
        self.scripts.book.run(connection, &[self.names.books()], &kept)
    }

    pub(super) fn read_books(&self, connection: &mut RedisConnection) -> Result<Vec<(BookId, NodeId)>, Away> {
        let kept: Vec<String> =
            self.scripts.books.run(connection, &[self.names.books()], &BOOKS_COUNTED_MS)?;
        let book = |kept: String| {
            let (book, node) = kept.split_once(' ')?;
            Some((BookId::new(book).ok()?, NodeId::new(node).ok()?))
        };
        Ok(kept.into_iter().filter_map(book).collect())
    }

    pub(super) fn change_table(
        &self,
        connection: &mut RedisConnection,
        change: &TableChange,
    ) -> Result<TableReply, Away> {
        let table = change.table();
        let stamp = |stamp: Option<TableStamp>| stamp.map(stamp_text).unwrap_or_default();
        let mut arguments = vec![
            table.at.to_string().into_bytes(),
            table.book.as_str().into(),
            millis(table.step.kept()).to_string().into_bytes(),
            stamp(change.before()).into_bytes(),
            stamp(Some(change.after())).into_bytes(),
            change.set().len().to_string().into_bytes(),
        ];
        for (labels, cell) in change.set() {
            arguments.push(field(labels));
            arguments.push(cell.clone());
        }
        arguments.extend(change.removed().iter().map(|labels| field(labels)));
        let keys = [self.names.table(table), self.names.tables(table.step)];
        let word: String = self.scripts.table.run(connection, &keys, &arguments)?;
        match word.as_str() {
            "written" => Ok(TableReply::Written),
            "stale" => Ok(TableReply::Stale),
            "past" => Ok(TableReply::Past),
            _ => Err(Away::Garbled),
        }
    }

    pub(super) fn list_tables(
        &self,
        connection: &mut RedisConnection,
        step: TableStep,
        from: i64,
        to: i64,
    ) -> Result<Vec<(i64, BookId)>, Away> {
        let mut question = cmd("ZRANGEBYSCORE");
        question.arg(self.names.tables(step)).arg(from).arg(format!("({to}"));
        let listed: Vec<String> = connection.ask(&question)?;
        let place = |listed: String| {
            let (at, book) = listed.split_once(' ')?;
            Some((at.parse().ok()?, BookId::new(book).ok()?))
        };
        Ok(listed.into_iter().filter_map(place).collect())
    }

    pub(super) fn read_contents(
        &self,
        connection: &mut RedisConnection,
        tables: &[UsageTable],
    ) -> Result<Vec<TableContent>, Away> {
        let questions: Vec<_> = tables
            .iter()
            .map(|table| {
                let mut question = cmd("HGETALL");
                question.arg(self.names.table(table));
                question
            })
            .collect();
        connection.send(&questions)?.into_iter().map(|answer| Ok(content(read(answer)?))).collect()
    }
}

fn field(labels: &[u8]) -> Vec<u8> {
    [&[CELL], labels].concat()
}

fn stamp_text(stamp: TableStamp) -> String {
    format!("{:016x}", stamp.0)
}

/// Fields of later versions are passed over.
fn content(fields: HashMap<Vec<u8>, Vec<u8>>) -> TableContent {
    let mut content = TableContent::default();
    for (name, value) in fields {
        match name.split_first() {
            Some((&CELL, labels)) => {
                content.cells.insert(labels.to_vec(), value);
            }
            _ if name == STAMP => {
                let text = str::from_utf8(&value).ok();
                content.stamp = text.and_then(|text| u64::from_str_radix(text, 16).ok()).map(TableStamp);
            }
            _ => {}
        }
    }
    content
}
