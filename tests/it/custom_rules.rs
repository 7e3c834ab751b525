//! Custom rules: to the database, and to a client that does not know the rule, a hold under it is
//! held, however old. A client that knows the rule evicts the hold when the rule says so, never
//! before, and never another hold than the one it judged. On both backends.

use std::{
    collections::BTreeSet,
    future::IntoFuture,
    sync::{Arc, Mutex as StdMutex},
};

use chrono::{DateTime, Days, Utc};
use pgmutex::{
    Access, AutoRelease, AutoReleaseRule, CaptureOutcome, CaptureRequest, Captured, Error, Mutex,
    MutexBackend, MutexQuery, MutexState, Mutexes, PostgresBackend, PostgresSettings, SchemaName,
    SessionBackend, pool_for_url,
};
use tokio::{runtime::Handle, task::block_in_place};

use crate::guards::must;
use crate::support::{Database, mutex_id, owner};

/// The rule of these tests: a hold is over when the batch job that its setting names has finished.
#[derive(Clone, Debug, Default)]
struct Jobs {
    finished: Arc<StdMutex<BTreeSet<String>>>,
    asked: Arc<StdMutex<Vec<Question>>>,
}

/// About which hold the rule was asked, and as of when.
type Question = (Mutex, DateTime<Utc>);

impl Jobs {
    fn finish(&self, job: &str) {
        self.finished.lock().unwrap().insert(job.to_owned());
    }

    fn last_asked(&self) -> Option<Question> {
        self.asked.lock().unwrap().last().cloned()
    }

    fn rule(job: &str) -> AutoRelease {
        AutoRelease::Custom {
            code: "job".to_owned(),
            config: job.to_owned(),
        }
    }
}

impl AutoReleaseRule for Jobs {
    fn code(&self) -> &str {
        "job"
    }

    fn is_over(&self, mutex: &Mutex, now: DateTime<Utc>) -> bool {
        self.asked.lock().unwrap().push((mutex.clone(), now));
        let (_, job) = mutex.auto_release.dump();
        self.finished.lock().unwrap().contains(&job)
    }
}

/// A place to keep mutexes, and two programs that work there: one that knows the rule and one that
/// does not.
struct Place {
    name: &'static str,
    jobs: Jobs,
    informed: Mutexes,
    uninformed: Mutexes,
    /// Dropped last.
    database: Option<Database>,
}

impl Place {
    async fn in_postgres(database: Database) -> Self {
        let jobs = Jobs::default();
        let builder = Mutexes::builder().auto_release_rule(jobs.clone());
        Self {
            name: "PostgreSQL",
            informed: builder.connect(database.url()).await.unwrap(),
            uninformed: database.mutexes().await,
            jobs,
            database: Some(database),
        }
    }

    fn in_process(backend: SessionBackend) -> Self {
        let jobs = Jobs::default();
        let builder = Mutexes::builder().auto_release_rule(jobs.clone());
        Self {
            name: "the process",
            informed: builder.backend(backend.clone()),
            uninformed: Mutexes::builder().backend(backend),
            jobs,
            database: None,
        }
    }

    async fn both() -> [Self; 2] {
        let database = Database::fresh().await;
        [
            Self::in_postgres(database).await,
            Self::in_process(SessionBackend::new()),
        ]
    }

    /// Ada's hold of `m`, for as long as the nightly job runs.
    async fn held_by_ada(&self) -> Captured {
        let ada = owner("ada").with_name("Ada").unwrap();
        let capture = self.uninformed.capture(mutex_id("m")).owner(ada);
        capture.auto_release(Jobs::rule("nightly")).await.unwrap()
    }
}

fn holder(state: &MutexState) -> Option<&str> {
    state.mutex().map(|mutex| mutex.owner.session_id())
}

#[tokio::test]
async fn to_a_client_that_does_not_know_the_rule_the_hold_is_held() {
    for place in Place::both().await {
        place.held_by_ada().await;
        place.jobs.finish("nightly");
        let (mutexes, m, bob) = (&place.uninformed, mutex_id("m"), owner("bob"));
        let refused = mutexes.capture(&m).owner(bob.clone()).await.unwrap_err();
        assert!(refused.is_busy(), "in {}: {refused}", place.name);
        let state = mutexes.request_by(&m, &bob).await.unwrap();
        assert!(matches!(state, MutexState::CapturedByOther(_)));
        assert_eq!(mutexes.sweep().await.unwrap(), 0);
        let page = mutexes.list(&MutexQuery::all()).await.unwrap();
        assert_eq!(page.mutexes[0].auto_release, Jobs::rule("nightly"));
        assert_eq!(page.mutexes[0].expires_at, None);
        assert_eq!(place.jobs.last_asked(), None);
    }
}

