//! Some pools that share their projects, and what lies between them: the stream of facts, what holds, and the claims. A slow and
//! simple account of what the cluster's store does, with time as the pools have it.
#![allow(dead_code, reason = "each test file uses its own part of the cluster")]

use std::collections::HashMap;
use std::time::Duration;

use keypool::{Effect, KeySpec, Pool, Record, Subject};

use crate::stage::{Stage, exact};

pub(crate) fn together(keys: Vec<KeySpec>) -> Stage {
    node(keys, 1)
}

/// A pool in company, with a seed of its own.
pub(crate) fn node(keys: Vec<KeySpec>, seed: u64) -> Stage {
    let mut stage = Stage::new(exact(), keys.clone());
    stage.pool = Pool::new(exact(), keys, seed).unwrap();
    stage.pool.join(stage.now, &mut stage.effects);
    stage.take();
    stage
}

/// What a pool has told so far.
pub(crate) fn told(stage: &Stage) -> Vec<Record> {
    let tells = stage.said.iter().filter_map(|(_, effect)| match effect {
        Effect::Tell(fact) => Some(fact.clone()),
        _ => None,
    });
    tells.collect()
}

pub(crate) fn hear(stage: &mut Stage, fact: &Record) {
    stage.pool.heard(fact.clone(), stage.now, &mut stage.effects);
    stage.take();
}

/// The one stream of facts, what holds, and who has claimed what until when.
#[derive(Default)]
pub(crate) struct Store {
    pub(crate) facts: Vec<(usize, Record)>,
    pub(crate) holds: HashMap<Subject, (usize, usize, Record)>,
    pub(crate) claims: HashMap<Subject, (usize, Duration)>,
}

/// A node: what it has applied, how far it has read, and the answers to its claims that are on their way.
pub(crate) struct Node {
    pub(crate) stage: Stage,
    pub(crate) read: usize,
    newest: HashMap<Subject, usize>,
    looked_at: usize,
    answers: Vec<(Subject, bool)>,
}

pub(crate) struct Cluster {
    pub(crate) store: Store,
    pub(crate) nodes: Vec<Node>,
}

impl Cluster {
    pub(crate) fn new(nodes: usize, specs: &[KeySpec]) -> Self {
        let node = |at: usize| Node {
            stage: node(specs.to_vec(), at as u64 + 1),
            read: 0,
            newest: HashMap::new(),
            looked_at: 0,
            answers: Vec::new(),
        };
        Self { store: Store::default(), nodes: (0..nodes).map(node).collect() }
    }

    /// Brings what a node has said to the store. A fact holds, unless one that the node has not heard, of no lower rank, does.
    /// A claim is won by the first to ask.
    pub(crate) fn tell(&mut self, at: usize) {
        let Self { store, nodes } = self;
        let node = &mut nodes[at];
        while node.looked_at < node.stage.said.len() {
            let (_, effect) = node.stage.said[node.looked_at].clone();
            node.looked_at += 1;
            let now = node.stage.now.mono;
            match effect {
                Effect::Tell(fact) => {
                    let heard = node.read.max(node.newest.get(&fact.subject).copied().unwrap_or(0));
                    if let Some((id, by, other)) = store.holds.get(&fact.subject).cloned()
                        && id > heard
                        && by != at
                        && other.rank() >= fact.rank()
                    {
                        node.newest.insert(fact.subject.clone(), id);
                        node.stage.pool.overruled(&fact, other, node.stage.now, &mut node.stage.effects);
                        node.stage.take();
                        continue;
                    }
                    let id = store.facts.len() + 1;
                    node.newest.insert(fact.subject.clone(), id);
                    store.holds.insert(fact.subject.clone(), (id, at, fact.clone()));
                    store.facts.push((at, fact));
                }
                Effect::Claim(subject, patience) => {
                    let held = store.claims.get(&subject).filter(|(_, until)| now < *until);
                    let won = held.is_none_or(|(by, _)| *by == at);
                    if won {
                        store.claims.insert(subject.clone(), (at, now + patience));
                    }
                    node.answers.push((subject, won));
                }
                Effect::Release(subject) => store.claims.retain(|of, (by, _)| *of != subject || *by != at),
                // Slices have tests of their own: here there is enough for all.
                Effect::Draw => {
                    node.stage.draw_all();
                }
                _ => {}
            }
        }
    }

    /// Brings a node the answers to its claims.
    pub(crate) fn answer(&mut self, at: usize) {
        let node = &mut self.nodes[at];
        for (subject, won) in std::mem::take(&mut node.answers) {
            node.stage.pool.claimed(subject, won, node.stage.now, &mut node.stage.effects);
            node.stage.take();
        }
        self.tell(at);
    }

    /// Lets a node read so many facts.
    pub(crate) fn read(&mut self, at: usize, count: usize) {
        for _ in 0..count {
            let node = &mut self.nodes[at];
            let Some((by, fact)) = self.store.facts.get(node.read).cloned() else { return };
            node.read += 1;
            let newest = node.newest.entry(fact.subject.clone()).or_default();
            if by == at || *newest >= node.read {
                continue;
            }
            *newest = node.read;
            hear(&mut node.stage, &fact);
            self.tell(at);
        }
    }

    pub(crate) fn read_all(&mut self) {
        while self.nodes.iter().any(|node| node.read < self.store.facts.len()) {
            for at in 0..self.nodes.len() {
                self.read(at, usize::MAX);
            }
        }
    }

    pub(crate) fn pass(&mut self, time: Duration) {
        for at in 0..self.nodes.len() {
            self.nodes[at].stage.pass(time);
            self.tell(at);
        }
    }
}
