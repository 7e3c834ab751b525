//! At a terminal: what is asked, colours, and lines that fit. The terminal is one of `script`'s
//! (util-linux).

use std::{
    io::Write as _,
    process::{Command, Stdio},
};

use crate::{
    program::{Ended, pgmutex, run},
    support::{Database, mutex_id, owner},
};

/// Runs the program at a terminal of so many columns, in which this is typed.
pub(crate) fn at_terminal(url: &str, columns: u32, arguments: &[&str], typed: &str) -> Ended {
    in_environment(url, columns, arguments, typed, &[])
}

fn in_environment(
    url: &str,
    columns: u32,
    arguments: &[&str],
    typed: &str,
    variables: &[(&str, &str)],
) -> Ended {
    let quoted = |word: &&str| format!("'{}'", word.replace('\'', r"'\''"));
    let words: Vec<String> = arguments.iter().map(quoted).collect();
    let program = env!("CARGO_BIN_EXE_pgmutex");
    // What is typed is read when it is asked for: not echoed before.
    let line = format!(
        "stty cols {columns} rows 50 -echo; '{program}' {}",
        words.join(" ")
    );
    let mut script = Command::new("script");
    for (name, value) in pgmutex(&[]).get_envs() {
        match value {
            Some(value) => script.env(name, value),
            None => script.env_remove(name),
        };
    }
    let mut child = script
        .args(["--quiet", "--return", "--command", &line, "/dev/null"])
        .env("SHELL", "/bin/sh")
        .env("DATABASE_URL", url)
        .envs(variables.iter().copied())
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("script is needed: apt-get install util-linux (bsdutils)");
    let mut keys = child.stdin.take().unwrap();
    keys.write_all(typed.as_bytes()).unwrap();
    // Its end would end the terminal.
    let ended = child.wait_with_output().unwrap();
    drop(keys);
    ended.into()
}

/// As many columns as a text takes on a terminal, without its colours.
pub(crate) fn columns(line: &str) -> usize {
    let mut count = 0;
    let mut rest = line.trim_end_matches('\r').chars();
    while let Some(c) = rest.next() {
        match c {
            '\u{1b}' => drop(rest.by_ref().find(char::is_ascii_alphabetic)),
            // Characters of East Asia are twice as wide.
            '\u{2e80}'.. => count += 2,
            _ => count += 1,
        }
    }
    count
}

#[tokio::test]
async fn no_line_is_longer_than_the_terminal() {
    let database = Database::fresh().await;
    let url = database.url();
    let mutexes = database.mutexes().await;
    mutexes.enable_audit().await.unwrap();
    for number in 0..3 {
        let id = mutex_id(&format!("a-very-long-name-of-a-mutex-東京-{number}"));
        let owner = owner(&"long-session-".repeat(9))
            .with_name("A name that is long, too")
            .unwrap();
        let capture = mutexes
            .capture(&id)
            .owner(owner.with_host("a.host.far.away.example").unwrap());
        capture
            .status_data("what it does ".repeat(30))
            .await
            .unwrap();
    }
    let pool: pgmutex::SessionPool = pgmutex::SessionPool::new(&mutexes, "accounts");
    pool.add(&serde_json::json!({"login": "a".repeat(200)}))
        .await
        .unwrap();
    let mutex = "tests/step/a-very-long-name-of-a-mutex-東京-1";
    for arguments in [
        &["list"][..],
        &["show", mutex],
        &["list", "--waiting"],
        &["pool", "stats"],
        &["pool", "list", "accounts", "--payload"],
        &["pool", "show", "accounts", "1", "--payload"],
        &["sweep"],
        &["audit", "list"],
        &["doctor"],
    ] {
        for width in [80_u32, 40] {
            let shown = at_terminal(url, width, arguments, "");
            // The tests' server would forget what it has in a crash: a problem.
            let code = i32::from(arguments == ["doctor"]);
            assert_eq!(shown.code, Some(code), "{arguments:?}: {shown:?}");
            assert!(!shown.output.is_empty());
            for line in shown.output.lines() {
                // Names are to be copied as they are, and messages are no answers.
                let is_whole = line.contains(&mutex[mutex.len() - 10..]);
                let is_whole = is_whole || line.starts_with("pgmutex: ");
                assert!(
                    columns(line) <= width as usize || is_whole,
                    "{arguments:?}, {width} columns: {line:?} in {}",
                    shown.output
                );
            }
        }
    }
    let list = at_terminal(url, 80, &["list"], "").output;
    assert!(list.contains('…') && list.contains("HOLDER"), "{list}");
    let narrow = at_terminal(url, 40, &["list"], "").output;
    assert!(narrow.contains("HOLDER: A name"), "{narrow}");
    // COLUMNS says more than the terminal.
    let said = in_environment(url, 80, &["list"], "", &[("COLUMNS", "40")]).output;
    assert!(said.contains("HOLDER: A name"), "{said}");
    // Where it is no terminal nothing is cut.
    assert!(!run(url, &["list"]).output.contains('…'));
}

#[tokio::test]
async fn colours_are_for_terminals_unless_somebody_says_otherwise() {
    let database = Database::fresh().await;
    let url = database.url();
    let show = ["show", "a/b/c"];
    let has_colours = |shown: Ended| {
        assert_eq!(shown.code, Some(0), "{shown:?}");
        shown.output.contains("\u{1b}[32m")
    };
    assert!(has_colours(at_terminal(url, 80, &show, "")));
    assert!(!has_colours(run(url, &show)));
    let no_color = [("NO_COLOR", "1")];
    assert!(!has_colours(in_environment(url, 80, &show, "", &no_color)));
    let unset = [("NO_COLOR", "")];
    assert!(has_colours(in_environment(url, 80, &show, "", &unset)));
    let with = |when: &'static str| [&show[..], &["--color", when]].concat();
    assert!(!has_colours(at_terminal(url, 80, &with("never"), "")));
    assert!(has_colours(run(url, &with("always"))));
    assert!(has_colours(in_environment(
        url,
        80,
        &with("always"),
        "",
        &no_color
    )));
}
