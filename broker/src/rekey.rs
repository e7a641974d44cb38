//! `katydid rekey`: encrypts a database, changes its key, or has it in clear again. The store does the work and keeps it
//! whole ([`katydid_store::rekey`]); this says what is to be done and how it went. Exit codes: 0 done, 2 a key or an
//! argument is wrong and nothing was changed, 1 everything else.

use crate::{node::search::FOLDER as INDEX_FOLDER, options::say, storage_key};
use katydid_store::{KeyProblem, Options as StoreOptions, Rekey, Rekeyed, StorageKey, StoreError};
use std::{
    io::Write,
    path::{Path, PathBuf},
    process::ExitCode,
};

/// What `katydid rekey` is told.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
A key is a file with 64 hexadecimal digits: `openssl rand -hex 32 > FILE`. From key to key, only the database's own key
is encrypted anew; otherwise the database is written anew, which takes as much room again. What is interrupted leaves the
database with the old key or the new one.")]
pub(crate) struct Options {
    /// Folder of the database
    #[arg(long, value_name = "FOLDER", default_value = "./katydid-data")]
    data_dir: PathBuf,
    /// The key that it has. Without, it is taken from KATYDID_STORAGE_KEY, and without that the database is in clear
    #[arg(long, value_name = "FILE")]
    old_key_file: Option<PathBuf>,
    /// The key that it gets. Without, it will be in clear, which needs --old-key-file
    #[arg(long, value_name = "FILE")]
    new_key_file: Option<PathBuf>,
    /// Write everything anew from key to key too: with a fresh key inside, and without anything that was deleted
    #[arg(long)]
    rewrite: bool,
}

/// Does what the command says.
pub(crate) fn run(options: &Options, out: &mut dyn Write, err: &mut dyn Write) -> ExitCode {
    match change(options) {
        Ok(done) => say(out, &format!("katydid: {done}"), 0),
        Err(Refusal { text, code }) => say(err, &format!("katydid: {text}"), code),
    }
}

/// Why nothing was done, and the exit code.
struct Refusal {
    text: String,
    code: u8,
}

impl From<storage_key::KeyError> for Refusal {
    fn from(error: storage_key::KeyError) -> Self {
        Self { text: error.to_string(), code: 2 }
    }
}

fn change(options: &Options) -> Result<String, Refusal> {
    let old = match &options.old_key_file {
        Some(file) => Some(storage_key::from_file("--old-key-file", file)?),
        None => storage_key::from_environment()?,
    };
    let new = options.new_key_file.as_deref();
    let new = new.map(|file| storage_key::from_file("--new-key-file", file)).transpose()?;
    if new.is_none() && old.is_some() && options.old_key_file.is_none() {
        // A variable that happens to be set is not enough to have everything in clear.
        let text = "say --new-key-file, or --old-key-file to have the database in clear".into();
        return Err(Refusal { text, code: 2 });
    }
    if new.is_none() && old.is_none() && !options.rewrite {
        let text = "there is nothing to do: say --old-key-file, --new-key-file or --rewrite".into();
        return Err(Refusal { text, code: 2 });
    }
    let state = if new.is_some() { "is encrypted with the new key" } else { "is in clear" };
    let change = Rekey { old, new, is_rewritten: options.rewrite };
    let shown = options.data_dir.display();
    let changed = katydid_store::rekey(&options.data_dir, &change, &StoreOptions::default());
    if let Ok(changed) = changed {
        rekey_index(&options.data_dir.join(INDEX_FOLDER), &change, changed);
    }
    match changed {
        Ok(Rekeyed::Rewritten { logs, entries, records }) => Ok(format!(
            "the database in {shown} {state}: {logs} logs with {entries} entries and {records} records were written anew"
        )),
        Ok(Rekeyed::Wrapped | Rekeyed::Unchanged) => Ok(format!("the database in {shown} {state}")),
        Err(error) => Err(refusal(options, &change.old, error)),
    }
}

/// The index for searches gets the key that the database has. Where it was written anew, or anything goes wrong, the index is
/// thrown away, and the broker makes it anew: it does so by itself with one whose key does not fit.
fn rekey_index(folder: &Path, change: &Rekey, changed: Rekeyed) {
    let is_rewritten = matches!(changed, Rekeyed::Rewritten { .. });
    if folder.exists()
        && (is_rewritten || katydid_store::rekey(folder, change, &StoreOptions::default()).is_err())
    {
        // What cannot be removed does not open with the new key, either.
        let _ = std::fs::remove_dir_all(folder);
    }
}

