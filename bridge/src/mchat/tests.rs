use super::*;
use crate::transcript;

#[test]
fn clients_speak_as_the_document_says() {
    let mut server = Server::new(Settings { clients: 4, rooms: 8, mesh: None });
    transcript::play(&mut server, "\n", include_str!("tests/clients.txt"));
}

fn mesh() -> MeshSettings {
    let announced = ("192.0.2.100".to_owned(), 6062);
    MeshSettings { announced, peers: vec![("peer.example.org".to_owned(), 6064)], servers: 3, nicks: 2 }
}

#[test]
fn servers_find_each_other_and_pass_on_what_is_said() {
    let mut server = Server::new(Settings { mesh: Some(mesh()), ..Settings::default() });
    transcript::play(&mut server, "\n", include_str!("tests/mesh.txt"));
}
