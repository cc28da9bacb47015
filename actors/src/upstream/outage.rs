//! Tells the operator's log why Google cannot be reached: once when it begins, then now and then with a count, and once
//! when it works again. One log for all workers, as they share the way.

use std::{
    sync::{
        Mutex, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant},
};

/// How often an outage that goes on is told of.
const EVERY: Duration = Duration::from_secs(60);
/// How soon another cause, or another outage, is.
const AT_MOST_EVERY: Duration = Duration::from_secs(10);

/// What is known of the way to Google.
pub(super) struct OutageLog {
    /// Whether the last attempts failed: all that a success has to look at.
    is_out: AtomicBool,
    outage: Mutex<Outage>,
}

struct Outage {
    /// Attempts that failed since it began.
    failed: u64,
    /// What was said last of it, if anything.
    said: Option<String>,
    /// When anything was said last, of this outage or another.
    said_at: Option<Instant>,
}

impl OutageLog {
    pub(super) const fn new() -> Self {
        let outage = Outage { failed: 0, said: None, said_at: None };
        Self { is_out: AtomicBool::new(false), outage: Mutex::new(outage) }
    }

    /// Counts a failed attempt and writes what is due.
    pub(super) fn failed(&self, why: &str) {
        if let Some(line) = self.failed_at(why, Instant::now()) {
            log::warn!(target: "upstream", "{line}");
        }
    }

    /// Hears that Google has answered, and writes what is due.
    pub(super) fn works(&self) {
        if self.is_out.load(Ordering::Relaxed)
            && let Some(line) = self.ended()
        {
            log::info!(target: "upstream", "{line}");
        }
    }

    fn failed_at(&self, why: &str, now: Instant) -> Option<String> {
        let mut outage = self.outage.lock().unwrap_or_else(PoisonError::into_inner);
        self.is_out.store(true, Ordering::Relaxed);
        outage.failed += 1;
        let pause = match &outage.said {
            Some(said) if said == why => EVERY,
            _ => AT_MOST_EVERY,
        };
        if outage.said_at.is_some_and(|at| now.duration_since(at) < pause) {
            return None;
        }
        outage.said_at = Some(now);
        outage.said = Some(why.to_owned());
        Some(match outage.failed {
            1 => format!("Google cannot be reached: {why}"),
            failed => format!("Google cannot be reached: {why}; {failed} attempts have failed so far"),
        })
    }

    fn ended(&self) -> Option<String> {
        let mut outage = self.outage.lock().unwrap_or_else(PoisonError::into_inner);
        self.is_out.store(false, Ordering::Relaxed);
        let failed = std::mem::take(&mut outage.failed);
        // Of what nothing was said, nothing is taken back.
        outage.said.take()?;
        Some(format!("Google can be reached again; {failed} attempts had failed"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const REFUSED: &str = "a:443: no connection: refused";

    #[test]
    fn an_outage_is_told_once_then_now_and_then_and_at_its_end() {
        let (log, begin) = (OutageLog::new(), Instant::now());
        let at = |seconds| begin + Duration::from_secs(seconds);
        assert_eq!(log.failed_at(REFUSED, at(0)).unwrap(), format!("Google cannot be reached: {REFUSED}"));
        for second in 1..60 {
            assert_eq!(log.failed_at(REFUSED, at(second)), None, "{second}");
        }
        let again = log.failed_at(REFUSED, at(60)).unwrap();
        assert!(again.ends_with("; 61 attempts have failed so far"), "{again}");
        assert_eq!(log.ended().unwrap(), "Google can be reached again; 61 attempts had failed");
        assert!(!log.is_out.load(Ordering::Relaxed));
    }

    #[test]
    fn another_cause_is_told_sooner() {
        let (log, begin) = (OutageLog::new(), Instant::now());
        let at = |seconds| begin + Duration::from_secs(seconds);
        log.failed_at(REFUSED, at(0)).unwrap();
        assert_eq!(log.failed_at("the name cannot be resolved", at(9)), None);
        assert!(log.failed_at("the name cannot be resolved", at(10)).unwrap().contains("resolved"));
    }

    #[test]
    fn a_way_that_comes_and_goes_costs_few_lines() {
        let (log, begin) = (OutageLog::new(), Instant::now());
        let mut lines = 0;
        for millis in 0..60_000 {
            lines += usize::from(log.failed_at(REFUSED, begin + Duration::from_millis(millis)).is_some());
            lines += usize::from(log.ended().is_some());
        }
        assert_eq!(lines, 12);
    }
}
