//! The settings that requests are served by, and how a worker takes over others: what its handlers share is made anew for
//! the requests that begin then, and those under way keep what they began with. `service` makes both, `reload` puts other
//! settings in their place.

use super::{AppState, BodyLog, CorsOrigins, Origins};
use crate::{
    reload::ShownSetting,
    settings::{self, FormatName, ModelMaps},
};
use actix_http::Extensions;
use actix_web::web;
use arc_swap::ArcSwap;
use gemini_balance_actors::{forward::Limits, upstream::UpstreamSettings};
use std::{cell::RefCell, rc::Rc, sync::Arc};
use usage::Prices;

/// The settings that requests are served by.
#[derive(Clone)]
pub struct CurrentSettings {
    /// How many times they have changed, from 1 on.
    pub revision: u64,
    /// The settings that have changed since the process began and need another one.
    pub restart_needed: Vec<String>,
    /// `[server]`
    pub server: Arc<settings::Server>,
    /// Whose pages may call.
    pub cors: Arc<CorsOrigins>,
    /// Where the gateway is, as clients see it.
    pub origins: Arc<Origins>,
    /// Where bodies go, if they are logged.
    pub bodies: Option<Arc<BodyLog>>,
    /// How hard a request is tried.
    pub limits: Limits,
    /// How long the upstream may take, and where it may lead.
    pub upstream: UpstreamSettings,
    /// What tokens cost.
    pub prices: Prices,
    /// Which formats of other vendors are served.
    pub formats: Vec<FormatName>,
    /// Which model of Google's stands for which name in them.
    pub model_maps: Arc<ModelMaps>,
    /// All settings, as the operator is shown them.
    pub(crate) shown: Arc<Vec<ShownSetting>>,
}

/// The settings in use, for all who ask for them.
pub type SharedSettings = Arc<ArcSwap<CurrentSettings>>;

/// What a worker's handlers share, under the settings in use.
pub struct WorkerState {
    settings: SharedSettings,
    latest: RefCell<Latest>,
}

/// What was made last.
#[derive(Clone)]
struct Latest {
    state: Rc<AppState>,
    /// The same, where handlers find it.
    container: Rc<Extensions>,
}

impl Latest {
    fn of(state: AppState) -> Self {
        let state = Rc::new(state);
        let mut container = Extensions::new();
        container.insert(web::Data::new(Rc::clone(&state)));
        Self { state, container: Rc::new(container) }
    }
}

impl WorkerState {
    /// Begins with a state that was made under the settings in use.
    pub fn new(settings: SharedSettings, state: AppState) -> Self {
        Self { settings, latest: RefCell::new(Latest::of(state)) }
    }

    /// Returns what a request that begins now is served with, and the same as handlers find it.
    pub fn take(&self) -> (Rc<AppState>, Rc<Extensions>) {
        let settings = self.settings.load();
        let mut latest = self.latest.borrow_mut();
        if !Arc::ptr_eq(&latest.state.current, &settings) {
            *latest = Latest::of(latest.state.revised(&settings));
        }
        (Rc::clone(&latest.state), Rc::clone(&latest.container))
    }
}
