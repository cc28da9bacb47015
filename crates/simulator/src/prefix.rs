//! The implicit cache: which beginnings of prompts a project's model has lately been served, turn by turn, and how much
//! of a new prompt was therefore cached. Pure: the time is an argument. Off unless configured.

use std::collections::HashMap;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::time::Duration;

use serde_json::Value;

use crate::prompt::{Prompt, field, tokens};

/// More prefixes than this are not remembered.
const CAPACITY: usize = 100_000;

/// How Google's implicit cache is imitated.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PrefixCache {
    /// The shortest prefix that is cached, in tokens. Google's is 1,024 and more; the default here is 4.
    pub min_tokens: u64,
    /// How long after its last use a prefix is remembered. By the clock that quotas go by; default 5 minutes.
    pub ttl: Duration,
}

impl Default for PrefixCache {
    fn default() -> Self {
        Self { min_tokens: 4, ttl: Duration::from_secs(300) }
    }
}

/// What identifies a prefix, and its length in tokens.
type Prefix = (u64, u64);

/// The prefixes in memory and when each is forgotten.
#[derive(Debug)]
pub(crate) struct Prefixes {
    cache: PrefixCache,
    forgotten_at: HashMap<u64, Duration>,
}

impl Prefixes {
    pub(crate) fn new(cache: PrefixCache) -> Self {
        Self { cache, forgotten_at: HashMap::new() }
    }

    pub(crate) fn reset(&mut self) {
        self.forgotten_at.clear();
    }

    /// How many tokens of this prompt were cached when it was served at `now`; from now on all its prefixes are.
    pub(crate) fn serve(&mut self, prefixes: &[Prefix], now: Duration) -> u64 {
        let long_enough = |&&(_, tokens): &&Prefix| tokens >= self.cache.min_tokens;
        let known = |(id, _): &&Prefix| self.forgotten_at.get(id).is_some_and(|&at| at > now);
        let cached = prefixes.iter().filter(long_enough).rfind(known).map_or(0, |&(_, tokens)| tokens);
        if self.forgotten_at.len() >= CAPACITY {
            self.forgotten_at.retain(|_, at| *at > now);
        }
        let room = CAPACITY.saturating_sub(self.forgotten_at.len());
        let fresh = prefixes.iter().filter(long_enough).take(room).map(|&(id, _)| (id, now + self.cache.ttl));
        self.forgotten_at.extend(fresh);
        cached
    }
}

/// The prefixes of a `GenerateContentRequest` or a chat completion request: what comes before the turns, and each turn.
pub(crate) fn prefixes(project: &str, model: &str, request: &Value, prompt: &Prompt) -> Vec<Prefix> {
    let mut hash = DefaultHasher::new();
    (project, model).hash(&mut hash);
    field(request, "systemInstruction", "system_instruction").hash(&mut hash);
    field(request, "cachedContent", "cached_content").hash(&mut hash);
    request.pointer("/extra_body/google/cached_content").hash(&mut hash);
    request.get("tools").hash(&mut hash);
    let turns = request.get("contents").or_else(|| request.get("messages")).and_then(Value::as_array);
    let mut prefixes = Vec::with_capacity(prompt.bytes_upto.len());
    let mut turns = turns.into_iter().flatten();
    for &bytes in &prompt.bytes_upto {
        prefixes.push((hash.finish(), tokens(bytes)));
        turns.next().hash(&mut hash);
    }
    prefixes
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    const START: Duration = Duration::from_secs(1_000);

    fn memory() -> Prefixes {
        Prefixes::new(PrefixCache { min_tokens: 4, ttl: Duration::from_secs(300) })
    }

    fn native(project: &str, system: &str, turns: &[&str]) -> Vec<Prefix> {
        let contents: Vec<_> = turns.iter().map(|text| json!({"parts": [{"text": text}]})).collect();
        let request = json!({"systemInstruction": {"parts": [{"text": system}]}, "contents": contents});
        prefixes(project, "m", &request, &Prompt::native(&request).unwrap())
    }

    #[test]
    fn a_prompt_that_goes_on_finds_its_beginning_cached() {
        let mut memory = memory();
        let first = native("p", "be brief", &["sixteen letters."]);
        assert_eq!(first.iter().map(|(_, tokens)| *tokens).collect::<Vec<_>>(), [2, 6]);
        assert_eq!(memory.serve(&first, START), 0);
        assert_eq!(memory.serve(&first, START), 6, "the same prompt again");
        let more = native("p", "be brief", &["sixteen letters.", "an answer", "and a question"]);
        assert_eq!(memory.serve(&more, START), 6);
        assert_eq!(memory.serve(&more, START), more[3].1);
        let other = native("p", "be brief", &["sixteen letters!"]);
        assert_eq!(memory.serve(&other, START), 0, "the system instruction alone is too short");
        assert_eq!(
            memory.serve(&native("q", "be brief", &["sixteen letters."]), START),
            0,
            "another project"
        );
    }

    #[test]
    fn a_long_instruction_is_cached_across_conversations() {
        let mut memory = memory();
        let system = "a long system instruction";
        assert_eq!(memory.serve(&native("p", system, &["one"]), START), 0);
        assert_eq!(memory.serve(&native("p", system, &["two"]), START), 7);
        assert_eq!(memory.serve(&native("p", "a long system instruction.", &["two"]), START), 0);
    }

    #[test]
    fn a_prefix_is_forgotten_some_minutes_after_its_last_use() {
        let mut memory = memory();
        let prompt = native("p", "", &["sixteen letters."]);
        let at = |seconds| START + Duration::from_secs(seconds);
        assert_eq!(memory.serve(&prompt, at(0)), 0);
        assert_eq!(memory.serve(&prompt, at(299)), 4);
        assert_eq!(memory.serve(&prompt, at(598)), 4);
        assert_eq!(memory.serve(&prompt, at(898)), 0);
    }

    #[test]
    fn the_memory_has_a_limit() {
        let mut memory = memory();
        let many: Vec<Prefix> = (0..150_000).map(|id| (id, 9)).collect();
        memory.serve(&many, START);
        memory.serve(&[(u64::MAX, 9)], START);
        assert_eq!(memory.forgotten_at.len(), CAPACITY);
        assert_eq!(memory.serve(&[(u64::MAX, 9)], START), 0);
        assert_eq!(memory.serve(&[(u64::MAX, 9)], START + Duration::from_secs(301)), 0);
        assert_eq!(memory.serve(&[(u64::MAX, 9)], START + Duration::from_secs(302)), 9);
    }
}
