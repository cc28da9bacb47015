//! Lists of several projects: whatever is shown as a page's token is one of ours or refused, whatever projects answer ends in a
//! page, and the token of a page continues that list and no other.

use crate::told::is_json;
use gemini::listing::{Form, Listing, ProjectTag, Step};

fn tags() -> [ProjectTag; 2] {
    [ProjectTag::new("a"), ProjectTag::new("b")]
}

/// Lists a page, each project answering with the next of these bodies.
fn page(listing: &mut Listing, bodies: &mut dyn Iterator<Item = &[u8]>, judgement: u8) -> Option<Vec<u8>> {
    for step in 0.. {
        assert!(step < 1_000, "it is asked for ever");
        match listing.step() {
            Step::Ask(asks) => {
                for ask in asks {
                    listing.feed(ask.project, bodies.next().unwrap_or(b"{}")).ok()?;
                }
            }
            Step::Judge(_) => listing.judge(|project, name| {
                judgement & 1 == 0 || (project + name.map_or(0, str::len)) % 3 != usize::from(judgement) % 3
            }),
            Step::Done(body) => return Some(body),
            Step::Refuse(_) => return None,
        }
    }
    None
}

/// See the module.
pub fn run(input: &[u8]) {
    let [choice, judgement, input @ ..] = input else { return };
    let form = if choice & 1 == 0 { Form::Native } else { Form::OpenAi };
    let collection = ["files", "cachedContents", "batches", "models"][usize::from(choice / 2 % 4)];
    let mut lines = input.split(|byte| *byte == b'\n');
    let query = String::from_utf8_lossy(lines.next().unwrap_or_default()).into_owned();
    let bodies: Vec<_> = lines.collect();
    let Ok(mut listing) = Listing::begin(collection, form, Some(&query), &tags()) else { return };
    let Some(body) = page(&mut listing, &mut bodies.iter().copied().cycle(), *judgement) else { return };
    assert!(is_json(&body), "a page is JSON");
    // A number that is too large to be held is JSON too.
    let Ok(body) = serde_json::from_slice::<serde_json::Value>(&body) else { return };
    let next = body.get("nextPageToken").or_else(|| body.get("next_page_token"));
    let Some(next) = next.and_then(serde_json::Value::as_str).filter(|_| form == Form::Native) else {
        return;
    };

    // Where the query had a token, the last one counts.
    let continued = |collection: &str, token: &str| {
        let kept = query.split('&').filter(|pair| !is_token(pair)).collect::<Vec<_>>().join("&");
        Listing::begin(collection, form, Some(&format!("{kept}&pageToken={token}")), &tags())
    };
    assert!(continued(collection, next).is_ok(), "{next}");
    assert!(continued("others", next).is_err(), "the token of another list");
    let at = usize::from(*judgement) % next.len();
    let other = if &next[at..=at] == "A" { "B" } else { "A" };
    let changed = format!("{}{other}{}", &next[..at], &next[at + 1..]);
    assert!(continued(collection, &changed).is_err(), "{changed} instead of {next}");
    assert!(continued(collection, &next[..at]).is_err() || at == 0, "a part of {next}");
}

fn is_token(pair: &str) -> bool {
    let name = pair.split('=').next().unwrap_or_default();
    let name = percent_encoding::percent_decode_str(name).decode_utf8_lossy();
    matches!(&*name, "pageToken" | "page_token")
}
