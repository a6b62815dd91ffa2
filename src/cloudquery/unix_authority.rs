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

mod hpack;
mod http2;

use bytes::{Buf as _, BytesMut};
use hpack::HpackString;
use http2::{FRAME_HEADER_BYTES, FrameHeader, HeaderBlock, PREFACE};
use std::{
    io,
    pin::Pin,
    task::{Context, Poll, ready},
};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tonic::codegen::http::uri::Authority;
use tonic::transport::server::Connected;

/// Largest header block that is collected, frame headers included. The server behind refuses header lists above
/// 16 KiB, so a larger block is an error in any case: it passes unchanged and is refused there.
const MAX_HEADER_BLOCK_BYTES: usize = 64 * 1024;
/// Bytes read from the socket at a time. Requests to a source are small.
const READ_BYTES: usize = 8 * 1024;

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
    /// Rewritten bytes that have not been read yet. Filled only when empty.
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
    /// Inside the preface; the number of its bytes seen.
    Preface(usize),
    /// Inside a frame header; the number of its bytes seen.
    FrameHeader(usize),
    /// Inside a frame that passes unchanged; the number of payload bytes left.
    Payload(usize),
    /// Inside a frame of a header block; the number of payload bytes left, and whether it is the block's last frame.
    Block { left: usize, last: bool },
    /// All further bytes pass unchanged.
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
    /// Takes the next bytes of the client and appends what goes to the server.
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
        let of_block = if in_block { frame.continues_block() } else { frame.starts_block() };
        if of_block && self.block_frames.len() + FRAME_HEADER_BYTES + frame.payload_bytes <= MAX_HEADER_BLOCK_BYTES {
            self.block_frames.extend_from_slice(&self.header);
            let last = frame.ends_block();
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
            match rewritten_frames(&self.block_frames) {
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

/// The frames of one complete header block with a repaired `:authority`, or `None` when they can stay as they are
/// (nothing to repair, or malformed, which is the server's to answer).
fn rewritten_frames(frames: &[u8]) -> Option<Vec<u8>> {
    let mut block = HeaderBlock::parse(frames)?;
    block.fields = rewritten_block(&block.fields)?;
    Some(block.to_frames())
}

/// Walks a header block (RFC 7541 §6) and replaces the value of `:authority` where needed. `None`: unchanged.
///
/// A name given as an index into the *dynamic* table is not looked up: the static table has `:authority`, and encoders
/// look there first.
fn rewritten_block(block: &[u8]) -> Option<Vec<u8>> {
    let mut output = Vec::new();
    let mut copied_to = 0;
    let mut at = 0;
    while let Some(&byte) = block.get(at) {
        if byte & 0x80 != 0 {
            (_, at) = hpack::integer(block, at, 7)?; // an indexed field
            continue;
        }
        if byte & 0xe0 == 0x20 {
            (_, at) = hpack::integer(block, at, 5)?; // a new size of the dynamic table
            continue;
        }
        // A literal field: with incremental indexing (01), without (0000), never (0001).
        let index;
        (index, at) = hpack::integer(block, at, if byte & 0x40 != 0 { 6 } else { 4 })?;
        let named = if index == 0 {
            let name = HpackString::parse(block, at)?;
            at = name.end;
            is_authority(&name)
        } else {
            index == STATIC_INDEX_AUTHORITY
        };
        let value = HpackString::parse(block, at)?;
        if named && let Some(replacement) = value.decode().and_then(|value| replacement(&value)) {
            output.extend_from_slice(&block[copied_to..at]);
            hpack::put_integer(&mut output, replacement.len(), 7); // the H bit is 0: a raw string
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

fn is_authority(name: &HpackString<'_>) -> bool {
    if name.huffman {
        name.bytes.len() == AUTHORITY_HUFFMAN_BYTES && name.decode().as_deref() == Some(AUTHORITY)
    } else {
        name.bytes == AUTHORITY
    }
}

#[cfg(test)]
mod tests;
