//! A bridge in this process, and a legacy client that sees bytes and nothing else.

use katydid_bridge::config::{DoorWritten, Written};
use serde_json::Value;
use socket2::{Domain, Socket, Type};
use std::{
    io::{BufRead, BufReader, Read, Write},
    net::{Ipv4Addr, SocketAddr, TcpStream},
    sync::atomic::{AtomicU8, Ordering},
    thread::JoinHandle,
    time::{Duration, Instant},
};
use tokio::sync::oneshot;

/// How long anything may take.
pub(crate) const LIMIT: Duration = Duration::from_secs(60);

/// An address at which nobody listens, and which nobody else will take: each has a loopback address of its own, whereas a
/// port of the one that all programs share may become somebody's before it is used.
pub(crate) fn free_address() -> SocketAddr {
    static TAKEN: AtomicU8 = AtomicU8::new(1);
    let [.., high, low] = std::process::id().to_be_bytes();
    let own = Ipv4Addr::new(127, high | 0x80, low, TAKEN.fetch_add(1, Ordering::Relaxed));
    (own, 6500).into()
}

/// A running bridge; ends when dropped.
pub(crate) struct Bridge {
    pub(crate) text: SocketAddr,
    pub(crate) mchat: SocketAddr,
    pub(crate) mesh: SocketAddr,
    pub(crate) helo: SocketAddr,
    pub(crate) json: SocketAddr,
    pub(crate) rest: SocketAddr,
    stop: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl Bridge {
    /// A bridge in front of a broker, with every protocol at a port of its own.
    pub(crate) fn start(broker: SocketAddr) -> Self {
        Self::with(broker, |_| {})
    }

    /// The same, with what a test changes.
    pub(crate) fn with(broker: SocketAddr, change: impl FnOnce(&mut Written)) -> Self {
        let any: SocketAddr = "127.0.0.1:0".parse().expect("an address");
        let door = |bind: SocketAddr| DoorWritten { bind: Some(bind.to_string()), ..DoorWritten::default() };
        // Others are told of this one, so that it is known before.
        let mesh = free_address();
        let mut written = Written::default();
        written.broker.address = broker.to_string();
        written.text.listener = door(any);
        written.mchat.listener = door(any);
        written.mchat.mesh = door(mesh);
        written.mchat.announce = Some(mesh.to_string());
        written.helo.listener = door(any);
        written.helo.first_file_port = 0;
        written.helo.file_ports = 10;
        written.json.listener = door(any);
        written.rest.listener = door(any);
        change(&mut written);
        let config = written.prove().expect("a configuration");
        let bridge = katydid_bridge::Bridge::open(config).expect("ports");
        let at = |kind: &str| {
            let listening =
                bridge.listening().iter().find_map(|line| line.strip_prefix(kind)?.strip_prefix(' '));
            listening.expect("it listens").parse().expect("an address")
        };
        let [text, mchat, helo, json, rest] = ["text", "mchat", "helo", "json", "rest"].map(at);
        let (stop, stopped) = oneshot::channel::<()>();
        let thread = std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build();
            let ended = async { drop(stopped.await) };
            runtime.expect("a runtime").block_on(bridge.serve(ended)).expect("a bridge");
        });
        Self { text, mchat, mesh, helo, json, rest, stop: Some(stop), thread: Some(thread) }
    }
}

impl Drop for Bridge {
    fn drop(&mut self) {
        drop(self.stop.take());
        let ended = self.thread.take().map(JoinHandle::join);
        if !std::thread::panicking() {
            assert!(matches!(ended, Some(Ok(()))), "the bridge panicked");
        }
    }
}

/// A connection of a line protocol.
pub(crate) struct Legacy {
    stream: BufReader<TcpStream>,
    end: &'static str,
}

