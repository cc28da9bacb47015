//! The same request for another model: what an operator may have set for the time that a model fails as a whole. Changes
//! the model's name where the request has it, and not a byte besides; only what was made of another vendor's format is made
//! anew, since it is written as its own model takes it.

use super::job::Job;
use bytes::Bytes;
use gemini::path::Surface;
use serde::Deserialize;
use serde_json::value::RawValue;

/// The header in which the client reads which model has answered in place of its own.
pub const HEADER: &str = "x-gemini-balance-fallback";

/// `job` for the model `to`, in the forms to try, the best first: the next is for a model that refuses the one before. None
/// where it does not name the model `from` in the way that its surface does, or cannot be put to `to`.
pub(super) fn with_model(job: &Job, from: &str, to: &str) -> Vec<Job> {
    let Some(named) = naming(job, from, to) else { return Vec::new() };
    match &job.bodies {
        None => vec![named],
        Some(bodies) => {
            bodies.of(to).into_iter().map(|body| Job { body, clear: None, ..named.clone() }).collect()
        }
    }
}

fn naming(job: &Job, from: &str, to: &str) -> Option<Job> {
    let mut other = job.clone();
    match job.target.surface {
        Surface::Native => {
            let named = format!("/models/{from}:");
            let at = job.target.path.find(&named)?;
            other.target.path.replace_range(at..at + named.len(), &format!("/models/{to}:"));
        }
        Surface::OpenAi => {
            other.body = renamed(job.clear_body(), to)?;
            if other.clear.take().is_some() {
                other.headers.remove(http::header::CONTENT_ENCODING);
            }
        }
        Surface::Upload | Surface::Download | Surface::Live => return None,
    }
    Some(other)
}

/// The body with another value of its top-level `model`.
fn renamed(body: &Bytes, to: &str) -> Option<Bytes> {
    #[derive(Deserialize)]
    struct Named<'a> {
        #[serde(borrow)]
        model: &'a RawValue,
    }
    let named: Named<'_> = serde_json::from_slice(body).ok()?;
    let value = named.model.get();
    let at = value.as_ptr() as usize - body.as_ptr() as usize;
    let name = serde_json::to_string(to).ok()?;
    let mut text = Vec::with_capacity(body.len() + name.len());
    text.extend_from_slice(&body[..at]);
    text.extend_from_slice(name.as_bytes());
    text.extend_from_slice(&body[at + value.len()..]);
    Some(text.into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_but_the_models_name_changes() {
        let body =
            Bytes::from_static(b"{ \"messages\":[{\"model\":\"x\"}] ,\"model\" : \"a\\u002d1\", \"z\":1}");
        let changed = renamed(&body, "b\"2").unwrap();
        assert_eq!(&changed[..], b"{ \"messages\":[{\"model\":\"x\"}] ,\"model\" : \"b\\\"2\", \"z\":1}");
        assert!(renamed(&Bytes::from_static(b"{\"messages\":[]}"), "b").is_none());
        assert!(renamed(&Bytes::from_static(b"not json"), "b").is_none());
    }
}
