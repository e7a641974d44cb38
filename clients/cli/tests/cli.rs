//! The program against the real broker: what a script sees of it, on its output and in its exit code.
//!
//! Must never use the library. The broker is the one that `KATYDID_TEST_BROKER` names, or is built first.
#![allow(clippy::print_stderr, reason = "a failing test shows the broker's log")]

use std::{
    ffi::OsString,
    fs,
    io::{BufRead, BufReader, Write},
    path::{Path, PathBuf},
    process::{Child, Command, Output, Stdio},
    sync::OnceLock,
};
use tempfile::TempDir;

/// The broker's program.
fn program() -> &'static OsString {
    static PROGRAM: OnceLock<OsString> = OnceLock::new();
    PROGRAM.get_or_init(|| {
        if let Some(program) = std::env::var_os("KATYDID_TEST_BROKER") {
            return program;
        }
        let folder = Path::new(env!("CARGO_BIN_EXE_katydid-cli")).parent().expect("a folder");
        let profile = match folder.file_name().and_then(|name| name.to_str()) {
            Some("debug") | None => "dev",
            Some(profile) => profile,
        };
        let mut build = Command::new(env!("CARGO"));
        build.args(["build", "--quiet", "--package", "katydid", "--bin", "katydid", "--profile", profile]);
        assert!(build.status().expect("cargo runs").success(), "the broker is built");
        folder.join("katydid").into()
    })
}

/// A running broker.
struct Broker {
    child: Child,
    port: String,
    folder: TempDir,
}

impl Broker {
    fn start() -> Self {
        Self::with("")
    }

    fn with(config: &str) -> Self {
        let folder = TempDir::with_prefix("katydid-cli").expect("a folder");
        let passwords = folder.path().join("passwords");
        let config = config.replace("{passwords}", &passwords.display().to_string());
        fs::write(folder.path().join("katydid.toml"), &config).expect("the configuration is written");
        if config.contains("passwords") {
            let mut passwd = Command::new(program());
            passwd.arg("passwd").arg("-b").arg(&passwords).args(["ann", "secret"]);
            assert!(passwd.status().expect("the broker's program starts").success());
        }
        let log = fs::File::create(folder.path().join("log")).expect("a log");
        let mut command = Command::new(program());
        command.env_remove("KATYDID_TEST_BROKER").stdin(Stdio::null()).stdout(Stdio::piped()).stderr(log);
        command.arg("-c").arg(folder.path().join("katydid.toml"));
        command.arg("--data-dir").arg(folder.path().join("data"));
        command.args(["--listen-address", "127.0.0.1", "-p", "0"]);
        let mut child = command.spawn().expect("the broker starts");
        let lines = BufReader::new(child.stdout.take().expect("a pipe")).lines();
        let listening = lines.map_while(Result::ok).find(|line| line.starts_with("listening mqtt "));
        let port = listening.and_then(|line| line.rsplit(':').next().map(str::to_owned));
        Self { child, port: port.expect("the broker listens"), folder }
    }

    /// The program, as a user of that name.
    fn cli(&self, user: &str) -> Command {
        let mut command = bare();
        command.args(["-h", "127.0.0.1", "-p", &self.port, "-u", user]);
        command
    }

    fn file(&self, name: &str, text: &str) -> PathBuf {
        let path = self.folder.path().join(name);
        fs::write(&path, text).expect("a file is written");
        path
    }
}

impl Drop for Broker {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
        if std::thread::panicking() {
            eprintln!("{}", fs::read_to_string(self.folder.path().join("log")).unwrap_or_default());
        }
    }
}

/// The program without the variables that it reads.
fn bare() -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_katydid-cli"));
    for (name, _) in std::env::vars_os().filter(|(name, _)| name.to_string_lossy().starts_with("KATYDID_")) {
        command.env_remove(name);
    }
    command.stdin(Stdio::null());
    command
}

fn run(command: &mut Command, arguments: &[&str]) -> Output {
    command.args(arguments).output().expect("the program starts")
}

/// Runs with an input, to its end.
fn feed(command: &mut Command, arguments: &[&str], input: &str) -> Output {
    command.args(arguments).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().expect("the program starts");
    child.stdin.take().expect("a pipe").write_all(input.as_bytes()).expect("it reads");
    child.wait_with_output().expect("it ends")
}

fn out(output: &Output) -> String {
    assert!(output.status.success(), "{:?}: {}", output.status, err(output));
    String::from_utf8(output.stdout.clone()).expect("UTF-8")
}