impl Legacy {
    /// Connects, as soon as somebody listens.
    pub(crate) fn connect(address: SocketAddr, end: &'static str) -> Self {
        let until = Instant::now() + LIMIT;
        loop {
            match TcpStream::connect(address) {
                Ok(stream) => return Self::over(stream, end),
                Err(error) if Instant::now() > until => panic!("nobody listens at {address}: {error}"),
                Err(_) => std::thread::yield_now(),
            }
        }
    }

    /// Over a connection that is there.
    pub(crate) fn over(stream: TcpStream, end: &'static str) -> Self {
        stream.set_read_timeout(Some(LIMIT)).expect("a time limit");
        Self { stream: BufReader::new(stream), end }
    }

    /// Everything up to the end of the connection.
    pub(crate) fn rest(&mut self) -> String {
        let mut rest = String::new();
        self.stream.read_to_string(&mut rest).expect("the end in time");
        rest
    }

    /// The same connection, with another end of its lines.
    pub(crate) fn with_end(self, end: &'static str) -> Self {
        Self { end, ..self }
    }

    pub(crate) fn send(&mut self, line: &str) {
        let line = format!("{line}{}", self.end);
        self.stream.get_mut().write_all(line.as_bytes()).expect("the bridge takes a line");
    }

    /// The next line, without its end. An mChat server that asks whether one is there is answered at once.
    pub(crate) fn line(&mut self) -> String {
        loop {
            let mut line = String::new();
            self.stream.read_line(&mut line).expect("a line in time");
            let line = line.strip_suffix(self.end).unwrap_or_else(|| panic!("no whole line: {line:?}"));
            if line != "HEART" {
                return line.to_owned();
            }
            self.send("BLEED");
        }
    }

    /// Sends a line, and reads one.
    pub(crate) fn ask(&mut self, line: &str) -> String {
        self.send(line);
        self.line()
    }

    /// Reads up to a line that is so, past others that satisfy `passes`.
    pub(crate) fn line_past(&mut self, wanted: &str, passes: impl Fn(&str) -> bool) {
        loop {
            let line = self.line();
            if line == wanted {
                return;
            }
            assert!(passes(&line), "waiting for {wanted:?}, there came {line:?}");
        }
    }
}

/// A connection from that address of this machine.
pub(crate) fn connect_from(from: &str, to: SocketAddr) -> TcpStream {
    let socket = Socket::new(Domain::IPV4, Type::STREAM, None).expect("a socket");
    let from: SocketAddr = format!("{from}:0").parse().expect("an address");
    socket.bind(&from.into()).expect("an address of this machine");
    socket.connect(&to.into()).expect("it listens");
    socket.into()
}

/// Asks the REST interface, on a connection of its own; the status and the object.
pub(crate) fn http(at: SocketAddr, token: &str, request: &str, body: &str) -> (u16, Value) {
    let mut stream = TcpStream::connect(at).expect("it listens");
    stream.set_read_timeout(Some(LIMIT)).expect("a time limit");
    let length = body.len();
    let head = format!(
        "{request} HTTP/1.1\r\nHost: {at}\r\nAuthorization: Bearer {token}\r\nConnection: close\r\nContent-Length: {length}"
    );
    stream.write_all(format!("{head}\r\n\r\n{body}").as_bytes()).expect("asked");
    let mut answer = String::new();
    stream.read_to_string(&mut answer).expect("an answer in time");
    let (head, body) = answer.split_once("\r\n\r\n").unwrap_or_else(|| panic!("{request}: {answer:?}"));
    let status = head.split(' ').nth(1).and_then(|status| status.parse().ok());
    (status.expect("a status"), serde_json::from_str(body).unwrap_or(Value::Null))
}

/// Registers somebody on the REST interface and signs in; the token.
pub(crate) fn http_user(at: SocketAddr, name: &str) -> String {
    let body = format!("{{\"username\": \"{name}\", \"password\": \"sesame\"}}");
    assert_eq!(http(at, "", "POST /users", &body).0, 201);
    let (status, user) = http(at, "", "POST /login", &body);
    assert_eq!(status, 200, "{user}");
    user["token"].as_str().expect("a token").to_owned()
}
