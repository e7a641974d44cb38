use super::*;

fn proved(text: &str) -> Result<Config, String> {
    let written: Written = toml::from_str(text).map_err(|error| error.to_string())?;
    written.prove().map_err(|problem| problem.to_string())
}

#[test]
fn the_manual_says_the_defaults() {
    let written: Written = toml::from_str(MANUAL).expect("the manual is a configuration");
    assert_eq!(written, Written::default());
}

#[test]
fn nothing_written_serves_every_protocol_at_its_port() {
    let config = proved("").expect("proved");
    assert_eq!(config.text.expect("on").door.binds, ["[::]:6500".parse().expect("an address")]);
    let mchat = config.mchat.expect("on");
    assert_eq!(mchat.doors.len(), 1);
    assert!(mchat.settings.mesh.is_none() && mchat.doors[0].idle.is_none());
    let helo = config.helo.expect("on");
    let ports: Vec<u16> = helo.doors.iter().map(|door| door.binds[0].port()).collect();
    assert_eq!((ports[0], ports[1], ports.len()), (1337, 1338, 17));
    assert_eq!(helo.settings.file_ports, ports[1..]);
}

#[test]
fn a_mesh_says_where_it_is_reached_and_whom_it_joins() {
    let config = proved(
        "[mchat]\nmesh.on = true\nannounce = \"chat.example.org:6062\"\npeers = [\"[::1]:6064\"]\n[text]\nlistener.on = false",
    )
    .expect("proved");
    assert!(config.text.is_none());
    let mesh = config.mchat.expect("on").settings.mesh.expect("a mesh");
    assert_eq!(mesh.announced, ("chat.example.org".into(), 6062));
    assert_eq!(mesh.peers, [("::1".into(), 6064)]);
}

#[test]
fn what_is_wrong_is_named() {
    for (text, named) in [
        ("[text]\nport = 7", "port"),
        ("[text]\nlistener.bind = \"x\"", "text.listener"),
        ("[text]\nlistener.idle = \"soon\"", "text.listener"),
        ("[text]\nlistener.connections = 0", "text.listener"),
        ("[text]\nlistener.tls-key = \"k\"", "text.listener"),
        ("[text]\nchallenge-file = \"/nowhere\"", "/nowhere"),
        ("[helo]\nfile-ports = 0", "helo.file-ports"),
        ("[helo]\nfirst-file-port = 65530", "helo.file-ports"),
        ("[helo]\nfile-time = \"long\"", "helo.file-time"),
        ("[mchat]\nmesh.on = true", "mchat.announce"),
        ("[mchat]\nmesh.on = true\nannounce = \"x:port\"", "mchat.announce"),
        ("[json]\nhost = \"a@b\"", "json.host"),
        ("[json]\nping = \"0s\"", "json.ping"),
        ("[rest]\npoll = \"1h\"", "rest.poll"),
        (
            "[rest.openid]\nissuer = \"x\"\nauthorization = \"http://localhost.evil/\"\ntoken = \"\"\nkeys = \"\"\nclient-id = \"\"\nredirect = \"\"\nidentities = \"\"",
            "rest.openid.authorization",
        ),
        ("[mchat]\npeers = [\"x:1\"]", "mchat.peers"),
    ] {
        let problem = proved(text).err().expect(text);
        assert!(problem.contains(named), "{text}: {problem}");
    }
}
