//! Buckets, on Redis: a hash for each, and for each shard of a model an index of those with room.

use std::time::Duration;

use redis::{Cmd, Value};

use super::{
    Redis,
    connection::{RedisConnection, read},
};
use crate::{
    away::Away,
    bucket::{AnyDraw, AnyDrawn, BucketName, Counted, Draw, Drawn},
    millis::millis,
};

impl Redis {
    pub(super) fn draw(&self, connection: &mut RedisConnection, draws: &[Draw]) -> Result<Vec<Drawn>, Away> {
        let commands: Vec<_> = draws.iter().map(|draw| self.draw_command(draw)).collect();
        let answers = self.scripts.take.run_all(connection, &commands)?;
        let drawn = |(draw, answer): (&Draw, Value)| {
            let (now, generation, counts): (u64, u64, Vec<i64>) = read(answer)?;
            Ok(counted(&counts)?.drawn(draw.bucket.clone(), now, generation))
        };
        draws.iter().zip(answers).map(drawn).collect()
    }

    fn draw_command(&self, draw: &Draw) -> Cmd {
        let owner = draw.bucket.owner();
        let [bucket, open] = self.names.bucket(&draw.bucket);
        let keys = [bucket, open, self.names.meta()];
        let (have, want) = (draw.have.counted(), draw.want.counted());
        let mut command = self.scripts.take.on(&keys);
        command.arg(self.node.as_str()).arg(owner);
        command.arg(have.0).arg(have.1).arg(want.0).arg(want.1).arg(millis(draw.lives));
        command.arg(&draw.limits.counted()).arg(draw.day_ends_ms.unwrap_or(0));
        command.arg(draw.day_used.map_or(-1, |used| i64::try_from(used).unwrap_or(i64::MAX)));
        for (age, requests, tokens) in draw.reports() {
            command.arg(age).arg(requests).arg(tokens);
        }
        command
    }

    pub(super) fn draw_any(
        &self,
        connection: &mut RedisConnection,
        draw: &AnyDraw,
    ) -> Result<AnyDrawn, Away> {
        let shards = u32::from(self.names.shards());
        let shard = u16::try_from(draw.start % shards).unwrap_or_default();
        let want = draw.want.counted();
        let mut command = self.scripts.any.on(&[self.names.open(&draw.model, shard), self.names.meta()]);
        command.arg(self.node.as_str()).arg(want.0.max(1)).arg(want.1).arg(millis(draw.lives));
        command.arg(draw.start / shards).arg(self.names.buckets(&draw.model, shard));
        for owner in &draw.except {
            command.arg(&**owner);
        }
        let mut answers = self.scripts.any.run_all(connection, std::slice::from_ref(&command))?;
        let (now, generation, opens_in, drawn): (u64, u64, i64, Vec<Value>) =
            read(answers.pop().unwrap_or_default())?;
        let mut drawn = drawn.into_iter();
        let mut buckets = Vec::new();
        while let (Some(owner), Some(counts)) = (drawn.next(), drawn.next()) {
            let bucket = BucketName::new(&read::<String>(owner)?, &draw.model).map_err(|_| Away::Garbled)?;
            buckets.push(counted(&read::<Vec<i64>>(counts)?)?.drawn(bucket, now, generation));
        }
        let opens_in = u64::try_from(opens_in).ok().map(Duration::from_millis);
        Ok(AnyDrawn { drawn: buckets, opens_in })
    }

    pub(super) fn close_bucket(
        &self,
        connection: &mut RedisConnection,
        bucket: &BucketName,
        time: Duration,
    ) -> Result<(), Away> {
        let time = if time.is_zero() { 0 } else { millis(time) };
        self.scripts.close.run(connection, &self.names.bucket(bucket), &(bucket.owner(), time))
    }
}

/// Reads what a script answers of one bucket.
fn counted(counts: &[i64]) -> Result<Counted, Away> {
    let &[requests, tokens, left, left_tokens, left_of_day, opens_in, closed_for, rpm, tpm, rpd] = counts
    else {
        return Err(Away::Garbled);
    };
    Ok(Counted {
        given: [requests, tokens],
        left: [left, left_tokens, left_of_day],
        opens_in,
        closed_for,
        limits: [rpm, tpm, rpd],
    })
}
