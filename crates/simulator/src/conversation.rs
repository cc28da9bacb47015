//! Scripted conversations: what a model answers to one request after another, and the list of those in force. Asked by
//! `native` once a request; whatever no script answers is echoed.

use std::collections::VecDeque;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::prompt::Prompt;
use crate::rule::{Match, Subject};

/// How many of the newest requests a conversation shows.
const SEEN: usize = 64;
/// Longest request that it shows, in bytes.
const SEEN_BYTES: usize = 1024 * 1024;

/// What a model answers to the requests that match, step by step.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ScriptedConversation {
    /// The requests that it is for; without a condition, all.
    #[serde(default, rename = "match")]
    pub matches: Match,
    /// What must be true of the prompt as well.
    #[serde(default)]
    pub when: PromptCondition,
    /// The answers in order.
    pub steps: Vec<ScriptedStep>,
    /// What comes after the last of them.
    #[serde(default)]
    pub then: AfterSteps,
    /// Whether the step is told by how many turns of the request's history are the model's, so that many clients can go
    /// through the steps at once; else each request takes the next one.
    #[serde(default)]
    pub by_turn: bool,
}

impl ScriptedConversation {
    /// These answers, to every request.
    pub fn new(steps: impl IntoIterator<Item = ScriptedStep>) -> Self {
        Self { steps: steps.into_iter().collect(), ..Self::default() }
    }

    /// To requests for this model only.
    #[must_use]
    pub fn on_model(mut self, model: impl Into<String>) -> Self {
        self.matches.model = Some(model.into());
        self
    }

    /// To prompts that offer functions only, or only to others.
    #[must_use]
    pub fn with_tools(mut self, tools: bool) -> Self {
        self.when.tools = Some(tools);
        self
    }

    /// With this after the last step.
    #[must_use]
    pub fn then(mut self, then: AfterSteps) -> Self {
        self.then = then;
        self
    }
}

/// What must be true of a prompt; what is not named does not matter.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct PromptCondition {
    /// Whether functions are on offer. Agents make small requests without any, for a title for instance.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tools: Option<bool>,
    /// Words in the newest text of the user's, or in what functions have answered.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub contains: Option<String>,
}

/// What comes after the last step.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum AfterSteps {
    /// The next conversation that matches, or an echo.
    #[default]
    Pass,
    /// The first step again.
    Repeat,
    /// The last step again.
    Stay,
}

/// One answer of a model.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct ScriptedStep {
    /// Its parts in order, each an event of a streamed answer.
    pub parts: Vec<ScriptedPart>,
    /// What would be answered without a script, in the place of `parts` and all else: for whoever wants to see requests only.
    pub echo: bool,
    /// All parts come in one event.
    pub together: bool,
    /// Which parts are signed.
    pub signing: Signing,
    /// `finishReason`; `STOP` unless told otherwise.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub finish: Option<String>,
    /// `finishMessage`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub finish_message: Option<String>,
    /// What a search of the web has found.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub grounding: Option<ScriptedGrounding>,
    /// `promptFeedback.blockReason`: there is no candidate then.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub block: Option<String>,
}

impl ScriptedStep {
    /// A text in these pieces.
    pub fn texts<S: Into<String>>(pieces: impl IntoIterator<Item = S>) -> Self {
        Self::of(pieces.into_iter().map(|piece| ScriptedPart::Text(piece.into())))
    }

    /// Calls of functions, at once: their names and arguments.
    pub fn calls<S: Into<String>>(calls: impl IntoIterator<Item = (S, Map<String, Value>)>) -> Self {
        let call = |(name, args): (S, _)| ScriptedCall { name: name.into(), args, id: None };
        Self::of(calls.into_iter().map(|named| ScriptedPart::Call(call(named))))
    }

    /// What would be answered without a script.
    pub fn echo() -> Self {
        Self { echo: true, ..Self::default() }
    }

