//! A model's turn as a list of events: thoughts, texts, calls with their ids, and who is signed. Made of an echo or of a
//! scripted step; `generate` puts it into responses.

use serde::Serialize;
use serde_json::{Value, json};

use super::grounding;
use crate::conversation::{ScriptedPart, ScriptedStep, Signing};
use crate::demand::WantedCall;
use crate::echo::Reply;
use crate::prompt::Prompt;
use crate::signature::Signed;
use crate::stats::SignatureCounts;
use crate::world::{LOWER, World};

/// A part of a model's content, its fields in Google's order.
#[derive(Serialize)]
#[serde(untagged)]
pub(super) enum AnswerPart {
    #[serde(rename_all = "camelCase")]
    Text {
        text: String,
        #[serde(skip_serializing_if = "std::ops::Not::not")]
        thought: bool,
        #[serde(skip_serializing_if = "Option::is_none")]
        thought_signature: Option<String>,
    },
    #[serde(rename_all = "camelCase")]
    Call {
        function_call: Value,
        #[serde(skip_serializing_if = "Option::is_none")]
        thought_signature: Option<String>,
    },
    Raw(Value),
}

impl AnswerPart {
    fn text(text: impl Into<String>) -> Self {
        Self::Text { text: text.into(), thought: false, thought_signature: None }
    }

    fn thought(text: impl Into<String>) -> Self {
        Self::Text { text: text.into(), thought: true, thought_signature: None }
    }

    fn is_answer_text(&self) -> bool {
        matches!(self, Self::Text { thought: false, .. })
    }
}

/// What a streamed answer says at once.
#[derive(Default)]
pub(super) struct TurnEvent {
    pub(super) parts: Vec<AnswerPart>,
    pub(super) finish: Option<String>,
    pub(super) finish_message: Option<String>,
    pub(super) grounding: Option<Value>,
    pub(super) block: Option<String>,
}

pub(super) type TurnEvents = Box<dyn Iterator<Item = TurnEvent> + Send + Sync>;

impl TurnEvent {
    fn of(part: AnswerPart) -> Self {
        Self { parts: vec![part], ..Self::default() }
    }

    fn finished(mut self, reason: &str) -> Self {
        self.finish = Some(reason.to_owned());
        self
    }
}

/// How the model speaks in this answer.
pub(super) struct Speaker<'a> {
    pub(super) world: &'a World,
    /// Gemini 3 and later: calls have ids, and texts are signed too.
    pub(super) modern: bool,
    /// Thoughts are shown.
    pub(super) thoughts: bool,
    /// A number that no other answer has.
    pub(super) serial: u64,
}

