use super::{proof::Draft, *};
use katydid_engine::settings::{Limits, RoomSettings};
use keys::{GLOBAL, LISTENER, Preset};
use std::{fs, path::Path};

/// A folder with a configuration file of this text.
fn file(text: &str) -> (tempfile::TempDir, PathBuf) {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("katydid.toml");
    fs::write(&path, text).expect("written");
    (folder, path)
}

fn pairs(given: &[(&str, &str)]) -> Vec<(String, String)> {
    given.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect()
}

fn read(text: &str) -> Result<Config, Problems> {
    let (_folder, path) = file(text);
    Sources { file: Some(path), ..Sources::default() }.read()
}

/// The problems of a file, a line each, with the folder taken off.
fn wrong(text: &str) -> String {
    let (folder, path) = file(text);
    let problems = Sources { file: Some(path), ..Sources::default() }.read().expect_err(text);
    problems.to_string().replace(&format!("{}/", folder.path().display()), "")
}

/// What two configurations do, without where it came from.
fn meaning(config: &Config) -> String {
    let Config { listeners, settings, shards, share_threads, store, sys_interval, log, .. } = config;
    let connections = (
        config.max_connections,
        config.max_connections_per_address,
        config.connect_rate,
        config.verify_threads,
        config.full_percent,
    );
    format!(
        "{listeners:?} {settings:?} {shards} {share_threads} {store:?} {sys_interval:?} {log:?} {connections:?}"
    )
}

#[test]
fn the_manual_says_the_defaults() {
    let config = read(&manual()).expect("the manual is a good configuration");
    assert_eq!(meaning(&config), meaning(&Config::default()));
}

#[test]
fn the_manual_has_every_key() {
    let manual = manual();
    let lines = |name: &str| {
        manual.lines().filter(|line| line.trim_start_matches('#').starts_with(&format!("{name} = "))).count()
    };
    for key in GLOBAL {
        let (section, name) = key.name.split_once('.').expect("every key has a section");
        assert!(manual.contains(&format!("\n[{section}]\n")), "{section}");
        assert!(lines(name) > 0, "{}", key.name);
    }
    for key in LISTENER {
        assert!(lines(key.name) > 0, "{}", key.name);
    }
}

#[test]
fn every_example_of_the_manual_is_allowed() {
    let mut draft = Draft::default();
    for key in GLOBAL {
        let (Preset::Is(text) | Preset::None { example: text }) = key.preset;
        assert!(key.kind.set(&mut draft, text), "{}", key.name);
    }
    let mut draft = listeners::ListenerDraft::default();
    for key in LISTENER {
        let (Preset::Is(text) | Preset::None { example: text }) = key.preset;
        assert!(key.kind.set(&mut draft, text), "{}", key.name);
    }
}

#[test]
fn every_limit_says_its_memory_and_a_counter_that_exists() {
    let counted = |name: &str| {
        format!("{:?}", katydid_engine::Counters::default()).contains(&format!(" {name}: "))
            || include_str!("../node/sys.rs").contains(&format!("(\"{name}\", driver."))
    };
    for key in GLOBAL.iter().filter(|key| key.name.starts_with("limits.")) {
        assert!(!key.memory.is_empty(), "{}", key.name);
        assert!(counted(key.counter), "{}: {}", key.name, key.counter);
    }
}

#[test]
fn the_defaults_of_the_table_are_those_of_the_engine() {
    let sources = Sources { arguments: pairs(&[("threads.shards", "1")]), ..Sources::default() };
    let settings = sources.read().expect("good").settings;
    assert_eq!(format!("{:?}", settings.limits), format!("{:?}", Limits::default()));
    assert_eq!(format!("{:?}", settings.rooms), format!("{:?}", RoomSettings::default()));
    assert!(settings.persistence);
}

