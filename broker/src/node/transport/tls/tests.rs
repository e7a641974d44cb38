use super::*;
use rustls::{ClientConfig, ClientConnection, pki_types::ServerName};
use std::{os::unix::net::UnixStream, path::PathBuf, thread};

fn file(name: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("src/node/transport/tls/certificates").join(name)
}

fn files(server: &str, client_ca: bool, require_certificate: bool) -> Files {
    Files {
        certificate: file(&format!("{server}.pem")),
        key: file(&format!("{server}.key")),
        client_ca: client_ca.then(|| file("authority.pem")),
        require_certificate,
        identity_as_username: true,
    }
}

/// A client that trusts the test's authority, with a certificate of its own or without.
fn client(certificate: bool) -> ClientConnection {
    let mut roots = RootCertStore::empty();
    roots.add(CertificateDer::from_pem_file(file("authority.pem")).unwrap()).unwrap();
    let config = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(roots);
    let config = if certificate {
        let chain = certificates(&file("client.pem")).unwrap();
        let key = PrivateKeyDer::from_pem_file(file("client.key")).unwrap();
        config.with_client_auth_cert(chain, key).unwrap()
    } else {
        config.with_no_client_auth()
    };
    ClientConnection::new(Arc::new(config), ServerName::try_from("localhost").unwrap()).unwrap()
}

/// A server's side, and the socket of the other end, which blocks.
fn pair(state: &TlsState) -> (Tls, UnixStream) {
    let (near, far) = UnixStream::pair().unwrap();
    near.set_nonblocking(true).unwrap();
    let socket = Socket::Unix(mio::net::UnixStream::from_std(near));
    (Tls::new(socket, state.begin().unwrap()), far)
}

/// Reads until so many bytes are there, the peer ends or an error comes.
fn read_up_to(tls: &mut Tls, wanted: usize) -> io::Result<Vec<u8>> {
    let mut all = Vec::new();
    let mut buffer = vec![0; 5000];
    while all.len() < wanted {
        match Layer::read(tls, &mut buffer)? {
            Reading::Bytes { count, .. } => all.extend_from_slice(&buffer[..count]),
            Reading::End => break,
        }
        thread::yield_now();
    }
    Ok(all)
}

#[test]
fn bytes_go_both_ways_past_a_slow_reader() {
    let state = TlsState::load(&files("server", false, false)).unwrap();
    let (mut tls, mut far) = pair(&state);
    let said: Vec<u8> = (0..400_000_u32).map(|byte| (byte * 13) as u8).collect();
    let echo = said.clone();
    let (blocks, blocked) = std::sync::mpsc::channel();
    let peer = thread::spawn(move || {
        let mut client = client(false);
        let mut stream = rustls::Stream::new(&mut client, &mut far);
        stream.write_all(&echo[..100_000]).unwrap();
        blocked.recv().expect("400 kB do not fit into a socket at once");
        let mut back = vec![0; echo.len()];
        stream.read_exact(&mut back).unwrap();
        assert!(back == echo);
        stream.conn.send_close_notify();
        stream.flush().unwrap();
    });
    assert!(read_up_to(&mut tls, 100_000).unwrap() == said[..100_000]);
    assert_eq!(tls.certificate_name(), None);
    let mut sent = 0;
    while sent < said.len() || tls.wants_write() {
        let (one, other) = said[sent..].split_at((said.len() - sent).min(7));
        match tls.write_vectored(&[IoSlice::new(one), IoSlice::new(other)]) {
            Ok(count) => sent += count,
            Err(error) => {
                assert_eq!(error.kind(), io::ErrorKind::WouldBlock);
                let _ = blocks.send(());
                thread::yield_now();
            }
        }
    }
    drop(blocks);
    assert!(read_up_to(&mut tls, 1).unwrap().is_empty(), "the peer has ended");
    peer.join().unwrap();
}

#[test]
fn the_name_in_a_certificate_is_told() {
    let state = TlsState::load(&files("server", true, true)).unwrap();
    let (mut tls, mut far) = pair(&state);
    let peer = thread::spawn(move || {
        let mut client = client(true);
        rustls::Stream::new(&mut client, &mut far).write_all(b"hello").unwrap();
        far
    });
    assert_eq!(read_up_to(&mut tls, 5).unwrap(), b"hello");
    assert_eq!(tls.certificate_name().as_deref(), Some("ann"));
    drop(peer.join().unwrap());
}

#[test]
fn a_certificate_can_be_required() {
    for (required, expected) in [(true, false), (false, true)] {
        let state = TlsState::load(&files("server", true, required)).unwrap();
        let (mut tls, mut far) = pair(&state);
        let peer = thread::spawn(move || {
            let mut client = client(false);
            // Refused or not shows on the other side.
            let _ = rustls::Stream::new(&mut client, &mut far).write_all(b"hello");
            far
        });
        match read_up_to(&mut tls, 5) {
            Ok(said) => assert!(expected && said == b"hello"),
            Err(error) => assert!(!expected && error.kind() == io::ErrorKind::InvalidData, "{error}"),
        }
        assert_eq!(tls.certificate_name(), None);
        drop(peer.join().unwrap());
    }
}

#[test]
fn what_is_not_tls_is_refused() {
    let state = TlsState::load(&files("server", false, false)).unwrap();
    let (mut tls, mut far) = pair(&state);
    far.write_all(b"\x10\x0c\0\x04MQTT\x04\x02\0\x3c\0\0").unwrap();
    let error = read_up_to(&mut tls, 1).unwrap_err();
    assert_eq!(error.kind(), io::ErrorKind::InvalidData);
}

#[test]
fn a_reload_changes_the_next_connection_and_a_bad_one_changes_nothing() {
    let state = TlsState::load(&files("server", false, false)).unwrap();
    let served = |state: &TlsState| {
        let (mut tls, mut far) = pair(state);
        let peer = thread::spawn(move || {
            let mut client = client(false);
            rustls::Stream::new(&mut client, &mut far).write_all(b"x").unwrap();
            (client.peer_certificates().unwrap()[0].to_vec(), far)
        });
        read_up_to(&mut tls, 1).unwrap();
        peer.join().unwrap().0
    };
    let first = served(&state);
    state.reload(&files("server2", false, false)).unwrap();
    let second = served(&state);
    assert!(first != second);
    let mut wrong = files("server", false, false);
    wrong.key = file("nothing.key");
    let error = state.reload(&wrong).unwrap_err();
    assert!(error.to_string().contains("nothing.key"), "{error}");
    let mut mixed = files("server", false, false);
    mixed.key = file("server2.key");
    assert!(state.reload(&mixed).is_err(), "the key is another certificate's");
    assert!(served(&state) == second);
}
