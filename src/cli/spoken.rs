//! Holds and refusals in words.

use chrono::{DateTime, Utc};
use serde::Serialize;

use super::{Failure, Output, duration, mutex_name::written, printable::printable, say};
use crate::{
    domain::{Error, Mutex, MutexOwner},
    json::Hold,
};

/// What became of a mutex, as JSON.
#[derive(Debug, Serialize)]
struct Answer<'a> {
    outcome: &'a str,
    hold: Option<Hold>,
}

/// Prints what became of a mutex.
pub(super) fn answer(output: &mut Output, outcome: &str, mutex: &Mutex) -> Result<(), Failure> {
    if output.is_json {
        let hold = Some(Hold::from(mutex));
        return output.json(&Answer { outcome, hold });
    }
    output.line(&format!("{outcome} {}", written(&mutex.id)))?;
    output.fields(&hold(mutex, mutex.captured_since))
}

/// Prints that nothing is held.
pub(super) fn no_hold(output: &mut Output, outcome: &str, name: &str) -> Result<(), Failure> {
    match output.is_json {
        true => output.json(&Answer {
            outcome,
            hold: None,
        }),
        false => output.line(&format!("{outcome} {name}")),
    }
}

/// Prints a refusal as JSON, if that is what is printed; the message goes to standard error all the
/// same.
pub(super) fn refusal(output: &mut Output, error: &Error) -> Result<(), Failure> {
    let (outcome, holder) = match error {
        Error::Busy { holder, .. } => ("busy", Some(holder)),
        Error::Timeout { holder, .. } => ("timeout", holder.as_ref()),
        Error::Lost { .. } => ("lost", None),
        _ => return Ok(()),
    };
    if output.is_json {
        let hold = holder.map(|holder| Hold::from(&**holder));
        output.json(&Answer { outcome, hold })?;
    }
    Ok(())
}

/// A hold, in names and values.
pub(super) fn hold(mutex: &Mutex, now: DateTime<Utc>) -> Vec<(&'static str, String)> {
    let (rule, config) = mutex.auto_release.dump();
    let (rule, config) = (printable(&rule), printable(&config));
    let rule = match (rule.as_str(), config.as_str()) {
        ("" | "never", _) => "never".to_owned(),
        ("timeout", seconds) => format!("timeout {seconds}s"),
        (rule, "") => rule.to_owned(),
        (rule, config) => format!("{rule} {config}"),
    };
    let access = match (mutex.permit, mutex.permits) {
        (permit @ 1.., Some(permits)) => format!("shared, permit {permit} of {permits}"),
        _ => access(mutex),
    };
    vec![
        ("holder", owner(&mutex.owner)),
        ("session", printable(mutex.owner.session_id())),
        ("access", access),
        ("token", mutex.fencing_token.to_string()),
        ("since", moment(mutex.held_since, now)),
        ("rule", rule),
        (
            "until",
            mutex
                .expires_at
                .map(|end| until(end, now))
                .unwrap_or_default(),
        ),
        (
            "status",
            printable(mutex.status_data.as_deref().unwrap_or_default()),
        ),
    ]
}

/// Who it is, for people.
pub(super) fn owner(owner: &MutexOwner) -> String {
    let who = [
        owner.name(),
        owner.login(),
        owner.user_id(),
        owner.session_id(),
    ];
    let who = who
        .into_iter()
        .find(|part| !part.is_empty())
        .unwrap_or_default();
    match owner.host() {
        "" => printable(who),
        host => printable(&format!("{who} on {host}")),
    }
}

/// Who is in the way, and since when. Not by which session: more people read messages than rows.
pub(super) fn in_the_way(mutex: &Mutex) -> String {
    let who = match owner(&mutex.owner) {
        session if session == printable(mutex.owner.session_id()) => "somebody".to_owned(),
        who => who,
    };
    let since = mutex.held_since.format("%Y-%m-%d %H:%M:%S UTC");
    match mutex.fencing_token.get() {
        0 => format!("waited for by {who} since {since}"),
        _ => format!("held by {who} since {since}"),
    }
}

/// Alone or shared, in one word.
pub(super) fn access(mutex: &Mutex) -> String {
    match (mutex.permit, mutex.permits) {
        (0, _) => "exclusive".to_owned(),
        (_, None) => "shared".to_owned(),
        (permit, Some(permits)) => format!("{permit}/{permits}"),
    }
}

/// How long a hold will last, if nobody refreshes it.
pub(super) fn left(mutex: &Mutex, now: DateTime<Utc>) -> String {
    match mutex.expires_at {
        Some(end) if end >= DateTime::<Utc>::MAX_UTC => "never".to_owned(),
        Some(end) if end < now => "over".to_owned(),
        Some(end) => duration::spoken(end - now),
        None => match mutex.auto_release.dump().0.as_str() {
            "" => "never".to_owned(),
            rule => printable(rule),
        },
    }
}

pub(super) fn moment(time: DateTime<Utc>, now: DateTime<Utc>) -> String {
    let ago = duration::spoken(now - time);
    match ago.as_str() {
        "0s" => time.format("%Y-%m-%d %H:%M:%S UTC").to_string(),
        _ => format!("{} ({ago} ago)", time.format("%Y-%m-%d %H:%M:%S UTC")),
    }
}

fn until(end: DateTime<Utc>, now: DateTime<Utc>) -> String {
    if end >= DateTime::<Utc>::MAX_UTC {
        return "the end of time".to_owned();
    }
    let left = duration::spoken(end - now);
    format!("{} ({left} left)", end.format("%Y-%m-%d %H:%M:%S UTC"))
}

/// Notes what a command's user should know beside its answer.
pub(super) fn evicted(name: &str, session: &str) {
    say(&format!(
        "a hold that was over made way: {} ({}) may have left things half done",
        printable(name),
        printable(session)
    ));
}
