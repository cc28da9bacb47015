//! The key manager among those of other gateways: facts that it hears, and whether it can speak with them at all. What follows
//! from a fact is the pool's matter. That a fact does not undo what this gateway has found out since is seen to here, in the
//! same turn in which it is taken over.

use super::{KeyManager, KeyManagerActor};
use crate::cluster::Outbox;
use actix::{Context, Handler, Message};
use gemini_balance_cluster::FactId;
use keypool::{Company, Record, Subject};
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

impl KeyManager {
    /// What other gateways are to know.
    pub(crate) fn outbox(&self) -> Arc<Outbox> {
        Arc::clone(&self.shared.outbox)
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
}

impl Handler<KeepCompany> for KeyManagerActor {
    type Result = ();

    fn handle(&mut self, KeepCompany(company): KeepCompany, ctx: &mut Context<Self>) {
        self.take_reports();
        self.stand_as(company);
        self.perform(ctx);
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
