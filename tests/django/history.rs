//! Who held what, and when, by the database's clock; and what must not be in such a history.

use tokio_postgres::Client;

/// Where holders write their history. A hold counts from the moment at which its holder notes it
/// until its holder notes the end, and no longer than its rule says.
pub(crate) const TABLE: &str = "
    create table history (mutex text, owner text primary key, token bigint, begins timestamptz, ends timestamptz);
    create function history_begins(mutex text, owner text) returns void language sql as $$
        insert into history
        select history_begins.mutex, h.owner_session, h.fencing_token, clock_timestamp(), h.expires_at from pgmutex.hold h
        where h.mutex_group = 'tests' and h.mutex_mode = 'step' and h.mutex_id = history_begins.mutex
          and h.owner_session = history_begins.owner and h.expires_at > clock_timestamp()
    $$;
    create function history_ends(owner text) returns void language sql as $$
        update history h set ends = least(h.ends, clock_timestamp()) where h.owner = history_ends.owner
    $$";

/// One hold, in microseconds.
#[derive(Clone, Debug)]
pub(crate) struct Held {
    pub(crate) mutex: String,
    pub(crate) owner: String,
    pub(crate) token: i64,
    pub(crate) begins: i64,
    pub(crate) ends: i64,
}

pub(crate) async fn history(client: &Client) -> Vec<Held> {
    let rows = client
        .query(
            "select mutex, owner, token, (extract(epoch from begins) * 1000000)::bigint, (extract(epoch from ends) * 1000000)::bigint \
             from history order by mutex, begins",
            &[],
        )
        .await
        .unwrap();
    rows.iter()
        .map(|row| Held {
            mutex: row.get(0),
            owner: row.get(1),
            token: row.get(2),
            begins: row.get(3),
            ends: row.get(4),
        })
        .collect()
}

/// What is wrong: two that held a mutex at the same time, and tokens that do not grow.
pub(crate) fn violations(history: &[Held]) -> Vec<String> {
    let mut ordered: Vec<&Held> = history.iter().collect();
    ordered.sort_by_key(|held| (&held.mutex, held.begins));
    let mut violations = Vec::new();
    for (place, earlier) in ordered.iter().enumerate() {
        let of_the_same = ordered[place + 1..]
            .iter()
            .take_while(|later| later.mutex == earlier.mutex);
        for (distance, later) in of_the_same.enumerate() {
            if later.begins < earlier.ends {
                violations.push(format!("two held it: {earlier:?} and {later:?}"));
            }
            if distance == 0 && later.token <= earlier.token {
                violations.push(format!("tokens: {earlier:?} then {later:?}"));
            }
        }
    }
    violations
}

#[test]
fn the_checker_notices_what_must_not_be() {
    let held = |mutex: &str, token, begins, ends| Held {
        mutex: mutex.to_owned(),
        owner: format!("{token}"),
        token,
        begins,
        ends,
    };
    let right = [
        held("m", 1, 10, 20),
        held("n", 9, 15, 16),
        held("m", 3, 20, 30),
        held("m", 7, 31, 40),
    ];
    assert_eq!(violations(&right), Vec::<String>::new());
    for wrong in [
        held("m", 2, 19, 20),
        held("m", 2, 10, 12),
        held("m", 8, 39, 50),
        held("m", 8, 5, 50),
        held("m", 2, 30, 31),
        held("m", 7, 45, 50),
        held("n", 8, 17, 18),
    ] {
        let mut history = right.to_vec();
        history.push(wrong.clone());
        assert!(!violations(&history).is_empty(), "{wrong:?}");
    }
}