fn err(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

#[test]
fn what_is_said_is_listened_to() {
    let broker = Broker::start();
    assert_eq!(out(&run(&mut broker.cli("ann"), &["say", "Home", "hello,", "world"])), "");
    let said = feed(broker.cli("ann").arg("--json"), &["say", "room/Home"], "one\r\ntwo");
    let said: Vec<serde_json::Value> =
        out(&said).lines().map(|line| serde_json::from_str(line).expect("JSON")).collect();
    assert_eq!((&said[0]["seq"], &said[1]["seq"]), (&2.into(), &3.into()));
    let heard = run(&mut broker.cli("bob"), &["listen", "Home", "--last", "3", "-c", "3"]);
    assert_eq!(out(&heard), "room/Home #1 ann: hello, world\nroom/Home #2 ann: one\nroom/Home #3 ann: two\n");
    let heard = run(broker.cli("bob").arg("--json"), &["listen", "Home", "--since", "2", "-c", "1"]);
    let heard: serde_json::Value = serde_json::from_str(&out(&heard)).expect("JSON");
    assert_eq!(
        (&heard["text"], &heard["from"], &heard["replay"]),
        (&"two".into(), &"ann".into(), &true.into())
    );
}

#[test]
fn nobody_writes_to_anothers_terminal() {
    let broker = Broker::start();
    let evil = "\u{1b}]0;owned\u{7}\u{9b}2J\u{202e}x";
    out(&run(&mut broker.cli("ann"), &["say", "Home", evil]));
    for form in [&[][..], &["--json"]] {
        let heard = out(&run(broker.cli("bob").args(form), &["listen", "Home", "--last", "1", "-c", "1"]));
        let is_safe = |letter: char| letter == '\n' || !(letter.is_control() || letter == '\u{202e}');
        assert!(heard.chars().all(is_safe), "{heard:?}");
        assert!(heard.contains("owned"));
    }
}

#[test]
fn the_chat_works_in_a_pipe() {
    let broker = Broker::start();
    let lines = "too early\n/join Home\nhello\n//slash\n/in room/x\nelsewhere\n/nonsense\n/history\n/quit\nnot said\n";
    let output = feed(&mut broker.cli("ann"), &[], lines);
    let (out, err) = (out(&output), err(&output));
    assert!(out.contains("room/Home #1 ann: hello\n"), "{out}");
    assert!(out.contains("room/Home #2 ann: /slash\n"), "{out}");
    assert!(err.contains("no current place") && err.contains("nonsense"), "{err}");
    let heard = run(&mut broker.cli("bob"), &["listen", "x", "--last", "9", "-c", "1"]);
    assert_eq!(self::out(&heard), "room/x #1 ann: elsewhere\n");
    let heard = run(&mut broker.cli("bob"), &["listen", "Home", "--last", "9", "-c", "2", "--for", "10s"]);
    assert!(!self::out(&heard).contains("not said"));
}

#[test]
fn exit_codes_say_what_went_wrong() {
    let broker = Broker::start();
    let code = |output: Output| (output.status.code(), err(&output));
    let (refused, text) = code(run(&mut broker.cli("ann"), &["request", "no/such/verb"]));
    assert_eq!(refused, Some(1), "{text}");
    for wrong in [&["say"][..], &["say", "room/a b", "x"], &["request", "whoami", "[]"], &["nonsense"]] {
        let (usage, text) = code(run(&mut broker.cli("ann"), wrong));
        assert_eq!(usage, Some(2), "{wrong:?}: {text}");
    }
    let nowhere = broker.folder.path().join("nobody");
    let (unreachable, text) = code(run(bare().arg("-h").arg(&nowhere), &["whoami"]));
    assert_eq!(unreachable, Some(3), "{text}");
    let text = err(&run(bare().arg("--json").arg("-h").arg(&nowhere), &["whoami"]));
    let problem: serde_json::Value = serde_json::from_str(&text).expect("JSON");
    assert_eq!(problem["code"], "client.unreachable");
}

#[test]
fn a_password_comes_from_a_file_or_the_environment_and_is_not_shown() {
    let broker = Broker::with("[passwords]\nfile = \"{passwords}\"\n");
    let say = &["say", "Home", "hi"];
    let right = broker.file("right", "secret\nmore\n");
    let wrong = broker.file("wrong", "mistaken\n");
    out(&run(broker.cli("ann").arg("-P").arg(&right), say));
    out(&run(broker.cli("ann").env("KATYDID_PASSWORD", "secret"), say));
    out(&feed(broker.cli("ann").args(["-P", "-"]), say, "secret\n"));
    let warned = run(broker.cli("ann").args(["--password", "secret"]), say);
    assert!(warned.status.success() && err(&warned).contains("warning"), "{}", err(&warned));
    for command in [broker.cli("ann").arg("-P").arg(&wrong), broker.cli("ann").arg("--time")] {
        let refused = run(command, say);
        assert_eq!(refused.status.code(), Some(4), "{}", err(&refused));
        assert!(!err(&refused).contains("mistaken"));
    }
}

#[test]
fn a_session_that_is_kept_hears_what_was_said_meanwhile() {
    let broker = Broker::start();
    let phone = ["-i", "phone", "--session", "1h"];
    out(&run(broker.cli("bob").args(phone), &["listen", "Home", "--last", "0", "--for", "0s"]));
    for text in ["1", "2"] {
        out(&run(&mut broker.cli("ann"), &["say", "Home", text]));
    }
    let heard = run(broker.cli("bob").args(phone), &["listen", "Home", "-c", "2"]);
    assert_eq!(out(&heard), "room/Home #1 ann: 1\nroom/Home #2 ann: 2\n");
}

#[test]
fn what_was_said_is_searched() {
    let broker = Broker::start();
    for text in ["the first Café", "nothing", "a cafe, at last"] {
        out(&run(&mut broker.cli("ann"), &["say", "Home", text]));
    }
    let found = run(&mut broker.cli("bob"), &["search", "cafe", "--room", "Home"]);
    assert_eq!(out(&found), "room/Home #3 ann: a cafe, at last\nroom/Home #1 ann: the first Café\n");
    let found =
        run(broker.cli("bob").arg("--json"), &["search", "\"the first\"", "--room", "Home", "-n", "1"]);
    let found: serde_json::Value = serde_json::from_str(&out(&found)).expect("JSON");
    assert_eq!((&found["seq"], &found["text"]), (&1.into(), &"the first Café".into()));
    let found =
        run(&mut broker.cli("bob"), &["search", "cafe", "--room", "Home", "--before", "3", "--from", "ann"]);
    assert_eq!(out(&found), "room/Home #1 ann: the first Café\n");
    let found = run(&mut broker.cli("bob"), &["search", "cafe"]);
    assert_eq!(out(&found), "", "bob is in no room");
    let refused = run(&mut broker.cli("bob"), &["search", "?", "--room", "Home"]);
    assert!(!refused.status.success() && err(&refused).contains("search.bad-query"), "{}", err(&refused));
}
