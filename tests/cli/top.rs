//! `pgmutex top`, on terminals.

use crate::{
    program::run,
    screen::OnTerminal,
    support::{Database, Session},
};

/// The sequences that take another screen and give the first one back.
const ENTERS: &str = "\u{1b}[?1049h";
const LEAVES: &str = "\u{1b}[?1049l";

async fn hold(session: &Session, id: &str, owner: &str) {
    let name = format!("owner_name => '{owner}', auto_release_config => '3000'");
    assert_eq!(session.capture_as(id, owner, &name).await, "captured");
}

/// Everything that follows when a program has given back the terminal.
fn after(written: &str) -> &str {
    assert_eq!(written.matches(ENTERS).count(), 1, "{written:?}");
    let (_, after) = written
        .split_once(LEAVES)
        .expect("the terminal is given back");
    after
}

#[tokio::test]
async fn a_hold_of_another_program_is_shown_and_the_terminal_is_given_back() {
    let database = Database::fresh().await;
    let session = database.session().await;
    hold(&session, "one", "Ada").await;
    let mut top = OnTerminal::start(database.url(), "top --interval 100ms", 80, 24);
    top.shows("tests/step/one");
    top.shows("Ada");
    // It goes on looking.
    hold(&session, "two", "Grace").await;
    top.shows("tests/step/two");
    top.press("/");
    top.shows("/_");
    top.press("grace\r");
    top.shows("filter: grace");
    top.press("\r");
    top.shows("session  Grace");
    top.press("q");
    let written = top.ends();
    assert!(after(&written).contains("as before, code 0"), "{written:?}");
}

#[tokio::test]
async fn the_hold_that_is_selected_is_taken_away_once_confirmed_and_no_other() {
    let database = Database::fresh().await;
    let session = database.session().await;
    hold(&session, "one", "Ada").await;
    hold(&session, "two", "Grace").await;
    let mut top = OnTerminal::start(database.url(), "top --interval 100ms", 40, 10);
    top.shows("Grace");
    // Down, to the second.
    top.press("\u{1b}[B");
    top.press("kstuck\r");
    top.shows("y/n?");
    let held = "select string_agg(mutex_id, ' ' order by mutex_id) from pgmutex.held";
    assert_eq!(session.ask(held).await, "one two");
    top.press("y");
    top.shows("released");
    assert_eq!(session.ask(held).await, "one");
    // Control-C, as a terminal in raw mode sends it.
    top.press("\u{3}");
    assert!(after(&top.ends()).contains("as before, code 0"));
}

#[tokio::test]
async fn a_hold_that_came_since_it_was_asked_is_not_taken_away() {
    let database = Database::fresh().await;
    let session = database.session().await;
    hold(&session, "one", "Ada").await;
    let mut top = OnTerminal::start(database.url(), "top --interval 100ms", 80, 24);
    top.shows("Ada");
    top.press("kstuck\r");
    top.shows("y/n?");
    assert_eq!(session.release("one", "Ada").await, "released");
    hold(&session, "one", "Grace").await;
    top.shows("Grace");
    top.press("y");
    top.shows("gone already");
    let holder = "select string_agg(owner_name, ' ') from pgmutex.held";
    assert_eq!(session.ask(holder).await, "Grace");
    top.press("q");
    assert!(after(&top.ends()).contains("as before, code 0"));
}

#[tokio::test]
async fn who_may_not_take_away_is_told_and_nothing_is_changed() {
    let database = Database::fresh().await;
    let session = database.session().await;
    hold(&session, "one", "Ada").await;
    let (role, url) = database.role("").await;
    let functions = "pgmutex.list, pgmutex.list_waiting, pgmutex.ensure_generation";
    session
        .run(&format!(
            "grant usage on schema pgmutex to {role}; grant select on all tables in schema pgmutex to {role}; \
             grant execute on function {functions} to {role}"
        ))
        .await;
    let mut top = OnTerminal::start(&url, "top", 80, 24);
    top.shows("Ada");
    top.press("kwhy\ry");
    top.shows("is not released");
    top.shows("pgmutex grant");
    let held = "select string_agg(mutex_id, ' ') from pgmutex.held";
    assert_eq!(session.ask(held).await, "one");
    top.press("q");
    assert!(after(&top.ends()).contains("as before, code 0"));
    let drop_role = format!("drop owned by {role} cascade; drop role {role}");
    session.run(&drop_role).await;
}

#[tokio::test]
async fn a_database_that_cannot_be_asked_is_asked_again() {
    let database = Database::fresh().await;
    let session = database.session().await;
    hold(&session, "one", "Ada").await;
    let mut top = OnTerminal::start(database.url(), "top --interval 100ms", 80, 24);
    top.shows("Ada");
    session.run("alter schema pgmutex rename to away").await;
    top.shows("not as of now, trying again");
    session.run("alter schema away rename to pgmutex").await;
    hold(&session, "two", "Grace").await;
    top.shows("tests/step/two");
    top.press("q");
    assert!(after(&top.ends()).contains("as before, code 0"));
}

#[tokio::test]
async fn a_signal_gives_the_terminal_back_too() {
    let database = Database::fresh().await;
    let session = database.session().await;
    hold(&session, "one", "Ada").await;
    let top = OnTerminal::start(database.url(), "top", 80, 24);
    top.shows("Ada");
    top.signal("-TERM");
    assert!(after(&top.ends()).contains("as before, code 143"));
}

#[tokio::test]
async fn without_a_terminal_it_says_what_to_use_instead() {
    let database = Database::fresh().await;
    let refused = run(database.url(), &["top"]);
    assert_eq!(refused.code, Some(2));
    assert!(refused.said.contains("pgmutex list --watch"), "{refused:?}");
    let refused = run(database.url(), &["top", "--json"]);
    assert_eq!(refused.code, Some(2));
    assert!(refused.said.contains("list --json"), "{refused:?}");
}
