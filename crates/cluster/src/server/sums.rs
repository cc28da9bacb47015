//! Sums, on Redis.

use std::collections::BTreeMap;

use redis::cmd;

use super::{Redis, connection::RedisConnection};
use crate::{
    away::Away,
    millis::millis,
    sums::{AddReply, Addition},
};

impl Redis {
    pub(super) fn add_up(
        &self,
        connection: &mut RedisConnection,
        addition: &Addition,
    ) -> Result<AddReply, Away> {
        let mut arguments =
            vec![self.node.to_string(), addition.number().to_string(), millis(addition.keep()).to_string()];
        for (field, delta) in addition.deltas() {
            arguments.push(field.to_string());
            arguments.push(delta.to_string());
        }
        let key = self.names.sums(addition.name());
        let mut answer: Vec<i64> = self.scripts.add.run(connection, &[key], &arguments)?;
        if answer.len() != addition.deltas().len() + 1 {
            return Err(Away::Garbled);
        }
        let is_new = answer.remove(0) == 1;
        Ok(if is_new { AddReply::Added(answer) } else { AddReply::AddedBefore(answer) })
    }

    pub(super) fn read_sums(
        &self,
        connection: &mut RedisConnection,
        name: &str,
    ) -> Result<BTreeMap<String, i64>, Away> {
        let all: BTreeMap<String, i64> = connection.ask(cmd("HGETALL").arg(self.names.sums(name)))?;
        // The others are numbers of nodes.
        let field = |(field, sum): (String, i64)| Some((field.strip_prefix("f:")?.to_owned(), sum));
        Ok(all.into_iter().filter_map(field).collect())
    }
}
