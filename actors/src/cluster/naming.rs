//! What the gateways call what they tell each other of: keys by their fingerprints, which are the same wherever a key is
//! known by whatever label. Projects go by Google's number or the operator's label, else by the fingerprint of their only key.
//! Times are on the shared clock, from which a machine's own may be far.

use crate::{key_manager::HeardFact, key_ring::KeyRing};
use chrono::TimeDelta;
use gemini_balance_cluster::{Fact, NodeId, PlacedFact};
use keypool::{CooldownState, KeyId, Owner, Record, Subject};

/// How one gateway's words become all gateways' and back: by its keys, and by how its clock goes.
pub struct Naming<'a> {
    /// This gateway's keys.
    pub ring: &'a KeyRing,
    /// This gateway's life.
    pub node: &'a NodeId,
    /// By how much this machine's clock is before the shared one.
    pub ahead: TimeDelta,
}

impl Naming<'_> {
    /// Returns what this gateway tells the others, as all of them call it. `None` for what speaks of a key that is gone.
    pub fn fact_of(&self, record: &Record) -> Option<Fact> {
        let subject = renamed(&record.subject, |id| self.fingerprint(id))?;
        let name = subject_text(&subject)?;
        let told = shifted(Record { subject, ..record.clone() }, -self.ahead);
        let rank = told.rank();
        let body = if told.is_clear() { String::new() } else { serde_json::to_string(&told).ok()? };
        Fact::new(&name, rank, &body, self.node.clone()).ok()
    }

    /// Returns what another gateway has told, as this one calls it. `None` for what is of no key here, or of a form that is not
    /// known.
    pub fn record_of(&self, fact: &Fact) -> Option<Record> {
        let local = |id: &KeyId| self.ring.with_fingerprint(id.as_str()).map(|key| key.id().clone());
        if fact.body().is_empty() {
            let subject: Subject = serde_json::from_str(fact.subject()).ok()?;
            return Some(Record::clear(renamed(&subject, local)?));
        }
        let record: Record = serde_json::from_str(fact.body()).ok()?;
        let subject = renamed(&record.subject, local)?;
        Some(shifted(Record { subject, ..record }, self.ahead))
    }

    /// The same with its place and its teller.
    pub(super) fn heard(&self, placed: &PlacedFact) -> Option<HeardFact> {
        let record = self.record_of(&placed.fact)?;
        let by = super::name_of(placed.fact.origin()).to_owned();
        Some(HeardFact { record, at: placed.id, by, instead_of: None })
    }

    /// Returns the text by which all gateways know a subject, if its key is known.
    pub(super) fn site_of(&self, subject: &Subject) -> Option<String> {
        subject_text(&renamed(subject, |id| self.fingerprint(id))?)
    }

    /// Returns what all gateways call a project, if its key is known.
    pub(super) fn owner(&self, owner: &Owner) -> Option<Owner> {
        match owner {
            Owner::Key(key) => self.fingerprint(key).map(Owner::Key),
            Owner::Project(_) | Owner::Number(_) => Some(owner.clone()),
        }
    }

    fn fingerprint(&self, id: &KeyId) -> Option<KeyId> {
        self.ring.find(id).map(|key| KeyId::from(key.fingerprint()))
    }
}

/// Moves all times by so much.
fn shifted(mut record: Record, by: TimeDelta) -> Record {
    if let CooldownState::Cooling { until, .. } = &mut record.state {
        *until += by;
    }
    for time in [&mut record.since, &mut record.disabled_since, &mut record.reset_at].into_iter().flatten() {
        *time += by;
    }
    if let Some(limits) = &mut record.limits {
        for learnt in &mut limits.learnt {
            learnt.until += by;
        }
    }
    record
}

fn subject_text(subject: &Subject) -> Option<String> {
    serde_json::to_string(subject).ok()
}

/// Puts other names in the place of keys'.
fn renamed(subject: &Subject, name: impl Fn(&KeyId) -> Option<KeyId>) -> Option<Subject> {
    let owner = |owner: &Owner| match owner {
        Owner::Key(key) => name(key).map(Owner::Key),
        Owner::Project(_) | Owner::Number(_) => Some(owner.clone()),
    };
    Some(match subject {
        Subject::Key { key } => Subject::Key { key: name(key)? },
        Subject::Usage { key } => Subject::Usage { key: name(key)? },
        Subject::ModelUsage { key, model } => Subject::ModelUsage { key: name(key)?, model: model.clone() },
        Subject::Project { project } => Subject::Project { project: owner(project)? },
        Subject::Model { project, model } => {
            Subject::Model { project: owner(project)?, model: model.clone() }
        }
        Subject::Limits { project, model } => {
            Subject::Limits { project: owner(project)?, model: model.clone() }
        }
        Subject::Tool { project, tool } => Subject::Tool { project: owner(project)?, tool: *tool },
        Subject::Breaker { model } => Subject::Breaker { model: model.clone() },
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Secret;
    use chrono::Utc;
    use keypool::{KeySpec, Reason};

    /// A key has a name of its own on each gateway.
    fn ring(name: &str) -> KeyRing {
        KeyRing::new(vec![(KeySpec::new(name), Secret::new("AIza-one".to_owned()))]).unwrap()
    }

    fn naming<'a>(ring: &'a KeyRing, node: &'a NodeId, ahead_s: i64) -> Naming<'a> {
        Naming { ring, node, ahead: TimeDelta::seconds(ahead_s) }
    }

    #[test]
    fn a_key_is_the_same_under_whatever_label_and_a_moment_by_whatever_clock() {
        let (here, there) = (ring("team-a"), ring("spare"));
        let node = NodeId::new("gw-1.0").unwrap();
        let (here, there) = (naming(&here, &node, 3_600), naming(&there, &node, -2));
        let until = Utc::now() + TimeDelta::seconds(60);
        let cooling = CooldownState::Cooling { until, steps: 2, reason: Reason::QuotaMinute, daily: false };
        for subject in [
            Subject::Key { key: "team-a".into() },
            Subject::Model { project: Owner::Key("team-a".into()), model: Some("m".into()) },
            Subject::Project { project: Owner::Project("p".into()) },
        ] {
            for state in [cooling.clone(), CooldownState::Open] {
                let told = Record { state, ..Record::clear(subject.clone()) };
                let fact = here.fact_of(&told).unwrap();
                assert!(!fact.subject().contains("team-a") && !fact.body().contains("team-a"), "{fact:?}");
                let heard = there.record_of(&fact).unwrap();
                let by_there = shifted(told, TimeDelta::seconds(-3_602));
                assert_eq!(heard.state, by_there.state);
                let again = there.fact_of(&heard).unwrap();
                assert_eq!((again.subject(), again.rank()), (fact.subject(), fact.rank()));
            }
        }
    }

    #[test]
    fn what_is_of_a_key_that_is_not_here_is_nothing() {
        let (here, node) = (ring("a"), NodeId::new("n").unwrap());
        let elsewhere = KeyRing::new(vec![(KeySpec::new("a"), Secret::new("AIza-two".to_owned()))]).unwrap();
        let (here, elsewhere) = (naming(&here, &node, 0), naming(&elsewhere, &node, 0));
        let fact = here.fact_of(&Record::clear(Subject::Key { key: "a".into() })).unwrap();
        assert_eq!(elsewhere.record_of(&fact), None);
        assert_eq!(here.fact_of(&Record::clear(Subject::Key { key: "gone".into() })), None);
        let odd = Fact::new("no json", 1, "{}", node.clone()).unwrap();
        assert_eq!(here.record_of(&odd), None);
    }
}
