//! Logging: `log` and `fern`, with every line handed to a queue whose own thread does the writing, so that a full disk
//! or a slow console never holds up a worker. What a transaction's line looks like is in `transaction_line`.

mod console;
mod file;
mod line;
mod outlet;
mod queue;
mod switches;
mod transaction_line;
mod troubles;

pub(crate) use line::timestamp;
pub use transaction_line::{Told, transaction_line};

use crate::{
    printable::Printable,
    settings::{Log, LogFormat, SettingsError},
};
use file::{LogFile, Readers, Rotation};
use gemini_balance_actors::health::{Health, State};
use outlet::{LineWriter, LostLines, NoticeForm, Nowhere, Outlet};
use queue::Queue;
use std::{
    io::Write,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};
use switches::Switches;
use troubles::Troubles;

/// The target of transaction lines.
pub const TRANSACTION: &str = "transaction";
/// The target of lines with bodies.
pub const BODIES: &str = "bodies";
/// The target of lines on what an operator has changed.
pub(crate) const AUDIT: &str = "audit";

/// The name of the log files on the health board.
const COMPONENT: &str = "logs";
/// How long a trouble stands on the health board at least, so that a disk with a little room now and then is no storm there.
const SETTLE: Duration = Duration::from_secs(5);

/// Keeps the writing threads; flushes them when told.
#[derive(Clone)]
pub struct Logging {
    queues: Vec<Queue>,
    bodies: Bodies,
    switches: Arc<Switches>,
    /// The files that cannot be written; nothing where no files are wanted.
    troubles: Option<Arc<Troubles>>,
    lost: LostLines,
}

/// The log of bodies, whose file may change.
#[derive(Clone)]
struct Bodies {
    queue: Queue,
    file: Arc<Mutex<Option<PathBuf>>>,
    rotation: Rotation,
}

impl Bodies {
    /// Writes to this file from now on, or to none.
    fn log_to(&self, wanted: Option<&Path>, troubles: &Arc<Troubles>) {
        let mut file = self.file.lock().unwrap_or_else(PoisonError::into_inner);
        if file.as_deref() == wanted {
            return;
        }
        if let Some(former) = file.take() {
            troubles.over(&former);
        }
        *file = wanted.map(Path::to_owned);
        let (path, troubles, rotation) = (file.clone(), Arc::clone(troubles), self.rotation);
        // On the writing thread, which may wait for the disk.
        self.queue.replace(Box::new(move || match path {
            Some(path) => {
                Box::new(LogFile::open("log.debug_file", &path, Readers::Owner, rotation, troubles))
            }
            None => Box::new(Nowhere),
        }));
    }
}

/// Returns the level that is set.
pub(crate) fn level_of(settings: &Log) -> Result<log::LevelFilter, SettingsError> {
    // Python names two levels differently, and the original's files hold those.
    let name = match settings.level.trim().to_ascii_lowercase().as_str() {
        "warning" => "warn".to_owned(),
        "critical" | "fatal" => "error".to_owned(),
        other => other.to_owned(),
    };
    let refused =
        |_| SettingsError::refused("log.level", "must be one of off, error, warn, info, debug, trace");
    name.parse().map_err(refused)
}

