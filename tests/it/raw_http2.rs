//! A tiny HTTP/2 client that sends what no Rust client can send: an `:authority` with percent signs.
//!
//! It encodes headers by hand, with a dynamic table of its own, so that it can refer to earlier fields by index as
//! grpc-go does. Answers are judged by their frames alone.

use std::{
    collections::VecDeque,
    io::{Read, Write},
};

const DATA: u8 = 0;
const HEADERS: u8 = 1;
const RST_STREAM: u8 = 3;
const SETTINGS: u8 = 4;
const GOAWAY: u8 = 7;
const END_STREAM: u8 = 1;
const END_HEADERS: u8 = 4;
const ACK: u8 = 1;

/// HPACK's default size of the dynamic table, in its own measure of bytes.
const TABLE_BYTES: usize = 4_096;
/// Entries of the static table: dynamic indexes begin after them.
const STATIC_ENTRIES: usize = 61;

/// How `:authority` goes over the wire.
#[derive(Debug, Clone, Copy)]
pub enum Coding {
    /// As grpc-go does: the name by its static index, the value in Huffman's code, indexed for later requests.
    Go,
    /// As gRPC's C core does: the name in letters, raw strings, indexed for later requests.
    Core,
}

pub struct Client<S> {
    stream: S,
    coding: Coding,
    authority: String,
    next_stream: u32,
    /// What both sides have in their dynamic tables, newest first.
    table: VecDeque<(String, String)>,
}

impl<S: Read + Write> Client<S> {
    /// Opens the connection with the client's preface.
    pub fn new(mut stream: S, authority: &str, coding: Coding) -> Self {
        stream.write_all(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n").unwrap();
        stream.write_all(&frame(SETTINGS, 0, 0, &[])).unwrap();
        Self { stream, coding, authority: authority.to_owned(), next_stream: 1, table: VecDeque::new() }
    }

    /// Calls a unary method with an empty request; more headers are sent with it. Gives the bytes of the answer.
    pub fn call(&mut self, path: &str, more: &[(&str, &str)]) -> Result<Vec<u8>, String> {
        let id = self.next_stream;
        self.next_stream += 2;
        let mut block = vec![0x83, 0x86]; // :method POST, :scheme http
        self.field(&mut block, ":path", path, 0);
        let authority = self.authority.clone();
        self.field(&mut block, ":authority", &authority, if matches!(self.coding, Coding::Go) { 1 } else { 0 });
        self.field(&mut block, "content-type", "application/grpc", 31);
        self.field(&mut block, "te", "trailers", 0);
        for (name, value) in more {
            self.field(&mut block, name, value, 0);
        }
        let mut bytes = frame(HEADERS, END_HEADERS, id, &block);
        bytes.extend(frame(DATA, END_STREAM, id, &[0; 5]));
        self.stream.write_all(&bytes).unwrap();
        self.answer(id)
    }

    /// Reads frames up to the end of the stream; gives the data.
    fn answer(&mut self, id: u32) -> Result<Vec<u8>, String> {
        let mut data = Vec::new();
        loop {
            let (kind, flags, stream, payload) = self.read_frame();
            match kind {
                SETTINGS if flags & ACK == 0 => self.stream.write_all(&frame(SETTINGS, ACK, 0, &[])).unwrap(),
                RST_STREAM | GOAWAY => return Err(format!("frame {kind} on stream {stream}: {payload:?}")),
                DATA if stream == id => data.extend(payload),
                _ => {}
            }
            if stream == id && matches!(kind, HEADERS | DATA) && flags & END_STREAM != 0 {
                return Ok(data);
            }
        }
    }

    /// The next frame: kind, flags, stream, payload.
    pub fn read_frame(&mut self) -> (u8, u8, u32, Vec<u8>) {
        read_frame(&mut self.stream)
    }

    /// Appends a field: by its index when the table has it, else as a literal that goes into the table.
    fn field(&mut self, block: &mut Vec<u8>, name: &str, value: &str, static_name: usize) {
        let known = self.table.iter().position(|(n, v)| (n.as_str(), v.as_str()) == (name, value));
        if let Some(position) = known {
            integer(block, 0x80, 7, STATIC_ENTRIES + 1 + position);
            return;
        }
        integer(block, 0x40, 6, static_name);
        if static_name == 0 {
            self.string(block, name);
        }
        self.string(block, value);
        self.table.push_front((name.to_owned(), value.to_owned()));
        while self.table.iter().map(|(n, v)| n.len() + v.len() + 32).sum::<usize>() > TABLE_BYTES {
            self.table.pop_back();
        }
    }

    fn string(&self, block: &mut Vec<u8>, text: &str) {
        match self.coding {
            Coding::Go => {
                let mut coded = Vec::new();
                httlib_huffman::encode(text.as_bytes(), &mut coded).unwrap();
                integer(block, 0x80, 7, coded.len());
                block.extend(coded);
            }
            Coding::Core => {
                integer(block, 0, 7, text.len());
                block.extend(text.as_bytes());
            }
        }
    }
}

/// Reads one frame: kind, flags, stream, payload.
pub fn read_frame(stream: &mut impl Read) -> (u8, u8, u32, Vec<u8>) {
    let mut header = [0; 9];
    stream.read_exact(&mut header).expect("a frame");
    let [a, b, c, kind, flags, id @ ..] = header;
    let mut payload = vec![0; usize::from(a) << 16 | usize::from(b) << 8 | usize::from(c)];
    stream.read_exact(&mut payload).expect("a payload");
    (kind, flags, u32::from_be_bytes(id), payload)
}

fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let length = u32::try_from(payload.len()).unwrap().to_be_bytes();
    let mut bytes = vec![length[1], length[2], length[3], kind, flags];
    bytes.extend(stream.to_be_bytes());
    bytes.extend(payload);
    bytes
}

fn integer(block: &mut Vec<u8>, pattern: u8, prefix_bits: u32, mut value: usize) {
    let mask = (1 << prefix_bits) - 1;
    if value < mask {
        block.push(pattern | u8::try_from(value).unwrap());
        return;
    }
    block.push(pattern | u8::try_from(mask).unwrap());
    value -= mask;
    while value >= 128 {
        block.push(u8::try_from(value % 128 + 128).unwrap());
        value /= 128;
    }
    block.push(u8::try_from(value).unwrap());
}
