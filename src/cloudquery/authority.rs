//! Repairs the `:authority` that unix-socket clients send, so that `registry: local` works.
//!
//! The CloudQuery CLI dials a unix socket with grpc-go, which sends the percent-encoded path of the socket as
//! `:authority` (`%2Ftmp%2Fcq-x.sock`). The `http` crate accepts no `%` in a host, so `h2` resets every such request
//! and no switch turns that off. [`AuthorityStream`] sits between the accepted socket and the HTTP/2 server and
//! rewrites the client's bytes: it cuts them into frames, collects the header block of a request (HEADERS and its
//! CONTINUATIONs) and replaces an `:authority` that `http` refuses by a harmless one. Everything else, and all bytes
//! towards the client, pass as they are.
//!
//! The new value has the **same decoded length** as the old one. HPACK counts decoded lengths, so the dynamic tables
//! of client and server keep the same size and evict the same entries; a later request that refers to the entry by
//! its index gets the harmless value. The client's Huffman code is undone for this one value only.
//!
//! What does not look like HTTP/2 (no preface, a block that is never finished, a block that is too large) passes
//! unchanged from there on, and `h2` answers it.

use bytes::{Buf as _, BytesMut};
use httlib_huffman::DecoderSpeed;
use std::{
    io,
    pin::Pin,
    task::{Context, Poll, ready},
};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tonic::codegen::http::uri::Authority;
use tonic::transport::server::Connected;

/// What an HTTP/2 client sends first (RFC 9113 §3.4).
const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
/// Bytes of a frame header: length (3), type, flags, stream id (4).
const FRAME_HEADER_BYTES: usize = 9;
/// Largest frame payload that every HTTP/2 server accepts; a rewritten block is cut at this.
const MAX_FRAME_PAYLOAD_BYTES: usize = 16_384;
/// Largest header block that is collected, frame headers included. The server behind refuses header lists above
/// 16 KiB, so a larger block is an error in any case: it passes unchanged and is refused there.
const MAX_HEADER_BLOCK_BYTES: usize = 64 * 1024;
/// Bytes read from the socket at a time. Requests to a source are small.
const READ_BYTES: usize = 8 * 1024;

const FRAME_HEADERS: u8 = 0x1;
const FRAME_CONTINUATION: u8 = 0x9;
const FLAG_END_STREAM: u8 = 0x1;
const FLAG_END_HEADERS: u8 = 0x4;
const FLAG_PADDED: u8 = 0x8;
const FLAG_PRIORITY: u8 = 0x20;
/// Bytes of the priority fields of a HEADERS frame (flag PRIORITY).
const PRIORITY_BYTES: usize = 5;

/// Index of `:authority` in HPACK's static table (RFC 7541, appendix A).
const STATIC_INDEX_AUTHORITY: usize = 1;
/// The name of the field that is repaired.
const AUTHORITY: &[u8] = b":authority";
/// `:authority` in HPACK's Huffman code takes 8 bytes; a longer coded name cannot be it.
const AUTHORITY_HUFFMAN_BYTES: usize = 8;

/// A connection whose incoming requests have an `:authority` that the HTTP/2 server accepts.
///
/// Reading is cancel safe: bytes taken from the socket are kept until they are read from here. Memory is bounded by
/// one header block and one read.
#[derive(Debug)]
pub struct AuthorityStream<S> {
    inner: S,
    rewriter: Rewriter,
    /// Rewritten bytes that nobody has read yet. Filled only when empty.
    ready: BytesMut,
    ended: bool,
}

impl<S> AuthorityStream<S> {
    /// Wraps an accepted connection, before the first byte was read from it.
    pub fn new(inner: S) -> Self {
        Self { inner, rewriter: Rewriter::default(), ready: BytesMut::new(), ended: false }
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for AuthorityStream<S> {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        loop {
            if !this.ready.is_empty() {
                let taken = buf.remaining().min(this.ready.len());
                buf.put_slice(&this.ready[..taken]);
                this.ready.advance(taken);
                return Poll::Ready(Ok(()));
            }
            if this.ended || buf.remaining() == 0 {
                return Poll::Ready(Ok(()));
            }
            let mut bytes = [0; READ_BYTES];
            let mut chunk = ReadBuf::new(&mut bytes);
            ready!(Pin::new(&mut this.inner).poll_read(cx, &mut chunk))?;
            if chunk.filled().is_empty() {
                this.ended = true;
                this.rewriter.give_up(&mut this.ready);
            } else {
                this.rewriter.push(chunk.filled(), &mut this.ready);
            }
        }
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for AuthorityStream<S> {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.get_mut().inner).poll_write(cx, buf)
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().inner).poll_flush(cx)
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().inner).poll_shutdown(cx)
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.get_mut().inner).poll_write_vectored(cx, bufs)
    }

    fn is_write_vectored(&self) -> bool {
        self.inner.is_write_vectored()
    }
}

