//! Google's rules for credentials: which form counts on which surface, and what a wrong one is told.

use http::HeaderMap;
use http::header::AUTHORIZATION;
use url::form_urlencoded;

use crate::config::UnknownKeys;
use crate::error::ApiError;
use crate::keys::{Key, KeyState, refusal};
use crate::route::{LiveMethod, Route, Surface};
use crate::world::World;

/// How a credential arrived.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Carrier {
    ApiKeyHeader,
    ApiKeyQuery,
    Bearer,
    /// `Authorization: Token` or `?access_token=`: an ephemeral token.
    Token,
    /// Another `Authorization` scheme.
    Other,
}

/// Who opens a Live session.
pub(crate) struct Caller {
    pub(crate) project: String,
    /// What the key is told once it has said something: the upgrade itself goes through.
    pub(crate) refused: Option<ApiError>,
}

/// Everything in a request that looks like a credential, in the order header, authorization, query.
pub(crate) struct Credentials(Vec<(Carrier, String)>);

impl Credentials {
    pub(crate) fn of(headers: &HeaderMap, query: Option<&str>) -> Self {
        let mut found = Vec::with_capacity(1);
        for value in headers.get_all("x-goog-api-key") {
            found.push((Carrier::ApiKeyHeader, String::from_utf8_lossy(value.as_bytes()).into_owned()));
        }
        for value in headers.get_all(AUTHORIZATION) {
            let value = String::from_utf8_lossy(value.as_bytes());
            match value.split_once(' ') {
                Some((scheme, token)) if scheme.eq_ignore_ascii_case("bearer") => {
                    found.push((Carrier::Bearer, token.trim().to_owned()));
                }
                Some((scheme, token)) if scheme.eq_ignore_ascii_case("token") => {
                    found.push((Carrier::Token, token.trim().to_owned()));
                }
                _ => found.push((Carrier::Other, value.into_owned())),
            }
        }
        if let Some(query) = query {
            for (name, value) in form_urlencoded::parse(query.as_bytes()) {
                match name.as_ref() {
                    "key" | "$key" => found.push((Carrier::ApiKeyQuery, value.into_owned())),
                    "access_token" => found.push((Carrier::Token, value.into_owned())),
                    _ => {}
                }
            }
        }
        found.retain(|(_, secret)| !secret.is_empty());
        Self(found)
    }

    /// The credential by which faults and the log know the request, good or not.
    pub(crate) fn secret(&self) -> Option<&str> {
        self.0.first().map(|(_, secret)| secret.as_str())
    }

    /// Nothing looks like a credential.
    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Who opens a Live session, if Google lets them.
    pub(crate) fn admit_live(
        &self,
        world: &World,
        route: &Route,
        method: LiveMethod,
    ) -> Result<Caller, ApiError> {
        let (carrier, secret) = match self.0.as_slice() {
            [] => return Err(ApiError::unregistered()),
            [(carrier, secret)] => (*carrier, secret),
            _ => return Err(ApiError::multiple_credentials()),
        };
        match (carrier, method) {
            (Carrier::Token, LiveMethod::Constrained) => {
                let now = world.clock();
                let project = world.live().spend(secret, now);
                project
                    .map(|project| Caller { project, refused: None })
                    .ok_or_else(|| ApiError::unauthenticated(&route.rpc()))
            }
            (Carrier::ApiKeyHeader | Carrier::ApiKeyQuery, LiveMethod::Content | LiveMethod::Music) => {
                let unknown = || match world.unknown_keys() {
                    UnknownKeys::Accept => Key::valid(secret, secret),
                    UnknownKeys::Refuse => Key::valid(secret, "").in_state(KeyState::Invalid),
                };
                let key = world.key(secret).unwrap_or_else(unknown);
                let refused = refusal(&key, &route.rpc());
                Ok(Caller { project: key.project, refused })
            }
            _ => Err(ApiError::unauthenticated(&route.rpc())),
        }
    }

    /// The key that is calling, if Google lets it.
    pub(crate) fn admit(&self, world: &World, route: &Route) -> Result<Key, ApiError> {
        let (carrier, secret) = match self.0.as_slice() {
            [] if route.surface == Surface::OpenAi => {
                return Err(ApiError::new(400, "Missing or invalid Authorization header."));
            }
            [] => return Err(ApiError::unregistered()),
            [(carrier, secret)] => (*carrier, secret),
            _ => return Err(ApiError::multiple_credentials()),
        };
        match (route.surface, carrier) {
            (Surface::Native, Carrier::ApiKeyHeader | Carrier::ApiKeyQuery)
            | (Surface::OpenAi, Carrier::Bearer) => {}
            (Surface::Native, _) => return Err(ApiError::unauthenticated(&route.rpc())),
            // Reports conflict on whether the OpenAI layer takes x-goog-api-key; the strict reading finds more mistakes.
            (Surface::OpenAi, _) => {
                return Err(ApiError::new(400, "Missing or invalid Authorization header."));
            }
        }
        let Some(key) = world.key(secret) else {
            if world.unknown_keys() == UnknownKeys::Accept {
                return Ok(Key::valid(secret, secret));
            }
            return Err(key_unknown(route.surface));
        };
        if route.surface == Surface::OpenAi && key.state == KeyState::Invalid {
            return Err(key_unknown(route.surface));
        }
        match refusal(&key, &route.rpc()) {
            Some(error) => Err(error),
            None => Ok(key),
        }
    }
}

/// What a key that Google does not know is told.
pub(crate) fn key_unknown(surface: Surface) -> ApiError {
    match surface {
        Surface::Native => ApiError::key_invalid("API key not valid. Please pass a valid API key."),
        // Without details on this surface (seen 1 Oct 2026).
        Surface::OpenAi => ApiError::new(400, "Please pass a valid API key"),
    }
}
