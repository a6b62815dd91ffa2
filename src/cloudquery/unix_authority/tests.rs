//! The rewriter on hand-made frames, cut in every possible way, and on arbitrary bytes.

use super::hpack::put_integer;
use super::http2::*;
use super::*;
use proptest::prelude::*;

const SOCKET: &[u8] = b"%2Ftmp%2Fcq-abcdefghijklmnop.sock";
const REPAIRED: &[u8] = b"-2Ftmp-2Fcq-abcdefghijklmnop.sock";

fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let mut bytes = Vec::new();
    put_frame_header(&mut bytes, payload.len(), kind, flags, stream.to_be_bytes());
    bytes.extend_from_slice(payload);
    bytes
}

fn string(text: &[u8], huffman: bool) -> Vec<u8> {
    let mut bytes = Vec::new();
    if huffman {
        let mut coded = Vec::new();
        httlib_huffman::encode(text, &mut coded).unwrap();
        put_integer(&mut bytes, coded.len(), 7);
        bytes[0] |= 0x80;
        bytes.extend_from_slice(&coded);
    } else {
        put_integer(&mut bytes, text.len(), 7);
        bytes.extend_from_slice(text);
    }
    bytes
}

/// `:method: POST` (indexed), then `:authority` by its static index with incremental indexing.
fn block(authority: &[u8], huffman: bool) -> Vec<u8> {
    [&[0x83, 0x41][..], &string(authority, huffman)].concat()
}

fn with_preface(frames: &[&[u8]]) -> Vec<u8> {
    [PREFACE, &frames.concat()].concat()
}

/// Feeds `input` in pieces of `piece` bytes.
fn run(input: &[u8], piece: usize) -> Vec<u8> {
    let (mut rewriter, mut output) = (Rewriter::default(), BytesMut::new());
    for part in input.chunks(piece) {
        rewriter.push(part, &mut output);
    }
    output.to_vec()
}

/// However the input is cut, the output is `expected`.
fn check(input: &[u8], expected: &[u8]) {
    for piece in [1, 2, 3, 7, 9, 10, 64, usize::MAX] {
        assert_eq!(run(input, piece), expected, "in pieces of {piece} bytes");
    }
}

#[test]
fn percent_encoded_authority_is_replaced_raw_and_huffman() {
    let expected = with_preface(&[&frame(1, 0x4, 1, &block(REPAIRED, false))]);
    for huffman in [false, true] {
        check(&with_preface(&[&frame(1, 0x4, 1, &block(SOCKET, huffman))]), &expected);
    }
}

#[test]
fn literal_names_are_recognised_raw_and_huffman() {
    for (huffman, kind) in [(false, 0x40), (true, 0x40), (false, 0x00), (true, 0x10)] {
        let field = |value: &[u8], value_huffman| {
            [&[kind][..], &string(b":authority", huffman), &string(value, value_huffman)].concat()
        };
        check(
            &with_preface(&[&frame(1, 0x5, 1, &field(b"tmp%2Fx.sock", true))]),
            &with_preface(&[&frame(1, 0x5, 1, &field(b"tmp-2Fx.sock", false))]),
        );
    }
}

#[test]
fn what_the_server_accepts_is_left_alone_to_the_byte() {
    let other = [&[0x40][..], &string(b"x-path", true), &string(b"%2Ftmp", true)].concat();
    for authority in [&b"localhost"[..], b"localhost:7777", b"[::1]:7777", b"127.0.0.1:1"] {
        let headers = [block(authority, true), other.clone()].concat();
        let bytes = with_preface(&[
            &frame(4, 0, 0, &[0, 3, 0, 0, 0, 100]),
            &frame(1, 0x4, 1, &headers),
            &frame(0, 1, 1, b"\0\0\0\0\0"),
            &frame(6, 0, 0, b"12345678"),
        ]);
        check(&bytes, &bytes);
    }
}

#[test]
fn padding_priority_and_continuations_are_joined_into_one_frame() {
    let fields = block(SOCKET, true);
    let (head, tail) = fields.split_at(5);
    let padded = [&[3][..], &[0, 0, 0, 0, 15], head, &[0, 0, 0]].concat();
    let input = with_preface(&[
        &frame(1, FLAG_PADDED | FLAG_PRIORITY | FLAG_END_STREAM, 7, &padded),
        &frame(9, 0, 7, &[]),
        &frame(9, 0, 7, &tail[..1]),
        &frame(9, 0x4, 7, &tail[1..]),
        &frame(0, 1, 7, b"data"),
    ]);
    let payload = [&[0, 0, 0, 0, 15][..], &block(REPAIRED, false)].concat();
    let expected = with_preface(&[
        &frame(1, FLAG_END_HEADERS | FLAG_PRIORITY | FLAG_END_STREAM, 7, &payload),
        &frame(0, 1, 7, b"data"),
    ]);
    check(&input, &expected);
}

#[test]
fn a_block_that_grows_past_a_frame_is_continued() {
    let long = [&[b'%'][..], &[b'a'; 30_000]].concat();
    let coded = block(&long, true);
    let input = with_preface(&[&frame(1, 0, 1, &coded[..16_384]), &frame(9, 4, 1, &coded[16_384..])]);
    let plain = block(&[&[b'-'][..], &[b'a'; 30_000]].concat(), false);
    let expected = with_preface(&[&frame(1, 0, 1, &plain[..16_384]), &frame(9, 4, 1, &plain[16_384..])]);
    check(&input, &expected);
}

