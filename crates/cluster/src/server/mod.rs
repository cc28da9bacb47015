//! What is shared, on a Redis: a handle with one connection, its calls one at a time. The names of Redis' commands appear
//! in this module and in `lua/` only.

mod buckets;
mod connection;
mod facts;
mod ledger;
mod members;
mod names;
mod opening;
mod script;
mod stream;
mod sums;
mod tables;
mod tls;

use std::{
    collections::BTreeMap,
    sync::Arc,
    time::{Duration, Instant},
};

use redis::cmd;

use crate::{
    away::Away,
    bucket::{BucketName, Draw, Drawn},
    fact::{Fact, FactId, KnownFacts, Reading, TellReply},
    node::{Beat, ClusterMember, ClusterState, NodeId},
    settings::RedisSettings,
    shared::{ClaimReply, Shared},
    sums::{AddReply, Addition},
    tables::{BookId, TableChange, TableContent, TableReply, TableStep, UsageTable},
};
pub use ledger::RedisLedger;

use connection::RedisConnection;
use names::KeyNames;
use opening::Opener;
use script::Scripts;

/// A handle on a Redis. It connects at its first call, and again at the first call after one that failed: an outage costs
/// each call at most the time that connecting and one call may take, and nothing is asked of a connection whose state is not
/// known. Each connection begins with a hello, so that none is used across two generations unseen. A thread that waits for
/// facts needs a handle of its own.
pub struct Redis {
    node: NodeId,
    names: KeyNames,
    scripts: Scripts,
    opener: Opener,
    connection: Option<RedisConnection>,
}

impl Redis {
    /// Returns a handle of this node that has not connected yet.
    pub fn new(settings: Arc<RedisSettings>, node: NodeId) -> Self {
        Self::with_scripts(settings, node, Scripts::new())
    }

    /// Returns a handle whose scripts do not go by the server's clock but by the number of milliseconds in the key
    /// `PREFIX:clock`: what takes a minute takes a test no time.
    #[cfg(feature = "conformance")]
    pub fn on_a_clock_of_its_own(settings: Arc<RedisSettings>, node: NodeId) -> Self {
        let key = format!("{}:clock", settings.prefix);
        let clock = format!("local function now_ms() return tonumber(redis.call('GET', '{key}')) end");
        Self::with_scripts(settings, node, Scripts::on_clock(&clock))
    }

    fn with_scripts(settings: Arc<RedisSettings>, node: NodeId, scripts: Scripts) -> Self {
        let names = KeyNames::new(settings.prefix.clone(), settings.shards);
        Self { node, names, scripts, opener: Opener::new(settings), connection: None }
    }

    /// Asks for a sign of life. All that a connection needs is asked for too: the password, the right to write, the schema.
    pub fn ping(&mut self) -> Result<(), Away> {
        let answer: String = self.call(Duration::ZERO, |_, connection| connection.ask(&cmd("PING")))?;
        if answer == "PONG" { Ok(()) } else { Err(Away::Garbled) }
    }

    /// Makes one call on a connection that is ready for it. The call may take `wait` longer than others: a server that was
    /// asked to wait answers when it has waited.
    fn call<T>(
        &mut self,
        wait: Duration,
        call: impl FnOnce(&Self, &mut RedisConnection) -> Result<T, Away>,
    ) -> Result<T, Away> {
        // A server that was restarted, or that closes what is idle, has said so already: that is no failed call.
        let mut kept = self.connection.take();
        let mut connection = if let Some(connection) = kept.take_if(|kept| !kept.has_ended()) {
            connection
        } else {
            let mut opened = self.opener.open()?;
            self.greet(&mut opened)?;
            opened
        };
        connection.set_end(Instant::now() + self.opener.settings().call_timeout + wait);
        let answer = call(self, &mut connection);
        // After most errors the next call connects anew: an answer may still be on its way, or the primary be another. A
        // server that is full, or forbids one thing, is still the one to ask for others.
        if matches!(answer, Ok(_) | Err(Away::Full | Away::Denied { .. })) {
            self.connection = Some(connection);
        }
        answer
    }
}

impl Shared for Redis {
    fn hello(&mut self) -> Result<ClusterState, Away> {
        self.call(Duration::ZERO, Self::greet)
    }

    fn beat(&mut self, beat: &Beat) -> Result<ClusterState, Away> {
        self.call(Duration::ZERO, |redis, connection| redis.send_beat(connection, beat))
    }

    fn nodes(&mut self) -> Result<Vec<ClusterMember>, Away> {
        self.call(Duration::ZERO, Self::read_members)
    }

    fn leave(&mut self) -> Result<(), Away> {
        self.call(Duration::ZERO, Self::remove_member)
    }

    fn tell(&mut self, facts: &[Fact], seen: FactId) -> Result<Vec<TellReply>, Away> {
        let mut replies = Vec::with_capacity(facts.len());
        for part in facts::parts(facts) {
            replies
                .extend(self.call(Duration::ZERO, |redis, connection| redis.write(connection, part, seen))?);
        }
        Ok(replies)
    }

    fn known(&mut self) -> Result<KnownFacts, Away> {
        self.call(facts::KNOWN_TAKES, Self::read_known)
    }

    fn facts(&mut self, after: FactId, wait: Duration) -> Result<Reading, Away> {
        self.call(wait, |redis, connection| redis.await_facts(connection, after, wait))
    }

    fn claim(&mut self, site: &str, patience: Duration) -> Result<ClaimReply, Away> {
        self.call(Duration::ZERO, |redis, connection| redis.set_claim(connection, site, patience))
    }

    fn release(&mut self, site: &str) -> Result<(), Away> {
        self.call(Duration::ZERO, |redis, connection| redis.drop_claim(connection, site))
    }

    fn take(&mut self, draws: &[Draw]) -> Result<Vec<Drawn>, Away> {
        self.call(Duration::ZERO, |redis, connection| redis.draw(connection, draws))
    }

    fn close(&mut self, bucket: &BucketName, time: Duration) -> Result<(), Away> {
        self.call(Duration::ZERO, |redis, connection| redis.close_bucket(connection, bucket, time))
    }

    fn add(&mut self, addition: &Addition) -> Result<AddReply, Away> {
        self.call(Duration::ZERO, |redis, connection| redis.add_up(connection, addition))
    }

    fn sums(&mut self, name: &str) -> Result<BTreeMap<String, i64>, Away> {
        self.call(Duration::ZERO, |redis, connection| redis.read_sums(connection, name))
    }

    fn keep_book(&mut self, book: &BookId) -> Result<(), Away> {
        self.call(Duration::ZERO, |redis, connection| redis.note_book(connection, book))
    }

    fn books(&mut self) -> Result<Vec<(BookId, NodeId)>, Away> {
        self.call(Duration::ZERO, Self::read_books)
    }

    fn write_table(&mut self, change: &TableChange) -> Result<TableReply, Away> {
        self.call(Duration::ZERO, |redis, connection| redis.change_table(connection, change))
    }

    fn tables(&mut self, step: TableStep, from: i64, to: i64) -> Result<Vec<(i64, BookId)>, Away> {
        self.call(Duration::ZERO, |redis, connection| redis.list_tables(connection, step, from, to))
    }

    fn read_tables(&mut self, tables: &[UsageTable]) -> Result<Vec<TableContent>, Away> {
        self.call(Duration::ZERO, |redis, connection| redis.read_contents(connection, tables))
    }
}
