use super::*;
use proptest::prelude::*;
use serde_json::Value;

/// Transcodes `bytes`, pushed in pieces of these lengths and the rest at once; with how many characters were replaced.
fn transcode(encoding: Encoding, bytes: &[u8], cuts: &[usize]) -> (Vec<u8>, u64) {
    let mut transcoder = Transcoder::new(encoding);
    let mut rest = Bytes::copy_from_slice(bytes);
    let mut out = Vec::new();
    for &cut in cuts {
        let piece = rest.split_to(cut.min(rest.len()));
        out.extend_from_slice(&transcoder.push(piece));
    }
    out.extend_from_slice(&transcoder.push(rest));
    out.extend_from_slice(&transcoder.finish());
    assert_eq!(transcoder.held_bytes(), 0);
    (out, transcoder.replaced())
}

fn whole(encoding: Encoding, bytes: &[u8]) -> (String, u64) {
    let (text, replaced) = transcode(encoding, bytes, &[]);
    (String::from_utf8(text).unwrap(), replaced)
}

/// Bytes, the text that Python reads in them, and how often it replaced; tests/fixtures/encodings/make.py makes them.
fn pythons_cases() -> Vec<(Encoding, Vec<u8>, String, u64)> {
    let cases: Vec<Value> = serde_json::from_str(include_str!(concat!(
        env!("CARGO_MANIFEST_DIR"),
        "/tests/fixtures/encodings/expected.json"
    )))
    .unwrap();
    let read = |case: &Value| {
        let encoding = match case["encoding"].as_str().unwrap() {
            "latin1" => Encoding::Latin1,
            "windows-1252" => Encoding::Windows1252,
            "utf-16le" => Encoding::Utf16Le,
            "utf-16be" => Encoding::Utf16Be,
            other => panic!("{other}"),
        };
        let hex = case["bytes"].as_str().unwrap();
        let bytes = (0..hex.len()).step_by(2).map(|at| u8::from_str_radix(&hex[at..at + 2], 16).unwrap()).collect();
        (encoding, bytes, case["text"].as_str().unwrap().to_owned(), case["replaced"].as_u64().unwrap())
    };
    cases.iter().map(read).collect()
}

#[test]
fn pythons_codecs_read_the_same() {
    for (encoding, bytes, text, replaced) in pythons_cases() {
        assert_eq!(whole(encoding, &bytes), (text, replaced), "{encoding:?} {}", bytes.escape_ascii());
    }
}

#[test]
fn every_cut_in_two_and_single_bytes_give_the_same() {
    for (encoding, bytes, text, replaced) in pythons_cases() {
        for cut in 0..=bytes.len() {
            let cut_once = transcode(encoding, &bytes, &[cut]);
            assert_eq!(cut_once, (text.clone().into_bytes(), replaced), "{encoding:?} cut at {cut}");
        }
        let single = transcode(encoding, &bytes, &vec![1; bytes.len()]);
        assert_eq!(single, (text.into_bytes(), replaced), "{encoding:?}");
    }
}

#[test]
fn bytes_that_windows_1252_lacks_stay_apart() {
    assert_eq!(whole(Encoding::Windows1252, b"\x81\x8d\x8f\x90\x9d"), ("\u{81}\u{8d}\u{8f}\u{90}\u{9d}".to_owned(), 0));
}

#[test]
fn a_mark_decides_and_is_removed_wherever_it_is_cut() {
    let text = "id,größe\n";
    let utf16 = |unit: fn(u16) -> [u8; 2]| {
        std::iter::once(0xfeff).chain(text.encode_utf16()).flat_map(unit).collect::<Vec<u8>>()
    };
    let marked = [utf16(u16::to_le_bytes), utf16(u16::to_be_bytes), [b"\xef\xbb\xbf", text.as_bytes()].concat()];
    use Encoding::{Latin1, Utf8, Utf16, Utf16Be, Utf16Le, Windows1252};
    for encoding in [Utf8, Utf16, Utf16Le, Utf16Be, Latin1, Windows1252] {
        for bytes in &marked {
            for cut in 0..5 {
                let out = transcode(encoding, bytes, &[cut, 1]);
                assert_eq!(out, (text.as_bytes().to_vec(), 0), "{encoding:?} cut at {cut}");
            }
        }
    }
}

