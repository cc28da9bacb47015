//! Event streams: where the first event ends and what the data of each is do not depend on how the body is cut, and are what a
//! slow reading of the whole body finds.

use crate::pieces;
use gemini::{
    event_data::EventData,
    events::{FirstEvent, Progress},
};

/// How much may be held back.
const LIMIT: usize = 512;

/// The data of all events of a body, read as a whole.
fn data_of(body: &[u8]) -> Vec<Vec<u8>> {
    let (mut events, mut data, mut is_bare) = (Vec::new(), Vec::<u8>::new(), false);
    let lines = body.split(|byte| *byte == b'\n').chain(std::iter::once(&b""[..]));
    let count = body.split(|byte| *byte == b'\n').count();
    for (at, line) in lines.enumerate() {
        let line = line.strip_suffix(b"\r").unwrap_or(line);
        let ends = line.is_empty() && !is_bare || at == count;
        match line {
            _ if ends && data.is_empty() => {}
            _ if ends => events.push(std::mem::take(&mut data)),
            _ if is_bare => data.extend(line),
            [b'd', b'a', b't', b'a', b':', rest @ ..] => {
                if !data.is_empty() {
                    data.push(b'\n');
                }
                data.extend(rest.strip_prefix(b" ").unwrap_or(rest));
            }
            _ if matches!(line.trim_ascii_start().first(), Some(b'{' | b'[')) => {
                is_bare = true;
                data.extend(line);
            }
            _ => {}
        }
    }
    events
}

fn first_end(body: &[u8], size: u8) -> Progress {
    let mut first = FirstEvent::new(LIMIT);
    let mut progress = Progress::NeedMore;
    let mut seen = 0;
    for piece in pieces(body, size) {
        seen += piece.len();
        progress = first.push(piece);
        match progress {
            Progress::Complete { end } => assert!(end <= seen && end <= LIMIT, "{end} of {seen}"),
            Progress::NeedMore => assert!(seen <= LIMIT),
            Progress::TooLong => assert!(seen > LIMIT),
        }
        if progress != Progress::NeedMore {
            assert_eq!(first.push(b"data: more\n\n"), progress, "it stays what it is");
            break;
        }
    }
    progress
}

/// See the module.
pub fn run(input: &[u8]) {
    let [size, body @ ..] = input else { return };
    let expected = data_of(body);
    for size in [0, 1, *size] {
        let (mut found, mut data) = (Vec::new(), EventData::default());
        for piece in pieces(body, size) {
            data.push(piece, |event| found.push(event.to_vec())).expect("no event is so long");
        }
        data.finish(|event| found.push(event.to_vec()));
        assert_eq!(found, expected);
    }

    let whole = first_end(body, 0);
    for size in [1, *size] {
        let cut = first_end(body, size);
        // What comes in pieces may be found too long, or whole, before the rest of it is there.
        let agrees = whole == cut || whole == Progress::TooLong || cut == Progress::TooLong;
        assert!(agrees && (body.len() > LIMIT || whole == cut), "{whole:?} in one piece, {cut:?} in pieces");
    }
    if let Progress::Complete { end } = whole {
        // It ends there whatever follows, and not before. A return, or a number in an array, ends where the next byte shows it.
        assert_eq!(first_end(&body[..body.len().min(end + 1)], 1), whole);
        assert!(
            !matches!(first_end(&body[..end - 1], 0), Progress::Complete { end: before } if before == end)
        );
    }
}
