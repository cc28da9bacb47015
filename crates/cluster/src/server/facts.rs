//! Facts, on Redis: a hash with the last of each subject, and a stream with all in their order.

use std::time::Duration;

use redis::{Value, cmd};

use super::{Redis, connection::RedisConnection};
use crate::{
    away::Away,
    fact::{Fact, FactId, KnownFacts, PlacedFact, Reading, TellReply},
    millis::millis,
};

/// How many facts one call tells or reads, and how many bytes of them.
const AT_ONCE: usize = 200;
const BYTES_AT_ONCE: usize = 1 << 20;

/// How much longer than other calls it may take to read all that holds.
pub(super) const KNOWN_TAKES: Duration = Duration::from_secs(3);

/// Cuts a list into parts that one call can tell.
pub(super) fn parts(mut facts: &[Fact]) -> impl Iterator<Item = &[Fact]> {
    std::iter::from_fn(move || {
        let mut bytes = 0;
        let fits = facts.iter().take(AT_ONCE).take_while(|fact| {
            bytes += fact.subject().len() + fact.body().len();
            bytes <= BYTES_AT_ONCE
        });
        // One alone always fits.
        let (part, rest) = facts.split_at_checked(fits.count().max(1))?;
        facts = rest;
        Some(part)
    })
}

impl Redis {
    pub(super) fn write(
        &self,
        connection: &mut RedisConnection,
        facts: &[Fact],
        seen: FactId,
    ) -> Result<Vec<TellReply>, Away> {
        let mut arguments = vec![seen.to_string()];
        for fact in facts {
            arguments.push(fact.subject().to_owned());
            arguments.push(format!("{:020}", fact.rank()));
            arguments.push(fact.origin().to_string());
            arguments.push(fact.body().to_owned());
        }
        let keys = [self.names.rec(), self.names.facts()];
        let answers: Vec<String> = self.scripts.tell.run(connection, &keys, &arguments)?;
        if answers.len() != facts.len() {
            return Err(Away::Garbled);
        }
        let reply = |(fact, answer): (&Fact, String)| match answer.parse() {
            Ok(id) => Ok(TellReply::Written(id)),
            Err(_) => {
                PlacedFact::held(fact.subject(), &answer).map(TellReply::Overruled).ok_or(Away::Garbled)
            }
        };
        facts.iter().zip(answers).map(reply).collect()
    }

    pub(super) fn read_known(&self, connection: &mut RedisConnection) -> Result<KnownFacts, Away> {
        let keys = [self.names.rec(), self.names.facts()];
        let mut answer: Vec<String> = self.scripts.known.run(connection, &keys, &&[""; 0])?;
        if answer.is_empty() {
            return Err(Away::Garbled);
        }
        let end = answer.remove(0).parse().map_err(|_| Away::Garbled)?;
        // A value that cannot be read is passed over: whoever knows better tells it anew.
        let facts = answer.chunks_exact(2).filter_map(|pair| PlacedFact::held(&pair[0], &pair[1])).collect();
        Ok(KnownFacts { facts, end })
    }

    pub(super) fn await_facts(
        &self,
        connection: &mut RedisConnection,
        after: FactId,
        wait: Duration,
    ) -> Result<Reading, Away> {
        let first = self.read_facts(connection, after)?;
        if wait < Duration::from_millis(1) || first != Reading::Facts(Vec::new()) {
            return Ok(first);
        }
        let mut waiting = cmd("XREAD");
        waiting.arg("COUNT").arg(1).arg("BLOCK").arg(millis(wait));
        waiting.arg("STREAMS").arg(self.names.facts()).arg(after.to_string());
        let woken: Value = connection.ask(&waiting)?;
        if woken == Value::Nil {
            return Ok(first);
        }
        // Read as at first, so that nothing that was cut off in between is missed.
        self.read_facts(connection, after)
    }

    fn read_facts(&self, connection: &mut RedisConnection, after: FactId) -> Result<Reading, Away> {
        type Entry = (String, Vec<String>);
        let arguments = (after.to_string(), AT_ONCE);
        let entries: Option<Vec<Entry>> =
            self.scripts.facts.run(connection, &[self.names.facts()], &arguments)?;
        let Some(entries) = entries else { return Ok(Reading::Trimmed) };
        let facts =
            entries.into_iter().map(|(id, fields)| PlacedFact::of_entry(&id, &fields).ok_or(Away::Garbled));
        facts.collect::<Result<_, _>>().map(Reading::Facts)
    }
}
