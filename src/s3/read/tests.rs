//! Reads against a server whose every byte the test decides.

use super::*;

#[test]
fn content_ranges() {
    assert_eq!(parse_content_range("bytes 0-9/100"), Some((0, 10, 100)));
    assert_eq!(parse_content_range("bytes 99-99/100"), Some((99, 1, 100)));
    for bad in ["bytes 5-4/100", "bytes 0-100/100", "bytes 0-9/*", "0-9/100", "bytes */100", "bytes a-b/c"] {
        assert_eq!(parse_content_range(bad), None, "{bad}");
    }
}

/// An S3 server of one object whose n-th answer (from 1) is these bytes of HTTP; after them it says nothing more and
/// keeps the connection open. Gives a store for it and the heads of the requests.
async fn store(
    answer: impl Fn(u32) -> Vec<u8> + Send + 'static,
) -> (Store, std::sync::Arc<std::sync::Mutex<Vec<String>>>) {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let options = crate::s3::connect::Options {
        bucket: "b".to_owned(),
        region: Some("us-east-1".to_owned()),
        endpoint: Some(format!("http://{}", listener.local_addr().unwrap())),
        path_style: true,
        request_payer: false,
        credentials: crate::s3::connect::CredentialSource::Anonymous,
        role: None,
    };
    let requests = std::sync::Arc::new(std::sync::Mutex::new(Vec::new()));
    let seen = std::sync::Arc::clone(&requests);
    tokio::spawn(async move {
        let mut open = Vec::new();
        for nth in 1.. {
            let (mut stream, _) = listener.accept().await.unwrap();
            let mut head = Vec::new();
            while !head.ends_with(b"\r\n\r\n") {
                head.push(stream.read_u8().await.unwrap());
            }
            seen.lock().unwrap().push(String::from_utf8(head).unwrap().to_lowercase());
            stream.write_all(&answer(nth)).await.unwrap();
            open.push(stream);
        }
    });
    (Store::connect(&options).await.unwrap(), requests)
}

/// Waits short enough for a test.
const HASTY: Patience = Patience {
    max_attempts: 3,
    first_byte: std::time::Duration::from_millis(300),
    stall: std::time::Duration::from_millis(300),
    ..Patience::OBJECT
};

const HEAD: &str = "HTTP/1.1 200 OK\r\netag: \"v\"\r\ncontent-length: 10\r\n\r\n";

#[tokio::test]
async fn a_body_that_stalls_is_resumed_on_another_connection() {
    let (store, requests) = store(|nth| match nth {
        1 => format!("{HEAD}0123").into_bytes(),
        _ => b"HTTP/1.1 206 Partial Content\r\netag: \"v\"\r\ncontent-range: bytes 4-9/10\r\n\
               content-length: 6\r\n\r\n456789"
            .to_vec(),
    })
    .await;
    let budget = RetryBudget::default();
    let fetched = store.get_with("k", ByteRange::Whole { most: 10 }, None, &budget, HASTY).await.unwrap();
    assert_eq!(fetched.bytes, "0123456789");
    let requests = requests.lock().unwrap();
    assert_eq!(requests.len(), 2);
    assert!(!requests[0].contains("if-match"), "{}", requests[0]);
    assert!(requests[1].contains("range: bytes=4-9") && requests[1].contains("if-match: \"v\""), "{}", requests[1]);
}

#[tokio::test]
async fn what_never_comes_is_given_up_with_the_number_of_tries() {
    let (store, requests) = store(|_| format!("{HEAD}0123").into_bytes()).await;
    let budget = RetryBudget::default();
    // The second answer begins at 0 again, which is not what was asked for: also a failed try.
    let error = store.get_with("k", ByteRange::Whole { most: 10 }, None, &budget, HASTY).await.unwrap_err();
    assert_eq!((error.attempts, requests.lock().unwrap().len()), (3, 3));
    assert!(error.to_string().contains("GetObject of s3://b/k failed") && error.to_string().contains("tried 3 times"));

    let (store, _) = self::store(|_| Vec::new()).await;
    let error = store.get_with("k", ByteRange::Whole { most: 10 }, None, &budget, HASTY).await.unwrap_err();
    assert_eq!((error.kind.clone(), error.attempts), (super::super::ErrorKind::EndpointDown, 3));
    assert!(error.to_string().contains("no answer in time"), "{error}");
}

