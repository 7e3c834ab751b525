//! What is asked of a server before it is known whether there is a schema.

use tokio_postgres::{GenericClient, types::Type};

use super::Repository;
use crate::domain::{Error, Finding, Verdict};

/// Where a connection leads.
pub(in super::super) struct Whereabouts {
    pub(in super::super) version: String,
    pub(in super::super) user: String,
    pub(in super::super) database: String,
    /// Address and port; `None` for a socket.
    pub(in super::super) address: Option<String>,
    /// Whether it stays on one machine.
    pub(in super::super) is_local: bool,
    pub(in super::super) has_tls: bool,
    /// At which isolation level transactions begin.
    pub(in super::super) isolation: String,
}

/// What the role may do with the schema; nothing is said of a schema that is not there.
pub(in super::super) struct Rights {
    pub(in super::super) owner: String,
    /// Whether it may use the schema at all.
    pub(in super::super) usage: bool,
    /// Whether it may read what is held.
    pub(in super::super) reads: bool,
    /// How many of the functions that an application calls it may call.
    pub(in super::super) callable: i64,
    /// Those that it may not.
    pub(in super::super) refused: Vec<String>,
}

const WHEREABOUTS: &str = "select current_setting('server_version'), current_user::text, current_database()::text, \
     host(inet_server_addr()) || ':' || inet_server_port(), \
     coalesce(inet_server_addr() = inet_client_addr() or inet_server_addr() <<= '127.0.0.0/8', true), \
     coalesce((select s.ssl from pg_stat_ssl s where s.pid = pg_backend_pid()), false), \
     current_setting('default_transaction_isolation')";

/// The same text for connections to the same database of the same running server.
const IDENTITY: &str = "select concat_ws(' ', c.system_identifier, pg_postmaster_start_time(), d.oid) \
     from pg_control_system() c, pg_database d where d.datname = current_database()";

const RIGHTS: &str = "select pg_get_userbyid(n.nspowner)::text, has_schema_privilege(n.oid, 'usage'), \
     coalesce((select has_table_privilege(c.oid, 'select') from pg_class c where c.relnamespace = n.oid and c.relname = 'held'), false), \
     count(p.oid) filter (where has_function_privilege(p.oid, 'execute')), \
     coalesce(array_agg(p.proname::text order by p.proname) filter (where not has_function_privilege(p.oid, 'execute')), '{}') \
     from pg_namespace n left join pg_proc p on p.pronamespace = n.oid and p.proname = any ($2) \
     where n.nspname = $1 group by n.oid, n.nspowner";

/// What an application calls, by way of this library.
const CALLED: [&str; 38] = [
    "attach_session",
    "capture",
    "capture_all",
    "capture_each",
    "doctor",
    "ensure_generation",
    "evict",
    "fence",
    "holder_in_the_way",
    "keep",
    "leave_line",
    "list",
    "list_count",
    "list_waiting",
    "look_at_lines",
    "pool_activate",
    "pool_add",
    "pool_block",
    "pool_checkout",
    "pool_count",
    "pool_count_active",
    "pool_delete",
    "pool_delete_one",
    "pool_find",
    "pool_find_one_and_update",
    "pool_get",
    "pool_get_session",
    "pool_inactive",
    "pool_lock",
    "pool_statistics",
    "pool_success",
    "pool_update",
    "refresh",
    "release",
    "release_each",
    "release_owner",
    "request",
    "sweep",
];

impl Repository {
    /// Asks where a connection leads.
    pub(in super::super) async fn whereabouts<C: GenericClient + Sync>(
        &self,
        client: &C,
    ) -> Result<Whereabouts, Error> {
        let call = self.call(client, "diagnose", None);
        let row = call.one_row(WHEREABOUTS, &[]).await?;
        let read = || {
            Ok(Whereabouts {
                version: row.try_get(0)?,
                user: row.try_get(1)?,
                database: row.try_get(2)?,
                address: row.try_get(3)?,
                is_local: row.try_get(4)?,
                has_tls: row.try_get(5)?,
                isolation: row.try_get(6)?,
            })
        };
        call.read(read())
    }

    /// Asks which running server and which database a connection leads to.
    pub(in super::super) async fn identity<C: GenericClient + Sync>(
        &self,
        client: &C,
    ) -> Result<String, Error> {
        let call = self.call(client, "diagnose", None);
        let row = call.one_row(IDENTITY, &[]).await?;
        call.read(row.try_get(0))
    }

    /// Asks what the role may do with the schema; `None` if there is none.
    pub(in super::super) async fn rights<C: GenericClient + Sync>(
        &self,
        client: &C,
    ) -> Result<Option<Rights>, Error> {
        let call = self.call(client, "diagnose", None);
        let (schema, called) = (self.schema().as_str(), CALLED.as_slice());
        let parameters = [(&schema as _, Type::TEXT), (&called as _, Type::TEXT_ARRAY)];
        let rows = call.rows(RIGHTS, &parameters).await?;
        let Some(row) = rows.first() else {
            return Ok(None);
        };
        let read = || {
            Ok(Rights {
                owner: row.try_get(0)?,
                usage: row.try_get(1)?,
                reads: row.try_get(2)?,
                callable: row.try_get(3)?,
                refused: row.try_get(4)?,
            })
        };
        call.read(read()).map(Some)
    }

    /// Calls `doctor`.
    ///
    /// # Errors
    /// All that the database can answer with.
    pub async fn doctor<C: GenericClient + Sync>(&self, client: &C) -> Result<Vec<Finding>, Error> {
        let call = self.call(client, "diagnose", None);
        let rows = call.rows(&self.statements.doctor, &[]).await?;
        let read = |row: &tokio_postgres::Row| {
            let verdict = Verdict::from_word(row.try_get(1)?);
            let found: Option<&str> = row.try_get(2)?;
            let mut finding = Finding::new(
                row.try_get::<_, String>(0)?,
                verdict,
                found.unwrap_or_default(),
            );
            finding.advice = row.try_get(3)?;
            Ok(finding)
        };
        rows.iter().map(|row| call.read(read(row))).collect()
    }
}
