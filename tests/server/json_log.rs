//! The log as JSON: for programs that collect logs.

use std::fs;

use pgmutex::server::{Role, TokenList};
use serde_json::{Map, Value, json};

use crate::{
    program::{Folder, Program},
    support::Database,
};

#[tokio::test]
async fn each_line_is_one_object_whatever_the_names_are() {
    let folder = Folder::new("json-log");
    let (list, log) = (folder.file("tokens"), folder.file("log"));
    let (bearer, line) = TokenList::new_token("the-boss", Role::Admin).unwrap();
    fs::write(&list, line).unwrap();
    let database = Database::fresh().await;
    let url = database.url();
    let mut arguments = vec!["--database-url", &url, "--tokens-file", &list];
    arguments.extend(["--log", "trace", "--log-format", "json"]);
    let served = Program::logging_to(fs::File::create(&log).unwrap(), &arguments);
    let mut client = served.client().await;
    let authorization = format!("Bearer {}", bearer.reveal());
    let headers = [
        ("authorization", authorization.as_str()),
        ("content-type", "application/json"),
    ];
    // What could end a line, a text or an object, or begin another event.
    let strange = "a\"}\n{\"level\":\"ERROR\"}\r\u{1b}[31m\\ \u{7}\u{2028}\u{202e}é";
    let mutex = json!({"group": strange, "mode": "m", "id": strange});
    let owner = json!({"session": "s", "name": strange});
    let capture = json!({"mutex": mutex, "owner": owner, "request_id": "r"});
    let captured = client
        .ask("POST", "/v1/capture", &headers, &capture.to_string())
        .await;
    assert_eq!(captured.status, 200, "{captured:?}");
    let force = json!({"mutex": mutex, "reason": strange});
    let forced = client
        .ask("POST", "/v1/force-release", &headers, &force.to_string())
        .await;
    assert_eq!(forced.status, 200, "{forced:?}");
    assert_eq!(served.terminate(), Some(0));

    let log = fs::read_to_string(&log).unwrap();
    let events: Vec<Map<String, Value>> = log
        .lines()
        .map(|line| serde_json::from_str(line).unwrap_or_else(|error| panic!("{error}: {line}")))
        .collect();
    for event in &events {
        for field in ["timestamp", "level", "target"] {
            assert!(event[field].is_string(), "{field}: {event:?}");
        }
        // None was forged: the program has nothing to complain of.
        assert_ne!(event["level"], "ERROR", "{event:?}");
    }
    let forced: Vec<_> = events
        .iter()
        .filter(|event| event.get("message").and_then(Value::as_str) == Some("release forced"))
        .collect();
    let [forced] = forced[..] else {
        panic!("{forced:?}")
    };
    assert_eq!(forced["level"], "WARN");
    let reason = forced["reason"].as_str().unwrap();
    assert!(reason.starts_with("a\"}"), "{reason}");
    assert!(
        reason.ends_with("é (asked for by the-boss, over HTTP)"),
        "{reason}"
    );
    for field in ["mutex", "holder", "token"] {
        assert!(forced.contains_key(field), "{field}: {forced:?}");
    }
    // Nothing that a terminal would obey is in it.
    let obeyed = |c: &char| c.is_control() && *c != '\n';
    assert_eq!(log.chars().find(obeyed), None);
}
