//! What the gateway asks of the kernel for each client's connection, so that a client that does not read costs little and
//! not for ever. Set by the service as connections are accepted.

use actix_web::rt::net::TcpStream;
use std::time::Duration;

/// How much the kernel takes for a client beyond what the client's own window lets through. Without a bound it is some
/// megabytes, for each client that does not read.
#[cfg(target_os = "linux")]
const UNSENT_BYTES: u32 = 128 * 1024;

/// The relay's own timeout, which lets the upstream go and knows why, comes first.
#[cfg(target_os = "linux")]
const AFTER_THE_RELAY: Duration = Duration::from_secs(1);

/// Bounds what lies between the gateway and a client that does not read, and for how long. actix-web writes no more while
/// the socket is full and has no timeout of its own for that, so the kernel's ends the connection.
#[cfg(target_os = "linux")]
pub(crate) fn bound(stream: &TcpStream, write_timeout: Duration) {
    let socket = socket2::SockRef::from(stream);
    // A kernel that knows neither serves as well, only less sparingly.
    let _ = socket.set_tcp_notsent_lowat(UNSENT_BYTES);
    let _ = socket.set_tcp_user_timeout(Some(write_timeout + AFTER_THE_RELAY));
}

/// Other kernels have no such limits.
#[cfg(not(target_os = "linux"))]
pub(crate) fn bound(_: &TcpStream, _: Duration) {}
