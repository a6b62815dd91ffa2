//! ListObjectsV2, one page at a time: nothing but the page at hand is held, and 8 bytes for each page before it.
//!
//! Two things are asked for that a server need not know: the state of restores from archive classes, and keys in URL
//! encoding, since XML has no way to write some of the characters that a key may have. A server that refuses the first
//! page is asked again without the one, then without the other; keys are decoded only where the answer says that they are
//! encoded.

use super::failure::{Failure, classify};
use super::retry::{Attempts, Patience, RetryBudget};
use super::{ETag, Error, ErrorKind, ObjectMeta, Operation, Store, Usage};
use aws_sdk_s3::operation::list_objects_v2::ListObjectsV2Output;
use aws_sdk_s3::types::{EncodingType, Object, OptionalObjectAttributes};
use aws_smithy_runtime_api::box_error::BoxError;
use aws_smithy_runtime_api::client::interceptors::Intercept;
use aws_smithy_runtime_api::client::interceptors::context::BeforeDeserializationInterceptorContextRef;
use aws_smithy_runtime_api::client::runtime_components::RuntimeComponents;
use aws_smithy_types::DateTime;
use aws_smithy_types::config_bag::ConfigBag;
use aws_smithy_types::date_time::Format;
use std::collections::HashSet;
use std::hash::{BuildHasher as _, RandomState};
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};

/// What separates the folders of a key.
const DELIMITER: &str = "/";
/// This much of a continuation token is shown in an error: enough to find it in a server's log.
const SHOWN_TOKEN_CHARS: usize = 64;

/// A listing under way. [`Pages::next`] gives one page after the other.
#[derive(Debug)]
pub struct Pages {
    store: Store,
    prefix: String,
    /// Keys up to this one are not listed.
    start_after: Option<String>,
    /// Keys in a page; `None`: as many as the server puts there.
    page_keys: Option<i32>,
    state: State,
    patience: Patience,
    /// The `Date` of the first answer, seconds since 1970.
    date: Arc<FirstDate>,
    extras: Extras,
    tokens: SeenTokens,
}

#[derive(Debug)]
enum State {
    First,
    After(String),
    Done,
}

/// What is asked for on top of the listing itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Extras {
    /// The state of restores, and keys in URL encoding.
    RestoreStatusAndEncoding,
    /// Keys in URL encoding.
    Encoding,
    /// Nothing.
    None,
}

impl Extras {
    /// What to ask for when a server refuses this; `None`: it cannot be the extras.
    fn fewer(self) -> Option<Self> {
        match self {
            Self::RestoreStatusAndEncoding => Some(Self::Encoding),
            Self::Encoding => Some(Self::None),
            Self::None => None,
        }
    }
}

/// Whether a server may have refused a request for a header or parameter that it does not know. How they say so differs:
/// 501, 400 with any code, 405, …
fn refuses_extras(failure: &Failure) -> bool {
    let refused = matches!(failure.kind, ErrorKind::Refused | ErrorKind::Changed) && !failure.retryable;
    refused && matches!(failure.status, Some(400..=499 | 501))
}

/// The continuation tokens of a listing, as hashes: a token that comes again would have the listing go in circles.
#[derive(Debug, Default)]
struct SeenTokens {
    hashes: HashSet<u64>,
    state: RandomState,
}

impl SeenTokens {
    /// Whether this is a new one.
    fn add(&mut self, token: &str) -> bool {
        self.hashes.insert(self.state.hash_one(token))
    }
}

impl Store {
    /// Lists every object whose key starts with `prefix`, in the order of S3: bytes of the key.
    #[must_use]
    pub fn list(&self, prefix: &str) -> Pages {
        self.list_with(prefix, Patience::LIST)
    }

    pub(super) fn list_with(&self, prefix: &str, patience: Patience) -> Pages {
        Pages {
            store: self.clone(),
            prefix: prefix.to_owned(),
            start_after: None,
            page_keys: None,
            state: State::First,
            patience,
            date: Arc::default(),
            extras: Extras::RestoreStatusAndEncoding,
            tokens: SeenTokens::default(),
        }
    }

    /// The folders right below `prefix`, each with the prefix and its `/`: those of one page.
    ///
    /// # Errors
    /// When the page cannot be had. Gives up after a few tries.
    pub async fn folders(&self, prefix: &str) -> Result<Vec<String>, Error> {
        let mut pages = self.list_with(prefix, Patience::PROBE);
        let page = pages.page(None, Some(DELIMITER)).await?;
        let encoded = is_encoded(&page);
        let mut folders: Vec<String> =
            page.common_prefixes().iter().filter_map(|common| Some(key_text(common.prefix()?, encoded))).collect();
        // Some servers list all keys, asked for folders or not.
        let keys = page.contents().iter().filter_map(|object| Some(key_text(object.key()?, encoded)));
        folders.extend(keys.filter_map(|key| {
            let end = prefix.len() + key.get(prefix.len()..)?.find(DELIMITER)? + DELIMITER.len();
            Some(key[..end].to_owned())
        }));
        folders.sort_unstable();
        folders.dedup();
        Ok(folders)
    }
}

