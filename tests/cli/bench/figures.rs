//! What it prints.

use pgmutex::Mutexes;
use serde_json::Value;

use super::{is_gone, own_server};
use crate::{
    program::{Ended, pgmutex, run},
    support::{Database, mutex_id, owner, session_at},
    terminal::{at_terminal, columns},
};

const SCENARIOS: [&str; 9] = [
    "memory",
    "idle",
    "refresh",
    "pairs",
    "hand-over",
    "trees",
    "pool",
    "rows",
    "list",
];

fn report(ended: &Ended) -> Value {
    assert_eq!(ended.code, Some(0), "{ended:?}");
    serde_json::from_str(&ended.output).unwrap_or_else(|_| panic!("{ended:?}"))
}

fn number(value: &Value, name: &str) -> f64 {
    let number = value[name].as_f64();
    let number = number.unwrap_or_else(|| panic!("{name}: {value:#}"));
    assert!(number.is_finite(), "{name}: {value:#}");
    number
}

fn contenders(part: &Value) -> &[Value] {
    part["contenders"].as_array().map_or(&[], Vec::as_slice)
}

fn named<'a>(list: &'a [Value], key: &str, name: &str) -> &'a Value {
    let found = list.iter().find(|one| one[key] == name);
    found.unwrap_or_else(|| panic!("{name}: {list:#?}"))
}

#[tokio::test]
async fn the_smallest_set_is_complete() {
    let server = own_server();
    let url = server.url("postgres");
    let mutexes = Mutexes::connect(&url).await.unwrap();
    mutexes.migrate().await.unwrap();
    let (id, me) = (mutex_id("of the application's"), owner("me"));
    let mine = mutexes.capture(&id).owner(me.clone()).await.unwrap();

    let ended = run(&url, &["bench", "--set", "smoke", "--seed", "7", "--json"]);
    let report = report(&ended);

    assert_eq!(report["seed"], 7);
    assert_eq!(report["set"], "smoke");
    assert_eq!(report["on"]["fsync"], "off");
    assert!(ended.said.contains("fsync is off"), "{ended:?}");
    assert_eq!(report["on"]["is_local"], true);
    let parts = report["parts"].as_array().unwrap();
    for scenario in SCENARIOS {
        let of_it = || parts.iter().filter(|part| part["scenario"] == scenario);
        assert!(of_it().count() > 0, "{scenario}");
        for part in of_it() {
            let figures = part["figures"].as_array().map_or(0, Vec::len);
            assert!(figures + contenders(part).len() > 0, "{part:#}");
            are_sound(contenders(part));
        }
    }
    let pairs = named(parts, "setting", "1 task");
    for contender in [
        "raw",
        "round trip",
        "five statements",
        "session lock",
        "pgmutex",
    ] {
        let one = named(contenders(pairs), "contender", contender);
        assert!(number(one, "samples") >= 1.0, "{one:#}");
        // What each of them does is known, and is counted by the server: three of these write twice.
        let (writes, trips) = match contender {
            "raw" => (2.0, 2.0),
            "five statements" => (2.0, 9.0),
            "pgmutex" => (2.0, 2.0),
            "session lock" => (0.0, 2.0),
            _ => (0.0, 1.0),
        };
        assert!(
            (number(one, "transactions") - writes).abs() < 0.5,
            "{one:#}"
        );
        assert!((number(one, "round_trips") - trips).abs() < 0.5, "{one:#}");
        assert_eq!(number(one, "wal_bytes") > 50.0, writes > 0.0, "{one:#}");
        #[cfg(target_os = "linux")]
        assert!(number(one, "server_cpu_us") > 0.0, "{one:#}");
    }
    let targets = report["targets"].as_array().unwrap();
    assert_eq!(targets.len(), 10);
    let at_one_task = named(targets, "what", "p50 of a pair, 1 task: raw");
    let ours = named(contenders(pairs), "contender", "pgmutex");
    let ratio = number(&ours["ratios"]["raw"], "p50");
    assert_eq!(number(at_one_task, "measured"), ratio);
    // Neither does it wait for the disk here, nor is it long enough to say so.
    let is_met = targets.iter().any(|target| !target["met"].is_null());
    assert!(!is_met, "{targets:#?}");
    assert_eq!(at_one_task["note"], "fsync is off");
    let idle = named(parts, "scenario", "idle")["figures"]
        .as_array()
        .unwrap();
    assert_eq!(number(named(idle, "name", "rows written"), "value"), 0.0);
    // A capture writes once; its release is not among what is counted.
    let rows = named(parts, "scenario", "rows");
    for capture in &contenders(rows)[1..] {
        assert!(
            (number(capture, "transactions") - 1.0).abs() < 0.3,
            "{capture:#}"
        );
    }

    assert!(is_gone(&session_at(&url).await).await);
    let still = mutexes.capture(&id).owner(me).await.unwrap();
    assert_eq!(still.fencing_token, mine.fencing_token);
}

/// All have done something, and what is said of two of them is the quotient of what is shown.
fn are_sound(contenders: &[Value]) {
    for one in contenders {
        for name in ["samples", "p50_ms", "p99_ms", "per_second"] {
            assert!(number(one, name) > 0.0, "{name}: {one:#}");
        }
        assert!(number(one, "p50_ms") <= number(one, "p99_ms"), "{one:#}");
        let bases = contenders.iter().filter(|base| base["is_base"] == true);
        assert!(bases.clone().count() > 0);
        for base in bases {
            let ratio = &one["ratios"][base["contender"].as_str().unwrap()];
            for (quotient, figure) in [("p50", "p50_ms"), ("per_second", "per_second")] {
                let expected = number(one, figure) / number(base, figure);
                let found = number(ratio, quotient);
                assert!(
                    (found - expected).abs() <= expected * 1e-9,
                    "{one:#} {base:#}"
                );
            }
        }
    }
}

#[tokio::test]
async fn a_table_fits_a_terminal_which_sees_how_far_it_is() {
    let database = Database::empty().await;
    let arguments = [
        "bench",
        "--quick",
        "--scenario",
        "trees",
        "--scenario",
        "idle",
        "--scenario",
        "list",
    ];
    let shown = at_terminal(database.url(), 80, &arguments, "");
    assert_eq!(shown.code, Some(0), "{shown:?}");
    let lines = || shown.output.lines();
    let said = "pgmutex: trees, 1 task: round 0 of 1";
    assert!(lines().any(|line| line.trim_end() == said), "{shown:?}");
    for line in lines().filter(|line| !line.starts_with("pgmutex: ")) {
        assert!(columns(line) <= 80, "{line:?} in {}", shown.output);
    }
    for whole in ["path, 8 deep", "P50 MS", "RATE ×", "5000 held", "MEASURED"] {
        assert!(shown.output.contains(whole), "{whole}: {}", shown.output);
    }
    // Elsewhere nobody looks at it while it runs.
    let quiet = run(database.url(), &["bench", "--quick", "--scenario", "list"]);
    assert_eq!(quiet.code, Some(0), "{quiet:?}");
    assert!(!quiet.said.contains("round"), "{quiet:?}");
}

#[test]
fn without_a_database_it_starts_one_that_waits_for_the_disk() {
    let mut command = pgmutex(&["bench", "--quick", "--scenario", "list", "--json"]);
    let ended = Ended::from(command.output().unwrap());
    let report = report(&ended);
    assert_eq!(report["on"]["fsync"], "on");
    let parts = report["parts"].as_array().unwrap();
    assert!(parts.iter().all(|part| part["scenario"] == "list"));
    are_sound(contenders(&parts[0]));
}
