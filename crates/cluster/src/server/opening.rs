//! How a handle comes to a connection: straight to the one server, or by asking the Sentinels anew each time, since their
//! word of yesterday may be a replica today.

use std::{sync::Arc, time::Instant};

use redis::cmd;
use rustls::ClientConfig;

use super::{connection::RedisConnection, tls};
use crate::{
    address::{Endpoint, Servers},
    away::Away,
    settings::RedisSettings,
};

/// Opens connections, one after another.
pub(super) struct Opener {
    settings: Arc<RedisSettings>,
    tls: Option<Arc<ClientConfig>>,
    /// Which Sentinel is asked first: the one that answered last.
    first: usize,
}

impl Opener {
    pub(super) fn new(settings: Arc<RedisSettings>) -> Self {
        Self { settings, tls: None, first: 0 }
    }

    pub(super) fn settings(&self) -> &RedisSettings {
        &self.settings
    }

    /// Returns a connection to the primary, within the time that connecting may take.
    pub(super) fn open(&mut self) -> Result<RedisConnection, Away> {
        if self.settings.address.tls && self.tls.is_none() {
            self.tls = Some(tls::config(&self.settings.extra_roots)?);
        }
        let settings = Arc::clone(&self.settings);
        let end = Instant::now() + settings.connect_timeout;
        match &settings.address.servers {
            Servers::One(endpoint) => RedisConnection::open(&settings, endpoint, self.tls.as_ref(), end),
            Servers::Sentinels { sentinels, service } => {
                let primary = self.primary(sentinels, service, end)?;
                RedisConnection::open(&settings, &primary, self.tls.as_ref(), end)
            }
        }
    }

    /// Asks the Sentinels until one names the primary. Each gets its part of what time is left, so that one that is silent
    /// does not keep the others from being asked; and one part is kept for the primary itself.
    fn primary(&mut self, sentinels: &[Endpoint], service: &str, end: Instant) -> Result<Endpoint, Away> {
        let mut failure = Away::NoPrimary;
        let count = sentinels.len();
        for turn in 0..count {
            let place = (self.first + turn) % count;
            let parts = u32::try_from(count - turn + 1).unwrap_or(u32::MAX);
            let part = end.saturating_duration_since(Instant::now()) / parts;
            match self.ask_sentinel(&sentinels[place], service, Instant::now() + part) {
                Ok(Some(primary)) => {
                    self.first = place;
                    return Ok(primary);
                }
                Ok(None) => failure = Away::NoPrimary,
                Err(error) => failure = error,
            }
        }
        Err(failure)
    }

    fn ask_sentinel(
        &self,
        sentinel: &Endpoint,
        service: &str,
        end: Instant,
    ) -> Result<Option<Endpoint>, Away> {
        let mut connection = RedisConnection::bare(sentinel, self.tls.as_ref(), end)?;
        let mut question = cmd("SENTINEL");
        question.arg("get-master-addr-by-name").arg(service);
        let mut answer: Result<Option<(String, u16)>, Away> = connection.ask(&question);
        // Most Sentinels have no password of their own; those that have one share it with the servers they watch.
        if let (Err(Away::Denied { code }), Some(password)) = (&answer, self.settings.password())
            && code == "NOAUTH"
        {
            connection.authenticate(self.settings.username(), password.expose())?;
            answer = connection.ask(&question);
        }
        Ok(answer?.map(|(host, port)| Endpoint { host, port }))
    }
}
