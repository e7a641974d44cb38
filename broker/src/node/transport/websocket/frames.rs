//! Frames of RFC 6455, taken apart while they arrive and built from their length.

/// Opcodes.
const CONTINUATION: u8 = 0x0;
const TEXT: u8 = 0x1;
const BINARY: u8 = 0x2;
pub(super) const CLOSE: u8 = 0x8;
const PING: u8 = 0x9;
pub(super) const PONG: u8 = 0xa;

const FIN: u8 = 0x80;
const RESERVED: u8 = 0x70;
const MASKED: u8 = 0x80;
/// The longest payload of a control frame.
const CONTROL_BYTES: u64 = 125;
/// The longest header.
const HEADER_BYTES: usize = 14;

/// Close codes.
pub(super) const NORMAL: u16 = 1000;
const PROTOCOL: u16 = 1002;
const UNSUPPORTED: u16 = 1003;

/// The header of a frame that the server writes, which is never masked.
#[derive(Debug)]
pub(super) struct Header {
    bytes: [u8; 10],
    length: usize,
}

impl Header {
    /// Of a control frame; `length` is 125 at most.
    pub(super) fn control(opcode: u8, length: usize) -> [u8; 2] {
        [FIN | opcode, length as u8]
    }

    /// Of a whole binary message.
    pub(super) fn binary(length: usize) -> Self {
        let mut bytes = [0; 10];
        bytes[0] = FIN | BINARY;
        let length = match length {
            0..=125 => {
                bytes[1] = length as u8;
                2
            }
            126..=0xffff => {
                bytes[1] = 126;
                bytes[2..4].copy_from_slice(&(length as u16).to_be_bytes());
                4
            }
            _ => {
                bytes[1] = 127;
                bytes[2..10].copy_from_slice(&(length as u64).to_be_bytes());
                10
            }
        };
        Self { bytes, length }
    }

    /// As it is written.
    pub(super) fn bytes(&self) -> &[u8] {
        &self.bytes[..self.length]
    }
}

/// What the next bytes are.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Event {
    /// So many bytes carry nothing for MQTT.
    Skip(usize),
    /// So many bytes are MQTT, unmasked.
    Data(usize),
    /// After so many bytes, a ping is complete: what it said.
    Ping(usize, Box<[u8]>),
    /// The peer closes; the code to answer.
    Close(u16),
    /// The peer broke the protocol: the code to close with, and why.
    Wrong(u16, &'static str),
}

/// Takes frames apart.
#[derive(Debug, Default)]
pub(super) struct Decoder {
    header: [u8; HEADER_BYTES],
    /// How much of the header is there; none while the payload is read.
    have: u8,
    /// The frame whose payload is read.
    frame: Option<Frame>,
    /// Whether a message is unfinished, so that its continuation must come.
    continued: bool,
    /// The payload of a control frame so far.
    control: Vec<u8>,
}

#[derive(Debug)]
struct Frame {
    opcode: u8,
    left: u64,
    mask: [u8; 4],
}

impl Decoder {
    /// Takes the first of `bytes`, of which there is at least one, and unmasks them where they are payload.
    pub(super) fn step(&mut self, bytes: &mut [u8]) -> Event {
        let Some(frame) = &mut self.frame else { return self.take_header(bytes) };
        let count = bytes.len().min(usize::try_from(frame.left).unwrap_or(usize::MAX));
        let payload = &mut bytes[..count];
        unmask(payload, &mut frame.mask);
        frame.left -= count as u64;
        let (opcode, complete) = (frame.opcode, frame.left == 0);
        if complete {
            self.frame = None;
        }
        if opcode & 0x8 == 0 {
            return Event::Data(count);
        }
        self.control.extend_from_slice(payload);
        if complete { self.end_control(opcode, count) } else { Event::Skip(count) }
    }

    /// Takes a byte of the header; what the frame is shows when it is complete.
    fn take_header(&mut self, bytes: &[u8]) -> Event {
        self.header[usize::from(self.have)] = bytes[0];
        self.have += 1;
        let have = usize::from(self.have);
        if have < 2 {
            return Event::Skip(1);
        }
        let [first, second, ..] = self.header;
        if let Some(wrong) = self.judge(first, second) {
            return wrong;
        }
        let extended = match second & !MASKED {
            126 => 2,
            127 => 8,
            _ => 0,
        };
        if have < 2 + extended + 4 {
            return Event::Skip(1);
        }
        let length = match extended {
            0 => u64::from(second & !MASKED),
            _ => self.header[2..2 + extended].iter().fold(0, |length, byte| length << 8 | u64::from(*byte)),
        };
        if length >> 63 != 0 {
            return Event::Wrong(PROTOCOL, "a WebSocket frame whose length is out of range");
        }
        let mut mask = [0; 4];
        mask.copy_from_slice(&self.header[2 + extended..2 + extended + 4]);
        self.have = 0;
        let opcode = first & 0x0f;
        if opcode & 0x8 == 0 {
            self.continued = first & FIN == 0;
        }
        if length > 0 {
            self.frame = Some(Frame { opcode, left: length, mask });
            return Event::Skip(1);
        }
        if opcode & 0x8 == 0 { Event::Skip(1) } else { self.end_control(opcode, 1) }
    }

    /// What is wrong with the first two bytes of a header.
    fn judge(&self, first: u8, second: u8) -> Option<Event> {
        let wrong = |why| Some(Event::Wrong(PROTOCOL, why));
        let opcode = first & 0x0f;
        if first & RESERVED != 0 {
            return wrong("a WebSocket frame with reserved bits");
        }
        if second & MASKED == 0 {
            return wrong("a WebSocket frame without mask");
        }
        match opcode {
            TEXT => Some(Event::Wrong(UNSUPPORTED, "a WebSocket text frame")),
            BINARY if self.continued => wrong("a WebSocket message inside another"),
            CONTINUATION if !self.continued => wrong("a WebSocket continuation of nothing"),
            BINARY | CONTINUATION => None,
            CLOSE | PING | PONG if first & FIN == 0 => wrong("a WebSocket control frame in parts"),
            CLOSE | PING | PONG if u64::from(second & !MASKED) > CONTROL_BYTES => {
                wrong("a WebSocket control frame that is too long")
            }
            CLOSE | PING | PONG => None,
            _ => wrong("a WebSocket frame of an unknown kind"),
        }
    }

    /// A control frame is complete, after so many of the bytes at hand.
    fn end_control(&mut self, opcode: u8, count: usize) -> Event {
        let said = std::mem::take(&mut self.control);
        match opcode {
            PING => Event::Ping(count, said.into()),
            CLOSE => Event::Close(said.first_chunk().map_or(NORMAL, |code| u16::from_be_bytes(*code))),
            _ => Event::Skip(count),
        }
    }
}

/// Unmasks, and turns the mask so that it fits what follows.
fn unmask(payload: &mut [u8], mask: &mut [u8; 4]) {
    let mut chunks = payload.chunks_exact_mut(4);
    for chunk in &mut chunks {
        for (byte, key) in chunk.iter_mut().zip(&*mask) {
            *byte ^= key;
        }
    }
    let rest = chunks.into_remainder();
    for (byte, key) in rest.iter_mut().zip(&*mask) {
        *byte ^= key;
    }
    mask.rotate_left(rest.len());
}
