//! What all that takes part knows: where the gateway is, which hour it is, what was sent and what came of it.

use super::judging::Came;
use std::{
    collections::BTreeMap,
    sync::{
        Mutex, MutexGuard,
        atomic::{AtomicU32, AtomicU64, AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};
use tokio::sync::watch;

/// What there is to be expected.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Hour {
    /// Faults are thrown in.
    Storm,
    /// None are any more, and what they have left passes.
    Settling,
    /// Nothing goes wrong: each request is to be served.
    Calm,
    /// Nobody asks, and what was taken is to be given back.
    Rest,
    /// Nobody will ask again.
    Over,
}

/// When something began.
#[derive(Clone, Copy, Debug)]
pub(super) struct Begun {
    pub(super) hour: Hour,
    lives: u64,
    upstream_lives: u64,
}

/// How long usage may be lost by a kill.
const LOST_BY_A_KILL: Duration = Duration::from_millis(1_500);

#[derive(Default)]
pub(super) struct Told {
    /// What must not be.
    pub(super) wrong: Vec<String>,
    /// How often what came of what.
    pub(super) came: BTreeMap<(String, &'static str), u64>,
    /// Input tokens of whole answers, by model, with their moments.
    answered: Vec<(Instant, &'static str, u64)>,
    /// The same, of those that no kill may lose any more.
    kept: BTreeMap<&'static str, u64>,
    /// How many input tokens a request of a model has.
    pub(super) each: BTreeMap<&'static str, u64>,
    /// What took longest.
    pub(super) slowest: Duration,
}

impl Told {
    /// Sums up what usage has to know of by now.
    pub(super) fn answered(&mut self) -> &BTreeMap<&'static str, u64> {
        for (_, model, tokens) in self.answered.drain(..) {
            *self.kept.entry(model).or_default() += tokens;
        }
        &self.kept
    }
}

pub(super) struct Stage {
    pub(super) authority: String,
    pub(super) admin: u16,
    /// The gateway's process.
    pub(super) pid: AtomicU32,
    pub(super) hour: watch::Sender<Hour>,
    /// Odd while the gateway is down.
    pub(super) lives: AtomicU64,
    /// The same of the upstream, which forgets what it had.
    pub(super) upstream_lives: AtomicU64,
    next: AtomicU64,
    pub(super) sent: AtomicU64,
    under_way: AtomicUsize,
    told: Mutex<Told>,
}

/// Counts itself out when dropped.
pub(super) struct UnderWay<'a>(&'a Stage);

impl Drop for UnderWay<'_> {
    fn drop(&mut self) {
        self.0.under_way.fetch_sub(1, Ordering::SeqCst);
    }
}

impl Stage {
    pub(super) fn new(authority: String, admin: u16) -> Self {
        Self {
            authority,
            admin,
            pid: AtomicU32::new(0),
            hour: watch::Sender::new(Hour::Rest),
            lives: AtomicU64::new(0),
            upstream_lives: AtomicU64::new(0),
            next: AtomicU64::new(1),
            sent: AtomicU64::new(0),
            under_way: AtomicUsize::new(0),
            told: Mutex::default(),
        }
    }

    pub(super) fn told(&self) -> MutexGuard<'_, Told> {
        self.told.lock().unwrap()
    }

    /// A prompt like no other, each word of which says whose it is. All are of one length, and so of as many tokens.
    pub(super) fn prompt(&self) -> String {
        let nonce = super::judging::nonce(self.next.fetch_add(1, Ordering::Relaxed));
        (0..8).map(|n| format!("{nonce}-{n}")).collect::<Vec<_>>().join(" ")
    }

    /// Waits until there is something to do; none once all is over. What is done is waited for before the next rest.
    pub(super) async fn go(&self) -> Option<(UnderWay<'_>, Begun)> {
        let mut hours = self.hour.subscribe();
        loop {
            self.under_way.fetch_add(1, Ordering::SeqCst);
            let under_way = UnderWay(self);
            let hour = *hours.borrow_and_update();
            match hour {
                Hour::Over => return None,
                Hour::Rest => drop(under_way),
                Hour::Storm | Hour::Settling | Hour::Calm => return Some((under_way, self.begun(hour))),
            }
            let _ = hours.changed().await;
        }
    }

    pub(super) fn is_resting(&self) -> bool {
        matches!(*self.hour.borrow(), Hour::Rest | Hour::Over)
    }

    fn begun(&self, hour: Hour) -> Begun {
        Begun {
            hour,
            lives: self.lives.load(Ordering::SeqCst),
            upstream_lives: self.upstream_lives.load(Ordering::SeqCst),
        }
    }

    /// Whether the gateway was there all the time.
    pub(super) fn was_there(&self, begun: Begun) -> bool {
        begun.lives.is_multiple_of(2) && begun.lives == self.lives.load(Ordering::SeqCst)
    }

    /// Whether the upstream knows what it was given.
    pub(super) fn is_remembered(&self, begun: Begun) -> bool {
        begun.upstream_lives.is_multiple_of(2)
            && begun.upstream_lives == self.upstream_lives.load(Ordering::SeqCst)
    }

    /// Waits until nobody asks anything any more.
    pub(super) async fn rest(&self) {
        self.hour.send_replace(Hour::Rest);
        let deadline = Instant::now() + Duration::from_secs(60);
        while self.under_way.load(Ordering::SeqCst) > 0 {
            assert!(Instant::now() < deadline, "something does not come to its end");
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }

    /// Writes down what came of something.
    pub(super) fn note(&self, what: &str, begun: Begun, came: Result<Came, String>) {
        let was_there = self.was_there(begun);
        let mut told = self.told();
        let came = match came {
            Ok(Came::Nothing) if was_there => Err(format!("{what}: the connection ended without an answer")),
            Ok(came)
                if begun.hour == Hour::Calm && was_there && !matches!(came, Came::Whole(_) | Came::Left) =>
            {
                Err(format!("{what}: {} where nothing went wrong", came.word()))
            }
            came => came,
        };
        match came {
            Ok(came) => *told.came.entry((what.to_owned(), came.word())).or_default() += 1,
            Err(wrong) => {
                eprintln!("WRONG: {wrong}");
                told.wrong.push(wrong);
            }
        }
    }

    /// Writes down what a whole answer has used.
    pub(super) fn used(&self, model: &'static str, tokens: u64) {
        let mut told = self.told();
        let each = *told.each.entry(model).or_insert(tokens);
        if each != tokens {
            told.wrong.push(format!("{model}: {tokens} input tokens, where others have {each}"));
        }
        told.answered.push((Instant::now(), model, tokens));
    }

    /// Forgets of what the next kill may lose. To be called before it.
    pub(super) fn forget_newest(&self) {
        let mut told = self.told();
        let since = Instant::now().checked_sub(LOST_BY_A_KILL);
        told.answered.retain(|(at, ..)| since.is_some_and(|since| *at < since));
    }
}
