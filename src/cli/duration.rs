//! Durations as people write them.

use std::time::Duration;

/// Longer than any rule lasts, and short enough for every clock.
const LONGEST: Duration = Duration::from_secs(100 * 366 * 86_400);

/// `90` (seconds), `90s`, `10m`, `1h 30m`, `500ms`. For clap.
pub(super) fn parse(text: &str) -> Result<Duration, String> {
    let too_long = || "that is longer than 100 years".to_owned();
    let duration = if !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit()) {
        Duration::from_secs(text.parse().map_err(|_| too_long())?)
    } else {
        humantime::parse_duration(text)
            .map_err(|error| format!("{error}: write it as in 90 (seconds), 10m or 1h30m"))?
    };
    match duration <= LONGEST {
        true => Ok(duration),
        false => Err(too_long()),
    }
}

/// For people: with two units at most, and never less than whole seconds.
pub(super) fn spoken(duration: chrono::TimeDelta) -> String {
    let seconds = duration.num_seconds();
    let (sign, seconds) = if seconds < 0 {
        ("-", -seconds)
    } else {
        ("", seconds)
    };
    let (days, hours, minutes) = (seconds / 86_400, seconds / 3600 % 24, seconds / 60 % 60);
    match (days, hours, minutes) {
        (0, 0, 0) => format!("{sign}{seconds}s"),
        (0, 0, _) => format!("{sign}{minutes}m{:02}s", seconds % 60),
        (0, _, _) => format!("{sign}{hours}h{minutes:02}m"),
        (_, _, _) => format!("{sign}{days}d{hours:02}h"),
    }
}

#[cfg(test)]
mod tests {
    use chrono::TimeDelta;

    use super::*;

    #[test]
    fn durations_are_read_as_people_write_them() {
        for (text, seconds) in [
            ("90", 90),
            ("90s", 90),
            ("10m", 600),
            ("1h30m", 5400),
            ("1h 30m", 5400),
            ("0", 0),
        ] {
            assert_eq!(parse(text), Ok(Duration::from_secs(seconds)), "{text}");
        }
        for wrong in [
            "",
            "soon",
            "-1",
            "1.5",
            "99999999999999999999",
            "18446744073709551615",
            "1000y",
        ] {
            assert!(parse(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn durations_are_told_in_two_units() {
        for (seconds, text) in [
            (0, "0s"),
            (59, "59s"),
            (61, "1m01s"),
            (3600, "1h00m"),
            (90_000, "1d01h"),
            (-5, "-5s"),
        ] {
            assert_eq!(spoken(TimeDelta::seconds(seconds)), text);
        }
    }
}