    /// No parts, and a reason.
    pub fn finished(reason: impl Into<String>) -> Self {
        Self { finish: Some(reason.into()), ..Self::default() }
    }

    fn of(parts: impl Iterator<Item = ScriptedPart>) -> Self {
        Self { parts: parts.collect(), ..Self::default() }
    }

    /// The same after a thought.
    #[must_use]
    pub fn after_thought(mut self, thought: impl Into<String>) -> Self {
        self.parts.insert(0, ScriptedPart::Thought(thought.into()));
        self
    }
}

/// A part of an answer.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ScriptedPart {
    /// A summary of thoughts, left out of answers to requests that do not ask for any.
    Thought(String),
    /// A piece of text.
    Text(String),
    /// A call of a function.
    Call(ScriptedCall),
    /// A part as it stands, such as `{"inlineData": ...}`.
    Raw(Value),
}

/// A call of a function.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ScriptedCall {
    /// The function's name, on offer or not.
    pub name: String,
    /// Its arguments; an empty object where none are named.
    #[serde(default)]
    pub args: Map<String, Value>,
    /// Its id; a new one, where the model gives ids, unless told otherwise.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub id: Option<String>,
}

/// Which parts of an answer are signed.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Signing {
    /// As Google does: the first call; without one, from Gemini 3 on, an empty text at the very end.
    #[default]
    Auto,
    /// The first call; without one the last text itself.
    LastText,
    /// No part is signed.
    None,
}

/// What a search of the web has found.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct ScriptedGrounding {
    /// What was searched for.
    pub queries: Vec<String>,
    /// The pages found.
    pub sources: Vec<GroundingSource>,
    /// What in the answer rests on them.
    pub supports: Vec<GroundedText>,
}

/// A page of the web.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct GroundingSource {
    /// Its address; Google gives one of its own that redirects.
    pub uri: String,
    /// The page's title, as `groundingChunks` tells it.
    pub title: String,
}

/// Words of an answer that rest on sources.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct GroundedText {
    /// The words, as they stand in the answer's text.
    pub text: String,
    /// The places of the sources, from 0.
    pub sources: Vec<usize>,
}

/// A conversation and how far it has come.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ConversationState {
    /// What was set.
    pub conversation: ScriptedConversation,
    /// Requests that it has answered.
    pub answered: u64,
    /// The newest 64 of these requests in order, but for those over 1 MiB.
    pub seen: VecDeque<Value>,
}

impl ConversationState {
    /// The step that is due, if there is one.
    fn due(&self, prompt: &Prompt) -> Option<&ScriptedStep> {
        let steps = &self.conversation.steps;
        let passed = if self.conversation.by_turn {
            prompt.model_turns
        } else {
            usize::try_from(self.answered).unwrap_or(usize::MAX)
        };
        let last = steps.len().checked_sub(1)?;
        match self.conversation.then {
            AfterSteps::Pass => steps.get(passed),
            AfterSteps::Repeat => steps.get(passed % steps.len()),
            AfterSteps::Stay => steps.get(passed.min(last)),
        }
    }
}

impl PromptCondition {
    fn holds(&self, prompt: &Prompt) -> bool {
        let said = |words: &String| {
            prompt.text.contains(words.as_str())
                || prompt.tool_result.as_ref().is_some_and(|result| result.contains(words.as_str()))
        };
        self.tools.is_none_or(|tools| tools != prompt.functions.is_empty())
            && self.contains.as_ref().is_none_or(said)
    }
}

/// The conversations in force; the first that matches and has a step left answers.
#[derive(Debug, Default)]
pub(crate) struct Conversations(Vec<ConversationState>);

impl Conversations {
    pub(crate) fn new(conversations: Vec<ScriptedConversation>) -> Self {
        let begun = |conversation| ConversationState { conversation, answered: 0, seen: VecDeque::new() };
        Self(conversations.into_iter().map(begun).collect())
    }

    pub(crate) fn states(&self) -> Vec<ConversationState> {
        self.0.clone()
    }

