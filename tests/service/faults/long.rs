//! All rows with the table's own figures, one after another, and the table of what was demanded and measured.

use super::{
    Row, Size, addresses, chaos, clock, descriptors, leaving, load, overload, panics, records, senders,
    stalled, stops, timers, uploads,
};
use futures_util::FutureExt;
use std::{panic::AssertUnwindSafe, pin::Pin};

type Running = Pin<Box<dyn Future<Output = Row>>>;

macro_rules! cases {
    ($($module:ident::$case:ident),* $(,)?) => {
        [$((concat!(stringify!($module), "::", stringify!($case)), (|| Box::pin($module::$case(Size::Table))) as fn() -> Running)),*]
    };
}

/// `ROWS=leaving,store` runs those only whose name has one of the words in it.
#[ignore = "minutes, alone on the machine and with --release: docs/reliability.md has the command"]
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_figure_is_met() {
    let cases = cases![
        timers::refused,
        timers::silence,
        timers::trickle,
        addresses::unresolved,
        leaving::before_the_head,
        leaving::mid_stream,
        senders::of_heads,
        senders::of_bodies,
        stalled::over_http_1,
        stalled::over_http_2,
        panics::of_the_key_manager,
        overload::of_bodies,
        overload::of_a_caller,
        overload::of_the_line,
        records::slow,
        records::full,
        records::damaged,
        stops::drained,
        stops::grace_expires,
        stops::killed,
        clock::jumps,
        descriptors::exhausted,
        uploads::of_two_gigabytes,
        load::started,
        load::after_five_thousand,
        load::ten_thousand_streams,
        chaos::everything,
    ];
    let wanted = std::env::var("ROWS").unwrap_or_default();
    let is_wanted = |name: &str| wanted.split(',').any(|word| name.contains(word));
    let (mut lines, mut missed) = (Vec::new(), 0);
    for (name, case) in cases.into_iter().filter(|(name, _)| is_wanted(name)) {
        // A case that panics is told beside the others. It stays on this thread, since a case may wait on it.
        if let Ok(row) = AssertUnwindSafe(case()).catch_unwind().await {
            for figure in row.figures {
                missed += usize::from(!figure.is_met);
                let verdict = if figure.is_met { "met" } else { "**missed**" };
                lines.push(format!(
                    "| {} | {} | {} | {} | {verdict} |",
                    row.name, figure.what, figure.demanded, figure.measured
                ));
            }
        } else {
            missed += 1;
            lines.push(format!("| {name} | | | failed: its words are above | **missed** |"));
        }
        eprintln!("{name} is done");
    }
    println!(
        "| row | figure | demanded | measured | |\n| --- | --- | --- | --- | --- |\n{}",
        lines.join("\n")
    );
    assert!(missed == 0, "{missed} figures are missed");
}
