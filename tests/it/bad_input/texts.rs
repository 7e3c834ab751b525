//! Names, owners and status texts: an exact round trip or a refusal, the same from Rust and from
//! SQL.

use pgmutex::{Captured, Error, Mutex, MutexId, MutexOwner, MutexQuery, MutexState, Mutexes};
use proptest::{option, prelude::*};
use tokio_postgres::{Client, types::ToSql};

use super::{any_text, check, refusal, words};
use crate::support::Database;

/// The texts of a hold, in the order of the arguments of `capture`, with the most bytes that each
/// may have.
const TEXTS: [(&str, usize); 9] = [
    ("mutex_group", 400),
    ("mutex_mode", 400),
    ("mutex_id", 1600),
    ("owner_session", 400),
    ("owner_host", 1600),
    ("owner_id", 400),
    ("owner_login", 400),
    ("owner_name", 400),
    ("status_data", 65_536),
];

type Texts = [String; 9];

fn good_texts() -> Texts {
    [
        "g", "m", "i", "session", "host", "7", "login", "name", "status",
    ]
    .map(str::to_owned)
}

/// Captures through the library.
async fn capture(mutexes: &Mutexes, texts: &Texts) -> Result<Captured, Error> {
    let [group, mode, id, session, host, user_id, login, name, status] = texts.clone();
    let id = MutexId::new(group, mode, id)?;
    let owner = MutexOwner::new(session)?
        .with_host(host)?
        .with_user_id(user_id)?;
    let owner = owner.with_login(login)?.with_name(name)?;
    mutexes.capture(&id).owner(owner).status_data(status).await
}

/// Captures through SQL.
async fn capture_in_sql(client: &Client, texts: &Texts) -> Result<String, (String, String)> {
    let parameters: Vec<&(dyn ToSql + Sync)> = texts.iter().map(|text| text as _).collect();
    let call =
        "select outcome from pgmutex.capture($1, $2, $3, $4, $5, $6, $7, $8, status_data => $9)";
    let row = client.query_one(call, &parameters).await.map_err(refusal)?;
    Ok(row.get(0))
}

/// What the table says about the one hold in it, and removes it. `None` if there is none.
async fn take_stored(client: &Client) -> Option<Texts> {
    let columns = TEXTS.map(|(column, _)| column).join(", ");
    let delete = format!("delete from pgmutex.mutex_model returning {columns}");
    let rows = client.query(&delete, &[]).await.unwrap();
    assert!(rows.len() <= 1);
    let row = rows.first()?;
    Some(std::array::from_fn(|column| row.get(column)))
}

/// The texts of a hold as the library gives them.
fn texts_of(mutex: &Mutex) -> Texts {
    let (id, owner) = (&mutex.id, &mutex.owner);
    let status = mutex.status_data.as_deref().unwrap();
    let ([group, mode, id], session) = ([id.group(), id.mode(), id.id()], owner.session_id());
    let (host, user, login, name) = (owner.host(), owner.user_id(), owner.login(), owner.name());
    [group, mode, id, session, host, user, login, name, status].map(str::to_owned)
}

/// Captures with these texts in both ways, and holds them to each other. Says whether they were
/// accepted.
async fn agree(mutexes: &Mutexes, client: &Client, texts: &Texts) -> bool {
    let in_rust = capture(mutexes, texts).await;
    if let Ok(captured) = &in_rust {
        assert_eq!(&texts_of(captured), texts);
        let (mutex, owner) = (&captured.mutex, &captured.mutex.owner);
        let query = MutexQuery::all()
            .group(mutex.id.group())
            .session_id(owner.session_id());
        let middle = mutex.id.id().chars().count() / 2;
        let query = query.mutex_id_prefix(mutex.id.id().chars().take(middle).collect::<String>());
        let listed = mutexes.list(&query).await.unwrap().mutexes;
        assert_eq!(listed.iter().collect::<Vec<_>>(), [mutex]);
        let state = mutexes.request_by(&mutex.id, owner).await.unwrap();
        assert_eq!(state, MutexState::CapturedByMe(mutex.clone()));
        assert_eq!(mutexes.sweep().await.unwrap(), 0);
    }
    let stored_by_rust = take_stored(client).await;
    let in_sql = capture_in_sql(client, texts).await;
    let stored_by_sql = take_stored(client).await;
    match (in_rust, in_sql) {
        (Ok(_), Ok(outcome)) => {
            assert_eq!(outcome, "captured");
            assert_eq!(stored_by_rust.as_ref(), Some(texts));
            assert_eq!(stored_by_sql.as_ref(), Some(texts));
            true
        }
        (Err(error), Err((sqlstate, message))) => {
            if texts.iter().any(|text| text.contains('\0')) {
                // The server does not even read such a text; Rust may find another fault first.
                assert!(!words(&error).is_empty());
                assert_eq!(sqlstate, "22021");
            } else {
                assert_eq!(sqlstate, "PM003");
                assert_eq!(message, words(&error));
            }
            assert_eq!((stored_by_rust, stored_by_sql), (None, None));
            false
        }
        answers => panic!("{answers:?} for {texts:?}"),
    }
}

