//! Buckets, on Redis: a hash for each.

use std::time::Duration;

use redis::{Cmd, Value};

use super::{
    Redis,
    connection::{RedisConnection, read},
};
use crate::{
    away::Away,
    bucket::{BucketName, Counted, Draw, Drawn},
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
        let keys = [self.names.bucket(&draw.bucket), self.names.meta()];
        let (have, want) = (draw.have.counted(), draw.want.counted());
        let mut command = self.scripts.take.on(&keys);
        command.arg(self.node.as_str());
        command.arg(have.0).arg(have.1).arg(want.0).arg(want.1).arg(millis(draw.lives));
        command.arg(&draw.limits.counted()).arg(draw.day_ends_ms.unwrap_or(0));
        command.arg(draw.day_used.map_or(-1, |used| i64::try_from(used).unwrap_or(i64::MAX)));
        for (age, requests, tokens) in draw.reports() {
            command.arg(age).arg(requests).arg(tokens);
        }
        command
    }

    pub(super) fn close_bucket(
        &self,
        connection: &mut RedisConnection,
        bucket: &BucketName,
        time: Duration,
    ) -> Result<(), Away> {
        let time = if time.is_zero() { 0 } else { millis(time) };
        self.scripts.close.run(connection, &[self.names.bucket(bucket)], &time)
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
