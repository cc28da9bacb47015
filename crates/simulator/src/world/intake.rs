//! What has arrived of a file: its length and digest, and its content while that is small.

use bytes::Bytes;
use sha2::{Digest, Sha256};

/// Content of larger files is counted and hashed, not kept.
const KEPT: usize = 16 * 1024 * 1024;
/// What is stored of a chunk that breaks off is a multiple of this, as everywhere at Google.
const BLOCK: usize = 256 * 1024;

/// Bytes stored, and those of a chunk under way that are not yet.
#[derive(Default)]
pub(crate) struct Intake {
    stored: Stored,
    tail: Vec<u8>,
}

struct Stored {
    hash: Sha256,
    size: u64,
    content: Option<Vec<u8>>,
}

impl Default for Stored {
    fn default() -> Self {
        Self { hash: Sha256::new(), size: 0, content: Some(Vec::new()) }
    }
}

impl Stored {
    fn add(&mut self, bytes: &[u8]) {
        self.hash.update(bytes);
        self.size += bytes.len() as u64;
        self.content = self.content.take().filter(|content| content.len() + bytes.len() <= KEPT);
        if let Some(content) = &mut self.content {
            content.extend_from_slice(bytes);
        }
    }
}

/// What an intake was, to go back to; of the content its length.
pub(crate) struct Checkpoint {
    hash: Sha256,
    size: u64,
}

/// A whole file.
pub(crate) struct Whole {
    pub(crate) size: u64,
    pub(crate) sha256: [u8; 32],
    /// None of a large file.
    pub(crate) content: Option<Bytes>,
}

impl Intake {
    /// Bytes stored.
    pub(crate) fn size(&self) -> u64 {
        self.stored.size
    }

    /// Bytes stored and on their way.
    pub(crate) fn seen(&self) -> u64 {
        self.stored.size + self.tail.len() as u64
    }

    /// A chunk begins.
    pub(crate) fn begin(&mut self) -> Checkpoint {
        self.tail.clear();
        Checkpoint { hash: self.stored.hash.clone(), size: self.stored.size }
    }

    pub(crate) fn add(&mut self, mut bytes: &[u8]) {
        while self.tail.len() + bytes.len() >= BLOCK {
            let (block, rest) = bytes.split_at(BLOCK - self.tail.len());
            self.tail.extend_from_slice(block);
            self.stored.add(&self.tail);
            self.tail.clear();
            bytes = rest;
        }
        self.tail.extend_from_slice(bytes);
    }

    /// The chunk is complete.
    pub(crate) fn settle(&mut self) {
        let tail = std::mem::take(&mut self.tail);
        self.stored.add(&tail);
    }

    /// The chunk broke off: whole blocks of it stay.
    pub(crate) fn break_off(&mut self) {
        self.tail.clear();
    }

    /// The chunk is refused: nothing of it stays.
    pub(crate) fn restore(&mut self, checkpoint: Checkpoint) {
        self.tail.clear();
        self.stored.hash = checkpoint.hash;
        self.stored.size = checkpoint.size;
        if let Some(content) = &mut self.stored.content {
            content.truncate(usize::try_from(checkpoint.size).unwrap_or(usize::MAX));
        }
    }

    /// The file, of what was stored.
    pub(crate) fn finish(&mut self) -> Whole {
        let stored = std::mem::take(&mut self.stored);
        Whole {
            size: stored.size,
            sha256: stored.hash.finalize().into(),
            content: stored.content.map(Bytes::from),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_broken_chunk_leaves_whole_blocks_and_a_refused_one_nothing() {
        let mut intake = Intake::default();
        let _ = intake.begin();
        intake.add(&vec![1; BLOCK + 10]);
        assert_eq!((intake.size(), intake.seen()), (BLOCK as u64, BLOCK as u64 + 10));
        intake.break_off();
        assert_eq!(intake.seen(), BLOCK as u64);
        let before = intake.begin();
        intake.add(&vec![2; 3 * BLOCK]);
        intake.restore(before);
        intake.begin();
        intake.add(b"end");
        intake.settle();
        let whole = intake.finish();
        let expected = [vec![1; BLOCK], b"end".to_vec()].concat();
        assert_eq!(whole.size, expected.len() as u64);
        assert_eq!(whole.sha256[..], Sha256::digest(&expected)[..]);
        assert_eq!(whole.content.as_deref(), Some(&expected[..]));
    }
}
