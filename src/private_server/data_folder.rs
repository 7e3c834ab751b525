//! A data folder of the caller's, which outlives the server.

use std::fs::{self, DirBuilder, Metadata};
use std::io::ErrorKind;
use std::os::unix::fs::{DirBuilderExt, MetadataExt, chown};
use std::path::{Path, PathBuf};

use super::account::Account;
use super::binaries::Installation;
use super::error::{PrivateServerError, Result};

#[derive(Debug)]
pub(super) struct DataFolder {
    pub(super) path: PathBuf,
    /// Who serves it: its owner.
    pub(super) account: Account,
    pub(super) is_empty: bool,
}

impl DataFolder {
    /// Makes the folder where it is missing. When root does this for another user, an empty folder
    /// of root's is given to that user; the folders above it are not touched, and that user
    /// must be able to enter them.
    pub(super) fn open(
        folder: &Path,
        default: &Account,
        installation: &Installation,
    ) -> Result<Self> {
        create(folder)?;
        let path = folder
            .canonicalize()
            .map_err(PrivateServerError::io("resolve", folder))?;
        let found = fs::metadata(&path).map_err(PrivateServerError::io("look at", &path))?;
        let is_empty = fs::read_dir(&path)
            .map_err(PrivateServerError::io("list", &path))?
            .next()
            .is_none();
        let account = default.clone().owning(found.uid(), found.gid());
        if !is_empty {
            check(&path, installation)?;
        } else if is_to_be_given(&found, &account) {
            chown(&path, Some(account.uid), Some(account.gid))
                .map_err(PrivateServerError::io("change the owner of", &path))?;
        }
        Ok(Self {
            path,
            account,
            is_empty,
        })
    }
}

/// Refuses what these programs cannot serve, before they get to say so less clearly.
fn check(folder: &Path, installation: &Installation) -> Result<()> {
    let version_file = folder.join("PG_VERSION");
    let folder = folder.to_owned();
    let found = match fs::read_to_string(&version_file) {
        Ok(version) => version.trim().to_owned(),
        Err(error) if error.kind() == ErrorKind::NotFound => {
            return Err(PrivateServerError::NotADataFolder { folder });
        }
        Err(error) => return Err(PrivateServerError::io("read", version_file)(error)),
    };
    let major = installation.major;
    if found == major.to_string() {
        return Ok(());
    }
    Err(PrivateServerError::DataVersion {
        folder,
        found,
        bin_dir: installation.bin_dir.clone(),
        major,
    })
}

fn create(folder: &Path) -> Result<()> {
    if folder.is_dir() {
        return Ok(());
    }
    if let Some(parent) = folder.parent() {
        fs::create_dir_all(parent).map_err(PrivateServerError::io("create", parent))?;
    }
    DirBuilder::new()
        .mode(0o700)
        .create(folder)
        .map_err(PrivateServerError::io("create", folder))
}

fn is_to_be_given(found: &Metadata, account: &Account) -> bool {
    account.is_dropped_to && found.uid() != account.uid
}
