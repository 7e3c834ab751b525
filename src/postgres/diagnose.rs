//! What can be said about the connection and the schema from this side, also where nothing is
//! migrated. What goes on inside the server is for the SQL function `doctor` to say.

use std::time::Duration;

use chrono::{TimeDelta, Utc};
use tokio::time::{Instant, timeout};

use super::{
    Repository,
    dedicated::{Dedicated, Way},
    migrate,
    own_session::not_opened,
    pooler::lends_sessions,
    repository::{Rights, Whereabouts},
    sqlstate::not_connected,
};
use crate::domain::{Diagnosis, Error, Finding, Verdict};

/// How often the server's clock is asked: the quickest answer tells most.
const CLOCK_READINGS: usize = 5;

const GIVE_A_DIRECT_URL: &str = "Give a URL that leads straight to PostgreSQL: \
     MutexesBuilder::direct_url.";

/// A look at one database by way of one pool.
pub(super) struct Examination<'a> {
    pub(super) repository: &'a Repository,
    /// The way that the pool's connections go.
    pub(super) way: Way,
    /// The way of the connection beside the pool.
    pub(super) direct: &'a Way,
    /// How long each step may take.
    pub(super) limit: Duration,
}

impl Examination<'_> {
    /// Looks at everything.
    ///
    /// # Errors
    /// If the database cannot be reached, or goes away meanwhile.
    pub(super) async fn diagnosis(&self) -> Result<Diagnosis, Error> {
        let began = Instant::now();
        let mut client = self.within(self.open(&self.way, false)).await?;
        let took = began.elapsed();
        let whereabouts = self.within(self.repository.whereabouts(&*client)).await?;
        let mut findings = vec![connection(took, &whereabouts)];
        findings.extend(self.within(self.clock(&client)).await?);
        findings.push(self.within(self.pooler(&client)).await?);
        findings.push(self.direct_url(&client).await?);
        findings.push(self.within(self.schema(&mut client)).await?);
        findings.extend(self.within(self.rights(&client, &whereabouts.user)).await?);
        match self.within(self.repository.doctor(&*client)).await {
            Ok(inside) => findings.extend(inside),
            Err(error) => {
                findings.push(isolation(&whereabouts));
                findings.push(not_seen(error)?);
            }
        }
        Ok(Diagnosis::new(findings))
    }

    async fn open(&self, way: &Way, beside_the_pool: bool) -> Result<Dedicated, Error> {
        let opened = way.open(std::sync::Arc::new(|_| {})).await;
        opened.map_err(|error| match beside_the_pool {
            true => not_opened(way, error),
            false => not_connected(error),
        })
    }

    /// A step, in time. Looking decides about nothing: that an answer is missing is no outcome.
    async fn within<T>(&self, step: impl Future<Output = Result<T, Error>>) -> Result<T, Error> {
        match timeout(self.limit, step).await {
            Ok(Err(Error::OutcomeUnknown { source, .. })) => Err(Error::Unavailable { source }),
            Ok(answer) => answer,
            Err(elapsed) => Err(Error::Unavailable {
                source: elapsed.into(),
            }),
        }
    }

    async fn clock(&self, client: &Dedicated) -> Result<[Finding; 2], Error> {
        let mut best: Option<(Duration, TimeDelta)> = None;
        for _ in 0..CLOCK_READINGS {
            let (asked, asked_at) = (Instant::now(), Utc::now());
            let server = self.repository.now(&**client).await?;
            let round_trip = asked.elapsed();
            let half = TimeDelta::from_std(round_trip / 2).unwrap_or_default();
            if best.is_none_or(|(quickest, _)| round_trip < quickest) {
                best = Some((round_trip, server - (asked_at + half)));
            }
        }
        let (round_trip, ahead) = best.unwrap_or_default();
        Ok([round_trip_time(round_trip), clock(ahead)])
    }

    async fn pooler(&self, client: &Dedicated) -> Result<Finding, Error> {
        let lends = match self.lends(&self.way, client).await {
            Ok(lends) => lends,
            Err(Error::OutcomeUnknown { source, .. }) => return Err(Error::Unavailable { source }),
            Err(error) => {
                let found = format!("not looked for, without a second connection: {error}");
                return Ok(Finding::new("pooler", Verdict::Note, found)
                    .with_advice("Raise max_connections, or the limit of the role or database."));
            }
        };
        Ok(match lends {
            false => Finding::new("pooler", Verdict::Ok, "none that lends its sessions"),
            true => {
                let found = "one in transaction mode is in between";
                Finding::new("pooler", Verdict::Note, found).with_advice(
                    "Holds and waiting work through it; attached holds and notifications take a direct URL.",
                )
            }
        })
    }

    async fn lends(&self, way: &Way, client: &Dedicated) -> Result<bool, Error> {
        let mut second = self.open(way, false).await?;
        let process_id = self.repository.process_id(&**client).await?;
        lends_sessions(self.repository, client, process_id, &mut second).await
    }

    async fn direct_url(&self, client: &Dedicated) -> Result<Finding, Error> {
        let subject = "direct URL";
        if !self.direct.hears() {
            let found = "none is known: whoever waits asks again in short intervals";
            return Ok(Finding::new(subject, Verdict::Note, found).with_advice(GIVE_A_DIRECT_URL));
        }
        let looked = self.within(self.same_server_and_own_session(client)).await;
        Ok(match looked {
            Ok((false, _)) => Finding::new(subject, Verdict::Problem, "leads to another server or database")
                .with_advice(format!("Holds attached by way of it would count as over at once. {GIVE_A_DIRECT_URL}")),
            Ok((true, true)) => Finding::new(subject, Verdict::Warning, "leads through a pooler in transaction mode")
                .with_advice(format!("Attached holds are refused, and whoever waits asks again in short intervals. {GIVE_A_DIRECT_URL}")),
            Ok((true, false)) => Finding::new(subject, Verdict::Ok, "leads straight to the same server"),
            Err(error) => Finding::new(subject, Verdict::Warning, format!("does not work: {error}"))
                .with_advice(format!("Attached holds are refused, and whoever waits asks again in short intervals. {GIVE_A_DIRECT_URL}")),
        })
    }

    async fn same_server_and_own_session(&self, client: &Dedicated) -> Result<(bool, bool), Error> {
        let direct = self.open(self.direct, true).await?;
        let (one, other) = (
            self.repository.identity(&**client).await?,
            self.repository.identity(&*direct).await?,
        );
        Ok((one == other, self.lends(self.direct, &direct).await?))
    }

    async fn schema(&self, client: &mut Dedicated) -> Result<Finding, Error> {
        let schema = self.repository.schema();
        let migrate = "pgmutex migrate, or Mutexes::migrate() at the start of the application.";
        let subject = "schema";
        Ok(match migrate::schema_status(client, schema).await {
            Ok(status) => match (status.found, status.pending.len()) {
                (None, _) => Finding::new(
                    subject,
                    Verdict::Problem,
                    format!("{schema} is not installed"),
                )
                .with_advice(migrate),
                (Some(found), 0) => {
                    Finding::new(subject, Verdict::Ok, format!("{schema}, version {found}"))
                }
                (Some(found), pending) => Finding::new(
                    subject,
                    Verdict::Problem,
                    format!(
                        "{schema}, version {found} of {}: {pending} pending",
                        status.expected
                    ),
                )
                .with_advice(migrate),
            },
            Err(Error::SchemaVersion {
                found, expected, ..
            }) => Finding::new(
                subject,
                Verdict::Problem,
                format!("{schema}, version {found}; this program knows {expected}"),
            )
            .with_advice("Deploy a newer version of the program."),
            Err(Error::PermissionDenied { reason }) => Finding::new(
                subject,
                Verdict::Note,
                format!("{schema}, of unknown version: {reason}"),
            )
            .with_advice(format!(
                "grant select on {}.refinery_schema_history to this role.",
                schema.quoted()
            )),
            Err(error @ Error::Migration { .. }) => Finding::new(
                subject,
                Verdict::Problem,
                format!("{schema}, of unknown version: {error}"),
            )
            .with_advice("The history of migrations is not as refinery writes it: restore it."),
            Err(error) => return Err(error),
        })
    }

    async fn rights(&self, client: &Dedicated, user: &str) -> Result<Option<Finding>, Error> {
        let found = self.repository.rights(&**client).await?;
        Ok(found.map(|rights| of_rights(&rights, user)))
    }
}

