//! Many places: loading takes no time to speak of, and joining costs the same among ten rooms and thousands.

use super::world::World;
use crate::directory::*;

const ROOMS: u64 = 2_000;
const MEMBERS: u64 = 10;

#[test]
fn thousands_of_rooms_and_their_memberships_come_back() {
    let rules = Rules { places_per_user: usize::MAX, requests_per_sec: 1_000_000, ..Rules::default() };
    let mut world = World::new(rules);
    for user in 0..1000 {
        world.connect(user, &format!("u{user}"));
    }
    for room in 0..ROOMS {
        let place = format!("room/r{room}");
        world.enter(room % 1000, &place, None).unwrap();
        for member in 0..MEMBERS {
            let session = (room + member) % 1000;
            world.step(Command::Request {
                ticket: room * 100 + member,
                session,
                verb: "room/join",
                body: format!("{{\"name\":\"r{room}\"}}").as_bytes(),
            });
        }
    }
    let joined = world.disk.keys().filter(|key| key.starts_with(b"e")).count() as u64;
    assert_eq!(joined, ROOMS * MEMBERS);
    let records: Vec<(&[u8], &[u8])> =
        world.disk.iter().map(|(key, value)| (key.as_slice(), value.as_slice())).collect();
    let restored = Directory::restore(Rules::default(), [1; 32], records.iter().copied()).unwrap();
    assert_eq!(restored.places.all.len() as u64, ROOMS + 1);
    let members: u64 = restored.places.all.values().map(|place| place.count_in).sum();
    assert_eq!(members, ROOMS * MEMBERS);
    // The work of one more is in what it says: as many effects as among ten rooms.
    world.connect(5000, "late");
    world.enter(5000, "room/r77", None).unwrap();
    assert!(world.said.len() <= 3, "{:?}", world.said);
}
