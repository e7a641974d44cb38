//! Bad input at every door of the bridge: each protocol's own error where it has one, and no effect on other users.

use crate::{
    harness::Broker,
    legacy::{Bridge, LIMIT, Legacy, connect_from, http, http_user},
};
use katydid_bridge::config::{DoorWritten, Written};
use std::{
    io::{Read, Write},
    net::{SocketAddr, TcpStream},
    time::{Duration, Instant},
};

/// The doors of a bridge: the name of the protocol, where it is, what one sends there, and how the answer begins.
fn doors(bridge: &Bridge) -> [(&'static str, SocketAddr, &'static str, &'static str); 5] {
    [
        ("text", bridge.text, "#whoami\r\n", "@status 3500\r\n"),
        ("mchat", bridge.mchat, "HEART\n", "BLEED\n"),
        ("helo", bridge.helo, "", "HELO Welkom \n"),
        ("json", bridge.json, "{\"Command\": \"ping\"}\n", "{\"Command\":\"ping\",\"Status\":\"ok\"}\n"),
        ("rest", bridge.rest, "GET /me HTTP/1.1\r\nHost: x\r\n\r\n", "HTTP/1.1 401 Unauthorized\r\n"),
    ]
}

/// A bridge with something changed at every door.
fn bridge(broker: &Broker, change: impl Fn(&mut DoorWritten)) -> Bridge {
    Bridge::with(broker.address(), |written: &mut Written| {
        let Written { text, mchat, helo, json, rest, .. } = written;
        let doors = [&mut text.listener, &mut mchat.listener, &mut helo.listener];
        doors.into_iter().chain([&mut json.listener, &mut rest.listener]).for_each(change);
    })
}

/// What comes back until it begins as wanted, or until the end where that is an end.
fn answer(stream: &mut TcpStream, wanted: &str) -> String {
    stream.set_read_timeout(Some(LIMIT)).expect("a time limit");
    let mut answer = Vec::new();
    let mut byte = [0];
    while answer != wanted.as_bytes() {
        match stream.read(&mut byte) {
            Ok(1) => answer.push(byte[0]),
            // A connection with bytes that nobody has read is reset.
            Ok(_) => break,
            Err(error) if error.kind() == std::io::ErrorKind::ConnectionReset => break,
            Err(error) => panic!("after {:?}: {error}", String::from_utf8_lossy(&answer)),
        }
        // mChat's server asks now and then, whatever comes.
        if answer == b"HEART\n" {
            answer.clear();
        }
    }
    String::from_utf8_lossy(&answer).into_owned()
}

/// Somebody from that address of this machine is served.
fn is_served(name: &str, from: &str, door: SocketAddr, sent: &str, wanted: &str) {
    let mut stream = connect_from(from, door);
    stream.write_all(sent.as_bytes()).expect("sent");
    assert_eq!(answer(&mut stream, wanted), wanted, "{name}, from {from}");
}

/// "a million connections' worth of connects per second from one address"
#[test]
fn who_connects_too_fast_is_sent_away_and_others_are_served() {
    let broker = Broker::start();
    let bridge = bridge(&broker, |door| door.connects_a_second = 1);
    for (name, door, sent, wanted) in doors(&bridge) {
        let streams: Vec<TcpStream> = (0..60).map(|_| connect_from("127.0.0.1", door)).collect();
        let mut last = streams.last().expect("connected");
        // It may be gone already.
        let _ = last.write_all(sent.as_bytes());
        assert_eq!(answer(&mut last.try_clone().expect("a socket"), wanted), "", "{name}");
        let mut first = streams.first().expect("connected").try_clone().expect("a socket");
        first.write_all(sent.as_bytes()).expect("sent");
        assert_eq!(answer(&mut first, wanted), wanted, "{name}: the first");
        is_served(name, "127.0.0.2", door, sent, wanted);
    }
}

/// "half a line then silence"
#[test]
fn half_a_line_and_silence_holds_up_nobody_and_ends_in_time() {
    let broker = Broker::start();
    let bridge = bridge(&broker, |door| door.idle = "1s".into());
    for (name, door, sent, wanted) in doors(&bridge) {
        let mut half = connect_from("127.0.0.1", door);
        half.write_all(&sent.as_bytes()[..sent.len() / 2]).expect("sent");
        is_served(name, "127.0.0.1", door, sent, wanted);
        let came = answer(&mut half, "-");
        // Nothing but what a server of the protocol says by itself, and then the end.
        assert!(["", "HELO Welkom \n"].contains(&&*came), "{name}: {came:?}");
    }
}

/// "Lines without end"
#[test]
fn a_line_without_end_is_refused_in_the_words_of_the_protocol() {
    let broker = Broker::start();
    let bridge = Bridge::start(broker.address());
    let refusals = [
        ("text", "@mess #sendto katydid \"a line of more than 1000 bytes: disconnected\"\r\n"),
        ("mchat", ""),
        ("helo", "HELO Welkom \n-ERR"),
        ("json", "{\"Code\":\"request.too-long\""),
        ("rest", "HTTP/1.1 431 Request Header Fields Too Large\r\n"),
    ];
    for ((name, door, sent, wanted), (_, refusal)) in doors(&bridge).into_iter().zip(refusals) {
        let mut endless = connect_from("127.0.0.1", door);
        endless.set_write_timeout(Some(LIMIT)).expect("a time limit");
        let piece = if name == "rest" { "GET /".to_owned() + &"x".repeat(4000) } else { "{".into() };
        // Who is refused may be disconnected meanwhile.
        let is_taken = endless.write_all(piece.as_bytes()).is_ok()
            && (0..256).all(|_| endless.write_all(&[b'x'; 4096]).is_ok());
        match refusal {
            // The line is dropped, and the connection goes on.
            "" => {
                assert!(is_taken, "{name}");
                endless.write_all(b"\nHEART\n").expect("sent");
                assert_eq!(answer(&mut endless, wanted), wanted, "{name}");
            }
            refusal => assert_eq!(answer(&mut endless, refusal), refusal, "{name}"),
        }
        is_served(name, "127.0.0.1", door, sent, wanted);
    }
}

/// "binary rubbish"
#[test]
fn rubbish_hurts_nobody_else() {
    let broker = Broker::start();
    let bridge = Bridge::start(broker.address());
    let rubbish: Vec<u8> = (0..8192u32).map(|at| (at.wrapping_mul(2_654_435_761) >> 24) as u8).collect();
    for (name, door, sent, wanted) in doors(&bridge) {
        for cut in [1, 255, 4096, 8192] {
            // Who sends it may be disconnected meanwhile.
            let _ = connect_from("127.0.0.1", door).write_all(&rubbish[..cut]);
        }
        is_served(name, "127.0.0.1", door, sent, wanted);
    }
}

/// A telnet client's own negotiation is skipped, cut anywhere, and never echoed.
#[test]
fn telnet_negotiation_is_skipped() {
    let broker = Broker::start();
    let bridge = Bridge::start(broker.address());
    let mut stream = connect_from("127.0.0.1", bridge.text);
    let negotiation = b"\xff\xfb\x1f\xff\xfa\x1f\x00\x50\x00\x18\xff\xf0#who\xff\xfd\x03ami\xff\xf1\r\n";
    for byte in negotiation.chunks(1) {
        stream.write_all(byte).expect("sent");
    }
    assert_eq!(answer(&mut stream, "@status 3500\r\n"), "@status 3500\r\n");
}

/// "polls that never come back": neither their answers are read, nor is anybody there any more.
#[test]
fn polls_that_never_come_back_leave_room_for_others() {
    const POLLS: usize = 20;
    let broker = Broker::start();
    let bridge = Bridge::with(broker.address(), |written| {
        written.rest.listener.connections_an_address = POLLS;
    });
    let token = http_user(bridge.rest, "ann");
    let poll = format!("GET /me HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {token}\r\n\r\n");
    let until = Instant::now() + LIMIT;
    for _ in 0..5 {
        let polls: Vec<TcpStream> = (0..POLLS)
            .map(|_| {
                let mut stream = connect_from("127.0.0.1", bridge.rest);
                stream.write_all(poll.as_bytes()).expect("sent");
                stream
            })
            .collect();
        // The limit is that of an address.
        is_served(
            "rest",
            "127.0.0.2",
            bridge.rest,
            "GET / HTTP/1.1\r\nHost: x\r\n\r\n",
            "HTTP/1.1 404 Not Found\r\n",
        );
        drop(polls);
        // Their places are free as soon as it is seen that they are gone.
        loop {
            let mut stream = connect_from("127.0.0.1", bridge.rest);
            let _ = stream.write_all(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n");
            if answer(&mut stream, "HTTP/1.1 404 Not Found\r\n").starts_with("HTTP") {
                break;
            }
            assert!(Instant::now() < until, "the places of {POLLS} polls stay taken");
        }
    }
    let note = http(bridge.rest, &token, "GET /me?Timeout=0", "");
    assert_eq!(note.0, 200, "{note:?}");
}

/// One who reads nothing is not waited for by those who speak.
#[test]
fn who_reads_nothing_delays_nobody() {
    let broker = Broker::start();
    let bridge = Bridge::start(broker.address());
    let mut deaf = Legacy::connect(bridge.text, "\r\n");
    assert_eq!(deaf.ask("#login anon deaf"), "@status 0");
    let mut ann = Legacy::connect(bridge.text, "\r\n");
    assert_eq!(ann.ask("#login anon ann"), "@status 0");
    let text = "x".repeat(900);
    let start = Instant::now();
    for _ in 0..500 {
        assert_eq!(ann.ask(&format!("#broadcast {text}")), format!("@mess #broadcast ann \"{text}\""));
    }
    assert!(start.elapsed() < LIMIT - Duration::from_secs(1));
    // What waits for it is there as soon as it reads.
    for _ in 0..500 {
        assert_eq!(deaf.line(), format!("@mess #broadcast ann \"{text}\""));
    }
}