fn connection(took: Duration, whereabouts: &Whereabouts) -> Finding {
    let Whereabouts {
        version,
        user,
        database,
        address,
        ..
    } = whereabouts;
    let place = match address {
        Some(address) => format!(" at {address}"),
        None => " by a socket".to_owned(),
    };
    let tls = if whereabouts.has_tls {
        "with TLS"
    } else {
        "without TLS"
    };
    let found = format!(
        "PostgreSQL {version}{place}, database {database}, as {user}, {tls}, in {} ms",
        took.as_millis()
    );
    match whereabouts.has_tls || whereabouts.is_local {
        true => Finding::new("connection", Verdict::Ok, found),
        false => Finding::new("connection", Verdict::Note, found).with_advice(
            "Passwords and names cross the network in the clear: sslmode=verify-full in the URL.",
        ),
    }
}

fn round_trip_time(round_trip: Duration) -> Finding {
    let found = format!("{:.1} ms", round_trip.as_secs_f64() * 1e3);
    match round_trip >= Duration::from_millis(50) {
        false => Finding::new("round trip", Verdict::Ok, found),
        true => Finding::new("round trip", Verdict::Note, found).with_advice(
            "Every verb takes one: run the program nearer to the database, or use capture_each for many.",
        ),
    }
}

/// How far the server's clock is ahead of this machine's.
fn clock(ahead: TimeDelta) -> Finding {
    let off = ahead.abs();
    let verdict = match off {
        off if off > TimeDelta::seconds(10) => Verdict::Warning,
        off if off > TimeDelta::seconds(1) => Verdict::Note,
        _ => {
            let found = "this machine and the database agree to the second";
            return Finding::new("clock", Verdict::Ok, found);
        }
    };
    let direction = match ahead > TimeDelta::zero() {
        true => "behind",
        false => "ahead of",
    };
    let seconds = off.as_seconds_f64();
    Finding::new("clock", verdict, format!("this machine is {seconds:.1} s {direction} the database")).with_advice(
        "Let NTP set both. Only the database's clock ends holds; this one counts where a program works out a deadline.",
    )
}

