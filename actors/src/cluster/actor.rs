//! The `ClusterActor`: says what this gateway has to say. Each turn it beats if a second has passed, tells the facts that lie in
//! the outbox, and asks for the claims there; a word in the outbox makes a turn at once. Calls block its thread, one at a time,
//! so nothing can pile up.

use super::{
    ClusterShared, NAME, Presence,
    agreement::{self, Agreement, KeysPrint},
    note::Note,
    outbox::{ProbeAsk, Telling},
    slices::{self, DaysTold},
};
use crate::{
    health::{Health, State},
    key_manager::HeardFact,
    supervisor::{Child, Intensity, Link, supervise},
};
use actix::{Actor, AsyncContext, Context, Handler, Message};
use gemini_balance_cluster::{Away, Beat, ClaimReply, ClusterState, Generation, Shared, TellReply};
use keypool::Company;
use std::{
    sync::{Arc, atomic::Ordering},
    time::{Duration, Instant},
};

/// How often there is a turn, and how often Redis is looked for while it is away.
const TURN_EVERY: Duration = Duration::from_millis(250);
/// How often this gateway says that it is there.
const BEAT_EVERY: Duration = Duration::from_secs(1);
/// And how often at most, when somebody waits for it.
const BEAT_SOON: Duration = Duration::from_millis(50);
/// How many facts go into a call.
const AT_ONCE: usize = 100;
/// How many calls a turn makes at most for facts: a storm is told over several turns.
const CALLS: usize = 10;

/// See the module.
pub struct ClusterActor {
    cluster: Arc<ClusterShared>,
    shared: Box<dyn Shared>,
    /// When it tried to join last.
    tried_at: Option<Instant>,
    beat_at: Option<Instant>,
    /// Whether others wait to see how far this gateway has read.
    is_watched: bool,
    has_left: bool,
    /// In which generation it has drawn last.
    drew_in: Option<Generation>,
    days: DaysTold,
    keys: KeysPrint,
}

/// Something lies in the outbox.
#[derive(Clone, Copy, Debug, Message)]
#[rtype(result = "()")]
pub(super) struct Turn;

/// Somebody waits to see how far all have read.
#[derive(Clone, Copy, Debug, Message)]
#[rtype(result = "()")]
pub(super) struct Look;

/// The service ends.
#[derive(Clone, Copy, Debug, Message)]
#[rtype(result = "()")]
pub(super) struct Leave;

pub(super) fn start(
    arbiter: &actix_rt::ArbiterHandle,
    cluster: &Arc<ClusterShared>,
    intensity: Intensity,
    health: &Arc<Health>,
) -> Link<ClusterActor> {
    let cluster = Arc::clone(cluster);
    let factory = move || {
        // What a former life was telling may not have arrived.
        cluster.outbox.give_back();
        cluster.outbox.has_drawn();
        ClusterActor {
            shared: (cluster.connect)(),
            cluster: Arc::clone(&cluster),
            tried_at: None,
            beat_at: None,
            is_watched: false,
            has_left: false,
            drew_in: None,
            days: DaysTold::default(),
            keys: KeysPrint::default(),
        }
    };
    supervise(arbiter, Child { name: NAME, mailbox: 16, intensity, factory }, Arc::clone(health))
}

impl ClusterActor {
    fn turn(&mut self) {
        if self.has_left {
            return;
        }
        if let Err(away) = self.try_turn() {
            self.cluster.outbox.give_back();
            self.cluster.outbox.has_drawn();
            self.go_alone(&away);
        }
    }

    fn try_turn(&mut self) -> Result<(), Away> {
        if !self.cluster.is_together() {
            if self.tried_at.is_some_and(|at| at.elapsed() < TURN_EVERY) {
                return Ok(());
            }
            self.tried_at = Some(Instant::now());
            let state = self.shared.hello()?;
            self.join(state);
        }
        let due = if self.is_watched { BEAT_SOON } else { BEAT_EVERY };
        if self.beat_at.is_none_or(|at| at.elapsed() >= due) {
            self.beat()?;
        }
        // First, since requests wait for it.
        self.draw()?;
        self.tell()?;
        self.tell_notes()?;
        self.claim()
    }

    /// Redis has answered.
    fn join(&mut self, state: ClusterState) {
        self.beat_at = None;
        self.cluster.set_clock(state.at_ms);
        // What was told meanwhile by others, and what they have not heard of, is found out by reading all that holds.
        self.cluster.outbox.want_all();
        let mut company = self.cluster.company();
        let was_away = matches!(company.presence, Presence::Alone { why: Some(_), .. });
        company.presence = Presence::Together { since: Instant::now() };
        company.generation = state.generation;
        drop(company);
        self.cluster.manager.keep_company(Company::Together);
        self.see(state.generation);
        if was_away {
            self.cluster.health.set(NAME, State::Up, None);
        }
        log::info!(target: NAME, "{} has joined the cluster", self.cluster.name);
    }

