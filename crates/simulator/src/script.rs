//! A body as a list of steps: what to send, when to wait, where to break. Faults of the body are edits of that list.
//! Pure; `respond` plays it.

use std::time::Duration;

use bytes::Bytes;
use flate2::{Compress, Compression, Crc, FlushCompress};

use crate::answer::{Events, Framing, Payload};
use crate::coding::{Coding, Encoder};
use crate::error::{ApiError, Frame};
use crate::fault::{Delivery, Fault};
use crate::line::Break;

/// One step of a body.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Step {
    Send(Bytes),
    Wait(Duration),
    /// Nothing more, ever.
    Stall,
    Break(Break),
    /// `RST_STREAM` with this code, or RST where there are no streams.
    ResetStream(u32),
}

pub(crate) type Steps = Box<dyn Iterator<Item = Step> + Send + Sync>;

/// What `respond` plays.
pub(crate) struct Script {
    pub(crate) steps: Steps,
    /// The length to announce, where it is known.
    pub(crate) content_length: Option<u64>,
    /// The `content-encoding` to announce.
    pub(crate) coding: Option<Coding>,
}

impl Script {
    /// `coding`: the client takes it. `interval`: between events.
    pub(crate) fn new(
        payload: Payload,
        interval: Duration,
        coding: Option<Coding>,
        fault: Option<&Fault>,
        delivery: Option<Delivery>,
    ) -> Self {
        let script = Self::whole(payload, interval, coding, fault);
        let script = match (fault, delivery) {
            (Some(Fault::Slow { bytes, every_ms }), _) => script.slowed(*bytes, *every_ms),
            _ => script,
        };
        match delivery {
            None => script,
            Some(Delivery::Drip { bytes, every_ms }) => script.slowed(bytes, every_ms),
            Some(Delivery::Stall { after_bytes }) => script.ended(after_bytes, Step::Stall),
            Some(Delivery::Cut { after_bytes }) => script.ended(after_bytes, Step::Break(Break::Fin)),
            Some(Delivery::Reset { after_bytes }) => script.ended(after_bytes, Step::Break(Break::Reset)),
        }
    }

    fn whole(payload: Payload, interval: Duration, coding: Option<Coding>, fault: Option<&Fault>) -> Self {
        match fault {
            Some(Fault::BadGzip) => {
                // A true gzip header, then a block of the reserved type.
                let bytes =
                    Bytes::from_static(b"\x1f\x8b\x08\x00\x00\x00\x00\x00\x00\xffthis is not deflated data");
                return Self {
                    steps: Box::new([Step::Send(bytes)].into_iter()),
                    content_length: None,
                    coding: Some(Coding::Gzip),
                };
            }
            Some(Fault::GzipBomb { mib }) => {
                return Self {
                    steps: Box::new(bomb(*mib).map(Step::Send)),
                    content_length: None,
                    coding: Some(Coding::Gzip),
                };
            }
            _ => {}
        }
        let (steps, mut content_length) = match (payload, fault.and_then(edit)) {
            (Payload::Whole(body), None) => {
                if let Some(coding) = coding {
                    let steps = Box::new([Step::Send(coding.whole(&body))].into_iter());
                    return Self { steps, content_length: None, coding: Some(coding) };
                }
                let length = body.len() as u64;
                (Box::new([Step::Send(body)].into_iter()) as Steps, Some(length))
            }
            (Payload::Whole(_), Some(Edit { then: Then::Error { body, .. }, .. })) => {
                let body = Bytes::from(body + "\n");
                let length = body.len() as u64;
                (Box::new([Step::Send(body)].into_iter()) as Steps, Some(length))
            }
            (Payload::Whole(body), Some(Edit { after, then })) => {
                let length = body.len() as u64;
                let halves = [body.slice(..body.len() / 2), body.slice(body.len() / 2..)];
                // Both halves would be the whole answer: a broken one lacks at least the second.
                let sent = usize::try_from(after).unwrap_or(usize::MAX).min(1);
                let steps = halves.into_iter().take(sent).map(Step::Send).chain(then.last_step());
                (Box::new(steps) as Steps, Some(length))
            }
            (Payload::Events(events), None) => {
                let events_alone = events.framing == Framing::JsonArray;
                let comments = fault.filter(|_| !events_alone).map_or_else(none, comments);
                (Box::new(comments.chain(paced(events.frames, interval, events.closing))) as Steps, None)
            }
            (Payload::Events(Events { framing, frames, .. }), Some(Edit { after, then })) => {
                let frames = frames.take(usize::try_from(after).unwrap_or(usize::MAX));
                let last: Steps = match then {
                    Then::Error { body, framed } => {
                        let frame =
                            if framed { framed_error(framing, &body, after == 0) } else { body.into() };
                        Box::new([Step::Send(frame)].into_iter())
                    }
                    then => Box::new(then.last_step().into_iter()),
                };
                (Box::new(paced(Box::new(frames), interval, None).chain(last)) as Steps, None)
            }
        };
        let steps = if let Some(coding) = coding {
            content_length = None;
            Box::new(Coded { inner: steps, encoder: Some(Encoder::new(coding)) })
        } else {
            steps
        };
        Self { steps, content_length, coding }
    }

    fn slowed(self, size: usize, every_ms: u64) -> Self {
        let (size, pause) = (size.max(1), Duration::from_millis(every_ms));
        let mut first = true;
        let steps = self.steps.flat_map(move |step| -> Steps {
            let Step::Send(bytes) = step else { return Box::new([step].into_iter()) };
            let skip_pause = std::mem::take(&mut first);
            Box::new((0..bytes.len()).step_by(size).flat_map(move |at| {
                let pause = (at > 0 || !skip_pause).then_some(Step::Wait(pause));
                pause.into_iter().chain([Step::Send(bytes.slice(at..bytes.len().min(at + size)))])
            }))
        });
        Self { steps: Box::new(steps), ..self }
    }

