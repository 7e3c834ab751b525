use std::{hint::black_box, time::Duration};

use criterion::Criterion;
use pgmutex::{AutoRelease, chrono::Utc};

pub(crate) fn all(criterion: &mut Criterion) {
    let rules = [
        ("timeout", AutoRelease::Timeout(Duration::from_secs(300))),
        ("deadline", AutoRelease::Deadline(Utc::now())),
        (
            "connection",
            AutoRelease::Connection {
                session: 4711,
                timeout: Some(Duration::from_secs(300)),
            },
        ),
    ];
    for (name, rule) in rules {
        criterion.bench_function(&format!("rule {name}: to texts"), |bencher| {
            bencher.iter(|| black_box(&rule).dump());
        });
        let (code, config) = rule.dump();
        criterion.bench_function(&format!("rule {name}: from texts"), |bencher| {
            bencher.iter(|| {
                AutoRelease::restore(black_box(code.as_str()), black_box(config.as_str()))
            });
        });
    }
}
