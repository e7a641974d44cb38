//! mosquitto's programs, where they are installed: clients that nobody here wrote.

use std::io::ErrorKind;
use std::process::{Command, Output, Stdio};

/// What a program said and how it ended.
#[derive(Debug)]
pub(crate) struct Said {
    pub(crate) out: String,
    pub(crate) is_success: bool,
}

/// Runs `mosquitto_sub` or `mosquitto_pub` to its end; `None` where it is not installed.
pub(crate) fn run(program: &str, arguments: &[&str]) -> Option<Said> {
    match Command::new(program).arg("--help").stdout(Stdio::null()).stderr(Stdio::null()).status() {
        Err(error) if error.kind() == ErrorKind::NotFound => {
            println!("{program} is not installed; what it would show is shown by our own client");
            return None;
        }
        status => status.expect("the program starts"),
    };
    let Output { status, stdout, stderr } =
        Command::new(program).args(arguments).output().expect("the program runs");
    println!("{program} {arguments:?}: {status}\n{}", String::from_utf8_lossy(&stderr));
    let out = String::from_utf8(stdout).expect("text");
    Some(Said { out, is_success: status.success() })
}

/// Somebody says something in the room *Home* and reads it back; `how` says where the broker is and who speaks.
pub(crate) fn converse(how: &[&str], user: &str) {
    let topic = format!("room/Home/msg/{user}");
    let text = format!("{user} is here");
    let said = run("mosquitto_pub", &[how, &["-t", &topic, "-q", "1", "-m", &text]].concat());
    let Some(said) = said else { return };
    assert!(said.is_success, "{said:?}");
    let heard = run(
        "mosquitto_sub",
        &[how, &["-t", "$last/1/room/Home/msg/+", "-v", "-C", "1", "-W", "20"]].concat(),
    );
    assert_eq!(heard.expect("it is installed").out, format!("{topic} {text}\n"));
}