impl<S: Connected> Connected for AuthorityStream<S> {
    type ConnectInfo = S::ConnectInfo;

    fn connect_info(&self) -> Self::ConnectInfo {
        self.inner.connect_info()
    }
}

/// Where in the client's bytes the rewriter stands.
#[derive(Debug)]
enum Position {
    /// In the preface, after so many of its bytes.
    Preface(usize),
    /// In a frame header, after so many of its bytes.
    FrameHeader(usize),
    /// In the payload of a frame that passes unchanged, so many bytes before its end.
    Payload(usize),
    /// In the payload of a frame of a header block, so many bytes before its end.
    Block { left: usize, last: bool },
    /// Nothing is looked at any more.
    PassAll,
}

/// The state machine: client bytes in, in pieces of any size; bytes for the server out.
#[derive(Debug)]
struct Rewriter {
    position: Position,
    /// The frame header being read.
    header: [u8; FRAME_HEADER_BYTES],
    /// The frames of an unfinished header block as they came, frame headers included.
    block_frames: Vec<u8>,
}

impl Default for Rewriter {
    fn default() -> Self {
        Self { position: Position::Preface(0), header: [0; FRAME_HEADER_BYTES], block_frames: Vec::new() }
    }
}

impl Rewriter {
    /// Takes the next bytes of the client and appends what the server shall see.
    fn push(&mut self, mut input: &[u8], output: &mut BytesMut) {
        while !input.is_empty() {
            match &mut self.position {
                Position::PassAll => {
                    output.extend_from_slice(input);
                    return;
                }
                Position::Preface(seen) => {
                    let taken = input.len().min(PREFACE.len() - *seen);
                    let matches = input[..taken] == PREFACE[*seen..*seen + taken];
                    output.extend_from_slice(&input[..taken]);
                    input = &input[taken..];
                    *seen += taken;
                    if !matches {
                        self.position = Position::PassAll;
                    } else if *seen == PREFACE.len() {
                        self.position = Position::FrameHeader(0);
                    }
                }
                Position::FrameHeader(filled) => {
                    let taken = input.len().min(FRAME_HEADER_BYTES - *filled);
                    self.header[*filled..*filled + taken].copy_from_slice(&input[..taken]);
                    input = &input[taken..];
                    *filled += taken;
                    if *filled == FRAME_HEADER_BYTES {
                        self.start_frame(output);
                    }
                }
                Position::Payload(left) => {
                    let taken = input.len().min(*left);
                    output.extend_from_slice(&input[..taken]);
                    input = &input[taken..];
                    *left -= taken;
                    if *left == 0 {
                        self.position = Position::FrameHeader(0);
                    }
                }
                Position::Block { left, last } => {
                    let taken = input.len().min(*left);
                    self.block_frames.extend_from_slice(&input[..taken]);
                    input = &input[taken..];
                    *left -= taken;
                    if *left == 0 {
                        let last = *last;
                        self.end_block_frame(last, output);
                    }
                }
            }
        }
    }

    /// Decides what happens to the frame whose header is complete.
    fn start_frame(&mut self, output: &mut BytesMut) {
        let frame = FrameHeader::parse(&self.header);
        let in_block = !self.block_frames.is_empty();
        let of_block = if in_block { frame.kind == FRAME_CONTINUATION } else { frame.kind == FRAME_HEADERS };
        if of_block && self.block_frames.len() + FRAME_HEADER_BYTES + frame.payload_bytes <= MAX_HEADER_BLOCK_BYTES {
            self.block_frames.extend_from_slice(&self.header);
            let last = frame.flags & FLAG_END_HEADERS != 0;
            if frame.payload_bytes == 0 {
                self.end_block_frame(last, output);
            } else {
                self.position = Position::Block { left: frame.payload_bytes, last };
            }
        } else if in_block || of_block {
            // Against the protocol (another frame inside a block) or too large: the server behind refuses it.
            self.give_up(output);
        } else {
            output.extend_from_slice(&self.header);
            self.position = match frame.payload_bytes {
                0 => Position::FrameHeader(0),
                left => Position::Payload(left),
            };
        }
    }

