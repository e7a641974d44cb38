//! Any bytes are lines, the same ones wherever the stream is cut, and none is longer than a line may be.
#![no_main]

use katydid_bridge::text::wire::{Frame, LONGEST_LINE, Wire, quote, words};
use libfuzzer_sys::fuzz_target;

fn frames(pieces: &[&[u8]]) -> Vec<Frame> {
    let mut wire = Wire::default();
    let mut frames = Vec::new();
    for piece in pieces {
        wire.push(piece);
        frames.extend(std::iter::from_fn(|| wire.next_line()));
    }
    frames
}

fuzz_target!(|bytes: &[u8]| {
    let (cut, stream) = bytes.split_first().map_or((0, bytes), |(cut, stream)| (usize::from(*cut), stream));
    let (head, tail) = stream.split_at(cut.min(stream.len()));
    let whole = frames(&[stream]);
    assert_eq!(whole, frames(&[head, tail]));
    for frame in whole {
        if let Frame::Line(line) = frame {
            assert!(line.len() < LONGEST_LINE);
            for word in words(&line) {
                assert!(word.begins < line.len());
                assert_eq!(words(&quote(&word.bytes))[0].bytes, word.bytes);
            }
        }
    }
});
