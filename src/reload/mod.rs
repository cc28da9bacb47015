//! Hot reload: another configuration is put to use without a stop. SIGHUP, changed files and the operator ask for it; one
//! at a time it is read and checked whole as at the start, compared with the one in use (`plan`) and given to the parts of
//! the service (`apply`). Whatever is wrong, nothing changes. `service` starts it.

mod apply;
mod flat;
mod plan;
mod print;
mod shown;
mod state;
mod watch;

pub(crate) use apply::{Parts, current_settings};
pub(crate) use flat::FlatConfiguration;
pub(crate) use plan::Change;
pub(crate) use print::settings_print;
pub(crate) use shown::ShownSetting;
pub(crate) use state::{ReloadReport, ReloadState};

use crate::{configuration::Configuration, printable::Printable, settings::Settings};
use chrono::Utc;
use futures_util::FutureExt;
use plan::ReloadPlan;
use std::{
    fs,
    os::unix::fs::FileTypeExt,
    panic::AssertUnwindSafe,
    path::PathBuf,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};
use tokio::{
    sync::{
        mpsc::{self, error::TrySendError},
        oneshot,
    },
    time::{Instant, sleep_until},
};
use watch::FileWatch;

/// How often the files are looked at.
const EVERY: Duration = Duration::from_secs(2);

/// How many reloads may be asked for and not begun.
const WAITING: usize = 16;

/// What whoever asks for a reload of the demo is told.
const NO_SOURCES: &str =
    "this gateway was started without files or variables: there is nothing to read again";

/// A handle to the reloads: asks for one, and tells how they went. Cheap to clone.
#[derive(Clone)]
pub(crate) struct Reloads {
    asks: mpsc::Sender<Ask>,
    pub(crate) state: Arc<ReloadState>,
    /// Whether there is anything that the configuration could be read from again.
    has_sources: Arc<AtomicBool>,
}

/// A reload that is asked for.
enum Ask {
    /// SIGHUP asked for it.
    Signal,
    /// By the operator, who is answered.
    Operator(ReloadRequest, oneshot::Sender<Result<Reloaded, ReloadError>>),
}

/// Who asks for a reload.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Trigger {
    /// Files that have changed.
    Files,
    /// Somebody, who wants to know what came of it.
    Person,
}

/// What an operator asks for.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct ReloadRequest {
    /// Whether only to say what would change.
    pub(crate) dry_run: bool,
    /// The revision that the operator knows, if no other may be replaced.
    pub(crate) revision: Option<u64>,
}

/// A reload that found nothing wrong.
#[derive(Clone, Debug)]
pub(crate) struct Reloaded {
    /// Which configuration is in use now.
    pub(crate) revision: u64,
    /// What changed, or would change.
    pub(crate) changes: Vec<Change>,
    /// What needs a restart.
    pub(crate) restart_needed: Vec<String>,
}

/// Why there was no reload. Nothing has changed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum ReloadError {
    /// What is wrong with the configuration, in one line.
    Refused(String),
    /// Another revision is in use than the operator knows.
    Stale(u64),
    /// Nobody carries it out: the service is going down.
    Ended,
}

/// The asks, for whoever carries them out.
pub(crate) struct ReloadInbox(mpsc::Receiver<Ask>);

impl Reloads {
    /// Makes the handle. What is asked for waits until [`Reloader::run`].
    pub(crate) fn new() -> (Self, ReloadInbox) {
        let (asks, inbox) = mpsc::channel(WAITING);
        let state = Arc::new(ReloadState::new(Utc::now()));
        (Self { asks, state, has_sources: Arc::new(AtomicBool::new(true)) }, ReloadInbox(inbox))
    }

    /// Asks for a reload, on SIGHUP; `false` where there is none, as in the demo. Where many wait already, one of them will
    /// read what there is now.
    pub(crate) fn signal(&self) -> bool {
        !matches!(self.asks.try_send(Ask::Signal), Err(TrySendError::Closed(_)))
    }

