//! The blame table in words, for people: what a fault is, whom it blames, what the gateway does about it, and what its
//! operator can do. Used by the operator's API and by `gemini-balance explain`; `docs/errors.md` has the whole table.

use gemini::{
    classify::TABLE,
    fault::{Kind, Next, Proof, Scope, Wait},
};

/// Returns the kind of this name, as logs and the API have it.
pub(crate) fn kind_of(name: &str) -> Option<Kind> {
    TABLE.iter().map(|row| row.kind).find(|kind| format!("{kind:?}").eq_ignore_ascii_case(name))
}

/// Says what a fault is, where Google has said nothing of its own.
pub(crate) fn what(kind: Kind) -> &'static str {
    kind.row().words.trim_end_matches('.')
}

/// Says what the gateway leaves alone after a fault, and for how long.
pub(crate) fn left_alone(kind: Kind) -> String {
    let row = kind.row();
    let blamed = match row.scope {
        Scope::Key => "the key",
        Scope::Project | Scope::Billing => "the project",
        Scope::ProjectModel => "the model in the project",
        Scope::ProjectTool => "the tool in the project",
        Scope::Route => {
            return "the way to Google, which all keys share, once it fails again and again".to_owned();
        }
        Scope::Model => return "the model as a whole, once nearly everything fails on it".to_owned(),
        Scope::Binding | Scope::Client | Scope::Gateway | Scope::Nobody => return "nothing".to_owned(),
    };
    let time = match row.wait {
        Wait::None => return "nothing".to_owned(),
        Wait::For(_) => "for as long as the answer says, else for a moment",
        Wait::Backoff if row.hint == gemini::classify::Hint::Heeded => {
            "for as long as Google says, else for a growing time"
        }
        Wait::Backoff => "for a growing time",
        Wait::DailyReset => "until midnight in Los Angeles",
        Wait::Long => "for a day",
        Wait::Retire => "until it is reset or Google accepts it again",
    };
    match kind.proof() {
        Proof::Answer => format!("{blamed}, {time}"),
        Proof::OtherKey => format!("{blamed}, {time}, if another key serves the same request"),
        Proof::KeyCheck => format!("{blamed}, {time}, if Google refuses it for the list of models as well"),
    }
}

/// Says what becomes of the request.
pub(crate) fn next(kind: Kind) -> &'static str {
    match kind.next() {
        Next::Return => "the answer is passed on",
        Next::OtherKey => "it is tried on another key",
        Next::OtherKeyOnce => "it is tried on another key, once",
        Next::Pause => "it is tried again after a pause",
        Next::PauseOnce => "it is tried again after a pause, once, if that is safe",
    }
}

/// Says what the operator can do.
pub(crate) fn advice(kind: Kind) -> &'static str {
    match kind {
        Kind::KeyInvalid | Kind::KeyUnauthenticated | Kind::KeySuspended => {
            "Replace the key; `gemini-balance keys` shows which are retired."
        }
        Kind::KeyRestricted | Kind::MethodBlocked => {
            "Lift the key's restrictions (referrers, addresses, services) in Google's console."
        }
        Kind::Forbidden => {
            "If it stays so with one key, look at its project in Google's console: it lacks a permission."
        }
        Kind::CreditsGone => "Buy credits for the project, or take its keys out.",
        Kind::ProjectUnfit => {
            "Enable billing for the project, or use a model that its tier and country have."
        }
        Kind::BillingDisabled => "Enable billing for the project.",
        Kind::ServiceDisabled => "Enable the Generative Language API in the project.",
        Kind::SpendingCap => "Raise the project's spending cap, or wait for the next month.",
        Kind::LocationUnsupported => {
            "Send the gateway's traffic out of a country that Google serves (upstream.proxy)."
        }
        Kind::ModelWithheld | Kind::QuotaZero => {
            "Use another model, or keys of a project whose tier has this one."
        }
        Kind::QuotaMinute | Kind::QuotaDay | Kind::QuotaUnnamed | Kind::QuotaBare => {
            "Add keys of other projects, raise the quota, or give callers limits below it."
        }
        Kind::RateLimited => {
            "Look at what stands between the gateway and Google: it may allow fewer requests."
        }
        Kind::Internal | Kind::Overloaded => {
            "Nothing on your side; models.fallback can name another model for such times."
        }
        Kind::ConnectFailed | Kind::HeadLost | Kind::BodyLost | Kind::NotGoogle => {
            "If it stays so, look at the network, the proxy and upstream.gemini_base_url."
        }
        Kind::Client | Kind::DeadlineExceeded | Kind::ResourceUnreachable => {
            "Nothing on your side: the client has to send something else."
        }
        Kind::CredentialsMultiple | Kind::CredentialMissing => {
            "Look at what stands between the gateway and Google: a credential was added or lost on the way."
        }
        _ => "Nothing.",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_kind_is_found_by_its_name_and_has_words() {
        for row in TABLE {
            let name = format!("{:?}", row.kind);
            assert_eq!(kind_of(&name), Some(row.kind));
            assert_eq!(kind_of(&name.to_lowercase()), Some(row.kind));
            assert!(!left_alone(row.kind).is_empty() && !what(row.kind).is_empty());
            assert!(advice(row.kind).ends_with('.'), "{name}");
        }
        assert_eq!(kind_of("NoSuchFault"), None);
    }
}