#[test]
fn dynamic_table_size_updates_and_indexed_fields_are_skipped() {
    let head = [0x3f, 0xe1, 0x1f, 0x82, 0xff, 0x01]; // size 4,096; index 2; an index of two bytes
    check(
        &with_preface(&[&frame(1, 4, 1, &[&head[..], &block(SOCKET, true)].concat())]),
        &with_preface(&[&frame(1, 4, 1, &[&head[..], &block(REPAIRED, false)].concat())]),
    );
}

#[test]
fn a_block_without_end_is_passed_on_within_bounds() {
    let mut rewriter = Rewriter::default();
    let mut output = BytesMut::new();
    let mut sent = with_preface(&[&frame(1, 0, 1, &[0x83])]);
    rewriter.push(&sent, &mut output);
    for _ in 0..20_000 {
        let next = frame(9, 0, 1, &[0x83; 16]);
        rewriter.push(&next, &mut output);
        sent.extend_from_slice(&next);
        assert!(rewriter.block_frames.len() <= MAX_HEADER_BLOCK_BYTES);
    }
    assert_eq!(output, sent);
}

#[test]
fn malformed_frames_pass_as_they_came() {
    for bytes in [
        frame(1, FLAG_PADDED | 4, 1, &[200, 0x83]), // more padding than payload
        frame(1, FLAG_PADDED | 4, 1, &[]),          // no room for the padding's length
        frame(1, FLAG_PRIORITY | 4, 1, &[0, 0]),    // no room for the priority
        frame(1, 4, 1, &[0x41, 0x7f, 0xff, 0xff, 0xff, 0xff, 1]), // a length that does not end
        frame(1, 4, 1, &[0x41, 10, b'%']),          // a string beyond the block
        frame(1, 4, 1, &[0x41, 0x84, 0xff, 0xff, 0xff, 0xff]), // Huffman's end-of-string symbol
        [frame(1, 0, 1, &[0x83]), frame(0, 0, 1, b"x")].concat(), // DATA inside a block
        [frame(1, 0, 1, &[0x83]), frame(9, 4, 3, b"x")].concat(), // the CONTINUATION of another stream
        frame(9, 4, 1, b"stray"),
    ] {
        let bytes = with_preface(&[&bytes]);
        check(&bytes, &bytes);
    }
    check(b"GET / HTTP/1.1\r\nHost: %2F\r\n\r\n", b"GET / HTTP/1.1\r\nHost: %2F\r\n\r\n");
}

#[tokio::test]
async fn a_connection_that_ends_inside_a_block_loses_no_byte() {
    use tokio::io::AsyncReadExt as _;
    let bytes = with_preface(&[&frame(1, 0, 1, &block(SOCKET, true)), &[0, 0]]);
    let mut stream = AuthorityStream::new(&bytes[..]);
    let mut read = Vec::new();
    stream.read_to_end(&mut read).await.unwrap();
    assert_eq!(read, bytes);
}

#[tokio::test]
async fn reads_into_small_buffers_deliver_everything() {
    use tokio::io::AsyncReadExt as _;
    let bytes = with_preface(&[&frame(1, 4, 1, &block(SOCKET, true)), &frame(0, 1, 1, &[9; 20_000])]);
    let mut stream = AuthorityStream::new(&bytes[..]);
    let (mut read, mut buffer) = (Vec::new(), [0; 5]);
    loop {
        let count = stream.read(&mut buffer).await.unwrap();
        if count == 0 {
            break;
        }
        read.extend_from_slice(&buffer[..count]);
    }
    let expected = with_preface(&[&frame(1, 4, 1, &block(REPAIRED, false)), &frame(0, 1, 1, &[9; 20_000])]);
    assert_eq!(read, expected);
}

proptest! {
    #[test]
    fn any_authority_becomes_one_of_the_same_length_that_http_accepts(
        value in proptest::collection::vec(any::<u8>(), 1..200), huffman: bool,
    ) {
        let rewritten = rewritten_block(&block(&value, huffman)).unwrap_or_else(|| block(&value, huffman));
        let field = HpackString::parse(&rewritten, 2).unwrap();
        let new = field.decode().unwrap();
        prop_assert_eq!(new.len(), value.len());
        prop_assert!(Authority::try_from(&new[..]).is_ok());
        if Authority::try_from(&value[..]).is_ok() {
            prop_assert_eq!(rewritten, block(&value, huffman));
        }
    }

    #[test]
    fn arbitrary_bytes_never_panic_and_cutting_does_not_matter(
        bytes in proptest::collection::vec(any::<u8>(), 0..600), piece in 1_usize..40,
    ) {
        let input = [PREFACE, &bytes].concat();
        prop_assert_eq!(run(&input, piece), run(&input, usize::MAX));
    }

    #[test]
    fn arbitrary_header_blocks_never_panic(
        block in proptest::collection::vec(any::<u8>(), 0..300), flags: u8, piece in 1_usize..40,
    ) {
        let input = with_preface(&[&frame(1, flags | 4, 1, &block), &frame(6, 0, 0, b"12345678")]);
        prop_assert_eq!(run(&input, piece), run(&input, usize::MAX));
    }

    #[test]
    fn huffman_round_trip(text in proptest::collection::vec(any::<u8>(), 0..300)) {
        let coded = string(&text, true);
        prop_assert_eq!(HpackString::parse(&coded, 0).unwrap().decode().unwrap(), text);
    }
}
