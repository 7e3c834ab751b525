//! The dashboard and the alerts under examples/: they are about what is exported, and about all of it.

use std::{collections::BTreeSet, fs, path::Path};

use pgmutex::MutexId;
use serde_json::{Value, json};

use crate::{
    program::{Folder, program},
    support::{Serving, eventually},
};

fn example(name: &str) -> String {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("examples");
    fs::read_to_string(folder.join(name)).unwrap()
}

/// What a text in Prometheus's format exports: of a histogram, the names of its parts.
fn exported(text: &str) -> BTreeSet<String> {
    let samples = text
        .lines()
        .filter(|line| !line.starts_with('#') && !line.is_empty());
    let name = |line: &str| line.split(['{', ' ']).next().unwrap().to_owned();
    samples.map(name).collect()
}

/// The names of metrics in an expression of PromQL.
fn named(expression: &str) -> BTreeSet<String> {
    let is_part = |c: char| c.is_ascii_alphanumeric() || c == '_';
    let words = expression.split(|c| !is_part(c));
    words
        .filter(|word| word.starts_with("pgmutex_"))
        .map(str::to_owned)
        .collect()
}

/// Brackets that fit, and texts that end.
fn is_balanced(expression: &str) -> bool {
    let mut open = Vec::new();
    let mut in_text = false;
    for c in expression.chars() {
        match c {
            '"' => in_text = !in_text,
            _ if in_text => {}
            '(' => open.push(')'),
            '[' => open.push(']'),
            '{' => open.push('}'),
            ')' | ']' | '}' if open.pop() != Some(c) => return false,
            _ => {}
        }
    }
    open.is_empty() && !in_text
}

/// The names that a server and a command export once everything has happened that is counted.
async fn everything() -> BTreeSet<String> {
    let server = Serving::with(|server| server.collect_metrics()).await;
    let mutexes = server.mutexes.clone();
    let id = MutexId::new("tests", "watching", "1").unwrap();
    // A guard that is released, one that waited for it, and one that is lost.
    let first = mutexes.lock(&id).await.unwrap();
    let waiting = tokio::spawn({
        let (mutexes, id) = (mutexes.clone(), id.clone());
        async move { mutexes.lock(&id).await.unwrap() }
    });
    server.are_waiting(1).await;
    first.release().await.unwrap();
    let second = waiting.await.unwrap();
    let mut client = server.client().await;
    let request = "/canhaz/watched?wait=60";
    client.begin("GET", request, &[], "").await;
    assert_eq!(client.answer().await.unwrap().status, 200);
    mutexes.force_release(&id, "to see it lost").await.unwrap();
    second.lost().await;
    drop(second);
    let pool = json!({"collection": "farm", "payload": {"login": "a"}});
    assert_eq!(server.post("/v1/pools/add", pool).await.status, 200);
    // A page that is open.
    let mut page = server.client().await;
    page.begin("GET", "/v1/events", &[], "").await;
    let mut waiter = server.client().await;
    waiter.begin("GET", request, &[], "").await;
    server.are_waiting(1).await;
    let wanted = [
        "pgmutex_guards_lost_total",
        "pgmutex_http_viewers",
        "pgmutex_pool_sessions",
    ];
    let mut text = String::new();
    eventually(async || {
        text = server.get("/metrics").await.body;
        let names = exported(&text);
        // A busy machine may not have asked the database in time for this reading.
        text.contains("\npgmutex_database_up 1\n")
            && wanted.iter().all(|name| names.contains(*name))
    })
    .await;
    assert!(text.contains("\npgmutex_database_waiters 1\n"), "{text}");

    let folder = Folder::new("watching");
    let file = folder.file("job.prom");
    let arguments = ["capture", "tests/watching/2", "--wait", "60"];
    let mut command = program();
    command
        .args(arguments)
        .args(["--metrics-file", &file])
        .env("DATABASE_URL", server.database.url());
    assert!(command.output().unwrap().status.success());
    text.push_str(&fs::read_to_string(&file).unwrap());
    exported(&text)
}

/// What a dashboard of Grafana asks for.
fn expressions(value: &Value) -> Vec<&str> {
    let panels = value["panels"].as_array().unwrap();
    let targets = panels
        .iter()
        .filter_map(|panel| panel["targets"].as_array());
    targets
        .flatten()
        .map(|target| target["expr"].as_str().unwrap())
        .collect()
}