    /// A frame of the header block is complete; when it was the last one, the block goes out.
    fn end_block_frame(&mut self, last: bool, output: &mut BytesMut) {
        if last {
            match rewrite_frames(&self.block_frames) {
                Some(rewritten) => output.extend_from_slice(&rewritten),
                None => output.extend_from_slice(&self.block_frames),
            }
            self.block_frames.clear();
        }
        self.position = Position::FrameHeader(0);
    }

    /// Emits everything held back as it came and passes all later bytes unchanged.
    fn give_up(&mut self, output: &mut BytesMut) {
        output.extend_from_slice(&self.block_frames);
        self.block_frames = Vec::new();
        if let Position::FrameHeader(filled) = self.position {
            output.extend_from_slice(&self.header[..filled]);
        }
        self.position = Position::PassAll;
    }
}

struct FrameHeader {
    payload_bytes: usize,
    kind: u8,
    flags: u8,
    stream: [u8; 4],
}

impl FrameHeader {
    fn parse(bytes: &[u8; FRAME_HEADER_BYTES]) -> Self {
        let [a, b, c, kind, flags, s0, s1, s2, s3] = *bytes;
        let payload_bytes = usize::from(a) << 16 | usize::from(b) << 8 | usize::from(c);
        Self { payload_bytes, kind, flags, stream: [s0, s1, s2, s3] }
    }

    /// Takes one frame off the front: its header and its payload.
    fn split<'a>(frames: &mut &'a [u8]) -> Option<(Self, &'a [u8])> {
        let (header, rest) = frames.split_first_chunk::<FRAME_HEADER_BYTES>()?;
        let header = Self::parse(header);
        let (payload, rest) = rest.split_at_checked(header.payload_bytes)?;
        *frames = rest;
        Some((header, payload))
    }
}

/// The frames of one complete header block with a repaired `:authority`, or `None` when they can stay as they are
/// (nothing to repair, or malformed, which is the server's to answer).
fn rewrite_frames(mut frames: &[u8]) -> Option<Vec<u8>> {
    let (first, mut payload) = FrameHeader::split(&mut frames)?;
    let mut padding_bytes = 0;
    if first.flags & FLAG_PADDED != 0 {
        let (&length, rest) = payload.split_first()?;
        (padding_bytes, payload) = (usize::from(length), rest);
    }
    let mut priority: &[u8] = &[];
    if first.flags & FLAG_PRIORITY != 0 {
        (priority, payload) = payload.split_at_checked(PRIORITY_BYTES)?;
    }
    let mut block = payload[..payload.len().checked_sub(padding_bytes)?].to_vec();
    while !frames.is_empty() {
        let (next, payload) = FrameHeader::split(&mut frames)?;
        if next.stream != first.stream {
            return None;
        }
        block.extend_from_slice(payload);
    }
    let block = rewrite_block(&block)?;

    let mut output = Vec::with_capacity(FRAME_HEADER_BYTES + priority.len() + block.len());
    let (head, mut rest) = block.split_at(block.len().min(MAX_FRAME_PAYLOAD_BYTES - priority.len()));
    let end = |rest: &[u8]| if rest.is_empty() { FLAG_END_HEADERS } else { 0 };
    let flags = first.flags & (FLAG_END_STREAM | FLAG_PRIORITY) | end(rest);
    put_frame_header(&mut output, priority.len() + head.len(), FRAME_HEADERS, flags, first.stream);
    output.extend_from_slice(priority);
    output.extend_from_slice(head);
    while !rest.is_empty() {
        let part;
        (part, rest) = rest.split_at(rest.len().min(MAX_FRAME_PAYLOAD_BYTES));
        put_frame_header(&mut output, part.len(), FRAME_CONTINUATION, end(rest), first.stream);
        output.extend_from_slice(part);
    }
    Some(output)
}

#[expect(clippy::cast_possible_truncation, reason = "a payload is at most 16,384 bytes here")]
fn put_frame_header(output: &mut Vec<u8>, payload_bytes: usize, kind: u8, flags: u8, stream: [u8; 4]) {
    output.extend_from_slice(&(payload_bytes as u32).to_be_bytes()[1..]);
    output.extend_from_slice(&[kind, flags]);
    output.extend_from_slice(&stream);
}

