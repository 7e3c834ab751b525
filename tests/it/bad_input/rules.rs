//! Rules that make no sense: refused where someone captures with them, judged as documented where
//! they already are in a row.

use std::time::Duration;

use chrono::{DateTime, NaiveDate, TimeDelta, Utc};
use pgmutex::{AutoRelease, Error, Mutex, MutexQuery, Mutexes, SessionBackend};
use proptest::{prelude::*, sample::select, string::string_regex};
use tokio_postgres::Client;

use super::{any_text, check, refusal, words};
use crate::support::{Database, mutex_id};

/// Captures `tests/step/m` under the rule that these texts stand for.
async fn capture_in_sql(
    client: &Client,
    rule: &str,
    config: &str,
) -> Result<String, (String, String)> {
    let call = "select outcome from pgmutex.capture('tests', 'step', 'm', 'me', auto_release_rule => $1, auto_release_config => $2)";
    let row = client
        .query_one(call, &[&rule, &config])
        .await
        .map_err(refusal)?;
    Ok(row.get(0))
}

/// Whether anything is held; what there is is removed.
async fn take_held(client: &Client) -> bool {
    client
        .execute("delete from pgmutex.mutex_model", &[])
        .await
        .unwrap()
        > 0
}

#[tokio::test]
async fn a_timeout_is_whole_seconds_up_to_a_century() {
    let database = Database::fresh().await;
    let (mutexes, client) = (database.mutexes().await, database.client().await);
    let in_process = Mutexes::builder().backend(SessionBackend::new());
    let century = 3_153_600_000;
    for (timeout, accepted) in [
        (Duration::from_secs(1), true),
        (Duration::from_secs(century), true),
        (Duration::ZERO, false),
        (Duration::from_nanos(1), false),
        (Duration::from_millis(1500), false),
        (Duration::from_secs(century + 1), false),
        (
            Duration::from_secs(century) + Duration::from_nanos(1),
            false,
        ),
        (Duration::from_secs(u64::MAX), false),
        (Duration::MAX, false),
    ] {
        let m = mutex_id("m");
        let here = mutexes.capture(&m).timeout(timeout).await;
        assert_eq!(take_held(&client).await, accepted, "{timeout:?}");
        let there = in_process.capture(&m).timeout(timeout).await;
        in_process.release(&m).await.unwrap();
        let (rule, config) = AutoRelease::Timeout(timeout).dump();
        match (here, there) {
            (Ok(captured), Ok(_)) if accepted => {
                assert_eq!(captured.auto_release, AutoRelease::Timeout(timeout));
                let delta = TimeDelta::from_std(timeout).unwrap();
                assert_eq!(captured.expires_at, Some(captured.captured_since + delta));
            }
            (Err(here), Err(there)) if !accepted => {
                assert_eq!(words(&here), words(&there));
                if timeout.subsec_nanos() == 0 {
                    let in_sql = capture_in_sql(&client, &rule, &config).await;
                    assert_eq!(in_sql, Err(("PM003".to_owned(), words(&here))));
                }
            }
            answers => panic!("{answers:?} for {timeout:?}"),
        }
    }
}