#[tokio::test]
async fn to_sql_the_hold_is_held_however_old() {
    let database = Database::fresh().await;
    let session = database.session().await;
    let captured = session
        .ask("select outcome from pgmutex.capture('tests', 'step', 'm', 'ada', auto_release_rule => 'job', auto_release_config => 'nightly')")
        .await;
    assert_eq!(captured, "captured");
    session.age("m", "1000 years").await;
    assert_eq!(session.capture("m", "bob").await, "busy");
    let state = session
        .ask("select outcome from pgmutex.request('tests', 'step', 'm', 'bob')")
        .await;
    assert_eq!(state, "captured_by_other");
    assert_eq!(session.ask("select pgmutex.sweep()::text").await, "0");
    let held = "select concat_ws(' ', owner_session, auto_release_rule, auto_release_config, expires_at) from pgmutex.held";
    assert_eq!(session.ask(held).await, "ada job nightly");
}

#[tokio::test]
async fn a_capture_that_knows_the_rule_evicts_a_hold_that_is_over() {
    for place in Place::both().await {
        let before = place.held_by_ada().await;
        place.jobs.finish("nightly");
        let m = mutex_id("m");
        let captured = place
            .informed
            .capture(&m)
            .owner(owner("bob"))
            .await
            .unwrap();
        let evicted = captured.evicted().expect(place.name);
        assert_eq!(
            (evicted.session_id.as_str(), evicted.name.as_str()),
            ("ada", "Ada")
        );
        assert_eq!(evicted.fencing_token, before.fencing_token);
        assert!(captured.fencing_token > before.fencing_token);
        // Everyone sees the new holder, and the old one is told.
        let state = place
            .uninformed
            .request_by(&m, &owner("ada"))
            .await
            .unwrap();
        assert_eq!(holder(&state), Some("bob"));
        let refresh = place.informed.refresh(&m).owner(owner("ada")).await;
        assert!(refresh.unwrap_err().is_busy());
    }
}

#[tokio::test]
async fn a_request_that_knows_the_rule_finds_a_hold_that_is_over_free() {
    for place in Place::both().await {
        place.held_by_ada().await;
        place.jobs.finish("nightly");
        let state = place
            .informed
            .request_by(&mutex_id("m"), &owner("bob"))
            .await;
        assert_eq!(state.unwrap(), MutexState::Free, "in {}", place.name);
        // Not only said: the row is gone, for those as well who do not know the rule.
        let everything = MutexQuery::all().include_over();
        assert_eq!(place.uninformed.count(&everything).await.unwrap(), 0);
    }
}

#[tokio::test]
async fn whoever_waits_is_served_when_the_rule_ends_the_hold_and_nobody_says_so() {
    for place in Place::both().await {
        place.held_by_ada().await;
        let m = mutex_id("m");
        let waiting = tokio::spawn(place.informed.lock(&m).into_future());
        // It has asked, and was told no: it waits.
        must(async {
            while place.jobs.last_asked().is_none() {
                tokio::task::yield_now().await;
            }
        })
        .await;
        place.jobs.finish("nightly");
        let guard = must(waiting).await.unwrap().unwrap();
        let evicted = guard.evicted().expect(place.name);
        assert_eq!(evicted.session_id, "ada");
        guard.release().await.unwrap();
    }
}

#[tokio::test]
async fn of_those_who_share_a_mutex_each_is_judged() {
    for place in Place::both().await {
        let m = mutex_id("m");
        let jobs = ["weekly", "nightly", "nightly", "nightly", "nightly"];
        for (number, job) in jobs.into_iter().enumerate() {
            let reader = place.uninformed.capture(&m).access(Access::shared());
            let reader = reader.owner(owner(&number.to_string()));
            reader.auto_release(Jobs::rule(job)).await.unwrap();
        }
        place.jobs.finish("nightly");
        // One place for two: it is there once the four that have ended are gone.
        let third = place.informed.capture(&m).access(Access::permit_of(2));
        let third = third.owner(owner("bob")).await.unwrap();
        assert!(third.evicted().is_some(), "in {}", place.name);
        let holds = place.uninformed.list(&MutexQuery::all()).await.unwrap();
        let holders = holds.mutexes.iter().map(|hold| hold.owner.session_id());
        assert!(holders.eq(["0", "bob"]), "in {}", place.name);
        // Alone, when the last one has ended too; also for one who waits.
        place
            .informed
            .release(&m)
            .owner(owner("bob"))
            .await
            .unwrap();
        place.jobs.finish("weekly");
        let alone = must(place.informed.lock(&m).into_future()).await.unwrap();
        assert!(alone.evicted().is_some(), "in {}", place.name);
    }
}

