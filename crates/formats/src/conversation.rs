//! A history by Google's rules, whatever order a client tells it in. Both formats feed a [`Conversation`] with what their
//! messages say, and take the `contents` out. The rules: the user begins and turns alternate; all calls of a turn are
//! answered in the next, each once, in their order, before anything else; no part is empty; a call and its result have
//! one id and one name; a signature stays with its part.

use std::borrow::Cow;
use std::collections::{HashMap, VecDeque};

use serde_json::value::RawValue;

use crate::error::{FieldPath, TranslationError};
use crate::gemini::{RequestPart, ResultBody, TurnContent, TurnRole};
use crate::media::Media;
use crate::models::{ModelGeneration, ModelTraits};
use crate::placeholders::{ModelPart, WantedSignatures};
use crate::signature::{CallIdContent, PLACEHOLDER, SignedPart, read_block, read_call_id};

/// What the user is taken to have said before a history that the model begins.
const OPENING: &str = "(The conversation goes on.)";

/// What the user is taken to say after a history that the model ends, to a model that does not go on from its own turn.
const GO_ON: &str =
    "Go on with your last message exactly from where it ends. Repeat nothing of it, and put nothing before.";

/// What is wrong with a history. The format that was reading it knows the field.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum HistoryError {
    /// A result of a call that is not there, or comes later: its id.
    NoCall(String),
    /// A second result of one call: its id.
    SecondResult(String),
    /// Nobody says anything.
    Empty,
}

impl HistoryError {
    /// Names the field.
    pub fn at(self, field: impl Into<FieldPath>) -> TranslationError {
        TranslationError::invalid(
            field,
            match self {
                Self::NoCall(id) => format!("is the result of `{id}`, but no call before it has this id"),
                Self::SecondResult(id) => format!("is a second result of `{id}`"),
                Self::Empty => "has nothing for the model to answer".to_owned(),
            },
        )
    }
}

/// A history under construction.
#[derive(Debug)]
pub struct Conversation<'a> {
    model: ModelTraits,
    /// The client's instructions.
    system: Vec<Cow<'a, str>>,
    /// Instructions of our own making.
    added: Vec<Cow<'a, str>>,
    /// Whether there is a message of the user's or the model's, were it empty.
    has_messages: bool,
    /// They alternate, and none is empty, but for a user's that waits for results.
    turns: Vec<ToldTurn<'a>>,
    calls: Vec<PastCall<'a>>,
    /// The calls without a result, by the client's id.
    open_calls: HashMap<Cow<'a, str>, VecDeque<usize>>,
    /// Google's ids in the model's turn under way, and how often each was given.
    turn_ids: HashMap<Cow<'a, str>, usize>,
    /// The signature of the next call, from a block.
    before_call: Option<String>,
    /// The signature of the next picture, from a block.
    before_picture: Option<String>,
    /// Signatures of parts that said nothing else, before the model's turn has begun.
    apart: Vec<String>,
    /// The signature of the last text of this turn, from a block that stood before it.
    before_text: Option<String>,
}

#[derive(Debug)]
struct ToldTurn<'a> {
    role: TurnRole,
    parts: Vec<RequestPart<'a>>,
    /// Places in `Conversation::calls`; a model's only.
    calls: Vec<usize>,
}

#[derive(Debug)]
struct PastCall<'a> {
    turn: usize,
    google_id: Option<Cow<'a, str>>,
    name: Cow<'a, str>,
    result: Option<(ResultBody<'a>, Vec<Media<'a>>)>,
}

/// A history as Google takes it.
#[derive(Debug)]
pub struct History<'a> {
    /// The texts of `systemInstruction`.
    pub system: Vec<Cow<'a, str>>,
    /// `contents`.
    pub contents: Vec<TurnContent<'a>>,
}