#[test]
fn one_chunk_is_not_copied() {
    let chunk = Bytes::from_static(b"parquet");
    let mut received = Received::Nothing;
    received.push(chunk.clone(), 7);
    assert_eq!(received.finish().as_ptr(), chunk.as_ptr());
}

fn refusal(status: u16, headers: &str) -> Vec<u8> {
    let text = "<Error><Code>SlowDown</Code></Error>";
    format!("HTTP/1.1 {status} No\r\nconnection: close\r\n{headers}content-length: {}\r\n\r\n{text}", text.len())
        .into_bytes()
}

const WHOLE: &str = "HTTP/1.1 200 OK\r\netag: \"v\"\r\ncontent-length: 10\r\n\r\n0123456789";

#[tokio::test]
async fn what_s3_throttles_is_no_failed_try() {
    let (store, requests) = store(|nth| match nth {
        1..=5 => refusal(503, ""),
        _ => WHOLE.into(),
    })
    .await;
    let budget = RetryBudget::default();
    let fetched = store.get_with("k", ByteRange::Whole { most: 10 }, None, &budget, HASTY).await.unwrap();
    assert_eq!((&fetched.bytes[..], requests.lock().unwrap().len()), (&b"0123456789"[..], 6));
}

#[tokio::test]
async fn an_error_page_of_a_proxy_throttles_by_its_status() {
    let html = "<html><body>503 Service Temporarily Unavailable<hr></body></html>";
    let answer = format!("HTTP/1.1 503 No\r\nconnection: close\r\ncontent-length: {}\r\n\r\n{html}", html.len());
    let (store, requests) = store(move |nth| if nth < 5 { answer.clone().into_bytes() } else { WHOLE.into() }).await;
    let budget = RetryBudget::default();
    store.get_with("k", ByteRange::Whole { most: 10 }, None, &budget, HASTY).await.unwrap();
    assert_eq!(requests.lock().unwrap().len(), 5);
}

#[tokio::test]
async fn the_wait_that_s3_asks_for_is_waited() {
    use std::time::{Duration, Instant};
    // A minute by the server's clock, which is years behind ours: ten seconds from its now are ten, not none.
    let date = "date: Wed, 21 Oct 2015 07:28:00 GMT\r\nretry-after: Wed, 21 Oct 2015 07:28:02 GMT\r\n";
    for header in ["retry-after: 2\r\n", date] {
        let (store, requests) =
            self::store(move |nth| if nth == 1 { refusal(503, header) } else { WHOLE.into() }).await;
        let (budget, started) = (RetryBudget::default(), Instant::now());
        store.get_with("k", ByteRange::Whole { most: 10 }, None, &budget, HASTY).await.unwrap();
        let took = started.elapsed();
        assert!(took >= Duration::from_secs(2) && took < Duration::from_secs(8), "{took:?}");
        assert_eq!(requests.lock().unwrap().len(), 2);
    }
}

#[tokio::test]
async fn a_store_that_throttles_everything_is_given_up_as_a_whole() {
    let (store, requests) = store(|_| refusal(503, "")).await;
    let patience = Patience { max_lost: std::time::Duration::from_millis(700), ..HASTY };
    let budget = RetryBudget::default();
    let error = store.get_with("k", ByteRange::Whole { most: 10 }, None, &budget, patience).await.unwrap_err();
    assert_eq!(error.kind, super::super::ErrorKind::Overloaded, "{error}");
    assert!(error.is_fatal() && error.to_string().contains("SlowDown (HTTP 503)"), "{error}");
    assert_eq!(error.attempts as usize, requests.lock().unwrap().len());
}

#[tokio::test]
async fn time_in_line_is_not_s3_s_silence() {
    use std::time::Duration;
    let (store, _) = store(|nth| if nth == 1 { Vec::new() } else { WHOLE.into() }).await;
    // So little that a second in line would leave no time for another attempt.
    let patience = Patience { max_lost_without_answer: Duration::from_secs(21), ..HASTY };
    let mut permits = Vec::new();
    while let Ok(permit) = tokio::time::timeout(Duration::from_millis(50), store.inner.pace.admit()).await {
        permits.push(permit);
    }
    let waiting = tokio::spawn(async move {
        let budget = RetryBudget::default();
        store.get_with("k", ByteRange::Whole { most: 10 }, None, &budget, patience).await
    });
    tokio::time::sleep(Duration::from_millis(1_500)).await;
    drop(permits);
    assert_eq!(waiting.await.unwrap().unwrap().bytes, "0123456789");
}