    /// Reloads, on an operator's word.
    pub(crate) async fn ask(&self, request: ReloadRequest) -> Result<Reloaded, ReloadError> {
        let (answer, answered) = oneshot::channel();
        if self.asks.send(Ask::Operator(request, answer)).await.is_ok()
            && let Ok(result) = answered.await
        {
            return result;
        }
        // Nobody carries it out.
        Err(if self.has_sources.load(Ordering::Relaxed) {
            ReloadError::Ended
        } else {
            ReloadError::Refused(NO_SOURCES.to_owned())
        })
    }
}

/// Carries reloads out, one at a time.
pub(crate) struct Reloader {
    parts: Parts,
    state: Arc<ReloadState>,
    /// The settings that were read last and found good.
    settings: Settings,
    /// Those files, and of a configuration that was refused since.
    files: Vec<PathBuf>,
    started: FlatConfiguration,
    last: FlatConfiguration,
    watch: FileWatch,
    /// Whether the configuration has been read again yet: files may have changed while the service started.
    is_compared: bool,
}

/// A configuration that was read, and which files it was read from, as far as that is known.
struct Read {
    files: Vec<PathBuf>,
    configuration: Result<Box<(Configuration, FlatConfiguration)>, String>,
}

impl Reloader {
    /// Begins with the configuration that the service was started with.
    pub(crate) fn new(parts: Parts, reloads: &Reloads, configuration: &Configuration) -> Self {
        let flat = FlatConfiguration::of(configuration);
        let settings = configuration.settings.clone();
        let files = settings.files();
        let mut watch = FileWatch::default();
        reloads.has_sources.store(settings.has_sources(), Ordering::Relaxed);
        let is_compared = can_be_reread(&files).is_err();
        if is_compared {
            // Only who asks is told that it cannot be.
            watch.consider(&files);
        }
        Self {
            parts,
            state: Arc::clone(&reloads.state),
            settings,
            files,
            started: flat.clone(),
            last: flat,
            watch,
            is_compared,
        }
    }

    /// Carries out what is asked for, and what files that have changed ask for, until the process ends.
    pub(crate) async fn run(mut self, mut inbox: ReloadInbox) {
        if !self.settings.has_sources() {
            return;
        }
        let mut next_look = Instant::now() + EVERY;
        loop {
            tokio::select! {
                ask = inbox.0.recv() => match ask {
                    None => return,
                    Some(Ask::Signal) => drop(self.reload(Trigger::Person, ReloadRequest::default()).await),
                    Some(Ask::Operator(request, answer)) => {
                        let _ = answer.send(self.reload(Trigger::Person, request).await);
                    }
                },
                () = sleep_until(next_look) => {
                    if self.look().await {
                        if self.is_compared {
                            log::info!(target: "reload", "files of the configuration have changed");
                        }
                        let _ = self.reload(Trigger::Files, ReloadRequest::default()).await;
                    }
                    next_look = Instant::now() + EVERY;
                }
            }
        }
    }

    /// Whether the files ask for a reload.
    async fn look(&mut self) -> bool {
        let (mut watch, files) = (std::mem::take(&mut self.watch), self.files.clone());
        // On a thread that may wait for the disk.
        let looked = tokio::task::spawn_blocking(move || (watch.look(&files), watch)).await;
        let Ok((has_changed, watch)) = looked else { return false };
        self.watch = watch;
        has_changed
    }

    async fn reload(&mut self, trigger: Trigger, request: ReloadRequest) -> Result<Reloaded, ReloadError> {
        let revision = self.state.revision();
        if request.revision.is_some_and(|known| known != revision) {
            return Err(ReloadError::Stale(revision));
        }
        // A bug in here costs this reload only.
        let result = AssertUnwindSafe(self.carry_out(request.dry_run)).catch_unwind().await;
        let result =
            result.unwrap_or_else(|_| Err("it came to a bug in the gateway; see the log".to_owned()));
        if request.dry_run {
            return result.map_err(ReloadError::Refused);
        }
        let is_first = !std::mem::replace(&mut self.is_compared, true);
        match &result {
            Ok(reloaded) if reloaded.changes.is_empty() && is_first && trigger == Trigger::Files => {}
            Ok(reloaded) if reloaded.changes.is_empty() => {
                log::info!(target: "reload", "the configuration is as it was");
                self.state.unchanged(Utc::now());
            }
            Ok(_) => {}
            Err(why) => {
                log::error!(target: "reload", "{}; the configuration that was read before stays in use", Printable(why));
                self.state.refused(why.clone());
            }
        }
        result.map_err(ReloadError::Refused)
    }