impl<'a> Conversation<'a> {
    /// An empty history for a model.
    pub fn new(model: ModelTraits) -> Self {
        Self {
            model,
            system: Vec::new(),
            added: Vec::new(),
            has_messages: false,
            turns: Vec::new(),
            calls: Vec::new(),
            open_calls: HashMap::new(),
            turn_ids: HashMap::new(),
            before_call: None,
            before_picture: None,
            apart: Vec::new(),
            before_text: None,
        }
    }

    /// Notes that a message of the user's or the model's begins, whatever is in it.
    pub fn message(&mut self) {
        self.has_messages = true;
    }

    /// Adds an instruction of the operator's. At the start it joins `systemInstruction`; later it becomes a marked text
    /// of the user's, where it stands.
    pub fn system(&mut self, text: impl Into<Cow<'a, str>>) {
        let text = text.into();
        if text.is_empty() {
        } else if self.turns.is_empty() {
            self.system.push(text);
        } else {
            self.user_text(format!("<system>\n{text}\n</system>"));
        }
    }

    /// Adds a sentence of our own to `systemInstruction`, at whichever point: it stands behind the client's.
    pub fn instruct(&mut self, text: impl Into<Cow<'a, str>>) {
        self.added.push(text.into());
    }

    /// Adds a text of the user's.
    pub fn user_text(&mut self, text: impl Into<Cow<'a, str>>) {
        let text = text.into();
        if !text.is_empty() {
            self.user_turn().parts.push(RequestPart::Text { text, signature: None });
        }
    }

    /// Adds a picture, a sound or a document of the user's.
    pub fn user_media(&mut self, media: Media<'a>) {
        self.user_turn().parts.push(RequestPart::Media { media, signature: None });
    }

    /// Adds a text of the model's.
    pub fn assistant_text(&mut self, text: impl Into<Cow<'a, str>>) {
        let text = text.into();
        if !text.is_empty() {
            self.model_turn().parts.push(RequestPart::Text { text, signature: None });
        }
    }

    /// Adds media that the model made, with the signature of the block before.
    pub fn assistant_media(&mut self, media: Media<'a>) {
        let signature = self.before_picture.take().map(Cow::Owned);
        self.model_turn().parts.push(RequestPart::Media { media, signature });
    }

    /// Adds what carries a signature beside the parts: a thinking block's `signature`, a reasoning item's
    /// `encrypted_content`. One that was not made here is dropped, and so are thoughts themselves.
    pub fn thinking(&mut self, carrier: &str) {
        match read_block(carrier) {
            Some((SignedPart::Call, signature)) => self.before_call = Some(signature),
            Some((SignedPart::Picture, signature)) => self.before_picture = Some(signature),
            Some((SignedPart::Text, signature)) => {
                let last = self.turns.last_mut().filter(|turn| turn.role == TurnRole::Model);
                match last.and_then(|turn| turn.parts.last_mut()) {
                    Some(RequestPart::Text { signature: free @ None, .. }) => *free = Some(signature.into()),
                    Some(RequestPart::Text { signature: Some(own), .. }) if **own == *signature => {}
                    // No part takes another's.
                    Some(RequestPart::Text { .. }) => self.signature_apart(signature),
                    _ => self.before_text = Some(signature),
                }
            }
            Some((SignedPart::Apart, signature)) => self.signature_apart(signature),
            None => {}
        }
    }

    /// Adds a part of the model's that is nothing but a signature. It does not make a turn by itself.
    fn signature_apart(&mut self, signature: String) {
        match self.turns.last_mut() {
            Some(turn) if turn.role == TurnRole::Model => turn.parts.push(part_of(signature)),
            _ => self.apart.push(signature),
        }
    }

