//! Values that travel as JSON: every one makes the round trip, and one that the constructors would
//! refuse is refused.

use std::fmt::Debug;

use chrono::{DateTime, Utc};
use pgmutex::{
    AutoRelease, CaptureOutcome, Captured, Evicted, FencingToken, ForceReleased, Mutex, MutexId,
    MutexOwner, MutexQuery, MutexState, Mutexes, Page, PagePosition, Released, SessionBackend,
};
use proptest::prelude::*;
use serde::{Serialize, de::DeserializeOwned};
use serde_json::{Value, from_value, json, to_value};

use super::{any_text, runner};
use crate::support::owner;

/// Through JSON and back.
fn round_trip<T: Serialize + DeserializeOwned + PartialEq + Debug>(value: &T) {
    let text = serde_json::to_string(value).unwrap();
    assert_eq!(&serde_json::from_str::<T>(&text).unwrap(), value, "{text}");
}

fn is_refused<T: DeserializeOwned + Debug>(value: Value) {
    let text = value.to_string();
    let read = from_value::<T>(value);
    assert!(read.is_err(), "{text:.200} was read as {read:?}");
}

fn rules() -> Vec<AutoRelease> {
    let mut rules = vec![AutoRelease::default(), AutoRelease::Never];
    let deadline = "2030-01-31T12:00:00.123456Z".parse().unwrap();
    rules.push(AutoRelease::Deadline(deadline));
    for (code, config) in [
        ("job", "nightly \"1\""),
        ("connection", "17"),
        ("timeout", "0"),
        ("timeout", "soon"),
        ("timeout", "99999999999999999999"),
        ("deadline", "soon"),
    ] {
        rules.push(AutoRelease::restore(code, config));
    }
    rules
}

#[tokio::test]
async fn every_value_makes_the_round_trip() {
    let now: DateTime<Utc> = "2026-01-31T12:00:00.000001Z".parse().unwrap();
    let mutexes = Mutexes::builder().backend(SessionBackend::new().with_clock(move || now));
    let id = MutexId::new("a/b", "", "\"𝄞\\\u{1}").unwrap();
    let person = owner("ö")
        .with_user_id("7")
        .unwrap()
        .with_login("l")
        .unwrap();
    let person = person.with_name("N n").unwrap().with_host("::1").unwrap();
    round_trip(&id);
    round_trip(&person);
    round_trip(&MutexOwner::system());
    rules().iter().for_each(round_trip);

    round_trip(&mutexes.request(&id).await.unwrap());
    let captured = mutexes
        .capture(&id)
        .owner(person.clone())
        .status_data("\n")
        .await
        .unwrap();
    round_trip(&captured);
    let refreshed = mutexes.capture(&id).owner(person.clone()).await.unwrap();
    assert_eq!(refreshed.outcome, CaptureOutcome::Refreshed);
    round_trip(&refreshed);
    round_trip(&refreshed.fencing_token);
    for asking in [&person, &owner("other")] {
        round_trip(&mutexes.request_by(&id, asking).await.unwrap());
    }
    let page = mutexes.list(&MutexQuery::all().page_size(1)).await.unwrap();
    assert!(page.next.is_some());
    round_trip(&page);
    round_trip(&Page::default());
    round_trip(&MutexQuery::all());
    let query = MutexQuery::all()
        .group("g")
        .mode("m")
        .mutex_id("i")
        .mutex_id_prefix("p");
    let query = query
        .session_id("s")
        .user_id("u")
        .login("l")
        .auto_release_rule("r");
    let query = query.include_over().start(u64::MAX).page_size(u32::MAX);
    round_trip(&query.after(page.next.unwrap()));
    round_trip(&PagePosition::behind(id.clone()));
    for released in [
        mutexes.release(&id).owner(person).await,
        mutexes.release(&id).await,
    ] {
        round_trip(&released.unwrap());
    }
    for rule in rules() {
        // As in the row of a program that wrote such a rule, with times from the ends of the
        // calendar.
        let mut mutex = captured.mutex.clone();
        mutex.auto_release = rule;
        mutex.captured_since = DateTime::<Utc>::MIN_UTC;
        mutex.expires_at = Some(DateTime::<Utc>::MAX_UTC);
        mutex.status_data = None;
        round_trip(&mutex);
        round_trip(&MutexState::CapturedByOther(mutex.clone()));
        round_trip(&Released::Released(Box::new(mutex.clone())));
        round_trip(&ForceReleased::Released(Box::new(mutex)));
    }
    round_trip(&ForceReleased::NotHeld);
    let evicted = json!({"session_id": "a", "name": "A", "fencing_token": 7});
    round_trip(&from_value::<Evicted>(evicted.clone()).unwrap());
    let outcome = json!({"evicted": evicted});
    round_trip(&from_value::<CaptureOutcome>(outcome).unwrap());
}

