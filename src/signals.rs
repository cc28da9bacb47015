//! What signals mean to a gateway that serves. SIGTERM and SIGINT end it, a second one at once; SIGHUP has it look again at
//! what can be taken into use while it runs; SIGUSR1 and SIGUSR2 mean nothing. Whatever the settings are, none of them but
//! the first two ends the process.

use crate::{logging::Logging, reload::Reloads};
use std::io;
use tokio::signal::unix::{Signal, SignalKind, signal};

/// Those that would end the process if nobody took them.
const HARMLESS: [fn() -> SignalKind; 3] =
    [SignalKind::hangup, SignalKind::user_defined1, SignalKind::user_defined2];

/// The signals that end the service.
pub(crate) struct Signals {
    terminate: Signal,
    interrupt: Signal,
}

/// Has the harmless signals do nothing from now on, before there is anything that they could mean.
pub(crate) fn disarm() -> io::Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_io().build()?;
    // A signal that has been asked for once is not the system's again.
    runtime.block_on(async { HARMLESS.iter().try_for_each(|kind| signal(kind()).map(drop)) })
}

impl Signals {
    /// Takes the signals over. SIGHUP opens the log files anew and reloads the configuration from now on.
    pub(crate) fn take(logging: Logging, reloads: Reloads) -> io::Result<Self> {
        let mut hangup = signal(SignalKind::hangup())?;
        actix_rt::spawn(async move {
            while hangup.recv().await.is_some() {
                logging.reopen();
                let again = if reloads.signal() { ", and the configuration is read again" } else { "" };
                log::info!(target: "service", "SIGHUP: the log files are opened anew{again}");
            }
        });
        Ok(Self { terminate: signal(SignalKind::terminate())?, interrupt: signal(SignalKind::interrupt())? })
    }

    /// Resolves when the process is told to end, each time that it is.
    pub(crate) async fn end(&mut self) {
        tokio::select! {
            _ = self.terminate.recv() => {}
            _ = self.interrupt.recv() => {}
        }
    }
}
