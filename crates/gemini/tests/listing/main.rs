//! Merged lists: against a model whose lists change between a client's pages, against arbitrary tokens and answers, and
//! the forms of queries and answers one by one.
#![allow(clippy::unwrap_used, clippy::expect_used)] // a test fails by panicking
#![allow(clippy::cast_sign_loss, clippy::cast_possible_wrap, clippy::cast_possible_truncation)] // small numbers

mod arbitrary;
mod forms;
mod model;
mod paging;
