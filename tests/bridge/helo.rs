//! The `HELO` protocol.

use crate::{
    harness::Broker,
    legacy::{Bridge, Legacy},
    text::{heard, home, mqtt, run},
};
use std::net::SocketAddr;

pub(crate) fn signed_in(bridge: &Bridge, name: &str) -> Legacy {
    let mut legacy = Legacy::connect(bridge.helo, "\n");
    assert_eq!(legacy.line(), "HELO Welkom ");
    assert_eq!(ask(&mut legacy, &format!("HELO {name}")), format!("+OK HELO {name}"));
    legacy
}

/// The next line but `PING`, which is answered.
pub(crate) fn line(legacy: &mut Legacy) -> String {
    loop {
        let line = legacy.line();
        if line != "PING" {
            return line;
        }
        legacy.send("PONG");
    }
}

pub(crate) fn ask(legacy: &mut Legacy, command: &str) -> String {
    legacy.send(command);
    line(legacy)
}

/// 7.2, with people of three protocols in one room.
#[test]
fn helo_telnet_and_mqtt_speak_in_one_room() {
    let broker = Broker::start();
    let bridge = Bridge::start(broker.address());
    let (mut ann, mut bob) = (signed_in(&bridge, "ann"), signed_in(&bridge, "bob"));
    let mut tom = Legacy::connect(bridge.text, "\r\n");
    assert_eq!(tom.ask("#login anon tom"), "@status 0");
    run(async {
        let (carl, mut events) = mqtt(broker.address(), "carl").await;
        assert_eq!(ask(&mut ann, "BCST hello all"), "+OK BCST hello all");
        assert_eq!(line(&mut bob), "BCST [ann] hello all");
        assert_eq!(tom.line(), "@mess #broadcast ann \"hello all\"");
        assert_eq!(heard(&mut events).await, ("ann".into(), "hello all".into()));
        carl.say(&home(), "one\n-ERR two", None).await.expect("said");
        for legacy in [&mut ann, &mut bob] {
            assert_eq!(line(legacy), "BCST [carl] one");
            assert_eq!(line(legacy), "BCST [carl] -ERR two");
        }
        assert_eq!(ask(&mut ann, "GET_USERS *all"), "+SUCCESS ['ann', 'bob', 'carl', 'tom']");
        // 7.5, with the bridge as the other end.
        carl.tell("bob", "psst", None).await.expect("told");
        let wanted = line(&mut bob);
        assert!(wanted.starts_with("REQUEST_PUBLIC_KEY @carl "), "{wanted}");
        let key = ask(&mut ann, "REQUEST_PUBLIC_KEY @carl 17");
        assert!(key.starts_with("PUBLIC_KEY @carl MIIB") && key.ends_with(" 17"), "{key}");
        let readable = "+SUCCESS what you and carl say in private can be read by the server";
        assert_eq!(line(&mut ann), readable);
    });
    let mut other = Legacy::connect(bridge.helo, "\n");
    assert_eq!(line(&mut other), "HELO Welkom ");
    assert_eq!(ask(&mut other, "HELO tom"), "-ERR user already logged in");
    assert_eq!(ask(&mut bob, "QUIT"), "+OK Goodbye");
}

/// 7.5, between two clients: nobody on the way can read, and the broker has it on disk before the sender is told.
#[test]
fn keys_and_encrypted_messages_pass_between_two_clients() {
    let broker = Broker::start();
    let bridge = Bridge::start(broker.address());
    let (mut ann, mut bob) = (signed_in(&bridge, "ann"), signed_in(&bridge, "bob"));
    assert_eq!(ask(&mut ann, "REQUEST_PUBLIC_KEY @nobody 17"), "-SOFT_ERR no such user!");
    ann.send("REQUEST_PUBLIC_KEY @bob 17");
    assert_eq!(line(&mut bob), "REQUEST_PUBLIC_KEY @ann 17");
    bob.send("PUBLIC_KEY @ann S0VZ 17");
    assert_eq!(line(&mut ann), "PUBLIC_KEY @bob S0VZ 17");
    assert_eq!(ask(&mut ann, "PM @bob dGV4dA== a2V5"), "+OK PM");
    assert_eq!(line(&mut bob), "PM ann dGV4dA== a2V5");
    assert_eq!(ask(&mut bob, "PM @ann bW9yZQ=="), "+OK PM");
    assert_eq!(line(&mut ann), "PM bob bW9yZQ==");
}

