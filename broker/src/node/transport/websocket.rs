//! WebSocket (RFC 6455) with the subprotocol `mqtt`, over any layer.
//!
//! Frame boundaries mean nothing to MQTT [MQTT-6.0.0-2], so frames are taken apart in place while they arrive and
//! what is written becomes one frame a write: no message is ever gathered, and a length that a peer claims costs
//! nothing. Only binary frames carry MQTT [MQTT-6.0.0-1]. Invariant: while a frame that was begun is owed bytes,
//! nothing but those bytes is written.
//!
//! ```text
//! Request ──(head complete and fit)──▶ Frames ──(close frame)──▶ Ended
//!    └───────(anything else: answered with an error and closed)────▲
//! ```

mod frames;
mod upgrade;

use super::{Layer, Reading, Socket, broken};
use frames::{Decoder, Event, Header};
use std::{
    io::{self, IoSlice},
    sync::Arc,
};

/// Slices that one frame is written from at most, its header included.
const SLICES: usize = 64;

/// WebSocket over `L`.
#[derive(Debug)]
pub(super) struct WebSocket<L> {
    inner: L,
    stage: Stage,
    /// Bytes of this layer's own that come next: the answer to the upgrade, control frames, the header of a frame.
    outgoing: Vec<u8>,
    /// How much of the frame that was begun is still to come from above.
    owed: usize,
    /// What the newest ping said, until it is answered.
    pong: Option<Box<[u8]>>,
}

#[derive(Debug)]
enum Stage {
    /// The upgrade request is being read.
    Request {
        /// What came so far.
        head: Vec<u8>,
        /// The path that it must ask for.
        path: Box<str>,
    },
    /// Frames go back and forth.
    Frames(Decoder),
    /// The peer has closed, or was refused; with what it broke, while that was not told.
    Ended(Option<&'static str>),
}

impl<L: Layer> WebSocket<L> {
    /// A connection that asks for `path` next.
    pub(super) fn new(inner: L, path: Box<str>) -> Self {
        let stage = Stage::Request { head: Vec::new(), path };
        Self { inner, stage, outgoing: Vec::new(), owed: 0, pong: None }
    }

    /// Takes more of the upgrade request, the first `count` bytes of `buffer`. Returns how many bytes of frames
    /// followed it; they are moved to the beginning.
    fn take_request(&mut self, buffer: &mut [u8], count: usize) -> io::Result<usize> {
        let Stage::Request { head, path } = &mut self.stage else { return Ok(count) };
        let before = head.len();
        head.extend_from_slice(&buffer[..count]);
        match upgrade::answer(head, path) {
            Ok(None) => Ok(0),
            Ok(Some(upgrade)) => {
                let used = upgrade.head_bytes.saturating_sub(before);
                self.outgoing = upgrade.response;
                self.stage = Stage::Frames(Decoder::default());
                self.flush()?;
                buffer.copy_within(used..count, 0);
                Ok(count - used)
            }
            Err(refusal) => {
                self.outgoing = refusal.response;
                self.stage = Stage::Ended(None);
                // It is closed next, whatever becomes of the answer.
                let _ = self.flush();
                Err(broken(refusal.why))
            }
        }
    }

    /// Takes frames apart, in place. Returns how many bytes of MQTT are left at the beginning of `buffer`.
    fn take_frames(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let Stage::Frames(decoder) = &mut self.stage else { return Ok(0) };
        let (mut from, mut to) = (0, 0);
        let mut end = None;
        while from < buffer.len() && end.is_none() {
            match decoder.step(&mut buffer[from..]) {
                Event::Skip(count) => from += count,
                Event::Data(count) => {
                    buffer.copy_within(from..from + count, to);
                    from += count;
                    to += count;
                }
                Event::Ping(count, said) => {
                    self.pong = Some(said);
                    from += count;
                }
                Event::Close(code) => end = Some((code, None)),
                Event::Wrong(code, why) => end = Some((code, Some(why))),
            }
        }
        match end {
            None => {
                if self.pong.is_some() {
                    self.flush()?;
                }
                Ok(to)
            }
            Some((code, why)) => {
                self.close(code);
                // What came before the end is passed on first; the end is told by the next read.
                self.stage = Stage::Ended(why);
                Ok(to)
            }
        }
    }

