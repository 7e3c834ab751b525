//! What the README tells a pipeline to do.

use std::{
    fs,
    os::unix::fs::PermissionsExt as _,
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use crate::{
    program::{Ended, pgmutex},
    support::Database,
};

const README: &str = include_str!("../../README.md");

/// The README's block of commands, of which the database is this one and the program is there already.
fn commands(url: &str) -> String {
    let section = README.split("## Deploy pipelines").nth(1).unwrap();
    let block = section.split("```sh\n").nth(1).unwrap();
    let block = block.split("```").next().unwrap();
    let lines = block.lines().filter_map(|line| match line.split_once(' ') {
        Some(("cargo", _)) => None,
        Some(("export", rest)) if rest.starts_with("DATABASE_URL=") => {
            Some(format!("export DATABASE_URL='{url}'"))
        }
        _ => Some(line.to_owned()),
    });
    let commands = lines.collect::<Vec<_>>().join("\n");
    assert!(commands.contains("pgmutex migrate"), "{commands}");
    commands
}

/// A folder of a pipeline's own, with a `deploy.sh` in it.
struct Workplace(PathBuf);

impl Workplace {
    fn new(name: &str, deploy: &str) -> Self {
        let folder = format!("pgmutex-pipeline-{name}-{}", std::process::id());
        let place = std::env::temp_dir().join(folder);
        fs::create_dir_all(&place).unwrap();
        let script = place.join("deploy.sh");
        fs::write(&script, format!("#!/bin/sh\n{deploy}\n")).unwrap();
        fs::set_permissions(&script, fs::Permissions::from_mode(0o755)).unwrap();
        Self(place)
    }

    /// The commands, in a shell that finds the program.
    fn shell(&self, commands: &str) -> Command {
        let program = Path::new(env!("CARGO_BIN_EXE_pgmutex"));
        let path = std::env::var("PATH").unwrap();
        let path = format!("{}:{path}", program.parent().unwrap().display());
        let mut shell = Command::new("sh");
        for (name, _) in pgmutex(&[]).get_envs() {
            shell.env_remove(name);
        }
        shell
            .args(["-euc", commands])
            .env("PATH", path)
            .env("PGPASSWORD", "")
            .current_dir(&self.0)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        shell
    }
}

impl Drop for Workplace {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

#[tokio::test]
async fn pipelines_migrate_and_deploy_one_at_a_time() {
    let database = Database::empty().await;
    // Whoever is not alone cannot make the folder.
    let place = Workplace::new(
        "deploys",
        "mkdir alone && echo \"$PGMUTEX_FENCING_TOKEN\" >>tokens && sync && rmdir alone",
    );
    let commands = commands(database.url());
    let begun: Vec<_> = (0..6)
        .map(|_| place.shell(&commands).spawn().unwrap())
        .collect();
    for pipeline in begun {
        let ended = Ended::from(pipeline.wait_with_output().unwrap());
        assert_eq!(ended.code, Some(0), "{ended:?}");
    }
    let tokens = fs::read_to_string(place.0.join("tokens")).unwrap();
    let tokens: Vec<i64> = tokens.lines().map(|token| token.parse().unwrap()).collect();
    assert_eq!(tokens.len(), 6);
    assert!(tokens.is_sorted(), "{tokens:?}");
}

#[tokio::test]
async fn a_deploy_that_fails_fails_its_pipeline() {
    let database = Database::empty().await;
    let place = Workplace::new("fails", "exit 7");
    let ended = place.shell(&commands(database.url())).output().unwrap();
    assert_eq!(Ended::from(ended).code, Some(7));
}

#[tokio::test]
async fn the_commands_of_jobs_are_understood() {
    let database = Database::fresh().await;
    let place = Workplace::new("jobs", "exit 0");
    let mut tried = 0;
    for line in README.lines() {
        let from_kubernetes = line
            .trim()
            .strip_prefix("command: [")
            .and_then(|words| words.strip_suffix(']'))
            .map(|words| words.replace(", ", " "));
        let from_actions = line
            .trim()
            .strip_prefix("- run: ")
            .filter(|command| command.starts_with("pgmutex "))
            .map(ToOwned::to_owned);
        let from_cron = line
            .split_once("*     ")
            .filter(|(when, _)| when.starts_with("*/5") || when.starts_with("0 "))
            .map(|(_, command)| command.to_owned());
        let Some(command) = from_kubernetes.or(from_actions).or(from_cron) else {
            continue;
        };
        tried += 1;
        let ended = place
            .shell(&command)
            .env("DATABASE_URL", database.url())
            .env("GITHUB_RUN_ID", "17")
            .output()
            .unwrap();
        let ended = Ended::from(ended);
        // 127: the command to be run is not there, which the program looks at last.
        assert!(matches!(ended.code, Some(0 | 127)), "{command}: {ended:?}");
    }
    assert_eq!(tried, 6);
}
