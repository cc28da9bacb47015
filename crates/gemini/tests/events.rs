//! Where the first event of a stream ends, in every framing and however the stream is cut.

use gemini::events::{FirstEvent, Progress};
use proptest::prelude::*;

const LIMIT: usize = 1_000;

fn end_of(chunks: &[&[u8]]) -> Progress {
    let mut first = FirstEvent::new(LIMIT);
    chunks.iter().fold(Progress::NeedMore, |_, chunk| first.push(chunk))
}

#[test]
fn the_first_event_ends_where_its_framing_says() {
    for (event, rest) in [
        ("data: {\"a\":1}\r\n\r\n", "data: {}\r\n\r\n"),
        ("data: {}\n\n", "data: {}\n\n"),
        ("data: {}\r\n\n", "data: {}"),
        ("data: {}\n\r\n", "data: {}"),
        ("data: {}\r\r", "data: {}"),
        ("event: interaction.created\ndata: {}\n\n", "x"),
        ("data: a\ndata: b\n\n", ""),
        ("\r\n\r\ndata: a\r\n\r\n", ""),
        (": comment\n\n: another\r\n\r\ndata: a\n\n", "data: b\n\n"),
        (": comment\ndata: a\n\n", ""),
        ("retry: 100\n\ndata: a\n\n", "data: b\n\n"),
        ("data:\n\ndata: \r\n\r\ndata\r\rdata:a\n\n", "data: b\n\n"),
        ("event: ping\r\n\r\nid: 7\n\ndatas: a\n\ndata: a\r\n\r\n", "data: b\n\n"),
        ("data:\nevent: x\ndata: a\n\n", ""),
        ("{\n  \"error\": {\n\n    \"code\": 1\n  }\n}", "\n\ndata: x\n\n"),
        ("[{\"a\":[{}],\"b\":\"}]\\\"}\\\\\"}", ",\n{}]"),
        ("[\r\n{\n  \"a\": \"\\u007d\"\n}", "\n]"),
        ("  [ {}", ""),
        ("[]", ""),
        ("[\"a\"", ",{}]"),
        ("[7", ",{}]"),
        ("[[1,2]", ",{}]"),
    ] {
        let body = format!("{event}{rest}");
        let complete = Progress::Complete { end: event.len() };
        assert_eq!(end_of(&[body.as_bytes()]), complete, "{body:?}");
        let bytes: Vec<_> = body.as_bytes().chunks(1).collect();
        assert_eq!(end_of(&bytes), complete, "{body:?} byte by byte");
        for cut in 0..body.len() {
            let (head, tail) = body.as_bytes().split_at(cut);
            assert_eq!(end_of(&[head, tail]), complete, "{body:?} cut at {cut}");
        }
    }
}

#[test]
fn an_event_that_has_not_ended_needs_more() {
    for body in [
        "",
        "\n",
        "data: {}",
        "data: {}\r\n",
        "data: {}\n",
        "data: {}\r",
        // The end may be `\r` or `\r\n`.
        "data: {}\r\n\r",
        "\n\n\n",
        ": comment\n\n",
        "retry: 100\n\n",
        "data:\n\n",
        "data: \r\n\r\n",
        "event: a\nid: 1\n\n",
        "[",
        "[ \n",
        "[{\"a\":\"}",
        "{\"a\":{}",
        "[{\"a\":\"\\",
    ] {
        assert_eq!(end_of(&[body.as_bytes()]), Progress::NeedMore, "{body:?}");
        let bytes: Vec<_> = body.as_bytes().chunks(1).collect();
        assert_eq!(end_of(&bytes), Progress::NeedMore, "{body:?} byte by byte");
    }
}

#[test]
fn an_event_beyond_the_limit_is_not_waited_for() {
    let exact = format!("data: {}\n\n", "a".repeat(LIMIT - 8));
    assert_eq!(end_of(&[exact.as_bytes()]), Progress::Complete { end: LIMIT });
    let long = format!("data: {}\n\n", "a".repeat(LIMIT - 7));
    assert_eq!(end_of(&[long.as_bytes()]), Progress::TooLong);
    let bytes: Vec<_> = long.as_bytes().chunks(1).collect();
    assert_eq!(end_of(&bytes), Progress::TooLong);
    assert_eq!(end_of(&["[".repeat(LIMIT + 1).as_bytes()]), Progress::TooLong);
}

#[test]
fn what_was_found_stays_found() {
    let mut first = FirstEvent::new(LIMIT);
    assert_eq!(first.push(b"data: a\n\nda"), Progress::Complete { end: 9 });
    assert_eq!(first.push(b"ta: b\n\n"), Progress::Complete { end: 9 });
    assert_eq!(first.push(&[b'a'; 2 * LIMIT]), Progress::Complete { end: 9 });
}

proptest! {
    #[test]
    fn however_a_stream_is_cut_its_first_event_ends_at_the_same_byte(
        body in "([\\[{]|data: |:)?(data: ?|retry: 1|[a{}\"\\\\,:\\]\\[ \r\n]|\r\n|\n\n){0,60}",
        cuts in proptest::collection::vec(0..80_usize, 0..10),
        limit in 0..70_usize,
    ) {
        let mut whole = FirstEvent::new(limit);
        let expected = whole.push(body.as_bytes());
        let mut cuts: Vec<_> = cuts.into_iter().map(|cut| cut.min(body.len())).collect();
        cuts.extend([0, body.len()]);
        cuts.sort_unstable();
        let mut first = FirstEvent::new(limit);
        let mut progress = Progress::NeedMore;
        for cut in cuts.windows(2) {
            progress = first.push(&body.as_bytes()[cut[0]..cut[1]]);
        }
        prop_assert_eq!(progress, expected);
    }
}

#[test]
fn comments_and_blank_lines_are_no_beginning() {
    let begun = |text: &[u8]| {
        let mut finder = FirstEvent::new(1_000);
        finder.push(text);
        finder.has_begun()
    };
    for text in [&b""[..], b"\r\n", b": ping\n\n", b": ping\n\n: ping\n", b":\r\n\r\n", b"retry: 1\n\n"] {
        assert!(!begun(text), "{text:?}");
    }
    for text in [&b"d"[..], b": ping\n\ndata", b"{", b"[", b": ping", b": ping\n\ndata: {}\n"] {
        assert!(begun(text), "{text:?}");
    }
}