#[test]
fn without_configuration_only_this_machine_is_served() {
    let config = Config::default();
    let sockets: Vec<_> = config.listeners.iter().map(|listener| format!("{:?}", listener.bind)).collect();
    let expected = ["127.0.0.1:1883", "[::1]:1883", "127.0.0.1:8083", "[::1]:8083"];
    assert_eq!(sockets, expected.map(|address| format!("Tcp({address})")));
    assert!(config.settings.listeners.iter().all(|listener| listener.allow_anonymous));
    assert_eq!(
        config.listeners.iter().map(|listener| listener.optional).collect::<Vec<_>>(),
        [false, true, false, true]
    );
    assert!(config.doubts().is_empty());
}

/// Each row: port, address, then where MQTT and WebSocket listen.
#[test]
fn port_and_address_move_the_default_listeners() {
    for (port, address, expected) in [
        (Some(0), Some("127.0.0.1"), "127.0.0.1:0"),
        (Some(0), None, "127.0.0.1:0"),
        (Some(1884), None, "127.0.0.1:1884 [::1]:1884"),
        (None, Some("0.0.0.0"), "0.0.0.0:1883 0.0.0.0:8083"),
        (Some(9), Some("::"), "[::]:9"),
    ] {
        let address = address.map(|address| address.parse().expect("an address"));
        let config =
            Sources { placement: Placement { port, address }, ..Sources::default() }.read().expect("good");
        let sockets: Vec<_> = config
            .listeners
            .iter()
            .map(|listener| match &listener.bind {
                Bind::Tcp(address) => address.to_string(),
                Bind::Unix(path) => path.display().to_string(),
            })
            .collect();
        assert_eq!(sockets.join(" "), expected);
    }
}

#[test]
fn port_and_address_move_the_first_plain_listener_of_a_file() {
    let placement = Placement { port: Some(0), address: Some("127.0.0.1".parse().expect("an address")) };
    let (_folder, path) = file(
        "[[listener]]\nname = \"web\"\nbind = \"0.0.0.0:80\"\nprotocol = \"ws\"\n\
         [[listener]]\nname = \"plain\"\nbind = \"0.0.0.0:1883\"",
    );
    let config = Sources { file: Some(path), placement, ..Sources::default() }.read().expect("good");
    let bind = |at: usize| format!("{:?}", config.listeners[at].bind);
    assert_eq!((bind(0), bind(1)), ("Tcp(0.0.0.0:80)".into(), "Tcp(127.0.0.1:0)".into()));
    let (_folder, path) = file("[[listener]]\nname = \"here\"\nbind = \"unix:/run/k\"");
    let problems =
        Sources { file: Some(path), placement, ..Sources::default() }.read().expect_err("none to move");
    assert_eq!(
        problems.to_string(),
        "command line: -p and --listen-address move the first listener of plain MQTT over TCP, and there is none"
    );
}

#[test]
fn an_address_that_others_reach_wants_passwords_unless_told_otherwise() {
    let placement = Placement { port: Some(0), address: Some("0.0.0.0".parse().expect("an address")) };
    let config = Sources { placement, ..Sources::default() }.read().expect("good");
    assert!(!config.settings.listeners[0].allow_anonymous);
    assert_eq!(config.doubts().len(), 1, "nobody can connect");
    let arguments = pairs(&[("listener.mqtt.allow-anonymous", "true")]);
    let config = Sources { placement, arguments, ..Sources::default() }.read().expect("good");
    assert!(config.settings.listeners[0].allow_anonymous);
    assert!(config.doubts().is_empty());
}

