//! A bridge in this process, and a legacy client that sees bytes and nothing else.

use katydid_bridge::config::{DoorWritten, Written};
use std::{
    io::{BufRead, BufReader, Write},
    net::{Ipv4Addr, SocketAddr, TcpStream},
    sync::atomic::{AtomicU8, Ordering},
    thread::JoinHandle,
    time::{Duration, Instant},
};
use tokio::sync::oneshot;

/// How long anything may take.
pub(crate) const LIMIT: Duration = Duration::from_secs(20);

/// An address at which nobody listens, and which nobody else will take: each has a loopback address of its own, whereas a
/// port of the one that all programs share may become somebody's before it is used.
pub(crate) fn free_address() -> SocketAddr {
    static TAKEN: AtomicU8 = AtomicU8::new(1);
    let [.., high, low] = std::process::id().to_be_bytes();
    let own = Ipv4Addr::new(127, high | 0x80, low, TAKEN.fetch_add(1, Ordering::Relaxed));
    (own, 6500).into()
}

/// Ports for files, which follow that of the clients.
const FILE_PORTS: u16 = 4;

/// A running bridge; ends when dropped.
pub(crate) struct Bridge {
    pub(crate) text: SocketAddr,
    pub(crate) mchat: SocketAddr,
    pub(crate) mesh: SocketAddr,
    pub(crate) helo: SocketAddr,
    stop: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl Bridge {
    /// A bridge in front of a broker, with every protocol at a port of its own.
    pub(crate) fn start(broker: SocketAddr) -> Self {
        let [text, mchat, mesh, helo, json, rest] = std::array::from_fn(|_| free_address());
        let door = |bind: SocketAddr| DoorWritten { bind: Some(bind.to_string()), ..DoorWritten::default() };
        let mut written = Written::default();
        written.broker.address = broker.to_string();
        written.text.listener = door(text);
        written.mchat.listener = door(mchat);
        written.mchat.mesh = door(mesh);
        written.mchat.announce = Some(mesh.to_string());
        written.helo.listener = door(helo);
        written.json.listener = door(json);
        written.rest.listener = door(rest);
        written.helo.first_file_port = helo.port() + 1;
        written.helo.file_ports = FILE_PORTS;
        let config = written.prove().expect("a configuration");
        let (stop, stopped) = oneshot::channel::<()>();
        let thread = std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build();
            let ended = async { drop(stopped.await) };
            runtime.expect("a runtime").block_on(katydid_bridge::run(config, ended)).expect("a bridge");
        });
        Self { text, mchat, mesh, helo, stop: Some(stop), thread: Some(thread) }
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
                Ok(stream) => {
                    stream.set_read_timeout(Some(LIMIT)).expect("a time limit");
                    return Self { stream: BufReader::new(stream), end };
                }
                Err(error) if Instant::now() > until => panic!("nobody listens at {address}: {error}"),
                Err(_) => std::thread::yield_now(),
            }
        }
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
