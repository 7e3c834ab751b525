//! What `pgmutex bench` says to the server beside the functions: the floors, which are what locks
//! would cost without them, and the workbench around them.

use tokio_postgres::{Client, Row, Statement};

use super::super::SchemaName;

/// What stands in the names of all rows that a bench writes.
const GROUP: &str = "bench";

const SURROUNDINGS: &str = "select current_setting('server_version'), current_setting('fsync'), \
     current_setting('synchronous_commit'), current_setting('full_page_writes'), \
     coalesce(inet_server_addr() = inet_client_addr() or inet_server_addr() <<= '127.0.0.0/8', true), \
     pg_backend_pid(), current_database()::text, \
     (select (extract(epoch from a.backend_start) * 1000000)::bigint from pg_stat_activity a where a.pid = pg_backend_pid()), \
     array(select p.pubname::text from pg_publication p where p.puballtables order by p.pubname), \
     array(select n.nspname::text from pg_namespace n where n.nspname like 'pgmutex\\_bench\\_%' order by n.nspname), \
     current_setting('max_connections')::bigint - current_setting('superuser_reserved_connections')::bigint \
     - (select count(*) from pg_stat_activity a where a.backend_type in ('client backend', 'walsender'))";

/// Written to the log so far, and the transactions that wrote: both count at once, unlike the
/// statistics of the server, which may be a second old.
const SPENT: &str = "select (pg_current_wal_insert_lsn() - '0/0')::bigint, \
     pg_snapshot_xmax(pg_current_snapshot())::text::bigint";

/// What an administrator has set for the statements of applications is not for these. Servers before
/// version 14 have no idle_session_timeout.
const UNLIMITED: &str = "select set_config(s.name, '0', false) from pg_settings s where s.name in \
     ('statement_timeout', 'lock_timeout', 'idle_in_transaction_session_timeout', 'idle_session_timeout', 'transaction_timeout')";

/// Lets this connection take its time.
pub(in super::super) async fn unlimited(client: &Client) -> Result<(), tokio_postgres::Error> {
    client.batch_execute(UNLIMITED).await
}

/// Makes the table that the floors write to. It has what a lock needs at the least.
pub(in super::super) async fn make_floor(
    client: &Client,
    schema: &SchemaName,
) -> Result<(), tokio_postgres::Error> {
    let schema = schema.quoted();
    client
        .batch_execute(&format!(
            "create table {schema}.floor (
                 mutex_group text collate \"C\" not null, mutex_mode text collate \"C\" not null, mutex_id text collate \"C\" not null,
                 owner_session text not null, captured_since timestamptz not null default clock_timestamp(),
                 expires_at timestamptz not null default clock_timestamp() + interval '5 minutes',
                 primary key (mutex_group, mutex_mode, mutex_id)
             )"
        ))
        .await
}

/// Adds holds, from this number to that one: as if they had been captured, but in one statement.
pub(in super::super) async fn fill(
    client: &Client,
    schema: &SchemaName,
    from: i64,
    until: i64,
) -> Result<(), tokio_postgres::Error> {
    let schema = schema.quoted();
    let insert = format!(
        "insert into {schema}.mutex_model \
             (mutex_group, mutex_mode, mutex_id, owner_session, auto_release_rule, auto_release_config, fencing_token) \
         select '{GROUP}', 'pair', md5(n::text), 'session-' || n / 100, 'timeout', '864000', n \
         from generate_series($1::bigint, $2::bigint) n"
    );
    client.execute(&insert, &[&from, &until]).await?;
    Ok(())
}

/// Does what autovacuum does some time after so many rows have come.
pub(in super::super) async fn settle(
    client: &Client,
    schema: &SchemaName,
) -> Result<(), tokio_postgres::Error> {
    let schema = schema.quoted();
    client
        .batch_execute(&format!("vacuum (analyze) {schema}.mutex_model"))
        .await
}

/// How many are in line for the mutex of the bench's that is called so.
pub(in super::super) async fn in_line(
    client: &Client,
    schema: &SchemaName,
    name: &str,
) -> Result<i64, tokio_postgres::Error> {
    let schema = schema.quoted();
    let count = format!(
        "select count(*) from {schema}.mutex_waiter \
         where mutex_group = '{GROUP}' and mutex_mode = 'pair' and mutex_id = $1"
    );
    client.query_one(&count, &[&name]).await?.try_get(0)
}

