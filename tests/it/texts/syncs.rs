//! What a sync says when something is wrong: objects, tables, the bucket, the state.

use super::{check, file, log_text, number, outcome, text};
use crate::rig::{self, Rig, small};
use arrow::array::{ArrayRef, TimestampSecondArray};
use bytes::BytesMut;
use expect_test::expect;
use serde_json::json;
use std::sync::Arc;
use std::time::SystemTime;
use testkit::backend::{Backend, Method, Mode, Trouble};
use testkit::parquet_files as files;
use testkit::s3_server::{Action, DEFAULT_BUCKET, ObjectAttributes, Restore};

#[tokio::test]
async fn objects_that_cannot_be_read() {
    let mut rig = Rig::start().await;
    let good = small("good");
    let mut encrypted = BytesMut::from(&good[..]);
    let end = encrypted.len();
    encrypted[end - 4..].copy_from_slice(b"PARE");
    let mut damaged = BytesMut::from(&files::with_row_groups(2_000, 1_000, 1)[..]);
    damaged[4..104].fill(0xAA);
    rig.s3.put("t/good.parquet", good.clone());
    rig.s3.put("t/denied.parquet", good.clone());
    rig.s3.put("t/encrypted.parquet", encrypted.freeze());
    rig.s3.put("t/text.parquet", "id,name\n1,Ada\n".repeat(100));
    rig.s3.put("t/tiny.parquet", "PAR1");
    rig.s3.put("t/truncated.parquet", good.slice(..good.len() / 2));
    rig.s3.put("u/damaged.parquet", damaged.freeze());
    rig.s3.on_get(|key, _| (key == "t/denied.parquet").then_some(Action::Status(403, "AccessDenied")));
    // One at a time: which is the first that fails is in the text.
    let sync = rig.sync(json!({"concurrency": 1})).await;
    check(
        &expect![[r#"
            t: GetObject of s3://test-bucket/t/denied.parquet failed: AccessDenied (HTTP 403): made by the test; allow s3:GetObject on arn:aws:s3:::test-bucket/t/denied.parquet

            t: s3://test-bucket/t/encrypted.parquet: the Parquet file is encrypted (its magic is PARE): encrypted files can't be read; write it unencrypted, or exclude it

            t: s3://test-bucket/t/text.parquet: not a Parquet file: it ends in "Ada\n", expected "PAR1"; it begins with "id,name\n"; write it again, or put it into `exclude`

            t: s3://test-bucket/t/tiny.parquet: not a Parquet file: it has 4 bytes, the smallest Parquet file has 12; it begins with "PAR1"; write it again, or put it into `exclude`

            t: s3://test-bucket/t/truncated.parquet: not a Parquet file: it ends in "fi\x10\x00", expected "PAR1"; it begins with "PAR1\x15\x00\x15\xc0"; write it again, or put it into `exclude`

            u: s3://test-bucket/u/damaged.parquet: row group 0, column "id", dictionary page: cannot parse past Set; write it again, or put it into `exclude`

            => DataLoss: failed to sync records: failed to sync unmanaged client: 6 objects could not be read, the first: GetObject of s3://test-bucket/t/denied.parquet failed: AccessDenied (HTTP 403): made by the test; allow s3:GetObject on arn:aws:s3:::test-bucket/t/denied.parquet. An object that is bad for good belongs in `exclude`; `on_object_error: skip` lets a sync end well all the same; All else was sent, but a sync that ends with an error makes the CLI stop the destination, and rows that it had not written yet are lost: only a sync that ends well is complete
        "#]],
        &outcome(&sync),
    );

    let sync = rig.sync(json!({"on_object_error": "skip", "include": ["t/good.parquet", "t/tiny.parquet"]})).await;
    assert_eq!(sync.status.map(|status| status.to_string()), None);
    check(
        &expect![[r#"
            warn: objects could not be read and on_object_error is skip: with write_mode overwrite-delete-stale the destination removes the rows that earlier syncs brought of them
                count: 1
                first: s3://test-bucket/t/tiny.parquet: not a Parquet file: it has 4 bytes, the smallest Parquet file has 12; it begins with "PAR1"; write it again, or put it into `exclude`
        "#]],
        &log_text(&rig.lines("warn"), &["warn"]),
    );
}

#[tokio::test]
async fn objects_that_are_archived() {
    let mut rig = Rig::start().await;
    let archived = || ObjectAttributes {
        storage_class: Some("GLACIER".to_owned()),
        restore: Restore::None,
        ..ObjectAttributes::default()
    };
    for key in ["t/1.parquet", "t/2.parquet", "u/1.parquet"] {
        rig.s3.put_with(key, small(key), archived());
    }
    rig.s3.put("t/3.parquet", small("here"));
    let sync = rig.sync(json!({})).await;
    check(
        &expect![[r#"
            t: 2 objects are archived (GLACIER or DEEP_ARCHIVE) and cannot be read, the first: s3://test-bucket/t/1.parquet. Restore or `exclude` what is archived

            u: 1 object is archived (GLACIER or DEEP_ARCHIVE) and cannot be read, the first: s3://test-bucket/u/1.parquet. Restore or `exclude` what is archived

            => DataLoss: failed to sync records: failed to sync unmanaged client: 3 objects are archived (GLACIER or DEEP_ARCHIVE) and cannot be read, the first: s3://test-bucket/t/1.parquet (table t). Restore or `exclude` what is archived, or set `on_archived: skip`; All else was sent, but a sync that ends with an error makes the CLI stop the destination, and rows that it had not written yet are lost: only a sync that ends well is complete
        "#]],
        &outcome(&sync),
    );
    rig.sync(json!({"on_archived": "skip"})).await;
    check(
        &expect![[r#"
        warn: archived objects are skipped: with write_mode overwrite-delete-stale the destination removes the rows that earlier syncs brought of them
            table: t
            count: 2
            first: s3://test-bucket/t/1.parquet
        warn: archived objects are skipped: with write_mode overwrite-delete-stale the destination removes the rows that earlier syncs brought of them
            table: u
            count: 1
            first: s3://test-bucket/u/1.parquet
    "#]],
        &log_text(&rig.plugin.stop(), &["warn"]),
    );
}

#[tokio::test]
async fn files_that_do_not_agree() {
    let mut rig = Rig::start().await;
    rig.s3.put("sales/2025.parquet", number("amount"));
    rig.s3.put("sales/2026.parquet", text("amount"));
    rig.s3.put("visits/a.parquet", number("amount"));
    rig.s3.put("visits/b.parquet", number("who"));
    rig.s3.put("users/a.parquet", small("a"));
    let sync = rig.sync(json!({"concurrency": 1})).await;
    check(
        &expect![[r#"
            sales: table sales of bucket test-bucket: "sales/2025.parquet" and "sales/2026.parquet" do not agree: column "amount" is int64 in the first and utf8 in the second; all files of a table must have the same columns, so move one of them to another prefix, or exclude it. Left out: 2 objects with 2 rows (N bytes). To give the column one type, write `columns: {"amount": "utf8"}` below spec. To take all files, with null where one lacks a column and with joined types where they differ, add these lines to the source:
            spec:
              schema:
                mode: merge

            visits: table visits of bucket test-bucket: "visits/a.parquet" and "visits/b.parquet" do not agree: column "amount" is int64 in the first and missing in the second; all files of a table must have the same columns, so move one of them to another prefix, or exclude it. Left out: 2 objects with 2 rows (N bytes). To take all files, with null where one lacks a column and with joined types where they differ, add these lines to the source:
            spec:
              schema:
                mode: merge

            => DataLoss: failed to sync records: failed to sync unmanaged client: 2 tables were left out, the first: table sales of bucket test-bucket: "sales/2025.parquet" and "sales/2026.parquet" do not agree: column "amount" is int64 in the first and utf8 in the second; all files of a table must have the same columns, so move one of them to another prefix, or exclude it. Left out: 2 objects with 2 rows (N bytes). `on_object_error: skip` lets a sync end well without them; All else was sent, but a sync that ends with an error makes the CLI stop the destination, and rows that it had not written yet are lost: only a sync that ends well is complete. To give the column one type, write `columns: {"amount": "utf8"}` below spec. To take all files, with null where one lacks a column and with joined types where they differ, add these lines to the source:
            spec:
              schema:
                mode: merge
        "#]],
        &outcome(&sync),
    );
}

#[tokio::test]
async fn what_ends_a_sync_before_its_first_row() {
    let mut rig = Rig::start().await;
    for key in ["a-b/1.parquet", "a_b/1.parquet", "e/dt=2026-01-01/1.parquet", "e/dt=2026-01-02/1.parquet"] {
        rig.s3.put(key, small(key));
    }
    let mut texts = vec![outcome(&rig.sync(json!({})).await), outcome(&rig.sync(json!({"max_tables": 2})).await)];
    rig.init(json!({"path_prefix": "a_b/"})).await;
    texts.push(outcome(&rig.client.sync(&["orders"], &[]).await));
    texts.push(outcome(&rig.client.sync(&["*"], &["*"]).await));
    texts.push(outcome(&rig.sync(json!({"bucket": "no-such-bucket"})).await));
    rig.s3.on_list(|_| Some(Action::Status(403, "AccessDenied")));
    texts.push(outcome(&rig.sync(json!({})).await));
    rig.s3.clear_hooks();
    rig.s3.bucket(DEFAULT_BUCKET).set_region("eu-west-1");
    texts.push(outcome(&rig.sync(json!({})).await));
    rig.s3.require_credentials("AKIATEST", "other");
    texts.push(outcome(&rig.sync(json!({})).await));
    check(
        &expect![[r#"
            => InvalidArgument: failed to sync records: failed to sync unmanaged client: "a-b/" and "a_b/" would both become the table a_b; read one of them, for example with `exclude: ["a_b/*.parquet"]`, or sync them as two sources with different destinations

            => InvalidArgument: failed to sync records: failed to sync unmanaged client: at least 4 tables are selected, more than max_tables (2): 2 of them are `key=value` folders of partitioned tables, such as "e/dt=2026-01-01/", each of which is a table of its own; `partitions: hive` makes columns of them, and one table of "e/"; narrow `path_prefix`, `include` or `tables`, or raise `max_tables`

            => InvalidArgument: failed to sync records: failed to sync unmanaged client: tables include a pattern orders with no matches

            => InvalidArgument: failed to sync records: failed to sync unmanaged client: no tables specified for syncing, review `tables` and `skip_tables` in your config and specify at least one table to sync

            => NotFound: failed to sync records: failed to sync unmanaged client: ListObjectsV2 of s3://no-such-bucket failed: NoSuchBucket (HTTP 404): The specified bucket does not exist; check `bucket`, and `endpoint` if it is set

            => PermissionDenied: failed to sync records: failed to sync unmanaged client: ListObjectsV2 of s3://test-bucket failed: AccessDenied (HTTP 403): made by the test; allow s3:ListBucket on arn:aws:s3:::test-bucket

            => InvalidArgument: failed to sync records: failed to sync unmanaged client: ListObjectsV2 of s3://test-bucket failed: PermanentRedirect (HTTP 301): The bucket must be addressed using its own endpoint; set `region: eu-west-1` in the spec

            => Unauthenticated: failed to sync records: failed to sync unmanaged client: ListObjectsV2 of s3://test-bucket failed: SignatureDoesNotMatch (HTTP 403); check the credentials: the spec's `credentials` or `local_profile`, else the AWS environment, profile, container or instance role
        "#]],
        &texts.concat(),
    );
}

#[tokio::test]
async fn what_the_listing_warns_of() {
    let mut rig = Rig::start().await;
    for key in ["orders/1.parquet", "delta/1.parquet"] {
        rig.s3.put(key, small(key));
    }
    for key in ["orders/2.PARQUET", "old/1.csv", "old/2.csv", "athena/20260101_000000_x", "delta/_delta_log/0.json"] {
        rig.s3.put(key, "rows");
    }
    rig.init(json!({})).await;
    rig.client.sync(&["*"], &["users"]).await;
    rig.sync(json!({"path_prefix": "ordrs/"})).await;
    check(
        &expect![[r#"
            warn: s3://test-bucket/delta/ is a table in Delta format: all its Parquet files are read, also those that the table no longer refers to; exclude it, or expect old rows
            warn: s3://test-bucket/athena/: 1 skipped object could be data, such as "athena/20260101_000000_x"; a name without extension tells no format: have the names of Parquet files end in `.parquet`, or read them through a mapping with `filetype: parquet`, or leave them out with `exclude`
            warn: s3://test-bucket/old/: 2 skipped objects could be data, such as "old/1.csv"; only Parquet is read by default: `filetype: auto` reads CSV, JSON, Avro and Arrow, too; other formats have to be converted, or leave them out with `exclude`
            warn: s3://test-bucket/orders/: 1 skipped object could be data, such as "orders/2.PARQUET"; only names that end in `.parquet`, in lower case, are read: rename such files, or read them through a mapping with `filetype: parquet`, or leave them out with `exclude`
            warn: skip_tables include a pattern users with no matches
            warn: tables include the pattern *, but there is no table: no Parquet object passes path_prefix, include and exclude; 0 keys were listed under s3://test-bucket/ordrs/; the folders in s3://test-bucket/ are "orders/", "old/", "delta/" and 1 more
        "#]],
        &log_text(&rig.plugin.stop(), &["warn"]),
    );
}

#[tokio::test]
async fn what_a_sync_warns_of() {
    let mut rig = Rig::start().await;
    let times: ArrayRef = Arc::new(TimestampSecondArray::from(vec![0, i64::MAX / 1_000, i64::MIN / 1_000]));
    rig.s3.put("t/1.parquet", file(vec![("at", true, times)]));
    rig.s3.put("t/2.parquet", file(vec![("at", true, Arc::new(TimestampSecondArray::from(vec![1])) as ArrayRef)]));
    rig.s3.on_get(|key, _| (key == "t/2.parquet").then_some(Action::Status(404, "NoSuchKey")));
    let sync = rig.sync(json!({})).await;
    assert_eq!(outcome(&sync).trim(), "=> OK");
    check(
        &expect![[r#"
            warn: object was deleted after it was listed; it is left out
                table: t
                bucket: test-bucket
                key: t/2.parquet
            warn: values that do not fit were changed: timestamps out of range became null: 2
                table: t
        "#]],
        &log_text(&rig.plugin.stop(), &["warn", "error"]),
    );
}

#[tokio::test]
async fn what_incremental_syncs_warn_of() {
    let mut rig = Rig::start().await;
    let backend = Backend::start(Mode::Upsert).await;
    let old = || ObjectAttributes { last_modified: Some(SystemTime::UNIX_EPOCH), ..ObjectAttributes::default() };
    rig.s3.put_with("t/1.parquet", small("1"), old());
    rig.sync_with_state(json!({}), &backend).await;
    // The state is stored and the rows are not: the destination dies with its last batch.
    rig.s3.put("t/2.parquet", small("2"));
    rig.init(json!({})).await;
    rig.client.sync_with(rig::state_request(&backend, None), |_| {}).await;
    rig.sync_with_state(json!({}), &backend).await;
    rig.sync_with_state(json!({"ledger_limit": 1}), &backend).await;
    rig.sync_with_state(json!({"file_columns": true}), &backend).await;
    backend.trouble(Method::Read, Trouble::Refused, 1);
    rig.sync_with_state(json!({"file_columns": true}), &backend).await;
    check(
        &expect![[r#"
        warn: the last sync was interrupted before the destination had stored all of its rows: these objects are read again
            objects: 1
        warn: the table has more objects than ledger_limit: objects last modified by the low water count as done from now on, known or not
            table: t
            ledger_limit: 1
            low_water_s: 1
            objects: 1
            unseen: 0
        warn: the table's columns changed with an option or the release: all its objects are read again
            table: t
            objects_done: 1
        warn: the state backend failed; it is tried again
            state_table: cq_state
            error: read of the state table "cq_state": the backend is not ready
            tries: 1
            wait_ms: …
    "#]],
        &log_text(&rig.plugin.stop(), &["warn", "error"]),
    );
}

#[tokio::test]
async fn what_incremental_syncs_fail_with() {
    let mut rig = Rig::start().await;
    let backend = Backend::start(Mode::Upsert).await;
    rig.s3.put("t/1.parquet", small("1"));
    rig.sync_with_state(json!({}), &backend).await;
    rig.s3.put("t/2.parquet", number("other"));
    let mut texts = vec![outcome(&rig.sync_with_state(json!({}), &backend).await)];
    rig.s3.delete("t/2.parquet");
    rig.s3.put("t/3.parquet", small("3"));
    backend.set_versions(&[2]);
    texts.push(outcome(&rig.sync_with_state(json!({}), &backend).await));
    backend.set_versions(&[3]);
    backend.remove_rows(rig::STATE_TABLE, |key| key.ends_with("/ledger.0"));
    texts.push(outcome(&rig.sync_with_state(json!({}), &backend).await));
    check(
        &expect![[r#"
            t: table t of bucket test-bucket: "t/1.parquet" and "t/2.parquet" do not agree: column "row" is int64 in the first and missing in the second; all files of a table must have the same columns, so move one of them to another prefix, or exclude it. The first one set the columns of the table in an earlier sync, and they are kept even if it is gone: when all files have the new columns, a new `state_id` reads everything again. Left out: 1 object with 1 row (N bytes). To take all files, with null where one lacks a column and with joined types where they differ, add these lines to the source:
            spec:
              schema:
                mode: merge

            => OK

            => Unavailable: failed to sync records: failed to sync unmanaged client: failed to create state client: please upgrade your state backend plugin. state supporting version 3 plugin has [2]

            => DataLoss: failed to sync records: failed to sync unmanaged client: the state of table "t" cannot be used: cq-source-s3/test-bucket/t/HASH/ledger.0 is missing, which cq-source-s3/test-bucket/t/HASH/ledger counts on; to read the whole table again, delete the rows whose key starts with "cq-source-s3/test-bucket/t/HASH/" from the backend's state table, or give the spec another state_id
        "#]],
        &texts.concat(),
    );
}
