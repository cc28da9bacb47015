//! Who may call: a client shows a token, or with no token configured one of the pool's keys, in any of the forms the
//! SDKs use. Who they are and what they may is known to the `callers::Directory`. Nothing is open by default.

use actix_web::http::header::HeaderMap;
use callers::{CallerSpec, Denial, Directory, Identity, InstanceKey};
use chrono::Utc;
use chrono_tz::Tz;
use gemini::path::{CredentialForm, query_credentials};
use gemini_balance_actors::{Caller, Secret};
use std::{borrow::Cow, sync::Arc, time::Duration};

/// How many credentials of one request are looked at. A client has reason to send two or three.
const MOST_SHOWN: usize = 8;

/// Decides who is let in.
pub struct Gate {
    directory: Arc<Directory>,
    /// The operator's own page as a caller, apart from those that are configured or made.
    page: Option<Arc<Directory>>,
}

/// The name of the operator's own page as a caller. No token may have it.
pub(crate) const OPERATOR: &str = "operator";

/// Nobody is let in with this.
#[derive(Clone, Debug, PartialEq, Eq)]
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
    /// There is one, it is known, and its caller may not call.
    Denied {
        /// Why the caller is not let in.
        denial: Denial,
        /// The caller's name.
        caller: Arc<str>,
    },
}

impl Gate {
    /// Lets in whom the directory knows.
    pub fn new(directory: Arc<Directory>) -> Self {
        Self { directory, page: None }
    }

    /// Lets in the operator's own page besides, by this credential.
    pub(crate) fn with_page(self, credential: &Secret) -> Self {
        let page = Directory::new(InstanceKey::new(&random_key()), Tz::UTC);
        page.set_given([(CallerSpec::new(OPERATOR), credential.expose().as_bytes())]);
        Self { page: Some(Arc::new(page)), ..self }
    }

    fn directories(&self) -> impl Iterator<Item = &Arc<Directory>> {
        std::iter::once(&self.directory).chain(&self.page)
    }

    /// Lets in the operator and nobody else; nobody at all without a token.
    pub fn of_operator(token: Option<&Secret>) -> Self {
        let gate = Self::new(Arc::new(Directory::new(InstanceKey::new(&random_key()), Tz::UTC)));
        gate.set_operator(token);
        gate
    }

    /// Changes the operator's token.
    pub fn set_operator(&self, token: Option<&Secret>) {
        let operator = token.map(|token| (CallerSpec::new("admin"), token.expose().as_bytes()));
        self.directory.set_given(operator);
    }

    /// Returns whether somebody is let in with this credential.
    pub(crate) fn knows(&self, credential: &[u8]) -> bool {
        self.directory.identify(credential, Utc::now()).is_some_and(|identity| identity.standing.is_ok())
    }

    /// Returns who has this name, if they may still call.
    pub fn named(&self, name: &str) -> Result<Caller, Refused> {
        let now = Utc::now();
        let identity = self.directories().find_map(|directory| directory.named(name, now));
        identity.map_or(Err(Refused::Unknown), caller_of)
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
        let mut denied = None;
        for (form, credential) in shown(headers, query) {
            if matches!(first, CredentialForm::None) {
                first = form;
            }
            let now = Utc::now();
            let identity = self.directories().find_map(|directory| directory.identify(&credential, now));
            match identity.map(caller_of) {
                Some(Ok(caller)) => return (form, Ok(caller)),
                Some(Err(refused)) => denied = denied.or(Some((form, refused))),
                None => {}
            }
        }
        match (denied, first) {
            (Some((form, refused)), _) => (form, Err(refused)),
            (None, CredentialForm::None) => (first, Err(Refused::Missing)),
            (None, _) => (first, Err(Refused::Unknown)),
        }
    }
}

fn caller_of(identity: Identity) -> Result<Caller, Refused> {
    let Identity { caller, standing } = identity;
    let name = || Arc::clone(&caller.spec().name);
    standing.map_err(|denial| Refused::Denied { denial, caller: name() })?;
    Ok(Caller::from(caller))
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
    // Anthropic's clients call it by a name of theirs.
    let goog = headers
        .get_all("x-goog-api-key")
        .chain(headers.get_all("x-api-key"))
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

/// A key for this process. It only has to differ between processes: the token itself carries the strength.
fn random_key() -> [u8; 32] {
    let mut key = [0; 32];
    fastrand::fill(&mut key);
    key
}

#[cfg(test)]
mod tests {
    use super::*;
    use actix_web::http::header::{HeaderName, HeaderValue};
    use callers::PoolKey;

    fn gate(tokens: &[(&str, &str)]) -> Gate {
        let directory = Directory::new(InstanceKey::new(&[7; 32]), Tz::UTC);
        directory.set_pool_keys([(PoolKey { id: "pool-1".into(), project: None }, &b"AIza-pool"[..])]);
        directory.set_given(tokens.iter().map(|(name, secret)| (CallerSpec::new(name), secret.as_bytes())));
        Gate::new(Arc::new(directory))
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
        result.1.as_ref().map(|caller| &*caller.name).map_err(Clone::clone)
    }

    #[test]
    fn a_token_is_accepted_in_every_form() {
        let gate = gate(&[("alice", "s3cret"), ("bob", "other")]);
        for (pairs, query) in [
            (&[("x-goog-api-key", "s3cret")][..], None),
            (&[("x-api-key", "s3cret")], None),
            (&[("x-api-key", "s3cret"), ("authorization", "Bearer ")], None),
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
    fn the_page_is_a_caller_of_its_own_beside_all_others() {
        let page = Secret::new("of-the-page");
        for tokens in [&[("alice", "s3cret")][..], &[]] {
            let gate = gate(tokens).with_page(&page);
            let admit =
                |secret| name(&gate.admit(&headers(&[("x-goog-api-key", secret)]), None)).map(str::to_owned);
            assert_eq!(admit("of-the-page"), Ok(OPERATOR.to_owned()));
            assert_eq!(admit("operator"), Err(Refused::Unknown));
            assert!(gate.named(OPERATOR).is_ok());
        }
        assert!(gate(&[]).named(OPERATOR).is_err());
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
