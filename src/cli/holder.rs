//! Who holds, where the program captures.

use clap::Args;

use super::{Failure, printable::printable};
use crate::{domain::MutexOwner, random};

/// The owner that a command speaks for.
#[derive(Debug, Args)]
pub(super) struct Holder {
    /// The owner session: whoever knows it can refresh and release what it holds
    #[arg(
        long,
        value_name = "SESSION",
        env = "PGMUTEX_OWNER_SESSION",
        hide_env_values = true
    )]
    session: Option<String>,

    #[command(flatten)]
    person: Person,
}

/// The owner's part that people read.
#[derive(Debug, Args)]
pub(super) struct Person {
    /// The owner's name, for people [default: the login]
    #[arg(long, value_name = "NAME")]
    name: Option<String>,

    /// The owner's user id
    #[arg(long, value_name = "ID", default_value = "")]
    user_id: String,
}

impl Holder {
    /// The owner; one that nobody else is, if no session was said.
    pub(super) fn owner(&self) -> Result<MutexOwner, Failure> {
        match &self.session {
            Some(session) => self.person.with_session(session.clone()),
            None => self.person.owner(),
        }
    }

    /// The owner of a hold that is there already, which must have been said.
    pub(super) fn known_owner(&self) -> Result<MutexOwner, Failure> {
        let session = self.session.clone().ok_or_else(|| {
            Failure::usage("say whose hold is meant: with --session, or with PGMUTEX_OWNER_SESSION; `pgmutex capture` prints it")
        })?;
        self.person.with_session(session)
    }
}

impl Person {
    /// An owner that nobody else is.
    pub(super) fn owner(&self) -> Result<MutexOwner, Failure> {
        self.with_session(session_of_nobody_else())
    }

    fn with_session(&self, session: String) -> Result<MutexOwner, Failure> {
        let login = login();
        let name = self.name.clone().unwrap_or_else(|| login.clone());
        let owner = MutexOwner::new(session)?
            .with_login(login)?
            .with_name(name)?
            .with_host(host())?
            .with_user_id(self.user_id.clone())?;
        Ok(owner)
    }
}

/// A session that nobody else has.
fn session_of_nobody_else() -> String {
    let number = u64::from_ne_bytes(random::bytes());
    format!("{}/{number:016x}", who())
}

/// An owner that holds nothing, to ask as.
pub(super) fn nobody() -> Result<MutexOwner, Failure> {
    Ok(MutexOwner::new(session_of_nobody_else())?)
}

/// Who runs the program, and where, for people.
pub(super) fn who() -> String {
    printable(&format!("{}@{}", login(), host()))
}

/// Who runs the program, as far as the environment says.
fn login() -> String {
    let named = ["LOGNAME", "USER", "USERNAME"]
        .iter()
        .find_map(|name| std::env::var(name).ok().filter(|login| !login.is_empty()));
    #[cfg(unix)]
    let named = named.or_else(|| {
        let user = nix::unistd::User::from_uid(nix::unistd::getuid()).ok()??;
        Some(user.name)
    });
    named.unwrap_or_default()
}

fn host() -> String {
    #[cfg(unix)]
    let host = nix::unistd::gethostname()
        .ok()
        .and_then(|name| name.into_string().ok());
    #[cfg(not(unix))]
    let host = std::env::var("COMPUTERNAME").ok();
    host.unwrap_or_default()
}
