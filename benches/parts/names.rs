use std::hint::black_box;

use criterion::Criterion;
use pgmutex::{MutexId, Mutexes, SessionBackend};

pub(crate) fn all(criterion: &mut Criterion) {
    criterion.bench_function("name: new", |bencher| {
        bencher.iter(|| MutexId::new(black_box("orders"), black_box("edit"), black_box("42")));
    });
    let id = MutexId::new("orders", "edit", "42").expect("it is one");
    criterion.bench_function("name: to text", |bencher| {
        bencher.iter(|| black_box(&id).to_string());
    });
    let json = serde_json::to_string(&id).expect("a name has a text");
    criterion.bench_function("name: from JSON", |bencher| {
        bencher.iter(|| serde_json::from_str::<MutexId>(black_box(&json)));
    });
    paths(criterion);
}

fn paths(criterion: &mut Criterion) {
    let tree = Mutexes::builder()
        .backend(SessionBackend::new())
        .tree("warehouse");
    let segments = [
        "hall 1", "aisle 7", "rack 3", "shelf/2", "box 5", "lot 100%", "item 9", "part 4",
    ];
    criterion.bench_function("path of 8 levels: new", |bencher| {
        bencher.iter(|| tree.path(black_box(segments)));
    });
    let path = tree.path(segments).expect("it is one");
    criterion.bench_function("path of 8 levels: parent", |bencher| {
        bencher.iter(|| black_box(&path).parent());
    });
    criterion.bench_function("path of 8 levels: segments", |bencher| {
        bencher.iter(|| black_box(&path).segments());
    });
}
