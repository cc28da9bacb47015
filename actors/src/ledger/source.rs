//! Where the ledger's memory comes from and goes to: the gateway's own store, or, in a cluster, the ledger that all gateways
//! share. What the own store had before this gateway joined is still found, and shared from then on.

use super::Holding;
use crate::{cluster::SharedLedger, store::Store};
use std::{sync::Arc, time::Duration};

/// How long the own store may take to look a name up.
const OWN: Duration = Duration::from_secs(2);
/// How long Redis may: a failover takes between two seconds and three.
const SHARED: Duration = Duration::from_secs(3);

/// See the module.
#[derive(Clone)]
pub(super) enum LedgerSource {
    /// The gateway's own.
    Own(Store),
    /// The one of all gateways, and what this one had before.
    Shared(SharedLedger, Store),
}

/// What was found of names, in their order.
pub(super) struct Found {
    pub(super) holdings: Vec<Option<Holding>>,
    /// Those that the others do not know yet.
    pub(super) unshared: Vec<Holding>,
}

impl LedgerSource {
    /// Looks names up; `None` where nobody can say.
    pub(super) async fn find(&self, names: Vec<String>) -> Option<Found> {
        match self {
            Self::Own(store) => {
                let holdings = store.find(names, OWN).await?;
                Some(Found { holdings, unshared: Vec::new() })
            }
            Self::Shared(shared, own) => {
                let names: Arc<[String]> = names.into();
                let mut holdings = shared.find(Arc::clone(&names), SHARED).await?;
                let missing: Vec<usize> =
                    (0..names.len()).filter(|place| holdings[*place].is_none()).collect();
                let mut unshared = Vec::new();
                if !missing.is_empty() {
                    let asked = missing.iter().map(|place| names[*place].clone()).collect();
                    // One that cannot say has nothing to add.
                    let found = own.find(asked, OWN).await.unwrap_or_default();
                    for (place, holding) in missing.into_iter().zip(found) {
                        unshared.extend(holding.clone());
                        holdings[place] = holding;
                    }
                }
                Some(Found { holdings, unshared })
            }
        }
    }

    /// Writes what is waiting, for so long at most; whether it is written.
    pub(super) async fn flush(&self, at_most: Duration) -> bool {
        match self {
            Self::Own(store) => store.flush(at_most).await,
            Self::Shared(shared, _) => shared.flush(at_most).await,
        }
    }

    /// Says that something is to be written. The own store looks by itself.
    pub(super) fn nudge(&self) {
        if let Self::Shared(shared, _) = self {
            shared.nudge();
        }
    }

    /// Tells whether others are to know what is learnt before its client does.
    pub(super) fn is_shared(&self) -> bool {
        matches!(self, Self::Shared(..))
    }
}
