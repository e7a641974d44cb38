//! The broker as a process of its own.
//!
//! Owns one `katydid` process, its data folder, its configuration and its log. Must never reach into the broker
//! otherwise than through its command line, its configuration file, signals and its first lines of output. Invariant:
//! a started broker accepts connections on the address that it printed, and no process outlives its [`Broker`].
//! Driven by tests: start, connect, perhaps kill and restart; dropping it ends the process.

use std::ffi::OsString;
use std::fmt::Write as _;
use std::fs::{self, File};
use std::io::{BufRead, BufReader};
use std::net::{SocketAddr, TcpStream};
use std::path::Path;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::mpsc;
use std::thread;
use std::time::{Duration, Instant};

use tempfile::TempDir;

use super::client::RawClient;
use super::packet::{ConnAck, Connect, Version};

/// How long a broker may take to print its listener.
const START_LIMIT: Duration = Duration::from_secs(20);
/// How long a line may take to be logged.
const LOG_LIMIT: Duration = Duration::from_secs(10);
/// How long a broker may take to end after SIGTERM.
const STOP_LIMIT: Duration = Duration::from_secs(20);

/// What tests set in the configuration; every field that is `None` stays at the broker's default.
///
/// The names of the configuration's keys appear in [`Settings::to_toml`] and nowhere else in the tests.
#[derive(Debug, Clone, Default)]
pub(crate) struct Settings {
    pub(crate) connect_timeout_secs: Option<u32>,
    pub(crate) receive_maximum: Option<u16>,
    pub(crate) maximum_packet_size_bytes: Option<u32>,
    pub(crate) topic_alias_maximum: Option<u16>,
    pub(crate) keep_alive_maximum_secs: Option<u16>,
    pub(crate) session_expiry_maximum_secs: Option<u32>,
    pub(crate) access_list: Option<&'static str>,
    /// A registered user and the password.
    pub(crate) account: Option<(&'static str, &'static str)>,
    pub(crate) websocket: bool,
    /// Whether every protocol of the bridge is served, each at a free port. Otherwise none is, unless `config` says so.
    pub(crate) bridge: bool,
    /// Further arguments of the command line.
    pub(crate) arguments: &'static [&'static str],
    /// The longest file that the system lets the first process write, in KiB; writing on fails as on a full disk.
    pub(crate) file_kib: Option<u32>,
    /// Further lines of the configuration file, listeners for instance; `{folder}` is the broker's folder.
    pub(crate) config: String,
    /// Files to write into the broker's folder, by name and text.
    pub(crate) files: Vec<(&'static str, String)>,
}

impl Settings {
    /// The configuration file; the folder is where the access list and the password file were written.
    fn to_toml(&self, folder: &Path) -> String {
        let mut out = String::from("[limits]\n");
        let mut key = |name: &str, value: Option<String>| {
            if let Some(value) = value {
                let _ = writeln!(out, "{name} = {value}");
            }
        };
        let seconds = |value: u32| format!("\"{value}s\"");
        key("connect-timeout", self.connect_timeout_secs.map(seconds));
        key("receive-maximum", self.receive_maximum.map(|value| value.to_string()));
        key("packet-size", self.maximum_packet_size_bytes.map(|value| format!("\"{value}B\"")));
        key("topic-aliases", self.topic_alias_maximum.map(|value| value.to_string()));
        key("keep-alive", self.keep_alive_maximum_secs.map(|value| seconds(value.into())));
        key("session-expiry", self.session_expiry_maximum_secs.map(seconds));
        if self.access_list.is_some() {
            let _ = writeln!(out, "[access]\nfile = {:?}", folder.join("access"));
        }
        if self.account.is_some() {
            let _ = writeln!(out, "[passwords]\nfile = {:?}", folder.join("passwords"));
        }
        if self.websocket {
            out.push_str("[[listener]]\nname = \"mqtt\"\nbind = \"127.0.0.1:0\"\n");
            out.push_str("[[listener]]\nname = \"web\"\nbind = \"127.0.0.1:0\"\nprotocol = \"ws\"\n");
        }
        if self.bridge {
            out.push_str("[bridge.helo]\nfirst-file-port = 0\n");
            for protocol in ["text", "mchat", "helo", "json", "rest"] {
                let _ = writeln!(out, "[bridge.{protocol}.listener]\nbind = \"127.0.0.1:0\"");
            }
        }
        out.push_str(&self.config.replace("{folder}", folder.to_str().expect("a folder in UTF-8")));
        out
    }

    /// Whether the configuration file says something of the bridge.
    fn has_bridge(&self) -> bool {
        self.bridge || self.config.contains("[bridge")
    }

    /// Whether the configuration file says where to listen.
    fn has_listeners(&self) -> bool {
        self.websocket || self.config.contains("[[listener]]")
    }
}

/// A running broker.
pub(crate) struct Broker {
    child: Child,
    /// Kind and address of each listener, in the order of the configuration.
    listeners: Vec<(String, String)>,
    settings: Settings,
    folder: TempDir,
}

