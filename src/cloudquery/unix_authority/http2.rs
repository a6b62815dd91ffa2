//! Frames of HTTP/2 (RFC 9113 §4), and the header block that HEADERS and its CONTINUATIONs carry.

/// What an HTTP/2 client sends first (RFC 9113 §3.4).
pub(super) const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
/// Bytes of a frame header: length (3), type, flags, stream id (4).
pub(super) const FRAME_HEADER_BYTES: usize = 9;
/// Largest frame payload that every HTTP/2 server accepts; a rewritten block is cut at this.
const MAX_FRAME_PAYLOAD_BYTES: usize = 16_384;

pub(super) const FRAME_HEADERS: u8 = 0x1;
pub(super) const FRAME_CONTINUATION: u8 = 0x9;
pub(super) const FLAG_END_STREAM: u8 = 0x1;
pub(super) const FLAG_END_HEADERS: u8 = 0x4;
pub(super) const FLAG_PADDED: u8 = 0x8;
pub(super) const FLAG_PRIORITY: u8 = 0x20;
/// Bytes of the priority fields of a HEADERS frame (flag PRIORITY).
const PRIORITY_BYTES: usize = 5;

pub(super) struct FrameHeader {
    pub(super) payload_bytes: usize,
    pub(super) kind: u8,
    pub(super) flags: u8,
    pub(super) stream: [u8; 4],
}

impl FrameHeader {
    pub(super) fn parse(bytes: &[u8; FRAME_HEADER_BYTES]) -> Self {
        let [a, b, c, kind, flags, s0, s1, s2, s3] = *bytes;
        let payload_bytes = usize::from(a) << 16 | usize::from(b) << 8 | usize::from(c);
        Self { payload_bytes, kind, flags, stream: [s0, s1, s2, s3] }
    }

    /// Whether it is the first frame of a header block.
    pub(super) fn starts_block(&self) -> bool {
        self.kind == FRAME_HEADERS
    }

    /// Whether it is a later frame of a header block.
    pub(super) fn continues_block(&self) -> bool {
        self.kind == FRAME_CONTINUATION
    }

    /// Whether it is the last frame of a header block.
    pub(super) fn ends_block(&self) -> bool {
        self.flags & FLAG_END_HEADERS != 0
    }

    /// Takes one frame off the front: its header and its payload. `None` if it is cut off.
    fn split<'a>(frames: &mut &'a [u8]) -> Option<(Self, &'a [u8])> {
        let (header, rest) = frames.split_first_chunk::<FRAME_HEADER_BYTES>()?;
        let header = Self::parse(header);
        let (payload, rest) = rest.split_at_checked(header.payload_bytes)?;
        *frames = rest;
        Some((header, payload))
    }
}

/// One complete header block, out of its frames.
pub(super) struct HeaderBlock<'a> {
    /// The header of its first frame.
    first: FrameHeader,
    /// The priority fields of its first frame; empty: it has none.
    priority: &'a [u8],
    /// The fields, in HPACK.
    pub(super) fields: Vec<u8>,
}

impl<'a> HeaderBlock<'a> {
    /// Joins the frames of a block. `None` if they are malformed.
    pub(super) fn parse(mut frames: &'a [u8]) -> Option<Self> {
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
        let mut fields = payload[..payload.len().checked_sub(padding_bytes)?].to_vec();
        while !frames.is_empty() {
            let (next, payload) = FrameHeader::split(&mut frames)?;
            if next.stream != first.stream {
                return None;
            }
            fields.extend_from_slice(payload);
        }
        Some(Self { first, priority, fields })
    }

    /// The same block in frames without padding, each as large as every server accepts.
    pub(super) fn to_frames(&self) -> Vec<u8> {
        let Self { first, priority, fields } = self;
        let mut output = Vec::with_capacity(FRAME_HEADER_BYTES + priority.len() + fields.len());
        let (head, mut rest) = fields.split_at(fields.len().min(MAX_FRAME_PAYLOAD_BYTES - priority.len()));
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
        output
    }
}

/// Appends the header of a frame.
#[expect(clippy::cast_possible_truncation, reason = "a payload is at most 16,384 bytes here")]
pub(super) fn put_frame_header(output: &mut Vec<u8>, payload_bytes: usize, kind: u8, flags: u8, stream: [u8; 4]) {
    output.extend_from_slice(&(payload_bytes as u32).to_be_bytes()[1..]);
    output.extend_from_slice(&[kind, flags]);
    output.extend_from_slice(&stream);
}
