//! How a caller is told that its own token does not allow a request, apart from what Google or the pool would say: the
//! words, the header that names the limit, and what clients decide by. Statuses are chosen by `error`.

use callers::{Denial, LimitName, LimitReached, Opens};
use gemini::dialect::{SpentQuota, whole_seconds};
use gemini_balance_actors::caller_cuts::CUT_MESSAGE;
use std::{borrow::Cow, time::Duration};

/// The header that names the limit.
pub(super) const LIMIT_HEADER: &str = "x-gemini-balance-limit";

/// Returns what is wrong and what to do.
pub(super) fn message(denial: &Denial) -> Cow<'static, str> {
    match denial {
        Denial::Disabled => "This token is disabled: ask the gateway's operator.".into(),
        Denial::Expired => "This token has expired: ask the gateway's operator for a new one.".into(),
        Denial::Cut => CUT_MESSAGE.into(),
        Denial::Surface(name) => format!(
            "This token does not open the surface `{name}`: use one that it opens, or ask the gateway's operator."
        )
        .into(),
        Denial::Model => {
            "This token does not allow the model asked for: the list of models shows which it allows, or ask the gateway's operator.".into()
        }
        Denial::HiddenModel => {
            "This request spends on models that it does not show, and this token does not allow all of them: name the model, or ask the gateway's operator.".into()
        }
        Denial::Projects => {
            "This token may be served from none of the projects that this gateway has keys of: ask its operator.".into()
        }
        Denial::Limit(reached) => limit_message(reached).into(),
    }
}

fn limit_message(reached: &LimitReached) -> String {
    let limit = limit_in_words(reached);
    let Some(wait) = reached.opens.ask_again_in() else {
        return format!(
            "This request is too large for this token: its input alone is estimated at more than the whole budget of {limit}. Make it smaller, or ask the gateway's operator."
        );
    };
    match (reached.name.is_budget(), whole_seconds(wait)) {
        (false, seconds) => format!("This token's limit of {limit} is reached: try again in {seconds} s."),
        (true, seconds) if is_spent(reached) => {
            format!(
                "This token's budget of {limit} is spent, or too little is left of it: it opens again in {seconds} s."
            )
        }
        (true, _) => format!(
            "What is left of this token's budget of {limit} is set aside for requests under way: try again in a moment."
        ),
    }
}

fn limit_in_words(reached: &LimitReached) -> String {
    let limit = reached.limit;
    match reached.name {
        LimitName::Rpm => format!("{limit} requests a minute"),
        LimitName::Tpm => format!("{limit} tokens a minute"),
        LimitName::Rpd => format!("{limit} requests a day"),
        LimitName::Concurrent => format!("{limit} requests at the same time"),
        LimitName::TokensDay => format!("{limit} tokens a day"),
        LimitName::TokensMonth => format!("{limit} tokens a month"),
        LimitName::MoneyDay => format!("{} a day", in_units(limit)),
        LimitName::MoneyMonth => format!("{} a month", in_units(limit)),
    }
}

/// Billionths as units, with no more digits than there are.
fn in_units(billionths: u64) -> String {
    let text = format!("{}.{:09}", billionths / 1_000_000_000, billionths % 1_000_000_000);
    text.trim_end_matches('0').trim_end_matches('.').to_owned()
}

/// Whether a budget has nothing left, or never enough, so that asking again before it opens is of no use.
pub(super) fn is_spent(reached: &LimitReached) -> bool {
    reached.name.is_budget() && matches!(reached.opens, Opens::After(_) | Opens::Never)
}

/// Returns when to ask again, if time can help.
pub(super) fn retry_in(denial: &Denial) -> Option<Duration> {
    match denial {
        Denial::Limit(reached) => reached.opens.ask_again_in(),
        _ => None,
    }
}

/// Returns the budget that is spent, as Google's clients read of a quota.
pub(super) fn quota(denial: &Denial) -> Option<SpentQuota<'static>> {
    let Denial::Limit(reached) = denial else { return None };
    let id = match reached.name {
        _ if !is_spent(reached) => return None,
        LimitName::TokensDay => "GatewayTokensPerDayPerCaller",
        LimitName::TokensMonth => "GatewayTokensPerMonthPerCaller",
        LimitName::MoneyDay => "GatewayMoneyPerDayPerCaller",
        LimitName::MoneyMonth => "GatewayMoneyPerMonthPerCaller",
        LimitName::Rpm | LimitName::Tpm | LimitName::Rpd | LimitName::Concurrent => return None,
    };
    Some(SpentQuota { id: id.into(), model: None })
}

/// Returns the `type` and the `code` in OpenAI's form.
pub(super) fn openai_words(denial: &Denial) -> (&'static str, Option<&'static str>) {
    match denial {
        Denial::Disabled | Denial::Expired | Denial::Cut => {
            ("invalid_request_error", Some("invalid_api_key"))
        }
        Denial::Surface(_) | Denial::Model | Denial::HiddenModel => {
            ("invalid_request_error", Some("model_not_allowed"))
        }
        Denial::Projects => ("invalid_request_error", Some("project_not_allowed")),
        Denial::Limit(reached) if is_spent(reached) => ("insufficient_quota", Some("insufficient_quota")),
        Denial::Limit(reached) => match reached.name {
            LimitName::Rpm | LimitName::Rpd | LimitName::Concurrent => {
                ("requests", Some("rate_limit_exceeded"))
            }
            _ => ("tokens", Some("rate_limit_exceeded")),
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn money_is_told_in_units_without_needless_digits() {
        for (billionths, units) in [
            (5_000_000_000, "5"),
            (2_500_000_000, "2.5"),
            (1, "0.000000001"),
            (0, "0"),
            (100_000_000_000, "100"),
        ] {
            assert_eq!(in_units(billionths), units);
        }
    }
}