impl Pages {
    /// The same, from behind a key on.
    #[must_use]
    pub fn starting_after(self, key: Option<String>) -> Self {
        Self { start_after: key, ..self }
    }

    /// The same with at most this many keys in a page, for whoever wants to know little.
    #[must_use]
    pub fn with_page_keys(self, keys: i32) -> Self {
        Self { page_keys: Some(keys), ..self }
    }

    /// Whether the last page was given: there is no other.
    #[must_use]
    pub fn is_last(&self) -> bool {
        matches!(self.state, State::Done)
    }

    /// The next page (up to 1,000 objects, possibly none), or `None` after the last one. Dropping the future loses
    /// nothing: the same page is asked for again.
    ///
    /// # Errors
    /// When the listing cannot go on. Ends the listing: a listing that lacks a page must not pass for a whole one.
    pub async fn next(&mut self) -> Result<Option<Vec<ObjectMeta>>, Error> {
        let token = match &self.state {
            State::First => None,
            State::After(token) => Some(token.clone()),
            State::Done => return Ok(None),
        };
        let page = self.page(token, None).await?;
        let encoded = is_encoded(&page);
        Ok(Some(page.contents().iter().filter_map(|object| meta(object, encoded)).collect()))
    }

    /// One page, and where the next one is.
    async fn page(&mut self, token: Option<String>, delimiter: Option<&str>) -> Result<ListObjectsV2Output, Error> {
        let (store, prefix, budget) = (self.store.clone(), self.prefix.clone(), RetryBudget::default());
        let mut attempts = Attempts::new(&store, Operation::List, &prefix, self.patience, &budget);
        loop {
            let page = self.attempt(token.clone(), delimiter, &mut attempts).await;
            let failure = match page.and_then(|page| self.follow(&page).map(|()| page)) {
                Ok(page) => return Ok(page),
                Err(failure) => failure,
            };
            if token.is_none()
                && refuses_extras(&failure)
                && let Some(fewer) = self.extras.fewer()
            {
                tracing::debug!(
                    code = failure.code,
                    status = failure.status,
                    refused = ?self.extras,
                    "the server refuses the listing, asking again with fewer extras"
                );
                self.extras = fewer;
                continue;
            }
            attempts.again(failure).await?;
        }
    }

    async fn attempt(
        &self,
        token: Option<String>,
        delimiter: Option<&str>,
        attempts: &mut Attempts<'_>,
    ) -> Result<ListObjectsV2Output, Failure> {
        let permit = attempts.admitted().await;
        let restore_status = self.extras == Extras::RestoreStatusAndEncoding;
        Usage::add(&self.store.inner.usage.lists, 1);
        let request = self
            .store
            .inner
            .client
            .list_objects_v2()
            .bucket(&self.store.inner.bucket)
            .set_prefix((!self.prefix.is_empty()).then(|| self.prefix.clone()))
            .set_delimiter(delimiter.map(str::to_owned))
            .set_start_after(self.start_after.clone())
            .set_max_keys(self.page_keys)
            .set_continuation_token(token)
            .set_request_payer(self.store.payer())
            .set_encoding_type((self.extras != Extras::None).then_some(EncodingType::Url))
            .set_optional_object_attributes(restore_status.then(|| vec![OptionalObjectAttributes::RestoreStatus]))
            .customize()
            .interceptor(DateReader(Arc::clone(&self.date)))
            .send();
        let page = match tokio::time::timeout(attempts.first_byte(), request).await {
            Ok(page) => page.map_err(|error| classify(Operation::List, &error)),
            Err(_) => Err(Failure::transport("Timeout", "no answer in time")),
        };
        permit.judge(&page);
        if page.is_ok() {
            attempts.progressed(0);
        }
        page
    }

    /// Takes in where the listing goes on. An answer that leads nowhere is not asked for again: it would be the same.
    fn follow(&mut self, page: &ListObjectsV2Output) -> Result<(), Failure> {
        let next = page.next_continuation_token();
        let nowhere = |text: String| Err(Failure { retryable: false, ..Failure::contradiction(text) });
        // Who names a page after this one has one, said or not.
        match (page.is_truncated().unwrap_or(next.is_some()), next) {
            (false, _) => self.state = State::Done,
            (true, None) => {
                return nowhere(
                    "the server answers IsTruncated true without a NextContinuationToken, so that the rest of the \
                     listing cannot be had"
                        .to_owned(),
                );
            }
            (true, Some(next)) if !self.tokens.add(next) => {
                let shown: String = next.chars().take(SHOWN_TOKEN_CHARS).collect();
                return nowhere(format!(
                    "the server answers the NextContinuationToken {shown:?} for the second time, so that the listing \
                     would never end"
                ));
            }
            (true, Some(next)) => self.state = State::After(next.to_owned()),
        }
        Ok(())
    }
}

impl Pages {
    /// S3's clock when it answered the first page, in seconds since 1970; `None` before that, or when it sent no `Date`.
    #[must_use]
    pub fn date_s(&self) -> Option<i64> {
        Some(self.date.0.load(Ordering::Relaxed)).filter(|seconds| *seconds != 0)
    }
}