#[test]
fn the_command_line_goes_before_the_environment_and_that_before_the_file() {
    let (_folder, path) = file("[limits]\ninflight = 1\nsubscriptions = 1\ntopic-levels = 1");
    let sources = Sources {
        file: Some(path),
        environment: pairs(&[
            ("KATYDID_LIMITS_INFLIGHT", "2"),
            ("KATYDID_LIMITS_SUBSCRIPTIONS", "2"),
            ("PATH", "/bin"),
            ("KATYDID_CONFIG", "/elsewhere"),
            ("KATYDID_PORT_1883_TCP", "tcp://10.0.0.1:1883"),
        ]),
        arguments: pairs(&[("limits.inflight", "3")]),
        ..Sources::default()
    };
    let limits = sources.read().expect("good").settings.limits.clone();
    assert_eq!((limits.inflight, limits.subscriptions, limits.topic_levels), (3, 2, 1));
}

#[test]
fn listeners_are_read_whole() {
    let folder = tempfile::tempdir().expect("a folder");
    for name in ["chain.pem", "key.pem", "ca.pem"] {
        fs::write(folder.path().join(name), "").expect("written");
    }
    let folder = folder.path().display();
    let text = format!(
        "[[listener]]\nname = \"tls\"\nbind = \"[::]:8883\"\nproxy-protocol = true\nmax-connections = 7\n\
         packet-size = \"64KiB\"\nallow-anonymous = true\ntls = {{ certificate = \"{folder}/chain.pem\", \
         key = \"{folder}/key.pem\", client-ca = \"{folder}/ca.pem\", require-certificate = true }}\n\
         [[listener]]\nname = \"web\"\nbind = \"0.0.0.0:80\"\nprotocol = \"ws\"\npath = \"/chat\"\n\
         [[listener]]\nname = \"here\"\nbind = \"unix:/run/katydid.sock\"\n"
    );
    let config = read(&text).expect("good");
    let file = |name: &str| PathBuf::from(format!("{folder}/{name}"));
    let tls = Listener {
        name: "tls".into(),
        bind: Bind::Tcp("[::]:8883".parse().expect("an address")),
        optional: false,
        transport: TransportKind::Plain,
        tls: Some(Tls {
            certificate: file("chain.pem"),
            key: file("key.pem"),
            client_ca: Some(file("ca.pem")),
            require_certificate: true,
            identity_as_username: false,
        }),
        proxy_protocol: true,
        max_connections: 7,
    };
    assert_eq!(config.listeners[0], tls);
    assert_eq!(config.listeners[1].transport, TransportKind::WebSocket { path: "/chat".into() });
    assert_eq!(config.listeners[2].bind, Bind::Unix("/run/katydid.sock".into()));
    let settings: Vec<_> =
        config.settings.listeners[..3].iter().map(|one| (one.allow_anonymous, one.packet_bytes)).collect();
    assert_eq!(settings, [(true, 64 << 10), (false, 2 << 20), (true, 2 << 20)]);
}

#[test]
fn variables_and_arguments_reach_a_listener_by_its_name() {
    let (_folder, path) = file("[[listener]]\nname = \"in_side\"\nbind = \"127.0.0.1:1\"");
    let sources = Sources {
        file: Some(path),
        environment: pairs(&[
            ("KATYDID_LISTENER_IN_SIDE_PACKET_SIZE", "1KiB"),
            ("KATYDID_LISTENER_OUT_SIDE_BIND", "127.0.0.1:2"),
        ]),
        arguments: pairs(&[("listener.out-side.max-connections", "5")]),
        ..Sources::default()
    };
    let config = sources.read().expect("good");
    assert_eq!(config.settings.listeners[0].packet_bytes, 1024);
    assert_eq!((config.listeners[1].name.as_str(), config.listeners[1].max_connections), ("out-side", 5));
}

