//! A stream of bytes, as a connection reads it: no panic, and the same packets however it is cut.
#![no_main]

use katydid_mqtt::decode;
use katydid_mqtt::packet::{Packet, Version};
use libfuzzer_sys::fuzz_target;

/// Packets of a stream, until one is wrong or incomplete.
fn packets(mut stream: &[u8], mut version: Version) -> usize {
    let mut count = 0;
    while let Ok(Some(frame)) = decode::frame(stream, 1 << 20) {
        let Ok(packet) = decode::packet(frame, version) else { break };
        if let Packet::Connect(connect) = &packet {
            version = connect.version;
        }
        // Showing a packet walks all of its iterators.
        assert!(!format!("{packet:?}").is_empty());
        stream = &stream[frame.len..];
        count += 1;
    }
    count
}

fuzz_target!(|input: (bool, &[u8])| {
    let (is_v5, stream) = input;
    let version = if is_v5 { Version::V5 } else { Version::V4 };
    packets(stream, version);
    // A frame that is found in a prefix is found in the whole, and is the same.
    for end in 0..stream.len().min(64) {
        if let Ok(Some(early)) = decode::frame(&stream[..end], 1 << 20) {
            assert_eq!(decode::frame(stream, 1 << 20), Ok(Some(early)));
            break;
        }
    }
});
