//! A hold that is seen to be over is removed as it was seen: one that was refreshed between the look
//! and the removal stays.

use crate::support::{Database, Session};

/// Two holds that are over, of the owners `first` and `second`, and one who is about to remove both:
/// it has looked, and stands still while it removes the first one.
struct Removal<'database> {
    database: &'database Database,
    /// Keeps it standing.
    gate: Session,
    remover: Session,
}

impl<'database> Removal<'database> {
    /// Both are captured by calls with these arguments.
    async fn of(database: &'database Database, first: &str, second: &str) -> Self {
        let (gate, remover) = (database.session().await, database.session().await);
        for hold in [first, second] {
            assert_eq!(gate.outcome(&format!("capture({hold})")).await, "captured");
        }
        gate.run(
            "update pgmutex.mutex_model set captured_since = captured_since - case owner_session when 'first' then interval '2 hours' \
             else interval '1 hour' end; \
             create function public.stand_still() returns trigger language plpgsql \
             as $$ begin perform pg_advisory_xact_lock(1); return old; end $$; \
             create trigger stand_still before delete on pgmutex.mutex_model for each row when (old.owner_session = 'first') \
             execute function public.stand_still()",
        )
        .await;
        Self {
            database,
            gate,
            remover,
        }
    }

    /// What this query of the remover's gives, if the second hold is refreshed while it stands still.
    async fn by(&self, query: &str) -> String {
        self.gate.run("begin").await;
        self.gate.run("select pg_advisory_xact_lock(1)").await;
        let removing = self.remover.begin(query);
        self.remover.is_blocked().await;
        // As a refresh does that began before the hold was over.
        let refresh = "update pgmutex.mutex_model set captured_since = clock_timestamp() where owner_session = 'second'";
        self.database.session().await.run(refresh).await;
        self.gate.run("commit").await;
        removing.text().await
    }

    async fn holders(&self) -> String {
        let holders = "select string_agg(owner_session, ' ') from pgmutex.mutex_model";
        self.gate.ask(holders).await
    }
}

#[tokio::test]
async fn a_capture_is_refused_by_it() {
    let database = Database::fresh().await;
    let removal = Removal::of(
        &database,
        "'tests', 'step', 'm', 'first', access => 'shared'",
        "'tests', 'step', 'm', 'second', access => 'shared'",
    )
    .await;
    let capture = "select concat_ws(' ', outcome, owner_session) from pgmutex.capture('tests', 'step', 'm', 'other')";
    assert_eq!(removal.by(capture).await, "busy second");
    assert_eq!(removal.holders().await, "second");
}

#[tokio::test]
async fn a_capture_above_is_refused_by_it() {
    let database = Database::fresh().await;
    let removal = Removal::of(
        &database,
        "'lab', 'tree', '/a/b/', 'first', lock_parents => true",
        "'lab', 'tree', '/a/c/', 'second', lock_parents => true",
    )
    .await;
    let capture = "select concat_ws(' ', outcome, owner_session) from pgmutex.capture('lab', 'tree', '/a/', 'other')";
    assert_eq!(removal.by(capture).await, "busy second");
    assert_eq!(removal.holders().await, "second");
}

#[tokio::test]
async fn a_sweep_passes_over_it() {
    let database = Database::fresh().await;
    let removal = Removal::of(
        &database,
        "'tests', 'step', 'm', 'first'",
        "'tests', 'step', 'n', 'second'",
    )
    .await;
    assert_eq!(removal.by("select pgmutex.sweep()::text").await, "1");
    assert_eq!(removal.holders().await, "second");
}
