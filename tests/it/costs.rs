//! What a decision costs, in things that can be counted: records in the write-ahead log, pages touched, and functions called. None of it is
//! a time, so it is the same on a busy machine. (That each is one round trip is tested among the unknown outcomes.)

use pgmutex::private_server::PrivatePostgres;

use crate::support::{Database, Session, run_in_private_server, session_at};

/// What the server counts while it works on one call.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Cost {
    wal_records: u64,
    pages: u64,
}

/// The cost of one call, without the record of its commit.
async fn cost(session: &Session, call: &str) -> Cost {
    let plan = session
        .ask(&format!(
            "select string_agg(line, ' ') from cost_of($$select outcome from pgmutex.{call}$$) line"
        ))
        .await;
    let counted = |name: &str| {
        plan.split_once(name).map_or(0, |(_, rest)| {
            let digits = rest.split(|c: char| !c.is_ascii_digit()).next();
            digits.unwrap().parse().unwrap()
        })
    };
    Cost {
        wal_records: counted("WAL: records="),
        pages: counted("shared hit=") + counted(" read="),
    }
}

/// A server that writes nothing by itself, and a session on it that can count.
async fn quiet_server() -> (PrivatePostgres, Session) {
    let builder = PrivatePostgres::builder()
        .setting("autovacuum", "off")
        .setting("full_page_writes", "off");
    let (server, _) = run_in_private_server(builder).await;
    let session = session_at(&server.url("postgres")).await;
    session
        .run(
            "create function cost_of(query text) returns setof text language plpgsql as $$ begin \
             return query execute 'explain (analyze, wal, buffers, costs off, timing off, summary off) ' || query; end $$",
        )
        .await;
    // What a session does for the first time, and plans that are made anew a few times, cost more.
    for n in 0..12 {
        warm_up(&session, n).await;
    }
    (server, session)
}

async fn warm_up(session: &Session, n: u32) {
    for call in [
        format!("capture('warm', 'up', '{n}', 's')"),
        format!("capture('warm', 'up', '{n}', 't')"),
        format!("refresh('warm', 'up', '{n}', 's')"),
        format!("release('warm', 'up', '{n}', 's')"),
        format!("release('warm', 'up', '{n}', 's')"),
    ] {
        cost(session, &call).await;
    }
}

/// The cheapest of some calls that do the same: now and then one of them tidies a page up, or reserves the next fencing tokens.
async fn cheapest(session: &Session, call: impl Fn(u32) -> String) -> Cost {
    let mut costs = Vec::new();
    for n in 0..10 {
        costs.push(cost(session, &call(n)).await);
    }
    costs.into_iter().min().unwrap()
}

#[tokio::test]
async fn no_decision_logs_more_than_its_row_and_the_row_s_index_entries() {
    let (_server, session) = quiet_server().await;
    // The row, its three index entries, and that it was in nobody's way (which is what `on conflict` adds).
    let captured = cheapest(&session, |n| format!("capture('g', 'm', '{n}', 's')")).await;
    assert_eq!(captured.wal_records, 5);
    // The row, and nothing else: its index entries go on pointing to it.
    let refreshed = cheapest(&session, |n| format!("refresh('g', 'm', '{n}', 's')")).await;
    assert_eq!(refreshed.wal_records, 1);
    let again = cheapest(&session, |n| format!("capture('g', 'm', '{n}', 's')")).await;
    assert_eq!(again.wal_records, 1);
    // The lock that does not wait for a fence, and the row.
    let released = cheapest(&session, |n| format!("release('g', 'm', '{n}', 's')")).await;
    assert_eq!(released.wal_records, 2);
}

#[tokio::test]
async fn a_refusal_writes_nothing_and_takes_no_transaction_id() {
    let (_server, session) = quiet_server().await;
    for n in 0..10 {
        let captured = session
            .outcome(&format!("capture('g', 'm', '{n}', 's')"))
            .await;
        assert_eq!(captured, "captured");
    }
    for refused in ["capture", "refresh", "release"] {
        let call = |n| format!("{refused}('g', 'm', '{n}', 'another')");
        assert_eq!(
            cheapest(&session, call).await.wal_records,
            0,
            "{refused} of what another has"
        );
        session.run("begin").await;
        assert_eq!(session.outcome(&call(0)).await, "busy");
        let assigned = "select coalesce(pg_current_xact_id_if_assigned()::text, 'none')";
        assert_eq!(session.ask(assigned).await, "none", "{refused}");
        session.run("commit").await;
    }
}

