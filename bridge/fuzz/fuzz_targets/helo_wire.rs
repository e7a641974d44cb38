//! Any bytes at any cut: no panic, the same lines and the same file wherever they are cut, and no more than came.
#![no_main]

use katydid_bridge::helo::wire::{Body, FileBody, FileHead, Wire};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|input: (Vec<u8>, usize, u16)| {
    let (bytes, cut, size) = input;
    let (one, two) = bytes.split_at(cut.min(bytes.len()));
    let lines = |pieces: &[&[u8]]| {
        let mut wire = Wire::default();
        let mut lines = Vec::new();
        for piece in pieces {
            wire.push(piece);
            lines.extend(std::iter::from_fn(|| wire.next_line()));
        }
        lines
    };
    assert_eq!(lines(&[&bytes]), lines(&[one, two]));
    if let Some(FileHead::Sender { rest, .. } | FileHead::Receiver { rest, .. }) = FileHead::read(&bytes) {
        assert!(rest.len() < bytes.len());
    }
    let mut body = FileBody::new(size.into());
    if let Body::More(piece) | Body::Whole(piece) = body.take(&bytes) {
        assert!(piece.len() <= bytes.len() && piece.len() <= usize::from(size).div_ceil(3) * 4 + 5);
    }
});
