//! What outlives a connection of the Live API: ephemeral tokens and resumption handles, each of one project.

use std::collections::HashMap;
use std::time::Duration;

/// Google's own figures (docs of June 2026).
const HANDLE_LIFE: Duration = Duration::from_secs(2 * 60 * 60);

/// An ephemeral token.
pub(crate) struct Token {
    pub(crate) project: String,
    /// None is without limit.
    pub(crate) uses: Option<u64>,
    pub(crate) start_by: Duration,
    pub(crate) expires: Duration,
}

struct Handle {
    project: String,
    expires: Duration,
}

/// Times are Unix time by the clock that quotas go by.
#[derive(Default)]
pub(crate) struct Grants {
    tokens: HashMap<String, Token>,
    handles: HashMap<String, Handle>,
}

/// What a handle is to a project.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Found {
    Own,
    /// Another project's.
    Foreign,
    /// Never issued, or expired.
    Nothing,
}

impl Grants {
    pub(crate) fn issue_token(&mut self, name: String, token: Token) {
        self.tokens.insert(name, token);
    }

    /// The project of a token, whether or not it may still be used.
    pub(crate) fn owner(&self, token: &str) -> Option<String> {
        self.tokens.get(token).map(|token| token.project.clone())
    }

    /// Spends one use of a token; gives its project.
    pub(crate) fn spend(&mut self, token: &str, now: Duration) -> Option<String> {
        let token = self.tokens.get_mut(token)?;
        if now > token.start_by || now > token.expires || token.uses == Some(0) {
            return None;
        }
        token.uses = token.uses.map(|uses| uses - 1);
        Some(token.project.clone())
    }

    pub(crate) fn issue_handle(&mut self, handle: String, project: &str, now: Duration) {
        let expires = now + HANDLE_LIFE;
        self.handles.insert(handle, Handle { project: project.to_owned(), expires });
    }

    pub(crate) fn find(&self, handle: &str, project: &str, now: Duration) -> Found {
        match self.handles.get(handle) {
            Some(handle) if now > handle.expires => Found::Nothing,
            Some(handle) if handle.project == project => Found::Own,
            Some(_) => Found::Foreign,
            None => Found::Nothing,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: Duration = Duration::from_secs(1_790_000_000);

    fn grants() -> Grants {
        let mut grants = Grants::default();
        let token = Token {
            project: "alpha".to_owned(),
            uses: Some(1),
            start_by: NOW + Duration::from_secs(60),
            expires: NOW + Duration::from_secs(30 * 60),
        };
        grants.issue_token("auth_tokens/a".to_owned(), token);
        grants.issue_handle("h".to_owned(), "alpha", NOW);
        grants
    }

    #[test]
    fn a_token_starts_one_session_within_its_minute() {
        let mut late = grants();
        assert_eq!(late.spend("auth_tokens/a", NOW + Duration::from_secs(61)), None);
        let mut grants = grants();
        assert_eq!(grants.spend("auth_tokens/a", NOW), Some("alpha".to_owned()));
        assert_eq!(grants.spend("auth_tokens/a", NOW), None);
        assert_eq!(grants.spend("auth_tokens/b", NOW), None);
        assert_eq!(grants.owner("auth_tokens/a"), Some("alpha".to_owned()));
    }

    #[test]
    fn a_handle_is_its_projects_for_two_hours() {
        let grants = grants();
        assert_eq!(grants.find("h", "alpha", NOW + HANDLE_LIFE), Found::Own);
        assert_eq!(grants.find("h", "beta", NOW), Found::Foreign);
        assert_eq!(grants.find("h", "alpha", NOW + HANDLE_LIFE + Duration::from_secs(1)), Found::Nothing);
        assert_eq!(grants.find("i", "alpha", NOW), Found::Nothing);
    }
}
