//! What is wanted of a mutex: alone or shared, and for how long.

use std::time::Duration;

use chrono::{DateTime, Utc};
use clap::Args;

use super::{duration, mutex_name::MutexName};
use crate::domain::{Access, AutoRelease, Reach, Wish};

/// Alone or shared; and of a path of a tree, what is locked beside it.
#[derive(Debug, Args)]
pub(super) struct Wanted {
    /// Share it with others who do: a read/write lock's reader
    #[arg(long)]
    shared: bool,

    /// Take one of so many permits: a counting semaphore
    #[arg(long, value_name = "N", conflicts_with = "shared", value_parser = clap::value_parser!(u32).range(1..))]
    permits: Option<u32>,

    /// Of a path of a tree (an id that begins and ends with a slash): lock the paths above it, too
    #[arg(long)]
    lock_parents: bool,

    /// Of a path of a tree: lock the paths below it, too
    #[arg(long)]
    lock_children: bool,
}

impl Wanted {
    pub(super) fn wish(&self, name: &MutexName) -> Wish {
        let access = match (self.shared, self.permits) {
            (_, Some(permits)) => Access::permit_of(permits),
            (true, None) => Access::shared(),
            (false, None) => Access::Exclusive,
        };
        Wish {
            id: name.id().clone(),
            access,
            reach: Reach {
                parents: self.lock_parents,
                children: self.lock_children,
            },
        }
    }
}

/// The rule that ends a hold by itself.
#[derive(Debug, Args)]
#[group(multiple = false)]
pub(super) struct Until {
    /// Over when this time has passed since the capture or the last refresh [default: 5m]
    #[arg(long, value_name = "DURATION", value_parser = duration::parse)]
    timeout: Option<Duration>,

    /// Over at this moment, such as 2030-01-31T12:00:00Z
    #[arg(long, value_name = "TIME", value_parser = moment)]
    deadline: Option<DateTime<Utc>>,

    /// Never over by itself
    #[arg(long)]
    never: bool,

    /// Over when programs that know this custom rule say so: CODE or CODE:CONFIG
    #[arg(long, value_name = "CODE", value_parser = custom)]
    rule: Option<AutoRelease>,
}

impl Until {
    pub(super) fn rule(&self) -> Option<AutoRelease> {
        let timeout = self.timeout.map(AutoRelease::Timeout);
        timeout
            .or(self.deadline.map(AutoRelease::Deadline))
            .or(self.never.then_some(AutoRelease::Never))
            .or(self.rule.clone())
    }
}

fn moment(text: &str) -> Result<DateTime<Utc>, String> {
    DateTime::parse_from_rfc3339(text)
        .map(|time| time.to_utc())
        .map_err(|error| format!("{error}: write it as in 2030-01-31T12:00:00Z"))
}

fn custom(text: &str) -> Result<AutoRelease, String> {
    let (code, config) = text.split_once(':').unwrap_or((text, ""));
    match AutoRelease::restore(code, config) {
        rule @ AutoRelease::Custom { .. } => Ok(rule),
        _ => Err(format!(
            "{code:?} is a built-in rule: say --timeout, --deadline or --never"
        )),
    }
}