/// Walks a header block (RFC 7541 §6) and replaces the value of `:authority` where needed. `None`: unchanged.
///
/// A name given as an index into the *dynamic* table is not looked up: the static table has `:authority`, and encoders
/// look there first.
fn rewrite_block(block: &[u8]) -> Option<Vec<u8>> {
    let mut output = Vec::new();
    let mut copied_to = 0;
    let mut at = 0;
    while let Some(&byte) = block.get(at) {
        if byte & 0x80 != 0 {
            (_, at) = integer(block, at, 7)?; // an indexed field
            continue;
        }
        if byte & 0xe0 == 0x20 {
            (_, at) = integer(block, at, 5)?; // a new size of the dynamic table
            continue;
        }
        // A literal field: with incremental indexing (01), without (0000), never (0001).
        let index;
        (index, at) = integer(block, at, if byte & 0x40 != 0 { 6 } else { 4 })?;
        let is_authority = if index == 0 {
            let name = HpackString::parse(block, at)?;
            at = name.end;
            name.is_authority_name()
        } else {
            index == STATIC_INDEX_AUTHORITY
        };
        let value = HpackString::parse(block, at)?;
        if is_authority && let Some(replacement) = value.decode().and_then(|value| replacement(&value)) {
            output.extend_from_slice(&block[copied_to..at]);
            put_integer(&mut output, replacement.len(), 7); // the H bit is 0: a raw string
            output.extend_from_slice(&replacement);
            copied_to = value.end;
        }
        at = value.end;
    }
    if copied_to == 0 {
        return None;
    }
    output.extend_from_slice(&block[copied_to..]);
    Some(output)
}

/// A harmless authority of the same length, when `http` would refuse this one.
fn replacement(value: &[u8]) -> Option<Vec<u8>> {
    if value.is_empty() || Authority::try_from(value).is_ok() {
        return None;
    }
    let harmless = |byte: &u8| if byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'_') { *byte } else { b'-' };
    Some(value.iter().map(harmless).collect())
}

/// A string literal of HPACK (RFC 7541 §5.2), still encoded.
struct HpackString<'a> {
    bytes: &'a [u8],
    huffman: bool,
    /// Where the next thing in the block begins.
    end: usize,
}

impl<'a> HpackString<'a> {
    fn parse(block: &'a [u8], at: usize) -> Option<Self> {
        let huffman = block.get(at)? & 0x80 != 0;
        let (length, start) = integer(block, at, 7)?;
        let end = start.checked_add(length)?;
        Some(Self { bytes: block.get(start..end)?, huffman, end })
    }

    fn decode(&self) -> Option<Vec<u8>> {
        if !self.huffman {
            return Some(self.bytes.to_vec());
        }
        let mut decoded = Vec::with_capacity(self.bytes.len() * 2);
        httlib_huffman::decode(self.bytes, &mut decoded, DecoderSpeed::FourBits).ok()?;
        Some(decoded)
    }

    fn is_authority_name(&self) -> bool {
        if self.huffman {
            self.bytes.len() == AUTHORITY_HUFFMAN_BYTES && self.decode().as_deref() == Some(AUTHORITY)
        } else {
            self.bytes == AUTHORITY
        }
    }
}

/// An integer of HPACK with a prefix of so many bits (RFC 7541 §5.1), and where the next thing begins.
fn integer(block: &[u8], at: usize, prefix_bits: u32) -> Option<(usize, usize)> {
    let mask = (1_usize << prefix_bits) - 1;
    let mut value = usize::from(*block.get(at)?) & mask;
    let mut next = at + 1;
    if value < mask {
        return Some((value, next));
    }
    // Four more bytes hold 28 bits: more than any length inside MAX_HEADER_BLOCK_BYTES.
    for shift in [0, 7, 14, 21] {
        let byte = usize::from(*block.get(next)?);
        next += 1;
        value += (byte & 0x7f) << shift;
        if byte & 0x80 == 0 {
            return Some((value, next));
        }
    }
    None
}

/// Appends an integer with a prefix of so many bits; the bits above the prefix are 0.
fn put_integer(output: &mut Vec<u8>, mut value: usize, prefix_bits: u32) {
    let mask = (1_usize << prefix_bits) - 1;
    let low = |bits: usize| u8::try_from(bits & 0xff).unwrap_or(u8::MAX);
    if value < mask {
        output.push(low(value));
        return;
    }
    output.push(low(mask));
    value -= mask;
    while value >= 0x80 {
        output.push(low(value & 0x7f | 0x80));
        value >>= 7;
    }
    output.push(low(value));
}

#[cfg(test)]
mod tests;
