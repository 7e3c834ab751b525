//! `doctor`.

use pgmutex::private_server::PrivatePostgres;
use serde_json::Value;

use crate::{program::run, snapshot::json_lines, support::Database, terminal::at_terminal};

fn verdict_on(subject: &str, seen: &Value) -> String {
    let mut findings = seen["findings"].as_array().unwrap().iter();
    let finding = findings.find(|finding| finding["subject"] == subject);
    let finding = finding.unwrap_or_else(|| panic!("{subject}: {seen:#}"));
    finding["verdict"].as_str().unwrap().to_owned()
}

#[tokio::test]
async fn where_all_is_well_it_says_so() {
    let server = PrivatePostgres::builder().durable(true).start().unwrap();
    let url = server.url("postgres");
    assert_eq!(run(&url, &["migrate"]).code, Some(0));
    let healthy = run(&url, &["doctor", "--json"]);
    assert_eq!(healthy.code, Some(0), "{healthy:?}");
    let seen = &json_lines(&healthy)[0];
    for subject in ["connection", "schema", "rights", "durability"] {
        assert_eq!(verdict_on(subject, seen), "ok", "{seen:#}");
    }
    assert_ne!(seen["worst"], "problem");
    let shown = run(&url, &["doctor"]);
    assert_eq!((shown.code, shown.said.as_str()), (Some(0), ""));
    let findings = seen["findings"].as_array().unwrap();
    for finding in findings {
        let subject = finding["subject"].as_str().unwrap();
        let begins = |line: &str| line[8..].starts_with(subject);
        assert!(shown.output.lines().any(begins), "{subject}: {shown:?}");
        // How long the way is, each run finds anew.
        let advice = finding["advice"].as_str();
        if let Some(advice) = advice.filter(|_| subject != "round trip") {
            assert!(shown.output.contains(advice.trim()), "{advice}: {shown:?}");
        }
    }
}

#[tokio::test]
async fn a_problem_is_a_failure_and_has_advice() {
    let database = Database::empty().await;
    let nothing = run(database.url(), &["doctor", "--json"]);
    assert_eq!(nothing.code, Some(1), "{nothing:?}");
    assert!(nothing.said.contains("schema"), "{nothing:?}");
    let seen = &json_lines(&nothing)[0];
    assert_eq!(verdict_on("schema", seen), "problem");
    assert_eq!(seen["worst"], "problem");
    let shown = at_terminal(database.url(), 80, &["doctor"], "");
    assert_eq!(shown.code, Some(1));
    assert!(shown.output.contains("\u{1b}[31mproblem"), "{shown:?}");
}
