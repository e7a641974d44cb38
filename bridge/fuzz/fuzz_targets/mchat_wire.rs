//! Any bytes are frames, the same ones wherever the stream is cut, and what is said of them is within the limits.
#![no_main]

use katydid_bridge::mchat::{
    room_from_broker, room_to_broker,
    wire::{Frame, LONGEST_SENT, Wire, msg},
};
use libfuzzer_sys::fuzz_target;

fn frames(pieces: &[&[u8]]) -> Vec<Frame> {
    let mut wire = Wire::default();
    let mut frames = Vec::new();
    for piece in pieces {
        wire.push(piece);
        frames.extend(std::iter::from_fn(|| wire.next_frame()));
    }
    frames
}

fuzz_target!(|bytes: &[u8]| {
    // The driver hands in pieces of a few kibibytes; a line that is too long is dropped at the end of one.
    let stream = &bytes[..bytes.len().min(4000)];
    let (head, tail) = stream.split_at(stream.first().map_or(0, |cut| usize::from(*cut).min(stream.len())));
    let whole = frames(&[stream]);
    assert_eq!(whole, frames(&[head, tail]));
    for frame in whole {
        if let Frame::Msg { nick, room, text } = frame {
            for line in msg(&nick, &room, text.as_bytes()) {
                let line = String::from_utf8(line).expect("what was UTF-8 is");
                assert!(line.chars().count() <= LONGEST_SENT && line.ends_with('\n'));
                assert_eq!(line.matches('\n').count(), 1);
            }
            if let Some(mapped) = room_to_broker(&room) {
                assert_eq!(room_from_broker(&mapped), Some(room));
            }
        }
    }
});
