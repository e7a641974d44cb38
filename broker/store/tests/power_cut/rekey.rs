//! Changing the key, cut at every sync: the database is there with the old key or with the new one, whole.
//!
//! A hook keeps what a power cut at each sync leaves at least: of each file what it held when it was last synced, of each
//! directory the entries that it had then. Beside it is what the kernel holds, which is what a kill leaves.

use std::collections::HashMap;
use std::fs::{self, File};
use std::io;
use std::os::unix::fs::{FileExt, MetadataExt};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

use katydid_store::{
    KeyProblem, Options, Rekey, Rekeyed, SledStore, StorageKey, Store, StoreError, SyncHook, rekey,
};

use crate::shim::{Unsynced, folder};
use crate::{contents, load};

/// A directory as files and directories by path.
type Image = Vec<(PathBuf, Option<Vec<u8>>)>;

#[derive(Default)]
struct Durable {
    files: HashMap<u64, Vec<u8>>,
    directories: HashMap<u64, Vec<(PathBuf, u64, bool)>>,
    images: Vec<(Image, Image)>,
    syncs: usize,
}

/// The disk beneath one directory.
struct Disk {
    root: PathBuf,
    durable: Mutex<Durable>,
}

impl std::fmt::Debug for Disk {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Disk")
    }
}

impl Durable {
    fn note_directory(&mut self, path: &Path) -> io::Result<()> {
        let mut entries = Vec::new();
        for item in fs::read_dir(path)? {
            let item = item?;
            let kind = item.metadata()?;
            // sled syncs its snapshots itself, before it gives them their name.
            if item.path().extension().is_some_and(|extension| extension.len() == 16) {
                self.files.insert(kind.ino(), fs::read(item.path())?);
            }
            entries.push((item.file_name().into(), kind.ino(), kind.is_dir()));
        }
        self.directories.insert(fs::metadata(path)?.ino(), entries);
        Ok(())
    }

    /// Takes all that is there for synced.
    fn note_all(&mut self, path: &Path) -> io::Result<()> {
        self.note_directory(path)?;
        for item in fs::read_dir(path)? {
            let item = item?;
            if item.file_type()?.is_dir() {
                self.note_all(&item.path())?;
            } else {
                self.files.insert(item.metadata()?.ino(), fs::read(item.path())?);
            }
        }
        Ok(())
    }

    /// What is left of a directory after a power cut.
    fn left(&self, directory: u64, path: &Path, image: &mut Image) {
        for (name, inode, is_directory) in self.directories.get(&directory).into_iter().flatten() {
            let path = path.join(name);
            if *is_directory {
                image.push((path.clone(), None));
                self.left(*inode, &path, image);
            } else {
                image.push((path, Some(self.files.get(inode).cloned().unwrap_or_default())));
            }
        }
    }

    fn take_images(&mut self, root: &Path) -> io::Result<()> {
        let mut cut = Image::new();
        self.left(fs::metadata(root)?.ino(), Path::new(""), &mut cut);
        let mut killed = Image::new();
        held(root, Path::new(""), &mut killed)?;
        self.images.push((cut, killed));
        Ok(())
    }
}

/// What the kernel holds of a directory.
fn held(root: &Path, path: &Path, image: &mut Image) -> io::Result<()> {
    for item in fs::read_dir(root.join(path))? {
        let item = item?;
        let path = path.join(item.file_name());
        if item.file_type()?.is_dir() {
            image.push((path.clone(), None));
            held(root, &path, image)?;
        } else {
            let content = fs::read(item.path())?;
            image.push((path, Some(content)));
        }
    }
    Ok(())
}

impl SyncHook for Disk {
    fn sync(&self, file: &File) -> io::Result<()> {
        let mut durable = self.durable.lock().expect("no panic while held");
        let kind = file.metadata()?;
        let mut content = vec![0; kind.len() as usize];
        file.read_exact_at(&mut content, 0)?;
        durable.files.insert(kind.ino(), content);
        durable.syncs += 1;
        if durable.syncs.is_multiple_of(4) {
            durable.take_images(&self.root)?;
        }
        Ok(())
    }

    fn sync_path(&self, path: &Path) -> io::Result<()> {
        let mut durable = self.durable.lock().expect("no panic while held");
        durable.take_images(&self.root)?;
        let kind = fs::metadata(path)?;
        if kind.is_dir() {
            durable.note_directory(path)?;
        } else {
            durable.files.insert(kind.ino(), fs::read(path)?);
        }
        durable.take_images(&self.root)
    }
}

fn key(digit: char) -> Option<StorageKey> {
    Some(StorageKey::parse(&digit.to_string().repeat(64)).expect("a key"))
}

fn options(sync: Arc<dyn SyncHook>, key: Option<StorageKey>) -> Options {
    Options {
        segment_bytes: 64 << 10,
        journal_bytes: 8_000,
        journal_blocks: 60,
        sync,
        key,
        ..Options::default()
    }
}

fn made(image: &Image) -> tempfile::TempDir {
    let folder = folder();
    for (path, content) in image {
        match content {
            None => fs::create_dir_all(folder.path().join(path)).expect("a folder"),
            Some(content) => fs::write(folder.path().join(path), content).expect("a file"),
        }
    }
    folder
}

