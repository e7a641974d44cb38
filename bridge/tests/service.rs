//! The `katydid-bridge` binary as a service: it starts and stops by command, logs both, and says what is wrong.

use std::{
    fs,
    net::{TcpListener, TcpStream},
    path::Path,
    process::{Command, Output},
    time::{Duration, Instant},
};

fn bridge(arguments: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_katydid-bridge"));
    command.args(arguments).env_remove("KATYDID_BRIDGE_CONFIG").env_remove("KATYDID_BRIDGE_BROKER");
    command.output().expect("the program runs")
}

fn free_port() -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    listener.local_addr().expect("an address").port()
}

/// Ends the service also where the test fails.
struct Running<'a>(&'a str);

impl Drop for Running<'_> {
    fn drop(&mut self) {
        bridge(&["--pid-file", self.0, "stop"]);
    }
}

fn text(path: &Path) -> &str {
    path.to_str().expect("a path in UTF-8")
}

/// Waits until the log says so.
fn await_log(log: &Path, text: &str) {
    let until = Instant::now() + Duration::from_secs(20);
    loop {
        let said = fs::read_to_string(log).unwrap_or_default();
        if said.contains(text) {
            return;
        }
        assert!(Instant::now() < until, "waiting for {text:?}, the log says {said:?}");
        std::thread::yield_now();
    }
}

/// Document `mchat`, section 3, Server: "A server can be stopped with command"; section 7, Logging.
#[test]
fn a_service_starts_and_stops_by_command_and_logs_both() {
    let dir = tempfile::tempdir().expect("a folder");
    let (pid, log, config) = (dir.path().join("pid"), dir.path().join("log"), dir.path().join("config"));
    let port = free_port();
    let written = format!(
        "[text]\nlistener.on = false\n[mchat]\nlog-file = {:?}\nlistener.bind = \"127.0.0.1:{port}\"\n",
        text(&log)
    );
    fs::write(&config, written).expect("a configuration");
    let start = || {
        Command::new(env!("CARGO_BIN_EXE_katydid-bridge"))
            .args(["--config", text(&config), "--pid-file", text(&pid), "start"])
            .stderr(std::process::Stdio::null())
            .status()
            .expect("the program runs")
    };
    assert!(start().success());
    let running = Running(text(&pid));
    assert!(fs::read_to_string(&pid).expect("a number").trim().parse::<u32>().is_ok());
    assert!(!start().success(), "a second one has started");
    await_log(&log, "server started\n");
    drop(TcpStream::connect(("127.0.0.1", port)).expect("it listens"));
    await_log(&log, " client connected from 127.0.0.1:");
    drop(running);
    assert!(!pid.exists());
    let log = fs::read_to_string(&log).expect("a log");
    assert!(log.ends_with(" server stopped\n"), "{log}");
}

#[test]
fn what_is_wrong_is_said_and_nothing_starts() {
    let said =
        |output: Output| (output.status.success(), String::from_utf8_lossy(&output.stderr).into_owned());
    let (is_good, problem) = said(bridge(&["--mchat", "nowhere"]));
    assert!(!is_good && problem.contains("mchat.listener"), "{problem}");
    let (is_good, problem) = said(bridge(&["--config", "/nowhere/at/all"]));
    assert!(!is_good && problem.contains("/nowhere/at/all"), "{problem}");
    let (is_good, problem) = said(bridge(&["stop"]));
    assert!(!is_good && problem.contains("--pid-file"), "{problem}");
}

#[test]
fn the_manual_is_printed() {
    let output = bridge(&["--print-config"]);
    assert!(output.status.success());
    assert_eq!(String::from_utf8_lossy(&output.stdout), katydid_bridge::config::MANUAL);
}
