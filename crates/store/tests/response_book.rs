//! Kept responses: both books, and what the file is like.

#![allow(clippy::unwrap_used, reason = "functions that tests call are tests too")]

use gemini_balance_store::{ResponseBook, ResponseFile, ResponseMemory, conformance::response_book};
use std::os::unix::fs::PermissionsExt;

#[test]
fn memory_is_a_response_book() {
    response_book(ResponseMemory::default);
}

#[test]
fn a_file_is_a_response_book_for_its_owner_alone_and_outlives_its_process() {
    let folder = std::env::temp_dir().join(format!("responses-{}", fastrand::u64(..)));
    std::fs::create_dir(&folder).unwrap();
    let mut n = 0;
    response_book(|| {
        n += 1;
        ResponseFile::open(&folder.join(format!("{n}.db"))).unwrap().store
    });
    let path = folder.join("kept.db");
    let mut book = ResponseFile::open(&path).unwrap().store;
    book.keep("alice", "resp_1", 1, b"what was said").unwrap();
    drop(book);
    assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o077, 0);
    let mut book = ResponseFile::open(&path).unwrap().store;
    assert_eq!(book.find("alice", "resp_1", 0).unwrap().as_deref(), Some(&b"what was said"[..]));
    assert!(book.forget("alice", "resp_1").unwrap());
    drop(book);
    let bytes = std::fs::read(&path).unwrap();
    assert!(!bytes.windows(8).any(|part| part == b"was said"), "what is forgotten is gone");
    std::fs::remove_dir_all(&folder).unwrap();
}
