//! I1 under contention: processes that fight over a few mutexes, through SQL and through Rust,
//! around counters that nothing else protects.

use std::{
    env,
    process::{Child, Command, Stdio},
};

use pgmutex::{Error, Mutexes};
use tokio_postgres::{Client, NoTls};

use crate::support::{Database, Travel, both_ways, mutex_id, owner};

/// How often each process enters, and what is fought over.
const ROUNDS: u32 = 90;
const MUTEXES: u32 = 3;

/// In the environment of a contender that was started for a fight: the database, who it is, and
/// whether its calls travel alone.
const DATABASE: &str = "PGMUTEX_TEST_CONTENDER_DATABASE";
const NAME: &str = "PGMUTEX_TEST_CONTENDER_NAME";
const ALONE: &str = "PGMUTEX_TEST_CONTENDER_ALONE";

const ARENA: &str = "
    create table counter (mutex text primary key, value bigint not null);
    insert into counter values ('0', 0), ('1', 0), ('2', 0);
    create table history (step bigserial primary key, mutex text, owner text, token bigint, event text)";

/// The same fight as [`fight`], in SQL alone; reading and writing the counter are transactions of
/// their own.
const SQL_CONTENDER: &str = "
    do $fight$
    declare
        answer pgmutex.hold_outcome;
        seen bigint;
        name text;
    begin
        for round in 0..ROUNDS - 1 loop
            name := (round % 3)::text;
            loop
                answer := pgmutex.capture('tests', 'step', name, owner_session => 'CONTENDER');
                commit;
                exit when answer.outcome = 'captured';
                if answer.outcome <> 'busy' then
                    raise exception 'outcome %', answer.outcome;
                end if;
                perform pg_sleep(0.001);
            end loop;
            insert into history (mutex, owner, token, event) values (name, 'CONTENDER', answer.fencing_token, 'enter');
            commit;
            seen := (select value from counter where mutex = name);
            commit;
            update counter set value = seen + 1 where mutex = name;
            commit;
            insert into history (mutex, owner, token, event) values (name, 'CONTENDER', answer.fencing_token, 'leave');
            commit;
            answer := pgmutex.release('tests', 'step', name, 'CONTENDER');
            commit;
            if answer.outcome <> 'released' then
                raise exception 'release: %', answer.outcome;
            end if;
        end loop;
    end
    $fight$";

async fn fight(mutexes: &Mutexes, arena: &Client, me: &str) {
    for round in 0..ROUNDS {
        let name = (round % MUTEXES).to_string();
        let (id, owner) = (mutex_id(&name), owner(me));
        let captured = loop {
            match mutexes.capture(&id).owner(owner.clone()).await {
                Ok(captured) => break captured,
                Err(Error::Busy { .. }) => tokio::task::yield_now().await,
                Err(error) => panic!("{error}"),
            }
        };
        let token = captured.fencing_token.get();
        let record = "insert into history (mutex, owner, token, event) values ($1, $2, $3, $4)";
        arena
            .execute(record, &[&name, &me, &token, &"enter"])
            .await
            .unwrap();
        let seen: i64 = arena
            .query_one("select value from counter where mutex = $1", &[&name])
            .await
            .unwrap()
            .get(0);
        arena
            .execute(
                "update counter set value = $2 where mutex = $1",
                &[&name, &(seen + 1)],
            )
            .await
            .unwrap();
        arena
            .execute(record, &[&name, &me, &token, &"leave"])
            .await
            .unwrap();
        let released = mutexes.release(&id).owner(owner).await.unwrap();
        assert!(released.is_released());
    }
}

async fn connect(url: &str) -> Client {
    let (client, connection) = tokio_postgres::connect(url, NoTls).await.unwrap();
    tokio::spawn(connection);
    client
}

/// What must be true of a fight: nothing lost, nobody inside with another, tokens in the order of
/// entering.
async fn judge(arena: &Client, contenders: u32) {
    let counted: i64 = arena
        .query_one("select sum(value)::bigint from counter", &[])
        .await
        .unwrap()
        .get(0);
    assert_eq!(counted, i64::from(contenders * ROUNDS), "updates were lost");
    let history = arena
        .query(
            "select mutex, owner, token, event from history order by mutex, step",
            &[],
        )
        .await
        .unwrap();
    assert_eq!(
        history.len(),
        usize::try_from(2 * contenders * ROUNDS).unwrap()
    );
    let mut last: Option<(String, i64)> = None;
    for visit in history.chunks(2) {
        let event = |row: usize| -> (String, String, i64, String) {
            let row = &visit[row];
            (row.get(0), row.get(1), row.get(2), row.get(3))
        };
        let ((mutex, owner, token, entered), left) = (event(0), event(1));
        assert_eq!(entered, "enter");
        assert_eq!(
            left,
            (mutex.clone(), owner, token, "leave".to_owned()),
            "two were inside"
        );
        if let Some((last_mutex, last_token)) = last {
            assert!(
                last_mutex != mutex || token > last_token,
                "tokens ran backwards"
            );
        }
        last = Some((mutex, token));
    }
}

