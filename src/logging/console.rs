//! Standard output as an outlet for lines: without a buffer of its own, so that what is lost is known.

use super::outlet::Outlet;
use std::{
    fs::File,
    io::{self, Write},
    os::fd::AsFd,
};

/// Standard output, through a handle of its own where the system grants one.
struct Console(Option<File>);

/// Returns standard output.
pub(super) fn stdout() -> Box<dyn Outlet> {
    Box::new(Console(io::stdout().as_fd().try_clone_to_owned().map(File::from).ok()))
}

impl Write for Console {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match &mut self.0 {
            Some(file) => file.write(bytes),
            None => io::stdout().write(bytes),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Outlet for Console {}
