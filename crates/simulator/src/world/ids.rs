//! Names nobody had before: random to look at, as Google's are, and never the same twice.

use std::hash::{BuildHasher, RandomState};
use std::sync::atomic::{AtomicU64, Ordering};

/// What ids of files and their like consist of.
pub(crate) const LOWER: &[u8; 36] = b"abcdefghijklmnopqrstuvwxyz0123456789";
/// What longer ids consist of.
pub(crate) const MIXED: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";

/// Counts, and hides the count behind a hash with a key of this run.
#[derive(Debug, Default)]
pub(crate) struct Ids {
    key: RandomState,
    next: AtomicU64,
}

impl Ids {
    /// A new id of this length.
    pub(crate) fn id(&self, alphabet: &[u8], length: usize) -> String {
        let number = self.next.fetch_add(1, Ordering::Relaxed);
        let size = alphabet.len() as u64;
        let mut id = String::with_capacity(length);
        for block in 0_u64.. {
            let mut bits = self.key.hash_one((number, block));
            // Twelve of 36 fit into 64 bits; ten of 64.
            for _ in 0..10 {
                if id.len() == length {
                    return id;
                }
                let index = usize::try_from(bits % size).unwrap_or_default();
                id.push(char::from(alphabet[index]));
                bits /= size;
            }
        }
        id
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashSet;

    #[test]
    fn no_id_comes_twice() {
        let ids = Ids::default();
        let made: HashSet<String> = (0..20_000).map(|_| ids.id(LOWER, 12)).collect();
        assert_eq!(made.len(), 20_000);
        assert!(made.iter().all(|id| id.len() == 12 && id.bytes().all(|b| LOWER.contains(&b))));
        assert_eq!(ids.id(MIXED, 60).len(), 60);
    }
}
