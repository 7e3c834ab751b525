use std::hint::black_box;

use criterion::Criterion;
use pgmutex::{Error, MutexOwner};

pub(crate) fn all(criterion: &mut Criterion) {
    criterion.bench_function("owner: new, with everything", |bencher| {
        bencher.iter(|| complete(black_box("session-3f9c")));
    });
    let owner = complete("session-3f9c").expect("it is one");
    criterion.bench_function("owner: to text", |bencher| {
        bencher.iter(|| black_box(&owner).to_string());
    });
    let other = complete("session-3f9d").expect("it is one");
    criterion.bench_function("owner: is the same", |bencher| {
        bencher.iter(|| black_box(&owner).is_same(black_box(&other)));
    });
}

fn complete(session: &str) -> Result<MutexOwner, Error> {
    MutexOwner::new(session)?
        .with_user_id("7")?
        .with_login("ada")?
        .with_name("Ada")?
        .with_host("app-1.example")
}
