//! Data folders as `initdb` makes them, made once and copied for every new server.
//!
//! `initdb` takes more than a second, a copy a fraction of it. A template is made in the run folder
//! of the first server that needs it and moved into place by a rename: it is complete, or it is not
//! there. When that server's program dies halfway, the half of a template goes with the run folder.

use std::fs;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::path::{Path, PathBuf};

use super::account::Account;
use super::binaries::Installation;
use super::error::{PrivateServerError, Result};
use super::folder::{PrivateFolder, is_good_template};
use super::keeper::Keeper;
use super::log;

/// To be raised when templates are made in another way than before.
const FORMAT: u32 = 1;

/// Where the template of this installation is, or will be. Different builds of one version differ
/// in what they can read, so the place of the programs is part of the name.
pub(super) fn place(folder: &PrivateFolder, installation: &Installation) -> PathBuf {
    let mut hasher = DefaultHasher::new();
    (&installation.version, &installation.bin_dir).hash(&mut hasher);
    folder.path().join(format!(
        "template-{FORMAT}-{}-{:016x}",
        installation.major,
        hasher.finish()
    ))
}

/// Fills the data folder of a new server with a copy of the template.
pub(super) fn copy(
    template: &Path,
    data: &Path,
    folder: &PrivateFolder,
    keeper: &mut Keeper,
    account: &Account,
) -> Result<()> {
    // Held until the copy is made, so that nobody removes the template meanwhile.
    let mut claim = folder.share()?;
    if !is_good_template(template) {
        drop(claim);
        claim = folder.own()?;
        folder.sweep(account)?;
        // Whoever owned the folder before may have made it.
        if !is_good_template(template) {
            make(template, data, keeper, account)?;
        }
    }
    let is_copied = keeper.copy_template()?;
    drop(claim);
    if is_copied {
        Ok(())
    } else {
        Err(not_prepared(data, keeper, account))
    }
}

fn make(template: &Path, data: &Path, keeper: &mut Keeper, account: &Account) -> Result<()> {
    initdb(data, false, keeper, account)?;
    match fs::rename(data, template) {
        // On a file system without locks, another one may have been quicker; the copy replaces what
        // lies in `data`.
        Err(_) if is_good_template(template) => Ok(()),
        renamed => renamed.map_err(PrivateServerError::io("move the new template to", template)),
    }
}

/// Fills a data folder the long way. `is_durable`: so that a power cut loses nothing of it.
pub(super) fn initdb(
    data: &Path,
    is_durable: bool,
    keeper: &mut Keeper,
    account: &Account,
) -> Result<()> {
    if keeper.initdb(is_durable)? {
        Ok(())
    } else {
        Err(not_prepared(data, keeper, account))
    }
}

fn not_prepared(data: &Path, keeper: &Keeper, account: &Account) -> PrivateServerError {
    PrivateServerError::DataNotPrepared {
        folder: data.to_owned(),
        user: account.name.clone(),
        log: log::tail(&keeper.preparation_log(), 0),
    }
}
