//! Closes the clients' listener without losing anybody: a listening socket that is simply closed takes with it whom the kernel
//! has let in and nobody has accepted. First the kernel lets nobody in any more, then who is in gets time to be heard.
//! `service` does this at the end of a drain's accepting.

use crate::connections::Newcomers;
use std::{io, net::TcpListener, time::Duration};

/// So long nobody must have come before the listener closes. More than a handshake takes that has begun, and than a busy
/// machine takes to accept.
const QUIET: Duration = Duration::from_millis(500);

/// Who is in and says nothing is not waited for any longer: browsers open connections that they may need.
const AT_MOST: Duration = Duration::from_secs(5);

/// The end of a listener.
pub(crate) struct Closing {
    /// Second descriptors: as long as they are there, so is the listener.
    sockets: Vec<TcpListener>,
    newcomers: Newcomers,
}

impl Closing {
    pub(crate) fn of(sockets: &[TcpListener], newcomers: Newcomers) -> io::Result<Self> {
        let sockets = sockets.iter().map(TcpListener::try_clone).collect::<io::Result<_>>()?;
        Ok(Self { sockets, newcomers })
    }

    /// Has the kernel pass over whoever comes from now on, and waits until all who came before were heard. Who was passed
    /// over tries once more within a second, and finds the listener closed.
    pub(crate) async fn let_nobody_in(self) {
        for socket in self.sockets {
            // Where that cannot be had, a few are lost.
            let _ = pass_over(&socket);
        }
        self.newcomers.settle(QUIET, AT_MOST).await;
    }
}

/// Drops what begins a connection. What goes on with one, the last step of its handshake too, passes.
#[cfg(target_os = "linux")]
fn pass_over(socket: &TcpListener) -> io::Result<()> {
    use socket2::{SockFilter, SockRef};
    /// Where TCP's header has its flags, and the one of them that begins a connection (RFC 9293 §3.1).
    const FLAGS: u32 = 13;
    const SYN: u32 = 0x02;
    // Classic BPF: load a byte; of the next two instructions skip the first unless a bit is set; return how much passes.
    let program = [
        SockFilter::new(0x30, 0, 0, FLAGS),
        SockFilter::new(0x45, 0, 1, SYN),
        SockFilter::new(0x06, 0, 0, 0),
        SockFilter::new(0x06, 0, 0, u32::MAX),
    ];
    SockRef::from(socket).attach_filter(&program)
}

/// Other kernels have no such filter.
#[cfg(not(target_os = "linux"))]
fn pass_over(_: &TcpListener) -> io::Result<()> {
    Ok(())
}