fn refusal(options: &Options, old: &Option<StorageKey>, error: StoreError) -> Refusal {
    let shown = options.data_dir.display();
    let given = match &options.old_key_file {
        Some(file) => format!("--old-key-file {}", file.display()),
        None if old.is_some() => storage_key::VARIABLE.into(),
        None => "--old-key-file".into(),
    };
    let (text, code) = match error {
        StoreError::Key(KeyProblem::Missing) => {
            (format!("the database in {shown} is encrypted: say its key with --old-key-file"), 2)
        }
        StoreError::Key(KeyProblem::Wrong) => (
            format!(
                "{given}: the database in {shown} is encrypted with another key; nothing was changed. If a change was \
                 interrupted, it may have the new key already"
            ),
            2,
        ),
        StoreError::Key(KeyProblem::Unused) => {
            (format!("{given}: the database in {shown} is not encrypted; leave the old key out"), 2)
        }
        StoreError::Busy(_) => (format!("the database in {shown} is in use: end the broker first"), 1),
        error => (error.to_string(), 1),
    };
    Refusal { text, code }
}

#[cfg(test)]
mod tests {
    use super::*;
    use bytes::Bytes;
    use katydid_store::{Op, SledStore, Space, Store};
    use std::fs;

    /// Exit code and what was said.
    fn rekey(folder: &Path, old: Option<&Path>, new: Option<&Path>) -> (ExitCode, String) {
        let options = Options {
            data_dir: folder.join("data"),
            old_key_file: old.map(Path::to_owned),
            new_key_file: new.map(Path::to_owned),
            rewrite: false,
        };
        let (mut out, mut err) = (Vec::new(), Vec::new());
        let code = run(&options, &mut out, &mut err);
        (
            code,
            String::from_utf8([out, err].concat())
                .expect("UTF-8")
                .replace(&format!("{}/", folder.display()), ""),
        )
    }

    fn open(folder: &Path, key_file: Option<&Path>) -> Result<SledStore, StoreError> {
        let key = key_file.map(|file| storage_key::from_file("test", file).expect("a key"));
        SledStore::open(&folder.join("data"), StoreOptions { key, ..StoreOptions::default() })
    }

    #[test]
    fn a_database_is_encrypted_changes_its_key_and_is_in_clear_again() {
        let folder = tempfile::tempdir().expect("a folder");
        let folder = folder.path();
        let (one, two) = (folder.join("one"), folder.join("two"));
        fs::write(&one, "1".repeat(64)).expect("written");
        fs::write(&two, "2".repeat(64)).expect("written");
        let (code, text) = rekey(folder, None, Some(&one));
        assert_eq!(
            (code, text.as_str()),
            (ExitCode::from(1), "katydid: storage: there is no database in data\n")
        );
        let store = open(folder, None).expect("a new database");
        let key = Bytes::from_static(b"ann");
        store.commit(vec![Op::Put { space: Space(1), key: key.clone(), value: key }]).expect("commits");
        let (code, text) = rekey(folder, None, Some(&one));
        let busy = "katydid: the database in data is in use: end the broker first\n";
        assert_eq!((code, text.as_str()), (ExitCode::from(1), busy));
        drop(store);
        let done = [
            (
                None,
                Some(&one),
                "is encrypted with the new key: 0 logs with 0 entries and 1 records were written anew",
            ),
            (Some(&one), Some(&two), "is encrypted with the new key"),
            (Some(&two), None, "is in clear: 0 logs with 0 entries and 1 records were written anew"),
        ];
        for (old, new, what) in done {
            let (code, text) = rekey(folder, old.map(PathBuf::as_path), new.map(PathBuf::as_path));
            assert_eq!((code, text), (ExitCode::SUCCESS, format!("katydid: the database in data {what}\n")));
            let store = open(folder, new.map(PathBuf::as_path)).expect("the new key fits");
            assert_eq!(store.scan(Space(1)).expect("scan").len(), 1);
        }
    }

    #[test]
    fn a_key_that_does_not_fit_is_refused_with_code_2() {
        let folder = tempfile::tempdir().expect("a folder");
        let folder = folder.path();
        let (one, two) = (folder.join("one"), folder.join("two"));
        fs::write(&one, "1".repeat(64)).expect("written");
        fs::write(&two, "2".repeat(64)).expect("written");
        drop(open(folder, Some(&one)).expect("a new database"));
        for (old, new, what) in [
            (None, None, "katydid: there is nothing to do: "),
            (
                None,
                Some(&two),
                "katydid: the database in data is encrypted: say its key with --old-key-file\n",
            ),
            (
                Some(&two),
                Some(&two),
                "katydid: --old-key-file two: the database in data is encrypted with another key",
            ),
            (Some(&folder.join("none")), None, "katydid: --old-key-file: none can't be read: "),
        ] {
            let (code, text) = rekey(folder, old.map(PathBuf::as_path), new.map(PathBuf::as_path));
            assert_eq!(code, ExitCode::from(2), "{text}");
            assert!(text.starts_with(what), "{text}");
        }
        drop(open(folder, Some(&one)).expect("nothing was changed"));
    }
}