/// Each row: what is written, and what the broker says to it.
#[test]
fn bad_files_are_told_with_key_line_and_what_is_allowed() {
    for (text, expected) in [
        (
            "[limits]\npacket-size = \"8MB\"",
            "katydid.toml:2: limits.packet-size: \"8MB\" is not allowed; allowed is a size from 128 to 268435460 such \
             as \"8MiB\", \"64KiB\" or a plain number of bytes",
        ),
        (
            "limits.packet-size = \"99999999999999999999\"",
            "katydid.toml:1: limits.packet-size: \"99999999999999999999\" is not allowed; allowed is a size from 128 to \
             268435460 such as \"8MiB\", \"64KiB\" or a plain number of bytes",
        ),
        (
            "[limits]\n\npackt-size = 1",
            "katydid.toml:3: limits.packt-size: unknown key; did you mean limits.packet-size?",
        ),
        ("[limit]\ninflight = 1", "katydid.toml:1: limit: unknown key; did you mean limits?"),
        ("[sys]\nwhatever = 1", "katydid.toml:2: sys.whatever: unknown key; allowed are sys.interval"),
        (
            "whatever = 1",
            "katydid.toml:1: whatever: unknown key; allowed are store, threads, sys, passwords, access, rooms, groups, accounts, openid, limits, \
             log, bridge, listener",
        ),
        (
            "[limits]\ninflight = 70_000",
            "katydid.toml:2: limits.inflight: \"70000\" is not allowed; allowed is a number from 1 to 65535",
        ),
        (
            "[limits]\ninflight = [1]",
            "katydid.toml:2: limits.inflight: type array is not allowed; allowed is a text, a number, true or false",
        ),
        ("limits = 3", "katydid.toml:1: limits: \"3\" is not allowed; allowed is a table of keys"),
        (
            "[limits]\nkeep-alive = 30",
            "katydid.toml:2: limits.keep-alive: \"30\" is not allowed; allowed is \"none\" or a duration from 1s to 18h \
             12m 15s in whole seconds such as \"30s\" or \"1h 30m\"",
        ),
        (
            "[limits]\nkeep-alive = \"1500ms\"",
            "katydid.toml:2: limits.keep-alive: \"1500ms\" is not allowed; allowed is \"none\" or a duration from 1s to \
             18h 12m 15s in whole seconds such as \"30s\" or \"1h 30m\"",
        ),
        (
            "[store]\npersistence = \"yes\"",
            "katydid.toml:2: store.persistence: \"yes\" is not allowed; allowed is true or false",
        ),
        (
            "[store]\npath = \"\"",
            "katydid.toml:2: store.path: empty; to keep nothing on disk, say store.persistence = false",
        ),
        (
            "[log]\nformat = \"xml\"",
            "katydid.toml:2: log.format: \"xml\" is not allowed; allowed is \"text\" or \"json\"",
        ),
        (
            "[openid]\nissuer = \"https://id.example.org\"",
            "katydid.toml:2: openid.issuer: needs openid.audience",
        ),
        (
            "[openid]\nkeys-url = \"http://id.example.org/keys\"",
            "katydid.toml:2: openid.keys-url: \"http://id.example.org/keys\" is not allowed; allowed is an address that begins with \
             https://, or with http:// and this machine",
        ),
        (
            "[passwords]\nfile = \"/nowhere/passwords\"",
            "katydid.toml:2: passwords.file: /nowhere/passwords can't be read: No such file or directory (os error 2)",
        ),
        (
            "[[listener]]\nbind = \"127.0.0.1:1\"",
            "katydid.toml:1: listener.name: \"\" is not allowed; allowed is a name of letters, digits, - and _ such as \
             \"mqtt\"",
        ),
        (
            "[[listener]]\nname = \"a\"\nbind = \"127.0.0.1\"",
            "katydid.toml:3: listener.a.bind: \"127.0.0.1\" is not allowed; allowed is an address and port such as \
             \"127.0.0.1:1883\" or \"[::]:8883\", or \"unix:\" and a path",
        ),
        (
            "[[listener]]\nname = \"a\"",
            "katydid.toml:1: listener.a.bind: missing; allowed is an address and port such as \"127.0.0.1:1883\" or \
             \"[::]:8883\", or \"unix:\" and a path",
        ),
        (
            "[[listener]]\nname = \"a\"\nbind = \"[::]:1\"\ntls = { certifcate = \"x\" }",
            "katydid.toml:4: listener.a.tls.certifcate: unknown key; did you mean listener.a.tls.certificate?",
        ),
        (
            "[[listener]]\nname = \"a\"\nbind = \"[::]:1\"\ntls.certificate = \"/dev/null\"",
            "katydid.toml:4: listener.a.tls.certificate: only together with tls.key\n\
             katydid.toml:4: listener.a.tls.certificate: /dev/null is not a file",
        ),
        (
            "[[listener]]\nname = \"a\"\nbind = \"[::]:1\"\ntls.require-certificate = true",
            "katydid.toml:4: listener.a.tls.require-certificate: only together with tls.client-ca",
        ),
        (
            "[[listener]]\nname = \"a\"\nbind = \"[::]:1\"\npath = \"/x\"",
            "katydid.toml:4: listener.a.path: only with protocol = \"ws\"",
        ),
        (
            "[[listener]]\nname = \"a\"\nbind = \"[::]:1\"\n[[listener]]\nname = \"a\"\nbind = \"[::]:2\"",
            "katydid.toml:5: listener.name: \"a\" is the name of another listener",
        ),
        (
            "[listener]\nname = \"a\"",
            "katydid.toml:1: listener: each listener is a table of its own, headed [[listener]]",
        ),
        (
            "[limits]\npacket-size = \"1KiB\"\n[[listener]]\nname = \"a\"\nbind = \"[::]:1\"\npacket-size = 1025",
            "katydid.toml:6: listener.a.packet-size: more than limits.packet-size",
        ),
        (
            "[limits]\ninflight = 0\nsesions = 3",
            "katydid.toml:3: limits.sesions: unknown key; did you mean limits.sessions?\n\
             katydid.toml:2: limits.inflight: \"0\" is not allowed; allowed is a number from 1 to 65535",
        ),
        ("[limits]\ninflight = 1\ninflight = 2", "katydid.toml:3: duplicate key"),
    ] {
        assert_eq!(wrong(text), expected, "{text}");
    }
}

