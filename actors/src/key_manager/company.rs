//! The key manager among those of other gateways: facts that it hears, and whether it can speak with them at all. What follows
//! from a fact is the pool's matter. That a fact does not undo what this gateway has found out since is seen to here, in the
//! same turn in which it is taken over.

use super::{KeyManager, KeyManagerActor};
use crate::cluster::Outbox;
use actix::{Context, Handler, Message};
use gemini_balance_cluster::FactId;
use keypool::{Company, Drawn, ModelWeight, Record, Subject};
use std::sync::Arc;
use tokio::time::Instant;

/// A fact of another gateway's, as this one calls what it is of.
#[derive(Clone, Debug)]
pub(crate) struct HeardFact {
    pub(crate) record: Record,
    /// Where it stands in the order of facts.
    pub(crate) at: FactId,
    /// What the operator calls the gateway that told it.
    pub(crate) by: String,
    /// What this gateway had told instead, which does not hold.
    pub(crate) instead_of: Option<Record>,
}

/// Takes facts over, in their order.
#[derive(Clone, Message)]
#[rtype(result = "()")]
pub(super) struct Hear(Arc<[HeardFact]>);

/// Says how this gateway stands to the others.
#[derive(Clone, Copy, Message)]
#[rtype(result = "()")]
pub(super) struct KeepCompany(Company);

/// The answer to a claim.
#[derive(Clone, Message)]
#[rtype(result = "()")]
pub(super) struct Claimed {
    subject: Subject,
    won: bool,
}

/// What the cluster has answered to what was drawn.
#[derive(Clone, Message)]
#[rtype(result = "()")]
pub(super) struct TakeDrawn(Vec<Drawn>);

/// The store of slices knows nothing any more.
#[derive(Clone, Copy, Message)]
#[rtype(result = "()")]
pub(super) struct NewGeneration;

/// How many gateways there are, and how the load is spread over them.
#[derive(Clone, Message)]
#[rtype(result = "()")]
pub(super) struct Weigh(u32, Vec<ModelWeight>);

impl KeyManager {
    /// What other gateways are to know.
    pub(crate) fn outbox(&self) -> Arc<Outbox> {
        Arc::clone(&self.shared.outbox)
    }

    /// Whether this gateway does what only one of them is to do.
    pub(crate) fn is_on_duty(&self) -> bool {
        self.shared.outbox.is_on_duty()
    }

    /// Shares the pool with those of other gateways from now on, which hear and answer, or cannot be asked now.
    pub(crate) fn keep_company(&self, company: Company) {
        // A life that begins looks at this first, so that it does not matter which of them takes the message.
        self.shared.company.store(Arc::new(company));
        self.link.nudge(KeepCompany(company));
    }

    /// Tells the pool whether this gateway is the one that probes this.
    pub(crate) fn claimed(&self, subject: Subject, won: bool) {
        // One that finds no room is asked for again.
        self.link.nudge(Claimed { subject, won });
    }

    /// Gives the pool what was drawn. Whether there was room for it: what finds none is held for lost.
    pub(crate) fn drawn(&self, replies: Vec<Drawn>) -> bool {
        self.link.nudge(TakeDrawn(replies))
    }

    /// Tells the pool that what was shared of limits is counted anew. Whether there was room for it.
    pub(crate) fn begins_anew(&self) -> bool {
        self.link.nudge(NewGeneration)
    }

    /// Tells the pool how many gateways there are, and what its part is.
    pub(crate) fn weigh(&self, gateways: u32, weights: Vec<ModelWeight>) {
        // It is said again each second.
        self.link.nudge(Weigh(gateways, weights));
    }

    /// Has the pool take facts over; whether it has.
    pub(crate) async fn hear(&self, facts: Vec<HeardFact>, deadline: Instant) -> bool {
        self.link.send(Hear(facts.into()), deadline).await.is_ok()
    }

    /// The same for whoever cannot wait. Whether there was room for it.
    pub(crate) fn hear_soon(&self, facts: Vec<HeardFact>) -> bool {
        self.link.nudge(Hear(facts.into()))
    }
}

impl KeyManagerActor {
    /// Tells the pool how it stands to the others.
    pub(super) fn stand_as(&mut self, company: Company) {
        let now = self.shared.clock.now();
        match company {
            Company::None => {}
            Company::Together => self.pool.join(now, &mut self.effects),
            Company::Alone => self.pool.alone(now, &mut self.effects),
        }
    }

    /// Leaves in the outbox what is to be drawn, unless something is being drawn already.
    pub(super) fn draw(&mut self) {
        if self.pool.company() != Company::Together || !self.shared.outbox.may_draw() {
            return;
        }
        let now = self.shared.clock.now();
        let draws = self.pool.draws(now);
        self.shared.outbox.draw(draws, || self.pool.loads(now));
    }
}

impl Handler<KeepCompany> for KeyManagerActor {
    type Result = ();

    fn handle(&mut self, KeepCompany(company): KeepCompany, ctx: &mut Context<Self>) {
        self.take_reports();
        self.stand_as(company);
        self.perform(ctx);
    }
}

impl Handler<TakeDrawn> for KeyManagerActor {
    type Result = ();

    fn handle(&mut self, TakeDrawn(replies): TakeDrawn, ctx: &mut Context<Self>) {
        self.take_reports();
        self.pool.drawn(replies, self.shared.clock.now(), &mut self.effects);
        self.perform(ctx);
    }
}

impl Handler<NewGeneration> for KeyManagerActor {
    type Result = ();

    fn handle(&mut self, NewGeneration: NewGeneration, ctx: &mut Context<Self>) {
        self.take_reports();
        self.pool.new_generation(self.shared.clock.now(), &mut self.effects);
        self.perform(ctx);
    }
}

impl Handler<Weigh> for KeyManagerActor {
    type Result = ();

    fn handle(&mut self, Weigh(gateways, weights): Weigh, _: &mut Context<Self>) {
        self.pool.weigh(gateways, &weights);
    }
}

impl Handler<Claimed> for KeyManagerActor {
    type Result = ();

    fn handle(&mut self, Claimed { subject, won }: Claimed, ctx: &mut Context<Self>) {
        self.take_reports();
        self.pool.claimed(subject, won, self.shared.clock.now(), &mut self.effects);
        self.perform(ctx);
    }
}

impl Handler<Hear> for KeyManagerActor {
    type Result = ();

    fn handle(&mut self, Hear(facts): Hear, ctx: &mut Context<Self>) {
        self.take_reports();
        // What the reports change goes into the outbox before it is asked.
        self.perform(ctx);
        let now = self.shared.clock.now();
        for HeardFact { record, at, by, instead_of } in facts.iter().cloned() {
            if self.shared.outbox.outruns(&record.subject, at) {
                continue;
            }
            log::debug!(target: "cluster", "{by} says of {}: {:?}", record.subject, record.state);
            match instead_of {
                Some(told) => self.pool.overruled(&told, record, now, &mut self.effects),
                None => self.pool.heard(record, now, &mut self.effects),
            }
            self.perform(ctx);
        }
    }
}
