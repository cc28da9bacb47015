//! A queue of log lines with a thread that writes them. Bounded: when the writer falls too far behind, lines are dropped
//! and counted, and the count is written once there is room. A worker only ever appends to a buffer under a short lock;
//! the writer is woken once for a burst of lines, not once for each.

use super::outlet::{LineWriter, LostLines, Outlet};
use std::{
    io::{self, Write},
    sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError},
    thread,
    time::{Duration, Instant},
};

/// How much may wait to be written.
const MAX_WAITING_BYTES: usize = 4 * 1024 * 1024;
/// How long it takes until the loss of lines is tried to be said again, when no line comes meanwhile.
const TRY_AGAIN: Duration = Duration::from_secs(1);
/// How long lines gather before they are written together.
const GATHER: Duration = Duration::from_millis(20);

#[derive(Default)]
struct Waiting {
    /// Lines that wait to be written, each whole.
    bytes: Vec<u8>,
    dropped: u64,
    writing: bool,
    reopen: bool,
    /// Makes the place that lines go to from now on.
    other: Option<MakeOutlet>,
}

/// Makes an outlet, on the writing thread.
pub(super) type MakeOutlet = Box<dyn FnOnce() -> Box<dyn Outlet> + Send>;

struct QueueState {
    waiting: Mutex<Waiting>,
    arrived: Condvar,
    written: Condvar,
}

/// The end that lines are written into. `flush` ends a line, which only then goes to the writer, whole: what fern formats
/// piece by piece takes the lock once.
pub(super) struct Queue {
    shared: Arc<QueueState>,
    line: Vec<u8>,
    lost: LostLines,
}

impl Clone for Queue {
    fn clone(&self) -> Self {
        Self { shared: Arc::clone(&self.shared), line: Vec::new(), lost: self.lost.clone() }
    }
}

impl QueueState {
    fn lock(&self) -> MutexGuard<'_, Waiting> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Returns when there is something to write or to reopen, or when it is time to try again to say that lines are lost.
    fn wait_for_work(&self, has_lost: bool) {
        let waiting = self.lock();
        let is_idle =
            |waiting: &mut Waiting| waiting.bytes.is_empty() && !waiting.reopen && waiting.other.is_none();
        if has_lost {
            drop(self.arrived.wait_timeout_while(waiting, TRY_AGAIN, is_idle));
        } else {
            drop(self.arrived.wait_while(waiting, is_idle));
        }
    }
}

impl Queue {
    /// Starts the writing thread, which lives as long as the process.
    pub(super) fn start(mut out: LineWriter) -> Self {
        let shared = Arc::new(QueueState {
            waiting: Mutex::default(),
            arrived: Condvar::new(),
            written: Condvar::new(),
        });
        let queue = Self { shared: Arc::clone(&shared), line: Vec::new(), lost: out.all_lost() };
        let write = move || {
            let mut batch = Vec::new();
            loop {
                shared.wait_for_work(out.has_lost());
                thread::sleep(GATHER);
                let (dropped, is_to_reopen, other) = {
                    let mut waiting = shared.lock();
                    batch.clear();
                    std::mem::swap(&mut batch, &mut waiting.bytes);
                    waiting.writing = true;
                    let is_to_reopen = std::mem::take(&mut waiting.reopen);
                    (std::mem::take(&mut waiting.dropped), is_to_reopen, waiting.other.take())
                };
                if let Some(other) = other {
                    out.replace(other());
                }
                if is_to_reopen {
                    out.reopen();
                }
                // A full disk is no reason to stop: what cannot be written is lost, and later lines may go through.
                out.write(&batch, dropped);
                shared.lock().writing = false;
                shared.written.notify_all();
            }
        };
        // Without the thread the lines are dropped and counted, which the caller cannot do better.
        let _ = thread::Builder::new().name("log-writer".to_owned()).spawn(write);
        queue
    }

    /// Has the file let go and opened anew, before the next lines are written.
    pub(super) fn reopen(&self) {
        self.shared.lock().reopen = true;
        self.shared.arrived.notify_one();
    }