/// One contender: alone when run as a test, among others when started by
/// [`nobody_gets_in_beside_another`].
#[tokio::test]
async fn contender() {
    match (env::var(DATABASE), env::var(NAME)) {
        (Ok(url), Ok(me)) => {
            let travel = match env::var_os(ALONE) {
                Some(_) => Travel::Alone,
                None => Travel::Together,
            };
            let mutexes = travel.mutexes_at(&url).await;
            fight(&mutexes, &connect(&url).await, &me).await;
        }
        _ => {
            let database = Database::fresh().await;
            let arena = database.client().await;
            arena.batch_execute(ARENA).await.unwrap();
            let mutexes = Travel::Together.mutexes(&database).await;
            fight(&mutexes, &arena, "alone").await;
            judge(&arena, 1).await;
        }
    }
}

fn rust_contender(url: &str, me: &str, travel: Travel) -> Child {
    let mut command = Command::new(env::current_exe().unwrap());
    if travel == Travel::Alone {
        command.env(ALONE, "");
    }
    command
        .args(["exclusion::contender", "--exact"])
        .env(DATABASE, url)
        .env(NAME, me)
        .stdout(Stdio::null())
        .spawn()
        .unwrap()
}

fn sql_contender(url: &str, me: &str) -> Child {
    let script = SQL_CONTENDER
        .replace("ROUNDS", &ROUNDS.to_string())
        .replace("CONTENDER", me);
    Command::new("psql")
        .args([
            "-X",
            "-q",
            "-v",
            "ON_ERROR_STOP=1",
            "-d",
            url,
            "-c",
            &script,
        ])
        .spawn()
        .unwrap_or_else(|error| {
            panic!("psql: {error}; install it with `apt-get install postgresql-client`")
        })
}

/// Processes of both kinds.
#[tokio::test]
async fn nobody_gets_in_beside_another() {
    let database = Database::fresh().await;
    let arena = database.client().await;
    arena.batch_execute(ARENA).await.unwrap();
    let mut contenders: Vec<Child> = Vec::new();
    for number in 0..5 {
        let travel = match number % 2 {
            0 => Travel::Together,
            _ => Travel::Alone,
        };
        let me = format!("rust {number}");
        contenders.push(rust_contender(database.url(), &me, travel));
        contenders.push(sql_contender(database.url(), &format!("sql {number}")));
    }
    let count = u32::try_from(contenders.len()).unwrap();
    let ended = tokio::task::spawn_blocking(move || {
        contenders
            .iter_mut()
            .map(|contender| contender.wait().unwrap())
            .collect::<Vec<_>>()
    });
    for status in ended.await.unwrap() {
        assert!(status.success(), "a contender failed: {status}");
    }
    judge(&arena, count).await;
}

both_ways! {
    nobody_gets_in_beside_another_when_holds_run_out
}

/// Tasks of one process that hold by turns and never release: each hold ends because it is aged by
/// its own owner.
async fn nobody_gets_in_beside_another_when_holds_run_out(travel: Travel) {
    let database = Database::fresh().await;
    let mutexes = travel.mutexes(&database).await;
    let arena = database.client().await;
    arena.batch_execute(ARENA).await.unwrap();
    let tasks: Vec<_> = (0..8)
        .map(|number| {
            let (mutexes, url) = (mutexes.clone(), database.url().to_owned());
            tokio::spawn(async move {
                let arena = connect(&url).await;
                let me = format!("task {number}");
                for _ in 0..30 {
                    let id = mutex_id("0");
                    let captured = loop {
                        match mutexes.capture(&id).owner(owner(&me)).await {
                            Ok(captured) => break captured,
                            Err(error) => assert!(error.is_busy(), "{error}"),
                        }
                        tokio::task::yield_now().await;
                    };
                    let token = captured.fencing_token.get();
                    let seen: i64 = arena
                        .query_one("select value from counter where mutex = '0'", &[])
                        .await
                        .unwrap()
                        .get(0);
                    arena
                        .execute("update counter set value = $1 where mutex = '0'", &[&(seen + 1)])
                        .await
                        .unwrap();
                    let aged = arena
                        .execute(
                            "update pgmutex.mutex_model set captured_since = captured_since - interval '1 hour' where fencing_token = $1",
                            &[&token],
                        )
                        .await
                        .unwrap();
                    assert_eq!(aged, 1);
                }
            })
        })
        .collect();
    for task in tasks {
        task.await.unwrap();
    }
    let counted: i64 = arena
        .query_one("select value from counter where mutex = '0'", &[])
        .await
        .unwrap()
        .get(0);
    assert_eq!(counted, 8 * 30);
}