#[test]
fn bad_variables_and_arguments_are_told_with_their_name() {
    let sources = Sources {
        environment: pairs(&[
            ("KATYDID_LIMITS_INFLIGT", "1"),
            ("KATYDID_LIMITS_INFLIGHT", "x"),
            ("KATYDID_LISTENER_MQTT_PATHS", "x"),
        ]),
        arguments: pairs(&[("listener.mqtt", "x"), ("listener.a.bnd", "x"), ("limits.inflight.x", "1")]),
        ..Sources::default()
    };
    let problems = sources.read().expect_err("bad").to_string();
    let expected = "\
environment KATYDID_LIMITS_INFLIGT: no key has this name; did you mean KATYDID_LIMITS_INFLIGHT?
environment KATYDID_LISTENER_MQTT_PATHS: no key has this name; `katydid --print-config` prints all keys
command line: listener.mqtt: a listener's key is listener.NAME.KEY
command line: listener.a.bnd: unknown key; did you mean listener.a.bind?
command line: limits.inflight.x: unknown key; did you mean limits.inflight?
environment KATYDID_LIMITS_INFLIGHT: limits.inflight: \"x\" is not allowed; allowed is a number from 1 to 65535";
    assert_eq!(problems, expected);
}

#[test]
fn a_file_that_is_missing_is_told() {
    let sources = Sources { file: Some("/nowhere/katydid.toml".into()), ..Sources::default() };
    assert_eq!(
        sources.read().expect_err("missing").to_string(),
        "/nowhere/katydid.toml: can't be read: No such file or directory (os error 2)"
    );
}

