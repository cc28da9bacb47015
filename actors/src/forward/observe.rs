//! Watches an answer's body as it passes, without changing it: the token usage, the end of the first event, an error
//! event, at the start or later, and the names that the ledger is to know before the client reads them. Sees through
//! gzip; any other coding passes unseen.

use super::learning::Learner;
use crate::upstream::Coding;
use flate2::write::MultiGzDecoder;
use gemini::{
    classify::{StreamError, stream_error},
    events::{FirstEvent, Progress},
    names::{AnswerNames, Learnt},
    usage::{Usage, UsageScanner},
};
use std::io::{self, Write};

/// No more than this is decoded of one answer: what comes after passes unseen, so a bomb costs a bounded effort.
const MAX_DECODED: u64 = 256 * 1024 * 1024;

/// A first event longer than this is not waited for.
const MAX_FIRST_EVENT: usize = 256 * 1024;

/// What is watched in the decoded body.
struct Watch {
    /// The names of what the answer has made or found, where it can have any.
    names: Option<Box<AnswerNames>>,
    usage: UsageScanner,
    /// The search for the end of the first event, while that is of interest.
    first: Option<First>,
    /// Whether the body is a stream of events, in which an error may come late.
    events: bool,
    /// Whether what was seen ends where an event does.
    at_boundary: bool,
    /// The error that a later event stated.
    error: Option<LateError>,
    decoded: u64,
}

/// The body up to the end of its first event.
struct First {
    finder: FirstEvent,
    text: Vec<u8>,
    progress: Progress,
}

/// An error that came after the first event: the answer's status had said success.
#[derive(Clone, Debug)]
pub(super) struct LateError {
    pub(super) status: u16,
    pub(super) body: Vec<u8>,
}

/// What a body has said, as far as it came.
pub(super) struct Observed {
    /// What it said was used.
    pub(super) usage: Option<Usage>,
    /// The error that an event after the first stated.
    pub(super) late_error: Option<LateError>,
}

/// The watcher of one body.
pub(super) struct Observer {
    decoding: Decoding,
    /// Takes the names that are found, where there is something to learn.
    learner: Option<Box<Learner>>,
}

#[expect(clippy::large_enum_variant, reason = "the observer is boxed, and plain is the common case")]
enum Decoding {
    Plain(Watch),
    Gzip(Box<MultiGzDecoder<Watch>>),
    Closed,
}

impl Observer {
    /// `events` says whether to look for the first event, `names` which names.
    pub(super) fn new(coding: Coding, events: bool, names: Option<AnswerNames>) -> Self {
        let watch = Watch {
            names: names.map(Box::new),
            usage: UsageScanner::new(),
            first: events.then(|| First {
                finder: FirstEvent::new(MAX_FIRST_EVENT),
                text: Vec::new(),
                progress: Progress::NeedMore,
            }),
            events,
            at_boundary: true,
            error: None,
            decoded: 0,
        };
        let decoding = match coding {
            Coding::Identity => Decoding::Plain(watch),
            Coding::Gzip => Decoding::Gzip(Box::new(MultiGzDecoder::new(watch))),
            Coding::Other => Decoding::Closed,
        };
        Self { decoding, learner: None }
    }

    /// Hands the names found so far, and all that come, to `learner`.
    pub(super) fn teach(&mut self, learner: Box<Learner>) {
        self.learner = Some(learner);
        self.tell_names(AnswerNames::take);
    }

    /// Looks at the next bytes, before the client has them.
    pub(super) fn see(&mut self, bytes: &[u8]) {
        let seen = match &mut self.decoding {
            Decoding::Plain(watch) => watch.write_all(bytes),
            Decoding::Gzip(decoder) => decoder.write_all(bytes).and_then(|()| decoder.flush()),
            Decoding::Closed => Ok(()),
        };
        if seen.is_err() {
            self.decoding = Decoding::Closed; // not what it says it is: the client will see, too
        }
        self.tell_names(AnswerNames::take);
    }

    /// Says what the body has said. To be called once it has ended or broken off, before the client has its last bytes:
    /// the end brings names of its own.
    pub(super) fn end(&mut self) -> Observed {
        if let Decoding::Gzip(decoder) = &mut self.decoding {
            let _ = decoder.try_finish();
        }
        self.tell_names(AnswerNames::finish);
        match self.watch_mut() {
            Some(watch) => Observed { usage: watch.usage.finish(), late_error: watch.error.take() },
            None => Observed { usage: None, late_error: None },
        }
    }

    fn tell_names(&mut self, found: fn(&mut AnswerNames) -> Vec<Learnt>) {
        let Self { decoding, learner: Some(learner) } = self else { return };
        let names = match decoding {
            Decoding::Plain(watch) => &mut watch.names,
            Decoding::Gzip(decoder) => &mut decoder.get_mut().names,
            Decoding::Closed => return,
        };
        if let Some(names) = names {
            learner.keep(found(names));
        }
    }

    /// Whether there is no reason to hold the head any longer.
    pub(super) fn first_event_is_here(&self) -> bool {
        self.watch()
            .is_none_or(|watch| watch.first.as_ref().is_none_or(|first| first.progress != Progress::NeedMore))
    }

    /// The error that the first event states.
    pub(super) fn first_event_error(&self) -> Option<StreamError<'_>> {
        stream_error(&self.watch()?.first.as_ref()?.text)
    }

    /// Ends the search for the first event.
    pub(super) fn forget_first_event(&mut self) {
        match &mut self.decoding {
            Decoding::Plain(watch) => watch.first = None,
            Decoding::Gzip(decoder) => decoder.get_mut().first = None,
            Decoding::Closed => {}
        }
    }

    fn watch_mut(&mut self) -> Option<&mut Watch> {
        match &mut self.decoding {
            Decoding::Plain(watch) => Some(watch),
            Decoding::Gzip(decoder) => Some(decoder.get_mut()),
            Decoding::Closed => None,
        }
    }

    fn watch(&self) -> Option<&Watch> {
        match &self.decoding {
            Decoding::Plain(watch) => Some(watch),
            Decoding::Gzip(decoder) => Some(decoder.get_ref()),
            Decoding::Closed => None,
        }
    }
}

impl Write for Watch {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.decoded += bytes.len() as u64;
        if self.decoded > MAX_DECODED {
            return Err(io::ErrorKind::FileTooLarge.into());
        }
        if let Some(first) = &mut self.first
            && first.progress == Progress::NeedMore
        {
            first.text.extend_from_slice(bytes);
            first.progress = first.finder.push(bytes);
        }
        if self.events && self.first.is_none() && self.error.is_none() {
            if self.at_boundary
                && let Some(error) = stream_error(bytes)
            {
                let body = error.body[..error.body.len().min(MAX_FIRST_EVENT)].to_vec();
                self.error = Some(LateError { status: error.status, body });
            }
            self.at_boundary = ends_an_event(bytes);
        }
        if let Some(names) = &mut self.names {
            names.see(bytes);
        }
        self.usage.push(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Whether an event ends here: a blank line, or an element of a JSON array with its end of line.
fn ends_an_event(bytes: &[u8]) -> bool {
    bytes.ends_with(b"\n\n") || bytes.ends_with(b"\r\n\r\n") || bytes.trim_ascii_end().ends_with(b"}")
}
