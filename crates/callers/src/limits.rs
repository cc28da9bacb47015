//! The limits that a token may have, by their names in the configuration and in `x-gemini-balance-limit`.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::denial::{LimitReached, Opens};
use crate::period::Used;

/// One of a token's limits.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum LimitName {
    /// Requests in a minute.
    Rpm,
    /// Input, output and thoughts in a minute.
    Tpm,
    /// Requests in a day.
    Rpd,
    /// Requests at the same time.
    Concurrent,
    /// Tokens in a day.
    TokensDay,
    /// Tokens in a month.
    TokensMonth,
    /// Money in a day, in billionths.
    MoneyDay,
    /// Money in a month, in billionths.
    MoneyMonth,
}

impl LimitName {
    /// All of them, in the order in which they are listed.
    pub const ALL: [Self; 8] = [
        Self::Rpm,
        Self::Tpm,
        Self::Rpd,
        Self::Concurrent,
        Self::TokensDay,
        Self::TokensMonth,
        Self::MoneyDay,
        Self::MoneyMonth,
    ];

    /// Returns the name that header, log and metrics use.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Rpm => "rpm",
            Self::Tpm => "tpm",
            Self::Rpd => "rpd",
            Self::Concurrent => "concurrent",
            Self::TokensDay => "tokens_day",
            Self::TokensMonth => "tokens_month",
            Self::MoneyDay => "money_day",
            Self::MoneyMonth => "money_month",
        }
    }

    /// Whether it limits requests, not what they use.
    pub(crate) fn is_of_requests(self) -> bool {
        matches!(self, Self::Rpm | Self::Rpd | Self::Concurrent)
    }

    /// Returns what of this counts against it.
    pub(crate) fn of(self, used: Used) -> u64 {
        match self {
            Self::Rpm | Self::Rpd | Self::Concurrent => used.requests,
            Self::Tpm | Self::TokensDay | Self::TokensMonth => used.tokens,
            Self::MoneyDay | Self::MoneyMonth => used.money,
        }
    }

    /// Whether it is a budget: no pause of a client makes room in it, only the next day or month.
    pub fn is_budget(self) -> bool {
        matches!(self, Self::TokensDay | Self::TokensMonth | Self::MoneyDay | Self::MoneyMonth)
    }
}

impl fmt::Display for LimitName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// A token's limits. What is not limited is `None`; nothing is limited to 0.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct CallerLimits {
    /// Requests in a minute.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub rpm: Option<u64>,
    /// Input, output and thoughts in a minute.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tpm: Option<u64>,
    /// Requests in a day.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub rpd: Option<u64>,
    /// Requests at the same time.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub concurrent: Option<u64>,
    /// Tokens in a day.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tokens_day: Option<u64>,
    /// Tokens in a month.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tokens_month: Option<u64>,
    /// Money in a day, in billionths.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub money_day: Option<u64>,
    /// Money in a month, in billionths.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub money_month: Option<u64>,
}

impl CallerLimits {
    /// One of them.
    pub fn get(&self, name: LimitName) -> Option<u64> {
        match name {
            LimitName::Rpm => self.rpm,
            LimitName::Tpm => self.tpm,
            LimitName::Rpd => self.rpd,
            LimitName::Concurrent => self.concurrent,
            LimitName::TokensDay => self.tokens_day,
            LimitName::TokensMonth => self.tokens_month,
            LimitName::MoneyDay => self.money_day,
            LimitName::MoneyMonth => self.money_month,
        }
    }

    /// The first that is 0: such a token could never call, and disabling it says so better.
    pub fn zero(&self) -> Option<LimitName> {
        LimitName::ALL.into_iter().find(|name| self.get(*name) == Some(0))
    }

    /// Whether what a request uses is limited, so that it has to be estimated.
    pub fn limit_spending(&self) -> bool {
        LimitName::ALL
            .into_iter()
            .any(|name| (name.is_budget() || name == LimitName::Tpm) && self.get(name).is_some())
    }

    /// Whether anything is limited that is counted over all gateways: all but requests at the same time.
    pub fn are_shared(&self) -> bool {
        self.count_minutes() || self.count_days() || self.count_months()
    }

    /// Whether what a request uses for certain fits into each budget as a whole. Where it does not, no time makes room.
    pub(crate) fn fit(&self, certain: Used) -> Result<(), LimitReached> {
        let beyond = LimitName::ALL.into_iter().filter(|name| name.is_budget()).find_map(|name| {
            let limit = self.get(name).filter(|limit| name.of(certain) > *limit)?;
            Some(LimitReached { name, limit, opens: Opens::Never })
        });
        beyond.map_or(Ok(()), Err)
    }

    pub(crate) fn count_minutes(&self) -> bool {
        self.rpm.is_some() || self.tpm.is_some()
    }

    pub(crate) fn count_days(&self) -> bool {
        self.rpd.is_some() || self.tokens_day.is_some() || self.money_day.is_some()
    }

    pub(crate) fn count_months(&self) -> bool {
        self.tokens_month.is_some() || self.money_month.is_some()
    }
}