/// Opens with the first key that fits; says which.
fn open_with(path: &Path, keys: &[Option<StorageKey>; 2]) -> (SledStore, usize) {
    for (index, key) in keys.iter().enumerate() {
        match SledStore::open(path, options(Arc::new(Unsynced), key.clone())) {
            Ok(store) => return (store, index),
            Err(StoreError::Key(_)) => {}
            Err(error) => panic!("{error}"),
        }
    }
    panic!("neither key fits");
}

/// A database with logs that are empty, trimmed and full.
fn fill(path: &Path, key: &Option<StorageKey>) -> String {
    let store = SledStore::open(path, options(Arc::new(Unsynced), key.clone())).expect("opens");
    for ops in load(0x4E4, 150) {
        store.commit(ops).expect("commits");
    }
    let emptied = store.logs().expect("logs").first().copied().expect("a log");
    store.commit(vec![katydid_store::Op::Trim { log: emptied.0, below: emptied.1.next }]).expect("commits");
    contents(&store)
}

fn cut_everywhere(old: Option<StorageKey>, new: Option<StorageKey>, is_rewritten: bool) {
    let folder = folder();
    let expected = fill(folder.path(), &old);
    let database = File::open(folder.path().join("db")).expect("a file");
    database.lock().expect("after sled's threads");
    database.unlock().expect("for the next");
    let disk = Disk { root: folder.path().to_owned(), durable: Mutex::default() };
    disk.durable.lock().expect("no panic while held").note_all(folder.path()).expect("reads");
    let disk = Arc::new(disk);
    let change = Rekey { old: old.clone(), new: new.clone(), is_rewritten };
    let done = rekey(folder.path(), &change, &options(disk.clone(), None)).expect("changes the key");
    assert_eq!(done == Rekeyed::Wrapped, old.is_some() && new.is_some() && !is_rewritten);
    let images = std::mem::take(&mut disk.durable.lock().expect("no panic while held").images);
    let keys = [old, new.clone()];
    let mut with_new = 0;
    for (number, image) in images.iter().flat_map(|(cut, killed)| [cut, killed]).enumerate() {
        let folder = made(image);
        let (store, index) = open_with(folder.path(), &keys);
        assert!(contents(&store) == expected, "image {number}, key {index}");
        drop(store);
        with_new += index;
        // Doing it again from there ends it.
        if number % 5 == 0 {
            let change = Rekey { old: keys[index].clone(), new: new.clone(), is_rewritten };
            rekey(folder.path(), &change, &options(Arc::new(Unsynced), None)).expect("changes the key");
            let (store, index) = open_with(folder.path(), &[new.clone(), None]);
            assert!(index == 0 && contents(&store) == expected, "image {number}");
        }
    }
    assert!(with_new > 0 && with_new < 2 * images.len(), "{with_new} of {} images", images.len());
    assert!(contents(&open_with(folder.path(), &[new, None]).0) == expected);
    let left: Vec<_> = fs::read_dir(folder.path())
        .expect("a folder")
        .map(|item| item.expect("an item").file_name())
        .collect();
    assert!(left.iter().all(|name| !name.to_string_lossy().starts_with("rekey")), "{left:?}");
}

#[test]
fn a_cut_while_a_database_is_encrypted_leaves_it_whole() {
    cut_everywhere(None, key('1'), false);
}

#[test]
fn a_cut_while_a_database_is_decrypted_leaves_it_whole() {
    cut_everywhere(key('1'), None, false);
}

#[test]
fn a_cut_while_the_key_is_wrapped_anew_leaves_it_whole() {
    cut_everywhere(key('1'), key('2'), false);
}

#[test]
fn a_cut_while_everything_is_written_anew_leaves_it_whole() {
    cut_everywhere(key('1'), key('2'), true);
}

#[test]
fn a_key_is_changed_by_who_has_it_while_nobody_has_the_database() {
    let folder = folder();
    let change = Rekey { old: key('1'), new: key('2'), is_rewritten: false };
    let options = || options(Arc::new(Unsynced), None);
    let none = rekey(folder.path(), &change, &options());
    assert!(matches!(none, Err(StoreError::Io(error)) if error.kind() == io::ErrorKind::NotFound));
    let expected = fill(folder.path(), &key('1'));
    let store = SledStore::open(folder.path(), Options { key: key('1'), ..options() }).expect("opens");
    assert!(matches!(rekey(folder.path(), &change, &options()), Err(StoreError::Busy(_))));
    drop(store);
    for (old, problem) in [(key('3'), KeyProblem::Wrong), (None, KeyProblem::Missing)] {
        let refused = rekey(folder.path(), &Rekey { old, ..change.clone() }, &options());
        assert!(matches!(refused, Err(StoreError::Key(found)) if found == problem), "{refused:?}");
    }
    assert!(contents(&open_with(folder.path(), &[key('1'), None]).0) == expected);
    let clear = crate::shim::folder();
    fill(clear.path(), &None);
    let refused = rekey(clear.path(), &change, &options());
    assert!(matches!(refused, Err(StoreError::Key(KeyProblem::Unused))), "{refused:?}");
    let same = rekey(clear.path(), &Rekey::default(), &options());
    assert_eq!(same.expect("nothing to do"), Rekeyed::Unchanged);
}