    /// The answer to a request of `bytes` bytes, if one is scripted.
    pub(crate) fn step(
        &mut self,
        subject: &Subject<'_>,
        prompt: &Prompt,
        request: &Value,
        bytes: usize,
    ) -> Option<ScriptedStep> {
        for state in &mut self.0 {
            if !state.conversation.matches.meets(subject) || !state.conversation.when.holds(prompt) {
                continue;
            }
            let Some(step) = state.due(prompt).cloned() else { continue };
            state.answered += 1;
            if bytes <= SEEN_BYTES {
                if state.seen.len() == SEEN {
                    state.seen.pop_front();
                }
                state.seen.push_back(request.clone());
            }
            return Some(step);
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn answers(conversations: &mut Conversations, requests: &[Value]) -> Vec<Option<String>> {
        let mut answer = |request: &Value| {
            let subject =
                Subject { key: None, project: None, model: Some("m"), path: "/v1beta", method: "POST" };
            let prompt = Prompt::native(request).unwrap();
            let step = conversations.step(&subject, &prompt, request, 100)?;
            let ScriptedPart::Text(text) = step.parts.into_iter().next()? else { return None };
            Some(text)
        };
        requests.iter().map(&mut answer).collect()
    }

    fn said(text: &str) -> Value {
        json!({"contents": [{"parts": [{"text": text}]}]})
    }

    fn words(texts: &[&str]) -> Vec<Option<String>> {
        texts.iter().map(|text| (!text.is_empty()).then(|| (*text).to_owned())).collect()
    }

    #[test]
    fn each_request_takes_the_next_step_until_there_is_none() {
        let steps = || ["a", "b"].map(|text| ScriptedStep::texts([text]));
        for (then, expected) in [
            (AfterSteps::Pass, ["a", "b", "", ""]),
            (AfterSteps::Repeat, ["a", "b", "a", "b"]),
            (AfterSteps::Stay, ["a", "b", "b", "b"]),
        ] {
            let mut list = Conversations::new(vec![ScriptedConversation::new(steps()).then(then)]);
            let requests = [said("1"), said("2"), said("3"), said("4")];
            assert_eq!(answers(&mut list, &requests), words(&expected));
            let state = &list.states()[0];
            assert_eq!(state.seen.front(), Some(&requests[0]));
            assert_eq!(state.answered, expected.iter().filter(|text| !text.is_empty()).count() as u64);
        }
    }

    #[test]
    fn a_conversation_answers_what_meets_its_conditions() {
        let with = |when: Value| -> ScriptedConversation {
            serde_json::from_value(json!({"when": when, "steps": [{"parts": [{"text": when.to_string()}]}]}))
                .unwrap()
        };
        let mut list = Conversations::new(vec![
            ScriptedConversation::new([ScriptedStep::texts(["x"])]).on_model("other"),
            with(json!({"tools": true})),
            with(json!({"contains": "Oslo"})),
        ]);
        let mut tools = said("hi");
        tools["tools"] = json!([{"functionDeclarations": [{"name": "f"}]}]);
        let found = answers(&mut list, &[said("hi"), said("in Oslo"), tools]);
        assert_eq!(found, words(&["", "{\"contains\":\"Oslo\"}", "{\"tools\":true}"]));
    }

    #[test]
    fn steps_by_turn_depend_on_the_history_alone() {
        let mut conversation = ScriptedConversation::new(["a", "b"].map(|text| ScriptedStep::texts([text])));
        conversation.by_turn = true;
        let mut list = Conversations::new(vec![conversation]);
        let mut second = said("1");
        let turns = second["contents"].as_array_mut().unwrap();
        turns.extend([json!({"role": "model", "parts": [{"text": "a"}]}), json!({"parts": [{"text": "2"}]})]);
        let requests = [said("1"), said("1"), second.clone(), said("1"), second];
        assert_eq!(answers(&mut list, &requests), words(&["a", "a", "b", "a", "b"]));
    }
}