#[tokio::test]
async fn many_captures_each_for_itself_evict_what_is_over_too() {
    for place in Place::both().await {
        place.held_by_ada().await;
        let (m, other) = (mutex_id("m"), mutex_id("other"));
        let running = place.uninformed.capture(&other).owner(owner("ada"));
        running.auto_release(Jobs::rule("weekly")).await.unwrap();
        place.jobs.finish("nightly");
        let answers = place.informed.capture_each([&other, &m]);
        let answers = answers.owner(owner("bob")).await.unwrap();
        let [Err(busy), Ok(captured)] = answers.as_slice() else {
            panic!("in {}: {answers:?}", place.name);
        };
        assert!(busy.is_busy());
        assert_eq!(captured.evicted().unwrap().session_id, "ada");
    }
}

#[tokio::test]
async fn several_together_evict_what_is_over_too_each_told_of_its_own() {
    for place in Place::both().await {
        let (free, m) = (mutex_id("a"), mutex_id("m"));
        let both = [(&free, Access::Exclusive), (&m, Access::Exclusive)];
        place.held_by_ada().await;
        place.jobs.finish("nightly");
        let guards = must(place.informed.lock_all(both).into_future()).await;
        let guards = guards.unwrap();
        assert!(guards[0].evicted().is_none(), "in {}", place.name);
        assert_eq!(guards[1].evicted().unwrap().session_id, "ada");
        for guard in guards {
            guard.release().await.unwrap();
        }
        // Inside of a transaction, where there are any.
        let Some(database) = &place.database else {
            continue;
        };
        place.held_by_ada().await;
        let mut client = database.client().await;
        let transaction = client.transaction().await.unwrap();
        let inside = place.informed.in_transaction(&transaction);
        let captured = inside.capture_all(both).owner(owner("bob")).await.unwrap();
        assert!(captured[0].evicted().is_none());
        assert_eq!(captured[1].evicted().unwrap().session_id, "ada");
        transaction.commit().await.unwrap();
    }
}

#[tokio::test]
async fn while_the_rule_says_no_the_hold_stays() {
    for place in Place::both().await {
        let before = place.held_by_ada().await;
        place.jobs.finish("another job");
        let (mutexes, m, bob) = (&place.informed, mutex_id("m"), owner("bob"));
        let refused = mutexes.capture(&m).owner(bob.clone()).await.unwrap_err();
        assert!(refused.is_busy(), "in {}: {refused}", place.name);
        assert_eq!(place.jobs.last_asked().unwrap().0, before.mutex);
        let state = mutexes.request_by(&m, &bob).await.unwrap();
        assert_eq!(state, MutexState::CapturedByOther(before.mutex.clone()));
        assert_eq!(mutexes.sweep().await.unwrap(), 0);
        assert_eq!(place.jobs.asked.lock().unwrap().len(), 3);
        let page = mutexes.list(&MutexQuery::all()).await.unwrap();
        assert_eq!(page.mutexes, [before.mutex]);
    }
}

#[tokio::test]
async fn the_rule_is_asked_about_holds_with_its_own_code_only() {
    for place in Place::both().await {
        let (m, other_code) = (mutex_id("m"), |code: &str| AutoRelease::Custom {
            code: code.to_owned(),
            config: "nightly".to_owned(),
        });
        place.jobs.finish("nightly");
        for rule in [other_code("Job"), other_code("job "), AutoRelease::Never] {
            let capture = place.informed.capture(&m).owner(owner("ada"));
            capture.auto_release(rule).await.unwrap();
            let refused = place.informed.capture(&m).owner(owner("bob")).await;
            assert!(refused.unwrap_err().is_busy(), "in {}", place.name);
            assert_eq!(place.informed.sweep().await.unwrap(), 0);
        }
        assert_eq!(place.jobs.last_asked(), None);
    }
}

#[tokio::test]
async fn a_sweep_that_knows_the_rule_removes_what_is_over_on_every_page() {
    for place in Place::both().await {
        // More than are judged at a time; every third job has finished.
        for number in 0..1200 {
            let job = if number % 3 == 0 { "nightly" } else { "weekly" };
            let capture = place.uninformed.capture(mutex_id(&number.to_string()));
            capture.auto_release(Jobs::rule(job)).await.unwrap();
        }
        place.jobs.finish("nightly");
        assert_eq!(place.uninformed.sweep().await.unwrap(), 0);
        assert_eq!(place.informed.sweep().await.unwrap(), 400);
        assert_eq!(place.informed.sweep().await.unwrap(), 0);
        let left = place.uninformed.list(&MutexQuery::all()).await.unwrap();
        assert_eq!(left.mutexes.len(), 800, "in {}", place.name);
        let running = Jobs::rule("weekly");
        assert!(left.mutexes.iter().all(|left| left.auto_release == running));
    }
}

