//! Lets what runs come to its end when the service is told to stop. What tells it so, and what follows, is in `serve`.

use crate::{closing::Closing, counted::counted, inflight::InFlight, settings};
use actix_web::dev::ServerHandle;
use std::time::Duration;

/// After the last answer's last byte was handed to its socket, connections get this long to take it.
const FAREWELL: Duration = Duration::from_millis(200);

/// After the drain's time, Live sessions get this long to hear that they end.
pub(super) const GOODBYE: Duration = Duration::from_millis(500);

/// Lets running answers finish: readiness says no at once, connections are taken a little longer, then no more.
pub(super) async fn drain(
    handle: &ServerHandle,
    closing: Closing,
    in_flight: &InFlight,
    settings: &settings::Server,
) {
    log::info!(target: "service", "shutting down: {} under way", counted(in_flight.count(), "request"));
    in_flight.drain();
    tokio::time::sleep(Duration::from_millis(settings.drain_accept_ms)).await;
    closing.let_nobody_in().await;
    let stopped = handle.stop(true); // closes the listener at once, then waits for connections
    let finished = async {
        in_flight.idle().await;
        tokio::time::sleep(FAREWELL).await;
    };
    tokio::select! {
        () = stopped => {}
        () = finished => {}
        () = tokio::time::sleep(Duration::from_secs(settings.drain_s)) => {
            log::warn!(target: "service", "{} requests did not finish within server.drain_s and are cut off", in_flight.count());
            in_flight.cut_off();
            if tokio::time::timeout(GOODBYE, in_flight.idle()).await.is_ok() {
                tokio::time::sleep(FAREWELL).await;
            }
        }
    }
    log::info!(target: "service", "shut down");
}