#[tokio::test]
async fn sql_takes_a_setting_only_if_it_says_what_it_means() {
    let database = Database::fresh().await;
    let client = database.client().await;
    for (rule, config) in [
        ("timeout", "1"),
        ("timeout", "300"),
        ("timeout", "0000000300"),
        ("timeout", "3153600000"),
        ("deadline", "9999-12-31T23:59:59.999999Z"),
        ("deadline", "2999-02-28t10:00:00.5+05:30"),
        ("deadline", "2999-12-31 23:59:59z"),
        ("", ""),
        ("never", ""),
        ("own rule", "-5"),
        ("Timeout", "soon"),
    ] {
        let captured = capture_in_sql(&client, rule, config).await;
        assert_eq!(captured.as_deref(), Ok("captured"), "{rule} {config}");
        let columns = "select auto_release_rule, auto_release_config from pgmutex.mutex_model";
        let row = client.query_one(columns, &[]).await.unwrap();
        assert_eq!((row.get(0), row.get(1)), (rule, config));
        assert!(take_held(&client).await);
    }
    let long = "9".repeat(1 << 20);
    for (rule, config) in [
        ("timeout", "0"),
        ("timeout", "-1"),
        ("timeout", "-5"),
        ("timeout", "+5"),
        ("timeout", " 5"),
        ("timeout", "5\n"),
        ("timeout", ""),
        ("timeout", "abc"),
        ("timeout", "1.5"),
        ("timeout", "1e3"),
        ("timeout", "0x10"),
        ("timeout", "1_000"),
        ("timeout", "NaN"),
        ("timeout", "infinity"),
        ("timeout", "５"),
        ("timeout", "00000000300"),
        ("timeout", "3153600001"),
        ("timeout", "99999999999999999999"),
        ("timeout", "9'; --"),
        ("timeout", &long),
        ("deadline", ""),
        ("deadline", "soon"),
        ("deadline", "infinity"),
        ("deadline", "now"),
        ("deadline", "2999-02-31T00:00:00Z"),
        ("deadline", "2999-01-01T24:00:00Z"),
        ("deadline", "2999-12-31T23:59:60Z"),
        ("deadline", "2999-01-01T10:00:00"),
        ("deadline", "2999-01-01"),
        ("deadline", "2999-01-01T10:00:00+16:00"),
        ("deadline", "12999-01-01T10:00:00Z"),
        ("deadline", "2000-01-01T00:00:00Z"),
        ("deadline", "0000-01-01T00:00:00Z"),
        ("deadline", "9999-12-31T23:59:59-00:01"),
        ("deadline", &long),
        ("never", "300"),
        ("", "x"),
        ("never", &long),
        ("connection", ""),
        ("connection", "0"),
        ("connection", "17"),
        ("connection", " 17"),
        ("connection", "-17"),
        ("connection", "17 "),
        ("connection", "17 0"),
        ("connection", "17  300"),
        ("connection", "17 soon"),
        ("connection", "17 3153600001"),
        ("connection", "9999999999999999999"),
        ("connection", &long),
        ("own rule", &long),
        (&long, ""),
    ] {
        let refused = capture_in_sql(&client, rule, config).await.unwrap_err();
        assert_eq!(refused.0, "PM003", "{rule:.20} {config:.40}");
        assert!(refused.1.len() < 200, "{}", refused.1);
        assert!(!take_held(&client).await);
    }
}

#[tokio::test]
async fn rules_that_cannot_be_meant_are_refused_before_they_are_sent() {
    let mutexes = Mutexes::builder().backend(SessionBackend::new());
    let custom = |code: &str, config: &str| AutoRelease::Custom {
        code: code.to_owned(),
        config: config.to_owned(),
    };
    let day = TimeDelta::days(1);
    let year_1: DateTime<Utc> = "0001-01-01T00:00:00Z".parse().unwrap();
    for rule in [
        AutoRelease::Deadline(DateTime::<Utc>::MIN_UTC),
        AutoRelease::Deadline(DateTime::<Utc>::MAX_UTC),
        AutoRelease::Deadline(year_1 - day),
        AutoRelease::Deadline("9999-12-31T12:00:00Z".parse::<DateTime<Utc>>().unwrap() + day),
        AutoRelease::Deadline("2016-12-31T23:59:60Z".parse().unwrap()),
        AutoRelease::restore("timeout", "-5"),
        AutoRelease::restore("timeout", "abc"),
        AutoRelease::restore("timeout", "99999999999999999999"),
        AutoRelease::restore("deadline", "soon"),
        AutoRelease::restore("connection", "soon"),
        AutoRelease::restore("connection", "0"),
        AutoRelease::restore("connection", "17 0"),
        AutoRelease::restore("connection", "17 3153600001"),
        custom("", ""),
        custom("never", ""),
        custom("timeout", "300"),
        custom("deadline", ""),
        custom("a\0b", ""),
        custom("job", "\0"),
        custom(&"x".repeat(401), ""),
        custom("job", &"x".repeat(1601)),
        custom("job", &"é".repeat(801)),
    ] {
        let refused = mutexes
            .capture(mutex_id("m"))
            .auto_release(rule.clone())
            .await;
        assert!(
            matches!(refused, Err(Error::InvalidRule { .. })),
            "{rule:?}"
        );
    }
    for rule in [
        custom(&"x".repeat(400), &"é".repeat(800)),
        AutoRelease::Never,
    ] {
        rule.check().unwrap();
    }
    // One that has passed is refused by the clock that counts.
    let passed = mutexes.capture(mutex_id("m")).deadline(year_1).await;
    assert!(matches!(passed, Err(Error::Refused { .. })), "{passed:?}");
    assert!(
        mutexes
            .list(&MutexQuery::all())
            .await
            .unwrap()
            .mutexes
            .is_empty()
    );
}