/// Asks the rule three times: for a capture, a request and a sweep. Says with which times.
async fn times_of_three_questions(place: &Place) -> Vec<DateTime<Utc>> {
    let (mutexes, m, bob) = (&place.informed, mutex_id("m"), owner("bob"));
    mutexes.capture(&m).owner(bob.clone()).await.unwrap_err();
    mutexes.request_by(&m, &bob).await.unwrap();
    mutexes.sweep().await.unwrap();
    let asked = place.jobs.asked.lock().unwrap();
    asked.iter().map(|(_, now)| *now).collect()
}

#[tokio::test]
async fn the_rule_is_told_the_time_of_the_database() {
    let database = Database::fresh().await;
    // A database whose clock is a thousand days ahead: wherever a function or a client asks for the
    // time, ours answers.
    let client = database.client().await;
    client
        .batch_execute(&format!(
            "create function pgmutex.clock_timestamp() returns timestamptz language sql volatile \
                 as 'select pg_catalog.clock_timestamp() + interval ''1000 days'''; \
             do $$ declare routine regprocedure; begin \
                 for routine in select oid from pg_proc where pronamespace = 'pgmutex'::regnamespace and proconfig is not null loop \
                     execute format('alter function %s set search_path = pgmutex, pg_catalog, pg_temp', routine); \
                 end loop; end $$; \
             alter database {} set search_path = pgmutex, pg_catalog",
            database.name()
        ))
        .await
        .unwrap();
    let place = Place::in_postgres(database).await;
    place.held_by_ada().await;
    let ahead = |time: DateTime<Utc>| time.checked_add_days(Days::new(1000)).unwrap();
    // A minute of grace: the test may run against a server on another machine.
    let minute = chrono::TimeDelta::minutes(1);
    let earliest = ahead(Utc::now()) - minute;
    let times = times_of_three_questions(&place).await;
    assert_eq!(times.len(), 3);
    for now in times {
        assert!(now > earliest && now < ahead(Utc::now()) + minute, "{now}");
    }
}

#[tokio::test]
async fn the_rule_is_told_the_time_of_the_backends_clock_in_the_process_too() {
    let noon: DateTime<Utc> = "1999-12-31T12:00:00Z".parse().unwrap();
    let place = Place::in_process(SessionBackend::new().with_clock(move || noon));
    place.held_by_ada().await;
    assert_eq!(times_of_three_questions(&place).await, [noon; 3]);
}

#[tokio::test]
async fn sql_evicts_exactly_the_hold_with_the_token() {
    let database = Database::fresh().await;
    let session = database.session().await;
    let capture = |owner: &str| {
        format!(
            "select fencing_token::text from pgmutex.capture('tests', 'step', 'm', '{owner}', auto_release_rule => 'job')"
        )
    };
    let evict =
        |token: &str| format!("select outcome from pgmutex.evict('tests', 'step', 'm', {token})");
    let judged = session.ask(&capture("ada")).await;
    // Between the judgement and the eviction the hold is released and the mutex captured again.
    session
        .ask("select outcome from pgmutex.release('tests', 'step', 'm', 'ada')")
        .await;
    let present = session.ask(&capture("ada")).await;
    assert_eq!(session.ask(&evict(&judged)).await, "not_held");
    let holds = "select count(*)::text from pgmutex.held";
    assert_eq!(session.ask(holds).await, "1");
    assert_eq!(session.ask(&evict(&present)).await, "released");
    assert_eq!(session.ask(holds).await, "0");
}

#[tokio::test]
async fn sql_evicts_no_hold_that_the_database_judges_itself() {
    let database = Database::fresh().await;
    let client = database.client().await;
    let session = database.session().await;
    for (rule, config) in [
        ("", ""),
        ("never", ""),
        ("timeout", "300"),
        ("timeout", "-1"),
        ("timeout", "soon"),
        ("deadline", "2000-01-01T00:00:00Z"),
        ("connection", "17"),
    ] {
        let insert = "insert into pgmutex.mutex_model (mutex_id, owner_session, auto_release_rule, auto_release_config) \
                      values ('m', 'ada', $1, $2) returning fencing_token";
        let row = client.query_one(insert, &[&rule, &config]).await.unwrap();
        let token: i64 = row.get(0);
        let evict = format!("select outcome from pgmutex.evict('', '', 'm', {token})");
        assert_eq!(session.ask(&evict).await, "busy", "{rule} {config}");
        let deleted = client.execute("delete from pgmutex.mutex_model", &[]).await;
        assert_eq!(deleted.unwrap(), 1, "{rule} {config}");
    }
}

