//! Questions that a user waits for: does it work, and where is the bucket?

use super::failure::{Failure, classify};
use super::retry::{Attempts, Patience, RetryBudget};
use super::{ByteRange, Error, ErrorKind, ObjectMeta, Operation, Store};

impl Store {
    /// Lists one page under `prefix` and reads one byte of one object: the first that is `wanted`, else the first that has
    /// any and is not archived.
    ///
    /// # Errors
    /// The first call that fails. Gives up after a few tries: a user is waiting.
    pub async fn probe(&self, prefix: &str, wanted: impl Fn(&ObjectMeta) -> bool) -> Result<(), Error> {
        let page = self.list_with(prefix, Patience::PROBE).next().await?.unwrap_or_default();
        let readable = || page.iter().filter(|object| object.size_bytes > 0 && !object.archived);
        let Some(object) = readable().find(|object| wanted(object)).or_else(|| readable().next()) else {
            return Ok(());
        };
        let range = ByteRange::Part { start: 0, len: 1 };
        let read = self.get_with(&object.key, range, None, &RetryBudget::default(), Patience::PROBE).await;
        match read {
            // Deleted, replaced or archived: access was granted, which is what we asked.
            Err(error) if matches!(error.kind, ErrorKind::Gone | ErrorKind::Changed | ErrorKind::Archived) => Ok(()),
            Err(error) => Err(error),
            Ok(_) => Ok(()),
        }
    }

    /// Asks the bucket where it is. S3 says it in a header of every answer, refusals included.
    pub(super) async fn bucket_region(&self) -> Result<String, Error> {
        let budget = RetryBudget::default();
        let mut attempts = Attempts::new(self, Operation::List, "", Patience::PROBE, &budget);
        loop {
            let permit = attempts.admitted().await;
            let request = self.inner.client.head_bucket().bucket(&self.inner.bucket).send();
            let failure = match tokio::time::timeout(attempts.first_byte(), request).await {
                Err(_) => Failure::transport("Timeout", "no answer in time"),
                Ok(Ok(answer)) => match answer.bucket_region() {
                    Some(region) => return Ok(region.to_owned()),
                    None => Failure { retryable: false, ..Failure::contradiction("the answer names no region") },
                },
                Ok(Err(error)) => {
                    let header = error.raw_response().and_then(|raw| raw.headers().get("x-amz-bucket-region"));
                    match header {
                        Some(region) => return Ok(region.to_owned()),
                        None => classify(Operation::List, &error),
                    }
                }
            };
            drop(permit);
            attempts.again(failure).await?;
        }
    }
}
