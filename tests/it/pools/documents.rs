//! Documents, paths and filters against a model in Rust, on documents that nobody would think of.

use pgmutex::{SessionFilter, SessionPool, SessionUpdate};
use proptest::{
    collection::vec, prelude::*, sample::select, strategy::ValueTree, test_runner::TestRunner,
};
use serde_json::{Map, Value, json};

use crate::support::Database;

const NAMES: [&str; 6] = ["a", "b", "a b", "ä", "\"", "{c,d}"];

fn name() -> impl Strategy<Value = String> {
    select(&NAMES[..]).prop_map(str::to_owned)
}

fn scalar() -> impl Strategy<Value = Value> {
    prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        (-3_i64..4).prop_map(Value::from),
        select(&["", "a", "it's \\ \"quoted\"", "$1", "%L"][..]).prop_map(Value::from),
    ]
}

fn value() -> impl Strategy<Value = Value> {
    scalar().prop_recursive(4, 24, 4, |inner| {
        prop_oneof![
            vec(inner.clone(), 0..3).prop_map(Value::Array),
            vec((name(), inner), 0..4).prop_map(|entries| entries.into_iter().collect()),
        ]
    })
}

fn document() -> impl Strategy<Value = Value> {
    vec((name(), value()), 0..5).prop_map(|entries| entries.into_iter().collect())
}

fn path() -> impl Strategy<Value = Vec<String>> {
    vec(name(), 1..4)
}

fn at<'a>(document: &'a Value, path: &[String]) -> Option<&'a Value> {
    path.iter()
        .try_fold(document, |value, name| value.as_object()?.get(name))
}

/// Sets a value, or takes it away; `None` if the path leads through a value that is no object.
fn changed(document: &Value, path: &[String], value: Option<&Value>) -> Option<Value> {
    let mut entries: Map<String, Value> = document.as_object()?.clone();
    let (name, rest) = path.split_first()?;
    match (rest, entries.get(name), value) {
        ([], _, Some(value)) => drop(entries.insert(name.clone(), value.clone())),
        ([], _, None) => drop(entries.remove(name)),
        (_, None, None) => {}
        (rest, child, value) => {
            let child = changed(child.unwrap_or(&json!({})), rest, value)?;
            entries.insert(name.clone(), child);
        }
    }
    Some(Value::Object(entries))
}

/// Whether one is changed together with the whole of it, or a part.
fn collide(paths: &[&Vec<String>]) -> bool {
    paths.iter().enumerate().any(|(place, one)| {
        let others = paths
            .iter()
            .enumerate()
            .filter(|(other, _)| *other != place);
        others.into_iter().any(|(_, other)| other.starts_with(one))
    })
}

fn cases<T: std::fmt::Debug>(strategy: impl Strategy<Value = T>, count: u32) -> Vec<T> {
    let mut runner = TestRunner::deterministic();
    let tree = |_| strategy.new_tree(&mut runner).unwrap().current();
    (0..count).map(tree).collect()
}

#[tokio::test]
async fn changes_keep_everything_beside_them() {
    let database = Database::fresh().await;
    let client = database.client().await;
    let changes = (document(), vec((path(), value()), 0..4), vec(path(), 0..3));
    let (mut refused, mut accepted) = (0, 0);
    let mut inputs = Vec::new();
    let mut wanted = Vec::new();
    for (document, set, unset) in cases(changes, 3_000) {
        let set: std::collections::BTreeMap<Vec<String>, Value> = set.into_iter().collect();
        let all: Vec<_> = set.keys().chain(&unset).collect();
        let mut result = (!collide(&all)).then(|| document.clone());
        for (path, value) in &set {
            result = result.and_then(|document| changed(&document, path, Some(value)));
        }
        for path in &unset {
            result = result.and_then(|document| changed(&document, path, None));
        }
        let dotted = |path: &Vec<String>| path.join(".");
        let set: Map<String, Value> = set
            .iter()
            .map(|(path, value)| (dotted(path), value.clone()))
            .collect();
        let unset: Vec<String> = unset.iter().map(dotted).collect();
        inputs.push(json!({"document": document, "set": set, "unset": unset}));
        *(if result.is_some() {
            &mut accepted
        } else {
            &mut refused
        }) += 1;
        wanted.push(result);
    }
    assert!(accepted > 300 && refused > 300, "{accepted} {refused}");
    client
        .batch_execute(
            "create function pg_temp.tried(test jsonb) returns jsonb language plpgsql as $$
             begin
                 return pgmutex.updated_document(test -> 'document', test -> 'set',
                                                 array(select jsonb_array_elements_text(test -> 'unset')));
             exception when sqlstate 'PM003' then
                 return null;
             end $$;
             set search_path to pgmutex",
        )
        .await
        .unwrap();
    let all = Value::from(inputs.clone()).to_string();
    let ask = "select pg_temp.tried(t.value)::text from jsonb_array_elements($1::text::jsonb) with ordinality t (value, place) order by t.place";
    let rows = client.query(ask, &[&all]).await.unwrap();
    for ((row, input), wanted) in rows.iter().zip(&inputs).zip(&wanted) {
        let text: Option<&str> = row.get(0);
        let result: Option<Value> = text.map(|text| serde_json::from_str(text).unwrap());
        assert_eq!(&result, wanted, "{input}");
    }
}