#[test]
fn only_the_start_has_a_mark() {
    let twice = "\u{feff}\u{feff}a\u{feff}b";
    assert_eq!(whole(Encoding::Utf8, twice.as_bytes()).0, "\u{feff}a\u{feff}b");
    let units: Vec<u8> = twice.encode_utf16().flat_map(u16::to_be_bytes).collect();
    assert_eq!(whole(Encoding::Utf16, &units).0, "\u{feff}a\u{feff}b");
}

#[test]
fn the_beginning_of_a_mark_alone_is_text() {
    for begin in [b"".as_slice(), b"\xef", b"\xef\xbb", b"\xff", b"\xfe"] {
        assert_eq!(transcode(Encoding::Utf8, begin, &[1]), (begin.to_vec(), 0), "not checked here");
        let latin: String = begin.iter().map(|&byte| char::from(byte)).collect();
        assert_eq!(whole(Encoding::Latin1, begin), (latin, 0));
    }
    assert_eq!(whole(Encoding::Utf16Le, b"\xef"), ("\u{fffd}".to_owned(), 1));
    assert_eq!(whole(Encoding::Utf16Le, b"\xef\xbb"), ("\u{bbef}".to_owned(), 0));
}

#[test]
fn utf16_is_little_endian_without_a_mark() {
    assert_eq!(whole(Encoding::Utf16, b"a\0b\0"), ("ab".to_owned(), 0));
}

#[test]
fn utf8_and_ascii_go_through_without_a_copy() {
    for encoding in [Encoding::Utf8, Encoding::Latin1, Encoding::Windows1252] {
        let mut transcoder = Transcoder::new(encoding);
        let text = Bytes::from_static(b"id,name\n");
        assert_eq!(transcoder.push(text.clone()).as_ptr(), text.as_ptr());
        let invalid = Bytes::from_static(b"\xff\xfe,1\n");
        if encoding == Encoding::Utf8 {
            assert_eq!(transcoder.push(invalid.clone()).as_ptr(), invalid.as_ptr());
        }
    }
}

proptest! {
    #[test]
    fn any_text_comes_through_utf16(text: String, cuts in prop::collection::vec(0_usize..9, 0..30)) {
        // Unmarked text that begins with the mark loses it.
        prop_assume!(!text.starts_with('\u{feff}') && !text.starts_with('\u{fffe}'));
        let little: Vec<u8> = text.encode_utf16().flat_map(u16::to_le_bytes).collect();
        let big: Vec<u8> = text.encode_utf16().flat_map(u16::to_be_bytes).collect();
        for (encoding, bytes) in [(Encoding::Utf16Le, little), (Encoding::Utf16Be, big)] {
            // By chance the first units may look like the mark of UTF-8.
            prop_assume!(!bytes.starts_with(UTF8_MARK));
            let (out, replaced) = transcode(encoding, &bytes, &cuts);
            prop_assert_eq!((String::from_utf8(out).unwrap(), replaced), (text.clone(), 0));
        }
    }

    #[test]
    fn rubbish_becomes_utf8(bytes in prop::collection::vec(any::<u8>(), 0..200), cuts in prop::collection::vec(0_usize..9, 0..30)) {
        for encoding in [Encoding::Utf16Le, Encoding::Utf16Be, Encoding::Latin1, Encoding::Windows1252] {
            prop_assume!(!bytes.starts_with(UTF8_MARK));
            let (whole, replaced) = whole(encoding, &bytes);
            prop_assert_eq!(transcode(encoding, &bytes, &cuts), (whole.into_bytes(), replaced));
        }
    }
}
