//! The names in bodies: what a whole parse finds, however the body is cut, and no panic on anything.

use crate::reference;
use gemini::names::{AnswerNames, Certainty, Learnt, MAX_NAME_BYTES, in_request};
use gemini::path::{CredentialForm, parse};

/// One of each way to read an answer, and what the reference knows of it.
const TARGETS: [(&str, &str, Option<&reference::Answers>); 6] = [
    ("GET", "/v1beta/batches", Some(&reference::BATCHES)),
    ("POST", "/v1beta/interactions", Some(&reference::INTERACTIONS)),
    ("POST", "/v1beta/files", Some(&reference::FILES)),
    ("GET", "/v1beta/models/m/operations/o", None),
    ("GET", "/v1beta/voices", None),
    ("GET", "/ws/google.ai.generativelanguage.v1beta.GenerativeService.BidiGenerateContent", None),
];

/// See the module.
pub fn run(input: &[u8]) {
    let [choice, size, body @ ..] = input else { return };
    let mentions = in_request(body);
    if body.len() <= MAX_NAME_BYTES
        && let Some(expected) = reference::in_request(body)
    {
        let found: Vec<_> = mentions
            .into_iter()
            .map(|mention| (mention.name.to_string(), mention.certainty == Certainty::Certain))
            .collect();
        assert_eq!(found, expected);
    }

    let (method, path, answers) = TARGETS[usize::from(*choice) % TARGETS.len()];
    let target = parse(method, path, None, CredentialForm::GoogHeader).expect("a path that is served");
    let learnt = |chunks: &mut dyn Iterator<Item = &[u8]>| -> Vec<Learnt> {
        let mut names = AnswerNames::new(&target.operation).expect("an answer with names");
        let mut learnt = Vec::new();
        for chunk in chunks {
            names.see(chunk);
            learnt.extend(names.take());
        }
        learnt.extend(names.finish());
        learnt
    };
    let whole = learnt(&mut std::iter::once(body));
    assert_eq!(learnt(&mut body.chunks(1)), whole);
    assert_eq!(learnt(&mut body.chunks(usize::from(*size).max(1))), whole);

    // What begins otherwise is read as events; deeper than this is not looked into.
    let is_document = body.trim_ascii_start().starts_with(b"{") || body.trim_ascii_start().starts_with(b"[");
    let openings = body.iter().filter(|byte| matches!(byte, b'{' | b'[')).count();
    if is_document
        && openings < 60
        && body.len() <= MAX_NAME_BYTES
        && let Some(expected) = answers.and_then(|answers| reference::in_answer(body, answers))
    {
        let found: Vec<_> = whole.into_iter().map(|it| (it.name.to_string(), it.expires)).collect();
        assert_eq!(found, expected);
    }
}