#[test]
fn values_look_as_they_are_documented() {
    let id = MutexId::new("g", "m", "i").unwrap();
    let expected = json!({"group": "g", "mode": "m", "id": "i"});
    assert_eq!(to_value(&id).unwrap(), expected);
    assert_eq!(to_value(FencingToken::new(7)).unwrap(), json!(7));
    let expected = json!({"rule": "timeout", "config": "300"});
    assert_eq!(to_value(AutoRelease::default()).unwrap(), expected);
    assert_eq!(
        to_value(MutexState::Free).unwrap(),
        json!({"state": "free"})
    );
    assert_eq!(
        to_value(Released::NotHeld).unwrap(),
        json!({"outcome": "not_held"})
    );
    // What is left out is empty.
    let id = MutexId::new("", "", "i").unwrap();
    assert_eq!(from_value::<MutexId>(json!({"id": "i"})).unwrap(), id);
    let owner = from_value::<MutexOwner>(json!({"session_id": "me"})).unwrap();
    assert_eq!((owner.session_id(), owner.host()), ("me", ""));
    assert_eq!(
        from_value::<MutexQuery>(json!({})).unwrap(),
        MutexQuery::all()
    );
}

#[tokio::test]
async fn what_the_constructors_refuse_is_refused() {
    let (long, longer) = ("x".repeat(401), "é".repeat(801));
    // Whole, but for the one field that is bad.
    let id = |group: &str, mode: &str, id: &str| json!({"group": group, "mode": mode, "id": id});
    let bad_ids = [
        id("", "", ""),
        id("g", "m", "a\0b"),
        id(&long, "m", "i"),
        id("g", &long, "i"),
        id("g", "m", &longer),
        json!({}),
        json!({"id": 7}),
        json!("g/m/i"),
    ];
    let owner = |field: &str, value: &str| {
        let mut owner = to_value(MutexOwner::system()).unwrap();
        owner[field] = json!(value);
        owner
    };
    let bad_owners = [
        owner("session_id", ""),
        owner("session_id", "\0"),
        owner("session_id", &long),
        owner("user_id", &long),
        owner("login", "\0"),
        owner("name", &long),
        owner("host", &longer),
        json!({"user_id": "7"}),
    ];
    let mutexes = Mutexes::builder().backend(SessionBackend::new());
    let id = MutexId::new("g", "m", "i").unwrap();
    let captured = mutexes.capture(&id).await.unwrap();
    let with = |field: &str, value: &Value| {
        let mut mutex = to_value(&captured.mutex).unwrap();
        mutex[field] = value.clone();
        mutex
    };
    for bad in &bad_ids {
        is_refused::<MutexId>(bad.clone());
        is_refused::<Mutex>(with("id", bad));
        is_refused::<PagePosition>(json!({"id": bad, "permit": 0}));
        is_refused::<Page>(json!({"mutexes": [with("id", bad)], "next": null}));
    }
    for bad in &bad_owners {
        is_refused::<MutexOwner>(bad.clone());
        is_refused::<Mutex>(with("owner", bad));
        is_refused::<MutexState>(json!({"state": "captured_by_me", "mutex": with("owner", bad)}));
        is_refused::<Captured>(json!({"mutex": with("owner", bad), "outcome": "captured"}));
    }
    is_refused::<AutoRelease>(json!({"config": "300"}));
    is_refused::<MutexQuery>(json!({"grup": "g"}));
    is_refused::<MutexQuery>(json!({"page_size": -1}));
    is_refused::<FencingToken>(json!("7"));
    is_refused::<MutexState>(json!({"state": "captured"}));
}

#[test]
fn any_rule_texts_make_the_round_trip() {
    let texts = (any_text(12), any_text(12));
    let read = runner(256).run(&texts, |(code, config)| {
        let rule = AutoRelease::restore(code, config);
        let value = to_value(&rule).unwrap();
        prop_assert_eq!(from_value::<AutoRelease>(value).unwrap(), rule);
        Ok(())
    });
    read.unwrap();
}
