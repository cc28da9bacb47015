//! Keeps a long-lived actor running: starts it from a factory, learns of its end (a panic included) from its task,
//! starts a new one with exponential backoff, and gives up after too many restarts within a window, as OTP does.
//!
//! actix's own `Supervisor` is not used: it restarts the same value and does not survive a panic, which ends the task
//! and closes the address. Callers hold a [`Link`], whose address is swapped under them.

mod intensity;
mod link;

pub use intensity::Intensity;
pub use link::{Link, LinkError};

use crate::health::{Health, State};
use actix::{Actor, AsyncContext, Context};
use actix_rt::ArbiterHandle;
use intensity::RestartWindow;
use std::{sync::Arc, time::Instant};
use tokio::sync::watch;

/// What the supervisor needs to know of a child.
pub struct Child<F> {
    /// Its name in logs and at `/health/ready`.
    pub name: &'static str,
    /// How many messages may wait before senders do.
    pub mailbox: usize,
    /// How often it may die.
    pub intensity: Intensity,
    /// Makes a new actor, with the address it will have. Runs on the child's arbiter, once a life.
    pub factory: F,
}

/// Starts a child on `arbiter` and keeps it running until it is given up or the arbiter ends.
pub fn supervise<A, F>(arbiter: &ArbiterHandle, child: Child<F>, health: Arc<Health>) -> Link<A>
where
    A: Actor<Context = Context<A>>,
    F: FnMut() -> A + Send + 'static,
{
    let (address, receiver) = watch::channel(None);
    // `spawn_fn`, since an actor's context may not move between threads: it is made where it runs.
    arbiter.spawn_fn(move || {
        actix_rt::spawn(keep_running(child, address, health));
    });
    Link::new(receiver)
}

async fn keep_running<A, F>(
    mut child: Child<F>,
    address: watch::Sender<Option<actix::Addr<A>>>,
    health: Arc<Health>,
) where
    A: Actor<Context = Context<A>>,
    F: FnMut() -> A + Send + 'static,
{
    let mut window = RestartWindow::new(child.intensity);
    loop {
        let life = {
            let mailbox = child.mailbox;
            let factory = &mut child.factory;
            // A factory may panic too; that is a death like any other.
            std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
                let actor = factory();
                let mut context = Context::<A>::new();
                context.set_mailbox_capacity(mailbox);
                address.send_replace(Some(context.address()));
                context.into_future(actor)
            }))
        };
        let reason = match life {
            Ok(life) => {
                health.set(child.name, State::Up, None);
                match actix_rt::spawn(life).await {
                    Ok(()) => "it stopped by itself".to_owned(),
                    Err(end) if end.is_panic() => panic_text(&*end.into_panic()),
                    Err(_) => return, // the arbiter is ending
                }
            }
            Err(panic) => panic_text(&*panic),
        };
        address.send_replace(None);
        let Some(pause) = window.record(Instant::now()) else {
            health.set(child.name, State::Failed, Some(reason));
            return; // dropping the sender tells every link that no address will come
        };
        health.set(child.name, State::Restarting, Some(reason));
        if !pause.is_zero() {
            actix_rt::time::sleep(pause).await;
        }
    }
}

fn panic_text(panic: &(dyn std::any::Any + Send)) -> String {
    let text =
        panic.downcast_ref::<&str>().copied().or_else(|| panic.downcast_ref::<String>().map(String::as_str));
    format!("it panicked: {}", text.unwrap_or("no message"))
}
