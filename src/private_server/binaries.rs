//! Finding the installed PostgreSQL.

use std::env;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use super::account::Account;
use super::error::{PrivateServerError, Result};

/// Older servers are out of support, and nothing here was tried with them.
const OLDEST_MAJOR: u32 = 13;

/// Where packages put versions side by side: a folder, what stands before the version, what follows
/// it.
const VERSIONED: [(&str, &str, &str); 9] = [
    ("/usr/lib/postgresql", "", "bin"),          // Debian, Ubuntu
    ("/usr", "pgsql-", "bin"),                   // Fedora and Red Hat, packages of postgresql.org
    ("/usr/lib", "postgresql", "bin"),           // openSUSE
    ("/usr/libexec", "postgresql", ""),          // Alpine
    ("/opt/homebrew/opt", "postgresql@", "bin"), // Homebrew
    ("/usr/local/opt", "postgresql@", "bin"),    // Homebrew on Intel
    ("/home/linuxbrew/.linuxbrew/opt", "postgresql@", "bin"), // Homebrew on Linux
    ("/opt/local/lib", "postgresql", "bin"),     // MacPorts
    ("/Applications/Postgres.app/Contents/Versions", "", "bin"), // Postgres.app
];

/// Where there is one version only.
const UNVERSIONED: [&str; 3] = [
    "/opt/homebrew/opt/postgresql/bin",
    "/usr/local/opt/postgresql/bin",
    "/usr/local/pgsql/bin",
];

/// An installed PostgreSQL.
#[derive(Debug, Clone)]
pub(super) struct Installation {
    pub(super) bin_dir: PathBuf,
    /// What `postgres --version` says.
    pub(super) version: String,
    pub(super) major: u32,
}

impl Installation {
    /// The one in the given folder; else the one `PG_BIN` names; else the one on the PATH; else the
    /// newest. What is named is taken or refused: another version than the one asked for would
    /// be a surprise.
    pub(super) fn find(bin_dir: Option<&Path>, account: &Account) -> Result<Self> {
        let named = bin_dir
            .map(Path::to_owned)
            .or_else(|| env::var_os("PG_BIN").map(PathBuf::from));
        let bin_dir =
            match named {
                Some(named) if has_server(&named) => named,
                Some(named) => {
                    let looked_in = vec![named.display().to_string()];
                    return Err(PrivateServerError::BinariesNotFound { looked_in });
                }
                None => on_path().or_else(newest).ok_or_else(|| {
                    PrivateServerError::BinariesNotFound {
                        looked_in: places(),
                    }
                })?,
            };
        Self::ask(real(bin_dir)?, account)
    }

    /// As the user who will run it: root may be able to enter folders that this user is not.
    fn ask(bin_dir: PathBuf, account: &Account) -> Result<Self> {
        let program = bin_dir.join("postgres");
        let output = account
            .command(&program)
            .arg("--version")
            .output()
            .map_err(account.cannot_run(program.display().to_string()))?;
        let version = String::from_utf8_lossy(&output.stdout).trim().to_owned();
        match major(&version) {
            None => {
                let output = format!("{version}{}", String::from_utf8_lossy(&output.stderr));
                Err(PrivateServerError::UnknownVersion { program, output })
            }
            Some(major) if major < OLDEST_MAJOR => Err(PrivateServerError::UnsupportedVersion {
                bin_dir,
                major,
                oldest: OLDEST_MAJOR,
            }),
            Some(major) => Ok(Self {
                bin_dir,
                version,
                major,
            }),
        }
    }
}

fn has_server(folder: &Path) -> bool {
    ["initdb", "postgres"]
        .iter()
        .all(|program| is_executable(&folder.join(program)))
}

fn is_executable(file: &Path) -> bool {
    fs::metadata(file).is_ok_and(|file| file.is_file() && file.permissions().mode() & 0o111 != 0)
}

fn on_path() -> Option<PathBuf> {
    env::split_paths(&env::var_os("PATH")?).find(|folder| has_server(folder))
}

