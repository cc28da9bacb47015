//! A whole configuration, read and found good: the one way from settings to what the service is made of, for its start, for
//! `gemini-balance check` and for a reload. It says what is wrong in one line, and changes nothing.

use crate::{
    http::{CorsOrigins, Origins},
    logging,
    operator::OperatorAddress,
    settings::{ModelMaps, Settings, SettingsError, Token},
    tls::Certificate,
};
use chrono_tz::Tz;
use gemini_balance_actors::{
    Secret,
    accounting::AccountingSettings,
    cluster::ClusterSettings,
    exporter::TraceSettings,
    key_ring::KeyRing,
    upstream::{UpstreamSettings, probe::Prober},
};
use keypool::Pool;
use std::{net::SocketAddr, sync::Arc};
use usage::Prices;

/// See the module.
pub(crate) struct Configuration {
    pub(crate) settings: Settings,
    /// The keys that files and the environment name; perhaps none.
    pub(crate) ring: KeyRing,
    pub(crate) tokens: Vec<Token>,
    pub(crate) rules: keypool::Settings,
    pub(crate) upstream: UpstreamSettings,
    pub(crate) certificate: Option<Certificate>,
    pub(crate) accounting: Option<AccountingSettings>,
    /// Where traces go, if any are made.
    pub(crate) tracing: Option<TraceSettings>,
    /// How this gateway finds those that it shares the pool with, if there are any.
    pub(crate) cluster: Option<ClusterSettings>,
    pub(crate) zone: Tz,
    pub(crate) prices: Prices,
    pub(crate) origins: Arc<Origins>,
    pub(crate) cors: Arc<CorsOrigins>,
    /// Which model of Google's stands for which name.
    pub(crate) model_maps: Arc<ModelMaps>,
    /// Where the operator's listener is, and who is let in there.
    pub(crate) operator: Option<(OperatorAddress, Secret)>,
    /// What that listener is served with, if it has TLS.
    pub(crate) operator_certificate: Option<Certificate>,
    /// Who may scrape the metrics, beside the operator.
    pub(crate) metrics_token: Option<Secret>,
    /// The metrics' own address, if they have one.
    pub(crate) metrics_listen: Option<SocketAddr>,
    pub(crate) level: log::LevelFilter,
}

impl Configuration {
    /// Makes everything of the settings that can be made without changing anything.
    pub(crate) fn of(settings: Settings) -> Result<Self, SettingsError> {
        let ring = settings.configured_keys()?;
        let tokens = settings.tokens()?;
        let upstream = settings.upstream()?;
        let certificate = settings.certificate()?;
        let accounting = settings.accounting()?;
        let tracing = settings.traces()?;
        let cluster = settings.cluster()?;
        let origins = Arc::new(settings.origins()?);
        let cors = Arc::new(settings.cors()?);
        let model_maps = Arc::new(settings.model_maps()?);
        let level = logging::level_of(&settings.log).map_err(|error| settings.name_source(error))?;
        let operator = settings
            .admin_token()?
            .map(|token| {
                let (listen, public) = (settings.admin_address()?, settings.admin_public_origin()?);
                let name = settings.admin.host.clone();
                Ok::<_, SettingsError>((OperatorAddress { listen, name, public }, token))
            })
            .transpose()?;
        let operator_certificate =
            operator.as_ref().map(|_| settings.admin_certificate()).transpose()?.flatten();
        if let Some((_, token)) = &operator {
            settings.check_admin_token(token)?;
        }
        let (metrics_token, metrics_listen) = (settings.metrics_token()?, settings.metrics_listen()?);
        let zone = settings.day_zone()?;
        let prices = settings.price_table()?;
        let rules = settings.pool.rules(&settings.limits);
        // Without any, those that were added at runtime may be enough.
        if !ring.keys().is_empty() {
            Pool::new(rules.clone(), ring.specs(), 0)
                .map_err(|error| settings.name_source(SettingsError::of_pool(&error)))?;
        }
        // A client that cannot be built is told here, once, rather than by each worker.
        Prober::new(upstream.clone()).map_err(|error| settings.upstream_refused(&error))?;
        Ok(Self {
            settings,
            ring,
            tokens,
            rules,
            upstream,
            certificate,
            accounting,
            tracing,
            cluster,
            zone,
            prices,
            origins,
            cors,
            model_maps,
            operator,
            operator_certificate,
            metrics_token,
            metrics_listen,
            level,
        })
    }
}
