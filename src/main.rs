//! The `gemini-balance` program.

fn main() {}
