//! ListObjectsV2, one page at a time: nothing but the page at hand is held.

use super::error::classify;
use super::retry::{Attempts, Patience, RetryBudget};
use super::{ETag, Error, ObjectMeta, Operation, Store, Usage};
use aws_sdk_s3::types::{Object, OptionalObjectAttributes};
use aws_smithy_runtime_api::box_error::BoxError;
use aws_smithy_runtime_api::client::interceptors::Intercept;
use aws_smithy_runtime_api::client::interceptors::context::BeforeDeserializationInterceptorContextRef;
use aws_smithy_runtime_api::client::runtime_components::RuntimeComponents;
use aws_smithy_types::DateTime;
use aws_smithy_types::config_bag::ConfigBag;
use aws_smithy_types::date_time::Format;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};

/// HTTP status of servers that refuse a header they do not know.
const NOT_IMPLEMENTED: u16 = 501;

/// Where a listing stands. [`Pages::next`] gives one page after the other.
#[derive(Debug)]
pub struct Pages {
    store: Store,
    prefix: String,
    state: State,
    patience: Patience,
    /// The `Date` of the first answer, seconds since 1970.
    date: Arc<FirstDate>,
    /// Ask for the state of restores from archive classes. Given up for servers that do not know the question.
    restore_status: bool,
}

#[derive(Debug)]
enum State {
    First,
    After(String),
    Done,
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
            state: State::First,
            patience,
            date: Arc::default(),
            restore_status: true,
        }
    }
}

impl Pages {
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
        let budget = RetryBudget::default();
        let mut attempts = Attempts::new(&self.store, Operation::List, &self.prefix, self.patience, &budget);
        loop {
            let first_byte = attempts.start();
            Usage::add(&self.store.inner.usage.lists, 1);
            let request = self
                .store
                .inner
                .client
                .list_objects_v2()
                .bucket(&self.store.inner.bucket)
                .set_prefix((!self.prefix.is_empty()).then(|| self.prefix.clone()))
                .set_continuation_token(token.clone())
                .set_request_payer(self.store.payer())
                .set_optional_object_attributes(
                    self.restore_status.then(|| vec![OptionalObjectAttributes::RestoreStatus]),
                )
                .customize()
                .interceptor(DateReader(Arc::clone(&self.date)))
                .send();
            let failure = match tokio::time::timeout(first_byte, request).await {
                Err(_) => super::error::Failure::transport("Timeout", "no answer in time"),
                Ok(Err(error)) => classify(Operation::List, &error),
                Ok(Ok(page)) => {
                    attempts.progressed();
                    match (page.is_truncated().unwrap_or(false), page.next_continuation_token()) {
                        (false, _) => self.state = State::Done,
                        // Some servers repeat the token: that would never end.
                        (true, Some(next)) if Some(next) != token.as_deref() => {
                            self.state = State::After(next.to_owned());
                        }
                        (true, _) => {
                            let failure = super::error::Failure::nonsense(
                                "the page is said to be truncated, but has no new continuation token",
                            );
                            attempts.again(failure).await?;
                            continue;
                        }
                    }
                    return Ok(Some(page.contents().iter().filter_map(meta).collect()));
                }
            };
            if failure.status == Some(NOT_IMPLEMENTED) && std::mem::take(&mut self.restore_status) {
                continue;
            }
            attempts.again(failure).await?;
        }
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

/// What we keep of a listed object. An entry without a key is no object.
fn meta(object: &Object) -> Option<ObjectMeta> {
    let restored = object.restore_status().is_some_and(|status| {
        !status.is_restore_in_progress().unwrap_or(false) && status.restore_expiry_date().is_some()
    });
    let class = object.storage_class().map_or("", |class| class.as_str());
    Some(ObjectMeta {
        key: object.key()?.to_owned(),
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
    use super::is_archive;

    #[test]
    fn archive_classes() {
        for class in ["GLACIER", "DEEP_ARCHIVE"] {
            assert!(is_archive(class), "{class}");
        }
        for class in ["", "STANDARD", "GLACIER_IR", "INTELLIGENT_TIERING", "STANDARD_IA"] {
            assert!(!is_archive(class), "{class}");
        }
    }
}
