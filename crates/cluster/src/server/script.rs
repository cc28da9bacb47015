//! The scripts: what is to be done in one go, by the server's clock. They are sent by their hash, and loaded where the
//! server does not know it, which is so after every restart.

use redis::{Cmd, FromRedisValue, Script, ToRedisArgs, Value, cmd};

use super::connection::{RedisConnection, read};
use crate::away::Away;

/// The server's clock, by which all scripts go.
const CLOCK: &str = include_str!("../lua/clock.lua");

/// All scripts of a handle.
pub(super) struct Scripts {
    pub(super) hello: LuaScript,
    pub(super) beat: LuaScript,
    pub(super) nodes: LuaScript,
    pub(super) tell: LuaScript,
    pub(super) known: LuaScript,
    pub(super) facts: LuaScript,
    pub(super) claim: LuaScript,
    pub(super) release: LuaScript,
    pub(super) take: LuaScript,
    pub(super) close: LuaScript,
    pub(super) add: LuaScript,
    pub(super) book: LuaScript,
    pub(super) books: LuaScript,
    pub(super) table: LuaScript,
}

impl Scripts {
    /// Returns the scripts, by the server's clock.
    pub(super) fn new() -> Self {
        Self::on_clock(CLOCK)
    }

    /// Returns the scripts, by the clock whose Lua this is.
    pub(super) fn on_clock(clock: &str) -> Self {
        let meta = include_str!("../lua/meta.lua");
        let script = |body: &str| LuaScript::new(&[clock, meta, body]);
        let of_buckets = |body: &str| LuaScript::new(&[clock, meta, include_str!("../lua/bucket.lua"), body]);
        Self {
            hello: script(include_str!("../lua/hello.lua")),
            beat: script(include_str!("../lua/beat.lua")),
            nodes: script(include_str!("../lua/nodes.lua")),
            tell: script(include_str!("../lua/tell.lua")),
            known: script(include_str!("../lua/known.lua")),
            facts: script(include_str!("../lua/facts.lua")),
            claim: script(include_str!("../lua/claim.lua")),
            release: script(include_str!("../lua/release.lua")),
            take: of_buckets(include_str!("../lua/take.lua")),
            close: of_buckets(include_str!("../lua/close.lua")),
            add: script(include_str!("../lua/add.lua")),
            book: script(include_str!("../lua/book.lua")),
            books: script(include_str!("../lua/books.lua")),
            table: script(include_str!("../lua/table.lua")),
        }
    }
}

/// One script.
pub(super) struct LuaScript {
    code: String,
    hash: String,
}

impl LuaScript {
    fn new(parts: &[&str]) -> Self {
        let code = parts.join("\n");
        Self { hash: Script::new(&code).get_hash().to_owned(), code }
    }

    /// Returns the command that runs it; arguments are added to it.
    pub(super) fn on(&self, keys: &[String]) -> Cmd {
        let mut command = cmd("EVALSHA");
        command.arg(&self.hash).arg(keys.len()).arg(keys);
        command
    }

    /// Runs it once.
    pub(super) fn run<T: FromRedisValue>(
        &self,
        connection: &mut RedisConnection,
        keys: &[String],
        arguments: &impl ToRedisArgs,
    ) -> Result<T, Away> {
        let mut command = self.on(keys);
        command.arg(arguments);
        let mut answers = self.run_all(connection, std::slice::from_ref(&command))?;
        read(answers.pop().unwrap_or_default())
    }

    /// Runs it once for each command, all sent at once; an error of the server's is among the answers.
    pub(super) fn run_all(
        &self,
        connection: &mut RedisConnection,
        commands: &[Cmd],
    ) -> Result<Vec<Value>, Away> {
        let mut answers = connection.send(commands)?;
        // Those that did not find the script were not run, so they can be sent again.
        let missed: Vec<_> = (0..answers.len()).filter(|place| is_missing(&answers[*place])).collect();
        if !missed.is_empty() {
            let _: String = connection.ask(cmd("SCRIPT").arg("LOAD").arg(&self.code))?;
            let again: Vec<_> = missed.iter().map(|place| commands[*place].clone()).collect();
            for (place, answer) in missed.into_iter().zip(connection.send(&again)?) {
                answers[place] = answer;
            }
        }
        Ok(answers)
    }
}

fn is_missing(answer: &Value) -> bool {
    matches!(answer, Value::ServerError(error) if error.code() == "NOSCRIPT")
}
