//! Who may call: a client shows a token, or with no token configured one of the pool's keys, in any of the forms the
//! SDKs use. Tokens are kept and compared as keyed hashes, in constant time. Nothing is open by default.

use crate::settings::Token;
use actix_web::http::header::HeaderMap;
use gemini::path::{CredentialForm, query_credentials};
use gemini_balance_actors::{Caller, Secret, Visibility, key_ring::KeyRing};
use sha2::{Digest, Sha256};
use std::{borrow::Cow, sync::Arc, time::Duration};
use subtle::{Choice, ConstantTimeEq};

/// How many credentials of one request are looked at. A client has reason to send two or three.
const MOST_SHOWN: usize = 8;

/// A keyed hash of a token.
type Fingerprint = [u8; 32];

/// Decides who is let in.
pub struct Gate {
    salt: [u8; 32],
    callers: Vec<(Fingerprint, Caller)>,
}

/// Nobody is let in with this.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refused {
    /// There is no credential.
    Missing,
    /// There is one, and it is not known.
    Unknown,
    /// There is one, and its address has shown too many that are not known: it was not looked at.
    GuessedTooOften {
        /// For how much longer none will be.
        wait: Duration,
    },
}

impl Gate {
    /// With no tokens, the pool's keys are the credentials, and everyone shares what is made, as with one key.
    pub fn new(tokens: &[Token], ring: &KeyRing) -> Self {
        if tokens.is_empty() {
            Self::of(ring.keys().iter().map(|key| (key.id().as_str(), key.secret(), Visibility::All)))
        } else {
            Self::of(tokens.iter().map(|token| (token.name.as_str(), &token.secret, token.visibility)))
        }
    }

    /// These and nobody else.
    pub fn of<'a>(callers: impl IntoIterator<Item = (&'a str, &'a Secret, Visibility)>) -> Self {
        let salt = random_salt();
        let callers = callers
            .into_iter()
            .map(|(name, secret, visibility)| {
                (hash(&salt, secret.expose().as_bytes()), Caller { name: Arc::from(name), visibility })
            })
            .collect();
        Self { salt, callers }
    }

    /// Whether a caller of this name may still call, and as whom.
    pub fn named(&self, name: &str) -> Option<Caller> {
        self.callers.iter().find(|(_, caller)| &*caller.name == name).map(|(_, caller)| caller.clone())
    }

    /// Looks at every credential the request shows. A client may send two, or an empty one beside a good one: one good
    /// one is enough. The form is that of the good one, or of the first where none is good; it decides the dialect of
    /// paths that both know.
    pub fn admit(
        &self,
        headers: &HeaderMap,
        query: Option<&str>,
    ) -> (CredentialForm, Result<Caller, Refused>) {
        let mut first = CredentialForm::None;
        for (form, credential) in shown(headers, query) {
            if matches!(first, CredentialForm::None) {
                first = form;
            }
            if let Some(caller) = self.find(&credential) {
                return (form, Ok(caller));
            }
        }
        let refused = if matches!(first, CredentialForm::None) { Refused::Missing } else { Refused::Unknown };
        (first, Err(refused))
    }

    /// Compares with every caller, whether or not one has matched already.
    fn find(&self, credential: &[u8]) -> Option<Caller> {
        let shown = hash(&self.salt, credential);
        let mut found = None;
        for (fingerprint, caller) in &self.callers {
            let same: Choice = fingerprint.ct_eq(&shown);
            if bool::from(same) {
                found = Some(caller);
            }
        }
        found.cloned()
    }
}

/// The form of the first credential that a request shows, if it shows one.
pub(super) fn shown_form(headers: &HeaderMap, query: Option<&str>) -> Option<CredentialForm> {
    shown(headers, query).next().map(|(form, _)| form)
}

/// How many credentials of a request are looked at.
pub(super) fn count_shown(headers: &HeaderMap, query: Option<&str>) -> u32 {
    u32::try_from(shown(headers, query).count()).unwrap_or(u32::MAX)
}

/// The credentials that a request shows, as far as they are looked at: none that is empty, and no more than a client has
/// reason to send.
fn shown<'a>(
    headers: &'a HeaderMap,
    query: Option<&'a str>,
) -> impl Iterator<Item = (CredentialForm, Cow<'a, [u8]>)> {
    let goog = headers
        .get_all("x-goog-api-key")
        .map(|value| (CredentialForm::GoogHeader, Cow::Borrowed(value.as_bytes().trim_ascii())));
    let bearer = headers
        .get_all("authorization")
        .filter_map(|value| bearer_token(value.as_bytes()))
        .map(|token| (CredentialForm::Bearer, Cow::Borrowed(token.trim_ascii())));
    let in_query = query
        .into_iter()
        .flat_map(query_credentials)
        .map(|value| (CredentialForm::QueryKey, Cow::Owned(value.trim_ascii().as_bytes().to_vec())));
    goog.chain(in_query).chain(bearer).filter(|(_, credential)| !credential.is_empty()).take(MOST_SHOWN)
}

