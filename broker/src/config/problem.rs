//! What is wrong with a configuration, in words for its author: where it stands, which key, and what is allowed
//! there. Knows nothing of what the keys mean. All problems of a configuration are gathered and told at once.

use std::{fmt, path::Path, sync::Arc};

/// Where a value was written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Origin {
    /// Nowhere: what holds when nothing is said.
    Default,
    /// A line, from 1, of the configuration file.
    File {
        /// The file, as it was named to us.
        path: Arc<Path>,
        /// The line.
        line: usize,
    },
    /// The file as a whole.
    WholeFile(Arc<Path>),
    /// An environment variable of this name.
    Environment(String),
    /// An argument.
    CommandLine,
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Origin::Default => f.write_str("default"),
            Origin::File { path, line } => write!(f, "{}:{line}", path.display()),
            Origin::WholeFile(path) => write!(f, "{}", path.display()),
            Origin::Environment(variable) => write!(f, "environment {variable}"),
            Origin::CommandLine => f.write_str("command line"),
        }
    }
}

/// One thing that is wrong.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Problem {
    /// Where it is written.
    pub(crate) origin: Origin,
    /// What is wrong there, beginning with the key where there is one.
    pub(crate) text: String,
}

impl Problem {
    /// A problem at a place.
    pub(crate) fn new(origin: &Origin, text: impl Into<String>) -> Self {
        Self { origin: origin.clone(), text: text.into() }
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.origin, self.text)
    }
}

/// A line, from 1, of a file that a key names, and what is wrong there.
pub(crate) type WrongLine = (usize, String);

/// Everything that is wrong with a configuration; never empty when it is an error.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Problems(pub(crate) Vec<Problem>);

impl Problems {
    /// Notes a problem.
    pub(crate) fn add(&mut self, origin: &Origin, text: impl Into<String>) {
        self.0.push(Problem::new(origin, text));
    }

    /// `value`, unless something is wrong.
    pub(crate) fn or<T>(self, value: T) -> Result<T, Problems> {
        if self.0.is_empty() { Ok(value) } else { Err(self) }
    }
}

impl From<Problem> for Problems {
    fn from(problem: Problem) -> Self {
        Self(vec![problem])
    }
}

impl fmt::Display for Problems {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (n, problem) in self.0.iter().enumerate() {
            if n > 0 {
                f.write_str("\n")?;
            }
            problem.fmt(f)?;
        }
        Ok(())
    }
}

impl std::error::Error for Problems {}

/// The one of `known` that is nearest to a name that is none of them, when it is near enough to be meant.
pub(crate) fn nearest<'a>(name: &str, known: impl Iterator<Item = &'a str>) -> Option<&'a str> {
    let far = (name.len() / 4).clamp(1, 4);
    known
        .map(|candidate| (edits(name, candidate), candidate))
        .filter(|(edits, _)| *edits <= far)
        .min_by_key(|(edits, _)| *edits)
        .map(|(_, candidate)| candidate)
}

/// How many insertions, deletions, replacements and swaps of neighbours make one name from the other. Names longer
/// than any key are not compared.
fn edits(a: &str, b: &str) -> usize {
    const LONGEST: usize = 128;
    if a.len() > LONGEST || b.len() > LONGEST {
        return usize::MAX;
    }
    let (a, b): (Vec<char>, Vec<char>) = (a.chars().collect(), b.chars().collect());
    // rows[i][j] is the distance of the first i of `a` and the first j of `b`.
    let mut rows = vec![vec![0; b.len() + 1]; a.len() + 1];
    for i in 0..=a.len() {
        for j in 0..=b.len() {
            rows[i][j] = if i == 0 || j == 0 {
                i + j
            } else {
                let replaced = rows[i - 1][j - 1] + usize::from(a[i - 1] != b[j - 1]);
                let mut least = replaced.min(rows[i - 1][j] + 1).min(rows[i][j - 1] + 1);
                if i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1] {
                    least = least.min(rows[i - 2][j - 2] + 1);
                }
                least
            };
        }
    }
    rows[a.len()][b.len()]
}
