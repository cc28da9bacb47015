//! Why what is shared cannot be had. Every error of this crate at run time is an [`Away`]; after any of them the caller
//! goes on alone and tries again later. None shows a password, a key's name or a value.

use std::{error, fmt};

/// Why a call did not do what it was asked. Unless said otherwise it is not known whether it was carried out: its answer
/// may have been what was lost.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Away {
    /// There is no connection: refused, closed, a host that is not found, a certificate that is not trusted. The text is the
    /// system's.
    Unreachable {
        /// What the system said.
        reason: String,
    },
    /// No answer within the time that a call may take.
    TimedOut,
    /// The server does not let this gateway do that: password, user or the user's rights. Nothing was carried out.
    Denied {
        /// The server's word for it: `WRONGPASS`, `NOAUTH`, `NOPERM`.
        code: String,
    },
    /// The server is a replica, or was made one. Nothing was carried out.
    ReadOnly,
    /// The server's memory is full. Nothing was carried out.
    Full,
    /// The server answered with another error.
    Refused {
        /// The server's word for it: `LOADING`, `MISCONF`, `NOREPLICAS`, `ERR`.
        code: String,
        /// Its sentence, on one line and at most 200 characters long.
        detail: String,
    },
    /// The answer could not be read: what is there is no Redis, or another program writes under the same prefix.
    Garbled,
    /// No Sentinel that answered knows the service.
    NoPrimary,
    /// What is there was written by a newer version. It was left as it is.
    Newer {
        /// The version of its schema.
        found: u64,
        /// The newest version this program knows.
        known: u64,
    },
}

impl fmt::Display for Away {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unreachable { reason } => write!(f, "Redis cannot be reached: {reason}"),
            Self::TimedOut => f.write_str("Redis did not answer in time"),
            Self::Denied { code } => write!(
                f,
                "Redis does not let this gateway in ({code}): see cluster.username, cluster.password_file and the \
                 user's rights"
            ),
            Self::ReadOnly => f.write_str("Redis is a replica, which takes no writes"),
            Self::Full => f.write_str("Redis has no memory left (maxmemory)"),
            Self::Refused { code, detail } => write!(f, "Redis answered {code}: {detail}"),
            Self::Garbled => f.write_str("what answers is not what this version expects of Redis"),
            Self::NoPrimary => f.write_str("no Sentinel knows a primary for the service in cluster.url"),
            Self::Newer { found, known } => write!(
                f,
                "Redis holds what a newer gateway wrote (schema {found}, this one knows {known}): run the newer version, \
                 or set another cluster.prefix"
            ),
        }
    }
}

impl error::Error for Away {}
