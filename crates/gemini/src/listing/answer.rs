//! The client's page as JSON, in Google's form or the OpenAI layer's.

use serde_json::value::RawValue;

use super::{Form, Lane, Listing};

impl Listing {
    /// The items are byte for byte the projects'. Like Google, it does not name an empty list, unless a project did.
    pub(super) fn answer(&self) -> Vec<u8> {
        let mut object = Object(Vec::from(b"{"));
        let list = self.list.as_deref();
        match self.request.form {
            Form::Native => {
                if let Some(list) = list.filter(|_| !self.taken.is_empty() || self.empty_list) {
                    self.items(object.member(list));
                }
                self.rest(&mut object);
                if let Some(token) = self.token() {
                    quote(object.member(self.request.token_name), &token);
                }
            }
            Form::OpenAi => {
                if !self.rest.iter().any(|(name, _)| name == "object") {
                    quote(object.member("object"), "list");
                }
                self.rest(&mut object);
                self.items(object.member(list.unwrap_or("data")));
                let id = |at: Option<&super::Item>| at.and_then(|item| item.id.clone());
                for (name, id) in [("first_id", id(self.taken.first())), ("last_id", id(self.taken.last()))] {
                    match id {
                        Some(id) => quote(object.member(name), &id),
                        None => object.member(name).extend_from_slice(b"null"),
                    }
                }
                let more = !self.lanes.iter().all(Lane::ended);
                object.member("has_more").extend_from_slice(if more { b"true" } else { b"false" });
            }
        }
        object.0.push(b'}');
        object.0
    }

    fn items(&self, body: &mut Vec<u8>) {
        body.push(b'[');
        for (at, item) in self.taken.iter().enumerate() {
            if at > 0 {
                body.push(b',');
            }
            body.extend_from_slice(item.raw.get().as_bytes());
        }
        body.push(b']');
    }

    fn rest(&self, object: &mut Object) {
        // An unknown list without items is taken for something else, until another page shows what it is.
        let list = self.list.as_deref();
        for (name, value) in self.rest.iter().filter(|(name, _)| Some(name.as_str()) != list) {
            object.member(name).extend_from_slice(RawValue::get(value).as_bytes());
        }
    }
}

struct Object(Vec<u8>);

impl Object {
    /// Begins a member; the value is to follow.
    fn member(&mut self, name: &str) -> &mut Vec<u8> {
        if self.0.len() > 1 {
            self.0.push(b',');
        }
        quote(&mut self.0, name);
        self.0.push(b':');
        &mut self.0
    }
}

fn quote(body: &mut Vec<u8>, text: &str) {
    // A string always serialises.
    body.extend(serde_json::to_vec(text).unwrap_or_default());
}