#[tokio::test]
async fn codes_and_settings_that_are_too_long_are_refused_in_the_same_words() {
    let database = Database::fresh().await;
    let client = database.client().await;
    for (code, config, accepted) in [
        ("x".repeat(400), "é".repeat(800), true),
        ("𝄞".repeat(100), String::new(), true),
        ("x".repeat(401), String::new(), false),
        (format!("x{}", "𝄞".repeat(100)), String::new(), false),
        ("job".to_owned(), "x".repeat(1601), false),
        ("job".to_owned(), format!("x{}", "é".repeat(800)), false),
        ("job".to_owned(), "x".repeat(1 << 20), false),
    ] {
        let in_sql = capture_in_sql(&client, &code, &config).await;
        let checked = AutoRelease::Custom { code, config }.check();
        assert_eq!(checked.is_ok(), accepted);
        let words = checked.map_err(|error| ("PM003".to_owned(), words(&error)));
        assert_eq!(in_sql.map(drop), words);
        assert_eq!(take_held(&client).await, accepted);
    }
}

/// When a hold is over, by the documentation's words.
fn ends_at(code: &str, config: &str, captured_since: DateTime<Utc>) -> Option<DateTime<Utc>> {
    let after = |seconds: i64| captured_since + TimeDelta::seconds(seconds);
    match code {
        "timeout" => Some(match whole_number(config) {
            None => after(300),
            Some(number) if number.abs() <= 3_153_600_000 => after(number as i64),
            Some(number) if number > 0 => DateTime::<Utc>::MAX_UTC,
            Some(_) => DateTime::<Utc>::MIN_UTC,
        }),
        "deadline" => Some(moment(config).unwrap_or_else(|| after(300))),
        "connection" => {
            let number = |text: &str, most: usize| -> Option<i64> {
                let fits = text.len() <= most && text.bytes().all(|byte| byte.is_ascii_digit());
                text.parse().ok().filter(|_| fits)
            };
            let mut words = config.splitn(2, ' ');
            let session = words.next().and_then(|word| number(word, 18));
            match (session, words.next().map(|word| number(word, 10))) {
                (Some(_), None) => None,
                (Some(_), Some(Some(seconds))) if seconds <= 3_153_600_000 => Some(after(seconds)),
                _ => Some(after(300)),
            }
        }
        _ => None,
    }
}

fn whole_number(text: &str) -> Option<i128> {
    let text = text.trim_matches([' ', '\t', '\r', '\n']);
    let unsigned = text.strip_prefix(['+', '-']).unwrap_or(text);
    if unsigned.is_empty() || unsigned.contains(|digit: char| !digit.is_ascii_digit()) {
        return None;
    }
    // More than 18 characters are out of range, zeros or not.
    let number = if text.len() > 18 {
        i128::MAX
    } else {
        unsigned.parse().unwrap()
    };
    Some(if text.starts_with('-') {
        -number
    } else {
        number
    })
}