    /// Only so many bytes, then the last step. A body that is no longer than that lacks its last byte.
    fn ended(self, after_bytes: u64, last: Step) -> Self {
        let most = self.content_length.map_or(u64::MAX, |length| length.saturating_sub(1));
        let mut left = after_bytes.min(most);
        let mut steps = self.steps;
        let mut last = Some(last);
        let steps = std::iter::from_fn(move || {
            if left == 0 {
                return last.take();
            }
            match steps.next() {
                Some(Step::Send(bytes)) => {
                    let taken = bytes.len().min(usize::try_from(left).unwrap_or(usize::MAX));
                    left -= taken as u64;
                    Some(Step::Send(bytes.slice(..taken)))
                }
                Some(step) => Some(step),
                None => last.take(),
            }
        });
        Self { steps: Box::new(steps), ..self }
    }
}

fn none() -> Steps {
    Box::new(std::iter::empty())
}

/// Comments of server-sent events, as proxies and some servers send them to keep a connection.
fn comments(fault: &Fault) -> Steps {
    let Fault::Comments { count, every_ms } = fault else { return none() };
    let pause = Step::Wait(Duration::from_millis(*every_ms));
    Box::new(
        (0..*count).flat_map(move |_| [pause.clone(), Step::Send(Bytes::from_static(b": keep-alive\n\n"))]),
    )
}

/// Where the list is cut, and what comes instead of the rest.
struct Edit {
    after: u64,
    then: Then,
}

enum Then {
    Stall,
    Break(Break),
    ResetStream(u32),
    /// JSON text; bare and indented if it is not `framed`.
    Error {
        body: String,
        framed: bool,
    },
}

impl Then {
    fn last_step(&self) -> Option<Step> {
        match self {
            Self::Stall => Some(Step::Stall),
            Self::Break(how) => Some(Step::Break(*how)),
            Self::ResetStream(code) => Some(Step::ResetStream(*code)),
            Self::Error { .. } => None,
        }
    }
}

fn edit(fault: &Fault) -> Option<Edit> {
    let (after, then) = match fault {
        Fault::Stall { after_events } => (*after_events, Then::Stall),
        Fault::Reset { after_events } => (*after_events, Then::Break(Break::Reset)),
        Fault::Truncate { after_events } => (*after_events, Then::Break(Break::Fin)),
        Fault::ResetStream { after_events, code } => (*after_events, Then::ResetStream(*code)),
        Fault::ErrorEvent { after_events, body, framed } => {
            let body = match body {
                Some(serde_json::Value::String(text)) => text.clone(),
                Some(value) if *framed => value.to_string(),
                Some(value) => format!("{value:#}"),
                None if *framed => ApiError::usual(503).line(),
                None => ApiError::usual(503).pretty(Frame::Object).trim_end().to_owned(),
            };
            (*after_events, Then::Error { body, framed: *framed })
        }
        _ => return None,
    };
    Some(Edit { after, then })
}

fn framed_error(framing: Framing, body: &str, first: bool) -> Bytes {
    let mut frame = Vec::from(framing.frame(body, first));
    if framing == Framing::JsonArray {
        frame.push(b']');
    }
    frame.into()
}

fn paced(
    frames: Box<dyn Iterator<Item = Bytes> + Send + Sync>,
    interval: Duration,
    closing: Option<Bytes>,
) -> Steps {
    let mut first = true;
    let steps = frames.flat_map(move |frame| {
        let pause = (!first && !interval.is_zero()).then_some(Step::Wait(interval));
        first = false;
        pause.into_iter().chain([Step::Send(frame)])
    });
    Box::new(steps.chain(closing.map(Step::Send)))
}

/// Compresses what is sent, each piece so that it can be read at once.
struct Coded {
    inner: Steps,
    encoder: Option<Encoder>,
}

impl Iterator for Coded {
    type Item = Step;

    fn next(&mut self) -> Option<Step> {
        match self.inner.next() {
            Some(Step::Send(bytes)) => Some(Step::Send(self.encoder.as_mut()?.write(&bytes))),
            Some(step) => Some(step),
            None => Some(Step::Send(self.encoder.take()?.finish())),
        }
    }
}

/// Gzip of `mib` MiB of spaces, about 1 KiB each. One deflated MiB is made and repeated: a full flush makes it stand alone.
fn bomb(mib: u64) -> impl Iterator<Item = Bytes> {
    const MIB: usize = 1024 * 1024;
    let spaces = vec![b' '; MIB];
    let mut block = Vec::with_capacity(64 * 1024);
    // Writing to memory with room to spare cannot fail.
    let _ = Compress::new(Compression::best(), false).compress_vec(&spaces, &mut block, FlushCompress::Full);
    let block = Bytes::from(block);

    let mut one = Crc::new();
    one.update(&spaces);
    let mut all = Crc::new();
    for _ in 0..mib {
        all.combine(&one);
    }
    let size = (mib * MIB as u64).to_le_bytes();
    let mut trailer = vec![0x03, 0x00]; // the final, empty block
    trailer.extend_from_slice(&all.sum().to_le_bytes());
    trailer.extend_from_slice(&size[..4]);

    let header = Bytes::from_static(b"\x1f\x8b\x08\x00\x00\x00\x00\x00\x00\xff");
    let blocks = (0..mib).map(move |_| block.clone());
    std::iter::once(header).chain(blocks).chain(std::iter::once(trailer.into()))
}
