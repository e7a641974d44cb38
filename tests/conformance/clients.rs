//! Clients of others: rumqttc in both versions, and mosquitto's command-line tools.

use std::io::Write as _;
use std::process::{Command, Output, Stdio};
use std::time::{Duration, Instant};

use crate::harness::{Broker, V3, V5};

const LIMIT: Duration = Duration::from_secs(20);

/// Whether mosquitto's tools are here; without them, tests fail unless a variable allows it.
fn mosquitto_is_here() -> bool {
    if Command::new("mosquitto_pub").arg("--help").output().is_ok() {
        return true;
    }
    assert!(
        std::env::var_os("KATYDID_TEST_WITHOUT_MOSQUITTO").is_some(),
        "mosquitto_pub and mosquitto_sub are needed (Debian: mosquitto-clients); \
         set KATYDID_TEST_WITHOUT_MOSQUITTO=1 to do without this proof"
    );
    println!("skipped: no mosquitto-clients");
    false
}

/// Runs one of mosquitto's tools against the broker.
fn mosquitto(broker: &Broker, tool: &str, arguments: &[&str]) -> Command {
    let mut command = Command::new(tool);
    command.args(["-h", "127.0.0.1", "-p", &broker.address().port().to_string()]).args(arguments);
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    command
}

fn text(output: &Output) -> String {
    assert!(output.status.success(), "{output:?}");
    String::from_utf8_lossy(&output.stdout).into_owned()
}

/// mosquitto_pub and mosquitto_sub talk through the broker in both versions and every QoS.
#[test]
fn mosquitto_tools_exchange_messages() {
    if !mosquitto_is_here() {
        return;
    }
    let broker = Broker::start();
    for version in ["mqttv311", "mqttv5"] {
        for qos in ["0", "1", "2"] {
            let topic = format!("tools/{version}/{qos}");
            // Retained, so that the subscriber may come first or second.
            let mut publisher =
                mosquitto(&broker, "mosquitto_pub", &["-V", version, "-q", qos, "-r", "-t", &topic]);
            text(&publisher.args(["-m", "hello"]).output().expect("mosquitto_pub runs"));
            let arguments = ["-V", version, "-q", qos, "-t", &topic, "-C", "1", "-W", "20", "-v"];
            let got =
                text(&mosquitto(&broker, "mosquitto_sub", &arguments).output().expect("mosquitto_sub runs"));
            assert_eq!(got, format!("{topic} hello\n"));
        }
    }
}

/// A thousand lines through `mosquitto_pub -l` come to `mosquitto_sub` in order.
#[test]
fn mosquitto_tools_keep_the_order_of_a_thousand_lines() {
    if !mosquitto_is_here() {
        return;
    }
    let broker = Broker::start();
    let arguments = ["-c", "-i", "reader", "-q", "1", "-t", "lines", "-C", "1000", "-W", "30"];
    // A first run makes the session, so that no line is missed.
    let mut first =
        mosquitto(&broker, "mosquitto_sub", &["-c", "-i", "reader", "-q", "1", "-t", "lines", "-E"]);
    text(&first.output().expect("mosquitto_sub runs"));
    let mut publisher = mosquitto(&broker, "mosquitto_pub", &["-q", "1", "-t", "lines", "-l"])
        .stdin(Stdio::piped())
        .spawn()
        .expect("mosquitto_pub runs");
    let lines: String = (0..1000).map(|number| format!("line {number}\n")).collect();
    let mut stdin = publisher.stdin.take().expect("its input is a pipe");
    stdin.write_all(lines.as_bytes()).expect("mosquitto_pub reads");
    drop(stdin);
    text(&publisher.wait_with_output().expect("mosquitto_pub ends"));
    let got = text(&mosquitto(&broker, "mosquitto_sub", &arguments).output().expect("mosquitto_sub runs"));
    assert_eq!(got, lines);
}

/// rumqttc's 3.1.1 client publishes, subscribes and receives in every QoS.
#[test]
fn rumqttc_v4_exchanges_messages() {
    use rumqttc::{Client, Event, MqttOptions, Packet, QoS};

    let broker = Broker::start();
    let mut witness = broker.client(V5, "witness");
    witness.subscribe("rumqttc/#", 2);
    let address = broker.address();
    let options = MqttOptions::new("rumqttc-four", address.ip().to_string(), address.port());
    let (client, mut connection) = Client::new(options, 16);
    client.subscribe("rumqttc/+", QoS::ExactlyOnce).expect("the request is queued");
    let mut got = Vec::new();
    let limit = Instant::now() + LIMIT;
    while got.len() < 3 {
        assert!(Instant::now() < limit, "got {got:?}");
        match connection.recv_timeout(LIMIT).expect("an event comes in time").expect("the connection lives") {
            Event::Incoming(Packet::SubAck(_)) => {
                for (qos, payload) in
                    [(QoS::AtMostOnce, "zero"), (QoS::AtLeastOnce, "one"), (QoS::ExactlyOnce, "two")]
                {
                    client.publish(format!("rumqttc/{payload}"), qos, false, payload).expect("it is queued");
                }
            }
            Event::Incoming(Packet::Publish(publish)) => {
                got.push((publish.qos as u8, String::from_utf8_lossy(&publish.payload).into_owned()));
            }
            _ => {}
        }
    }
    got.sort();
    assert_eq!(got, [(0, "zero".to_owned()), (1, "one".to_owned()), (2, "two".to_owned())]);
    let mut seen = [0; 3].map(|_| {
        let message = witness.expect_publish();
        witness.acknowledge(&message);
        message.text()
    });
    seen.sort();
    assert_eq!(seen, ["one", "two", "zero"]);
}

/// rumqttc's 5.0 client publishes, subscribes and receives with properties.
#[test]
fn rumqttc_v5_exchanges_messages_with_properties() {
    use rumqttc::v5::mqttbytes::QoS;
    use rumqttc::v5::mqttbytes::v5::{Packet, PublishProperties};
    use rumqttc::v5::{Client, Event, MqttOptions};

    let broker = Broker::start();
    let mut witness = broker.client(V3, "witness");
    witness.subscribe("rumqttc/#", 0);
    let address = broker.address();
    let mut options = MqttOptions::new("rumqttc-five", address.ip().to_string(), address.port());
    options.set_outgoing_inflight_upper_limit(16);
    let (client, mut connection) = Client::new(options, 16);
    client.subscribe("rumqttc/five", QoS::AtLeastOnce).expect("the request is queued");
    let properties = PublishProperties {
        content_type: Some("text/plain".into()),
        user_properties: vec![("seen".into(), "yes".into())],
        ..PublishProperties::default()
    };
    let limit = Instant::now() + LIMIT;
    let publish = loop {
        assert!(Instant::now() < limit, "no message came");
        match connection.recv_timeout(LIMIT).expect("an event comes in time").expect("the connection lives") {
            Event::Incoming(Packet::SubAck(_)) => client
                .publish_with_properties("rumqttc/five", QoS::AtLeastOnce, false, "hi", properties.clone())
                .expect("it is queued"),
            Event::Incoming(Packet::Publish(publish)) => break publish,
            _ => {}
        }
    };
    assert_eq!(&publish.payload[..], b"hi");
    let got = publish.properties.expect("properties come along");
    assert_eq!(got.content_type.as_deref(), Some("text/plain"));
    assert_eq!(got.user_properties, [("seen".to_owned(), "yes".to_owned())]);
    witness.expect_message("hi");
}
