//! From rows to domain types. Total over whatever another program may have stored: a strange row
//! gives a strange value or an error of its own, never a panic and never the loss of its
//! neighbours.

use std::error::Error as StdError;

use chrono::{DateTime, TimeDelta, Utc};
use tokio_postgres::{
    Row,
    types::{FromSql, Type},
};

use crate::domain::{
    Access, AutoRelease, Evicted, FencingToken, Mutex, MutexId, MutexOwner, MutexStatistics,
    PooledSession, Reach, Waiter,
};

/// A timestamp of the server's, which reaches further than [`DateTime`]: `infinity` and what lies
/// beyond are its bounds.
struct ServerTime(DateTime<Utc>);

/// 2000-01-01 00:00:00 UTC, from which the server counts microseconds, in seconds of Unix time.
const SERVER_EPOCH: i64 = 946_684_800;

impl<'a> FromSql<'a> for ServerTime {
    fn from_sql(_: &Type, raw: &'a [u8]) -> Result<Self, Box<dyn StdError + Sync + Send>> {
        let micros = i64::from_be_bytes(raw.try_into()?);
        let bound = if micros < 0 {
            DateTime::<Utc>::MIN_UTC
        } else {
            DateTime::<Utc>::MAX_UTC
        };
        let time = DateTime::from_timestamp(SERVER_EPOCH, 0)
            .and_then(|epoch| epoch.checked_add_signed(TimeDelta::microseconds(micros)))
            .unwrap_or(bound);
        Ok(Self(time))
    }

    fn accepts(column: &Type) -> bool {
        *column == Type::TIMESTAMPTZ
    }
}

/// The columns of a hold, in the order in which [`mutex`] reads them.
pub(super) const HOLD_COLUMNS: &str = "mutex_group, mutex_mode, mutex_id, permit, permits, \
     owner_session, owner_host, owner_id, owner_login, owner_name, \
     auto_release_rule, auto_release_config, captured_since, status_data, \
     fencing_token, held_since, expires_at, lock_parents, lock_children";

/// How many they are.
const HOLD_WIDTH: usize = 19;

/// Why a row could not be read.
pub(super) type Unreadable = tokio_postgres::Error;

/// Reads the columns of a hold, of which the first is number `from`.
pub(super) fn mutex(row: &Row, from: usize) -> Result<Mutex, Unreadable> {
    let id = MutexId::from_row(
        row.try_get(from)?,
        row.try_get(from + 1)?,
        row.try_get(from + 2)?,
    );
    let permit: i32 = row.try_get(from + 3)?;
    let permits: Option<i32> = row.try_get(from + 4)?;
    let owner = MutexOwner::from_row(
        row.try_get(from + 5)?,
        row.try_get(from + 7)?,
        row.try_get(from + 9)?,
        row.try_get(from + 8)?,
        row.try_get(from + 6)?,
    );
    Ok(Mutex {
        id,
        owner,
        auto_release: AutoRelease::restore(
            row.try_get::<_, String>(from + 10)?,
            row.try_get::<_, String>(from + 11)?,
        ),
        captured_since: time(row, from + 12)?,
        status_data: row.try_get(from + 13)?,
        fencing_token: FencingToken::new(row.try_get(from + 14)?),
        permit: u32::try_from(permit).unwrap_or(0),
        permits: permits.and_then(|permits| u32::try_from(permits).ok()),
        held_since: time(row, from + 15)?,
        expires_at: row
            .try_get::<_, Option<ServerTime>>(from + 16)?
            .map(|time| time.0),
        reach: Reach {
            parents: row.try_get(from + 17)?,
            children: row.try_get(from + 18)?,
        },
    })
}

/// Reads one time.
pub(super) fn time(row: &Row, column: usize) -> Result<DateTime<Utc>, Unreadable> {
    Ok(row.try_get::<_, ServerTime>(column)?.0)
}

/// The columns of a place in line, in the order in which [`waiter`] reads them.
pub(super) const WAITER_COLUMNS: &str = "mutex_group, mutex_mode, mutex_id, place, ticket, access, permits, \
     owner_session, owner_host, owner_id, owner_login, owner_name, \
     behind_owner_session, behind_owner_name, queued_since, lock_parents, lock_children";

/// Reads a place in line.
pub(super) fn waiter(row: &Row) -> Result<Waiter, Unreadable> {
    let place: i64 = row.try_get(3)?;
    let access: &str = row.try_get(5)?;
    let permits: Option<i32> = row.try_get(6)?;
    Ok(Waiter {
        id: MutexId::from_row(row.try_get(0)?, row.try_get(1)?, row.try_get(2)?),
        place: u64::try_from(place).unwrap_or(0),
        ticket: row.try_get(4)?,
        access: match access {
            "shared" => Access::Shared {
                permits: permits.and_then(|permits| u32::try_from(permits).ok()),
            },
            _ => Access::Exclusive,
        },
        owner: MutexOwner::from_row(
            row.try_get(7)?,
            row.try_get(9)?,
            row.try_get(11)?,
            row.try_get(10)?,
            row.try_get(8)?,
        ),
        behind_session: row.try_get(12)?,
        behind_name: row.try_get(13)?,
        queued_since: time(row, 14)?,
        reach: Reach {
            parents: row.try_get(15)?,
            children: row.try_get(16)?,
        },
    })
}

