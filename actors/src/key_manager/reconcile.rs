//! Another set of keys, or other rules, as the key manager takes them: the pool and the ring change in one message, so
//! that nobody sees the one without the other. What the pool makes of the set is the pool's matter; how two rings differ
//! is told here, since only who knows the secrets can tell a key with another name from another key.

use super::{KeyManagerActor, messages::Reconcile};
use crate::{key_ring::KeyRing, supervisor::LinkError};
use actix::Handler;
use keypool::{KeyId, KeySet, PoolError, Reconciled};
use std::{fmt, sync::Arc};

/// How many names a line of the log has at most.
const MOST_NAMES: usize = 20;

/// Why another set of keys was not taken.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ReconcileError {
    /// It makes no sense; nothing has changed.
    Refused(PoolError),
    /// The key manager did not answer in time, or is no more. It may still take the set.
    Unanswered(LinkError),
}

impl fmt::Display for ReconcileError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Refused(error) => error.fmt(f),
            Self::Unanswered(_) => f.write_str("the key manager did not answer in time"),
        }
    }
}

impl std::error::Error for ReconcileError {}

impl Handler<Reconcile> for KeyManagerActor {
    type Result = Result<Reconciled, PoolError>;

    fn handle(&mut self, change: Reconcile, ctx: &mut Self::Context) -> Self::Result {
        self.take_reports();
        let now = self.shared.clock.now();
        let Reconcile { ring, rules } = change;
        if let Some(rules) = &rules {
            rules.check()?;
        }
        let set = key_set(&self.shared.keys.ring(), &ring);
        let reconciled = self.pool.reconcile(set, now, &mut self.effects)?;
        // Before the effects: those who waited for a key find it in the ring.
        self.shared.keys.swap(ring);
        if let Some(rules) = rules {
            self.pool.set_rules(rules.clone(), now, &mut self.effects)?;
            self.shared.rules.store(Arc::new(rules));
        }
        if !reconciled.added.is_empty() {
            // Of those the others may know something.
            self.shared.outbox.want_all();
        }
        if !reconciled.is_empty() {
            log::info!(target: "pool", "{}", Told(&reconciled));
        }
        self.perform(ctx);
        Ok(reconciled)
    }
}

/// Returns the set of keys that the present ring has, with what the former one tells of them.
fn key_set(former: &KeyRing, present: &KeyRing) -> KeySet {
    let mut set = present.key_set();
    for key in present.keys() {
        let id = key.id();
        match former.find(id) {
            Some(namesake) if namesake.fingerprint() == key.fingerprint() => {}
            Some(_) => {
                set.replaced.insert(id.clone());
            }
            None => {
                let before = former.with_fingerprint(key.fingerprint());
                set.renamed.extend(before.map(|before| (id.clone(), before.id().clone())));
            }
        }
    }
    set
}

/// A change as a line of the log.
struct Told<'a>(&'a Reconciled);

impl fmt::Display for Told<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the set of keys has changed")?;
        let Reconciled { added, removed, changed } = self.0;
        for (what, keys) in [("added", added), ("removed", removed), ("changed", changed)] {
            if keys.is_empty() {
                continue;
            }
            let names: Vec<_> = keys.iter().take(MOST_NAMES).map(KeyId::as_str).collect();
            write!(f, "; {what}: {}", names.join(", "))?;
            if keys.len() > MOST_NAMES {
                write!(f, " and {} more", keys.len() - MOST_NAMES)?;
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Secret, testing::ring};
    use keypool::KeySpec;

    #[test]
    fn a_key_is_known_by_its_secret_and_not_by_its_name() {
        let former = ring(&[("same", None), ("old", None), ("other", None)]);
        let key = |id: &str, secret: &str| (KeySpec::new(id), Secret::new(format!("AIza-{secret}")));
        let present =
            KeyRing::new(vec![key("same", "same"), key("new", "old"), key("other", "x"), key("more", "y")]);
        let set = key_set(&former, &present.unwrap());
        assert_eq!(set.replaced.into_iter().collect::<Vec<_>>(), ["other".into()]);
        assert_eq!(set.renamed.into_iter().collect::<Vec<_>>(), [("new".into(), "old".into())]);
    }

    #[test]
    fn a_line_of_the_log_stays_short() {
        let keys: Vec<KeyId> = (0..10_000).map(|at| format!("k{at}").into()).collect();
        let told = Reconciled { added: keys, removed: vec!["a".into()], changed: Vec::new() };
        let line = Told(&told).to_string();
        assert!(line.starts_with("the set of keys has changed; added: k0, k1, "), "{line}");
        assert!(line.ends_with("k19 and 9980 more; removed: a"), "{line}");
    }
}