impl Broker {
    /// A broker with default settings and an empty data folder.
    pub(crate) fn start() -> Broker {
        Broker::with(Settings::default())
    }

    /// A broker with these settings and an empty data folder.
    pub(crate) fn with(settings: Settings) -> Broker {
        let folder = TempDir::with_prefix("katydid-test").expect("a folder for the broker's data");
        if let Some(list) = settings.access_list {
            fs::write(folder.path().join("access"), list).expect("the access list is written");
        }
        if let Some((user, password)) = settings.account {
            set_password(folder.path(), user, password);
        }
        for (name, text) in &settings.files {
            fs::write(folder.path().join(name), text).expect("a file is written");
        }
        let config = settings.to_toml(folder.path());
        fs::write(folder.path().join("katydid.toml"), config).expect("the configuration is written");
        let (child, listeners) = launch(&folder, &settings);
        Broker { child, listeners, settings, folder }
    }

    /// Where MQTT is served.
    pub(crate) fn address(&self) -> SocketAddr {
        self.address_of("mqtt")
    }

    /// Where WebSocket is served, when the settings ask for it.
    pub(crate) fn websocket_address(&self) -> SocketAddr {
        self.address_of("ws")
    }

    /// Where the first listener of that kind listens: `mqtt`, `mqtts`, `ws`, `wss`.
    pub(crate) fn address_of(&self, kind: &str) -> SocketAddr {
        self.place_of(kind).parse().expect("an address")
    }

    /// The first listener of that kind as it was printed; for `unix` a path.
    pub(crate) fn place_of(&self, kind: &str) -> &str {
        let found = self.listeners.iter().find(|(found, _)| found == kind);
        &found.unwrap_or_else(|| panic!("no {kind} listener in {:?}", self.listeners)).1
    }

    /// All listeners, kind and place, as they were printed.
    pub(crate) fn listeners(&self) -> &[(String, String)] {
        &self.listeners
    }

    /// The broker's folder: its configuration, its files, its log and its data.
    pub(crate) fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// Replaces a file in the broker's folder.
    pub(crate) fn write(&self, name: &str, text: &str) {
        fs::write(self.folder.path().join(name), text).expect("a file is written");
    }

    /// Sets a user's password in the password file that [`Settings::account`] began.
    pub(crate) fn set_password(&self, user: &str, password: &str) {
        set_password(self.folder.path(), user, password);
    }

    /// What the broker has logged so far.
    pub(crate) fn log(&self) -> String {
        fs::read_to_string(self.folder.path().join("log")).expect("a log")
    }

    /// Waits until as many lines of the log hold that text, and returns them.
    pub(crate) fn await_log(&self, text: &str, lines: usize) -> Vec<String> {
        let limit = Instant::now() + LOG_LIMIT;
        loop {
            let log = self.log();
            let found: Vec<String> = log.lines().filter(|line| line.contains(text)).map(Into::into).collect();
            if found.len() >= lines {
                return found;
            }
            assert!(Instant::now() < limit, "no {lines} lines with {text:?} within {LOG_LIMIT:?}:\n{log}");
            thread::yield_now();
        }
    }

    /// Its data folder.
    pub(crate) fn data_folder(&self) -> std::path::PathBuf {
        self.folder.path().join("data")
    }

    /// The broker's process id.
    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }

    /// A socket without CONNECT, whose packets will be read in that version.
    pub(crate) fn open(&self, version: Version) -> RawClient {
        RawClient::new(TcpStream::connect(self.address()).expect("the broker accepts connections"), version)
    }

    /// A client whose CONNECT was accepted, and the CONNACK.
    pub(crate) fn connect_with_ack(&self, connect: &Connect) -> (RawClient, ConnAck) {
        let mut client = self.open(connect.version);
        client.send(&connect.bytes());
        let ack = client.expect_connack();
        assert_eq!(ack.code, 0, "CONNECT was refused: {ack:?}");
        (client, ack)
    }

    /// A client whose CONNECT was accepted.
    pub(crate) fn connect(&self, connect: &Connect) -> RawClient {
        self.connect_with_ack(connect).0
    }

    /// A connected client with a new session and defaults.
    pub(crate) fn client(&self, version: Version, client_id: &str) -> RawClient {
        self.connect(&Connect::new(version, client_id))
    }

    /// Ends the process at once, as a crash does (SIGKILL).
    pub(crate) fn kill(&mut self) {
        self.child.kill().expect("the broker was running");
        self.child.wait().expect("the broker's status");
    }

    /// Asks the process to end (SIGTERM) without waiting for it.
    pub(crate) fn ask_to_end(&self) {
        self.signal("-TERM");
    }

    /// Does something while the process stands still (SIGSTOP), so that all of it comes to the broker at once.
    pub(crate) fn pause_while(&self, act: impl FnOnce()) {
        self.signal("-STOP");
        act();
        self.signal("-CONT");
    }

    /// Sends SIGHUP, on which the broker reads its files again, and waits until it has done so or said that it cannot.
    pub(crate) fn reload(&self) {
        let done = |log: &str| {
            log.matches("configuration read again").count()
                + log.matches("configuration cannot be read again").count()
        };
        let before = done(&self.log());
        self.signal("-HUP");
        let limit = Instant::now() + LOG_LIMIT;
        while done(&self.log()) == before {
            assert!(
                Instant::now() < limit,
                "the broker did not read its files within {LOG_LIMIT:?} of SIGHUP"
            );
            thread::yield_now();
        }
    }

    /// Waits until a process that was asked to end has ended.
    pub(crate) fn wait_for_end(&mut self) -> ExitStatus {
        let limit = Instant::now() + STOP_LIMIT;
        loop {
            if let Some(status) = self.child.try_wait().expect("the broker's status") {
                return status;
            }
            assert!(Instant::now() < limit, "the broker did not end within {STOP_LIMIT:?} of SIGTERM");
            thread::yield_now();
        }
    }

    /// Ends the process with SIGTERM and waits for it.
    pub(crate) fn terminate(&mut self) -> ExitStatus {
        self.ask_to_end();
        self.wait_for_end()
    }

    /// Starts the broker again on the same data; it must have ended.
    pub(crate) fn restart(&mut self) {
        assert!(self.child.try_wait().expect("the broker's status").is_some(), "the broker still runs");
        self.settings.file_kib = None;
        (self.child, self.listeners) = launch(&self.folder, &self.settings);
    }

    /// The same with other arguments of the command line.
    pub(crate) fn restart_with(&mut self, arguments: &'static [&'static str]) {
        self.settings.arguments = arguments;
        self.restart();
    }

    fn signal(&self, signal: &str) {
        let pid = self.child.id().to_string();
        let status = Command::new("kill").args([signal, &pid]).status().expect("kill runs");
        assert!(status.success(), "kill {signal} {pid}");
    }
}

