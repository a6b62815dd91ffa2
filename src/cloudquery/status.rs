//! From errors of the source to gRPC statuses: the code, and a text that fits.

use super::source::{ErrorKind, SourceError};
use crate::telemetry;
use tonic::{Code, Status};

/// Longest text of an error that goes to the peer, percent-encoded: so it travels in one HTTP/2 header, and clients limit
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
    Status::new(code, for_peer(format!("{context}: {message}")))
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

/// The text without the secrets of the spec, cut at a character's end so that it has at most [`MAX_ERROR_BYTES`] when it is
/// percent-encoded.
pub fn for_peer(mut text: String) -> String {
    telemetry::blank_secrets(&mut text);
    if encoded_bytes(&text) <= MAX_ERROR_BYTES {
        return text;
    }
    let room = MAX_ERROR_BYTES - encoded_bytes(CUT);
    let mut encoded = 0;
    let end = text.char_indices().find_map(|(start, c)| {
        encoded += encoded_bytes(c.encode_utf8(&mut [0; 4]));
        (encoded > room).then_some(start)
    });
    text.truncate(end.unwrap_or(text.len()));
    text.push_str(CUT);
    text
}

/// Bytes of the text in a `grpc-message` header, where all but these characters become `%XX`. Some implementations leave
/// more as they are, none fewer.
fn encoded_bytes(text: &str) -> usize {
    text.bytes().map(|b| if b.is_ascii_graphic() && !br##""#%<>?`{}"##.contains(&b) { 1 } else { 3 }).sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_are_cut_at_a_character_and_say_so() {
        assert_eq!(for_peer("short".to_owned()), "short");
        for text in ["x".repeat(8_001), "é".repeat(50_000), "€".repeat(8_000), " ".repeat(2_700), "{\"a\"}".repeat(999)]
        {
            let cut = for_peer(text);
            assert!(cut.ends_with("(cut)"));
            // As the server writes it.
            let response = Status::internal(cut).into_http::<()>();
            let header = response.headers()["grpc-message"].len();
            assert!(header <= 8_000 && header > 7_960, "{header}");
        }
        assert_eq!(for_peer("x".repeat(8_000)).len(), 8_000);
    }

    #[test]
    fn secrets_are_blanked_in_all_texts() {
        telemetry::set_secrets(["status-test-s3cr3t".to_owned()]);
        let status = status("sync failed", &SourceError::new(ErrorKind::Internal, "key status-test-s3cr3t is bad"));
        let other = for_peer("status-test-s3cr3t".to_owned());
        telemetry::set_secrets([]);
        assert_eq!(status.message(), "sync failed: key [redacted] is bad");
        assert_eq!(other, "[redacted]");
    }

    #[test]
    fn the_status_has_context_message_and_code() {
        let status = status("failed to get tables", &SourceError::new(ErrorKind::AccessDenied, "no"));
        assert_eq!((status.code(), status.message()), (Code::PermissionDenied, "failed to get tables: no"));
    }
}
