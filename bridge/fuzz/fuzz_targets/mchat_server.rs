//! A server with two clients and a peer that send any bytes never panics, and writes nothing but whole lines.
#![no_main]

use katydid_bridge::{
    chat::{Event, Voice},
    machine::{Input, Link, Machine, Output},
    mchat::{CLIENTS, MESH, MeshSettings, Server, Settings},
};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    let announced = ("192.0.2.1".to_owned(), 6062);
    let mesh = MeshSettings { announced, peers: Vec::new(), servers: 2, nicks: 2 };
    let mut server = Server::new(Settings { clients: 2, rooms: 4, mesh: Some(mesh) });
    let from = "192.0.2.2:4000".parse().expect("an address");
    let mut out = Vec::new();
    for (link, door) in [(1, CLIENTS), (2, CLIENTS), (3, MESH)] {
        server.handle(0, Input::Opened { link: Link(link), door, from }, &mut out);
    }
    server.handle(0, Input::Received { link: Link(3), bytes: b"MY_ADDR 192.0.2.3 6062\n" }, &mut out);
    for (at, piece) in bytes.chunks(24).enumerate() {
        let link = Link(1 + u64::from(piece[0]) % 3);
        server.handle(at as u64 * 10, Input::Received { link, bytes: &piece[1..] }, &mut out);
        for output in std::mem::take(&mut out) {
            match output {
                Output::Write { bytes, .. } => assert_eq!(bytes.iter().position(|it| *it == b'\n'), Some(bytes.len() - 1)),
                Output::Ask { link, voice, tag, .. } => {
                    let outcome = Ok(format!("{{\"user\":\"guest-{}\"}}", link.0).parse().unwrap_or_default());
                    let event = Event::Answered { tag, outcome };
                    server.handle(at as u64 * 10, Input::Chat { link, voice: Voice(voice.0), event }, &mut out);
                }
                _ => {}
            }
        }
    }
});
