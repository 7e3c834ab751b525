//! The application cannot tell the view from its table: the same commands, the same answers.

use serde_json::{Value, json};

use crate::support::{Application, Clock, Database, manage};

/// A step: a command, or time that passes for all holds.
enum Step {
    Ask(Value),
    AnHourPasses,
}

fn script() -> Vec<Step> {
    let ask = |command: Value| Step::Ask(command);
    let of =
        |verb: &str, session: &str| ask(json!({ "do": verb, "name": "m", "session": session }));
    vec![
        of("request", "a"),
        of("release", "a"),
        ask(
            json!({ "do": "capture", "name": "m", "session": "a", "timeout": 60, "status_data": "begun" }),
        ),
        ask(json!({ "do": "rows" })),
        of("request", "a"),
        of("request", "b"),
        of("capture", "b"),
        of("release", "b"),
        of("capture", "a"),
        ask(json!({ "do": "rows" })),
        ask(json!({ "do": "capture", "name": "m", "session": "a", "status_data": "half" })),
        of("request", "b"),
        ask(json!({ "do": "delete_stale" })),
        ask(json!({ "do": "rows" })),
        of("release", "a"),
        of("request", "b"),
        ask(json!({ "do": "rows" })),
        of("capture", "b"),
        Step::AnHourPasses,
        of("request", "a"),
        ask(json!({ "do": "rows" })),
        of("capture", "b"),
        Step::AnHourPasses,
        of("capture", "a"),
        of("request", "a"),
        Step::AnHourPasses,
        of("capture", "a"),
        of("release", "a"),
        ask(json!({ "do": "capture", "name": "stale", "session": "a" })),
        Step::AnHourPasses,
        ask(json!({ "do": "capture", "name": "live", "session": "a" })),
        ask(json!({ "do": "delete_stale" })),
        ask(json!({ "do": "rows" })),
        ask(json!({ "do": "save_twice", "name": "by number", "session": "a" })),
    ]
}

/// The answers, where time passes by this statement.
async fn play(database: &Database, clock: Clock, an_hour_passes: &str) -> Vec<Value> {
    let client = database.client().await;
    let mut application = Application::start(database, clock);
    let mut answers = Vec::new();
    for step in script() {
        match step {
            Step::Ask(command) => {
                let answer = application.ask(&command);
                answers.push(json!([command, answer]));
            }
            Step::AnHourPasses => client.batch_execute(an_hour_passes).await.unwrap(),
        }
    }
    answers
}

async fn alike(clock: Clock) -> Vec<Value> {
    let (with_table, with_view) = (Database::empty().await, Database::with_view().await);
    let migrated = manage(&with_table, &["migrate", "m3_mutex"]);
    assert!(migrated.status.success(), "{migrated:?}");
    let expected = play(
        &with_table,
        clock,
        "update m3_mutex set captured_since = captured_since - interval '1 hour'",
    )
    .await;
    let answers = play(
        &with_view,
        clock,
        "update pgmutex.mutex_model set captured_since = captured_since - interval '1 hour'",
    )
    .await;
    for (answer, expected) in answers.iter().zip(&expected) {
        assert_eq!(answer, expected);
    }
    assert_eq!(answers.len(), expected.len());
    answers
}

/// Times are written and read as the wall clock of the application's time zone, which is not the
/// server's.
#[tokio::test]
async fn with_times_without_time_zones() {
    for time_zone in ["Pacific/Kiritimati", "America/St_Johns", "UTC"] {
        let answers = alike(Clock {
            use_tz: false,
            time_zone,
        })
        .await;
        let of = |text: &str| {
            let answers = answers
                .iter()
                .filter(|answer| answer[1].to_string().contains(text));
            answers.count()
        };
        assert_eq!(of("\"error\":\"MutexBusy\""), 2, "{answers:#?}");
        assert_eq!(of("\"error\""), 2, "{answers:#?}");
        assert_eq!(of("\"is of the last minute\":false"), 0, "{answers:#?}");
        assert!(of("\"is of the last minute\":true") > 5, "{answers:#?}");
    }
}

/// The package subtracts its naive now from what it reads: with USE_TZ it never could judge a hold.
#[tokio::test]
async fn with_times_with_time_zones() {
    let clock = Clock {
        use_tz: true,
        time_zone: "Pacific/Kiritimati",
    };
    let (with_table, with_view) = (Database::empty().await, Database::with_view().await);
    let migrated = manage(&with_table, &["migrate", "m3_mutex"]);
    assert!(migrated.status.success(), "{migrated:?}");
    for database in [&with_table, &with_view] {
        let mut application = Application::start(database, clock);
        let capture = json!({ "do": "capture", "name": "m", "session": "a" });
        assert!(application.ask(&capture)["done"].is_object());
        assert_eq!(application.ask(&capture)["error"], "TypeError");
        let stale = application.ask(&json!({ "do": "delete_stale" }));
        assert_eq!(stale, json!({ "done": null }));
        let rows = application.ask(&json!({ "do": "rows" }));
        assert_eq!(rows["done"].as_array().unwrap().len(), 1);
    }
    // What is over is not shown, so there is nothing that it would have to judge.
    let client = with_view.client().await;
    client
        .batch_execute(
            "update pgmutex.mutex_model set captured_since = captured_since - interval '1 hour'",
        )
        .await
        .unwrap();
    let mut application = Application::start(&with_view, clock);
    let answer = application.ask(&json!({ "do": "capture", "name": "m", "session": "b" }));
    assert!(answer["done"].is_object(), "{answer}");
}
