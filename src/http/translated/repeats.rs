//! How often Google was asked once more for a translated request: what operators watch, since a conversation whose
//! signatures are refused reasons worse without them.

use bytes::Bytes;
use formats::{models::ModelTraits, placeholders, thinking};
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

impl RepeatReason {
    /// Returns a body without what Google refuses for this reason. `None` where there is nothing of it in there.
    pub(super) fn mended(self, body: &[u8], model: ModelTraits) -> Option<Bytes> {
        match self {
            Self::Signatures => placeholders::without_signatures(body, model),
            Self::ThinkingLevel => thinking::without_level(body),
            Self::Answer => None,
        }
    }
}

/// The reasons for which Google was asked once more for one request: each counts once, and in any order.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct RepeatsDone([bool; RepeatReason::ALL.len()]);

impl RepeatsDone {
    /// All of them.
    pub(super) const ALL: Self = Self([true; RepeatReason::ALL.len()]);

    /// Whether it was asked for this reason.
    pub(super) fn has(self, reason: RepeatReason) -> bool {
        self.0[reason as usize]
    }

    /// Notes that it is asked for this reason.
    pub(super) fn add(&mut self, reason: RepeatReason) {
        self.0[reason as usize] = true;
    }

    /// Returns a body without what Google refuses for these reasons.
    pub(super) fn mended(self, body: Bytes, model: ModelTraits) -> Bytes {
        RepeatReason::ALL
            .into_iter()
            .filter(|reason| self.has(*reason))
            .fold(body, |body, reason| reason.mended(&body, model).unwrap_or(body))
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
