//! Places in a JSON document (RFC 6901).

use std::fmt;
use std::str::FromStr;

/// A place in a JSON document: `/Records`, `/a/0/b`, or the empty text for the document itself.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct JsonPointer {
    tokens: Vec<String>,
}

/// A text is no JSON pointer.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PointerError {
    /// It doesn't begin with a slash.
    #[error("a JSON pointer begins with /, such as /Records")]
    NoSlash,
    /// A tilde stands for nothing.
    #[error("in a JSON pointer ~ is written ~0, and / in a key ~1")]
    Tilde,
}

impl JsonPointer {
    /// The keys and indexes from the document to the place.
    #[must_use]
    pub fn tokens(&self) -> &[String] {
        &self.tokens
    }

    /// The last key, which names the column of what is there; `None` for the document itself.
    #[must_use]
    pub fn name(&self) -> Option<&str> {
        self.tokens.last().map(String::as_str)
    }

    /// Whether `other` is this place, or is in what is there.
    #[must_use]
    pub fn contains(&self, other: &Self) -> bool {
        other.tokens.starts_with(&self.tokens)
    }
}

impl FromStr for JsonPointer {
    type Err = PointerError;

    fn from_str(text: &str) -> Result<Self, PointerError> {
        if text.is_empty() {
            return Ok(Self::default());
        }
        let rest = text.strip_prefix('/').ok_or(PointerError::NoSlash)?;
        let tokens = rest.split('/').map(token).collect::<Result<_, _>>()?;
        Ok(Self { tokens })
    }
}

fn token(written: &str) -> Result<String, PointerError> {
    let mut parts = written.split('~');
    let mut token = String::from(parts.next().unwrap_or_default());
    for part in parts {
        let mut chars = part.chars();
        token.push(match chars.next() {
            Some('0') => '~',
            Some('1') => '/',
            _ => return Err(PointerError::Tilde),
        });
        token.push_str(chars.as_str());
    }
    Ok(token)
}

impl fmt::Display for JsonPointer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for token in &self.tokens {
            write!(f, "/{}", token.replace('~', "~0").replace('/', "~1"))?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pointers_are_read_and_shown_as_they_were_written() {
        for (text, tokens) in [("", &[][..]), ("/Records", &["Records"]), ("/a~1b/~0/0/", &["a/b", "~", "0", ""])] {
            let pointer: JsonPointer = text.parse().unwrap();
            assert_eq!(
                (pointer.tokens(), pointer.to_string().as_str()),
                (&*tokens.iter().map(|t| String::from(*t)).collect::<Vec<_>>(), text)
            );
        }
        assert_eq!("Records".parse::<JsonPointer>(), Err(PointerError::NoSlash));
        assert_eq!("/a~2".parse::<JsonPointer>(), Err(PointerError::Tilde));
        assert_eq!("/a~".parse::<JsonPointer>(), Err(PointerError::Tilde));
    }

    #[test]
    fn a_place_contains_what_is_below_it() {
        let pointer = |text: &str| text.parse::<JsonPointer>().unwrap();
        assert!(pointer("/a").contains(&pointer("/a/b")) && pointer("/a").contains(&pointer("/a")));
        assert!(!pointer("/a").contains(&pointer("/ab")) && !pointer("/a/b").contains(&pointer("/a")));
    }
}
