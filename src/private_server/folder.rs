//! The folder of all private servers of one user, in the folder for temporary files.
//!
//! It holds one run folder per server (`run-…`) and the templates that new servers are copied from
//! (`template-…`). Other users can write next to it, so it is trusted only when it belongs to the
//! right user and is closed to everybody else.

use std::env;
use std::fs::{self, File};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::account::Account;
use super::error::{PrivateServerError, Result};

/// The address of a Unix socket has room for 104 bytes on macOS and 108 on Linux, with a zero at
/// the end.
const SOCKET_PATH_LIMIT: usize = 103;
/// What comes after the path of this folder.
const LONGEST_SOCKET_NAME: &str = "/run-XXXXXX/.s.PGSQL.65535";

/// A run folder that nobody claims is abandoned when it is older than this: it is claimed a moment
/// after it is made.
const ABANDONED_AFTER: Duration = Duration::from_mins(1);
/// Programs that tidy the folder for temporary files delete single files not used for some days
/// (three on some systems). A template is built anew before it can lose any.
const TEMPLATE_GOOD_FOR: Duration = Duration::from_hours(48);

#[derive(Debug, Clone)]
pub(super) struct PrivateFolder {
    path: PathBuf,
}

/// Goes with the program that holds it, however that ends.
#[derive(Debug)]
pub(super) struct Claim {
    _locked: File,
}

impl PrivateFolder {
    /// In the folder for temporary files, or in /tmp where that one cannot be used: because its
    /// path is too long for sockets, because the user of the server cannot enter it, or because
    /// somebody else was there first.
    pub(super) fn open(account: &Account) -> Result<Self> {
        let preferred = Self::open_in(&env::temp_dir(), account);
        if preferred.is_ok() {
            return preferred;
        }
        Self::open_in(Path::new("/tmp"), account).or(preferred)
    }

    fn open_in(parent: &Path, account: &Account) -> Result<Self> {
        let path = parent.join(format!("pgmutex-private-{}", account.uid));
        let path = std::path::absolute(&path).map_err(PrivateServerError::io("resolve", &path))?;
        if !fits_sockets(&path) {
            return Err(PrivateServerError::FolderUnfit {
                folder: path,
                limit: SOCKET_PATH_LIMIT,
            });
        }
        if fs::symlink_metadata(&path).is_err() {
            create(&path, account)?;
        }
        check(&path, account)?;
        Ok(Self { path })
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// With others who only copy templates.
    pub(super) fn share(&self) -> Result<Claim> {
        let folder = open_for_lock(&self.path)?;
        folder
            .lock_shared()
            .map_err(PrivateServerError::io("lock", &self.path))?;
        Ok(Claim { _locked: folder })
    }

    /// Alone, to change the templates.
    pub(super) fn own(&self) -> Result<Claim> {
        let folder = open_for_lock(&self.path)?;
        folder
            .lock()
            .map_err(PrivateServerError::io("lock", &self.path))?;
        Ok(Claim { _locked: folder })
    }

    /// Removes what died without tidying up (a power cut, a container killed as a whole) and what
    /// has become too old. To be called by the one who [owns](Self::own) the folder.
    pub(super) fn sweep(&self, account: &Account) -> Result<()> {
        let entries =
            fs::read_dir(&self.path).map_err(PrivateServerError::io("list", &self.path))?;
        let rubbish: Vec<PathBuf> = entries
            .flatten()
            .map(|entry| entry.path())
            .filter(|path| is_rubbish(path))
            .collect();
        if rubbish.is_empty() {
            return Ok(());
        }
        // A postmaster that is still there in spite of all notices within a minute that its data is
        // gone, and ends.
        account
            .shell(r#"rm -rf -- "$@""#)
            .args(rubbish)
            .output()
            .map_err(account.cannot_run("rm"))?;
        Ok(())
    }
}

/// Marks a run folder as that of a living program.
pub(super) fn claim(run: &Path) -> Result<Claim> {
    let folder = open_for_lock(run)?;
    folder
        .lock_shared()
        .map_err(PrivateServerError::io("lock", run))?;
    Ok(Claim { _locked: folder })
}

/// Whether a template is there and young enough to be complete. It comes into being complete, by a
/// rename.
pub(super) fn is_good_template(path: &Path) -> bool {
    path.is_dir() && !is_older_than(path, TEMPLATE_GOOD_FOR)
}

fn is_rubbish(path: &Path) -> bool {
    let name = path.file_name().unwrap_or_default().as_bytes();
    if name.starts_with(b"template-") {
        return !is_good_template(path);
    }
    let is_unclaimed = || open_for_lock(path).is_ok_and(|folder| folder.try_lock().is_ok());
    name.starts_with(b"run-") && is_older_than(path, ABANDONED_AFTER) && is_unclaimed()
}

fn is_older_than(path: &Path, age: Duration) -> bool {
    let modified = fs::metadata(path).and_then(|folder| folder.modified());
    // A time in the future means that the clock was set back: not old.
    modified.is_ok_and(|modified| modified.elapsed().is_ok_and(|elapsed| elapsed > age))
}

fn open_for_lock(folder: &Path) -> Result<File> {
    File::open(folder).map_err(PrivateServerError::io("open", folder))
}

/// A comma separates folders in the server's list of them and hosts in a URL, a quote begins a
/// quoted name.
fn fits_sockets(folder: &Path) -> bool {
    let path = folder.as_os_str().as_bytes();
    path.len() + LONGEST_SOCKET_NAME.len() <= SOCKET_PATH_LIMIT
        && !path.iter().any(|byte| b",\"\n".contains(byte))
}

fn create(folder: &Path, account: &Account) -> Result<()> {
    let output = account
        .shell(r#"mkdir -m 700 "$1""#)
        .arg(folder)
        .output()
        .map_err(account.cannot_run("mkdir"))?;
    // When several do this at the same moment, one of them succeeds; whether it was one of ours is
    // checked next.
    if output.status.success() || fs::symlink_metadata(folder).is_ok() {
        return Ok(());
    }
    Err(PrivateServerError::FolderNotCreated {
        folder: folder.to_owned(),
        user: account.name.clone(),
        reason: String::from_utf8_lossy(&output.stderr).trim().to_owned(),
    })
}

fn check(folder: &Path, account: &Account) -> Result<()> {
    // Not following a link: it could be pointed elsewhere later.
    let found = fs::symlink_metadata(folder).map_err(PrivateServerError::io("look at", folder))?;
    let mode = found.mode() & 0o7777;
    if found.is_dir() && found.uid() == account.uid && mode & 0o077 == 0 {
        return Ok(());
    }
    let kind = match found.file_type() {
        kind if kind.is_dir() => "folder",
        kind if kind.is_symlink() => "link",
        _ => "file",
    };
    let (folder, owner, expected_owner) = (folder.to_owned(), found.uid(), account.uid);
    Err(PrivateServerError::FolderNotPrivate {
        folder,
        kind,
        owner,
        mode,
        expected_owner,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sockets_need_short_paths_without_commas() {
        assert!(fits_sockets(Path::new("/tmp/pgmutex-private-4294967294")));
        assert!(fits_sockets(Path::new(
            "/var/folders/zz/zyxvpxvq6csfxvn_n0000000000000/T/pgmutex-private-501"
        )));
        assert!(!fits_sockets(Path::new(&format!("/{}", "x".repeat(80)))));
        assert!(!fits_sockets(Path::new("/tmp/a,b")));
    }
}
