//! Which lines are written: what of it can change while the logger, once set up, stays the same.

use super::{AUDIT, BODIES, TRANSACTION};
use log::{LevelFilter, Metadata};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

/// What the libraries below say at their finer levels may hold headers, and so secrets.
const BOUNDED: [&str; 9] = [
    "h2",
    "hyper_util",
    "reqwest",
    "tungstenite",
    "tokio_tungstenite",
    "rustls",
    "actix_web",
    "actix_server",
    "mio",
];

/// It calls every answer that the upstream broke off an error; the transaction says so already.
const SILENT: &str = "actix_http";

/// See the module.
#[derive(Debug)]
pub(super) struct Switches {
    /// The [`LevelFilter`] in use, as a number.
    level: AtomicUsize,
    transactions: bool,
    bodies: AtomicBool,
}

impl Switches {
    /// Nothing is written yet but transactions, if they are wanted.
    pub(super) fn new(transactions: bool) -> Self {
        Self { level: AtomicUsize::new(0), transactions, bodies: AtomicBool::new(false) }
    }

    /// Sets the level, and whether bodies are written.
    pub(super) fn set(&self, level: LevelFilter, bodies: bool) {
        self.level.store(level as usize, Ordering::Relaxed);
        self.bodies.store(bodies, Ordering::Relaxed);
    }

    /// Whether a line is written.
    pub(super) fn admit(&self, line: &Metadata<'_>) -> bool {
        let target = line.target();
        match target {
            TRANSACTION => self.transactions,
            // Whatever the level, what was changed is on record.
            AUDIT => true,
            BODIES => self.bodies.load(Ordering::Relaxed),
            _ => {
                let level = self.level.load(Ordering::Relaxed);
                let root = target.split("::").next().unwrap_or_default();
                let most = match root {
                    SILENT => 0,
                    root if BOUNDED.contains(&root) => level.min(LevelFilter::Warn as usize),
                    _ => level,
                };
                line.level() as usize <= most
            }
        }
    }

    /// The finest level at which anything is written: what is finer need not come this far. Records are of level info.
    pub(super) fn finest(&self) -> LevelFilter {
        let level = self.level.load(Ordering::Relaxed);
        LevelFilter::iter().nth(level).unwrap_or(LevelFilter::Trace).max(LevelFilter::Info)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use log::Level;

    fn is_written(switches: &Switches, target: &str, level: Level) -> bool {
        switches.admit(&Metadata::builder().target(target).level(level).build())
    }

    #[test]
    fn a_level_holds_for_all_but_what_may_show_secrets() {
        let switches = Switches::new(true);
        for (level, target, said_at, is_said) in [
            (LevelFilter::Info, "pool", Level::Info, true),
            (LevelFilter::Info, "pool", Level::Debug, false),
            (LevelFilter::Debug, "pool", Level::Debug, true),
            (LevelFilter::Off, "pool", Level::Error, false),
            (LevelFilter::Trace, "h2::codec", Level::Debug, false),
            (LevelFilter::Trace, "h2", Level::Warn, true),
            (LevelFilter::Trace, "h2o", Level::Trace, true),
            (LevelFilter::Error, "rustls::conn", Level::Warn, false),
            (LevelFilter::Trace, "actix_http::h1", Level::Error, false),
            (LevelFilter::Off, TRANSACTION, Level::Info, true),
            (LevelFilter::Off, AUDIT, Level::Info, true),
            (LevelFilter::Trace, BODIES, Level::Info, false),
        ] {
            switches.set(level, false);
            assert_eq!(is_written(&switches, target, said_at), is_said, "{level} {target} {said_at}");
        }
        switches.set(LevelFilter::Off, true);
        assert!(is_written(&switches, BODIES, Level::Info));
    }

    #[test]
    fn lines_that_nobody_writes_are_not_made() {
        for (transactions, bodies, level, finest) in [
            (false, false, LevelFilter::Off, LevelFilter::Info),
            (false, false, LevelFilter::Debug, LevelFilter::Debug),
            (true, false, LevelFilter::Error, LevelFilter::Info),
            (false, true, LevelFilter::Error, LevelFilter::Info),
            (true, true, LevelFilter::Trace, LevelFilter::Trace),
        ] {
            let switches = Switches::new(transactions);
            switches.set(level, bodies);
            assert_eq!(switches.finest(), finest);
        }
    }
}
