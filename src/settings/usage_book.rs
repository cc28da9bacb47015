//! What `[usage]` and `[[prices]]` become.

use super::{Settings, SettingsError};
use crate::http::told_of;
use chrono_tz::Tz;
use gemini_balance_actors::accounting::{AccountingSettings, CallerNames};
use gemini_balance_store::Retention;
use usage::{Days, Prices};

impl Settings {
    /// How usage is counted and kept, checked; `None` where it is not.
    pub fn accounting(&self) -> Result<Option<AccountingSettings>, SettingsError> {
        self.read_accounting().map_err(|error| self.name_source(error))
    }

    /// The list prices, checked.
    pub fn price_table(&self) -> Result<Prices, SettingsError> {
        self.read_prices().map_err(|error| self.name_source(error))
    }

    /// Where days and months begin, checked.
    pub fn day_zone(&self) -> Result<Tz, SettingsError> {
        let refused = |_| self.name_source(SettingsError::refused("usage.day_zone", usage::BadZone));
        self.usage.day_zone.parse().map_err(refused)
    }

    fn read_prices(&self) -> Result<Prices, SettingsError> {
        Prices::new(&self.prices).map_err(|why| SettingsError::refused("prices", why))
    }

    fn read_accounting(&self) -> Result<Option<AccountingSettings>, SettingsError> {
        let usage = &self.usage;
        let days = Days::of(&usage.day_zone).map_err(|why| SettingsError::refused("usage.day_zone", why))?;
        let prices = self.read_prices()?;
        let retention = Retention {
            minutes_s: i64::from(usage.keep_minutes_h) * 3_600,
            hours_s: i64::from(usage.keep_hours_d) * 86_400,
            days_s: i64::from(usage.keep_days_d) * 86_400,
            max_rows: usage.max_rows,
        };
        let settings = AccountingSettings {
            path: usage.path.clone(),
            days,
            retention,
            max_models: usage.max_models,
            recent: usage.recent,
            prices,
            callers: CallerNames::Tokens,
            per_key: self.metrics.per_key,
            status_of: |failure| told_of(failure).0,
        };
        Ok(usage.enabled.then_some(settings))
    }
}