    fn go_alone(&mut self, away: &Away) {
        self.cluster.note_failure(away);
        let mut company = self.cluster.company();
        let why = away.to_string();
        let is_news = match &company.presence {
            Presence::Together { .. } => true,
            Presence::Alone { why: before, .. } => before.as_ref() != Some(&why),
        };
        if !is_news {
            return;
        }
        let since = match company.presence {
            Presence::Alone { since, .. } => since,
            Presence::Together { .. } => Instant::now(),
        };
        company.presence = Presence::Alone { since, why: Some(why.clone()) };
        (company.differs_since, company.complaint) = (None, None);
        drop(company);
        self.cluster.outbox.set_duty(true);
        self.cluster.manager.keep_company(Company::Alone);
        let reason = format!("{why}; this gateway goes on alone");
        self.cluster.health.set(NAME, State::Degraded, Some(reason));
    }

    fn beat(&mut self) -> Result<(), Away> {
        let beat = Beat {
            name: self.cluster.name.clone(),
            version: self.cluster.version.to_owned(),
            settings: format!("{} {}", self.cluster.print(), self.keys.of(self.cluster.keys.ring())),
            since_ms: self.cluster.since_ms,
            applied: self.cluster.applied(),
            load: slices::told_loads(self.cluster.outbox.loads()),
        };
        let state = self.shared.beat(&beat)?;
        self.cluster.set_clock(state.at_ms);
        let members = self.shared.nodes()?;
        self.beat_at = Some(Instant::now());
        self.is_watched = false;
        let mut company = self.cluster.company();
        company.generation = state.generation;
        company.members = members;
        company.read_at = Some(Instant::now());
        let agreement = agreement::look(&mut company, &self.cluster.node);
        let there = company.members.iter().filter(|member| member.is_there()).count().max(1);
        // The one that has been there longest.
        let first = company.members.iter().filter(|member| member.is_there());
        let first = first.min_by_key(|member| (member.beat.since_ms, &member.node));
        self.cluster.outbox.set_duty(first.is_none_or(|first| first.node == self.cluster.node));
        let weights = slices::weights(&self.cluster.outbox.loads(), &self.cluster.node, &company.members);
        drop(company);
        self.cluster.manager.weigh(u32::try_from(there).unwrap_or(u32::MAX), weights);
        self.see(state.generation);
        match agreement {
            None => {}
            Some(Agreement::Lost(reason)) => self.cluster.health.set(NAME, State::Degraded, Some(reason)),
            Some(Agreement::Back) => self.cluster.health.set(NAME, State::Up, None),
        }
        Ok(())
    }

    /// The shared state is of this generation. Another than before knows nothing of what was held and used.
    fn see(&mut self, generation: Generation) {
        let before = self.drew_in.replace(generation);
        if before.is_some_and(|before| before != generation) {
            self.cluster.ledger.restore_shared();
        }
        if before.is_some_and(|before| before != generation) && !self.cluster.manager.begins_anew() {
            // It had no room for that now, and is told with the next answer.
            self.drew_in = before;
        }
    }

    /// Reports what was used of limits, and takes what is lent of them.
    fn draw(&mut self) -> Result<(), Away> {
        let draws = self.cluster.outbox.take_draws();
        if draws.is_empty() {
            return Ok(());
        }
        let ring = self.cluster.keys.ring();
        let naming = self.cluster.naming(&ring);
        let generation = self.drew_in.unwrap_or_default();
        let named: Vec<_> = draws.iter().filter_map(|draw| Some((draw, naming.bucket_of(draw)?))).collect();
        for (draw, bucket) in &named {
            if let Some(full_for) = draw.full_for {
                self.shared.close(bucket, full_for)?;
            }
        }
        let asked: Vec<_> = named
            .iter()
            .map(|(draw, bucket)| naming.draw_of(draw, bucket.clone(), generation, &mut self.days))
            .collect();
        if asked.is_empty() {
            self.cluster.outbox.has_drawn();
            return Ok(());
        }
        let answers = match self.shared.take(&asked) {
            Ok(answers) => answers,
            Err(away) => {
                self.days.forget(&asked);
                return Err(away);
            }
        };
        let newest = answers.iter().map(|answer| answer.generation).max();
        let drawn: Vec<_> =
            named.iter().zip(&answers).map(|((draw, _), answer)| slices::drawn_of(draw, answer)).collect();
        if let Some(newest) = newest.filter(|newest| *newest != generation) {
            // What was just said is not all that the new one has to know; what it gave is told again as held by nobody.
            self.see(newest);
            self.days.forget(&asked);
        } else {
            self.cluster.manager.drawn(drawn);
        }
        self.cluster.outbox.has_drawn();
        Ok(())
    }

