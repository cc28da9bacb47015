//! Who is logged in on the page: a table in memory of random ids, each of which a browser holds as its cookie. An id is not
//! the token, tells nothing of it, and opens nothing once it is gone from here. `gate` asks it; a reload that changes the
//! operator's token ends all.

use ring::rand::{SecureRandom as _, SystemRandom};
use std::{
    collections::HashMap,
    fmt::Write as _,
    sync::{Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

/// How long a session lasts that nobody uses.
const IDLE: Duration = Duration::from_secs(12 * 60 * 60);
/// How long a session lasts at most.
const LONGEST: Duration = Duration::from_secs(7 * 24 * 60 * 60);
/// How many sessions there are at once. The one that was used least recently makes room.
const MOST: usize = 64;
/// How long a one-time code may be used.
const CODE_LASTS: Duration = Duration::from_secs(60 * 60);

/// The sessions. See the module.
#[derive(Debug, Default)]
pub(crate) struct Sessions(Mutex<Table>);

#[derive(Debug, Default)]
struct Table {
    sessions: HashMap<Box<str>, Session>,
    /// A code that opens one session, and when it was made.
    code: Option<(Box<str>, Instant)>,
}

#[derive(Clone, Copy, Debug)]
struct Session {
    made: Instant,
    used: Instant,
}

impl Session {
    fn is_alive(&self, now: Instant) -> bool {
        now.saturating_duration_since(self.made) < LONGEST && now.saturating_duration_since(self.used) < IDLE
    }
}

impl Sessions {
    fn lock(&self) -> MutexGuard<'_, Table> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Begins a session and returns its id; `None` where the system has no random bytes.
    pub(super) fn begin(&self, now: Instant) -> Option<String> {
        let id = random_id()?;
        let mut table = self.lock();
        table.sessions.retain(|_, session| session.is_alive(now));
        while table.sessions.len() >= MOST {
            let oldest = table.sessions.iter().min_by_key(|(_, session)| session.used);
            let Some(oldest) = oldest.map(|(id, _)| id.clone()) else { break };
            table.sessions.remove(&oldest);
        }
        table.sessions.insert(id.as_str().into(), Session { made: now, used: now });
        Some(id)
    }

    /// Returns whether this is the id of a session, which then counts as used.
    pub(super) fn is_open(&self, id: &str, now: Instant) -> bool {
        let mut table = self.lock();
        match table.sessions.get_mut(id) {
            Some(session) if session.is_alive(now) => {
                session.used = now;
                true
            }
            Some(_) => {
                table.sessions.remove(id);
                false
            }
            None => false,
        }
    }

    /// Ends a session.
    pub(super) fn end(&self, id: &str) {
        self.lock().sessions.remove(id);
    }

    /// Ends all sessions.
    pub(crate) fn end_all(&self) {
        *self.lock() = Table::default();
    }

    /// Makes a code that opens one session, within an hour; the one before is void.
    pub(crate) fn one_time_code(&self, now: Instant) -> Option<String> {
        let code = random_id()?;
        self.lock().code = Some((code.as_str().into(), now));
        Some(code)
    }

    /// Takes a code: whether it was the one, which then is void.
    pub(super) fn take_code(&self, code: &str, now: Instant) -> bool {
        let mut table = self.lock();
        // The code is as long as a hash and used once: what time a comparison takes tells nothing that helps.
        let is_good = table.code.as_ref().is_some_and(|(known, made)| {
            **known == *code && now.saturating_duration_since(*made) < CODE_LASTS
        });
        if is_good {
            table.code = None;
        }
        is_good
    }
}

/// 256 random bits in hex.
pub(super) fn random_id() -> Option<String> {
    let mut bytes = [0_u8; 32];
    SystemRandom::new().fill(&mut bytes).ok()?;
    let mut text = String::with_capacity(64);
    for byte in bytes {
        let _ = write!(text, "{byte:02x}");
    }
    Some(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_session_ends_when_it_is_idle_or_old_or_logged_out() {
        let (sessions, start) = (Sessions::default(), Instant::now());
        let id = sessions.begin(start).unwrap();
        assert_eq!(id.len(), 64);
        assert!(sessions.is_open(&id, start + IDLE / 2));
        assert!(sessions.is_open(&id, start + IDLE), "used meanwhile");
        assert!(!sessions.is_open(&id, start + IDLE * 2), "idle");
        let id = sessions.begin(start).unwrap();
        for hours in (0..7 * 24).step_by(6) {
            assert!(sessions.is_open(&id, start + Duration::from_secs(hours * 60 * 60)), "{hours}");
        }
        assert!(!sessions.is_open(&id, start + LONGEST), "old");
        let (one, other) = (sessions.begin(start).unwrap(), sessions.begin(start).unwrap());
        sessions.end(&one);
        assert!(!sessions.is_open(&one, start) && sessions.is_open(&other, start));
        sessions.end_all();
        assert!(!sessions.is_open(&other, start) && !sessions.is_open("", start));
    }

    #[test]
    fn there_are_so_many_sessions_and_no_more() {
        let (sessions, start) = (Sessions::default(), Instant::now());
        let at = |n: usize| start + Duration::from_secs(n as u64);
        let ids: Vec<_> = (0..=MOST).map(|n| sessions.begin(at(n)).unwrap()).collect();
        let now = at(MOST);
        assert!(!sessions.is_open(&ids[0], now), "the least recently used one makes room");
        assert!(ids[1..].iter().all(|id| sessions.is_open(id, now)));
    }

    #[test]
    fn a_code_opens_one_session() {
        let (sessions, start) = (Sessions::default(), Instant::now());
        assert!(!sessions.take_code("", start));
        let code = sessions.one_time_code(start).unwrap();
        assert!(!sessions.take_code("other", start), "a wrong one");
        assert!(sessions.take_code(&code, start) && !sessions.take_code(&code, start));
        let code = sessions.one_time_code(start).unwrap();
        assert!(!sessions.take_code(&code, start + CODE_LASTS), "an old one");
    }
}