    /// Adds a call of the model's: the client's id of it, Google's name of the tool, and the arguments, which the caller
    /// has seen to be an object. The id's signature counts; else that of the block before.
    pub fn call(
        &mut self,
        client_id: impl Into<Cow<'a, str>>,
        name: impl Into<Cow<'a, str>>,
        args: Cow<'a, RawValue>,
    ) {
        let (client_id, name) = (client_id.into(), name.into());
        let from_block = self.before_call.take();
        self.model_turn();
        let (turn, place) = (self.turns.len() - 1, self.calls.len());
        let (google_id, from_id) = match read_call_id(&client_id) {
            CallIdContent::Ours { google_id, signature } => (google_id.map(Cow::Owned), signature),
            CallIdContent::Foreign if client_id.is_empty() => (None, None),
            CallIdContent::Foreign => (Some(client_id.clone()), None),
        };
        let open = self.open_calls.entry(client_id).or_default();
        // A call of an earlier turn that has no result yet will get none: this one has taken its id.
        if open.front().is_some_and(|&other| self.calls[other].turn != turn) {
            open.clear();
        }
        open.push_back(place);
        let google_id = google_id.map(|id| self.distinct(id));
        let part = RequestPart::Call {
            id: google_id.clone(),
            name: name.clone(),
            args,
            signature: from_id.or(from_block).map(Cow::Owned),
        };
        self.calls.push(PastCall { turn, google_id, name, result: None });
        self.turns[turn].parts.push(part);
        self.turns[turn].calls.push(place);
    }

    /// Adds the result of a call, by the client's id, wherever it stands after the call.
    pub fn result(
        &mut self,
        client_id: &str,
        response: ResultBody<'a>,
        media: Vec<Media<'a>>,
    ) -> Result<(), HistoryError> {
        let open = self.open_calls.get_mut(client_id);
        let open = open.ok_or_else(|| HistoryError::NoCall(client_id.to_owned()))?;
        let place = open.pop_front().ok_or_else(|| HistoryError::SecondResult(client_id.to_owned()))?;
        let call = &mut self.calls[place];
        call.result = Some((response, media));
        // A result that comes late goes to its place, and the turn of now goes on.
        let is_late = call.turn + 1 < self.turns.len();
        if !is_late || self.turns.last().is_some_and(|turn| turn.role == TurnRole::User) {
            self.user_turn();
        }
        Ok(())
    }

