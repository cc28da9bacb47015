//! What every response book must do.

#![allow(clippy::unwrap_used, clippy::missing_panics_doc, reason = "what it is for")]

use crate::ResponseBook;

/// Holds a book to all of it. `open` makes an empty one.
pub fn response_book<B: ResponseBook>(mut open: impl FnMut() -> B) {
    each_caller_finds_its_own(&mut open());
    what_is_old_or_too_much_is_forgotten(&mut open());
    what_is_kept_again_counts_once(&mut open());
}

fn each_caller_finds_its_own(book: &mut dyn ResponseBook) {
    book.keep("alice", "resp_1", 100, b"one").unwrap();
    book.keep("bob", "resp_1", 100, b"another").unwrap();
    assert_eq!(book.find("alice", "resp_1", 0).unwrap().as_deref(), Some(&b"one"[..]));
    assert_eq!(book.find("bob", "resp_1", 100).unwrap().as_deref(), Some(&b"another"[..]));
    assert_eq!(book.find("alice", "resp_1", 101).unwrap(), None, "too old");
    assert_eq!(book.find("carol", "resp_1", 0).unwrap(), None);
    assert!(!book.forget("carol", "resp_1").unwrap());
    assert!(book.forget("alice", "resp_1").unwrap());
    assert!(!book.forget("alice", "resp_1").unwrap());
    assert_eq!(book.find("alice", "resp_1", 0).unwrap(), None);
    assert!(book.find("bob", "resp_1", 0).unwrap().is_some());
}

fn what_is_old_or_too_much_is_forgotten(book: &mut dyn ResponseBook) {
    for n in 0..10_u64 {
        book.keep("alice", &format!("resp_{n}"), n, &[0; 100]).unwrap();
    }
    let left = |book: &mut dyn ResponseBook| -> Vec<u64> {
        (0..10).filter(|n| book.find("alice", &format!("resp_{n}"), 0).unwrap().is_some()).collect()
    };
    book.prune(3, u64::MAX).unwrap();
    assert_eq!(left(book), [3, 4, 5, 6, 7, 8, 9]);
    book.prune(0, 250).unwrap();
    assert_eq!(left(book), [8, 9], "the oldest go first");
    book.prune(0, 0).unwrap();
    assert!(left(book).is_empty());
}

fn what_is_kept_again_counts_once(book: &mut dyn ResponseBook) {
    for _ in 0..5 {
        book.keep("alice", "resp_1", 1, &[0; 100]).unwrap();
    }
    book.keep("alice", "resp_2", 1, &[0; 100]).unwrap();
    book.prune(0, 200).unwrap();
    assert!(book.find("alice", "resp_1", 0).unwrap().is_some());
    assert!(book.find("alice", "resp_2", 0).unwrap().is_some());
}
