//! What Google usually says with an error status: told to a client where the status came and the words were lost on the way.

use crate::dialect::GatewayError;

/// Google's usual error of a status from 400 on.
pub fn usual_error(status: u16) -> GatewayError<'static> {
    let (grpc_status, message) = match status {
        401 => ("UNAUTHENTICATED", "Request had invalid authentication credentials."),
        402 => ("RESOURCE_EXHAUSTED", "Your prepayment credits are depleted."),
        403 => ("PERMISSION_DENIED", "The caller does not have permission."),
        404 => ("NOT_FOUND", "Requested entity was not found."),
        409 => ("ABORTED", "The operation was aborted."),
        429 => ("RESOURCE_EXHAUSTED", "Resource has been exhausted (e.g. check quota)."),
        499 => ("CANCELLED", "The operation was cancelled."),
        400..=499 => ("INVALID_ARGUMENT", "Request contains an invalid argument."),
        501 => ("UNIMPLEMENTED", "The operation is not implemented."),
        503 => ("UNAVAILABLE", "The service is currently unavailable."),
        504 => ("DEADLINE_EXCEEDED", "Deadline expired before operation could complete."),
        _ => ("INTERNAL", "An internal error has occurred."),
    };
    GatewayError::new(status, grpc_status, message)
}