/// What a filter lets through, by the model.
#[derive(Clone, Copy, Debug)]
enum Test {
    Equal,
    NotEqual,
    Less,
    AtMost,
    Greater,
    AtLeast,
    Exists,
    Missing,
}

impl Test {
    const ALL: [Self; 8] = [
        Self::Equal,
        Self::NotEqual,
        Self::Less,
        Self::AtMost,
        Self::Greater,
        Self::AtLeast,
        Self::Exists,
        Self::Missing,
    ];

    fn on(self, filter: SessionFilter, path: String, value: Value) -> SessionFilter {
        match self {
            Self::Equal => filter.equal(path, value),
            Self::NotEqual => filter.not_equal(path, value),
            Self::Less => filter.less(path, value),
            Self::AtMost => filter.at_most(path, value),
            Self::Greater => filter.greater(path, value),
            Self::AtLeast => filter.at_least(path, value),
            Self::Exists => filter.exists(path),
            Self::Missing => filter.missing(path),
        }
    }

    /// Numbers are compared with numbers; sizes of other kinds are the database's own affair.
    fn lets_through(self, found: Option<&Value>, value: &Value) -> bool {
        let order = found
            .and_then(Value::as_i64)
            .zip(value.as_i64())
            .map(|(found, value)| found.cmp(&value));
        match self {
            Self::Equal => found == Some(value),
            Self::NotEqual => found != Some(value),
            Self::Less => order.is_some_and(std::cmp::Ordering::is_lt),
            Self::AtMost => order.is_some_and(std::cmp::Ordering::is_le),
            Self::Greater => order.is_some_and(std::cmp::Ordering::is_gt),
            Self::AtLeast => order.is_some_and(std::cmp::Ordering::is_ge),
            Self::Exists => found.is_some(),
            Self::Missing => found.is_none(),
        }
    }
}

#[tokio::test]
async fn filters_and_projections_do_as_the_model_does() {
    let database = Database::fresh().await;
    let mutexes = database.mutexes().await;
    let pool: SessionPool = SessionPool::new(&mutexes, "p");
    let documents = cases(document(), 300);
    database
        .client()
        .await
        .execute(
            "insert into pgmutex.pool_session (collection, id, payload)
             select 'p', t.place, t.value from jsonb_array_elements($1::text::jsonb) with ordinality t (value, place)",
            &[&Value::from(documents.clone()).to_string()],
        )
        .await
        .unwrap();
    let number = (-3_i64..4).prop_map(Value::from);
    let condition = prop_oneof![
        (path(), select(&Test::ALL[2..6]), number),
        (path(), select(&Test::ALL[..2]), value()),
        (path(), select(&Test::ALL[6..]), Just(Value::Null)),
    ];
    let mut through = 0;
    for (conditions, projection) in cases((vec(condition, 0..3), vec(path(), 1..3)), 250) {
        let filter = conditions
            .iter()
            .fold(SessionFilter::all(), |filter, (path, test, value)| {
                test.on(filter, path.join("."), value.clone())
            });
        let wanted: Vec<(i64, Value)> = (1..)
            .zip(&documents)
            .filter(|(_, document)| {
                let mut conditions = conditions.iter();
                conditions.all(|(path, test, value)| test.lets_through(at(document, path), value))
            })
            .map(|(id, document)| {
                let chosen =
                    projection
                        .iter()
                        .fold(json!({}), |chosen, path| match at(document, path) {
                            Some(value) => changed(&chosen, path, Some(value)).unwrap(),
                            None => chosen,
                        });
                (id, chosen)
            })
            .collect();
        through += wanted.len();
        let chosen = projection.iter().map(|path| path.join("."));
        let found = pool
            .clone()
            .with_projection(chosen)
            .find(filter.clone(), None, None)
            .await
            .unwrap();
        let found: Vec<(i64, Value)> = found.into_iter().map(|one| (one.id, one.payload)).collect();
        assert_eq!(found, wanted, "{filter:?} {projection:?}");
        assert_eq!(pool.count(filter).await.unwrap(), wanted.len() as u64);
    }
    assert!(through > 1_000, "{through}");
    // And all this did not run into what the library itself would refuse.
    let update = SessionUpdate::new().set("a.b", 1);
    assert!(
        pool.update_one(SessionFilter::all().missing("a"), update)
            .await
            .unwrap()
    );
}
