//! Six processes of the application and six that use this library want the same mutexes. Some forget
//! to release, some are killed. Never do two hold one.

use std::{
    env,
    process::{Child, Command, Stdio},
    time::Duration,
};

use pgmutex::{MutexId, MutexOwner, Mutexes};
use serde_json::json;
use tokio::time::timeout;
use tokio_postgres::Client;

use crate::{
    history::{self, history, violations},
    support::{Application, Clock, Database, connect},
};

const PROCESSES: u32 = 6;
const ROUNDS: u32 = 200;
const MUTEXES: u32 = 20;

/// How long they may take to start before the test is considered hung. Not a measure of anything.
const HUNG: Duration = Duration::from_secs(300);

/// In the environment of a contender that was started for this: the database, and who it is.
const DATABASE: &str = "PGMUTEX_TEST_CONTENDER_DATABASE";
const NAME: &str = "PGMUTEX_TEST_CONTENDER_NAME";

/// What `contend` of the application does, with this library.
async fn contend(mutexes: &Mutexes, client: &Client, name: &str, rounds: u32) {
    let mut captured = 0;
    let mut dice = name
        .bytes()
        .fold(17_u32, |dice, byte| dice.wrapping_mul(31) ^ u32::from(byte));
    let mut throw = || {
        dice = dice.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        dice >> 8
    };
    while captured < rounds {
        let which = (throw() % MUTEXES).to_string();
        let id = MutexId::new("tests", "step", which.as_str()).unwrap();
        let session = format!("{name} {captured}");
        let owner = MutexOwner::new(session.as_str()).unwrap();
        let capture = mutexes.capture(&id).owner(owner.clone());
        match capture.timeout(Duration::from_secs(1)).await {
            Ok(_) => captured += 1,
            Err(error) if error.is_busy() => continue,
            Err(error) => panic!("{error}"),
        }
        let begins = "select 1 from history_begins($1, $2)";
        client.execute(begins, &[&which, &session]).await.unwrap();
        if throw() % 32 == 0 {
            continue;
        }
        let ends = "select 1 from history_ends($1)";
        client.execute(ends, &[&session]).await.unwrap();
        match mutexes.release(&id).owner(owner).await {
            Ok(_) => {}
            // Its time was up.
            Err(error) if error.is_busy() => {}
            Err(error) => panic!("{error}"),
        }
    }
}

/// One contender: alone when run as a test, among others when started by the test below.
#[tokio::test]
async fn contender() {
    match (env::var(DATABASE), env::var(NAME)) {
        (Ok(url), Ok(name)) => {
            let mutexes = Mutexes::connect(&url).await.unwrap();
            contend(&mutexes, &connect(&url).await, &name, ROUNDS).await;
        }
        _ => {
            let database = Database::migrated().await;
            let client = database.client().await;
            client.batch_execute(history::TABLE).await.unwrap();
            contend(&database.mutexes().await, &client, "alone", 20).await;
            let history = history(&client).await;
            assert_eq!(history.len(), 20);
            assert_eq!(violations(&history), Vec::<String>::new());
        }
    }
}

fn start_contender(database: &Database, name: &str) -> Child {
    Command::new(env::current_exe().unwrap())
        .args(["contention::contender", "--exact"])
        .env(DATABASE, database.url())
        .env(NAME, name)
        .stdout(Stdio::null())
        .spawn()
        .unwrap()
}

async fn count(client: &Client, query: &str) -> i64 {
    client.query_one(query, &[]).await.unwrap().get(0)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn never_do_two_hold_a_mutex() {
    // How often mutexes pass from one kind to the other is up to chance: if there is too little of it,
    // there is another fight.
    for _ in 0..5 {
        if passed_on_in_a_fight().await > 100 {
            return;
        }
    }
    panic!("the two kinds hardly meet");
}

/// A fight in which never two hold a mutex. Says how often one passed from one kind to the other or
/// back.
async fn passed_on_in_a_fight() -> usize {
    let database = Database::with_view().await;
    let (client, mut starter) = (database.client().await, database.client().await);
    client.batch_execute(history::TABLE).await.unwrap();
    // Nobody gets beyond its first capture before all are there.
    let start = starter.transaction().await.unwrap();
    start
        .batch_execute("lock table history in share mode")
        .await
        .unwrap();

    let mut applications: Vec<Application> = (0..PROCESSES)
        .map(|number| {
            let mut application = Application::start(&database, Clock::NAIVE);
            application.tell(&json!({
                "do": "contend", "name": format!("django {number}"), "rounds": ROUNDS, "mutexes": MUTEXES, "seed": number
            }));
            application
        })
        .collect();
    let mut programs: Vec<Child> = (0..PROCESSES)
        .map(|number| start_contender(&database, &format!("rust {number}")))
        .collect();

    let at_the_start = "select count(distinct l.pid) from pg_locks l, pg_database d, pg_sleep(0.01) \
                        where l.relation = 'history'::regclass and not l.granted \
                          and l.database = d.oid and d.datname = current_database()";
    let all_are_there =
        async { while count(&client, at_the_start).await < i64::from(2 * PROCESSES) {} };
    timeout(HUNG, all_are_there)
        .await
        .expect("some do not come");
    start.commit().await.unwrap();

    // Killed in the midst of it: once each has captured something, and the same once more.
    for kind in ["django 0", "rust 0", "django 1", "rust 1"] {
        let has_captured =
            format!("select count(*) from history, pg_sleep(0.01) where owner like '{kind} %'");
        while count(&client, &has_captured).await < i64::from(ROUNDS / 10) {
            for program in programs.iter_mut().skip(2) {
                let status = program.try_wait().unwrap();
                assert!(status.is_none_or(|status| status.success()), "{status:?}");
            }
        }
        let number = usize::from(kind.ends_with('1'));
        match kind.starts_with("django") {
            true => applications[number].kill(),
            false => {
                programs[number].kill().unwrap();
                programs[number].wait().unwrap();
            }
        }
    }
    let ended = tokio::task::spawn_blocking(move || {
        let answers: Vec<_> = applications[2..]
            .iter_mut()
            .map(Application::answer)
            .collect();
        let statuses: Vec<_> = programs[2..]
            .iter_mut()
            .map(|program| program.wait().unwrap())
            .collect();
        (answers, statuses)
    });
    let (answers, statuses) = ended.await.unwrap();
    for answer in answers {
        assert_eq!(answer, json!({ "done": ROUNDS }));
    }
    assert!(
        statuses.iter().all(|status| status.success()),
        "{statuses:?}"
    );

    let history = history(&client).await;
    assert_eq!(violations(&history), Vec::<String>::new());
    for kind in ["django", "rust"] {
        let holds = history.iter().filter(|held| held.owner.starts_with(kind));
        // A few may have ended before their holders could note that they had begun.
        assert!(holds.count() > 700, "{kind}");
    }
    let passed_on = history
        .windows(2)
        .filter(|pair| pair[0].mutex == pair[1].mutex && pair[0].owner[..4] != pair[1].owner[..4]);
    passed_on.count()
}