fn newest() -> Option<PathBuf> {
    let versioned = VERSIONED.iter().flat_map(|&(parent, before, after)| {
        let entries = fs::read_dir(parent).into_iter().flatten().flatten();
        entries.filter_map(move |entry| {
            let major = major_in_name(entry.file_name().to_str()?, before)?;
            Some((major, entry.path().join(after)))
        })
    });
    let unversioned = UNVERSIONED.iter().map(|folder| (0, PathBuf::from(folder)));
    newest_of(
        versioned
            .chain(unversioned)
            .filter(|(_, folder)| has_server(folder)),
    )
}

/// Of equal versions the first: the tables above are in order of preference.
fn newest_of(candidates: impl Iterator<Item = (u32, PathBuf)>) -> Option<PathBuf> {
    let newer =
        |best: (u32, PathBuf), next: (u32, PathBuf)| if next.0 > best.0 { next } else { best };
    candidates.reduce(newer).map(|(_, folder)| folder)
}

fn major_in_name(name: &str, before: &str) -> Option<u32> {
    name.strip_prefix(before)?.split('.').next()?.parse().ok()
}

/// "postgres (PostgreSQL) 15.14 (Debian 15.14-0+deb12u1)", or "… 18beta1", is what `--version`
/// says.
fn major(version: &str) -> Option<u32> {
    let (_, number) = version.split_once("(PostgreSQL) ")?;
    let digits = number
        .find(|c: char| !c.is_ascii_digit())
        .unwrap_or(number.len());
    number[..digits].parse().ok()
}

/// The programs may be links (from /usr/local/bin, say); their neighbours, such as psql, lie where
/// they point to. The path becomes absolute, too, because the server runs in another folder.
fn real(bin_dir: PathBuf) -> Result<PathBuf> {
    let program = bin_dir.join("postgres");
    let real = program
        .canonicalize()
        .map_err(PrivateServerError::io("resolve", &program))?;
    match real.parent() {
        Some(folder) if has_server(folder) => Ok(folder.to_owned()),
        _ => bin_dir
            .canonicalize()
            .map_err(PrivateServerError::io("resolve", &bin_dir)),
    }
}

fn places() -> Vec<String> {
    let versioned = VERSIONED.iter().map(|(parent, before, after)| {
        Path::new(parent)
            .join(format!("{before}*"))
            .join(after)
            .display()
            .to_string()
    });
    let named = ["$PG_BIN (not set)".to_owned(), "$PATH".to_owned()];
    named
        .into_iter()
        .chain(versioned)
        .chain(UNVERSIONED.map(str::to_owned))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_version_is_read_from_what_postgres_says() {
        assert_eq!(
            major("postgres (PostgreSQL) 15.14 (Debian 15.14-0+deb12u1)"),
            Some(15)
        );
        assert_eq!(major("postgres (PostgreSQL) 9.6.24"), Some(9));
        assert_eq!(major("postgres (PostgreSQL) 18beta1"), Some(18));
        assert_eq!(major("psql: command not found"), None);
    }

    #[test]
    fn the_version_is_read_from_the_name_of_a_folder() {
        assert_eq!(major_in_name("17", ""), Some(17));
        assert_eq!(major_in_name("9.6", ""), Some(9));
        assert_eq!(major_in_name("postgresql@17", "postgresql@"), Some(17));
        assert_eq!(major_in_name("latest", ""), None);
        assert_eq!(major_in_name("postgresql@17", "pgsql-"), None);
    }

    #[test]
    fn the_newest_wins_and_of_equals_the_first() {
        let candidates = [(9, "nine"), (17, "first"), (17, "second"), (0, "unknown")];
        let newest = newest_of(
            candidates
                .into_iter()
                .map(|(major, folder)| (major, folder.into())),
        );
        assert_eq!(newest, Some(PathBuf::from("first")));
        assert_eq!(newest_of(std::iter::empty()), None);
    }
}