/// A time as in RFC 3339 in the years 1 to 9999, as it is written and in UTC, with at most nine
/// decimals and an offset below 16 hours; not in a leap second.
fn moment(text: &str) -> Option<DateTime<Utc>> {
    let number = |text: &str| match text.bytes().all(|byte| byte.is_ascii_digit()) {
        true => text.parse::<u32>().ok(),
        false => None,
    };
    let field = |from: usize, to: usize| number(text.get(from..to)?);
    let signs = [(4, "-"), (7, "-"), (10, "Tt "), (13, ":"), (16, ":")];
    for (place, allowed) in signs {
        allowed.find(text.get(place..=place)?)?;
    }
    let year = field(0, 4).filter(|year| *year > 0)?;
    let date = NaiveDate::from_ymd_opt(year as i32, field(5, 7)?, field(8, 10)?)?;
    let (hour, minute, second) = (field(11, 13)?, field(14, 16)?, field(17, 19)?);
    let mut rest = text.get(19..)?;
    let mut nanos = 0;
    if let Some(fraction) = rest.strip_prefix('.') {
        let digits = fraction.len()
            - fraction
                .trim_start_matches(|c: char| c.is_ascii_digit())
                .len();
        if !(1..=9).contains(&digits) {
            return None;
        }
        nanos = number(&fraction[..digits])? * 10_u32.pow(9 - digits as u32);
        rest = &fraction[digits..];
    }
    let offset = match (rest, rest.len()) {
        ("Z" | "z", _) => 0,
        (_, 6) if rest.get(3..4) == Some(":") => {
            let (hours, minutes) = (number(rest.get(1..3)?)?, number(rest.get(4..)?)?);
            let sign = match rest.get(..1)? {
                "+" => 1,
                "-" => -1,
                _ => return None,
            };
            if hours > 15 || minutes > 59 {
                return None;
            }
            sign * i64::from(hours * 60 + minutes)
        }
        _ => return None,
    };
    if hour > 23 || minute > 59 || second > 59 {
        return None;
    }
    let seconds = i64::from(hour * 3600 + minute * 60 + second) - offset * 60;
    let midnight = date.and_hms_opt(0, 0, 0)?.and_utc();
    let moment = midnight + TimeDelta::seconds(seconds) + TimeDelta::nanoseconds(nanos.into());
    let year = |text: &str| text.parse::<DateTime<Utc>>().unwrap();
    let years = year("0001-01-01T00:00:00Z")..year("+10000-01-01T00:00:00Z");
    years.contains(&moment).then_some(moment)
}

/// Whether two times are one, as precisely as the database keeps them.
fn same(one: Option<DateTime<Utc>>, other: Option<DateTime<Utc>>) -> bool {
    match (one, other) {
        (Some(one), Some(other)) => (one - other).abs() <= TimeDelta::microseconds(1),
        _ => one == other,
    }
}