#[test]
fn words_and_units_are_read() {
    let limits = |text: &str| read(text).expect(text).settings.limits.clone();
    assert_eq!(limits("limits.session-expiry = \"never\"").session_expiry_secs, u32::MAX);
    assert_eq!(limits("limits.session-expiry = \"forever\"").session_expiry_secs, u32::MAX);
    assert_eq!(limits("limits.session-expiry = \"1h 30m\"").session_expiry_secs, 5400);
    assert_eq!(limits("limits.keep-alive = \"none\"").keep_alive_secs, 0);
    assert_eq!(limits("limits.packet-size = 0x400").packet_bytes, 1024);
    assert_eq!(limits("limits.packet-size = \"1000B\"").packet_bytes, 1000);
    assert_eq!(read("sys.interval = \"never\"").expect("good").sys_interval, Duration::ZERO);
    assert_eq!(read("store.persistence = false").expect("good").store.path, None);
    assert_eq!(read("threads.shards = 3").expect("good").shards, 3);
    let split = limits("threads.shards = 3\nlimits.sessions = 10");
    assert_eq!(split.sessions, 4, "each shard takes an equal part, rounded up");
}

#[test]
fn a_password_file_is_read_and_its_lines_are_told() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("passwords");
    let hash = "$argon2id$v=19$m=8,t=1,p=1$c2FsdHNhbHQ$AAAAAAAAAAAAAAAAAAAAAA";
    fs::write(&path, format!("# people\nann:{hash}\n\n")).expect("written");
    let sources = |path: &Path| Sources {
        arguments: pairs(&[("passwords.file", path.to_str().expect("UTF-8"))]),
        ..Sources::default()
    };
    let config = sources(&path).read().expect("good");
    assert_eq!(
        config.settings.accounts.get("ann").map(|it| (&*it.hash, it.scram.clone())),
        Some((hash, None))
    );
    fs::write(&path, "ann\nbob:$7$101$abc\ncy:x\n").expect("written");
    let problems = sources(&path).read().expect_err("bad").to_string();
    let expected = format!(
        "{path}:1: a line is a user, a colon and an Argon2id hash\n\
         {path}:2: the hash of \"bob\" was made by mosquitto_passwd; make it anew with `katydid passwd FILE bob`\n\
         {path}:3: what \"cy\" has is not an Argon2id hash; make it anew with `katydid passwd FILE cy`",
        path = path.display()
    );
    assert_eq!(problems, expected);
}

#[test]
fn an_access_list_is_read_and_its_line_is_told() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("access");
    let sources = || Sources {
        arguments: pairs(&[("access.file", path.to_str().expect("UTF-8"))]),
        ..Sources::default()
    };
    assert!(Config::default().settings.access.is_open());
    fs::write(&path, "user ann\ntopic read news/#\n").expect("written");
    assert!(!sources().read().expect("good").settings.access.is_open());
    fs::write(&path, "user ann\ntopics read news/#\n").expect("written");
    assert_eq!(
        sources().read().expect_err("bad").to_string(),
        format!("{}:2: `topics` is not one of user, topic, pattern", path.display())
    );
}

#[test]
fn a_reload_takes_limits_and_keeps_what_needs_a_restart() {
    let before = "[threads]\nshards = 1\n[limits]\ninflight = 5\n\
                  [[listener]]\nname = \"a\"\nbind = \"127.0.0.1:1\"\n[[listener]]\nname = \"b\"\nbind = \"127.0.0.1:2\"";
    let after = "[threads]\nshards = 2\n[limits]\ninflight = 6\n\
                 [[listener]]\nname = \"c\"\nbind = \"127.0.0.1:3\"\n\
                 [[listener]]\nname = \"b\"\nbind = \"127.0.0.1:4\"\nmax-connections = 9";
    let (_folder, path) = file(before);
    let running = Sources { file: Some(path.clone()), ..Sources::default() }.read().expect("good");
    fs::write(&path, after).expect("written");
    let Reloaded { config, kept } = running.reload().expect("good");
    assert_eq!(config.settings.limits.inflight, 6);
    assert_eq!(config.shards, 1);
    let listeners: Vec<_> = config
        .listeners
        .iter()
        .map(|one| (one.name.as_str(), one.bind.clone(), one.max_connections))
        .collect();
    let tcp = |port| Bind::Tcp(SocketAddr::from(([127, 0, 0, 1], port)));
    assert_eq!(listeners, [("a", tcp(1), 1_000_000), ("b", tcp(2), 9)]);
    assert_eq!(
        kept,
        [
            "threads.shards was changed",
            "listener a was removed",
            "listener.b.bind was changed",
            "listener c was added"
        ]
    );
    fs::write(&path, "[limits]\ninflight = 0").expect("written");
    assert!(running.reload().is_err(), "a bad file changes nothing");
}

