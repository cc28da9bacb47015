//! The HTTP face: who may call, what they want, and how answers and errors look. It hands a `Job` to a `ForwardActor`
//! and never sees the upstream client. Start reading at `routes`.

mod admission;
mod around;
mod arrival;
mod auth;
mod bodies;
mod body;
mod clear;
mod cors;
mod current;
mod denied;
mod docs;
mod error;
mod forward;
mod guesses;
mod health;
mod live;
mod me;
mod origin;
mod respond;
mod routes;
mod translated;
mod upload;

pub(crate) use around::around;
pub use auth::Gate;
pub use bodies::BodyLog;
pub use body::BodyBudget;
pub use cors::CorsOrigins;
pub use current::{CurrentSettings, SharedSettings, WorkerState};
pub use error::told_of;
pub use guesses::Guesses;
pub(crate) use health::health_of;
pub use origin::{Origins, PublicOrigin, TrustedProxies};
pub use routes::routes;
pub(crate) use translated::{KeptResponses, ListedModels, RepeatReason, TranslationRepeats};

use crate::{inflight::InFlight, settings};
#[cfg(debug_assertions)]
use gemini_balance_actors::store::Store;
use gemini_balance_actors::{
    KeyManager, SharedPrices, accounting::Accounts, clock::Clock, cluster::SharedCallers, forward::Forwarder,
    health::Health, listeners::Listeners, live::Live,
};
use std::{cell::RefCell, rc::Rc, sync::Arc};

/// What the handlers of one worker share, for the requests that begin under the same settings.
pub struct AppState {
    /// The settings that this state was made from.
    pub current: Arc<CurrentSettings>,
    /// Who may call.
    pub gate: Arc<Gate>,
    /// The time, for limits.
    pub clock: Clock,
    /// What was used, if that is counted.
    pub accounts: Option<Accounts>,
    /// What tokens cost, for budgets.
    pub prices: SharedPrices,
    /// Who counts callers together with this gateway, in a cluster.
    pub together: Option<SharedCallers>,
    /// Who has shown credentials that are not known.
    pub guesses: Arc<Guesses>,
    /// Whose pages may call.
    pub cors: Arc<CorsOrigins>,
    /// Where requests go.
    pub forwarder: Rc<Forwarder>,
    /// Where Live sessions go.
    pub live: Rc<Live>,
    /// The pool, for health answers.
    pub keys: KeyManager,
    /// The components, for health answers.
    pub health: Arc<Health>,
    /// Requests under way, for the drain.
    pub in_flight: InFlight,
    /// The memory that request bodies may take together.
    pub budget: BodyBudget,
    /// Where transactions go.
    pub listeners: Listeners,
    /// The responses that clients may go on from.
    pub(crate) responses: KeptResponses,
    /// The models that Google lists, as far as that was asked.
    pub(crate) listed: ListedModels,
    /// How often Google was asked once more for a translated request.
    pub(crate) repeats: TranslationRepeats,
    /// Where bodies go, if they are logged.
    pub bodies: Option<Arc<BodyLog>>,
    /// Where the gateway is, as clients see it.
    pub origins: Arc<Origins>,
    /// `[server]`
    pub settings: Arc<settings::Server>,
    /// Whether `/debug/panic` exists. Never in a release build.
    #[cfg(debug_assertions)]
    pub test_panics: bool,
    /// The store actor, to be made to panic.
    #[cfg(debug_assertions)]
    pub store: Store,
}

impl AppState {
    /// Returns what the handlers share under other settings.
    fn revised(&self, settings: &Arc<CurrentSettings>) -> Self {
        let forwarder = Rc::new(self.forwarder.revised(&settings.upstream, settings.limits.clone()));
        Self {
            current: Arc::clone(settings),
            gate: Arc::clone(&self.gate),
            clock: self.clock,
            accounts: self.accounts.clone(),
            prices: Rc::new(RefCell::new(settings.prices.clone())),
            together: self.together.clone(),
            guesses: Arc::clone(&self.guesses),
            cors: Arc::clone(&settings.cors),
            live: Rc::new(self.live.revised(Rc::clone(&forwarder))),
            forwarder,
            keys: self.keys.clone(),
            health: Arc::clone(&self.health),
            in_flight: self.in_flight.clone(),
            budget: self.budget.clone(),
            listeners: self.listeners.clone(),
            responses: self.responses.clone(),
            listed: self.listed.clone(),
            repeats: self.repeats.clone(),
            bodies: settings.bodies.clone(),
            origins: Arc::clone(&settings.origins),
            settings: Arc::clone(&settings.server),
            #[cfg(debug_assertions)]
            test_panics: self.test_panics,
            #[cfg(debug_assertions)]
            store: self.store.clone(),
        }
    }
}
