//! What the operating system knows of the process, under the names that all exporters use. What it does not tell is absent.

use super::family::{Families, NO_LABELS, Title};
use prometheus_client::{collector::Collector, encoding::DescriptorEncoder};
use rustix::{
    process::{Resource, getrlimit},
    time::{ClockId, clock_gettime},
};
use std::{
    fmt, fs,
    time::{SystemTime, UNIX_EPOCH},
};

/// When the process began, as far as it knows.
#[derive(Clone, Copy, Debug)]
pub(super) struct Beginning(SystemTime);

/// The figures at one moment.
#[derive(Clone, Copy, Debug)]
pub(super) struct Figures {
    cpu_s: f64,
    resident_bytes: Option<u64>,
    open_files: Option<usize>,
    most_files: Option<u64>,
    start_s: f64,
}

impl Beginning {
    pub(super) fn now() -> Self {
        Self(SystemTime::now())
    }

    pub(super) fn figures(&self) -> Figures {
        let cpu = clock_gettime(ClockId::ProcessCPUTime);
        #[expect(clippy::cast_precision_loss, reason = "a counter is a float to its readers")]
        let cpu_s = cpu.tv_sec as f64 + cpu.tv_nsec as f64 / 1e9;
        Figures {
            cpu_s,
            resident_bytes: resident_bytes(),
            // The folder that is read is itself open.
            open_files: fs::read_dir("/proc/self/fd").ok().map(|files| files.count().saturating_sub(1)),
            most_files: getrlimit(Resource::Nofile).current,
            start_s: self.0.duration_since(UNIX_EPOCH).map_or(0.0, |since| since.as_secs_f64()),
        }
    }
}

fn resident_bytes() -> Option<u64> {
    let status = fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
    line.trim().strip_suffix(" kB")?.trim().parse::<u64>().ok()?.checked_mul(1024)
}

impl Collector for Figures {
    fn encode(&self, encoder: DescriptorEncoder<'_>) -> fmt::Result {
        let mut families = Families(encoder);
        families.counters(
            Title::seconds("process_cpu", "Processor time of the process"),
            [(NO_LABELS, self.cpu_s)],
        )?;
        if let Some(bytes) = self.resident_bytes {
            families
                .gauges(Title::bytes("process_resident_memory", "Memory in use"), [(NO_LABELS, bytes)])?;
        }
        if let Some(open) = self.open_files {
            families.gauges(Title::new("process_open_fds", "Open file descriptors"), [(NO_LABELS, open)])?;
        }
        if let Some(most) = self.most_files {
            families.gauges(
                Title::new("process_max_fds", "File descriptors that may be open"),
                [(NO_LABELS, most)],
            )?;
        }
        families.gauges(
            Title::seconds("process_start_time", "When the process began"),
            [(NO_LABELS, self.start_s)],
        )
    }
}
