//! Hello, beats, the list of nodes, and claims, on Redis.

use std::{collections::HashMap, time::Duration};

use redis::{Value, cmd};

use super::{
    Redis,
    connection::{RedisConnection, read},
};
use crate::{
    SCHEMA,
    away::Away,
    millis::millis,
    node::{Beat, ClusterMember, ClusterState, Generation, NodeId},
    shared::ClaimReply,
};

/// How many nodes are listed.
const MAX_LISTED: usize = 10_000;

impl Redis {
    pub(super) fn greet(&self, connection: &mut RedisConnection) -> Result<ClusterState, Away> {
        let arguments = (connection.run_id().to_owned(), SCHEMA);
        state(self.scripts.hello.run(connection, &[self.names.meta()], &arguments)?)
    }

    pub(super) fn send_beat(
        &self,
        connection: &mut RedisConnection,
        beat: &Beat,
    ) -> Result<ClusterState, Away> {
        let keys = [self.names.meta(), self.names.nodes(), self.names.node(&self.node)];
        let arguments = [
            connection.run_id().to_owned(),
            SCHEMA.to_string(),
            self.node.to_string(),
            "name".to_owned(),
            beat.name.clone(),
            "version".to_owned(),
            beat.version.clone(),
            "settings".to_owned(),
            beat.settings.clone(),
            "since".to_owned(),
            beat.since_ms.to_string(),
            "applied".to_owned(),
            beat.applied.to_string(),
            "load".to_owned(),
            beat.load.clone(),
        ];
        state(self.scripts.beat.run(connection, &keys, &&arguments[..])?)
    }

    pub(super) fn read_members(&self, connection: &mut RedisConnection) -> Result<Vec<ClusterMember>, Away> {
        let (now, beats): (u64, Vec<(String, u64)>) =
            self.scripts.nodes.run(connection, &[self.names.nodes()], &MAX_LISTED)?;
        let nodes: Vec<_> =
            beats.into_iter().filter_map(|(node, at)| Some((NodeId::new(&node).ok()?, at))).collect();
        let questions: Vec<_> = nodes
            .iter()
            .map(|(node, _)| {
                let mut question = cmd("HGETALL");
                question.arg(self.names.node(node));
                question
            })
            .collect();
        let mut members = Vec::with_capacity(nodes.len());
        for ((node, at), answer) in nodes.into_iter().zip(connection.send(&questions)?) {
            let silent_for = Duration::from_millis(now.saturating_sub(at));
            // One that has been silent for long has left nothing but its place in the list.
            if let Some(beat) = beat(read(answer)?) {
                members.push(ClusterMember { node, silent_for, beat });
            }
        }
        members.sort_by(|one, other| one.node.cmp(&other.node));
        Ok(members)
    }

    pub(super) fn remove_member(&self, connection: &mut RedisConnection) -> Result<(), Away> {
        let (mut place, mut hash) = (cmd("ZREM"), cmd("DEL"));
        place.arg(self.names.nodes()).arg(self.node.as_str());
        hash.arg(self.names.node(&self.node));
        connection.send(&[place, hash])?.into_iter().try_for_each(read)
    }

    pub(super) fn set_claim(
        &self,
        connection: &mut RedisConnection,
        site: &str,
        patience: Duration,
    ) -> Result<ClaimReply, Away> {
        let arguments = (self.node.as_str(), millis(patience));
        let won: bool = self.scripts.claim.run(connection, &[self.names.claim(site)], &arguments)?;
        Ok(if won { ClaimReply::Won } else { ClaimReply::Taken })
    }

    pub(super) fn drop_claim(&self, connection: &mut RedisConnection, site: &str) -> Result<(), Away> {
        self.scripts.release.run(connection, &[self.names.claim(site)], &self.node.as_str())
    }
}

/// Reads what `greet` answers.
fn state(answer: Vec<Value>) -> Result<ClusterState, Away> {
    let mut answer = answer.into_iter();
    let mut next = || answer.next().unwrap_or_default();
    let word: String = read(next())?;
    if word == "newer" {
        return Err(Away::Newer { found: read(next())?, known: SCHEMA });
    }
    Ok(ClusterState {
        at_ms: read(next())?,
        generation: Generation(read(next())?),
        hold: Duration::from_millis(read(next())?),
    })
}

/// Reads the hash of a node; fields of later versions are passed over.
fn beat(mut fields: HashMap<String, String>) -> Option<Beat> {
    if fields.is_empty() {
        return None;
    }
    let mut field = |name: &str| fields.remove(name).unwrap_or_default();
    Some(Beat {
        name: field("name"),
        version: field("version"),
        settings: field("settings"),
        since_ms: field("since").parse().unwrap_or_default(),
        applied: field("applied").parse().unwrap_or_default(),
        load: field("load"),
    })
}
