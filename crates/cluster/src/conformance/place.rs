//! Where shared state is kept while it is held against the rules.

use std::{cell::RefCell, sync::Arc, thread, time::Duration};

use redis::{Connection, cmd, pipe};

use super::RedisServer;
use crate::{Common, CommonNode, NodeId, Redis, RedisSettings, Shared};

/// A place for shared state, empty at first, whose time the rules drive.
pub trait SharedPlace {
    /// A node's handle on it.
    type Shared: Shared + 'static;

    /// Returns one more handle of this node.
    fn node(&self, node: &NodeId) -> Self::Shared;

    /// Lets so much time pass by the shared clock.
    fn pass(&self, time: Duration);

    /// Sets the shared clock back by so much.
    fn set_back(&self, time: Duration);

    /// Lets so much time pass for what ends by itself: claims. Where that cannot be driven, it is waited for.
    fn wait_out(&self, time: Duration);

    /// Makes it what it is after a failover: another server with the same content.
    fn fail_over(&self);

    /// Makes it a server that is empty.
    fn lose_everything(&self);

    /// Makes it what a newer version has written.
    fn set_schema(&self, schema: u64);
}

impl SharedPlace for Common {
    type Shared = CommonNode;

    fn node(&self, node: &NodeId) -> CommonNode {
        Self::node(self, node.clone())
    }

    fn pass(&self, time: Duration) {
        Self::pass(self, time);
    }

    fn set_back(&self, time: Duration) {
        self.set_clock(self.now_ms().saturating_sub(u64::try_from(time.as_millis()).expect("a time")));
    }

    fn wait_out(&self, time: Duration) {
        Self::pass(self, time);
    }

    fn fail_over(&self) {
        Self::fail_over(self);
    }

    fn lose_everything(&self) {
        Self::lose_everything(self);
    }

    fn set_schema(&self, schema: u64) {
        Self::set_schema(self, schema);
    }
}

/// A prefix of its own on the shared server, with a clock of its own.
pub struct RedisPlace {
    settings: Arc<RedisSettings>,
    raw: RefCell<Connection>,
    // Last, so that the server outlives the connection.
    _server: Arc<RedisServer>,
}

impl RedisPlace {
    /// Returns an empty one, whose clock begins where the server's own is.
    pub fn new() -> Self {
        let server = RedisServer::shared();
        let settings = Arc::new(server.settings());
        let client = redis::Client::open(format!("redis://127.0.0.1:{}", server.port())).expect("an address");
        let mut raw = client.get_connection().expect("a connection");
        let (seconds, _): (u64, u64) = cmd("TIME").query(&mut raw).expect("the time");
        let clock = format!("{}:clock", settings.prefix);
        cmd("SET").arg(clock).arg(seconds * 1_000).exec(&mut raw).expect("the clock is set");
        Self { settings, raw: RefCell::new(raw), _server: server }
    }

    /// Returns the settings of its handles.
    pub fn settings(&self) -> Arc<RedisSettings> {
        Arc::clone(&self.settings)
    }

    /// Returns the name of a key under its prefix.
    pub fn key(&self, name: &str) -> String {
        format!("{}:{name}", self.settings.prefix)
    }

    /// Asks the server something past all handles.
    pub fn raw<T: redis::FromRedisValue>(&self, command: &[&str]) -> T {
        let mut question = cmd(command[0]);
        question.arg(&command[1..]);
        question.query(&mut *self.raw.borrow_mut()).expect("an answer")
    }
}

impl Default for RedisPlace {
    fn default() -> Self {
        Self::new()
    }
}

impl SharedPlace for RedisPlace {
    type Shared = Redis;

    fn node(&self, node: &NodeId) -> Redis {
        Redis::on_a_clock_of_its_own(self.settings(), node.clone())
    }

    fn pass(&self, time: Duration) {
        let _: i64 = self.raw(&["INCRBY", &self.key("clock"), &time.as_millis().to_string()]);
    }

    fn set_back(&self, time: Duration) {
        let _: i64 = self.raw(&["DECRBY", &self.key("clock"), &time.as_millis().to_string()]);
    }

    fn wait_out(&self, time: Duration) {
        thread::sleep(time);
    }

    fn fail_over(&self) {
        let _: i64 = self.raw(&["HSET", &self.key("{c}:meta"), "run_id", "another"]);
    }

    fn lose_everything(&self) {
        let clock: String = self.raw(&["GET", &self.key("clock")]);
        let keys: Vec<String> = self.raw(&["KEYS", &self.key("*")]);
        let mut loss = pipe();
        loss.atomic().cmd("DEL").arg(keys).ignore().cmd("SET").arg(self.key("clock")).arg(clock).ignore();
        loss.exec(&mut *self.raw.borrow_mut()).expect("all is lost");
    }

    fn set_schema(&self, schema: u64) {
        let _: i64 = self.raw(&["HSET", &self.key("{c}:meta"), "schema", &schema.to_string()]);
    }
}