/// `Bearer x`, its scheme in any case.
fn bearer_token(value: &[u8]) -> Option<&[u8]> {
    let (scheme, token) = value.split_at_checked(7)?;
    scheme.eq_ignore_ascii_case(b"bearer ").then_some(token)
}

fn hash(salt: &[u8; 32], credential: &[u8]) -> Fingerprint {
    Sha256::new().chain_update(salt).chain_update(credential).finalize().into()
}

/// A salt for this process. It only has to differ between processes: the tokens themselves carry the strength.
fn random_salt() -> [u8; 32] {
    let mut salt = [0; 32];
    fastrand::fill(&mut salt);
    salt
}

#[cfg(test)]
mod tests {
    use super::*;
    use actix_web::http::header::{HeaderName, HeaderValue};
    use keypool::{KeyId, KeySpec};

    fn gate(tokens: &[(&str, &str)]) -> Gate {
        let ring = KeyRing::new(vec![(
            KeySpec { id: KeyId::from("pool-1"), project: None, weight: 1 },
            Secret::new("AIza-pool"),
        )])
        .unwrap();
        let tokens: Vec<_> = tokens
            .iter()
            .map(|(name, secret)| Token {
                name: (*name).to_owned(),
                secret: Secret::new(*secret),
                visibility: Visibility::Own,
            })
            .collect();
        Gate::new(&tokens, &ring)
    }

    fn headers(pairs: &[(&str, &str)]) -> HeaderMap {
        let mut map = HeaderMap::new();
        for (name, value) in pairs {
            map.append(
                HeaderName::from_bytes(name.as_bytes()).unwrap(),
                HeaderValue::from_str(value).unwrap(),
            );
        }
        map
    }

    fn name(result: &(CredentialForm, Result<Caller, Refused>)) -> Result<&str, Refused> {
        result.1.as_ref().map(|caller| &*caller.name).map_err(|refused| *refused)
    }

    #[test]
    fn a_token_is_accepted_in_every_form() {
        let gate = gate(&[("alice", "s3cret"), ("bob", "other")]);
        for (pairs, query) in [
            (&[("x-goog-api-key", "s3cret")][..], None),
            (&[("authorization", "Bearer s3cret")], None),
            (&[("authorization", "bearer  s3cret ")], None),
            (&[], Some("alt=sse&key=s3cret")),
            (&[], Some("key=s3cr%65t")),
            (&[("x-goog-api-key", ""), ("authorization", "Bearer s3cret")], None),
            (&[("x-goog-api-key", "wrong"), ("authorization", "Bearer s3cret")], None),
            (&[("x-goog-api-key", "wrong"), ("x-goog-api-key", "s3cret")], None),
        ] {
            assert_eq!(name(&gate.admit(&headers(pairs), query)), Ok("alice"), "{pairs:?} {query:?}");
        }
    }

    #[test]
    fn nothing_and_anything_else_are_refused() {
        let gate = gate(&[("alice", "s3cret")]);
        assert_eq!(name(&gate.admit(&headers(&[]), None)), Err(Refused::Missing));
        assert_eq!(
            name(&gate.admit(&headers(&[("x-goog-api-key", "")]), Some("key="))),
            Err(Refused::Missing)
        );
        for wrong in ["s3cre", "s3cret1", "S3cret", "alice", "AIza-pool"] {
            assert_eq!(
                name(&gate.admit(&headers(&[("x-goog-api-key", wrong)]), None)),
                Err(Refused::Unknown)
            );
        }
        assert_eq!(
            name(&gate.admit(&headers(&[("authorization", "Basic s3cret")]), None)),
            Err(Refused::Missing)
        );
    }

    #[test]
    fn without_tokens_a_pool_key_is_the_credential() {
        assert_eq!(
            name(&gate(&[]).admit(&headers(&[("authorization", "Bearer AIza-pool")]), None)),
            Ok("pool-1")
        );
        assert_eq!(name(&gate(&[]).admit(&headers(&[]), None)), Err(Refused::Missing));
    }

    #[test]
    fn the_form_is_that_of_the_credential_that_was_accepted() {
        let gate = gate(&[("alice", "s3cret")]);
        let both = headers(&[("x-goog-api-key", "s3cret"), ("authorization", "Bearer s3cret")]);
        assert_eq!(gate.admit(&both, None).0, CredentialForm::GoogHeader);
        let bearer = headers(&[("x-goog-api-key", ""), ("authorization", "Bearer s3cret")]);
        assert_eq!(gate.admit(&bearer, None).0, CredentialForm::Bearer);
    }
}
