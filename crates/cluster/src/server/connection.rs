//! One connection to Redis that is ready for calls: authenticated, in the right database, and to a primary. It turns
//! commands into answers and errors into [`Away`]; what is asked is its callers' affair.

use std::{io::Write, sync::Arc, time::Instant};

use redis::{
    Cmd, ErrorKind, FromRedisValue, Parser, RedisError, RedisResult, ServerErrorKind, Value, cmd,
    from_redis_value,
};
use rustls::ClientConfig;

use super::stream::RedisStream;
use crate::{address::Endpoint, away::Away, settings::RedisSettings};

/// How many characters of a sentence of the server's are passed on.
const MAX_DETAIL: usize = 200;

/// A connection. After an error that is not the server's own it must not be used again.
pub(super) struct RedisConnection {
    stream: RedisStream,
    parser: Parser,
    /// The server's name for this run of itself: another after every restart.
    run_id: String,
}

impl RedisConnection {
    /// Connects and makes ready, all of it until `end`.
    pub(super) fn open(
        settings: &RedisSettings,
        endpoint: &Endpoint,
        tls: Option<&Arc<ClientConfig>>,
        end: Instant,
    ) -> Result<Self, Away> {
        let mut connection = Self::bare(endpoint, tls, end)?;
        if let Some(password) = settings.password() {
            connection.authenticate(settings.username(), password.expose())?;
        }
        if settings.address.database != 0 {
            let _: () = connection.ask(cmd("SELECT").arg(settings.address.database))?;
        }
        let server: String = connection.ask(cmd("INFO").arg("server"))?;
        let replication: String = connection.ask(cmd("INFO").arg("replication"))?;
        info_field(&server, "run_id").ok_or(Away::Garbled)?.clone_into(&mut connection.run_id);
        // A Sentinel names the old primary for a while; one that is a replica would refuse every write.
        if info_field(&replication, "role") != Some("master") {
            return Err(Away::ReadOnly);
        }
        Ok(connection)
    }

    /// Connects, and says nothing yet: for a Sentinel.
    pub(super) fn bare(
        endpoint: &Endpoint,
        tls: Option<&Arc<ClientConfig>>,
        end: Instant,
    ) -> Result<Self, Away> {
        let stream = RedisStream::connect(endpoint, tls, end).map_err(|error| away(&error.into()))?;
        Ok(Self { stream, parser: Parser::new(), run_id: String::new() })
    }

    pub(super) fn authenticate(&mut self, username: Option<&str>, password: &str) -> Result<(), Away> {
        let mut command = cmd("AUTH");
        if let Some(username) = username {
            command.arg(username);
        }
        // What the server says of a password is not passed on.
        self.ask::<()>(command.arg(password)).map_err(|error| match error {
            Away::Refused { code, .. } => Away::Denied { code },
            other => other,
        })
    }

    pub(super) fn run_id(&self) -> &str {
        &self.run_id
    }

    /// Sets when the calls from now on have to be over.
    pub(super) fn set_end(&mut self, end: Instant) {
        self.stream.set_end(end);
    }

    /// Returns whether it is known to be of no use any more.
    pub(super) fn has_ended(&mut self) -> bool {
        self.stream.has_ended()
    }

    /// Sends one command and reads its answer.
    pub(super) fn ask<T: FromRedisValue>(&mut self, command: &Cmd) -> Result<T, Away> {
        let mut answers = self.send(std::slice::from_ref(command))?;
        read(answers.pop().unwrap_or_default())
    }

    /// Sends the commands at once and returns their answers in the same order, errors of the server among them.
    pub(super) fn send(&mut self, commands: &[Cmd]) -> Result<Vec<Value>, Away> {
        self.exchange(commands).map_err(|error| away(&error))
    }

    fn exchange(&mut self, commands: &[Cmd]) -> RedisResult<Vec<Value>> {
        let mut bytes = Vec::new();
        for command in commands {
            bytes.extend_from_slice(&command.get_packed_command());
        }
        self.stream.write_all(&bytes)?;
        self.stream.flush()?;
        commands.iter().map(|_| self.parser.parse_value(&mut self.stream)).collect()
    }
}

/// Reads an answer as what is expected of it.
pub(super) fn read<T: FromRedisValue>(answer: Value) -> Result<T, Away> {
    let answer = answer.extract_error().map_err(|error| away(&error))?;
    from_redis_value(answer).map_err(|_| Away::Garbled)
}

/// Says what an error of the library's means to a gateway.
fn away(error: &RedisError) -> Away {
    let code = error.code().unwrap_or_default().chars().take(32).collect::<String>();
    match error.kind() {
        ErrorKind::Io if error.is_timeout() => Away::TimedOut,
        ErrorKind::Io => Away::Unreachable { reason: error.to_string() },
        ErrorKind::AuthenticationFailed | ErrorKind::Server(ServerErrorKind::NoPerm) => Away::Denied { code },
        ErrorKind::Server(ServerErrorKind::ReadOnly) => Away::ReadOnly,
        ErrorKind::Server(
            ServerErrorKind::Moved | ServerErrorKind::ClusterDown | ServerErrorKind::CrossSlot,
        ) => {
            Away::Refused { code, detail: "it is a Redis Cluster, which cannot be used, not yet".to_owned() }
        }
        ErrorKind::Server(_) | ErrorKind::Extension => match code.as_str() {
            "NOAUTH" | "WRONGPASS" => Away::Denied { code },
            "OOM" => Away::Full,
            // A script that was refused says why in its sentence, and not in its code, on some versions.
            _ if error.detail().is_some_and(|detail| detail.contains("-OOM")) => Away::Full,
            _ => {
                let line = error.detail().unwrap_or_default().lines().next().unwrap_or_default();
                Away::Refused { code, detail: line.chars().take(MAX_DETAIL).collect() }
            }
        },
        _ => Away::Garbled,
    }
}

/// Finds `name:value` in what INFO answers.
fn info_field<'a>(info: &'a str, name: &str) -> Option<&'a str> {
    info.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':')).map(str::trim)
}