#[test]
fn a_reload_changes_certificates_and_not_whether_there_is_tls() {
    let folder = tempfile::tempdir().expect("a folder");
    for name in ["old.pem", "new.pem"] {
        fs::write(folder.path().join(name), "").expect("written");
    }
    let plain = "[[listener]]\nname = \"a\"\nbind = \"127.0.0.1:1\"\n".to_owned();
    let with = |name: &str| {
        let path = folder.path().join(name).display().to_string();
        format!("{plain}tls = {{ certificate = \"{path}\", key = \"{path}\" }}")
    };
    let path = folder.path().join("katydid.toml");
    let reloaded = |before: &str, after: &str| {
        fs::write(&path, before).expect("written");
        let running = Sources { file: Some(path.clone()), ..Sources::default() }.read().expect("good");
        fs::write(&path, after).expect("written");
        let Reloaded { config, kept } = running.reload().expect("good");
        let certificate = config.listeners[0].tls.as_ref().map(|tls| tls.certificate.clone());
        (certificate, kept)
    };
    let (old, new) = (folder.path().join("old.pem"), folder.path().join("new.pem"));
    let switched = vec!["listener.a.tls was switched on or off".to_owned()];
    assert_eq!(reloaded(&with("old.pem"), &with("new.pem")), (Some(new), vec![]));
    assert_eq!(reloaded(&with("old.pem"), &plain), (Some(old), switched.clone()));
    assert_eq!(reloaded(&plain, &with("new.pem")), (None, switched));
}

/// The keys of the bridge are those of `katydid-bridge`, in each of the three sources.
#[test]
fn the_bridge_is_configured_like_everything_else() {
    let (_folder, path) = file(
        "[bridge.text.listener]\nbind = \"127.0.0.1:7500\"\nconnections = 7\n\
         [bridge.mchat]\nmesh.on = true\nannounce = \"a:1\"\npeers = [\"b:2\", \"c:3\"]\n",
    );
    let sources = Sources {
        file: Some(path),
        environment: pairs(&[("KATYDID_BRIDGE_JSON_LISTENER_ON", "false"), ("KATYDID_BRIDGE_BROKER", "x")]),
        arguments: pairs(&[("bridge.text.listener.connections", "9"), ("bridge.rest.origins", "*")]),
        ..Sources::default()
    };
    let bridge = sources.read().expect("good").bridge.expect("on");
    let written = &bridge.written;
    assert_eq!(written.text.listener.bind.as_deref(), Some("127.0.0.1:7500"));
    assert_eq!((written.text.listener.connections, written.json.listener.on), (9, false));
    assert_eq!(written.mchat.peers, ["b:2", "c:3"]);
    assert_eq!(written.rest.origins, ["*"]);
}