#[tokio::test]
async fn a_backend_evicts_no_hold_that_it_judges_itself() {
    let database = Database::fresh().await;
    let pool = pool_for_url(database.url()).unwrap();
    let postgres = PostgresBackend::new(pool, SchemaName::default(), PostgresSettings::default());
    let backends: [&dyn MutexBackend; 2] = [&postgres, &SessionBackend::new()];
    for backend in backends {
        for rule in [AutoRelease::Never, AutoRelease::default()] {
            let request = CaptureRequest {
                id: mutex_id("m"),
                owner: owner("ada"),
                access: pgmutex::Access::Exclusive,
                reach: pgmutex::Reach::none(),
                auto_release: Some(rule),
                status_data: None,
            };
            let held = backend.capture(&request).await.unwrap();
            backend.evict(&held.id, held.fencing_token).await.unwrap();
            assert_eq!(backend.count(&MutexQuery::all()).await.unwrap(), 1);
        }
    }
}

/// A rule that says yes to everything; but while it is being asked about a hold of Ada's, Carol
/// takes its place.
#[derive(Debug)]
struct CarolIsQuick(Mutexes);

impl AutoReleaseRule for CarolIsQuick {
    fn code(&self) -> &str {
        "job"
    }

    fn is_over(&self, mutex: &Mutex, _: DateTime<Utc>) -> bool {
        let replace = async {
            self.0.force_release(&mutex.id, "").await.unwrap();
            let capture = self.0.capture(&mutex.id).owner(owner("carol"));
            capture.auto_release(Jobs::rule("hers")).await.unwrap();
        };
        let adas = mutex.owner.session_id() == "ada";
        if adas {
            block_in_place(|| Handle::current().block_on(replace));
        }
        adas
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_hold_that_takes_the_place_of_the_judged_one_stays() {
    let database = Database::fresh().await;
    let session_backend = SessionBackend::new();
    let in_process = || Mutexes::builder().backend(session_backend.clone());
    let builder = || Mutexes::builder().auto_release_rule(CarolIsQuick(in_process()));
    let postgres = database.mutexes().await;
    let in_postgres = Mutexes::builder().auto_release_rule(CarolIsQuick(postgres.clone()));
    for (informed, uninformed) in [
        (in_postgres.connect(database.url()).await.unwrap(), postgres),
        (builder().backend(session_backend.clone()), in_process()),
    ] {
        let (m, bob) = (mutex_id("m"), owner("bob"));
        for verb in ["capture", "request", "sweep"] {
            let capture = uninformed.capture(&m).owner(owner("ada"));
            capture.auto_release(Jobs::rule("nightly")).await.unwrap();
            match verb {
                "capture" => match informed.capture(&m).owner(bob.clone()).await {
                    Err(Error::Busy { holder, .. }) => {
                        assert_eq!(holder.owner.session_id(), "carol");
                    }
                    answer => panic!("{answer:?}"),
                },
                "request" => {
                    let state = informed.request_by(&m, &bob).await.unwrap();
                    assert_eq!(holder(&state), Some("carol"));
                }
                _ => drop(informed.sweep().await.unwrap()),
            }
            let state = uninformed.request_by(&m, &bob).await.unwrap();
            assert_eq!(holder(&state), Some("carol"), "after {verb}");
            uninformed.force_release(&m, "").await.unwrap();
        }
    }
}

#[tokio::test]
async fn an_eviction_in_a_callers_transaction_rolls_back_with_it() {
    let place = Place::in_postgres(Database::fresh().await).await;
    let before = place.held_by_ada().await;
    place.jobs.finish("nightly");
    let mut client = place.database.as_ref().unwrap().client().await;
    let transaction = client.transaction().await.unwrap();
    let inside = place.informed.in_transaction(&transaction);
    let captured = inside.capture(mutex_id("m")).owner(owner("bob")).await;
    let outcome = captured.unwrap().outcome;
    assert!(matches!(outcome, CaptureOutcome::Evicted(_)), "{outcome:?}");
    transaction.rollback().await.unwrap();
    let page = place.uninformed.list(&MutexQuery::all()).await.unwrap();
    assert_eq!(page.mutexes, [before.mutex]);
}
