//! Private messages that do not stay: the setting `delete_on_delivery` of a user. The directory knows who wants it and
//! with whom that user has messages; how far sessions are, and what is taken off the disk, is the driver's.

use super::people::Uid;
use super::{Directory, Effect};

impl Directory {
    /// Tells the sessions of a user whether what they acknowledge is forgotten.
    pub(super) fn tell_forgets(&mut self, uid: Uid, also_not: bool) {
        let Some(user) = self.user(uid) else { return };
        let (user, forgets) = (user.name.clone(), user.profile.delete_on_delivery);
        if forgets || also_not {
            self.out.push(Effect::Forgets { user, forgets });
        }
    }

    /// Something may be delivered to a user that was not before: a session that held it back is gone, the setting is new,
    /// or the broker stopped before what was acknowledged was off the disk.
    pub(super) fn forget_delivered(&mut self, uid: Uid) {
        let Some(user) = self.user(uid).filter(|user| user.profile.delete_on_delivery) else { return };
        let places = user.pairs.iter().filter_map(|&other| self.pair_place(uid, other));
        let name = user.name.clone();
        let effects: Vec<Effect> = places.map(|place| Effect::Forget { place, user: name.clone() }).collect();
        self.out.extend(effects);
    }
}
