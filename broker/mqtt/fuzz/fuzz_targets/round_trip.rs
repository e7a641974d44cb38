//! What decodes encodes, and decodes to the same packet again.
#![no_main]

use katydid_mqtt::packet::Version;
use katydid_mqtt::{decode, encode};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|input: (bool, &[u8])| {
    let (is_v5, bytes) = input;
    let version = if is_v5 { Version::V5 } else { Version::V4 };
    let Ok(Some(frame)) = decode::frame(bytes, 1 << 20) else { return };
    let Ok(packet) = decode::packet(frame, version) else { return };
    let mut out = Vec::new();
    let len = encode::packet(&mut out, version, &packet).expect("what was read can be written");
    assert_eq!(len, out.len());
    let again = decode::frame(&out, 1 << 20).expect("well-formed").expect("whole");
    assert_eq!(again.len, len);
    assert_eq!(decode::packet(again, version), Ok(packet));
});