impl Drop for Broker {
    fn drop(&mut self) {
        // An error means that it has ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
        if thread::panicking() {
            let log = fs::read_to_string(self.folder.path().join("log")).unwrap_or_default();
            println!("the broker's log:\n{log}");
        }
    }
}

/// The broker's program: the one built with these tests, or another build that a variable names.
fn program() -> OsString {
    std::env::var_os("KATYDID_TEST_BROKER").unwrap_or(env!("CARGO_BIN_EXE_katydid").into())
}

fn set_password(folder: &Path, user: &str, password: &str) {
    let mut command = Command::new(program());
    command.env_remove("KATYDID_TEST_BROKER");
    command.arg("passwd").arg("-b").arg(folder.join("passwords")).args([user, password]);
    assert!(command.status().expect("the broker's program starts").success(), "{command:?}");
}

/// Starts the process and waits for the lines that name its listeners.
fn launch(folder: &TempDir, settings: &Settings) -> (Child, Vec<(String, String)>) {
    let log = File::options()
        .create(true)
        .append(true)
        .open(folder.path().join("log"))
        .expect("the log file is created");
    let mut command = match settings.file_kib {
        None => Command::new(program()),
        Some(kib) => {
            let mut shell = Command::new("bash");
            shell.args(["-c", "trap '' XFSZ; ulimit -f $0; exec \"$@\""]).arg(kib.to_string()).arg(program());
            shell
        }
    };
    // The broker takes a variable that begins so for one of its settings.
    command.env_remove("KATYDID_TEST_BROKER");
    command.arg("-c").arg(folder.path().join("katydid.toml"));
    command.arg("--data-dir").arg(folder.path().join("data"));
    command.args(settings.arguments);
    if !settings.has_listeners() {
        command.args(["--listen-address", "127.0.0.1", "-p", "0"]);
    } else if !settings.has_bridge() {
        command.args(["--bridge.on", "false"]);
    }
    let mut child = command
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(log)
        .spawn()
        .expect("the broker's program starts");
    let stdout = child.stdout.take().expect("the output is a pipe");
    let (sender, lines) = mpsc::channel();
    // Reads on after the first lines, so that the broker never waits for a full pipe.
    thread::spawn(move || {
        for line in BufReader::new(stdout).lines().map_while(Result::ok) {
            let _ = sender.send(line);
        }
    });
    let limit = Instant::now() + START_LIMIT;
    let config = settings.to_toml(folder.path());
    let expected = config.matches("[[listener]]").count().max(1);
    let mut listeners = Vec::new();
    // The bridge's are printed behind those of the broker, this one last.
    let is_last_there = |listeners: &[(String, String)]| listeners.iter().any(|(kind, _)| kind == "rest");
    while listeners.len() < expected || (settings.bridge && !is_last_there(&listeners)) {
        let left = limit.saturating_duration_since(Instant::now());
        let Ok(line) = lines.recv_timeout(left) else {
            let _ = child.kill();
            let _ = child.wait();
            let log = fs::read_to_string(folder.path().join("log")).unwrap_or_default();
            panic!(
                "the broker printed no listener before it ended or {START_LIMIT:?} passed; its log:\n{log}"
            );
        };
        if let Some((kind, place)) = line.strip_prefix("listening ").and_then(|rest| rest.split_once(' ')) {
            listeners.push((kind.to_owned(), place.to_owned()));
        }
    }
    (child, listeners)
}