/// Code and setting: numbers, near-numbers, times, near-times and anything at all.
fn any_rule_texts() -> impl Strategy<Value = (String, String)> {
    let date = "(20[0-9]{2}|20[0-9]{2}|20[0-9]{2}|[0-9]{4}|0000|0001|9999)-(0[1-9]|1[0-2]|12|13)-(0[1-9]|[12][0-9]|31)";
    let clock = "([01][0-9]|[01][0-9]|2[0-3]|23|24):([0-5][0-9]|[0-5][0-9]|59|60):([0-5][0-9]|[0-5][0-9]|60|61)";
    let decimals = "(|\\.[0-9]{1,6}|\\.[0-9]{7,11}|\\.)";
    let offset = "(Z|Z|z|[+-]0[0-9]:[0-5][0-9]|[+-]1[3-6]:[0-5][0-9]|[+-]2[0-4]:00|\u{2212}01:00|)";
    let time = string_regex(&format!("{date}[Tt ]{clock}{decimals}{offset}")).unwrap();
    let digits = "[ \t\r\n]{0,2}[+-]?[0-9]{0,21}[ \t\r\n]{0,2}";
    let number = (-4_000_000_000_i64..4_000_000_000).prop_map(|number| number.to_string());
    let session = "[0-9]{1,4}( [0-9]{1,4}| 31536000[0-9]{2}| [0-9]{11}|  5)?";
    let any = || any_text(12).prop_map(|text| text.replace('\0', ""));
    let setting =
        prop_oneof![2 => digits, 2 => number, 4 => time, 2 => session, 1 => any()].boxed();
    let judged = select(vec!["timeout", "deadline", "connection"]).prop_map(str::to_owned);
    let known = select(vec!["", "never", "Timeout", "job"]).prop_map(str::to_owned);
    let code = prop_oneof![8 => judged, 2 => known, 1 => any()];
    (code, setting)
}

#[test]
fn any_rule_means_the_same_in_a_row_in_rust_and_by_the_documentation() {
    let (earliest, latest) = (-62_135_596_800_i64, 253_402_300_800);
    let since = prop_oneof![earliest..latest, 0..2_000_000_000_i64];
    check(
        200,
        (any_rule_texts(), since),
        async |mutexes, client, ((code, config), since)| {
            let since = DateTime::from_timestamp(since, 0).unwrap();
            let rule = AutoRelease::restore(&code, &config);
            let (dumped_code, dumped_config) = rule.dump();
            let insert = "insert into pgmutex.mutex_model (mutex_id, owner_session, auto_release_rule, auto_release_config, captured_since) \
                      values ($1, 'django', $2, $3, $4::text::timestamptz)";
            for (id, code, config) in [("1", &code, &config), ("2", &dumped_code, &dumped_config)] {
                client
                    .execute(insert, &[&id, code, config, &since.to_rfc3339()])
                    .await
                    .unwrap();
            }
            let page = mutexes
                .list(&MutexQuery::all().include_over())
                .await
                .unwrap();
            let [original, dumped]: [Mutex; 2] = page.mutexes.try_into().unwrap();
            assert_eq!(original.captured_since, since);
            assert_eq!(original.auto_release, rule);

            let expected = ends_at(&code, &config, since);
            assert!(
                same(original.expires_at, expected),
                "{original:?} is not over at {expected:?}"
            );
            assert!(
                same(dumped.expires_at, expected),
                "{dumped:?} is not over at {expected:?}"
            );
            assert_eq!(dumped.auto_release.dump(), rule.dump());
            match &rule {
                AutoRelease::Never | AutoRelease::Custom { .. } => assert_eq!(expected, None),
                AutoRelease::Timeout(timeout) => assert_eq!(expected, Some(since + *timeout)),
                AutoRelease::Deadline(deadline) => assert!(same(expected, Some(*deadline))),
                AutoRelease::Connection { timeout, .. } => {
                    assert_eq!(expected, timeout.map(|timeout| since + timeout));
                }
                _ => assert_eq!((&dumped_code, &dumped_config), (&code, &config)),
            }

            // What Rust lets pass, SQL takes, and the other way round; a deadline that has passed
            // and a session that is gone are the database's to refuse.
            let accepted = match capture_in_sql(client, &dumped_code, &dumped_config).await {
                Ok(_) => true,
                Err((sqlstate, message)) => {
                    assert_eq!(sqlstate, "PM003");
                    message.ends_with("has already passed")
                        || message.ends_with("session that is gone: attach another")
                }
            };
            assert_eq!(rule.check().is_ok(), accepted, "{rule:?}");
        },
    );
}
