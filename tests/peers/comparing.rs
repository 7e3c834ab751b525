//! The whole command.

use pgmutex::private_server::PrivatePostgres;
use serde_json::Value;

use crate::{program::run, raw, support::PeerServer};

#[test]
fn redis_and_etcd_are_measured_beside_the_others_and_left_empty() {
    let postgres = PrivatePostgres::start().unwrap_or_else(|error| panic!("{error}"));
    let (redis, etcd) = (PeerServer::redis(), PeerServer::etcd());

    let arguments = [
        "bench", "--set", "smoke", "--json", "--redis", &redis.url, "--etcd", &etcd.url,
    ];
    let ended = run(&postgres.url("postgres"), &arguments);
    assert_eq!(ended.code, Some(0), "{}", ended.said);
    let report: Value = serde_json::from_str(&ended.output).unwrap();

    let peers: Vec<&str> = texts(&report["peers"]);
    assert!(
        peers[0].ends_with(", appendonly yes, appendfsync always"),
        "{peers:?}"
    );
    assert!(peers[1].starts_with("etcd 3."), "{peers:?}");

    let parts = report["parts"].as_array().unwrap();
    let pairs = parts.iter().filter(|part| part["scenario"] == "pairs");
    let mut samples = [0, 0];
    for part in pairs {
        for (peer, samples) in ["redis", "etcd"].iter().zip(&mut samples) {
            let contenders = part["contenders"].as_array().unwrap();
            let mut named = contenders.iter().filter(|one| one["contender"] == *peer);
            let one = named.next().unwrap_or_else(|| panic!("no {peer}: {part}"));
            assert!(named.next().is_none(), "{peer} twice: {part}");
            for figure in ["p50_ms", "p99_ms", "per_second"] {
                assert!(one[figure].as_f64().unwrap() > 0.0, "{figure}: {one}");
            }
            *samples += one["samples"].as_u64().unwrap();
        }
    }

    // Each pair that was counted was done there, and nothing of it is left.
    assert!(samples.iter().all(|count| *count > 0), "{samples:?}");
    let (set, deleted) = (calls(&redis.url, "set"), calls(&redis.url, "del"));
    assert!(set >= samples[0], "{set} of {}", samples[0]);
    assert_eq!(set, deleted);
    assert_eq!(raw::redis(&redis.url, "DBSIZE"), ":0\r\n");
    let everything = r#"{"key": "AA==", "range_end": "AA=="}"#;
    let kept = raw::etcd(&etcd.url, "kv/range", everything);
    assert!(kept.get("kvs").is_none(), "{kept}");
    let revision = kept["header"]["revision"].as_str().unwrap();
    // Creating a key is a revision, and its end another one.
    let revision: u64 = revision.parse().unwrap();
    assert!(revision > 2 * samples[1], "{revision} of {}", samples[1]);
    let leases = raw::etcd(&etcd.url, "lease/leases", "{}");
    assert!(leases.get("leases").is_none(), "{leases}");
}

#[test]
fn a_peer_that_cannot_be_reached_is_said_before_anything_is_made() {
    let postgres = PrivatePostgres::start().unwrap_or_else(|error| panic!("{error}"));
    for (peer, url, said) in [
        (
            "--redis",
            "unix:///nowhere/redis.sock",
            "cannot connect to Redis at /nowhere/redis.sock: ",
        ),
        (
            "--etcd",
            "http://127.0.0.1:1",
            "etcd at http://127.0.0.1:1: ",
        ),
    ] {
        let arguments = ["bench", "--set", "smoke", peer, url];
        let ended = run(&postgres.url("postgres"), &arguments);
        assert_eq!(ended.code, Some(1), "{ended:?}");
        assert!(ended.said.contains(said), "{}", ended.said);
        assert_eq!(ended.output, "");
    }
}

/// How often a command was called, by scripts too.
fn calls(url: &str, command: &str) -> u64 {
    let info = raw::redis(url, "INFO commandstats");
    let prefix = format!("cmdstat_{command}:calls=");
    let mut counts = info.lines().filter_map(|line| line.strip_prefix(&prefix));
    let count = counts.next().and_then(|rest| rest.split(',').next());
    count.unwrap_or_else(|| panic!("{info}")).parse().unwrap()
}

fn texts(list: &Value) -> Vec<&str> {
    let list = list.as_array().unwrap();
    list.iter().map(|text| text.as_str().unwrap()).collect()
}
