use std::hint::black_box;

use criterion::Criterion;
use pgmutex::{
    AutoRelease, FencingToken, Mutex, MutexId, MutexOwner, MutexQuery, Page, chrono::Utc,
};

/// A page of a list.
const HOLDS: usize = 100;

pub(crate) fn all(criterion: &mut Criterion) {
    let query = MutexQuery::all()
        .group("orders")
        .mutex_id_prefix("2026-")
        .login("ada");
    criterion.bench_function("query: new", |bencher| {
        bencher.iter(|| {
            MutexQuery::all()
                .group(black_box("orders"))
                .mutex_id_prefix(black_box("2026-"))
                .login(black_box("ada"))
        });
    });
    let holds: Vec<Mutex> = (0..HOLDS).map(hold).collect();
    criterion.bench_function("query: which of 100 holds fit", |bencher| {
        bencher.iter(|| {
            holds
                .iter()
                .filter(|hold| black_box(&query).fits(hold))
                .count()
        });
    });
    criterion.bench_function("page: 100 holds to JSON", |bencher| {
        let page = Page::new(holds.clone(), &query);
        bencher.iter(|| serde_json::to_string(black_box(&page)));
    });
}

fn hold(number: usize) -> Mutex {
    let id = MutexId::new("orders", "edit", format!("2026-{number}")).expect("it is one");
    let owner = MutexOwner::new(format!("session-{number}"))
        .and_then(|owner| owner.with_login("ada"))
        .expect("it is one");
    let token = FencingToken::new(1);
    Mutex::new(id, owner, AutoRelease::default(), token, Utc::now())
}
