//! Paths of trees: who is in whose way, who waits for whom, and what makes way.

mod bad_input;
mod by_model;
mod circles;
mod contention;
mod growth;
mod making_way;
mod model;
mod rules;
mod several;
mod steps;
mod waiting;

use crate::support::Session;

/// Everything above and below is locked too.
const ALL: &str = ", lock_parents => true, lock_children => true";

/// If it is busy, the caller is in line.
const WAIT: &str = ", wait => true";

/// `capture` of a path in SQL, by an owner, and who holds it or is in the way.
fn capture(path: &str, owner: &str, more: &str) -> String {
    format!(
        "select concat_ws(' ', outcome, mutex_id, owner_session) \
         from pgmutex.capture('lab', 'tree', '{path}', '{owner}'{more})"
    )
}

/// The flags as arguments of `capture`.
fn reach(lock_parents: bool, lock_children: bool) -> String {
    format!(", lock_parents => {lock_parents}, lock_children => {lock_children}")
}

/// `capture_all` of paths in SQL, with all above and below, by an owner.
fn capture_all(paths: &[&str], owner: &str, more: &str) -> String {
    let requests: Vec<String> = paths
        .iter()
        .map(|path| format!("{{\"mutex_id\": \"{path}\"}}"))
        .collect();
    format!(
        "select string_agg(concat_ws(' ', outcome, mutex_id, owner_session), ', ') from pgmutex.capture_all('[{}]', \
         '{{\"mutex_group\": \"lab\", \"mutex_mode\": \"tree\", \"owner_session\": \"{owner}\", \
           \"lock_parents\": true, \"lock_children\": true}}'{more})",
        requests.join(", ")
    )
}

/// Another call about a path: `release`, `request`, …
fn about(function: &str, path: &str, owner: &str) -> String {
    format!("{function}('lab', 'tree', '{path}', '{owner}')")
}

/// Neither holds nor places in line.
async fn nothing_is_left(s: &Session) {
    s.run("delete from pgmutex.mutex_model; delete from pgmutex.mutex_waiter")
        .await;
}
