//! The operator's key of the database: where it is read, and what is said when it does not fit. Driven at the start of the
//! broker and by `katydid rekey`. Invariant: nothing that is said or logged has the key in it.

use crate::config::StoreConfig;
use katydid_store::{KeyProblem, StorageKey};
use std::{
    env, fmt,
    fs::File,
    io::{self, Read},
    path::Path,
};

/// The environment variable that may hold the key.
pub(crate) const VARIABLE: &str = "KATYDID_STORAGE_KEY";

/// The key of the configuration that may name its file.
const SETTING: &str = "store.key-file";

/// The longest file that is read; a key is much shorter.
const FILE_BYTES: u64 = 4096;

/// What is wrong with a key, and with which setting, in words for the operator.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct KeyError(pub(crate) String);

impl fmt::Display for KeyError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for KeyError {}

/// The key in a file that `setting` names.
pub(crate) fn from_file(setting: &str, file: &Path) -> Result<StorageKey, KeyError> {
    let shown = file.display();
    let text = read(file).map_err(|error| KeyError(format!("{setting}: {shown} can't be read: {error}")))?;
    StorageKey::parse(&text).map_err(|problem| KeyError(format!("{setting}: {shown}: {problem}")))
}

fn read(file: &Path) -> io::Result<String> {
    let mut text = String::new();
    File::open(file)?.take(FILE_BYTES).read_to_string(&mut text)?;
    Ok(text)
}

/// The key in the environment, if there is one.
pub(crate) fn from_environment() -> Result<Option<StorageKey>, KeyError> {
    from_variable(env::var_os(VARIABLE).map(|text| text.to_string_lossy().into_owned()).as_deref())
}

fn from_variable(text: Option<&str>) -> Result<Option<StorageKey>, KeyError> {
    let parsed = text.filter(|text| !text.is_empty()).map(StorageKey::parse).transpose();
    parsed.map_err(|problem| KeyError(format!("{VARIABLE}: {problem}")))
}

/// The key that the broker is given, if any.
pub(crate) fn configured(config: &StoreConfig) -> Result<Option<StorageKey>, KeyError> {
    match (&config.key_file, from_environment()?) {
        (Some(_), Some(_)) => Err(KeyError(format!("{SETTING} and {VARIABLE} are both set: leave one out"))),
        (Some(file), None) => from_file(SETTING, file).map(Some),
        (None, key) => Ok(key),
    }
}

/// Says what to do when the broker's key does not fit the database in `path`.
pub(crate) fn misfit(problem: KeyProblem, config: &StoreConfig, path: &Path) -> KeyError {
    let path = path.display();
    let setting = match &config.key_file {
        Some(file) => format!("{SETTING} ({})", file.display()),
        None => VARIABLE.into(),
    };
    KeyError(match problem {
        KeyProblem::Missing => {
            format!(
                "the database in {path} is encrypted: say {SETTING} or set {VARIABLE}; nothing was changed"
            )
        }
        KeyProblem::Unused => format!(
            "{setting} is set, and the database in {path} is not encrypted: leave the key out, or encrypt it with \
             `katydid rekey --data-dir {path} --new-key-file FILE`; nothing was changed"
        ),
        KeyProblem::Wrong => {
            format!("{setting}: the database in {path} is encrypted with another key; nothing was changed")
        }
        KeyProblem::Malformed => format!("{setting}: {problem}"),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;

    #[test]
    fn what_is_wrong_with_a_key_names_where_it_was_given_and_never_the_key() {
        let folder = tempfile::tempdir().expect("a folder");
        let file = folder.path().join("key");
        let config = StoreConfig { key_file: Some(file.clone()), ..StoreConfig::default() };
        let missing = configured(&config).expect_err("there is no file").to_string();
        assert!(
            missing.starts_with(&format!("store.key-file: {} can't be read: ", file.display())),
            "{missing}"
        );
        let digits = "0123456789abcdef".repeat(4);
        fs::write(&file, &digits[1..]).expect("written");
        let short = configured(&config).expect_err("a digit is missing").to_string();
        assert!(short.starts_with("store.key-file: ") && !short.contains(&digits[1..9]), "{short}");
        fs::write(&file, format!("{digits}\n")).expect("written");
        assert!(configured(&config).expect("a key").is_some());
        let wrong = from_variable(Some("0123")).expect_err("too short").to_string();
        assert!(wrong.starts_with("KATYDID_STORAGE_KEY: a key is 64") && !wrong.contains("0123"), "{wrong}");
        assert_eq!(from_variable(Some("")).expect("none"), None);
        for problem in [KeyProblem::Missing, KeyProblem::Wrong, KeyProblem::Unused] {
            let text = misfit(problem, &config, Path::new("/data")).to_string();
            assert!(text.contains("store.key-file") && text.contains("/data"), "{text}");
        }
        let unused = misfit(KeyProblem::Unused, &config, Path::new("/data")).to_string();
        assert!(unused.contains("katydid rekey --data-dir /data"), "{unused}");
    }
}
