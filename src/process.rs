//! What the process asks of the operating system before it holds a secret.

/// No core dumps and no tracing by other processes, since memory holds keys; as many file descriptors as allowed, since
/// each stream takes two.
pub(crate) fn harden() {
    use rustix::process::{DumpableBehavior, Resource, Rlimit, getrlimit, set_dumpable_behavior, setrlimit};
    let _ = setrlimit(Resource::Core, Rlimit { current: Some(0), maximum: Some(0) });
    if !cfg!(debug_assertions) {
        let _ = set_dumpable_behavior(DumpableBehavior::NotDumpable);
    }
    let files = getrlimit(Resource::Nofile);
    let _ = setrlimit(Resource::Nofile, Rlimit { current: files.maximum, maximum: files.maximum });
}
