//! How often Google was asked once more for a translated request: what operators watch, since a conversation whose
//! signatures are refused reasons worse without them.

use std::sync::{
    Arc,
    atomic::{AtomicU64, Ordering},
};

/// Why Google was asked once more.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum RepeatReason {
    /// It refused the signatures of the conversation.
    Signatures,
    /// The model does not know the level of thinking.
    ThinkingLevel,
    /// The model failed to form its answer, or it broke off while it was taken in.
    Answer,
}

impl RepeatReason {
    const ALL: [Self; 3] = [Self::Signatures, Self::ThinkingLevel, Self::Answer];

    /// Returns the word in metrics.
    pub(crate) fn word(self) -> &'static str {
        match self {
            Self::Signatures => "signatures",
            Self::ThinkingLevel => "thinking_level",
            Self::Answer => "answer",
        }
    }
}

/// The counts. Cheap to clone; all workers share them.
#[derive(Clone, Debug, Default)]
pub(crate) struct TranslationRepeats(Arc<[AtomicU64; RepeatReason::ALL.len()]>);

impl TranslationRepeats {
    /// Counts one more.
    pub(super) fn count(&self, reason: RepeatReason) {
        self.0[reason as usize].fetch_add(1, Ordering::Relaxed);
    }

    /// Returns how many there were, by reason.
    pub(crate) fn by_reason(&self) -> [(RepeatReason, u64); RepeatReason::ALL.len()] {
        RepeatReason::ALL.map(|reason| (reason, self.0[reason as usize].load(Ordering::Relaxed)))
    }
}