/// The columns of the statistics, in the order in which [`statistics`] reads them.
pub(super) const STATISTICS_COLUMNS: &str = "observed_at, holds, holds_are_estimated, holds_over, oldest_hold_since, \
     waiters, oldest_waiter_since, pool_sessions";

/// Reads the statistics.
pub(super) fn statistics(row: &Row) -> Result<MutexStatistics, Unreadable> {
    let count = |column: usize| -> Result<u64, Unreadable> {
        Ok(u64::try_from(row.try_get::<_, i64>(column)?).unwrap_or(0))
    };
    let moment = |column: usize| -> Result<Option<DateTime<Utc>>, Unreadable> {
        let time: Option<ServerTime> = row.try_get(column)?;
        Ok(time.map(|time| time.0))
    };
    Ok(MutexStatistics {
        observed_at: time(row, 0)?,
        holds: count(1)?,
        holds_are_estimated: row.try_get(2)?,
        holds_over: count(3)?,
        oldest_hold_since: moment(4)?,
        waiters: row
            .try_get::<_, Option<i64>>(5)?
            .map(|waiters| u64::try_from(waiters).unwrap_or(0)),
        oldest_waiter_since: moment(6)?,
        pool_sessions: count(7)?,
    })
}

/// The columns of an answer about a session of a pool, in the order in which [`session`] reads them.
pub(super) const SESSION_COLUMNS: [&str; SESSION_WIDTH] = [
    "outcome",
    "collection",
    "id",
    "payload::text",
    "active",
    "next_use",
    "last_use",
    "use_count",
    "success_count",
    "created_at",
    "updated_at",
];

/// How many they are.
pub(super) const SESSION_WIDTH: usize = 11;

/// Reads a session and the text of its payload; `None` if the answer is about none.
pub(super) fn session(
    row: &Row,
    from: usize,
) -> Result<Option<(PooledSession<()>, String)>, Unreadable> {
    let (Some(id), Some(payload)) = (
        row.try_get::<_, Option<i64>>(from + 2)?,
        row.try_get::<_, Option<String>>(from + 3)?,
    ) else {
        return Ok(None);
    };
    let moment = |column: usize| -> Result<Option<DateTime<Utc>>, Unreadable> {
        let time: Option<ServerTime> = row.try_get(column)?;
        Ok(time
            .map(|time| time.0)
            .filter(|time| *time > DateTime::<Utc>::MIN_UTC))
    };
    let count = |column: usize| -> Result<u64, Unreadable> {
        Ok(u64::try_from(row.try_get::<_, i64>(column)?).unwrap_or(0))
    };
    let session = PooledSession {
        collection: row.try_get(from + 1)?,
        id,
        payload: (),
        active: row.try_get(from + 4)?,
        next_use: moment(from + 5)?,
        last_use: moment(from + 6)?,
        use_count: count(from + 7)?,
        success_count: count(from + 8)?,
        created_at: time(row, from + 9)?,
        updated_at: time(row, from + 10)?,
    };
    Ok(Some((session, payload)))
}

/// An answer of type `hold_outcome`, as [`Outcome::columns`] selects it.
pub(super) struct Outcome {
    pub(super) word: String,
    pub(super) observed_at: DateTime<Utc>,
    row: Row,
}

impl Outcome {
    /// Where the time of the answer stands, where the ticket, and where what follows begins.
    pub(super) const OBSERVED_AT: usize = 1 + HOLD_WIDTH;
    pub(super) const TICKET: usize = 5 + HOLD_WIDTH;
    pub(super) const WIDTH: usize = 6 + HOLD_WIDTH;

    pub(super) fn columns() -> String {
        format!(
            "outcome, {HOLD_COLUMNS}, observed_at, evicted_owner_session, evicted_owner_name, evicted_fencing_token, ticket"
        )
    }

    pub(super) fn read(row: Row) -> Result<Self, Unreadable> {
        Ok(Self {
            word: row.try_get(0)?,
            observed_at: time(&row, Self::OBSERVED_AT)?,
            row,
        })
    }

    /// The hold that the answer is about.
    pub(super) fn mutex(&self) -> Result<Mutex, Unreadable> {
        mutex(&self.row, 1)
    }

    /// Whether it leaves out what the asker of a capture said itself.
    pub(super) fn is_without_hold(&self) -> Result<bool, Unreadable> {
        Ok(self.row.try_get::<_, Option<&str>>(1)?.is_none())
    }

    /// The token of the hold.
    pub(super) fn token(&self) -> Result<FencingToken, Unreadable> {
        Ok(FencingToken::new(self.row.try_get(15)?))
    }

    /// When its rule ends the hold.
    pub(super) fn expires_at(&self) -> Result<Option<DateTime<Utc>>, Unreadable> {
        let time: Option<ServerTime> = self.row.try_get(17)?;
        Ok(time.map(|time| time.0))
    }

    /// Which of many requests is answered; the column that follows those of an answer.
    pub(super) fn place(&self) -> Result<i32, Unreadable> {
        self.row.try_get(Self::WIDTH)
    }

    /// The place in line of the asker.
    pub(super) fn ticket(&self) -> Result<Option<i64>, Unreadable> {
        self.row.try_get(Self::TICKET)
    }

    /// The hold that made way.
    pub(super) fn evicted(&self) -> Result<Evicted, Unreadable> {
        let first = 2 + HOLD_WIDTH;
        Ok(Evicted::new(
            self.row.try_get(first)?,
            self.row.try_get(first + 1)?,
            FencingToken::new(self.row.try_get(first + 2)?),
        ))
    }
}