#[tokio::test]
async fn the_limits_are_in_bytes_and_the_same_in_rust_and_sql() {
    let database = Database::fresh().await;
    let (mutexes, client) = (database.mutexes().await, database.client().await);
    for (column, (name, limit)) in TEXTS.into_iter().enumerate() {
        for (text, accepted) in [
            ("x".repeat(limit), true),
            ("𝄞".repeat(limit / 4), true),
            (format!("xx{}", "é".repeat(limit / 2 - 1)), true),
            ("x".repeat(limit + 1), false),
            (format!("x{}", "𝄞".repeat(limit / 4)), false),
            ("x".repeat(1 << 20), false),
            ("𝄞".repeat(1 << 18), false),
            ("\0".to_owned(), false),
            ("a\0b".to_owned(), false),
            ("'; drop table x; --".to_owned(), true),
            ("\"'`\\%_$1{}\u{202e}\u{feff}\r\n\t ".to_owned(), true),
            (" ".to_owned(), true),
        ] {
            let mut texts = good_texts();
            texts[column] = text;
            let agreed = agree(&mutexes, &client, &texts).await;
            assert_eq!(agreed, accepted, "{name}");
        }
    }
    let refused = MutexId::new("a\0b", "", "").unwrap_err();
    let words = "mutex_group contains the character NUL, which PostgreSQL cannot store";
    assert_eq!(refused.to_string(), words);
    // The longest name of all fits into its index, also if its text cannot be compressed.
    let mut state = 1_u64;
    let texts = TEXTS.map(|(_, limit)| {
        let characters = std::iter::repeat_with(|| {
            state = state
                .wrapping_mul(6_364_136_223_846_793_005)
                .wrapping_add(1);
            char::from(b' ' + (state >> 33) as u8 % 95)
        });
        characters.take(limit).collect::<String>()
    });
    assert!(agree(&mutexes, &client, &texts).await);
    // And so does the place of one who waits for it.
    client
        .execute("delete from pgmutex.mutex_model", &[])
        .await
        .unwrap();
    let ask = "select outcome from pgmutex.capture($1, $2, $3, $4, wait => true)";
    let [group, mode, id, session] = [0, 1, 2, 3].map(|column| &texts[column]);
    let other: String = session.chars().rev().collect();
    for (session, expected) in [
        (session, "captured"),
        (&other, "queued"),
        (&other, "queued"),
    ] {
        let row = client
            .query_one(ask, &[group, mode, id, session])
            .await
            .unwrap();
        assert_eq!(row.get::<_, &str>(0), expected);
    }
}

#[tokio::test]
async fn what_must_not_be_empty_is_refused_in_the_same_words() {
    let database = Database::fresh().await;
    let (mutexes, client) = (database.mutexes().await, database.client().await);
    for (empty, accepted) in [
        (&[0, 1, 2][..], false),
        (&[3], false),
        (&[0, 1, 2, 3], false),
        (&[0, 1, 4, 5, 6, 7, 8], true),
        (&[1, 2], true),
    ] {
        let mut texts = good_texts();
        empty.iter().for_each(|column| texts[*column].clear());
        assert_eq!(
            agree(&mutexes, &client, &texts).await,
            accepted,
            "{empty:?}"
        );
    }
}

/// A text that is bad more often than not: empty, with a NUL, around the limit or far beyond it.
fn bad_text() -> impl Strategy<Value = (usize, String)> {
    let column = 0..TEXTS.len();
    column.prop_flat_map(|column| {
        let limit = TEXTS[column].1;
        let long =
            (limit - 3..=limit + 3, any::<char>(), Just('y')).prop_map(|(bytes, one, fill)| {
                let mut text = one.to_string();
                text.extend(std::iter::repeat_n(fill, bytes - one.len_utf8()));
                text
            });
        let with_nul = (any_text(5), any_text(5)).prop_map(|(a, b)| format!("{a}\0{b}"));
        let text = prop_oneof![
            1 => Just(String::new()),
            1 => with_nul,
            6 => long,
            1 => Just("x".repeat(1 << 20)),
        ];
        (Just(column), text)
    })
}

#[test]
fn any_texts_make_an_exact_round_trip_or_are_refused_in_the_same_words() {
    let texts =
        std::array::from_fn::<_, 9, _>(|_| any_text(12).prop_map(|text| text.replace('\0', "0")));
    let session = any_text(12).prop_map(|text| format!("s{}", text.replace('\0', "0")));
    check(
        200,
        (texts, session, option::of(bad_text())),
        async |mutexes, client, (mut texts, session, bad)| {
            texts[3] = session;
            if let Some((column, text)) = bad {
                texts[column] = text;
            }
            agree(mutexes, client, &texts).await;
        },
    );
}
