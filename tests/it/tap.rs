//! The checks in tests/sql: plain SQL, run by psql as a person would, on a database each, and answered in
//! the Test Anything Protocol (<https://testanything.org/tap-version-13-specification.html>).

use std::{
    fs,
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use crate::support::Database;

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/sql")
}

#[tokio::test]
async fn every_file_of_checks_passes() {
    let mut files: Vec<PathBuf> = fs::read_dir(folder())
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.extension().is_some_and(|extension| extension == "sql"))
        .filter(|path| path.file_name().is_some_and(|name| name != "tap.sql"))
        .collect();
    files.sort();
    assert!(files.len() >= 6, "{files:?}");
    let mut problems = Vec::new();
    for file in files {
        problems.extend(problems_in(&file).await);
    }
    assert!(problems.is_empty(), "\n{}", problems.join("\n"));
}

/// What is wrong with a file of checks, each with its place.
async fn problems_in(file: &Path) -> Vec<String> {
    let database = Database::fresh().await;
    let psql = Command::new("psql")
        .args([
            "--no-psqlrc",
            "--quiet",
            "--no-align",
            "--tuples-only",
            "--set=ON_ERROR_STOP=1",
        ])
        .arg(format!("--dbname={}", database.url()))
        .arg("--file")
        .arg(folder().join("tap.sql"))
        .arg("--file")
        .arg(file)
        .stdin(Stdio::null())
        .output()
        .unwrap_or_else(|error| {
            panic!("psql cannot be run ({error}); install it: apt-get install postgresql-client")
        });
    let mut problems = problems_of(
        &file.display().to_string(),
        &fs::read_to_string(file).unwrap(),
        &String::from_utf8_lossy(&psql.stdout),
    );
    if !psql.status.success() {
        // It names the file and the line.
        problems.push(String::from_utf8_lossy(&psql.stderr).into_owned());
    }
    problems
}

/// What is wrong with the answers to a file of checks: those that failed, and a plan that was not
/// kept.
fn problems_of(file: &str, text: &str, answers: &str) -> Vec<String> {
    let mut problems = Vec::new();
    let mut plan = None;
    let mut ran = 0;
    for answer in answers.lines() {
        if let Some(planned) = answer.strip_prefix("1..") {
            if plan.replace(planned.parse::<usize>()).is_some() {
                problems.push(format!("{file}: more than one plan"));
            }
            continue;
        }
        let (passed, rest) = match (answer.strip_prefix("ok "), answer.strip_prefix("not ok ")) {
            (Some(rest), _) => (true, rest),
            (_, Some(rest)) => (false, rest),
            _ => {
                // Diagnostics belong to the check before them.
                if let (Some(problem), true) = (problems.last_mut(), answer.starts_with("#  ")) {
                    problem.push_str(&format!("\n{answer}"));
                }
                continue;
            }
        };
        ran += 1;
        let (number, description) = rest.split_once(" - ").unwrap_or((rest, ""));
        if number.parse() != Ok(ran) {
            problems.push(format!("{file}: number {number} comes as number {ran}"));
        }
        if !passed {
            let line = line_of(text, description).map_or("?".to_owned(), |line| line.to_string());
            problems.push(format!("{file}:{line}: {answer}"));
        }
    }
    match plan {
        Some(Ok(planned)) if planned == ran => {}
        Some(Ok(planned)) => problems.push(format!("{file}: {planned} planned, but {ran} ran")),
        Some(Err(error)) => problems.push(format!("{file}: no number is planned: {error}")),
        None => problems.push(format!("{file}: no plan")),
    }
    problems
}

/// The line of a file on which a check is described so.
fn line_of(text: &str, description: &str) -> Option<usize> {
    let literal = format!("'{}'", description.replace('\'', "''"));
    let line = text.lines().position(|line| line.contains(&literal))?;
    Some(line + 1)
}

/// Runs checks that are not in the folder.
async fn problems_of_checks(name: &str, text: &str) -> Vec<String> {
    let file = std::env::temp_dir().join(format!("pgmutex-{}-{name}.sql", std::process::id()));
    fs::write(&file, text).unwrap();
    let problems = problems_in(&file).await;
    fs::remove_file(&file).unwrap();
    problems
}

/// That a check can fail, whichever function it is made with, and that its place is named.
#[tokio::test]
async fn checks_that_do_not_hold_are_found() {
    let failing = "select plan(9);
select is(outcome, 'busy', 'a free one is busy') from pgmutex.capture('g', 'm', '1', 'me');
select ok(null, 'nobody knows');
select is(1, null::integer, 'one is nothing');
select isnt('a'::text, 'a', 'a is not a');
select matches('abc', '^b', 'it begins with b');
select is_empty('select 1', 'nothing is selected');
select throws_ok('select 1', '22012', null, 'it does not throw');
select throws_ok('select 1 / 0', 'PM003', null, 'it throws something else');
select throws_hint('select 1 / 0', 'do not', 'it''s without a hint');
select * from finish();
";
    let problems = problems_of_checks("failing", failing).await;
    assert_eq!(problems.len(), 9, "{problems:#?}");
    for (place, problem) in problems.iter().enumerate() {
        let (line, number) = (place + 2, place + 1);
        assert!(
            problem.contains(&format!("failing.sql:{line}: not ok {number} - ")),
            "{problem}"
        );
    }
    assert!(
        problems[0].contains("have: captured") && problems[0].contains("want: busy"),
        "{}",
        problems[0]
    );
    assert!(problems[7].contains("caught: 22012"), "{}", problems[7]);
}

#[tokio::test]
async fn a_plan_that_is_not_kept_and_an_error_are_found() {
    let short = problems_of_checks("short", "select plan(2);\nselect ok(true, 'fine');\n").await;
    assert!(
        short.len() == 1 && short[0].contains("2 planned, but 1 ran"),
        "{short:?}"
    );
    let unplanned = problems_of_checks("unplanned", "select ok(true, 'fine');\n").await;
    assert!(
        unplanned.len() == 1 && unplanned[0].contains("no plan"),
        "{unplanned:?}"
    );
    let empty = problems_of_checks("empty", "").await;
    assert!(
        empty.len() == 1 && empty[0].contains("no plan"),
        "{empty:?}"
    );
    let text = "select plan(1);\nselect ok(true, 'fine');\nselect pgmutex.capture();\nselect ok(false, 'never run');\n";
    let broken = problems_of_checks("broken", text).await;
    assert!(
        broken.len() == 1 && broken[0].contains("broken.sql:3: ERROR"),
        "{broken:?}"
    );
    let fine = problems_of_checks("fine", "select plan(1);\nselect ok(true, 'fine');\n").await;
    assert!(fine.is_empty(), "{fine:?}");
}
