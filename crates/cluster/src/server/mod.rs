//! What is shared, on a Redis: a handle with one connection, its calls one at a time. The names of Redis' commands appear
//! in this module and in `lua/` only.

mod connection;
mod opening;
mod stream;
mod tls;

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use redis::cmd;

use crate::{away::Away, settings::RedisSettings};
use connection::RedisConnection;
use opening::Opener;

/// A handle on a Redis. It connects at its first call, and again at the first call after one that failed: an outage costs
/// each call at most the time that connecting and one call may take, and nothing is asked of a connection whose state is not
/// known. A thread that waits for facts needs a handle of its own.
pub struct Redis {
    opener: Opener,
    connection: Option<RedisConnection>,
}

impl Redis {
    /// Returns a handle that has not connected yet.
    pub fn new(settings: Arc<RedisSettings>) -> Self {
        Self { opener: Opener::new(settings), connection: None }
    }

    /// Asks for a sign of life.
    pub fn ping(&mut self) -> Result<(), Away> {
        let answer: String = self.call(Duration::ZERO, |connection| connection.ask(&cmd("PING")))?;
        if answer == "PONG" { Ok(()) } else { Err(Away::Garbled) }
    }

    /// Makes one call on a connection that is ready for it. The call may take `wait` longer than others: a server that was
    /// asked to wait answers when it has waited.
    fn call<T>(
        &mut self,
        wait: Duration,
        call: impl FnOnce(&mut RedisConnection) -> Result<T, Away>,
    ) -> Result<T, Away> {
        // A server that was restarted, or that closes what is idle, has said so already: that is no failed call.
        let kept = self.connection.take().filter(|kept| !kept.has_ended());
        let mut connection = match kept {
            Some(connection) => connection,
            None => self.opener.open()?,
        };
        connection.set_end(Instant::now() + self.opener.settings().call_timeout + wait);
        // After any error the next call connects anew: an answer may still be on its way, and the primary may be another.
        let answer = call(&mut connection)?;
        self.connection = Some(connection);
        Ok(answer)
    }
}
