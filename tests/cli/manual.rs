//! Help, the manual page, and completions.

use crate::program::{Ended, pgmutex};

fn ended(arguments: &[&str]) -> Ended {
    let ended = Ended::from(pgmutex(arguments).output().unwrap());
    assert_eq!(ended.code, Some(0), "{arguments:?}: {ended:?}");
    assert_eq!(ended.said, "");
    ended
}

/// The commands, as the help lists them; those below another with it in front.
fn commands() -> Vec<Vec<String>> {
    let listed = |path: &[&str]| {
        let help = ended(&[path, &["--help"]].concat()).output;
        let list = help.split("Commands:\n").nth(1).unwrap();
        let list = list.split("\n\n").next().unwrap().to_owned();
        let names = list.lines().filter(|line| !line.starts_with("   "));
        let names = names.filter_map(|line| line.split_whitespace().next());
        let path: Vec<String> = path.iter().map(|&part| part.to_owned()).collect();
        names
            .filter(|name| *name != "help")
            .map(|name| [&path[..], &[name.to_owned()]].concat())
            .collect::<Vec<_>>()
    };
    let mut commands = listed(&[]);
    for above in ["pool", "audit"] {
        commands.extend(listed(&[above]));
    }
    commands
}

#[test]
fn every_command_explains_itself() {
    let commands = commands();
    for expected in [
        "list",
        "show",
        "capture",
        "refresh",
        "release",
        "force-release",
        "wait",
        "sweep",
        "pool",
        "migrate",
        "grant",
        "revoke",
        "roles",
        "audit",
        "doctor",
        "bench",
        "completions",
        "man",
    ] {
        assert!(commands.contains(&vec![expected.to_owned()]), "{expected}");
    }
    for command in &commands {
        let words: Vec<&str> = command.iter().map(String::as_str).collect();
        let help = ended(&[&words[..], &["--help"]].concat()).output;
        assert!(
            help.contains(&format!("Usage: pgmutex {}", words.join(" "))),
            "{help}"
        );
        assert!(!help.contains("\n\n\n"), "{help}");
        assert!(
            help.lines().all(|line| line.chars().count() <= 100),
            "{help}"
        );
    }
    let help = ended(&["--help"]).output;
    for code in ["0", "1", "2", "3", "69", "70", "75", "77", "78", "79", "80"] {
        let listed = help
            .lines()
            .any(|line| line.trim_start().starts_with(&format!("{code} ")));
        assert!(listed, "{code}: {help}");
    }
    for (command, code) in [
        ("refresh", "79"),
        ("wait", "75"),
        ("force-release", "75"),
        ("capture", "80"),
    ] {
        assert!(
            ended(&[command, "--help"]).output.contains(code),
            "{command}"
        );
    }
    for named in ["capture", "show", "wait", "force-release"] {
        assert!(ended(&[named, "--help"]).output.contains("%2F"), "{named}");
    }
}

#[test]
fn the_manual_has_a_page_for_every_command() {
    let page = ended(&["man"]).output;
    assert!(page.contains(".TH pgmutex 1"), "{page}");
    assert!(page.contains("Exit codes"), "{page}");
    let folder = std::env::temp_dir().join(format!("pgmutex-manual-{}", std::process::id()));
    std::fs::create_dir_all(&folder).unwrap();
    ended(&["man", "--dir", folder.to_str().unwrap()]);
    for command in commands() {
        let name = command.join("-");
        let text = std::fs::read_to_string(folder.join(format!("pgmutex-{name}.1"))).unwrap();
        assert!(text.contains(".SH SYNOPSIS"), "{text}");
        if command.len() == 1 {
            assert!(
                page.contains(&format!("pgmutex\\-{}", name.replace('-', "\\-"))),
                "{name}"
            );
        }
    }
    std::fs::remove_dir_all(&folder).unwrap();
    let missing = pgmutex(&["man", "--dir", "/nowhere"]).output().unwrap();
    assert_eq!(missing.status.code(), Some(1));
    assert!(
        String::from_utf8(missing.stderr)
            .unwrap()
            .contains("/nowhere")
    );
}

#[test]
fn shells_complete_every_command() {
    for shell in ["bash", "zsh", "fish", "powershell", "elvish"] {
        let script = ended(&["completions", shell]).output;
        for command in commands() {
            let name = command.last().unwrap();
            assert!(script.contains(name.as_str()), "{shell}: {name}");
        }
    }
    let unknown = pgmutex(&["completions", "dos"]).output().unwrap();
    assert_eq!(unknown.status.code(), Some(2));
    // It is one that a shell can read.
    let script = ended(&["completions", "bash"]).output;
    let read = std::process::Command::new("bash")
        .args(["-n", "-c", &script])
        .output()
        .unwrap();
    assert!(read.status.success(), "{read:?}");
}