impl Speaker<'_> {
    /// The events of an echo.
    pub(super) fn echo(&self, prompt: &Prompt, reply: Reply, streamed: bool) -> TurnEvents {
        let mut thoughts = Vec::new();
        if self.thoughts {
            let said: String = prompt.text.chars().take(200).collect();
            thoughts.push(TurnEvent::of(AnswerPart::thought(format!(
                "**Reading**\n\nThe user said: {said}\n\n"
            ))));
            thoughts.push(TurnEvent::of(AnswerPart::thought("**Answering**\n\nI know what to say.\n\n")));
        }
        let thoughts = thoughts.into_iter();
        match reply {
            Reply::Calls(calls) => {
                let mut events: Vec<_> = self.calls(calls).map(TurnEvent::of).collect();
                if let Some(last) = events.last_mut() {
                    last.finish = Some("STOP".to_owned());
                }
                Box::new(thoughts.chain(events))
            }
            Reply::Text(pieces) => {
                let grounding = prompt.search.then(|| grounding::made_up(&prompt.text, pieces.plain()));
                let signed = self.modern.then(|| self.signed_text());
                let (count, ends) = if streamed { (pieces.count, signed.is_none()) } else { (1, false) };
                let texts = (0..count).map(move |n| {
                    let text = if streamed { pieces.piece(n).into_owned() } else { pieces.whole() };
                    let event = TurnEvent::of(AnswerPart::text(text));
                    if ends && n + 1 == count { event.finished("STOP") } else { event }
                });
                let last = match signed {
                    Some(part) => Some(TurnEvent::of(part).finished("STOP")),
                    None if !streamed => Some(TurnEvent::default().finished("STOP")),
                    None => None,
                };
                let mut grounding = grounding;
                let grounded = thoughts.chain(texts).chain(last).map(move |mut event| {
                    if event.finish.is_some() {
                        event.grounding = grounding.take();
                    }
                    event
                });
                Box::new(grounded)
            }
        }
    }

    /// The events of a scripted step.
    pub(super) fn scripted(&self, step: ScriptedStep) -> TurnEvents {
        if step.block.is_some() {
            return Box::new(std::iter::once(TurnEvent { block: step.block, ..TurnEvent::default() }));
        }
        let whole: String = step
            .parts
            .iter()
            .filter_map(|part| if let ScriptedPart::Text(text) = part { Some(text.as_str()) } else { None })
            .collect();
        let mut parts = Vec::new();
        let mut called = false;
        for part in step.parts {
            parts.push(match part {
                ScriptedPart::Thought(_) if !self.thoughts => continue,
                ScriptedPart::Thought(text) => AnswerPart::thought(text),
                ScriptedPart::Text(text) => AnswerPart::text(text),
                ScriptedPart::Raw(part) => AnswerPart::Raw(part),
                ScriptedPart::Call(call) => {
                    let first = !std::mem::replace(&mut called, true);
                    let wanted = WantedCall { name: call.name, args: Value::Object(call.args) };
                    self.call(wanted, call.id, first && step.signing != Signing::None)
                }
            });
        }
        let mut tail = None;
        if self.modern && !called && parts.iter().any(AnswerPart::is_answer_text) {
            match (step.signing, self.signed_text()) {
                (Signing::None, _) => {}
                (Signing::Auto, part) => tail = Some(part),
                (Signing::LastText, signed) => sign_last(&mut parts, signed),
            }
        }
        let mut events: Vec<TurnEvent> = if step.together {
            vec![TurnEvent { parts, ..TurnEvent::default() }]
        } else {
            parts.into_iter().map(TurnEvent::of).collect()
        };
        events.extend(tail.map(TurnEvent::of));
        if events.is_empty() {
            events.push(TurnEvent::default());
        }
        if let Some(last) = events.last_mut() {
            last.finish = Some(step.finish.unwrap_or_else(|| "STOP".to_owned()));
            last.finish_message = step.finish_message;
            last.grounding = step.grounding.map(|found| grounding::told(&found, &whole));
        }
        Box::new(events.into_iter())
    }

    fn calls(&self, calls: Vec<WantedCall>) -> impl Iterator<Item = AnswerPart> {
        calls.into_iter().enumerate().map(|(at, call)| self.call(call, None, at == 0))
    }

    fn call(&self, WantedCall { name, args }: WantedCall, id: Option<String>, signed: bool) -> AnswerPart {
        let id = id.or_else(|| self.modern.then(|| self.world.resources.ids.id(LOWER, 8)));
        let signed = signed.then(|| {
            self.issued();
            Signed::Call { id: id.as_deref(), name: &name, args: &args }.issue(self.serial)
        });
        let mut call = json!({"name": name, "args": args});
        if let Some(id) = id {
            call["id"] = json!(id);
        }
        AnswerPart::Call { function_call: call, thought_signature: signed }
    }

    /// An empty text with a signature, as streams end with it.
    fn signed_text(&self) -> AnswerPart {
        self.issued();
        let signature = Signed::Text.issue(self.serial);
        AnswerPart::Text { text: String::new(), thought: false, thought_signature: Some(signature) }
    }

    fn issued(&self) {
        self.world.count_signatures(SignatureCounts { issued: 1, ..SignatureCounts::default() });
    }
}

/// Puts the signature of an empty text on the last text before it.
fn sign_last(parts: &mut [AnswerPart], signed: AnswerPart) {
    let last = parts.iter_mut().rfind(|part| part.is_answer_text());
    if let (
        Some(AnswerPart::Text { thought_signature, .. }),
        AnswerPart::Text { thought_signature: given, .. },
    ) = (last, signed)
    {
        *thought_signature = given;
    }
}

/// All events as one, for an answer that is not streamed: texts are joined, and the last one has the signature.
pub(super) fn merged(events: TurnEvents) -> TurnEvent {
    let mut whole = TurnEvent::default();
    for event in events {
        for part in event.parts {
            join(&mut whole.parts, part);
        }
        whole.finish = event.finish.or(whole.finish);
        whole.finish_message = event.finish_message.or(whole.finish_message);
        whole.grounding = event.grounding.or(whole.grounding);
        whole.block = event.block.or(whole.block);
    }
    whole
}

fn join(parts: &mut Vec<AnswerPart>, part: AnswerPart) {
    if let Some(AnswerPart::Text { text, thought, thought_signature: before @ None }) = parts.last_mut()
        && let AnswerPart::Text { text: more, thought: too, thought_signature } = &part
        && *thought == *too
    {
        text.push_str(more);
        before.clone_from(thought_signature);
        return;
    }
    parts.push(part);
}