    /// Sends a close frame, where no frame is unfinished, and ends.
    fn close(&mut self, code: u16) {
        if matches!(self.stage, Stage::Frames(_)) && self.owed == 0 {
            self.outgoing.extend_from_slice(&Header::control(frames::CLOSE, 2));
            self.outgoing.extend_from_slice(&code.to_be_bytes());
        }
        self.stage = Stage::Ended(None);
        // The connection is closed next, so an error changes nothing.
        let _ = self.flush();
    }

    /// Writes this layer's own bytes. Returns whether none are left.
    fn flush_outgoing(&mut self) -> io::Result<bool> {
        loop {
            while !self.outgoing.is_empty() {
                match self.inner.write_vectored(&[IoSlice::new(&self.outgoing)]) {
                    Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
                    Ok(count) => drop(self.outgoing.drain(..count)),
                    Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(false),
                    Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                    Err(error) => return Err(error),
                }
            }
            // An idle connection holds no buffer.
            self.outgoing = Vec::new();
            if self.owed > 0 {
                return Ok(true);
            }
            let Some(said) = self.pong.take() else { return Ok(true) };
            self.outgoing.extend_from_slice(&Header::control(frames::PONG, said.len()));
            self.outgoing.extend_from_slice(&said);
        }
    }
}

impl<L: Layer> Layer for WebSocket<L> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<Reading> {
        if let Stage::Ended(why) = &mut self.stage {
            return why.take().map_or(Ok(Reading::End), |why| Err(broken(why)));
        }
        let Reading::Bytes { count, more } = self.inner.read(buffer)? else { return Ok(Reading::End) };
        let count = self.take_request(buffer, count)?;
        let count = self.take_frames(&mut buffer[..count])?;
        Ok(Reading::Bytes { count, more: more || matches!(self.stage, Stage::Ended(_)) })
    }

    fn write_vectored(&mut self, slices: &[IoSlice<'_>]) -> io::Result<usize> {
        if !self.flush_outgoing()? {
            return Err(io::ErrorKind::WouldBlock.into());
        }
        match self.stage {
            Stage::Frames(_) => {}
            // It goes nowhere, and the next read tells why.
            Stage::Ended(Some(_)) => return Ok(slices.iter().map(|slice| slice.len()).sum()),
            Stage::Request { .. } | Stage::Ended(None) => return Err(io::ErrorKind::NotConnected.into()),
        }
        let mut gathered = [IoSlice::new(&[]); SLICES];
        if self.owed > 0 {
            let filled = gather(&mut gathered, slices, self.owed);
            let count = self.inner.write_vectored(&gathered[..filled])?;
            self.owed -= count;
            return Ok(count);
        }
        let length: usize = slices.iter().take(SLICES - 1).map(|slice| slice.len()).sum();
        if length == 0 {
            return Ok(0);
        }
        let header = Header::binary(length);
        gathered[0] = IoSlice::new(header.bytes());
        let filled = 1 + gather(&mut gathered[1..], slices, length);
        let count = self.inner.write_vectored(&gathered[..filled])?;
        let Some(count) = count.checked_sub(header.bytes().len()) else {
            // Not even the header fitted: the rest of it comes first next time.
            self.outgoing.extend_from_slice(&header.bytes()[count..]);
            self.owed = length;
            return Err(io::ErrorKind::WouldBlock.into());
        };
        self.owed = length - count;
        Ok(count)
    }

    fn flush(&mut self) -> io::Result<bool> {
        Ok(self.flush_outgoing()? && self.inner.flush()?)
    }

    fn wants_write(&self) -> bool {
        !self.outgoing.is_empty() || (self.pong.is_some() && self.owed == 0) || self.inner.wants_write()
    }

    fn say_goodbye(&mut self) {
        self.close(frames::NORMAL);
        self.inner.say_goodbye();
    }

    fn certificate_name(&self) -> Option<Arc<str>> {
        self.inner.certificate_name()
    }

    fn socket(&mut self) -> &mut Socket {
        self.inner.socket()
    }
}

/// Fills `gathered` with as much of `slices` as makes `length` bytes at most. Returns how many slices it took.
fn gather<'a>(gathered: &mut [IoSlice<'a>], slices: &'a [IoSlice<'_>], mut length: usize) -> usize {
    let mut filled = 0;
    for (place, slice) in gathered.iter_mut().zip(slices) {
        if length == 0 {
            break;
        }
        let taken = slice.len().min(length);
        *place = IoSlice::new(&slice[..taken]);
        length -= taken;
        filled += 1;
    }
    filled
}

#[cfg(test)]
mod tests;