/// The rows of all tables of the schema, and those of them that this transaction or a later one has
/// written: the first has this number, as the server counts them from its beginning.
pub(in super::super) async fn rows(
    client: &Client,
    schema: &SchemaName,
    since: i64,
) -> Result<(i64, i64), tokio_postgres::Error> {
    let tables = "select quote_ident(c.relname) from pg_class c join pg_namespace n on n.oid = c.relnamespace \
                  where n.nspname = $1 and c.relkind = 'r'";
    let name = schema.to_string();
    // A row knows the lower 32 bits of its transaction's number.
    let since = (since & 0xffff_ffff).to_string();
    let schema = schema.quoted();
    let (mut all, mut new) = (0, 0);
    for table in client.query(tables, &[&name]).await? {
        let table: String = table.try_get(0)?;
        let count = format!(
            "select count(*), count(*) filter (where age(t.xmin) <= age('{since}'::xid)) from {schema}.{table} t"
        );
        let row = client.query_one(&count, &[]).await?;
        all += row.try_get::<_, i64>(0)?;
        new += row.try_get::<_, i64>(1)?;
    }
    Ok((all, new))
}

/// Removes a schema and all that is in it, unless somebody is at work in it for long.
pub(in super::super) async fn drop_schema(
    client: &Client,
    schema: &SchemaName,
) -> Result<(), tokio_postgres::Error> {
    let schema = schema.quoted();
    client
        .batch_execute(&format!(
            "set lock_timeout = '5s'; set client_min_messages = warning; drop schema if exists {schema} cascade"
        ))
        .await
}

/// Ends what another connection of this role is at: that of this process, which began at this moment.
/// Another one may have its number by now.
pub(in super::super) async fn end_session(
    client: &Client,
    process: i32,
    began: i64,
) -> Result<(), tokio_postgres::Error> {
    let end = "select pg_terminate_backend(a.pid) from pg_stat_activity a \
               where a.pid = $1 and (extract(epoch from a.backend_start) * 1000000)::bigint = $2";
    client.execute(end, &[&process, &began]).await?;
    Ok(())
}

/// Whether this connection answers.
pub(in super::super) async fn answers(client: &Client) -> Result<(), tokio_postgres::Error> {
    client.batch_execute("").await
}

pub(in super::super) async fn surroundings(client: &Client) -> Result<Row, tokio_postgres::Error> {
    client.query_one(SURROUNDINGS, &[]).await
}

pub(in super::super) async fn prepare_spent(
    client: &Client,
) -> Result<Statement, tokio_postgres::Error> {
    client.prepare(SPENT).await
}

/// The statements of the floors, prepared on one connection: what a careful client would do to be
/// fast.
pub(in super::super) struct FloorStatements {
    pub(in super::super) round_trip: Statement,
    pub(in super::super) insert: Statement,
    pub(in super::super) delete: Statement,
    pub(in super::super) select: Statement,
    pub(in super::super) lock_transaction: Statement,
    pub(in super::super) lock_session: Statement,
    pub(in super::super) unlock_session: Statement,
}

impl FloorStatements {
    pub(in super::super) async fn prepared(
        client: &Client,
        schema: &SchemaName,
    ) -> Result<Self, tokio_postgres::Error> {
        let schema = schema.quoted();
        let of_the_mutex =
            format!("mutex_group = '{GROUP}' and mutex_mode = 'pair' and mutex_id = $1");
        // The seed keeps them apart from the keys that an application locks.
        let key = "hashtextextended($1, $2)";
        let prepare = async |text: String| client.prepare(&text).await;
        Ok(Self {
            round_trip: prepare("select 1".to_owned()).await?,
            insert: prepare(format!(
                "insert into {schema}.floor (mutex_group, mutex_mode, mutex_id, owner_session) \
                 values ('{GROUP}', 'pair', $1, $2) on conflict do nothing"
            ))
            .await?,
            delete: prepare(format!(
                "delete from {schema}.floor where {of_the_mutex} and owner_session = $2"
            ))
            .await?,
            select: prepare(format!(
                "select owner_session, expires_at from {schema}.floor where {of_the_mutex}"
            ))
            .await?,
            lock_transaction: prepare(format!("select pg_advisory_xact_lock({key})")).await?,
            lock_session: prepare(format!("select pg_advisory_lock({key})")).await?,
            unlock_session: prepare(format!("select pg_advisory_unlock({key})")).await?,
        })
    }
}

pub(in super::super) async fn begin(client: &Client) -> Result<(), tokio_postgres::Error> {
    client.batch_execute("begin").await
}

pub(in super::super) async fn commit(client: &Client) -> Result<(), tokio_postgres::Error> {
    client.batch_execute("commit").await
}