    /// Has lines go to another place, those that wait included.
    pub(super) fn replace(&self, other: MakeOutlet) {
        self.shared.lock().other = Some(other);
        self.shared.arrived.notify_one();
    }

    /// Waits until all whole lines are written.
    pub(super) fn drain(&self, at_most: Duration) {
        let deadline = Instant::now() + at_most;
        let mut waiting = self.shared.lock();
        while !waiting.bytes.is_empty() || waiting.writing {
            let Some(left) = deadline.checked_duration_since(Instant::now()).filter(|left| !left.is_zero())
            else {
                return;
            };
            waiting =
                self.shared.written.wait_timeout(waiting, left).unwrap_or_else(PoisonError::into_inner).0;
        }
    }
}

impl Write for Queue {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.line.extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        let was_empty = {
            let mut waiting = self.shared.lock();
            let was_empty = waiting.bytes.is_empty();
            if waiting.bytes.len() + self.line.len() <= MAX_WAITING_BYTES {
                waiting.bytes.extend_from_slice(&self.line);
            } else {
                waiting.dropped += 1;
                self.lost.add(1);
            }
            was_empty
        };
        self.line.clear();
        if was_empty {
            self.shared.arrived.notify_one();
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::logging::outlet::NoticeForm;

    #[derive(Clone, Default)]
    struct Sink(Arc<Mutex<Vec<u8>>>);

    impl Write for Sink {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.lock().unwrap().extend_from_slice(bytes);
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    impl Outlet for Sink {}
    impl Outlet for Stuck {}

    #[test]
    fn lines_are_written_whole_and_in_order() {
        let sink = Sink::default();
        let mut queue =
            Queue::start(LineWriter::new(Box::new(sink.clone()), NoticeForm::Record, LostLines::default()));
        for n in 0..1000 {
            write!(queue, "line {n}").unwrap();
            writeln!(queue).unwrap();
            queue.flush().unwrap();
        }
        queue.drain(Duration::from_secs(5));
        let text = String::from_utf8(sink.0.lock().unwrap().clone()).unwrap();
        let lines: Vec<_> = text.lines().map(str::to_owned).collect();
        assert_eq!(lines, (0..1000).map(|n| format!("line {n}")).collect::<Vec<_>>());
        assert!(text.ends_with('\n'));
    }

    #[test]
    fn lines_go_to_another_place_once_it_is_named() {
        let (one, other) = (Sink::default(), Sink::default());
        let mut queue =
            Queue::start(LineWriter::new(Box::new(one.clone()), NoticeForm::Record, LostLines::default()));
        let say = |queue: &mut Queue, text: &str| {
            writeln!(queue, "{text}").unwrap();
            queue.flush().unwrap();
            queue.drain(Duration::from_secs(5));
        };
        say(&mut queue, "first");
        let out = other.clone();
        let (made, is_made) = std::sync::mpsc::channel();
        queue.replace(Box::new(move || {
            let _ = made.send(());
            Box::new(out)
        }));
        is_made.recv_timeout(Duration::from_secs(5)).unwrap();
        say(&mut queue, "second");
        for (sink, text) in [(one, "first\n"), (other, "second\n")] {
            assert_eq!(String::from_utf8(sink.0.lock().unwrap().clone()).unwrap(), text);
        }
    }

    struct Stuck;

    impl Write for Stuck {
        fn write(&mut self, _: &[u8]) -> io::Result<usize> {
            thread::park();
            Ok(0)
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn a_stuck_writer_holds_nobody_up_and_memory_stays_bounded() {
        let mut queue =
            Queue::start(LineWriter::new(Box::new(Stuck), NoticeForm::Record, LostLines::default()));
        let line = vec![b'x'; 64 * 1024];
        for _ in 0..1000 {
            queue.write_all(&line).unwrap();
            queue.flush().unwrap();
        }
        let waiting = queue.shared.lock();
        assert!(waiting.bytes.len() <= MAX_WAITING_BYTES);
        assert!(waiting.dropped > 0);
    }
}