    fn tell(&mut self) -> Result<(), Away> {
        for _ in 0..CALLS {
            let Telling { words: records, knowing } = self.cluster.outbox.take(AT_ONCE);
            if records.is_empty() {
                return Ok(());
            }
            let ring = self.cluster.keys.ring();
            let (mut said, mut facts) = (Vec::new(), Vec::new());
            for record in &records {
                match self.cluster.naming(&ring).fact_of(record) {
                    Some(fact) => {
                        said.push(record);
                        facts.push(fact);
                    }
                    // Of a key that is gone nobody needs to know.
                    None => self.cluster.outbox.told(&record.subject, knowing),
                }
            }
            let replies = self.shared.tell(&facts, knowing)?;
            self.cluster.told.fetch_add(facts.len() as u64, Ordering::Relaxed);
            let mut adopted = Vec::new();
            for (record, reply) in said.into_iter().zip(replies) {
                match reply {
                    TellReply::Written(at) => self.cluster.outbox.told(&record.subject, at),
                    TellReply::Overruled(placed) => {
                        self.cluster.outbox.told(&record.subject, placed.id);
                        let holds = self.cluster.naming(&ring).heard(&placed);
                        adopted
                            .extend(holds.map(|fact| HeardFact { instead_of: Some(record.clone()), ..fact }));
                    }
                }
            }
            if !adopted.is_empty() && !self.cluster.manager.hear_soon(adopted) {
                // They are met again among all that holds.
                self.cluster.outbox.want_all();
            }
        }
        Ok(())
    }

    fn tell_notes(&mut self) -> Result<(), Away> {
        for _ in 0..CALLS {
            let Telling { words: notes, knowing } = self.cluster.outbox.take_notes(AT_ONCE);
            if notes.is_empty() {
                return Ok(());
            }
            let (mut said, mut facts) = (Vec::new(), Vec::new());
            for note in &notes {
                if let Some(fact) = note.fact(&self.cluster.node) {
                    said.push(note);
                    facts.push(fact);
                    continue;
                }
                if let Note::Token { name, .. } = note {
                    log::error!(target: NAME, "what is to be told of the token {name} is too long: the other gateways do not know of it");
                }
                self.cluster.outbox.note_told(note, knowing);
            }
            for (note, reply) in said.into_iter().zip(self.shared.tell(&facts, knowing)?) {
                match reply {
                    TellReply::Written(at) => self.cluster.outbox.note_told(note, at),
                    TellReply::Overruled(placed) => {
                        self.cluster.outbox.note_told(note, placed.id);
                        self.cluster.hear_token(&placed);
                    }
                }
            }
        }
        Ok(())
    }

    /// Asks for what only one gateway is to do. What was told of it goes before.
    fn claim(&mut self) -> Result<(), Away> {
        for turn in self.cluster.outbox.take_turns() {
            let (ProbeAsk::Claim(subject, _) | ProbeAsk::Release(subject)) = &turn;
            // Of a key that is gone nothing is probed.
            let ring = self.cluster.keys.ring();
            let Some(site) = self.cluster.naming(&ring).site_of(subject) else { continue };
            match turn {
                ProbeAsk::Release(_) => self.shared.release(&site)?,
                ProbeAsk::Claim(subject, patience) => {
                    let reply = self.shared.claim(&site, patience);
                    let won = matches!(reply, Ok(ClaimReply::Won));
                    self.cluster.manager.claimed(subject, won);
                    reply?;
                }
            }
        }
        Ok(())
    }
}

impl Actor for ClusterActor {
    type Context = Context<Self>;

    fn started(&mut self, ctx: &mut Self::Context) {
        self.turn();
        ctx.run_interval(TURN_EVERY, |actor, _| actor.turn());
    }
}

impl Handler<Turn> for ClusterActor {
    type Result = ();

    fn handle(&mut self, Turn: Turn, _: &mut Self::Context) {
        self.turn();
    }
}

impl Handler<Look> for ClusterActor {
    type Result = ();

    fn handle(&mut self, Look: Look, _: &mut Self::Context) {
        self.is_watched = true;
        self.turn();
    }
}

impl Handler<Leave> for ClusterActor {
    type Result = ();

    fn handle(&mut self, Leave: Leave, _: &mut Self::Context) {
        self.turn();
        if self.cluster.is_together() && self.shared.leave().is_ok() {
            log::info!(target: NAME, "{} has left the cluster", self.cluster.name);
        }
        self.has_left = true;
    }
}

/// Makes the actor panic.
#[cfg(debug_assertions)]
#[derive(Clone, Copy, Debug, Message)]
#[rtype(result = "()")]
pub(super) struct Panic;

#[cfg(debug_assertions)]
impl Handler<Panic> for ClusterActor {
    type Result = ();

    fn handle(&mut self, _: Panic, _: &mut Self::Context) {
        panic!("a test asked for this panic");
    }
}
