//! Any bytes are objects, the same ones wherever the stream is cut, none longer than an object may be; and reading any of them
//! ends with fields or a reason.
#![no_main]

use katydid_bridge::json::{
    read,
    wire::{DEEPEST, Frame, LONGEST, Wire},
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
    let (cut, stream) = bytes.split_first().map_or((0, bytes), |(cut, stream)| (usize::from(*cut), stream));
    let (head, tail) = stream.split_at(cut.min(stream.len()));
    let whole = frames(&[stream]);
    assert_eq!(whole, frames(&[head, tail]));
    for frame in whole {
        if let Frame::Object(object) = frame {
            assert!(object.len() <= LONGEST && object.starts_with(b"{"));
            if let Ok(fields) = read::object(&object, DEEPEST) {
                let strict = serde_json::Value::Object(fields).to_string();
                assert!(read::object(strict.as_bytes(), DEEPEST).is_ok());
            }
        }
    }
});
