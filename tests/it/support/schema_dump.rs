use tokio_postgres::Client;

/// The schema as it is in this database, as text: what migrations add up to, for people to read and
/// tests to compare.
///
/// Made from the catalogs rather than by pg_dump, whose text differs from one version to the next
/// and which not every installation has.
pub(crate) async fn schema_dump(client: &Client) -> String {
    let mut dump = String::from(
        "-- The schema as all migrations leave it. Made by the test schema::the_schema_is_as_dumped; do not edit.\n",
    );
    for (heading, query) in SECTIONS {
        dump.push_str(&format!("\n-- {heading} ---\n"));
        for row in client.query(query, &[]).await.unwrap() {
            dump.push('\n');
            dump.push_str(row.get::<_, String>(0).trim_end());
            dump.push('\n');
        }
    }
    dump
}

/// What is shown, and how. PostgreSQL 16 and later leave out the table's name before a column where
/// it is clear; it is left out here always.
const SECTIONS: [(&str, &str); 7] = [
    (
        "tables, views and types",
        "select case c.relkind when 'r' then 'table' when 'p' then 'partitioned table' when 'v' then 'view' when 'c' then 'type' end || ' ' || c.relname
                || coalesce(' with (' || array_to_string(c.reloptions, ', ') || ')', '') || E'\\n'
                || coalesce('  -- ' || obj_description(c.oid, 'pg_class') || E'\\n', '')
                || string_agg(
                       '    ' || a.attname || ' ' || format_type(a.atttypid, a.atttypmod)
                       || case when co.collname <> 'default' then ' collate ' || quote_ident(co.collname) else '' end
                       || case when a.attnotnull and c.relkind in ('r', 'p') then ' not null' else '' end
                       || case when d.oid is null then '' when a.attgenerated = 's' then ' generated as ' else ' default ' end
                       || coalesce(pg_get_expr(d.adbin, d.adrelid), '')
                       || coalesce('  -- ' || col_description(c.oid, a.attnum), ''), E'\\n' order by a.attnum)
         from pg_class c join pg_namespace n on n.oid = c.relnamespace join pg_attribute a on a.attrelid = c.oid
              left join pg_attrdef d on d.adrelid = c.oid and d.adnum = a.attnum
              left join pg_collation co on co.oid = a.attcollation
         where n.nspname = 'pgmutex' and c.relkind in ('r', 'p', 'v', 'c') and a.attnum > 0 and not a.attisdropped
         group by c.oid, c.relkind, c.relname, c.reloptions
         order by c.relname",
    ),
    (
        "constraints",
        "select conrelid::regclass || ': ' || conname || ' ' || pg_get_constraintdef(co.oid)
         from pg_constraint co join pg_namespace n on n.oid = co.connamespace
         where n.nspname = 'pgmutex' and contype <> 'n' order by conrelid::regclass::text, conname",
    ),
    (
        "indexes",
        "select indexdef from pg_indexes where schemaname = 'pgmutex' order by indexname",
    ),
    (
        "sequences",
        "select sequencename || ' ' || data_type || ' from ' || min_value || ' to ' || max_value || ' by ' || increment_by
                || ' cache ' || cache_size || case when cycle then ' cycle' else '' end
         from pg_sequences where schemaname = 'pgmutex' order by sequencename",
    ),
    (
        "view definitions",
        "select viewname || E' as\\n' || regexp_replace(definition, '\\m(mutex_model|hold|live_hold|pool_session)\\.', '', 'g')
         from pg_views where schemaname = 'pgmutex' order by viewname",
    ),
    (
        "functions",
        "select coalesce('-- ' || obj_description(p.oid, 'pg_proc') || E'\\n', '') || pg_get_functiondef(p.oid)
         from pg_proc p join pg_namespace n on n.oid = p.pronamespace where n.nspname = 'pgmutex' order by p.oid::regprocedure::text",
    ),
    (
        "privileges of everybody",
        "select p.oid::regprocedure::text from pg_proc p join pg_namespace n on n.oid = p.pronamespace
                cross join lateral aclexplode(coalesce(p.proacl, acldefault('f', p.proowner))) acl
         where n.nspname = 'pgmutex' and acl.grantee = 0 order by 1",
    ),
];
