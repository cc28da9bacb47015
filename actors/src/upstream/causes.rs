//! An error with its causes, in one line, for logs and for the person who configures the service. The caller sees to it
//! that no URL is in there, which could hold a credential.

use super::connector::NoConnection;
use std::io;

/// `EMFILE` and `ENFILE`, on every Unix.
const OUT_OF_DESCRIPTORS: [i32; 2] = [24, 23];

/// Prints an error with its causes, which libraries' own texts leave out.
pub(crate) struct Causes<'a>(pub(crate) &'a dyn std::error::Error);

impl std::fmt::Display for Causes<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}", self.0)?;
        let mut next = self.0.source();
        while let Some(cause) = next {
            write!(f, ": {cause}")?;
            next = cause.source();
        }
        Ok(())
    }
}

/// Finds a cause of a type among an error's causes, itself among them.
pub(super) fn find<'a, E: std::error::Error + 'static>(
    error: &'a (dyn std::error::Error + 'static),
) -> Option<&'a E> {
    let mut next = Some(error);
    while let Some(cause) = next {
        if let Some(found) = cause.downcast_ref::<E>() {
            return Some(found);
        }
        next = match cause.downcast_ref::<io::Error>() {
            // It stands for what it wraps, whose own causes alone it would name.
            Some(wrapper) if wrapper.get_ref().is_some() => {
                wrapper.get_ref().map(|inner| inner as &(dyn std::error::Error + 'static))
            }
            _ => cause.source(),
        };
    }
    None
}

/// Says which way was tried and why there is no connection, for the operator.
pub(super) fn why(error: &NoConnection) -> String {
    let number = find::<io::Error>(error).and_then(io::Error::raw_os_error);
    if number.is_some_and(|number| OUT_OF_DESCRIPTORS.contains(&number)) {
        return format!("{}: out of file descriptors; raise the gateway's limit (ulimit -n)", error.way);
    }
    let hint = match find::<rustls::Error>(error) {
        Some(rustls::Error::InvalidCertificate(why)) => match why {
            rustls::CertificateError::UnknownIssuer => {
                " (if a proxy opens TLS, its authority belongs into upstream.ca_file)"
            }
            rustls::CertificateError::Expired
            | rustls::CertificateError::ExpiredContext { .. }
            | rustls::CertificateError::NotValidYet
            | rustls::CertificateError::NotValidYetContext { .. } => " (is this machine's clock right?)",
            _ => "",
        },
        _ => "",
    };
    format!("{}: {}{hint}", error.way, Causes(error))
}

#[cfg(test)]
mod tests {
    use super::super::connector::ConnectStep;
    use super::*;

    fn told(step: ConnectStep, source: Box<dyn std::error::Error + Send + Sync>) -> String {
        why(&NoConnection {
            step,
            way: "a:443 through the proxy http://b:3128 of HTTPS_PROXY".to_owned(),
            source: Some(source),
        })
    }

    #[test]
    fn the_operator_is_told_the_way_and_the_cause() {
        let refused = io::Error::from(io::ErrorKind::ConnectionRefused);
        assert_eq!(
            told(ConnectStep::Call, refused.into()),
            "a:443 through the proxy http://b:3128 of HTTPS_PROXY: no connection: connection refused"
        );
        for number in OUT_OF_DESCRIPTORS {
            let error = io::Error::from_raw_os_error(number);
            assert!(told(ConnectStep::Name, error.into()).contains("out of file descriptors"));
        }
        let certificate = |error| io::Error::other(rustls::Error::InvalidCertificate(error));
        let clock = told(ConnectStep::Tls, certificate(rustls::CertificateError::Expired).into());
        assert!(clock.contains("TLS fails") && clock.contains("clock"), "{clock}");
        let authority = told(ConnectStep::Tls, certificate(rustls::CertificateError::UnknownIssuer).into());
        assert!(authority.contains("upstream.ca_file"), "{authority}");
    }
}
