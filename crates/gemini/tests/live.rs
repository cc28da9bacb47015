//! The Live API's messages, and what the reasons of closes say.

use gemini::fault::{Kind, Next, Wait};
use gemini::live::{NoSetup, Setup, close_fault, code_of_status, fitting_reason, new_handle};
use gemini::operation::ModelName;
use proptest::prelude::*;
use serde_json::{Value, json};

#[allow(clippy::unnecessary_wraps)] // compared with what may fail
fn setup(model: Option<&str>, handles: &[&str]) -> Result<Setup, NoSetup> {
    let handles = handles.iter().map(|handle| (*handle).to_owned()).collect();
    Ok(Setup { model: model.map(str::to_owned), handles })
}

#[test]
fn a_setup_is_read_in_either_spelling_and_among_anything_else() {
    let cases = [
        (r#"{"setup":{"model":"models/gemini-live"}}"#, setup(Some("gemini-live"), &[])),
        (r#"{"setup":{"model":"gemini-live","sessionResumption":{}}}"#, setup(Some("gemini-live"), &[])),
        (
            r#"{"setup":{"generationConfig":{"x":[1,-2,0.5,null,true,{"model":"no"}]},"sessionResumption":{"handle":"a\u002fb"},"model":"m"}}"#,
            setup(Some("m"), &["a/b"]),
        ),
        (
            r#"{"setup":{"model":"m","session_resumption":{"handle":"h","transparent":true}}}"#,
            setup(Some("m"), &["h"]),
        ),
        (r#"{"setup":{"model":"m","sessionResumption":{"handle":""}}}"#, setup(Some("m"), &[])),
        (r#"{"setup":{"model":"m","sessionResumption":null}}"#, setup(Some("m"), &[])),
        (r#"{"setup":{"model":"models/m\u001b[31m"}}"#, setup(None, &[])),
        (r#"{"setup":{"model":"m\nERROR pool: forged"}}"#, setup(None, &[])),
        (r#"{"setup":{"model":7,"sessionResumption":[{"handle":"h"}]}}"#, setup(None, &[])),
        (r#"{"setup":{}}"#, setup(None, &[])),
    ];
    for (message, expected) in cases {
        assert_eq!(Setup::read(message.as_bytes()), expected, "{message}");
    }
    let deep = format!(r#"{{"setup":{{"x":{}{},"model":"m"}}}}"#, "[".repeat(9_000), "]".repeat(9_000));
    assert_eq!(Setup::read(deep.as_bytes()), setup(Some("m"), &[]));
}

#[test]
fn a_handle_cannot_be_hidden_behind_another() {
    let cases = [
        r#"{"setup":{"sessionResumption":{"handle":"a"},"sessionResumption":{"handle":"b"}}}"#,
        r#"{"setup":{"sessionResumption":{"handle":"a"},"session_resumption":{"handle":"b"}}}"#,
        r#"{"setup":{"sessionResumption":{"handle":"a","handle":"b"}}}"#,
        r#"{"setup":{"sessionResumption":{"handle":"a"}},"setup":{"sessionResumption":{"handle":"b"}}}"#,
        r#"{"\u0073etup":{"session\u0052esumption":{"h\u0061ndle":"a"},"sessionResumption":{"handle":"b"}}}"#,
    ];
    for message in cases {
        assert_eq!(Setup::read(message.as_bytes()), setup(None, &["a", "b"]), "{message}");
    }
}

#[test]
fn what_is_no_setup_or_cannot_be_read_is_none() {
    let cases = [
        r#"{"clientContent":{"turns":[]}}"#,
        r#"{"setup":"model"}"#,
        r#"[{"setup":{}}]"#,
        r#"{"setup":{}} {"setup":{}}"#,
        r#"{"setup":{"model":"m",}}"#,
        "{",
        "",
    ];
    for message in cases {
        assert_eq!(Setup::read(message.as_bytes()), Err(NoSetup), "{message}");
    }
    assert_eq!(Setup::read(b"{\"setup\":{\"model\":\"\xff\"}}"), Err(NoSetup));
}

#[test]
fn a_handle_is_found_where_the_server_gives_one() {
    let cases = [
        (r#"{"sessionResumptionUpdate":{"newHandle":"h","resumable":true}}"#, Some("h")),
        (r#"{"usageMetadata":{},"sessionResumptionUpdate":{"resumable":true,"newHandle":"h2"}}"#, Some("h2")),
        (r#"{"sessionResumptionUpdate":{"resumable":false}}"#, None),
        (
            r#"{"serverContent":{"modelTurn":{"parts":[{"text":"\"sessionResumptionUpdate\" newHandle"}]}}}"#,
            None,
        ),
        (r#"{"setupComplete":{}}"#, None),
    ];
    for (message, expected) in cases {
        assert_eq!(new_handle(message.as_bytes()).as_deref(), expected, "{message}");
    }
}

#[test]
fn reasons_are_read_by_their_words() {
    let cases = [
        ("API key not valid. Please pass a valid API key.", Kind::KeyInvalid),
        ("API key expired. Please renew the API key.", Kind::KeyInvalid),
        ("API Key not found. Please pass a valid API key.", Kind::KeyInvalid),
        ("Multiple authentication credentials received. Please pass only one.", Kind::CredentialsMultiple),
        ("User location is not supported for the API use.", Kind::LocationUnsupported),
        (
            "Request had invalid authentication credentials. Expected OAuth 2 access token, login cookie or other valid",
            Kind::KeyUnauthenticated,
        ),
        ("Your API key was reported as leaked. Please use another API key.", Kind::KeySuspended),
        ("Permission denied: Consumer 'api_key:***' has been suspended.", Kind::KeySuspended),
        (
            "Requests to this API generativelanguage.googleapis.com method google.ai are blocked.",
            Kind::MethodBlocked,
        ),
        ("Requests from referer <empty> are blocked.", Kind::KeyRestricted),
        (
            "Generative Language API has not been used in project 1 before or it is disabled.",
            Kind::ServiceDisabled,
        ),
        ("Requested entity was not found.", Kind::ResourceUnreachable),
        ("You exceeded your current quota, please check your plan and billing details.", Kind::QuotaBare),
        ("RESOURCE_EXHAUSTED: You exceeded your current quota, please check", Kind::QuotaBare),
        ("generic::resource_exhausted: You exceeded your current quota", Kind::QuotaBare),
        ("Resource has been exhausted (e.g. check quota).", Kind::QuotaBare),
        ("Your prepayment credits are depleted. Please go to AI Studio", Kind::CreditsGone),
        ("Your project has exceeded its monthly spending cap.", Kind::SpendingCap),
        ("Internal error encountered.", Kind::Internal),
        ("The model is overloaded. Please try again later.", Kind::Overloaded),
        ("The service is currently unavailable.", Kind::Overloaded),
        ("Deadline expired before operation could complete.", Kind::DeadlineExceeded),
    ];
    for (reason, kind) in cases {
        assert_eq!(close_fault(reason).map(|fault| fault.kind), Some(kind), "{reason}");
    }
}

#[test]
fn a_reason_that_quotes_a_request_blames_no_key() {
    let reasons = [
        "",
        "Operation is not implemented, or supported, or enabled.",
        "models/dream is not found for API version v1beta, or is not supported for bidiGenerateContent.",
        "Invalid JSON payload received. Unknown name \"API key not valid\": Cannot find field.",
        "Request contains an invalid argument.",
        "Cannot extract voices from a non-audio request: You exceeded your current quota",
        "API key is a fine thing to talk about",
        "done",
    ];
    for reason in reasons {
        assert_eq!(close_fault(reason), None, "{reason}");
    }
}

#[test]
fn a_bad_key_is_retired_and_a_quota_backs_off_and_both_may_try_another_key() {
    let bad =
        close_fault("API key expired. Please renew the API key.").map(|fault| (fault.wait, fault.next()));
    assert_eq!(bad, Some((Wait::Retire, Next::OtherKey)));
    let full = close_fault("You exceeded your current quota").map(|fault| (fault.wait, fault.next()));
    assert_eq!(full, Some((Wait::Backoff, Next::OtherKey)));
}

#[test]
fn an_answer_to_the_upgrade_becomes_the_close_that_google_uses_for_the_same() {
    let codes = [400, 401, 403, 404, 429, 500, 503].map(code_of_status);
    assert_eq!(codes, [1007, 1007, 1008, 1008, 1011, 1011, 1011]);
}

#[test]
fn a_reason_is_cut_between_characters() {
    assert_eq!(fitting_reason("short"), "short");
    let long = "é".repeat(100);
    assert_eq!(fitting_reason(&long).len(), 122);
}

/// Any JSON, with the words that a setup is read by sprinkled over it.
fn json() -> impl Strategy<Value = Value> {
    let word = prop_oneof![
        Just("setup".to_owned()),
        Just("model".to_owned()),
        Just("sessionResumption".to_owned()),
        Just("session_resumption".to_owned()),
        Just("handle".to_owned()),
        any::<String>(),
    ];
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<f64>().prop_map(Value::from),
        any::<String>().prop_map(Value::from),
    ];
    leaf.prop_recursive(6, 64, 4, move |inner| {
        let field = (word.clone(), inner.clone());
        prop_oneof![
            prop::collection::vec(inner, 0..4).prop_map(Value::from),
            prop::collection::vec(field, 0..4).prop_map(|fields| Value::Object(fields.into_iter().collect())),
        ]
    })
}

/// What a full parse finds.
fn parsed(message: &Value) -> Result<Setup, NoSetup> {
    let setup = message.get("setup").and_then(Value::as_object).ok_or(NoSetup)?;
    let text = |value: Option<&Value>| {
        value.and_then(Value::as_str).filter(|text| !text.is_empty()).map(str::to_owned)
    };
    let model = text(setup.get("model")).and_then(|model| ModelName::parse(&model));
    let handles = ["sessionResumption", "session_resumption"]
        .into_iter()
        .filter_map(|name| text(setup.get(name)?.get("handle")))
        .collect();
    Ok(Setup { model: model.map(|model| model.as_str().to_owned()), handles })
}

proptest! {
    #[test]
    fn a_setup_is_read_as_a_full_parse_reads_it(message in json(), handle in any::<String>(), indent in any::<bool>()) {
        let message = json!({
            "setup": {"x": message.clone(), "model": "models/m", "sessionResumption": {"y": message, "handle": handle}},
        });
        let text = if indent { format!("{message:#}") } else { message.to_string() };
        prop_assert_eq!(Setup::read(text.as_bytes()), parsed(&message));
    }

    #[test]
    fn any_message_is_read_as_a_full_parse_reads_it(message in json()) {
        let mut expected = parsed(&message);
        let mut read = Setup::read(message.to_string().as_bytes());
        for setup in [&mut expected, &mut read].into_iter().flatten() {
            setup.handles.sort();
        }
        prop_assert_eq!(read, expected);
    }

    #[test]
    fn no_bytes_upset_the_reader(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        let _ = Setup::read(&bytes);
        let _ = new_handle(&bytes);
        let _ = close_fault(&String::from_utf8_lossy(&bytes));
    }
}
