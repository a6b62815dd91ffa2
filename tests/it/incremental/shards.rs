//! Several plugins at once, each with its share of a bucket, and one backend.

use super::*;

#[tokio::test]
async fn each_shard_announces_a_table_that_lost_all_its_objects() {
    let lake = Lake::start().await;
    lake.put("t/a.parquet");
    lake.put("u/a.parquet");
    let mut shards = shards(2).await;
    sync_shards(&lake, &mut shards).await;
    lake.rig.s3.delete("t/a.parquet");
    for sync in sync_shards(&lake, &mut shards).await {
        assert_eq!((sync.tables(), sync.messages.len()), (vec!["t".to_owned(), "u".to_owned()], 2));
    }
}

#[tokio::test]
async fn each_shard_counts_its_own_objects_against_the_limit() {
    let lake = Lake::start().await;
    for n in 0..30 {
        lake.rig.s3.put_with(&format!("t/{n:02}.parquet"), small(&format!("{n:02}")), at(NOON + n));
    }
    let spec = lake.rig.spec(json!({"ledger_limit": 5, "late_arrival_window": "1h"}));
    for (plugin, mut client, shard) in shards(2).await {
        let mut sent = 0;
        // The second one: what was sent by the one before is sure to be stored.
        for _ in 0..2 {
            client.init(&spec).await.unwrap();
            let request = state_request(&lake.backend, Some(shard));
            let sync = client.sync_with(request, |message| lake.backend.store(message)).await;
            assert_protocol(&sync);
            sent += origins(&sync).len() as u64;
        }
        let log = plugin.stop();
        let warnings: Vec<_> = log.iter().filter(|line| line["level"] == "warn").collect();
        let [warning] = &warnings[..] else { panic!("one warning: {warnings:#?}") };
        assert_eq!(warning["unseen"], 0, "the other shard sends the others: {warning}");
        assert!(warning["objects"].as_u64().unwrap() <= sent, "{warning}");
    }
}

/// A plugin and a client for each shard.
async fn shards(total: i32) -> Vec<(Plugin, Client, (i32, i32))> {
    let mut shards = Vec::new();
    for number in 1..=total {
        let (plugin, client) = crate::rig::plugin().await;
        shards.push((plugin, client, (number, total)));
    }
    shards
}

/// Syncs all shards at once: what each brought.
async fn sync_shards(lake: &Lake, shards: &mut [(Plugin, Client, (i32, i32))]) -> Vec<Collected> {
    let spec = lake.rig.spec(json!({}));
    let syncs = shards.iter_mut().map(|(_, client, shard)| {
        let (spec, request) = (spec.clone(), state_request(&lake.backend, Some(*shard)));
        async move {
            client.init(&spec).await.unwrap();
            client.sync_with(request, |message| lake.backend.store(message)).await
        }
    });
    let syncs = futures::future::join_all(syncs).await;
    for sync in &syncs {
        assert_protocol(sync);
        assert_eq!(tables(sync), tables(&syncs[0]), "migrates in all shards");
    }
    syncs
}

#[tokio::test]
async fn items_91_and_92_four_shards_at_once_against_one_backend_are_complete_without_doubles() {
    let lake = Lake::start().await;
    let mut keys = BTreeSet::new();
    for n in 0..60 {
        keys.insert(format!("t/{n}.parquet"));
        keys.insert(format!("u/{n}.parquet"));
    }
    keys.insert("single/a.parquet".to_owned());
    for key in &keys {
        lake.put(key);
    }
    let mut shards = shards(4).await;
    let mut of_key: BTreeMap<String, usize> = BTreeMap::new();
    for (shard, sync) in sync_shards(&lake, &mut shards).await.iter().enumerate() {
        let origins = origins(sync);
        assert_eq!(sync.rows("t") + sync.rows("u") + sync.rows("single"), 100 * origins.len(), "no doubles");
        assert!((15..50).contains(&origins.len()), "shard {shard} has {}", origins.len());
        for origin in origins {
            assert_eq!(of_key.insert(origin.clone(), shard), None, "{origin} in two shards");
        }
    }
    assert_eq!(of_key.keys().cloned().collect::<BTreeSet<_>>(), keys);

    lake.rig.s3.reset_counts();
    for sync in sync_shards(&lake, &mut shards).await {
        assert_eq!(sync.messages.len(), 3, "migrates only: nobody overwrote another's state");
    }
    assert_eq!(lake.rig.s3.counts().gets, 0);
    lake.rig.s3.put("t/7.parquet", small("again"));
    let syncs = sync_shards(&lake, &mut shards).await;
    assert_eq!(syncs.iter().filter(|sync| origins(sync) == set(&["again"])).count(), 1);
    assert_eq!(syncs.iter().filter(|sync| origins(sync).is_empty()).count(), 3);

    // Another total: a re-read, which the log says.
    let (plugin, mut client) = crate::rig::plugin().await;
    client.init(&lake.rig.spec(json!({}))).await.unwrap();
    let sync = client.sync_with(state_request(&lake.backend, None), |message| lake.backend.store(message)).await;
    assert_protocol(&sync);
    assert_eq!(origins(&sync).len(), keys.len());
    plugin.wait_for_line("why it reads all", |line| line["message"].to_string().contains("number of shards"));
}

#[tokio::test]
async fn item_91_a_shard_without_objects_sends_migrates() {
    let lake = Lake::start().await;
    lake.put("t/a.parquet");
    let mut shards = shards(3).await;
    let syncs = sync_shards(&lake, &mut shards).await;
    let mut rows: Vec<usize> = syncs.iter().map(|sync| sync.rows("t")).collect();
    rows.sort_unstable();
    assert_eq!(rows, [0, 0, 100]);
}

#[tokio::test]
async fn a_damaged_object_is_reported_by_the_shard_that_has_it() {
    let lake = Lake::start().await;
    lake.put("t/a.parquet");
    lake.rig.s3.put("t/garbage.parquet", "no Parquet at all");
    let spec = lake.rig.spec(json!({}));
    let mut errors = 0;
    for (_plugin, mut client, shard) in shards(2).await {
        client.init(&spec).await.unwrap();
        let sync =
            client.sync_with(state_request(&lake.backend, Some(shard)), |message| lake.backend.store(message)).await;
        assert!(sync.status.is_none(), "{:?}", sync.status);
        errors += sync.errors().len();
    }
    assert_eq!(errors, 1);
}
