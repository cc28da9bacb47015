//! Logging: `log` and `fern`, with every line handed to a queue whose own thread does the writing, so that a full disk
//! or a slow console never holds up a worker. What a transaction's line looks like is in `line`.

mod file;
mod line;
mod queue;

pub(crate) use line::timestamp;
pub use line::transaction_line;

use crate::settings::{Log, LogFormat, SettingsError};
use file::LogFile;
use queue::Queue;
use std::{
    io::{self, Write},
    path::Path,
    time::Duration,
};

/// The target of transaction lines.
pub const TRANSACTION: &str = "transaction";
/// The target of lines with bodies.
pub const BODIES: &str = "bodies";

/// Keeps the writing threads; flushes them when told.
#[derive(Clone)]
pub struct Logging {
    queues: Vec<Queue>,
}

impl Logging {
    /// Sets the logger up. Fails when a level is unknown or a file cannot be written.
    pub fn start(settings: &Log) -> Result<Self, SettingsError> {
        // Python names two levels differently, and the original's files hold those.
        let name = match settings.level.to_ascii_lowercase().as_str() {
            "warning" => "warn".to_owned(),
            "critical" | "fatal" => "error".to_owned(),
            other => other.to_owned(),
        };
        let level: log::LevelFilter = name.parse().map_err(|_| {
            SettingsError::refused("log.level", "must be one of off, error, warn, info, debug, trace")
        })?;
        let mut queues = Vec::new();
        let mut line_to = |out: Box<dyn Write + Send>| {
            let queue = Queue::start(out);
            queues.push(queue.clone());
            Box::new(queue) as Box<dyn Write + Send>
        };
        let format = settings.format;
        let application = fern::Dispatch::new()
            .format(move |out, message, record| match format {
                LogFormat::Text => out.finish(format_args!(
                    "{} {:5} {}: {message}",
                    line::timestamp(),
                    record.level(),
                    record.target()
                )),
                LogFormat::Json => out.finish(format_args!(
                    r#"{{"time":"{}","level":"{}","target":"{}","message":{}}}"#,
                    line::timestamp(),
                    record.level(),
                    record.target(),
                    line::JsonText(&message.to_string())
                )),
            })
            .filter(|metadata| metadata.target() != TRANSACTION && metadata.target() != BODIES)
            .chain(line_to(Box::new(io::stdout())))
            .chain(line_to(rotating(settings, "log.dir", &settings.dir.join("app.log"))?));
        let mut root = fern::Dispatch::new()
            .level(level)
            // What the libraries below say at their finer levels may hold headers, and so secrets.
            .level_for("h2", level.min(log::LevelFilter::Warn))
            .level_for("hyper_util", level.min(log::LevelFilter::Warn))
            .level_for("reqwest", level.min(log::LevelFilter::Warn))
            .level_for("tungstenite", level.min(log::LevelFilter::Warn))
            .level_for("tokio_tungstenite", level.min(log::LevelFilter::Warn))
            .level_for("rustls", level.min(log::LevelFilter::Warn))
            // It calls every answer that the upstream broke off an error; the transaction says so already.
            .level_for("actix_http", log::LevelFilter::Off)
            .level_for("actix_web", level.min(log::LevelFilter::Warn))
            .level_for("actix_server", level.min(log::LevelFilter::Warn))
            .level_for("mio", level.min(log::LevelFilter::Warn))
            .chain(application);
        if settings.transactions {
            root = root.level_for(TRANSACTION, log::LevelFilter::Info).chain(
                fern::Dispatch::new()
                    .filter(|metadata| metadata.target() == TRANSACTION)
                    .chain(line_to(rotating(settings, "log.dir", &settings.dir.join("transactions.log"))?)),
            );
        } else {
            root = root.level_for(TRANSACTION, log::LevelFilter::Off);
        }
        if settings.debug_enabled {
            root = root.level_for(BODIES, log::LevelFilter::Info).chain(
                fern::Dispatch::new()
                    .filter(|metadata| metadata.target() == BODIES)
                    .chain(line_to(rotating(settings, "log.debug_file", &settings.debug_file)?)),
            );
        } else {
            root = root.level_for(BODIES, log::LevelFilter::Off);
        }
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
        Ok(Self { queues })
    }

    /// Waits until what was logged so far is written, but not for ever.
    pub fn flush(&self) {
        for queue in &self.queues {
            queue.drain(Duration::from_secs(2));
        }
    }
}

fn rotating(settings: &Log, setting: &str, path: &Path) -> Result<Box<dyn Write + Send>, SettingsError> {
    let file = LogFile::open(path, settings.rotate_bytes, settings.keep_files).map_err(|error| {
        let why = format!("names a place that cannot be written: {}: {error}", path.display());
        SettingsError::refused(setting, why)
    })?;
    Ok(Box::new(file))
}