/// For when the function that says so is not there.
fn isolation(whereabouts: &Whereabouts) -> Finding {
    let found = format!("transactions begin at {}", whereabouts.isolation);
    match whereabouts.isolation.as_str() {
        "read committed" | "read uncommitted" => Finding::new("isolation", Verdict::Ok, found),
        _ => Finding::new("isolation", Verdict::Warning, found).with_advice(format!(
            "alter role {} set default_transaction_isolation = 'read committed'; until then every call takes more round trips.",
            whereabouts.user
        )),
    }
}

fn of_rights(rights: &Rights, user: &str) -> Finding {
    let Rights {
        owner,
        usage,
        reads,
        callable,
        refused,
    } = rights;
    let grant = format!(
        "Let role {owner}, the owner of the schema, grant it: see the README's section on roles."
    );
    let (verdict, found) = match (usage, callable, refused.len()) {
        (false, ..) => (Verdict::Problem, format!("{user} may not use the schema")),
        (true, _, 0) => {
            let found = format!("{user} may call all that an application calls");
            return Finding::new("rights", Verdict::Ok, found);
        }
        (true, 0, _) if *reads => (Verdict::Note, format!("{user} may look, not capture")),
        (true, 0, _) => (
            Verdict::Problem,
            format!("{user} may neither look nor capture"),
        ),
        (true, _, count) => {
            let named: Vec<&str> = refused.iter().take(3).map(String::as_str).collect();
            let more = match count {
                4.. => format!(" and {} more", count - 3),
                _ => String::new(),
            };
            let found = format!("{user} may not call {}{more}", named.join(", "));
            (Verdict::Warning, found)
        }
    };
    Finding::new("rights", verdict, found).with_advice(grant)
}

/// What is said instead of what the function `doctor` would.
///
/// # Errors
/// Those that say that the database is gone.
fn not_seen(error: Error) -> Result<Finding, Error> {
    let (found, advice) = match error {
        Error::PermissionDenied { reason } => (
            format!("the server's part is refused: {reason}"),
            "Ask as a role that may call the function doctor.",
        ),
        Error::NotMigrated { .. } => (
            "the server's part is missing: the schema has no function doctor".to_owned(),
            "pgmutex migrate, and look again.",
        ),
        error @ (Error::Unavailable { .. } | Error::OutcomeUnknown { .. }) => return Err(error),
        other @ (Error::Protocol { .. } | Error::Database { .. }) => (
            format!("the server's part cannot be read: {other}"),
            "If the schema is of another version, use the program of that version; otherwise the server's log says more.",
        ),
        other => (
            format!("the server's part cannot be read: {other}"),
            "The server's log says more.",
        ),
    };
    Ok(Finding::new("doctor", Verdict::Note, found).with_advice(advice))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_clock_that_is_off_is_judged_by_how_much() {
        for (milliseconds, verdict, says) in [
            (0, Verdict::Ok, "agree"),
            (-1_000, Verdict::Ok, "agree"),
            (1_001, Verdict::Note, "1.0 s behind"),
            (-1_500, Verdict::Note, "1.5 s ahead of"),
            (10_001, Verdict::Warning, "10.0 s behind"),
            (-3_600_000, Verdict::Warning, "3600.0 s ahead of"),
        ] {
            let finding = clock(TimeDelta::milliseconds(milliseconds));
            assert_eq!(finding.verdict, verdict, "{milliseconds}");
            assert!(finding.found.contains(says), "{finding:?}");
            assert_eq!(finding.advice.is_some(), verdict > Verdict::Ok);
        }
    }

    #[test]
    fn a_network_without_tls_and_a_long_way_are_noted() {
        let mut whereabouts = Whereabouts {
            version: "15".to_owned(),
            user: "app".to_owned(),
            database: "shop".to_owned(),
            address: Some("10.0.0.5:5432".to_owned()),
            is_local: false,
            has_tls: false,
            isolation: "read committed".to_owned(),
        };
        let judged = |whereabouts: &Whereabouts| connection(Duration::ZERO, whereabouts).verdict;
        assert_eq!(judged(&whereabouts), Verdict::Note);
        whereabouts.has_tls = true;
        assert_eq!(judged(&whereabouts), Verdict::Ok);
        let far = round_trip_time(Duration::from_millis(80));
        assert_eq!(
            (far.verdict, far.found.as_str()),
            (Verdict::Note, "80.0 ms")
        );
        let near = round_trip_time(Duration::from_millis(2));
        assert_eq!(near.verdict, Verdict::Ok);
    }
}