/// Seconds since 1970; 0 before the first answer.
#[derive(Debug, Default)]
struct FirstDate(AtomicI64);

/// Looks at an answer's `Date` header, which the SDK does not pass on.
#[derive(Debug)]
struct DateReader(Arc<FirstDate>);

#[aws_smithy_runtime_api::client::interceptors::dyn_dispatch_hint]
impl Intercept for DateReader {
    fn name(&self) -> &'static str {
        "DateReader"
    }

    fn read_before_deserialization(
        &self,
        context: &BeforeDeserializationInterceptorContextRef<'_>,
        _: &RuntimeComponents,
        _: &mut ConfigBag,
    ) -> Result<(), BoxError> {
        let date = context.response().headers().get("date");
        if let Some(date) = date.and_then(|text| DateTime::from_str(text, Format::HttpDate).ok()) {
            // The first page's only: what is written later may be missing from it.
            let _ = self.0.0.compare_exchange(0, date.secs(), Ordering::Relaxed, Ordering::Relaxed);
        }
        Ok(())
    }
}

/// Whether the answer says that its keys are in URL encoding.
fn is_encoded(page: &ListObjectsV2Output) -> bool {
    page.encoding_type() == Some(&EncodingType::Url)
}

/// A key as it is, from what the listing shows: a space is `+` there, `%` and two hexadecimal digits are a byte. What
/// could not come from such an encoding stays as it is. Bytes that are no UTF-8 become U+FFFD: no request can ask for such
/// a key, and by this character the read tells that its object was not deleted.
fn key_text(shown: &str, encoded: bool) -> String {
    if !encoded || !shown.contains(['%', '+']) {
        return shown.to_owned();
    }
    let mut bytes = Vec::with_capacity(shown.len());
    let mut rest = shown.as_bytes();
    while let Some((&first, tail)) = rest.split_first() {
        let hex = |at: usize| tail.get(at).and_then(|byte| char::from(*byte).to_digit(16));
        match (first, hex(0), hex(1)) {
            // Two hexadecimal digits are a byte.
            (b'%', Some(high), Some(low)) => {
                bytes.extend(u8::try_from(high << 4 | low));
                rest = &tail[2..];
            }
            (b'+', ..) => {
                bytes.push(b' ');
                rest = tail;
            }
            _ => {
                bytes.push(first);
                rest = tail;
            }
        }
    }
    String::from_utf8(bytes).unwrap_or_else(|error| String::from_utf8_lossy(error.as_bytes()).into_owned())
}

/// What we keep of a listed object. An entry without a key is not an object.
fn meta(object: &Object, encoded: bool) -> Option<ObjectMeta> {
    let restored = object.restore_status().is_some_and(|status| {
        !status.is_restore_in_progress().unwrap_or(false) && status.restore_expiry_date().is_some()
    });
    let class = object.storage_class().map_or("", |class| class.as_str());
    Some(ObjectMeta {
        key: key_text(object.key()?, encoded),
        size_bytes: object.size().and_then(|size| u64::try_from(size).ok()).unwrap_or(0),
        etag: object.e_tag().filter(|tag| !tag.is_empty()).map(ETag::new),
        last_modified_s: object.last_modified().map_or(0, |time| time.secs()),
        archived: is_archive(class) && !restored,
    })
}

/// GLACIER_IR and INTELLIGENT_TIERING are readable at once; these two are not.
fn is_archive(storage_class: &str) -> bool {
    matches!(storage_class, "GLACIER" | "DEEP_ARCHIVE")
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn archive_classes() {
        for class in ["GLACIER", "DEEP_ARCHIVE"] {
            assert!(is_archive(class), "{class}");
        }
        for class in ["", "STANDARD", "GLACIER_IR", "INTELLIGENT_TIERING", "STANDARD_IA"] {
            assert!(!is_archive(class), "{class}");
        }
    }

    #[test]
    fn keys_are_decoded_where_the_answer_says_so() {
        for (shown, key) in [
            ("a/b.parquet", "a/b.parquet"),
            ("a+b%2Bc%20d", "a b+c d"),
            ("100%25", "100%"),
            ("%17%0a", "\u{17}\n"),
            ("%C3%BC%c3%bc", "üü"),
            ("ü", "ü"),
            // From servers that say `url` and do not encode, or cut something off.
            ("100%", "100%"),
            ("%2", "%2"),
            ("%zz%", "%zz%"),
            // No UTF-8.
            ("%FF+", "\u{fffd} "),
            ("caf%E9.parquet", "caf\u{fffd}.parquet"),
        ] {
            assert_eq!(key_text(shown, true), key);
            assert_eq!(key_text(shown, false), shown);
        }
    }

    proptest! {
        #[test]
        fn any_key_survives_the_encoding(key in any::<String>(), plus: bool) {
            let encode = |byte: u8| match byte {
                b'a'..=b'z' | b'/' | b'.' => char::from(byte).to_string(),
                b' ' if plus => "+".to_owned(),
                byte => format!("%{byte:02X}"),
            };
            let shown: String = key.bytes().map(encode).collect();
            prop_assert_eq!(key_text(&shown, true), key);
        }
    }
}