#[tokio::test]
async fn dashboard_and_alerts_are_about_what_is_exported() {
    let exported = everything().await;
    let dashboard: Value = serde_json::from_str(&example("grafana-dashboard.json")).unwrap();
    let mut shown = BTreeSet::new();
    for expression in expressions(&dashboard) {
        assert!(is_balanced(expression), "{expression}");
        let named = named(expression);
        assert!(!named.is_empty(), "{expression}");
        shown.extend(named);
    }
    for name in &shown {
        assert!(
            exported.contains(name),
            "{name} is shown, and nobody exports it"
        );
    }
    // Of a histogram, the buckets say all that sum and count do.
    let part = |name: &str| {
        let base = name.strip_suffix("_sum").or(name.strip_suffix("_count"));
        base.is_some_and(|base| exported.contains(&format!("{base}_bucket")))
    };
    for name in exported.iter().filter(|name| !part(name)) {
        assert!(shown.contains(name), "{name} is exported, and not shown");
    }
    let readme = fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("README.md"));
    let readme = readme.unwrap();
    for name in exported.iter().filter(|name| !part(name)) {
        let name = name.strip_suffix("_bucket").unwrap_or(name);
        assert!(
            readme.contains(&format!("`{name}`")),
            "{name} is not in the README"
        );
    }
    for rule in rules(&example("prometheus-alerts.yml")) {
        let expression = rule.value("expr");
        assert!(is_balanced(&expression), "{expression}");
        let named = named(&expression);
        assert!(!named.is_empty(), "{expression}");
        for name in named {
            assert!(
                exported.contains(&name),
                "{name} is in an alert, and nobody exports it"
            );
        }
    }
}

/// One rule: its lines, as names and values.
struct Rule(Vec<(String, String)>);

impl Rule {
    fn value(&self, name: &str) -> String {
        let mut found = self.0.iter().filter(|(field, _)| field == name);
        let (Some((_, value)), None) = (found.next(), found.next()) else {
            panic!("{name} is not there once: {:?}", self.0)
        };
        value.clone()
    }
}

/// The rules of a file that is written as ours is: a field a line, texts with `{{` in double quotes.
fn rules(text: &str) -> Vec<Rule> {
    let mut rules: Vec<Rule> = Vec::new();
    for line in text.lines() {
        assert!(!line.contains('\t'), "{line:?}");
        let field = line.trim_start_matches(' ');
        if field.is_empty() || field.starts_with('#') {
            continue;
        }
        let depth = line.len() - field.len();
        if let Some(alert) = field.strip_prefix("- alert: ") {
            assert_eq!(depth, 6, "{line:?}");
            rules.push(Rule(vec![("alert".to_owned(), alert.to_owned())]));
        } else if let Some(rule) = rules.last_mut() {
            let (name, value) = field.split_once(':').unwrap();
            let fits = match name {
                "expr" | "for" | "labels" | "annotations" => depth == 8,
                "severity" | "summary" | "description" => depth == 10,
                _ => false,
            };
            assert!(fits, "{line:?}");
            let value = value.trim();
            if matches!(name, "summary" | "description") {
                let inside = value
                    .strip_prefix('"')
                    .and_then(|rest| rest.strip_suffix('"'));
                assert!(inside.is_some_and(|text| !text.contains('"')), "{line:?}");
            } else {
                // What YAML would take for something else in a plain text.
                assert!(!value.contains(": ") && !value.contains(" #"), "{line:?}");
                assert!(!value.starts_with(['{', '[', '"', '&', '*']), "{line:?}");
            }
            rule.0.push((name.to_owned(), value.to_owned()));
        }
    }
    rules
}

#[test]
fn every_alert_says_what_to_do() {
    let rules = rules(&example("prometheus-alerts.yml"));
    let names: BTreeSet<String> = rules.iter().map(|rule| rule.value("alert")).collect();
    assert_eq!(names.len(), rules.len());
    assert!(rules.len() >= 8);
    for rule in &rules {
        let name = rule.value("alert");
        assert!(rule.value("description").len() > 40, "{name}");
        assert!(!rule.value("summary").is_empty(), "{name}");
        let severity = rule.value("severity");
        assert!(
            ["info", "warning", "critical"].contains(&severity.as_str()),
            "{name}"
        );
    }
}

#[tokio::test]
async fn a_server_whose_database_does_not_answer_says_so_and_leaves_out_what_it_does_not_know() {
    let server = Serving::with(|server| server.collect_metrics()).await;
    let client = server.database.client().await;
    client
        .batch_execute("alter schema pgmutex rename to away")
        .await
        .unwrap();
    let text = server.get("/metrics").await.body;
    assert!(text.contains("\npgmutex_database_up 0\n"), "{text}");
    assert!(!text.contains("pgmutex_database_holds"), "{text}");
    client
        .batch_execute("alter schema away rename to pgmutex")
        .await
        .unwrap();
    eventually(async || {
        let text = server.get("/metrics").await.body;
        text.contains("\npgmutex_database_holds 0\n")
    })
    .await;
}

#[tokio::test]
async fn the_dashboard_can_be_imported_anywhere() {
    let dashboard: Value = serde_json::from_str(&example("grafana-dashboard.json")).unwrap();
    let panels = dashboard["panels"].as_array().unwrap();
    let mut numbers = BTreeSet::new();
    for panel in panels {
        assert!(numbers.insert(panel["id"].as_u64().unwrap()), "{panel}");
        if panel["type"] != "row" {
            assert_eq!(panel["datasource"]["uid"], "${datasource}", "{panel}");
            assert!(
                !panel["description"].as_str().unwrap().is_empty(),
                "{panel}"
            );
        }
    }
    let variables = dashboard["templating"]["list"].as_array().unwrap();
    let is_source =
        |variable: &Value| variable["name"] == "datasource" && variable["type"] == "datasource";
    assert!(variables.iter().any(is_source));
    // The number that the place it is imported into gives it.
    assert_eq!(dashboard.get("id"), None);
}
