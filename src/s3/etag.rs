//! Entity tags: which version of an object it is.
//!
//! Amazon S3 writes them in quotes everywhere. Others leave the quotes out in listings, or mark a tag as weak (`W/`) when
//! a proxy compressed what it tags. It is the same version all the same: [`ETag`]s are equal when what is tagged is. The
//! text stays what it was, since the state of incremental syncs knows objects by it.

use std::fmt;

/// An entity tag as S3 gave it. Stored in 24 bytes for the usual forms, since a sync keeps one for each listed object: an
/// MD5 digest, or an MD5 digest and the number of parts of a multipart upload.
#[derive(Debug, Clone)]
pub struct ETag(Repr);

#[derive(Debug, Clone)]
enum Repr {
    /// 32 lower-case hex digits, with `-<parts>` when `parts` is not zero.
    Digest { form: Form, digest: [u8; 16], parts: u32 },
    /// Anything else, as it is.
    Text(Box<str>),
}

/// How a tag is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Form {
    /// `"tag"`
    Quoted,
    /// `tag`
    Bare,
    /// `W/"tag"`
    Weak,
}

/// A tag without what is around it.
fn split(text: &str) -> (Form, &str) {
    let (weak, quoted) = text.strip_prefix("W/").map_or((false, text), |quoted| (true, quoted));
    match quoted.strip_prefix('"').and_then(|rest| rest.strip_suffix('"')) {
        Some(tag) => (if weak { Form::Weak } else { Form::Quoted }, tag),
        None => (Form::Bare, text),
    }
}

impl ETag {
    /// Takes the text of an `ETag` header or element.
    #[must_use]
    pub fn new(text: &str) -> Self {
        Self(digest(text).unwrap_or_else(|| Repr::Text(text.into())))
    }

    /// The tag alone: without quotes, and without saying that it is weak.
    #[must_use]
    pub fn tag(&self) -> String {
        match &self.0 {
            Repr::Digest { digest, parts, .. } => Tagged(Form::Bare, digest, *parts).to_string(),
            Repr::Text(text) => split(text).1.to_owned(),
        }
    }

    /// The tag for an `If-Match` header: in quotes, and never weak, since a weak one matches nothing there.
    #[must_use]
    pub fn if_match(&self) -> String {
        match &self.0 {
            Repr::Digest { digest, parts, .. } => Tagged(Form::Quoted, digest, *parts).to_string(),
            Repr::Text(text) => match split(text).1 {
                // What has quotes inside is in no form that we know: it goes back as it came.
                tag if tag.contains('"') => text.to_string(),
                tag => format!("\"{tag}\""),
            },
        }
    }
}

impl PartialEq for ETag {
    fn eq(&self, other: &Self) -> bool {
        match (&self.0, &other.0) {
            (Repr::Digest { digest, parts, .. }, Repr::Digest { digest: other_digest, parts: other_parts, .. }) => {
                (digest, parts) == (other_digest, other_parts)
            }
            (Repr::Text(text), Repr::Text(other)) => split(text).1 == split(other).1,
            // What is a digest is stored as one, in whatever form it came.
            _ => false,
        }
    }
}

impl Eq for ETag {}

fn digest(text: &str) -> Option<Repr> {
    let (form, inner) = split(text);
    let (hex, parts) = match inner.split_once('-') {
        // A leading zero would not survive the round trip.
        Some((_, parts)) if parts.starts_with('0') || !parts.bytes().all(|b| b.is_ascii_digit()) => return None,
        Some((hex, parts)) => (hex, parts.parse().ok()?),
        None => (inner, 0),
    };
    let hex = hex.as_bytes();
    if hex.len() != 32 {
        return None;
    }
    let nibble = |b: u8| match b {
        b'0'..=b'9' => Some(b - b'0'),
        b'a'..=b'f' => Some(b - b'a' + 10),
        _ => None,
    };
    let mut digest = [0; 16];
    for (byte, pair) in digest.iter_mut().zip(hex.chunks_exact(2)) {
        *byte = nibble(pair[0])? << 4 | nibble(pair[1])?;
    }
    Some(Repr::Digest { form, digest, parts })
}

/// A digest and its number of parts, written in a form.
struct Tagged<'a>(Form, &'a [u8; 16], u32);

impl fmt::Display for Tagged<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self(form, digest, parts) = self;
        let (before, after) = match form {
            Form::Quoted => ("\"", "\""),
            Form::Bare => ("", ""),
            Form::Weak => ("W/\"", "\""),
        };
        f.write_str(before)?;
        for byte in *digest {
            write!(f, "{byte:02x}")?;
        }
        if *parts > 0 {
            write!(f, "-{parts}")?;
        }
        f.write_str(after)
    }
}

/// The text as S3 gave it. The ledger's hashes are made of it: frozen.
impl fmt::Display for ETag {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.0 {
            Repr::Text(text) => f.write_str(text),
            Repr::Digest { form, digest, parts } => Tagged(*form, digest, *parts).fmt(f),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MD5: &str = "d41d8cd98f00b204e9800998ecf8427e";

    #[test]
    fn etags_come_back_as_they_were() {
        for tag in
            [MD5, &format!("{MD5}-12"), &format!("{MD5}-012"), &format!("{MD5}-+1"), &MD5.to_uppercase(), "xyz", ""]
        {
            for text in
                [tag.to_owned(), format!("\"{tag}\""), format!("W/\"{tag}\""), format!("\"{tag}"), format!("W/{tag}")]
            {
                assert_eq!(ETag::new(&text).to_string(), text);
            }
        }
        assert!(matches!(ETag::new(&format!("\"{MD5}-12\"")).0, Repr::Digest { parts: 12, .. }));
    }

    #[test]
    fn quotes_and_weakness_are_no_difference() {
        for tag in [MD5, &format!("{MD5}-12"), &MD5.to_uppercase(), "0x8D977314DCEF6B6"] {
            let forms = [tag.to_owned(), format!("\"{tag}\""), format!("W/\"{tag}\"")].map(|text| ETag::new(&text));
            for form in &forms {
                assert_eq!((form, form.if_match()), (&forms[0], format!("\"{tag}\"")));
                assert_eq!(form.tag(), *tag);
                assert_ne!(form, &ETag::new(&format!("\"{tag}x\"")));
            }
        }
        assert_ne!(ETag::new(MD5), ETag::new(&format!("{MD5}-1")));
        assert_eq!(ETag::new("\"odd").if_match(), "\"odd");
    }

    #[test]
    fn an_etag_takes_24_bytes() {
        assert_eq!(size_of::<Option<ETag>>(), 24);
    }
}
