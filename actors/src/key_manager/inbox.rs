//! Where leases leave their reports. It lives outside the actor, so a report made while the actor is restarted is not
//! lost; and it is bounded by the number of leases and waiters, each of which leaves one note.
//!
//! Most reports say "success", which nobody waits for: they are taken along with the next lease message and cost a push
//! under a lock. Only a fault, or anything at all while somebody waits in line, nudges the actor with a message.

use gemini::usage::Usage;
use keypool::{Grant, Outcome, Settlement, Ticket};
use std::sync::{
    Arc, Mutex, OnceLock, PoisonError,
    atomic::{AtomicBool, AtomicUsize, Ordering},
};

/// One thing the actor should know.
pub(super) enum Note {
    /// A lease has ended.
    Settled(Settlement),
    /// A lease is going to end well.
    Vouched(Grant, Option<Arc<str>>),
    /// A waiting client has left.
    Left(Ticket),
}

impl Note {
    /// A lease has ended in this way, and used so much.
    pub(super) fn settled(
        grant: Grant,
        model: Option<Arc<str>>,
        outcome: Outcome,
        usage: Option<&Usage>,
    ) -> Self {
        Self::Settled(Settlement {
            lease: grant.lease,
            key: grant.key,
            model,
            outcome,
            input_tokens: usage.and_then(|usage| usage.prompt_tokens),
            output_tokens: usage.and_then(|usage| usage.output_tokens),
        })
    }
}

/// Tells the actor that notes lie here; `false` if it could not be told.
pub(super) type Nudge = Box<dyn Fn() -> bool + Send + Sync>;

/// The notes not yet taken.
#[derive(Default)]
pub(super) struct Inbox {
    notes: Mutex<Vec<Note>>,
    count: AtomicUsize,
    urgent: AtomicBool,
    hears_heads: AtomicBool,
    nudged: AtomicBool,
    nudge: OnceLock<Nudge>,
}

/// With this many notes the actor is told even if none is urgent, so that an idle pool's counts do not grow stale.
const MANY: usize = 256;

impl Inbox {
    /// Takes the way to nudge the actor. Called once, by the code that starts it.
    pub(super) fn connect(&self, nudge: Nudge) {
        let _ = self.nudge.set(nudge);
    }

    pub(super) fn leave(&self, note: Note) {
        let pressing = match &note {
            Note::Settled(settlement) => matches!(settlement.outcome, Outcome::Fault(_)),
            Note::Left(_) | Note::Vouched(..) => true,
        };
        let count = {
            let mut notes = self.notes.lock().unwrap_or_else(PoisonError::into_inner);
            notes.push(note);
            self.count.store(notes.len(), Ordering::SeqCst);
            notes.len()
        };
        if (pressing || count >= MANY || self.urgent.load(Ordering::SeqCst))
            && !self.nudged.swap(true, Ordering::AcqRel)
            && let Some(nudge) = self.nudge.get()
            && !nudge()
        {
            // A full mailbox will take the notes with its next message; a dead actor's next life starts with them.
            self.nudged.store(false, Ordering::Release);
        }
    }

    /// The actor has received the nudge; the next pressing note sends another.
    pub(super) fn nudge_arrived(&self) {
        self.nudged.store(false, Ordering::Release);
    }

    /// While somebody waits in line every note is pressing. The caller looks into the inbox after setting it.
    pub(super) fn set_urgent(&self, urgent: bool) {
        self.urgent.store(urgent, Ordering::SeqCst);
    }

    /// While it is in doubt whether the upstream can be reached, the first good head on any lease tells.
    pub(super) fn set_hears_heads(&self, hears: bool) {
        self.hears_heads.store(hears, Ordering::Relaxed);
    }

    pub(super) fn hears_heads(&self) -> bool {
        self.hears_heads.load(Ordering::Relaxed)
    }

    pub(super) fn is_empty(&self) -> bool {
        self.count.load(Ordering::SeqCst) == 0
    }

    pub(super) fn drain(&self) -> Vec<Note> {
        let mut notes = self.notes.lock().unwrap_or_else(PoisonError::into_inner);
        self.count.store(0, Ordering::Release);
        std::mem::take(&mut *notes)
    }
}