    /// Puts the history together.
    pub fn finish(mut self) -> Result<History<'a>, HistoryError> {
        self.place_text_signature();
        if self.turns.is_empty() {
            // A client that sends instructions alone means them to be answered. One that has sent a message, though an empty
            // one, does not.
            let text = if self.has_messages { None } else { self.system.pop() };
            self.user_text(text.ok_or(HistoryError::Empty)?);
        }
        self.system.append(&mut self.added);
        let mut contents = Vec::with_capacity(self.turns.len() + 2);
        if self.turns.first().is_some_and(|turn| turn.role == TurnRole::Model) {
            let opening = RequestPart::Text { text: OPENING.into(), signature: None };
            contents.push(TurnContent { role: TurnRole::User, parts: vec![opening] });
        }
        let mut results = Vec::new();
        for mut turn in self.turns {
            if turn.role == TurnRole::Model {
                sign_unsigned(&mut turn.parts, self.model);
                results = results_of(&turn.calls, &mut self.calls, self.model);
            } else if !results.is_empty() {
                results.append(&mut turn.parts);
                turn.parts = std::mem::take(&mut results);
            }
            contents.push(TurnContent { role: turn.role, parts: turn.parts });
        }
        if !results.is_empty() {
            contents.push(TurnContent { role: TurnRole::User, parts: results });
        }
        if !self.model.goes_on_from_itself && contents.last().is_some_and(|last| last.role == TurnRole::Model)
        {
            let go_on = RequestPart::Text { text: GO_ON.into(), signature: None };
            contents.push(TurnContent { role: TurnRole::User, parts: vec![go_on] });
        }
        Ok(History { system: self.system, contents })
    }

    /// An id that no other call of the turn has: parallel calls with one id were seen, and Google could not tell their
    /// results apart.
    fn distinct(&mut self, id: Cow<'a, str>) -> Cow<'a, str> {
        let mut given = self.turn_ids.get(&id).copied().unwrap_or_default();
        let mut distinct = id.clone();
        while self.turn_ids.contains_key(&distinct) {
            given += 1;
            distinct = Cow::Owned(format!("{id}-{}", given + 1));
        }
        self.turn_ids.insert(distinct.clone(), 0);
        self.turn_ids.insert(id, given);
        distinct
    }

    /// The user's turn that is under way, or a new one.
    fn user_turn(&mut self) -> &mut ToldTurn<'a> {
        self.place_text_signature();
        (self.before_call, self.before_picture) = (None, None);
        self.apart.clear();
        self.turn(TurnRole::User)
    }

    /// The model's turn that is under way, or a new one.
    fn model_turn(&mut self) -> &mut ToldTurn<'a> {
        let apart = std::mem::take(&mut self.apart);
        let turn = self.turn(TurnRole::Model);
        turn.parts.extend(apart.into_iter().map(part_of));
        turn
    }

    fn turn(&mut self, role: TurnRole) -> &mut ToldTurn<'a> {
        if self.turns.last().is_none_or(|turn| turn.role != role) {
            self.turns.push(ToldTurn { role, parts: Vec::new(), calls: Vec::new() });
            self.turn_ids.clear();
        }
        let last = self.turns.len() - 1;
        &mut self.turns[last]
    }

    /// At the end of the model's turn, gives the signature that waits to its last text, unless that has one.
    fn place_text_signature(&mut self) {
        let Some(waiting) = self.before_text.take() else { return };
        let last = self.turns.last_mut().filter(|turn| turn.role == TurnRole::Model);
        let text = last.and_then(|turn| {
            let mut parts = turn.parts.iter_mut().rev();
            parts.find_map(|part| match part {
                RequestPart::Text { text, signature } if !text.is_empty() => Some(signature),
                _ => None,
            })
        });
        if let Some(free @ None) = text {
            *free = Some(waiting.into());
        }
    }
}

/// A part that is nothing but a signature, as Google sends it.
fn part_of<'a>(signature: String) -> RequestPart<'a> {
    RequestPart::Text { text: Cow::Borrowed(""), signature: Some(signature.into()) }
}

/// Gives the parts of a content that the model wants signed the placeholder, if they have no signature.
fn sign_unsigned(parts: &mut [RequestPart<'_>], model: ModelTraits) {
    let mut wanted = WantedSignatures::of(model);
    for part in parts {
        let (kind, signature) = match part {
            RequestPart::Text { signature, .. } => (ModelPart::Text, signature),
            RequestPart::Media { signature, .. } => (ModelPart::Picture, signature),
            RequestPart::Call { signature, .. } => (ModelPart::Call, signature),
            RequestPart::Result { .. } => continue,
        };
        if wanted.wants(kind) {
            signature.get_or_insert(Cow::Borrowed(PLACEHOLDER));
        }
    }
}

/// The results of a turn's calls, in their order. Media go inside where the model takes them there, else after all.
fn results_of<'a>(places: &[usize], calls: &mut [PastCall<'a>], model: ModelTraits) -> Vec<RequestPart<'a>> {
    let mut siblings = Vec::new();
    let mut parts = Vec::with_capacity(places.len());
    for &place in places {
        let call = &mut calls[place];
        let (response, mut media) = call.result.take().unwrap_or_else(|| (ResultBody::missing(), Vec::new()));
        if model.generation != ModelGeneration::Three {
            siblings.extend(media.drain(..).map(|media| RequestPart::Media { media, signature: None }));
        }
        parts.push(RequestPart::Result {
            id: call.google_id.take(),
            name: std::mem::take(&mut call.name),
            response,
            media,
        });
    }
    parts.append(&mut siblings);
    parts
}
