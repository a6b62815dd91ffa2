//! From errors of the source to gRPC statuses: the code, and a text that fits.

use super::source::{ErrorKind, SourceError};
use tonic::{Code, Status};

/// Longest text of an error that goes to the peer. It travels in one HTTP/2 header, percent-encoded, and clients limit
/// their header lists (16 KiB is common).
pub const MAX_ERROR_BYTES: usize = 8_000;
/// What a text that was cut ends in.
const CUT: &str = " … (cut)";

/// A status with the kind's code and `context: message`, cut to [`MAX_ERROR_BYTES`].
pub fn status(context: &str, error: &SourceError) -> Status {
    status_with(code(error.kind), context, &error.message)
}

/// As [`status`], with a code of the caller's choice.
pub fn status_with(code: Code, context: &str, message: &str) -> Status {
    Status::new(code, cut(format!("{context}: {message}")))
}

/// The gRPC code of a kind of error. Exhaustive: a new kind does not compile until someone chooses.
pub fn code(kind: ErrorKind) -> Code {
    match kind {
        ErrorKind::InvalidSpec | ErrorKind::InvalidSelection => Code::InvalidArgument,
        ErrorKind::NotFound => Code::NotFound,
        ErrorKind::AccessDenied => Code::PermissionDenied,
        ErrorKind::Unauthorized => Code::Unauthenticated,
        ErrorKind::Unavailable => Code::Unavailable,
        ErrorKind::InvalidState | ErrorKind::Incomplete => Code::DataLoss,
        ErrorKind::Cancelled => Code::Cancelled,
        ErrorKind::Internal => Code::Internal,
    }
}

/// The text, cut at a character's end to [`MAX_ERROR_BYTES`].
pub fn cut(mut text: String) -> String {
    if text.len() > MAX_ERROR_BYTES {
        text.truncate(text.floor_char_boundary(MAX_ERROR_BYTES - CUT.len()));
        text.push_str(CUT);
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_are_cut_at_a_character_and_say_so() {
        assert_eq!(cut("short".to_owned()), "short");
        for text in ["x".repeat(8_001), "é".repeat(50_000), "€".repeat(8_000)] {
            let cut = cut(text);
            assert!(cut.len() <= 8_000 && cut.len() > 7_990, "{}", cut.len());
            assert!(cut.ends_with("(cut)"));
        }
        assert_eq!(cut("x".repeat(8_000)).len(), 8_000);
    }

    #[test]
    fn the_status_has_context_message_and_code() {
        let status = status("failed to get tables", &SourceError::new(ErrorKind::AccessDenied, "no"));
        assert_eq!((status.code(), status.message()), (Code::PermissionDenied, "failed to get tables: no"));
    }
}
