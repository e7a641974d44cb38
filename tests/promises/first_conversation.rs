//! Two people talk in a room, and who comes later sees what was said: with mosquitto's programs where they are
//! installed, and with an ordinary MQTT library in any case.

use std::io::ErrorKind;
use std::process::{Command, Stdio};

use super::talk::{New, Old};
use crate::harness::Broker;

/// A program of mosquitto as `user`, ready for more arguments; `None` where it is not installed.
fn mosquitto(program: &str, broker: &Broker, user: &str) -> Option<Command> {
    match Command::new(program).arg("--help").stdout(Stdio::null()).stderr(Stdio::null()).status() {
        Err(error) if error.kind() == ErrorKind::NotFound => return None,
        status => status.expect("the program starts"),
    };
    let mut command = Command::new(program);
    let port = broker.address().port().to_string();
    command.args(["-h", "127.0.0.1", "-p", &port, "-u", user]);
    Some(command)
}

fn say(broker: &Broker, user: &str, text: &str) {
    let mut program = mosquitto("mosquitto_pub", broker, user).expect("it is installed");
    let topic = format!("room/Home/msg/{user}");
    let status = program.args(["-t", &topic, "-q", "1", "-m", text]).status();
    assert!(status.expect("mosquitto_pub runs").success(), "{user} says {text}");
}

#[test]
fn two_people_talk_with_mosquittos_programs() {
    let broker = Broker::start();
    let listen = ["-t", "room/Home/msg/+", "-v", "-W", "20", "-C"];
    let Some(mut ann) = mosquitto("mosquitto_sub", &broker, "ann") else {
        println!("mosquitto's programs are not installed; the other test here says the same without them");
        return;
    };
    let ann = ann.args(listen).arg("2").stdout(Stdio::piped()).spawn().expect("mosquitto_sub runs");
    say(&broker, "bob", "Hello");
    say(&broker, "ann", "Hi, Bob!");
    let ann = ann.wait_with_output().expect("mosquitto_sub ends");
    let said = "room/Home/msg/bob Hello\nroom/Home/msg/ann Hi, Bob!\n";
    assert_eq!(String::from_utf8_lossy(&ann.stdout), said);
    let mut carl = mosquitto("mosquitto_sub", &broker, "carl").expect("it is installed");
    let carl = carl.args(listen).arg("2").output().expect("mosquitto_sub runs");
    assert_eq!(String::from_utf8_lossy(&carl.stdout), said, "who comes later sees what was said");
}

#[test]
fn two_people_talk_and_a_third_comes_later() {
    let broker = Broker::start();
    let mut ann = Old::connect(&broker, "ann", true);
    let mut bob = New::connect(&broker, "bob", true);
    ann.subscribe("room/Home/msg/+", 1);
    bob.subscribe("room/Home/msg/+", 1);
    bob.say("room/Home/msg/bob", "Hello");
    let heard = ann.hear();
    assert_eq!((&*heard.topic, &*heard.text, heard.retain), ("room/Home/msg/bob", "Hello", false));
    ann.say("room/Home/msg/ann", "Hi, Bob!", 1);
    assert_eq!(ann.hear_texts(1), ["Hi, Bob!"]);
    assert_eq!(bob.hear_texts(2), ["Hello", "Hi, Bob!"]);
    let mut carl = New::connect(&broker, "carl", true);
    carl.subscribe("room/Home/msg/+", 1);
    let (first, second) = (carl.hear(), carl.hear());
    assert_eq!((&*first.text, first.retain), ("Hello", true), "history bears RETAIN");
    assert_eq!((&*second.text, second.retain), ("Hi, Bob!", true));
    assert!(first.seq < second.seq, "{first:?} {second:?}");
}
