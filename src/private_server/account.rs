//! Which user the server runs as.
//!
//! PostgreSQL refuses to run as root, so a program that is root starts it as another user.
//! Everything in the folders of that user is then done by processes of that user. Root itself only
//! moves a finished template into place, by a rename, so no link planted there can make root write
//! elsewhere.

use std::ffi::OsStr;
use std::fs;
use std::os::unix::process::CommandExt;
use std::process::{Command, Stdio};

use super::error::{PrivateServerError, Result};

const ROOT: u32 = 0;

/// Whom root starts the server as: the first of them that exists.
const SERVER_USERS: [&str; 2] = ["postgres", "nobody"];

#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Account {
    pub(super) name: String,
    pub(super) uid: u32,
    pub(super) gid: u32,
    /// The program is root and has to become this user.
    pub(super) is_dropped_to: bool,
}

impl Account {
    /// The user of a server whose data nobody owns yet.
    pub(super) fn of_new_server() -> Result<Self> {
        let own = own_uid()?;
        let passwd = fs::read_to_string("/etc/passwd").unwrap_or_default();
        if own != ROOT {
            return Ok(Self::found(&passwd, own));
        }
        SERVER_USERS
            .iter()
            .find_map(|name| user(&passwd, |candidate| candidate.name == *name))
            .map(|user| Self {
                is_dropped_to: true,
                ..user
            })
            .ok_or(PrivateServerError::NoServerUser)
    }

    /// The user of a server whose data has an owner: PostgreSQL serves data to nobody else.
    pub(super) fn owning(self, owner: u32, group: u32) -> Self {
        if !self.is_dropped_to || owner == ROOT || owner == self.uid {
            return self;
        }
        let passwd = fs::read_to_string("/etc/passwd").unwrap_or_default();
        Self {
            gid: group,
            is_dropped_to: true,
            ..Self::found(&passwd, owner)
        }
    }

    fn found(passwd: &str, uid: u32) -> Self {
        let unnamed = Self {
            name: format!("#{uid}"),
            uid,
            gid: uid,
            is_dropped_to: false,
        };
        user(passwd, |candidate| candidate.uid == uid).unwrap_or(unnamed)
    }

    /// A command that runs as this user, in a folder everybody can read, and undisturbed by
    /// settings meant for clients (PGPORT and so on would be obeyed by the server as well).
    pub(super) fn command(&self, program: impl AsRef<OsStr>) -> Command {
        let mut command = Command::new(program);
        for (name, _) in std::env::vars_os() {
            if name.as_encoded_bytes().starts_with(b"PG") {
                command.env_remove(name);
            }
        }
        // Messages in English, because some are recognised; UTC, because initdb writes the time
        // zone down and the result is shared.
        command
            .env("LC_ALL", "C")
            .env("TZ", "UTC")
            .current_dir("/")
            .stdin(Stdio::null());
        if self.is_dropped_to {
            // The supplementary groups of root go as well: `uid` sees to that.
            command.uid(self.uid).gid(self.gid).env_remove("HOME");
        }
        command
    }

    /// A script for the shell, run as this user. Its arguments follow: `$1` and so on.
    pub(super) fn shell(&self, script: &str) -> Command {
        let mut command = self.command("/bin/sh");
        command.args(["-c", script, "sh"]);
        command
    }

    /// For `map_err`: that this user cannot run the program.
    pub(super) fn cannot_run(
        &self,
        program: impl Into<String>,
    ) -> impl FnOnce(std::io::Error) -> PrivateServerError {
        let (program, user) = (program.into(), self.name.clone());
        move |source| PrivateServerError::Run {
            program,
            user,
            source,
        }
    }
}

/// The standard library does not tell; `id` is part of every Unix.
fn own_uid() -> Result<u32> {
    let cannot_run = |source| PrivateServerError::Run {
        program: "id -u".into(),
        user: "(current)".into(),
        source,
    };
    let output = Command::new("id").arg("-u").output().map_err(cannot_run)?;
    let text = String::from_utf8_lossy(&output.stdout);
    text.trim()
        .parse()
        .map_err(|_| cannot_run(std::io::Error::other(format!("it said {text:?}"))))
}

/// The first line of a passwd file, `name:password:uid:gid:…`, that is wanted.
fn user(passwd: &str, is_wanted: impl Fn(&Account) -> bool) -> Option<Account> {
    passwd
        .lines()
        .filter_map(parse)
        .find(|account| is_wanted(account))
}

fn parse(line: &str) -> Option<Account> {
    let mut fields = line.split(':');
    let name = fields.next()?.to_owned();
    let uid = id_number(fields.nth(1)?)?;
    let gid = id_number(fields.next()?)?;
    Some(Account {
        name,
        uid,
        gid,
        is_dropped_to: false,
    })
}

/// macOS writes the ids of `nobody` as -2.
fn id_number(text: &str) -> Option<u32> {
    text.parse()
        .ok()
        .or_else(|| text.parse::<i32>().ok().map(i32::cast_unsigned))
}

#[cfg(test)]
mod tests {
    use super::*;

    const PASSWD: &str = "root:x:0:0:root:/root:/bin/bash\n# a \
                          comment\nbroken:x:one:two::/:\nnobody:*:-2:-2:Unprivileged \
                          User:/var/empty:/usr/bin/false\npostgres:x:101:104:,,,:/var/lib/\
                          postgresql:/bin/bash\n";

    #[test]
    fn users_are_found_by_name_and_number() {
        let postgres = user(PASSWD, |user| user.name == "postgres").unwrap();
        assert_eq!((postgres.uid, postgres.gid), (101, 104));
        assert_eq!(user(PASSWD, |user| user.uid == 101), Some(postgres));
        assert_eq!(
            user(PASSWD, |user| user.name == "nobody").unwrap().uid,
            u32::MAX - 1
        );
        assert_eq!(user(PASSWD, |user| user.name == "broken"), None);
    }

    #[test]
    fn users_without_an_entry_are_named_by_their_number() {
        let account = Account::found(PASSWD, 7);
        assert_eq!(
            (account.name.as_str(), account.uid, account.is_dropped_to),
            ("#7", 7, false)
        );
    }
}