/// 7.6 to 7.10.
#[test]
fn a_group_is_made_joined_spoken_in_and_its_member_kicked() {
    let broker = Broker::start();
    let bridge = Bridge::start(broker.address());
    let (mut ann, mut bob, mut dan) =
        (signed_in(&bridge, "ann"), signed_in(&bridge, "bob"), signed_in(&bridge, "dan"));
    assert_eq!(ask(&mut ann, "GET_GROUPS *groups"), "-SOFT_ERR there are no groups yet");
    assert_eq!(ask(&mut bob, "JOIN_GROUP g"), "-SOFT_ERR no such group!");
    assert_eq!(ask(&mut ann, "CREATE_GROUP g"), "+SUCCESS group \"g\" has been created!");
    assert_eq!(ask(&mut bob, "CREATE_GROUP g"), "-SOFT_ERR a group with that name already exists!");
    assert_eq!(
        ask(&mut bob, "GROUP_MESSAGE @@g hi"),
        "-SOFT_ERR you are not allowed to write in that group!"
    );
    for member in [&mut bob, &mut dan] {
        assert_eq!(ask(member, "JOIN_GROUP g"), "+SUCCESS you have successfully entered group g");
    }
    assert_eq!(ask(&mut bob, "JOIN_GROUP g"), "-SOFT_ERR you are already a member of that group!");
    bob.send("GROUP_MESSAGE @@g hi all");
    for member in [&mut ann, &mut dan] {
        assert_eq!(line(member), "GROUP_MESSAGE g: [bob] hi all");
    }
    assert_eq!(ask(&mut ann, "LEAVE_GROUP g"), "-SOFT_ERR you are an admin, you can't leave the group!");
    assert_eq!(ask(&mut bob, "KICK g dan"), "-SOFT_ERR you are not allowed to kick members out that group!");
    assert_eq!(ask(&mut ann, "KICK g ann"), "-SOFT_ERR why would you kick yourself out of your group :)?");
    assert_eq!(ask(&mut ann, "KICK g zoe"), "-SOFT_ERR user \"zoe\" is not a member of group \"g\" !");
    let kicked = "user \"bob\" has been kicked out of group \"g\"";
    assert_eq!(ask(&mut ann, "KICK g bob"), format!("+SUCCESS {kicked}"));
    assert_eq!(line(&mut dan), format!("GROUP_MESSAGE g: [ann] {kicked}"));
    assert_eq!(line(&mut bob), "+SUCCESS you have been kicked out of the group \"g\"");
    assert_eq!(ask(&mut bob, "JOIN_GROUP g"), "-SOFT_ERR you are banned from that group!");
    let groups = "+SUCCESS [Group name='g', admin='ann'members=[dan], banned=[bob]]";
    assert_eq!(ask(&mut ann, "GET_GROUPS *groups"), groups);
    assert_eq!(ask(&mut dan, "LEAVE_GROUP g"), "+SUCCESS you have successfully left the group \"g\" !");
    assert_eq!(ask(&mut dan, "LEAVE_GROUP g"), "-SOFT_ERR you are not a member of that group!");
}

/// 7.11, with a file of some megabytes whose sender is there first, and a receiver that is slow to come.
#[test]
fn a_file_flows_from_one_client_to_the_other() {
    const QUADS: usize = 1_500_000;
    let broker = Broker::start();
    let bridge = Bridge::start(broker.address());
    let (mut ann, mut bob) = (signed_in(&bridge, "ann"), signed_in(&bridge, "bob"));
    // Zeros, whose checksum is none.
    let meta = format!("{} a.bin 0", QUADS * 3);
    ann.send(&format!("FILE_TRANS @bob {meta}"));
    assert_eq!(line(&mut bob), format!("FILE_TRANS @ann {meta}"));
    let opened = ask(&mut bob, &format!("READY_FOR_FILE @ann {meta}"));
    let port: u16 = opened.strip_prefix("OPEN_PORT_TO_RECEIVE ").expect("a port").parse().expect("a number");
    assert_eq!(line(&mut ann), format!("READY_FOR_FILE @bob {meta} {port}"));
    let address = SocketAddr::new(bridge.helo.ip(), port);
    let sending = std::thread::spawn({
        let meta = meta.clone();
        move || {
            let mut sender = Legacy::connect(address, "\n");
            sender.ask(&format!("FILE <ann @bob {meta} {}", "AAAA".repeat(QUADS)))
        }
    });
    let mut receiver = Legacy::connect(address, "\n");
    let file = receiver.ask("OPEN_PORT_TO_RECEIVE bob");
    let zeros = file.strip_prefix(&format!("FILE <ann @ann {meta} ")).expect("the file");
    assert!(zeros.len() == QUADS * 4 && zeros.bytes().all(|byte| byte == b'A'));
    receiver.send("FILE_STATUS file has successfully been delivered!@ann");
    let status = sending.join().expect("sent");
    assert_eq!(status, "FILE_STATUS file has successfully been delivered!");
}