impl Logging {
    /// Sets the logger up. Fails when a level is unknown. A file that cannot be written is tried again for as long as the
    /// process lives, and [`Self::report`] tells of it.
    pub fn start(settings: &Log) -> Result<Self, SettingsError> {
        let level = level_of(settings)?;
        let mut queues = Vec::new();
        let lost = LostLines::default();
        let mut line_to = |out: Box<dyn Outlet>, form| {
            let queue = Queue::start(LineWriter::new(out, form, lost.clone()));
            queues.push(queue.clone());
            Box::new(queue) as Box<dyn Write + Send>
        };
        let troubles = settings.files.then(Arc::<Troubles>::default);
        let rotation = Rotation { bytes: settings.rotate_bytes as u64, keep_files: settings.keep_files };
        let file = |setting, path: &Path, readers| {
            let troubles = Arc::clone(troubles.as_ref()?);
            Some(Box::new(LogFile::open(setting, path, readers, rotation, troubles)) as Box<dyn Outlet>)
        };
        let app_log = file("log.dir", &settings.dir.join("app.log"), Readers::Group);
        let format = settings.format;
        let application = fern::Dispatch::new()
            .format(move |out, message, record| match format {
                LogFormat::Text => out.finish(format_args!(
                    "{} {:5} {}: {}",
                    line::timestamp(),
                    record.level(),
                    record.target(),
                    Printable(message)
                )),
                LogFormat::Json => out.finish(format_args!(
                    r#"{{"time":"{}","level":"{}","target":"{}","message":{}}}"#,
                    line::timestamp(),
                    record.level(),
                    record.target(),
                    line::JsonText(&message.to_string())
                )),
            })
            .filter(|metadata| ![TRANSACTION, BODIES, AUDIT].contains(&metadata.target()))
            .chain(line_to(console::stdout(), NoticeForm::Application(format)));
        let application = match app_log {
            Some(out) => application.chain(line_to(out, NoticeForm::Application(format))),
            None => application,
        };
        let switches = Arc::new(Switches::new(settings.transactions));
        let mut root = fern::Dispatch::new()
            .filter({
                let switches = Arc::clone(&switches);
                move |line| switches.admit(line)
            })
            .chain(application);
        if settings.transactions {
            // Who wants no files wants the records all the same: they go where the rest goes.
            let out = file("log.dir", &settings.dir.join("transactions.log"), Readers::Group);
            root = root.chain(
                fern::Dispatch::new()
                    .filter(|metadata| metadata.target() == TRANSACTION)
                    .chain(line_to(out.unwrap_or_else(console::stdout), NoticeForm::Record)),
            );
        }
        let out = troubles.as_ref().map(|troubles| {
            let (path, troubles) = (settings.dir.join("audit.log"), Arc::clone(troubles));
            Box::new(LogFile::unopened("log.dir", &path, Readers::Group, rotation, troubles))
                as Box<dyn Outlet>
        });
        root = root.chain(
            fern::Dispatch::new()
                .filter(|metadata| metadata.target() == AUDIT)
                .chain(line_to(out.unwrap_or_else(console::stdout), NoticeForm::Record)),
        );
        // What clients say goes nowhere but into the file that was asked for.
        let bodies = Queue::start(LineWriter::new(Box::new(Nowhere), NoticeForm::Record, lost.clone()));
        root = root.chain(
            fern::Dispatch::new()
                .filter(|metadata| metadata.target() == BODIES)
                .chain(Box::new(bodies.clone()) as Box<dyn Write + Send>),
        );
        queues.push(bodies.clone());
        root.apply().map_err(|_| SettingsError::refused("log", "is set up already"))?;
        std::panic::set_hook(Box::new(|panic| {
            let place = panic
                .location()
                .map_or_else(String::new, |place| format!(" at {}:{}", place.file(), place.line()));
            let payload = panic.payload();
            let text = payload
                .downcast_ref::<&str>()
                .copied()
                .or_else(|| payload.downcast_ref::<String>().map(String::as_str));
            log::error!(target: "panic", "{}{place}", text.unwrap_or("no message"));
        }));
        let bodies = Bodies { queue: bodies, file: Arc::default(), rotation };
        let logging = Self { queues, bodies, switches, troubles, lost };
        logging.apply(settings, level);
        Ok(logging)
    }

    /// Takes what can change while the process lives: the level, and whether and where bodies are logged.
    pub(crate) fn apply(&self, settings: &Log, level: log::LevelFilter) {
        let wanted = settings.debug_enabled.then_some(&settings.debug_file);
        if let Some(troubles) = &self.troubles {
            self.bodies.log_to(wanted.map(PathBuf::as_path), troubles);
        }
        self.switches.set(level, wanted.is_some() && self.troubles.is_some());
        log::set_max_level(self.switches.finest());
        if wanted.is_some() && self.troubles.is_none() {
            log::warn!(target: "log", "log.debug_enabled is on and log.files is off: no bodies are logged");
        }
    }

    /// Lets go of the files and opens them anew, as after others have moved them away.
    pub fn reopen(&self) {
        for queue in &self.queues {
            queue.reopen();
        }
    }

    /// Puts onto the health board whether the files can be written, for as long as it is polled.
    pub async fn report(self, health: Arc<Health>) {
        let Some(troubles) = &self.troubles else { return };
        let mut changes = troubles.changes();
        let mut said: Option<Option<String>> = None;
        loop {
            let reason = troubles.reason();
            let is_trouble = reason.is_some();
            if said.as_ref() != Some(&reason) {
                let state = if is_trouble { State::Degraded } else { State::Up };
                health.set(COMPONENT, state, reason.clone());
                said = Some(reason);
            }
            if is_trouble {
                tokio::time::sleep(SETTLE).await;
                troubles.clear();
                if troubles.reason().is_none() {
                    continue;
                }
            }
            if changes.changed().await.is_err() {
                return;
            }
        }
    }

    /// How many lines all logs have lost since the process began.
    pub fn lines_lost(&self) -> u64 {
        self.lost.count()
    }

    /// Waits until what was logged so far is written, but not for ever.
    pub fn flush(&self) {
        for queue in &self.queues {
            queue.drain(Duration::from_secs(2));
        }
    }
}