    /// Reads, compares and, unless it is a dry run, applies.
    async fn carry_out(&mut self, dry_run: bool) -> Result<Reloaded, String> {
        let Read { files, configuration } = self.read(dry_run).await?;
        let boxed = match configuration {
            Ok(boxed) => boxed,
            Err(why) => {
                if !dry_run {
                    // What it is wrong about may be mended in a file that only it names.
                    self.files.extend(files);
                    self.files.sort();
                    self.files.dedup();
                }
                return Err(why);
            }
        };
        let (configuration, flat) = *boxed;
        let ReloadPlan { changes, restart_needed } = ReloadPlan::of(&self.started, &self.last, &flat);
        let revision = self.state.revision();
        if dry_run {
            return Ok(Reloaded { revision, changes, restart_needed });
        }
        let mut reloaded = Reloaded { revision, changes, restart_needed };
        if !reloaded.changes.is_empty() {
            self.parts.apply(&configuration, revision + 1, reloaded.restart_needed.clone()).await?;
            self.state.applied(reloaded.restart_needed.clone(), Utc::now());
            reloaded.revision = self.state.revision();
            for change in &reloaded.changes {
                log::info!(target: "reload", "{}", Printable(change));
            }
            log::info!(target: "reload", "revision {} of the configuration is in use", reloaded.revision);
            self.parts.apply_to_log(&configuration);
        }
        self.settings = configuration.settings;
        (self.files, self.last) = (files, flat);
        Ok(reloaded)
    }

    /// Reads everything anew, as at the start.
    async fn read(&mut self, dry_run: bool) -> Result<Read, String> {
        let (settings, watched) = (self.settings.clone(), self.files.clone());
        let mut watch = std::mem::take(&mut self.watch);
        // On a thread that may wait for the disk.
        let reading = tokio::task::spawn_blocking(move || {
            let mut before_reading = |files: &[PathBuf]| {
                if !dry_run {
                    watch.consider(files);
                }
            };
            before_reading(&watched);
            let read = read(&settings, before_reading);
            (read, watch)
        });
        let (read, watch) =
            reading.await.map_err(|_| "it came to a bug in the gateway; see the log".to_owned())?;
        self.watch = watch;
        Ok(read)
    }
}

/// Reads everything anew. The files that the newest settings name are told before they are read.
fn read(settings: &Settings, mut before_reading: impl FnMut(&[PathBuf])) -> Read {
    let files = settings.files();
    let newer = can_be_reread(&files).and_then(|()| settings.reread().map_err(|error| error.to_string()));
    let settings = match newer {
        Ok(settings) => settings,
        Err(why) => return Read { files, configuration: Err(why) },
    };
    let files = settings.files();
    before_reading(&files);
    let configuration = can_be_reread(&files)
        .and_then(|()| Configuration::of(settings).map_err(|error| error.to_string()))
        .map(|configuration| {
            let flat = FlatConfiguration::of(&configuration);
            Box::new((configuration, flat))
        });
    Read { files, configuration }
}

/// Refuses what can be read once only: whoever reads it again waits for ever.
fn can_be_reread(files: &[PathBuf]) -> Result<(), String> {
    let is_pipe = |file: &&PathBuf| fs::metadata(file).is_ok_and(|found| found.file_type().is_fifo());
    match files.iter().find(is_pipe) {
        Some(pipe) => Err(format!("{} is a pipe, which cannot be read again", pipe.display())),
        None => Ok(()),
    }
}