/// Nothing is open to others by accident, and nobody comes in from there without password.
#[test]
fn without_an_address_the_bridge_is_for_this_machine_and_lets_everybody_in() {
    let bridge = Config::default().bridge.expect("on");
    assert_eq!(bridge.addresses.iter().map(ToString::to_string).collect::<Vec<_>>(), ["127.0.0.1", "::1"]);
    assert!(bridge.allow_anonymous);
    for open in ["[bridge.rest]\nlistener.bind = \"0.0.0.0:0\"", "[bridge.mchat.listener]\nbind = \"[::]:0\""]
    {
        let config = read(open).expect("good");
        assert!(!config.settings.listeners.last().expect("the way in").allow_anonymous, "{open}");
        assert!(config.doubts().iter().any(|doubt| doubt.contains("mChat")), "{open}");
        let config = read(&format!("bridge.allow-anonymous = true\n{open}")).expect("good");
        assert!(config.bridge.expect("on").allow_anonymous && config.settings.listeners.len() == 5);
    }
}

#[test]
fn the_bridge_is_off_where_nothing_else_shall_be_open() {
    let placed = |arguments: &[(&str, &str)], port| {
        let placement = Placement { port, address: None };
        let sources = Sources { arguments: pairs(arguments), placement, ..Sources::default() };
        sources.read().map(|config| (config.bridge.is_some(), config.settings.listeners.len()))
    };
    for (arguments, port, expected) in [
        (&[][..], None, (true, 5)),
        (&[], Some(0), (false, 1)),
        (&[("bridge.on", "true")], Some(0), (true, 2)),
        (&[("bridge.json.host", "x")], Some(0), (true, 2)),
        (&[("bridge.on", "false"), ("bridge.json.host", "x")], None, (false, 4)),
        (&[("rooms.enabled", "false")], None, (false, 4)),
    ] {
        assert_eq!(placed(arguments, port), Ok(expected), "{arguments:?} {port:?}");
    }
    let problem = placed(&[("rooms.enabled", "false"), ("bridge.on", "true")], None).expect_err("no rooms");
    assert_eq!(problem.to_string(), "command line: bridge.on: needs rooms.enabled");
}

#[test]
fn what_is_wrong_with_the_bridge_is_told_with_its_line() {
    for (text, expected) in [
        (
            "[bridge.text]\nlistner.on = true",
            "katydid.toml:2: bridge.text.listner: unknown key; did you mean bridge.text.listener?",
        ),
        (
            "[bridge]\n[bridge.text]\nquux = true",
            "katydid.toml:3: bridge.text.quux: unknown key; allowed are bridge.text.challenge-file, \
             bridge.text.sign-in-within, bridge.text.group-expiry, bridge.text.message-expiry, bridge.text.listener",
        ),
        (
            "[bridge.broker]\naddress = \"x\"",
            "katydid.toml:1: bridge.broker: unknown key; allowed are bridge.on, bridge.allow-anonymous, bridge.threads, \
             bridge.text, bridge.mchat, bridge.helo, bridge.json, bridge.rest",
        ),
        (
            "\n[bridge.json.listener]\nbind = \"5222\"",
            "katydid.toml:3: bridge.json.listener.bind: \"5222\" is not ADDRESS:PORT",
        ),
        (
            "[bridge.helo]\nfile-ports = \"many\"",
            "katydid.toml:2: bridge.helo.file-ports: \"many\" is not allowed: invalid type: string \"many\", expected u16",
        ),
        (
            "[bridge.mchat]\npeers = [1]",
            "katydid.toml:2: bridge.mchat.peers: something else than a text is not allowed; allowed are texts, each in \
             quotes",
        ),
    ] {
        assert_eq!(wrong(text), expected, "{text}");
    }
}

#[test]
fn a_reload_leaves_the_bridge_as_it_is() {
    let (_folder, path) = file("");
    let running = Sources { file: Some(path.clone()), ..Sources::default() }.read().expect("good");
    fs::write(&path, "[bridge.text]\nlistener.on = false\n[limits]\npacket-size = \"1KiB\"")
        .expect("written");
    let Reloaded { config, kept } = running.reload().expect("good");
    assert_eq!((config.bridge, kept), (running.bridge, vec!["a key of the bridge was changed".to_owned()]));
    assert_eq!(config.settings.listeners.last().expect("the way in").packet_bytes, 1024);
}