/// As long as a page has room for the new version of the row, no index entry is made. The room is what the table's fillfactor leaves
/// free, and each refresh makes what the one before it left behind free again.
#[tokio::test]
async fn every_refresh_is_a_hot_update() {
    let (_server, session) = quiet_server().await;
    // Enough for some full pages.
    for n in 0..150 {
        session
            .run(&format!("select pgmutex.capture('g', 'm', '{n}', 's')"))
            .await;
    }
    let pages = "select (pg_relation_size('pgmutex.mutex_model') / current_setting('block_size')::int)::text";
    let before = session.ask(pages).await;
    assert!(before.parse::<u32>().unwrap() >= 3, "{before} pages");
    for round in 0..4 {
        for n in 0..150 {
            let refreshed = cost(&session, &format!("refresh('g', 'm', '{n}', 's')")).await;
            // The row, and perhaps the page tidied up. Three index entries and the row would be four.
            assert!(
                refreshed.wal_records <= 2,
                "round {round}, hold {n}: {refreshed:?}"
            );
        }
    }
    // And the table grows no more for it.
    assert_eq!(session.ask(pages).await, before);
}

#[tokio::test]
async fn a_decision_touches_as_many_pages_among_a_hundred_thousand_holds_as_among_a_thousand() {
    let (_server, session) = quiet_server().await;
    let mut costs = Vec::new();
    for holds in [1_000, 100_000] {
        session
            .run(&format!(
                "insert into pgmutex.mutex_model (mutex_group, mutex_mode, mutex_id, owner_session, auto_release_rule, auto_release_config) \
                 select 'bulk', 'm', n::text, 'owner ' || n, 'timeout', '3600' from generate_series(1, {holds}) n on conflict do nothing"
            ))
            .await;
        session.run("vacuum analyze pgmutex.mutex_model").await;
        for n in 0..12 {
            warm_up(&session, n).await;
        }
        let mut decisions = Vec::new();
        for (verb, owner) in [
            ("capture", "s"),
            ("capture", "another"),
            ("refresh", "s"),
            ("release", "s"),
        ] {
            let call = |n| format!("{verb}('g', 'm', '{n}', '{owner}')");
            decisions.push((verb, owner, cheapest(&session, call).await.pages));
        }
        costs.push(decisions);
    }
    for (few, many) in costs[0].iter().zip(&costs[1]) {
        // An index of a hundred thousand entries is a level deeper than one of a thousand; each is gone down a few times.
        assert!(many.2 <= few.2 + 12, "{few:?}, then {many:?}");
        assert!(many.2 <= 45, "{many:?}");
    }
}

/// Which functions of the line a call goes through, in the order of their names.
async fn looks(session: &Session, call: &str) -> String {
    session.run("begin").await;
    session.outcome(call).await;
    let looks = "select coalesce(string_agg(funcname, ' ' order by funcname), '') from pg_stat_xact_user_functions \
                 where calls > 0 and funcname in ('first_in_line', 'could_be_captured', 'wake_lines')";
    let looks = session.ask(looks).await;
    session.run("commit").await;
    looks
}

#[tokio::test]
async fn a_hand_over_looks_only_for_whom_it_can_let_in() {
    let database = Database::fresh().await;
    let setup = database.session().await;
    let listener = database.listener().await;
    let wait = |id: &str, owner: &str, access: &str| {
        let number = listener.number();
        format!(
            "capture('tests', 'step', '{id}', '{owner}', access => '{access}', wait => true, listener => {number})"
        )
    };
    for (id, access) in [("1", "exclusive"), ("2", "shared")] {
        setup.capture(id, "holder").await;
        assert_eq!(setup.outcome(&wait(id, "first", access)).await, "queued");
    }
    let seen = async |when: &str| {
        let seen = format!("update pgmutex.mutex_listener set seen_at = clock_timestamp() {when}");
        setup.run(&seen).await;
    };
    // However long this takes.
    seen("+ interval '1 day'").await;
    // What a session has counted stays with it for a while.
    let by = async |call: &str| {
        let session = database.session().await;
        session.run("set track_functions = 'all'").await;
        looks(&session, call).await
    };
    // Its process was seen just now, and nobody holds the mutex.
    for id in ["1", "2"] {
        let release = format!("release('tests', 'step', '{id}', 'holder')");
        assert_eq!(by(&release).await, "wake_lines");
    }
    // Nobody gets in beside one who has it alone; beside one who shares it, perhaps.
    assert_eq!(by(&wait("1", "first", "exclusive")).await, "first_in_line");
    assert_eq!(
        by(&wait("2", "first", "shared")).await,
        "first_in_line wake_lines"
    );
    // Whether one is there who was not seen for a while has to be found out.
    assert_eq!(
        setup.outcome(&wait("1", "second", "exclusive")).await,
        "queued"
    );
    seen("- interval '3 seconds'").await;
    assert_eq!(
        by("release('tests', 'step', '1', 'first')").await,
        "first_in_line wake_lines"
    );
}
