//! Whatever a client sends as a token and a project as an answer: an error, never a panic.

use gemini::listing::{BadPage, Form, Listing, ProjectTag, Step};
use proptest::prelude::*;

fn tags() -> [ProjectTag; 2] {
    [ProjectTag::new("a"), ProjectTag::new("b")]
}

fn native(collection: &str, query: &str) -> Result<Listing, BadPage> {
    Listing::begin(collection, Form::Native, Some(query), &tags())
}

/// A token of `files` with a filter.
fn token() -> String {
    let mut listing = native("files", "pageSize=1&filter=x").unwrap();
    loop {
        match listing.step() {
            Step::Ask(asks) => {
                for ask in asks {
                    let body = br#"{"files":[{"name":"files/a"},{"name":"files/b"}],"nextPageToken":"QUJD"}"#;
                    listing.feed(ask.project, body).unwrap();
                }
            }
            Step::Judge(_) => listing.judge(|_, _| true),
            Step::Done(body) => {
                let body: serde_json::Value = serde_json::from_slice(&body).unwrap();
                return body["nextPageToken"].as_str().unwrap().to_owned();
            }
            Step::Refuse(bad) => panic!("{bad}"),
        }
    }
}

#[test]
fn a_token_is_good_for_its_own_list_and_its_own_filters_only() {
    let token = token();
    for (collection, query, good) in [
        ("files", "filter=x", true),
        ("files", "pageSize=7&filter=x&key=other", true),
        ("files", "filter=y", false),
        ("files", "", false),
        ("cachedContents", "filter=x", false),
    ] {
        let listing = native(collection, &format!("{query}&pageToken={token}"));
        assert_eq!(listing.err(), (!good).then_some(BadPage::Token), "{collection} {query}");
    }
}

#[test]
fn a_token_that_was_cut_or_changed_is_refused() {
    let token = token();
    for end in 1..token.len() {
        assert_eq!(
            native("files", &format!("filter=x&pageToken={}", &token[..end])).err(),
            Some(BadPage::Token)
        );
    }
    for at in 0..token.len() {
        let mut changed = token.clone().into_bytes();
        changed[at] = if changed[at] == b'A' { b'B' } else { b'A' };
        let changed = String::from_utf8(changed).unwrap();
        assert_eq!(native("files", &format!("filter=x&pageToken={changed}")).err(), Some(BadPage::Token));
    }
    for foreign in ["QUJD", "AQ", "AQAAAAAAAAAAAA", "CiAKGjBpNDd2Nmp2Zml2cWtidm5o", "%00", "=", "a%20b"] {
        assert_eq!(native("files", &format!("filter=x&pageToken={foreign}")).err(), Some(BadPage::Token));
    }
}

fn body() -> impl Strategy<Value = Vec<u8>> {
    let piece = prop_oneof![
        "[{}\\[\\],:\"a-z0-9.\\\\ -]{0,12}",
        Just(r#"{"files":["#.to_owned()),
        Just(r#"{"name":"files/a","createTime":"2026-01-01T00:00:00Z"}"#.to_owned()),
        Just(r#"{"name":7,"createTime":{},"metadata":[]}"#.to_owned()),
        Just(r#"{"id":"x","created_at":99999999999999999}"#.to_owned()),
        Just(r#"],"nextPageToken":"x"}"#.to_owned()),
        Just(r#"],"has_more":true}"#.to_owned()),
        Just(r#"{"data":["#.to_owned()),
        Just(r#"{"files":[1,null,"a",[],{}],"nextPageToken":"y"}"#.to_owned()),
        Just(r#"{"a":[{}],"b":[{}]}"#.to_owned()),
        Just(r#"{"files":{}}"#.to_owned()),
        Just(",".to_owned()),
    ];
    prop_oneof![
        proptest::collection::vec(piece, 0..8).prop_map(|pieces| pieces.concat().into_bytes()),
        proptest::collection::vec(any::<u8>(), 0..40),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(3_000))]

    #[test]
    fn no_token_panics(token in "\\PC{0,80}", bytes in "[A-Za-z0-9_-]{0,80}", form in any::<bool>()) {
        let form = if form { Form::Native } else { Form::OpenAi };
        for token in [token, bytes] {
            let _ = Listing::begin("files", form, Some(&format!("pageToken={token}&after={token}")), &tags());
            let _ = Listing::begin("files", form, Some(&token), &tags());
        }
    }

    #[test]
    fn no_answer_panics_or_is_asked_for_for_ever(
        bodies in proptest::collection::vec(body(), 1..6),
        judgement in any::<bool>(),
        form in any::<bool>(),
        after in prop_oneof![Just(""), Just("after=x")],
    ) {
        let form = if form { Form::Native } else { Form::OpenAi };
        let mut listing = Listing::begin("files", form, Some(after), &tags()).unwrap();
        let mut bodies = bodies.iter().cycle();
        let mut steps = 0;
        loop {
            steps += 1;
            prop_assert!(steps < 1_000);
            match listing.step() {
                Step::Ask(asks) => {
                    let mut taken = true;
                    for ask in asks {
                        taken &= listing.feed(ask.project, bodies.next().unwrap()).is_ok();
                    }
                    if !taken {
                        break;
                    }
                }
                Step::Judge(_) => listing.judge(|_, _| judgement),
                Step::Done(body) => {
                    prop_assert!(serde_json::from_slice::<serde_json::Value>(&body).is_ok(), "{:?}", body);
                    break;
                }
                Step::Refuse(_) => break,
            }
        }
    }
}
