-- The schema as all migrations leave it. Made by the test schema::the_schema_is_as_dumped; do not edit.

-- tables, views and types ---

partitioned table audit
  -- Every beginning and end of a hold since enable_audit was called, in a partition for each month. Events are added and never changed: update, delete and truncate are refused, and keep_audit drops whole months that are past their time. (The owner of the table could drop it, or its triggers.)
    at timestamp with time zone not null  -- Database time of the event.
    number bigint not null default nextval('pgmutex.audit_number_sequence'::regclass)  -- Larger for a later event of the same database session; sets events of one time apart.
    event text not null  -- captured; released (by the holder); evicted (its rule had ended it, and somebody noticed); forced (taken away by force_release, or by emptying the table). A hold that changes between exclusive and shared, or its owner, is released and captured.
    mutex_group text collate "C" not null  -- First part of the mutex id.
    mutex_mode text collate "C" not null  -- Second part of the mutex id.
    mutex_id text collate "C" not null  -- Third part of the mutex id.
    permit integer not null  -- 0: the hold was exclusive. Else it was shared, and this was the number of its permit.
    fencing_token bigint not null  -- Token of the hold: what begins and ends one hold has the same.
    owner_session text collate "C" not null  -- Whose hold it was: the owner's session.
    owner_host text not null  -- Host of the owner.
    owner_id text not null  -- User id of the owner.
    owner_login text not null  -- Login of the owner.
    owner_name text not null  -- Name of the owner.
    reason text  -- For forced what force_release was told, for evicted the rule and its setting; else null.
    database_role text not null  -- The role that was logged in to the database when it happened; of an evicted hold, whoever noticed.
    client_address inet  -- Address of that connection's client (or of the pooler in between); null for a local socket.
    application_name text not null  -- What that client calls itself.

table audit_default
  -- A part of the audit: default
    at timestamp with time zone not null  -- Database time of the event.
    number bigint not null default nextval('pgmutex.audit_number_sequence'::regclass)  -- Larger for a later event of the same database session; sets events of one time apart.
    event text not null  -- captured; released (by the holder); evicted (its rule had ended it, and somebody noticed); forced (taken away by force_release, or by emptying the table). A hold that changes between exclusive and shared, or its owner, is released and captured.
    mutex_group text collate "C" not null  -- First part of the mutex id.
    mutex_mode text collate "C" not null  -- Second part of the mutex id.
    mutex_id text collate "C" not null  -- Third part of the mutex id.
    permit integer not null  -- 0: the hold was exclusive. Else it was shared, and this was the number of its permit.
    fencing_token bigint not null  -- Token of the hold: what begins and ends one hold has the same.
    owner_session text collate "C" not null  -- Whose hold it was: the owner's session.
    owner_host text not null  -- Host of the owner.
    owner_id text not null  -- User id of the owner.
    owner_login text not null  -- Login of the owner.
    owner_name text not null  -- Name of the owner.
    reason text  -- For forced what force_release was told, for evicted the rule and its setting; else null.
    database_role text not null  -- The role that was logged in to the database when it happened; of an evicted hold, whoever noticed.
    client_address inet  -- Address of that connection's client (or of the pooler in between); null for a local socket.
    application_name text not null  -- What that client calls itself.

view blocking
  -- Who blocks whom: a row for each waiter and each one that is in its way. These are all holders that it could not hold the mutex beside, the waiter directly ahead in its line, and at a path of a tree also those above and below, holders and those who came before. Whoever waits for a session of a pool has only the waiter ahead here: which session it will be is open.
    mutex_group text collate "C"  -- First part of the id of the mutex that is waited for; the blocker's is the same.
    mutex_mode text collate "C"  -- Second part of that id; the blocker's is the same.
    mutex_id text collate "C"  -- Third part of the id of the mutex that is waited for.
    place bigint  -- The waiter's place in line: 1 is next.
    ticket bigint  -- The waiter's ticket.
    access text  -- The access that it waits for: exclusive or shared.
    owner_session text collate "C"  -- Who waits: for whoever may not read hold only a digest, the same as in held.
    owner_host text
    owner_id text
    owner_login text
    owner_name text
    queued_since timestamp with time zone
    waiting_for interval  -- How long it has been waiting.
    blocked_by text  -- holder, or waiter: one ahead in line.
    blocker_mutex_id text collate "C"  -- Which mutex the blocker holds or waits for: at a path of a tree perhaps one above or below.
    blocker_access text  -- The access that it has, or waits for.
    blocker_owner_session text collate "C"  -- Who is in the way: for whoever may not read hold only a digest.
    blocker_owner_host text
    blocker_owner_id text
    blocker_owner_login text
    blocker_owner_name text
    blocker_fencing_token bigint  -- The token of its hold, as force_release takes it; null for a waiter.
    blocker_ticket bigint  -- Its ticket; null for a holder.
    blocker_since timestamp with time zone  -- Since when it has held, or waited.
    blocker_expires_at timestamp with time zone  -- When the rule ends its hold; null if no time does, and for a waiter.
    held_for interval  -- Age of its hold; null for a waiter.
    time_left interval  -- Time until the rule ends its hold; null if no time does, and for a waiter.

view held
  -- What is held now, by whom, since when and until when. Holds whose rule has ended them are left out; hold shows those too.
    mutex_group text collate "C"
    mutex_mode text collate "C"
    mutex_id text collate "C"
    permit integer
    permits integer
    owner_session text collate "C"  -- Who holds it: for whoever may not read hold only a digest. A comparison with it reads every hold of the mutexes asked for; list() and hold find an owner by index.
    owner_host text
    owner_id text
    owner_login text
    owner_name text
    auto_release_rule text
    auto_release_config text
    status_data text  -- Free text of the holder; null for whoever may not read hold.
    fencing_token bigint
    held_since timestamp with time zone
    captured_since timestamp with time zone
    expires_at timestamp with time zone
    lock_parents boolean
    lock_children boolean
    held_for interval  -- Age of the hold.
    time_left interval  -- Time until the rule ends the hold; null if no time does.

view hold
  -- Every row of mutex_model, over or not, with a fixed list of columns. The functions read and write through it, so a column that another program adds to the table disturbs nothing.
    mutex_group text collate "C"
    mutex_mode text collate "C"
    mutex_id text collate "C"
    permit integer
    permits integer
    owner_session text collate "C"
    owner_host text
    owner_id text
    owner_login text
    owner_name text
    auto_release_rule text
    auto_release_config text
    captured_since timestamp with time zone
    status_data text
    fencing_token bigint
    held_since timestamp with time zone
    expires_at timestamp with time zone
    lock_parents boolean
    lock_children boolean

type hold_outcome
    outcome text
    mutex_group text
    mutex_mode text
    mutex_id text
    permit integer
    permits integer
    owner_session text
    owner_host text
    owner_id text
    owner_login text
    owner_name text
    auto_release_rule text
    auto_release_config text
    captured_since timestamp with time zone
    status_data text
    fencing_token bigint
    held_since timestamp with time zone
    expires_at timestamp with time zone
    lock_parents boolean
    lock_children boolean
    observed_at timestamp with time zone
    evicted_owner_session text
    evicted_owner_name text
    evicted_fencing_token bigint
    ticket bigint

view live_hold
  -- The holds whose rule has not ended them, with their secrets, for the views of this schema: nobody else need read it. held shows them to people.
    mutex_group text collate "C"
    mutex_mode text collate "C"
    mutex_id text collate "C"
    permit integer
    permits integer
    owner_session text collate "C"
    owner_host text
    owner_id text
    owner_login text
    owner_name text
    auto_release_rule text
    auto_release_config text
    status_data text
    fencing_token bigint
    held_since timestamp with time zone
    captured_since timestamp with time zone
    expires_at timestamp with time zone
    lock_parents boolean
    lock_children boolean

type m3_mutex_import
    id text
    mutex_group text
    mutex_mode text
    mutex_id text
    outcome text
    problem text

table mutex_listener
  -- The processes that wait for mutexes.
    listener bigint not null  -- Number of the process: chosen at random, and with has_session that of its database session.
    has_session boolean not null  -- Whether the process has a database session that listens on channel pgmutex_<listener>, and is gone with it.
    seen_at timestamp with time zone not null default clock_timestamp()  -- When the process last asked whether one of its turns has come.

table mutex_model with (fillfactor=45, autovacuum_vacuum_scale_factor=0.05, autovacuum_vacuum_threshold=1000, autovacuum_analyze_scale_factor=0.05, autovacuum_analyze_threshold=1000)
  -- The holds: one row is one owner that has captured one mutex. Read it through the views held and hold.
    mutex_group text collate "C" not null default ''::text  -- First part of the mutex id: the application or area.
    mutex_mode text collate "C" not null default ''::text  -- Second part of the mutex id: the type of the object locked.
    mutex_id text collate "C" not null default ''::text  -- Third part of the mutex id: which object of that type.
    owner_session text collate "C" not null  -- Who holds it: the identity that captures, refreshes and releases compare.
    owner_host text not null default ''::text  -- Host of the owner, for people.
    owner_id text not null default ''::text  -- User id of the owner.
    owner_login text not null default ''::text  -- Login of the owner, for people.
    owner_name text not null default ''::text  -- Name of the owner, for people.
    auto_release_rule text not null default ''::text  -- Code of the rule that ends the hold: timeout, deadline, connection, never (or empty), or a custom code.
    auto_release_config text not null default ''::text  -- Setting of the rule: whole seconds for timeout; an RFC 3339 time for deadline; for connection the number of a database session, and perhaps a space and whole seconds.
    captured_since timestamp with time zone not null default clock_timestamp()  -- Database time of the capture or of the last refresh; a timeout counts from here.
    status_data text  -- Free text of the holder.
    fencing_token bigint not null default pgmutex.next_fencing_token()  -- Larger for each later capture of the mutex; a refresh keeps it.
    permit integer not null default 0  -- 0: the hold is exclusive. Else it is shared, and this is the number of its permit.
    permits integer  -- How many may share the mutex while this hold lasts, itself included; null: any number.
    lock_parents boolean not null default false  -- For a path of a tree: whether nobody may capture a path above it. False for plain mutexes.
    lock_children boolean not null default false  -- For a path of a tree: whether nobody may capture a path below it. False for plain mutexes.
    held_since timestamp with time zone not null default clock_timestamp()  -- Database time at which this hold began; refreshes leave it.
    expires_at timestamp with time zone generated as pgmutex.rule_ends_at(auto_release_rule, auto_release_config, captured_since)  -- When the rule ends the hold, worked out from rule, setting and captured_since; null if the rule is not one of time.
    ending text  -- Why the hold is about to be removed against its holder's will, for the audit; null in every row that is there.
    sweep_at timestamp with time zone default clock_timestamp()  -- When a sweep is to look at the hold; never later than expires_at. It begins as the time at which the row is written, whoever writes it; null: time does not end the hold.
    through_m3_mutex boolean not null default false  -- Whether the hold was captured or refreshed through the view m3_mutex: only such holds can be deleted through it before they are over.

type mutex_statistics
    observed_at timestamp with time zone
    holds bigint
    holds_are_estimated boolean
    holds_over bigint
    oldest_hold_since timestamp with time zone
    waiters bigint
    oldest_waiter_since timestamp with time zone
    pool_sessions bigint

table mutex_waiter with (autovacuum_vacuum_scale_factor=0, autovacuum_vacuum_threshold=1000, autovacuum_vacuum_cost_delay=0)
  -- Those who wait: one row is one place in the line of one mutex. Read it through the view waiting.
    mutex_group text collate "C" not null  -- First part of the mutex id.
    mutex_mode text collate "C" not null  -- Second part of the mutex id.
    mutex_id text collate "C" not null  -- Third part of the mutex id.
    ticket bigint not null  -- The place in line: the smallest is served first. One who waits for several mutexes at once has one ticket for all.
    access text not null  -- exclusive or shared.
    permits integer  -- How many may share the mutex; null: any number.
    owner_session text collate "C" not null  -- Who waits.
    owner_host text not null  -- Host of the owner, for people.
    owner_id text not null  -- User id of the owner.
    owner_login text not null  -- Login of the owner, for people.
    owner_name text not null  -- Name of the owner, for people.
    while_holding bigint[]  -- Fencing tokens of the holds that the waiter keeps until it has been served, beside those of its owner_session.
    listener bigint  -- The process that is to be told; null: the waiter asks by itself.
    queued_since timestamp with time zone not null  -- When it joined the line.
    seen_at timestamp with time zone not null  -- When it last asked.
    lock_parents boolean not null default false  -- For a path of a tree: whether the hold will lock the paths above it.
    lock_children boolean not null default false  -- For a path of a tree: whether the hold will lock the paths below it.

table object_role
  -- The objects of this schema that are ours, and who may use them: functions may be called, views and the history of migrations read, types named in functions of one's own. Whoever may use more may use what those before may: reader, application, admin, owner.
    kind text not null  -- function, relation (a table, view or sequence) or type.
    name name collate "C" not null  -- Its name in this schema; of a function, of all that are so named. It need not exist.
    role text not null  -- The least role that may use it; owner: nobody but the owner of the schema.

view pool
  -- Every session of every pool, whether it can be used, and who has it.
    collection text collate "C"
    id bigint
    payload jsonb
    active boolean
    next_use timestamp with time zone
    last_use timestamp with time zone
    use_count bigint
    success_count bigint
    created_at timestamp with time zone
    updated_at timestamp with time zone
    state text  -- ready, in use (leased), locked or blocked (not to be used before next_use), or inactive.
    locked_for interval  -- Time until it may be used again.
    owner_session text collate "C"
    owner_host text
    owner_id text
    owner_login text
    owner_name text
    auto_release_rule text
    auto_release_config text
    leased_since timestamp with time zone
    lease_expires_at timestamp with time zone
    fencing_token bigint

type pool_outcome
    outcome text
    collection text
    id bigint
    payload jsonb
    active boolean
    next_use timestamp with time zone
    last_use timestamp with time zone
    use_count bigint
    success_count bigint
    created_at timestamp with time zone
    updated_at timestamp with time zone
    fencing_token bigint
    observed_at timestamp with time zone

table pool_session with (fillfactor=80)
  -- The sessions that workers share: one row is one of them. Read it through the view pool.
    collection text collate "C" not null  -- The pool that it belongs to.
    id bigint not null  -- Its number.
    payload jsonb not null default '{}'::jsonb  -- What workers need of it: any JSON object.
    active boolean not null default true  -- Whether it may be used at all; false until somebody activates it.
    next_use timestamp with time zone not null default '-infinity'::timestamp with time zone  -- Not to be used before.
    is_blocked boolean not null default false  -- Whether next_use was set by pool_block.
    last_use timestamp with time zone  -- When it was taken last.
    use_count bigint not null default 0  -- How often it was used, by the word of those who took it.
    success_count bigint not null default 0  -- How often with success.
    created_at timestamp with time zone not null default clock_timestamp()  -- When it was added.
    updated_at timestamp with time zone not null default clock_timestamp()  -- When anything about it was changed last.
    fencing_token bigint  -- The token of the hold that has it: of the mutex (pgmutex.pool, collection, id).
    look_at_lease timestamp with time zone  -- When it is worth looking whether that hold is over.
    request_id text collate "C"  -- The request by which it was taken last: the same request gets it again.
    is_ready boolean not null default true  -- Whether it could be taken when this row was written: kept by a trigger.
    due_at timestamp with time zone generated as GREATEST(next_use, look_at_lease)  -- When to look again at one that is not ready.

view pool_statistics
  -- How each pool stands. It reads all of its sessions.
    collection text collate "C"
    total bigint
    active bigint
    inactive bigint
    ready bigint  -- Those that could be taken now.
    in_use bigint  -- Those that are leased; a lease that is over counts until somebody has noticed.
    locked bigint  -- Those that are not to be used before some time, other than the blocked ones.
    blocked bigint
    uses bigint
    successes bigint
    success_rate double precision  -- Successes for each use; null as long as there was none.

table refinery_schema_history
  -- The migrations applied to this schema, kept by refinery.
    version integer not null  -- Number of the migration.
    name character varying(255)  -- Name of the migration.
    applied_on character varying(255)  -- When it was applied, by the clock of the program that did so.
    checksum character varying(255)  -- Checksum of its name, number and text.

view role_mark
  -- Marks who has which role: it is written down as the privilege to read the column of that name. What was granted by hand is no role, and is left alone.
    reader text  -- Readable by those with the role reader.
    application text  -- Readable by those with the role application.
    admin text  -- Readable by those with the role admin.

view roles
  -- Who has which role, as grant_role gave it. Members of these database roles have it too.
    database_role name collate "C"  -- Name of the database role.
    role text collate "C"  -- owner, admin, application or reader.

table token_generation
  -- One row: the server that gave the last fencing tokens. A token is generation * 2^40 + a sequence number. The generation rises when the server turns out to be another one (failover, restored dump, pg_upgrade), whose sequence may have fallen behind.
    only_row boolean not null default true  -- Always true: there is one row.
    generation bigint not null  -- The generation of the tokens given now.
    system_identifier bigint not null  -- The cluster that gave the last tokens; compared when a client connects or migrates.
    timeline integer not null  -- The timeline of the server that gave the last tokens; compared at each capture.

view waiting
  -- Who waits for which mutex behind whom, and since when. A waiter that died without a word is shown until its turn comes.
    mutex_group text collate "C"
    mutex_mode text collate "C"
    mutex_id text collate "C"
    place bigint  -- Place in line: 1 is next.
    access text
    permits integer
    owner_session text collate "C"  -- Who waits: for whoever may not read hold only a digest, the same as in held.
    owner_host text
    owner_id text
    owner_login text
    owner_name text
    behind_owner_session text collate "C"  -- Who is directly before it: the waiter ahead, or for the first one the holder (one of them, if they are several), at a path perhaps one above or below.
    behind_owner_name text
    queued_since timestamp with time zone
    waiting_for interval  -- How long it has been waiting.
    ticket bigint
    while_holding bigint[]
    listener bigint
    seen_at timestamp with time zone  -- When the waiter, or its process, last asked.
    lock_parents boolean
    lock_children boolean

-- constraints ---

pgmutex.audit: audit_event_is_known CHECK ((event = ANY (ARRAY['captured'::text, 'released'::text, 'evicted'::text, 'forced'::text])))

pgmutex.audit_default: audit_event_is_known CHECK ((event = ANY (ARRAY['captured'::text, 'released'::text, 'evicted'::text, 'forced'::text])))

pgmutex.mutex_listener: mutex_listener_pkey PRIMARY KEY (listener)

pgmutex.mutex_model: mutex_model_is_within_limits CHECK (pgmutex.hold_is_within_limits(mutex_group, mutex_mode, mutex_id, owner_session, owner_host, owner_id, owner_login, owner_name, auto_release_rule, auto_release_config, status_data, permit, permits, lock_parents, lock_children))

pgmutex.mutex_model: mutex_model_pkey PRIMARY KEY (mutex_group, mutex_mode, mutex_id, permit)

pgmutex.mutex_waiter: mutex_waiter_pkey PRIMARY KEY (mutex_group, mutex_mode, mutex_id, ticket)

pgmutex.object_role: kind_of_object CHECK ((kind = ANY (ARRAY['function'::text, 'relation'::text, 'type'::text])))

pgmutex.object_role: least_role CHECK ((role = ANY (ARRAY['reader'::text, 'application'::text, 'admin'::text, 'owner'::text])))

pgmutex.object_role: object_role_pkey PRIMARY KEY (kind, name)

pgmutex.pool_session: collection_at_most_400_bytes CHECK ((octet_length(collection) <= 400))

pgmutex.pool_session: collection_has_a_name CHECK ((collection <> ''::text))

pgmutex.pool_session: payload_at_most_1048576_bytes CHECK ((pg_column_size(payload) <= 1048576))

pgmutex.pool_session: payload_is_an_object CHECK ((jsonb_typeof(payload) = 'object'::text))

pgmutex.pool_session: pool_session_pkey PRIMARY KEY (collection, id)

pgmutex.pool_session: request_id_at_most_400_bytes CHECK ((octet_length(request_id) <= 400))

pgmutex.pool_session: session_comes_back TRIGGER DEFERRABLE INITIALLY DEFERRED

pgmutex.refinery_schema_history: refinery_schema_history_pkey PRIMARY KEY (version)

pgmutex.token_generation: generation_leaves_room_for_tokens CHECK (((generation >= 1) AND (generation <= 8388607)))

pgmutex.token_generation: token_generation_has_one_row CHECK (only_row)

pgmutex.token_generation: token_generation_pkey PRIMARY KEY (only_row)

-- indexes ---

CREATE INDEX audit_default_mutex_group_mutex_mode_mutex_id_at_idx ON pgmutex.audit_default USING btree (mutex_group, mutex_mode, mutex_id, at)

CREATE INDEX audit_mutex ON ONLY pgmutex.audit USING btree (mutex_group, mutex_mode, mutex_id, at)

CREATE UNIQUE INDEX mutex_listener_pkey ON pgmutex.mutex_listener USING btree (listener)

CREATE INDEX mutex_model_connection ON pgmutex.mutex_model USING btree (auto_release_config COLLATE "C") WHERE (auto_release_rule = 'connection'::text)

CREATE INDEX mutex_model_lock_parents ON pgmutex.mutex_model USING btree (mutex_group, mutex_mode, mutex_id, permit) WHERE lock_parents

CREATE INDEX mutex_model_owner_session ON pgmutex.mutex_model USING btree (owner_session)

CREATE UNIQUE INDEX mutex_model_pkey ON pgmutex.mutex_model USING btree (mutex_group, mutex_mode, mutex_id, permit)

CREATE INDEX mutex_model_sweep_at ON pgmutex.mutex_model USING btree (sweep_at)

CREATE INDEX mutex_waiter_listener ON pgmutex.mutex_waiter USING btree (listener, ticket)

CREATE INDEX mutex_waiter_owner_session ON pgmutex.mutex_waiter USING btree (owner_session, pgmutex.mutex_key(mutex_group, mutex_mode, mutex_id))

CREATE UNIQUE INDEX mutex_waiter_pkey ON pgmutex.mutex_waiter USING btree (mutex_group, mutex_mode, mutex_id, ticket)

CREATE INDEX mutex_waiter_while_holding ON pgmutex.mutex_waiter USING gin (while_holding) WHERE (while_holding IS NOT NULL)

CREATE UNIQUE INDEX object_role_pkey ON pgmutex.object_role USING btree (kind, name)

CREATE INDEX pool_session_due ON pgmutex.pool_session USING btree (collection, due_at) WHERE (active AND (NOT is_ready))

CREATE INDEX pool_session_leased ON pgmutex.pool_session USING btree (collection, id) WHERE (fencing_token IS NOT NULL)

CREATE UNIQUE INDEX pool_session_pkey ON pgmutex.pool_session USING btree (collection, id)

CREATE INDEX pool_session_ready ON pgmutex.pool_session USING btree (collection, last_use NULLS FIRST, id) WHERE is_ready

CREATE UNIQUE INDEX pool_session_request ON pgmutex.pool_session USING btree (collection, request_id) WHERE (request_id IS NOT NULL)

CREATE UNIQUE INDEX refinery_schema_history_pkey ON pgmutex.refinery_schema_history USING btree (version)

CREATE UNIQUE INDEX token_generation_pkey ON pgmutex.token_generation USING btree (only_row)

-- sequences ---

audit_number_sequence bigint from 1 to 9223372036854775807 by 1 cache 1

fencing_token_sequence bigint from 1 to 9223372036854775807 by 1 cache 1

mutex_ticket_sequence bigint from 1 to 9223372036854775807 by 1 cache 1

pool_session_id_seq bigint from 1 to 9223372036854775807 by 1 cache 1

-- view definitions ---

blocking as
 SELECT w.mutex_group,
    w.mutex_mode,
    w.mutex_id,
    w.place,
    w.ticket,
    w.access,
        CASE
            WHEN ( SELECT has_table_privilege(('pgmutex.hold'::regclass)::oid, 'select'::text) AS has_table_privilege) THEN w.owner_session
            ELSE ('sha256:'::text || "left"(encode(sha256(convert_to(w.owner_session, getdatabaseencoding())), 'hex'::text), 12))
        END AS owner_session,
    w.owner_host,
    w.owner_id,
    w.owner_login,
    w.owner_name,
    w.queued_since,
    (clock_timestamp() - w.queued_since) AS waiting_for,
    blocker.blocked_by,
    blocker.mutex_id AS blocker_mutex_id,
    blocker.access AS blocker_access,
        CASE
            WHEN ( SELECT has_table_privilege(('pgmutex.hold'::regclass)::oid, 'select'::text) AS has_table_privilege) THEN blocker.owner_session
            ELSE ('sha256:'::text || "left"(encode(sha256(convert_to(blocker.owner_session, getdatabaseencoding())), 'hex'::text), 12))
        END AS blocker_owner_session,
    blocker.owner_host AS blocker_owner_host,
    blocker.owner_id AS blocker_owner_id,
    blocker.owner_login AS blocker_owner_login,
    blocker.owner_name AS blocker_owner_name,
    blocker.fencing_token AS blocker_fencing_token,
    blocker.ticket AS blocker_ticket,
    blocker.since AS blocker_since,
    blocker.ends_at AS blocker_expires_at,
        CASE
            WHEN ((blocker.blocked_by = 'holder'::text) AND isfinite(blocker.since)) THEN (clock_timestamp() - blocker.since)
            ELSE NULL::interval
        END AS held_for,
        CASE
            WHEN isfinite(blocker.ends_at) THEN (blocker.ends_at - clock_timestamp())
            ELSE NULL::interval
        END AS time_left
   FROM (( SELECT w_1.mutex_group,
            w_1.mutex_mode,
            w_1.mutex_id,
            w_1.ticket,
            w_1.access,
            w_1.permits,
            w_1.owner_session,
            w_1.owner_host,
            w_1.owner_id,
            w_1.owner_login,
            w_1.owner_name,
            w_1.while_holding,
            w_1.listener,
            w_1.queued_since,
            w_1.seen_at,
            w_1.lock_parents,
            w_1.lock_children,
            row_number() OVER line AS place,
            lag(w_1.ticket) OVER line AS ticket_before
           FROM pgmutex.mutex_waiter w_1
          WINDOW line AS (PARTITION BY w_1.mutex_group, w_1.mutex_mode, w_1.mutex_id ORDER BY w_1.ticket)) w
     CROSS JOIN LATERAL ( SELECT 'holder'::text AS blocked_by,
            h.mutex_id,
                CASE
                    WHEN (h.permit = 0) THEN 'exclusive'::text
                    ELSE 'shared'::text
                END AS access,
            h.owner_session,
            h.owner_host,
            h.owner_id,
            h.owner_login,
            h.owner_name,
            h.fencing_token,
            NULL::bigint AS ticket,
            h.held_since AS since,
            h.expires_at AS ends_at
           FROM ( SELECT h_1.mutex_group,
                    h_1.mutex_mode,
                    h_1.mutex_id,
                    h_1.permit,
                    h_1.permits,
                    h_1.owner_session,
                    h_1.owner_host,
                    h_1.owner_id,
                    h_1.owner_login,
                    h_1.owner_name,
                    h_1.auto_release_rule,
                    h_1.auto_release_config,
                    h_1.status_data,
                    h_1.fencing_token,
                    h_1.held_since,
                    h_1.captured_since,
                    h_1.expires_at,
                    h_1.lock_parents,
                    h_1.lock_children,
                    count(*) OVER () AS holders,
                    min(h_1.permits) OVER () AS strictest
                   FROM pgmutex.live_hold h_1
                  WHERE ((h_1.mutex_group = w.mutex_group) AND (h_1.mutex_mode = w.mutex_mode) AND (h_1.mutex_id = w.mutex_id) AND (h_1.owner_session <> w.owner_session))) h
          WHERE ((h.permit = 0) OR (w.access = 'exclusive'::text) OR (h.holders >= LEAST(h.strictest, w.permits)))
        UNION ALL
         SELECT 'holder'::text,
            h.mutex_id,
                CASE
                    WHEN (h.permit = 0) THEN 'exclusive'::text
                    ELSE 'shared'::text
                END AS "case",
            h.owner_session,
            h.owner_host,
            h.owner_id,
            h.owner_login,
            h.owner_name,
            h.fencing_token,
            NULL::bigint,
            h.held_since,
            h.expires_at
           FROM pgmutex.live_hold h
          WHERE ((h.mutex_group = w.mutex_group) AND (h.mutex_mode = w.mutex_mode) AND (w.mutex_id ~~ '/%'::text) AND (w.mutex_id ~~ '%/'::text) AND h.lock_children AND (h.mutex_id = ANY (ARRAY( SELECT "left"(w.mutex_id, slash.at) AS "left"
                   FROM generate_series(1, (length(w.mutex_id) - 1)) slash(at)
                  WHERE (substr(w.mutex_id, slash.at, 1) = '/'::text)))) AND (h.owner_session <> w.owner_session) AND ((h.permit = 0) OR (w.access = 'exclusive'::text)))
        UNION ALL
         SELECT 'holder'::text,
            h.mutex_id,
                CASE
                    WHEN (h.permit = 0) THEN 'exclusive'::text
                    ELSE 'shared'::text
                END AS "case",
            h.owner_session,
            h.owner_host,
            h.owner_id,
            h.owner_login,
            h.owner_name,
            h.fencing_token,
            NULL::bigint,
            h.held_since,
            h.expires_at
           FROM pgmutex.live_hold h
          WHERE ((h.mutex_group = w.mutex_group) AND (h.mutex_mode = w.mutex_mode) AND (w.mutex_id ~~ '/%'::text) AND (w.mutex_id ~~ '%/'::text) AND h.lock_parents AND (h.mutex_id > w.mutex_id) AND (h.mutex_id < ("left"(w.mutex_id, '-1'::integer) || '0'::text)) AND (h.owner_session <> w.owner_session) AND ((h.permit = 0) OR (w.access = 'exclusive'::text)))
        UNION ALL
         SELECT 'waiter'::text,
            before.mutex_id,
            before.access,
            before.owner_session,
            before.owner_host,
            before.owner_id,
            before.owner_login,
            before.owner_name,
            NULL::bigint,
            before.ticket,
            before.queued_since,
            NULL::timestamp with time zone
           FROM pgmutex.mutex_waiter before
          WHERE ((before.mutex_group = w.mutex_group) AND (before.mutex_mode = w.mutex_mode) AND (before.mutex_id = w.mutex_id) AND (before.ticket = w.ticket_before))
        UNION ALL
         SELECT 'waiter'::text,
            before.mutex_id,
            before.access,
            before.owner_session,
            before.owner_host,
            before.owner_id,
            before.owner_login,
            before.owner_name,
            NULL::bigint,
            before.ticket,
            before.queued_since,
            NULL::timestamp with time zone
           FROM pgmutex.mutex_waiter before
          WHERE ((before.mutex_group = w.mutex_group) AND (before.mutex_mode = w.mutex_mode) AND (before.ticket < w.ticket) AND (w.mutex_id ~~ '/%'::text) AND (w.mutex_id ~~ '%/'::text) AND (before.mutex_id ~~ '/%'::text) AND (before.mutex_id ~~ '%/'::text) AND (before.mutex_id <> w.mutex_id) AND ((starts_with(w.mutex_id, before.mutex_id) AND (before.lock_children OR w.lock_parents)) OR (starts_with(before.mutex_id, w.mutex_id) AND (before.lock_parents OR w.lock_children))) AND (before.owner_session <> w.owner_session) AND ((before.access = 'exclusive'::text) OR (w.access = 'exclusive'::text)))) blocker);

held as
 SELECT mutex_group,
    mutex_mode,
    mutex_id,
    permit,
    permits,
        CASE
            WHEN ( SELECT has_table_privilege(('pgmutex.hold'::regclass)::oid, 'select'::text) AS has_table_privilege) THEN owner_session
            ELSE ('sha256:'::text || "left"(encode(sha256(convert_to(owner_session, getdatabaseencoding())), 'hex'::text), 12))
        END AS owner_session,
    owner_host,
    owner_id,
    owner_login,
    owner_name,
    auto_release_rule,
    auto_release_config,
        CASE
            WHEN ( SELECT has_table_privilege(('pgmutex.hold'::regclass)::oid, 'select'::text) AS has_table_privilege) THEN status_data
            ELSE NULL::text
        END AS status_data,
    fencing_token,
    held_since,
    captured_since,
    expires_at,
    lock_parents,
    lock_children,
        CASE
            WHEN isfinite(held_since) THEN (clock_timestamp() - held_since)
            ELSE NULL::interval
        END AS held_for,
        CASE
            WHEN isfinite(expires_at) THEN (expires_at - clock_timestamp())
            ELSE NULL::interval
        END AS time_left
   FROM pgmutex.live_hold;

hold as
 SELECT mutex_group,
    mutex_mode,
    mutex_id,
    permit,
    permits,
    owner_session,
    owner_host,
    owner_id,
    owner_login,
    owner_name,
    auto_release_rule,
    auto_release_config,
    captured_since,
    status_data,
    fencing_token,
    held_since,
    expires_at,
    lock_parents,
    lock_children
   FROM pgmutex.mutex_model;

live_hold as
 SELECT mutex_group,
    mutex_mode,
    mutex_id,
    permit,
    permits,
    owner_session,
    owner_host,
    owner_id,
    owner_login,
    owner_name,
    auto_release_rule,
    auto_release_config,
    status_data,
    fencing_token,
    held_since,
    captured_since,
    expires_at,
    lock_parents,
    lock_children
   FROM pgmutex.hold
  WHERE (((expires_at IS NULL) OR (expires_at >= clock_timestamp())) AND
        CASE
            WHEN ((auto_release_rule <> 'connection'::text) OR (auto_release_config !~ '^[0-9]{1,18}( [0-9]{1,10})?$'::text) OR pg_is_in_recovery()) THEN true
            WHEN (split_part(auto_release_config, ' '::text, 1) = ANY (string_to_array(current_setting('pgmutex.attached'::text, true), ','::text))) THEN true
            ELSE (NOT pg_try_advisory_xact_lock_shared((split_part(auto_release_config, ' '::text, 1))::bigint))
        END);

pool as
 SELECT p.collection,
    p.id,
    p.payload,
    p.active,
    p.next_use,
    p.last_use,
    p.use_count,
    p.success_count,
    p.created_at,
    p.updated_at,
        CASE
            WHEN (NOT p.active) THEN 'inactive'::text
            WHEN (h.fencing_token IS NOT NULL) THEN 'in use'::text
            WHEN (p.next_use > clock_timestamp()) THEN
            CASE
                WHEN p.is_blocked THEN 'blocked'::text
                ELSE 'locked'::text
            END
            ELSE 'ready'::text
        END AS state,
        CASE
            WHEN ((p.next_use > clock_timestamp()) AND isfinite(p.next_use)) THEN (p.next_use - clock_timestamp())
            ELSE NULL::interval
        END AS locked_for,
    h.owner_session,
    h.owner_host,
    h.owner_id,
    h.owner_login,
    h.owner_name,
    h.auto_release_rule,
    h.auto_release_config,
    h.held_since AS leased_since,
    h.expires_at AS lease_expires_at,
    h.fencing_token
   FROM (pgmutex.pool_session p
     LEFT JOIN pgmutex.held h ON (((h.mutex_group = 'pgmutex.pool'::text) AND (h.mutex_mode = p.collection) AND (h.mutex_id = (p.id)::text) AND (h.fencing_token = p.fencing_token))));

pool_statistics as
 SELECT collection,
    count(*) AS total,
    count(*) FILTER (WHERE active) AS active,
    count(*) FILTER (WHERE (NOT active)) AS inactive,
    count(*) FILTER (WHERE (active AND (next_use <= clock_timestamp()) AND (fencing_token IS NULL))) AS ready,
    count(*) FILTER (WHERE (fencing_token IS NOT NULL)) AS in_use,
    count(*) FILTER (WHERE (active AND (next_use > clock_timestamp()) AND (NOT is_blocked))) AS locked,
    count(*) FILTER (WHERE (active AND (next_use > clock_timestamp()) AND is_blocked)) AS blocked,
    (LEAST(sum(use_count), ('9223372036854775807'::bigint)::numeric))::bigint AS uses,
    (LEAST(sum(success_count), ('9223372036854775807'::bigint)::numeric))::bigint AS successes,
    ((sum(success_count))::double precision / (NULLIF(sum(use_count), (0)::numeric))::double precision) AS success_rate
   FROM pgmutex.pool_session
  GROUP BY collection;

role_mark as
 SELECT NULL::text AS reader,
    NULL::text AS application,
    NULL::text AS admin
  WHERE false;

roles as
 SELECT pg_get_userbyid(mark.grantee) AS database_role,
    (a.attname)::text AS role
   FROM (pg_attribute a
     CROSS JOIN LATERAL aclexplode(a.attacl) mark(grantor, grantee, privilege_type, is_grantable))
  WHERE ((a.attrelid = ('pgmutex.role_mark'::regclass)::oid) AND (mark.privilege_type = 'SELECT'::text))
UNION ALL
 SELECT pg_get_userbyid(n.nspowner) AS database_role,
    'owner'::text AS role
   FROM pg_namespace n
  WHERE (n.oid = ( SELECT c.relnamespace
           FROM pg_class c
          WHERE (c.oid = ('pgmutex.role_mark'::regclass)::oid)));

waiting as
 SELECT w.mutex_group,
    w.mutex_mode,
    w.mutex_id,
    w.place,
    w.access,
    w.permits,
        CASE
            WHEN ( SELECT has_table_privilege(('pgmutex.hold'::regclass)::oid, 'select'::text) AS has_table_privilege) THEN w.owner_session
            ELSE ('sha256:'::text || "left"(encode(sha256(convert_to(w.owner_session, getdatabaseencoding())), 'hex'::text), 12))
        END AS owner_session,
    w.owner_host,
    w.owner_id,
    w.owner_login,
    w.owner_name,
        CASE
            WHEN ( SELECT has_table_privilege(('pgmutex.hold'::regclass)::oid, 'select'::text) AS has_table_privilege) THEN COALESCE(w.session_before, ahead.owner_session)
            ELSE ('sha256:'::text || "left"(encode(sha256(convert_to(COALESCE(w.session_before, ahead.owner_session), getdatabaseencoding())), 'hex'::text), 12))
        END AS behind_owner_session,
    COALESCE(w.name_before, ahead.owner_name) AS behind_owner_name,
    w.queued_since,
    (clock_timestamp() - w.queued_since) AS waiting_for,
    w.ticket,
    w.while_holding,
    w.listener,
    GREATEST(w.seen_at, l.seen_at) AS seen_at,
    w.lock_parents,
    w.lock_children
   FROM ((( SELECT w_1.mutex_group,
            w_1.mutex_mode,
            w_1.mutex_id,
            w_1.ticket,
            w_1.access,
            w_1.permits,
            w_1.owner_session,
            w_1.owner_host,
            w_1.owner_id,
            w_1.owner_login,
            w_1.owner_name,
            w_1.while_holding,
            w_1.listener,
            w_1.queued_since,
            w_1.seen_at,
            w_1.lock_parents,
            w_1.lock_children,
            row_number() OVER line AS place,
            lag(w_1.owner_session) OVER line AS session_before,
            lag(w_1.owner_name) OVER line AS name_before
           FROM pgmutex.mutex_waiter w_1
          WINDOW line AS (PARTITION BY w_1.mutex_group, w_1.mutex_mode, w_1.mutex_id ORDER BY w_1.ticket)) w
     LEFT JOIN pgmutex.mutex_listener l ON ((l.listener = w.listener)))
     LEFT JOIN LATERAL ( SELECT other.owner_session,
            other.owner_name
           FROM ( SELECT 1 AS comes,
                    (h.permit)::bigint AS rank,
                    h.owner_session,
                    h.owner_name
                   FROM pgmutex.live_hold h
                  WHERE ((h.mutex_group = w.mutex_group) AND (h.mutex_mode = w.mutex_mode) AND (h.mutex_id = w.mutex_id))
                UNION ALL
                 SELECT 2,
                    h.permit,
                    h.owner_session,
                    h.owner_name
                   FROM pgmutex.live_hold h
                  WHERE ((h.mutex_group = w.mutex_group) AND (h.mutex_mode = w.mutex_mode) AND (w.mutex_id ~~ '/%'::text) AND (w.mutex_id ~~ '%/'::text) AND h.lock_children AND (h.mutex_id = ANY (ARRAY( SELECT "left"(w.mutex_id, slash.at) AS "left"
                           FROM generate_series(1, (length(w.mutex_id) - 1)) slash(at)
                          WHERE (substr(w.mutex_id, slash.at, 1) = '/'::text)))) AND (h.owner_session <> w.owner_session) AND ((h.permit = 0) OR (w.access = 'exclusive'::text)))
                UNION ALL
                 SELECT 2,
                    h.permit,
                    h.owner_session,
                    h.owner_name
                   FROM pgmutex.live_hold h
                  WHERE ((h.mutex_group = w.mutex_group) AND (h.mutex_mode = w.mutex_mode) AND (w.mutex_id ~~ '/%'::text) AND (w.mutex_id ~~ '%/'::text) AND h.lock_parents AND (h.mutex_id > w.mutex_id) AND (h.mutex_id < ("left"(w.mutex_id, '-1'::integer) || '0'::text)) AND (h.owner_session <> w.owner_session) AND ((h.permit = 0) OR (w.access = 'exclusive'::text)))
                UNION ALL
                 SELECT 3,
                    before.ticket,
                    before.owner_session,
                    before.owner_name
                   FROM pgmutex.mutex_waiter before
                  WHERE ((before.mutex_group = w.mutex_group) AND (before.mutex_mode = w.mutex_mode) AND (before.ticket < w.ticket) AND (w.mutex_id ~~ '/%'::text) AND (w.mutex_id ~~ '%/'::text) AND (before.mutex_id ~~ '/%'::text) AND (before.mutex_id ~~ '%/'::text) AND (before.mutex_id <> w.mutex_id) AND ((starts_with(w.mutex_id, before.mutex_id) AND (before.lock_children OR w.lock_parents)) OR (starts_with(before.mutex_id, w.mutex_id) AND (before.lock_parents OR w.lock_children))) AND (before.owner_session <> w.owner_session) AND ((before.access = 'exclusive'::text) OR (w.access = 'exclusive'::text)))) other
          WHERE (w.place = 1)
          ORDER BY other.comes, other.rank
         LIMIT 1) ahead ON (true));

-- functions ---

-- Used by pool_inactive and pool_activate; not called directly.
CREATE OR REPLACE FUNCTION pgmutex.activate_session(collection text, id bigint, active boolean)
 RETURNS pgmutex.pool_outcome
 LANGUAGE plpgsql
 SET search_path TO 'pgmutex', 'pg_temp'
AS $function$
#variable_conflict use_column
begin
    perform check_pool(activate_session.collection);
    update pool_session p set active = activate_session.active
    where p.collection = activate_session.collection and p.id = activate_session.id;
    return session_answer(case when found then 'updated' else 'not_found' end, activate_session.collection, activate_session.id);
end
$function$

-- Replaces the table m3_mutex of the Django package m3-mutex by the view of install_m3_mutex, in one step, also while the application runs: the table stays as m3_mutex_before_pgmutex, its holds are imported (import_m3_mutex tells how), and the roles that could write to the table can use the view, except for PUBLIC: whoever could only read it would see the sessions of all holders there. Without such a table it only installs the view. For the owner of this schema and of the table.
CREATE OR REPLACE FUNCTION pgmutex.adopt_m3_mutex(in_schema name DEFAULT 'public'::name, to_role name DEFAULT NULL::name)
 RETURNS SETOF pgmutex.m3_mutex_import
 LANGUAGE plpgsql
 SET search_path TO 'pgmutex', 'pg_temp'
 SET lock_timeout TO '5s'
AS $function$
declare
    old_table pg_class := m3_mutex_relation(in_schema);
    grantee   name;
    privilege text;
begin
    if old_table.relkind is distinct from 'r' and old_table.relkind is distinct from 'p' then
        perform install_m3_mutex(in_schema, to_role);
        return;
    elsif to_regclass(format('%I.m3_mutex_before_pgmutex', in_schema)) is not null then
        perform refuse_input(format('there is a table m3_mutex_before_pgmutex in schema %I already: rename or drop it first', in_schema));
    end if;
    -- Whoever waits for the table from now on finds the view when this commits.
    execute format('lock table %I.m3_mutex in access exclusive mode', in_schema);
    old_table := m3_mutex_relation(in_schema);
    execute format('alter table %I.m3_mutex rename to m3_mutex_before_pgmutex', in_schema);
    return query select i.* from import_m3_mutex(old_table.oid::regclass) i;
    perform install_m3_mutex(in_schema, to_role);
    for grantee, privilege in
        select r.rolname, a.privilege_type
        from aclexplode(coalesce(old_table.relacl, acldefault('r', old_table.relowner))) a
        join pg_roles r on r.oid = a.grantee  -- never PUBLIC
        where a.privilege_type in ('SELECT', 'INSERT', 'UPDATE', 'DELETE')
          -- Who only looked at the application's own holds is not to see everybody's.
          and exists (select from aclexplode(coalesce(old_table.relacl, acldefault('r', old_table.relowner))) w
                      where w.grantee = a.grantee and w.privilege_type in ('INSERT', 'UPDATE', 'DELETE'))
    loop
        execute format('grant %s on %I.m3_mutex to %I', privilege, in_schema, grantee);
    end loop;
end
$function$

-- Gives this database session a number that holds under the rule connection can name: they are over when the session ends. With listen => true it also listens on channel pgmutex_<number>. instead_of names a session that was lost, whose places in line go over to this one; its holds do not. For a connection of one's own, not one that a pooler lends.
CREATE OR REPLACE FUNCTION pgmutex.attach_session(listen boolean DEFAULT false, instead_of bigint DEFAULT NULL::bigint)
 RETURNS bigint
 LANGUAGE plpgsql
 SECURITY DEFINER
 SET search_path TO 'pgmutex', 'pg_temp'
 SET enable_seqscan TO 'off'
 SET jit TO 'off'
AS $function$
declare
    -- 59 bits at random: whatever else takes advisory locks in this database will not meet it, nor will another session ever.
    number bigint := ('x' || substr(replace(gen_random_uuid()::text, '-', ''), 1, 12)
                          || substr(replace(gen_random_uuid()::text, '-', ''), 1, 4))::bit(64)::bigint & 576460752303423487;
begin
    if pg_is_in_recovery() then
        perform refuse_transaction();
    end if;
    perform pg_advisory_lock(number);
    perform set_config('pgmutex.attached', concat_ws(',', nullif(current_setting('pgmutex.attached', true), ''), number), false);
    if attach_session.listen then
        execute format('listen %I', 'pgmutex_' || number);
    end if;
    -- A process that is cut off is given up after 10 seconds (keepalives alone would not end a connection that is cut off in the
    -- middle of a reply), one that dies in the middle of a query after 1.
    perform set_config(s.name, wanted.setting, false)
    from (values ('tcp_keepalives_idle', '5'), ('tcp_keepalives_interval', '2'), ('tcp_keepalives_count', '3'),
                 ('tcp_user_timeout', '10000'), ('idle_session_timeout', '0'),
                 ('default_transaction_isolation', 'read committed')) wanted (name, setting)
    join pg_settings s on s.name = wanted.name;
    begin
        perform set_config(s.name, '1000', false) from pg_settings s where s.name = 'client_connection_check_interval';
    exception when others then
        null;  -- a platform without the means; the keepalives remain
    end;
    -- The places in line of a session that was lost. Whoever has met them there and is removing them keeps them.
    insert into mutex_listener (listener, has_session) values (number, coalesce(attach_session.listen, false));
    update mutex_waiter w set listener = number
    where (w.mutex_group, w.mutex_mode, w.mutex_id, w.ticket) in (
        select lost.mutex_group, lost.mutex_mode, lost.mutex_id, lost.ticket from mutex_waiter lost
        where lost.listener = attach_session.instead_of
        for update skip locked);
    return number;
end
$function$

-- Whether enable_audit has switched the audit on.
CREATE OR REPLACE FUNCTION pgmutex.audit_is_on()
 RETURNS boolean
 LANGUAGE plpgsql
 SET search_path TO 'pgmutex', 'pg_temp'
AS $function$
begin
    return exists (select from pg_trigger t where t.tgrelid = 'mutex_model'::regclass and t.tgname = 'audit_hold');
end
$function$

-- Trigger: refuses to change or remove events of the audit.
CREATE OR REPLACE FUNCTION pgmutex.audit_only_grows()
 RETURNS trigger
 LANGUAGE plpgsql
 SET search_path TO 'pgmutex', 'pg_temp'
AS $function$
begin
    raise insufficient_privilege using message = format('events of the audit are not changed or removed (%s of table %I)', lower(tg_op), tg_table_name),
        hint = 'keep_audit drops whole months that are older than the retention.';
end
$function$

-- The months that the audit has partitions for.
CREATE OR REPLACE FUNCTION pgmutex.audit_partitions(OUT name text, OUT month timestamp with time zone)
 RETURNS SETOF record
 LANGUAGE plpgsql
 SET search_path TO 'pgmutex', 'pg_temp'
 SET "TimeZone" TO 'UTC'
AS $function$
begin
    return query
    select c.relname::text, to_timestamp(right(c.relname, 7), 'YYYY_MM')
    from pg_inherits i join pg_class c on c.oid = i.inhrelid
    where i.inhparent = 'audit'::regclass and c.relname ~ '^audit_[0-9]{4}_(0[1-9]|1[0-2])$';
end
$function$

-- What is acknowledged must survive a crash, whatever this role's default.
CREATE OR REPLACE FUNCTION pgmutex.be_durable()
 RETURNS void
 LANGUAGE plpgsql
AS $function$
begin
    if current_setting('synchronous_commit') not in ('on', 'remote_apply') then
        perform set_config('synchronous_commit', 'on', true);
    end if;
end
$function$

-- Raises the generation of fencing tokens, so that every later token is larger than every earlier one. It rises by itself after a failover; call this after a recovery that kept timeline and cluster but lost data, such as a restored snapshot of the disk.
CREATE OR REPLACE FUNCTION pgmutex.bump_generation()
 RETURNS bigint
 LANGUAGE plpgsql
 SECURITY DEFINER
 SET search_path TO 'pgmutex', 'pg_temp'
 SET lock_timeout TO '5s'
 SET enable_seqscan TO 'off'
 SET jit TO 'off'
AS $function$
declare
    raised bigint;
begin
    if pg_is_in_recovery() then
        perform refuse_transaction();
    end if;
    -- The sequence may have outgrown its 40 bits: what it carried into the generation is skipped too.
    update token_generation
    set generation = greatest(generation + 1 + ((select last_value from fencing_token_sequence) >> 40), current_timeline()),
        system_identifier = (select control.system_identifier from pg_control_system() control),
        timeline = current_timeline()
    returning generation into raised;
    return raised;
end
$function$

-- Whether check_call would accept these names and nothing but the mutex's own holds and line has to be looked at.
CREATE OR REPLACE FUNCTION pgmutex.can_be_plain(mutex_group text, mutex_mode text, mutex_id text, owner_session text)
 RETURNS boolean
 LANGUAGE sql
 PARALLEL SAFE
AS $function$
    select octet_length(mutex_group) <= 400 and octet_length(mutex_mode) <= 400 and octet_length(mutex_id) <= 1600
           and (mutex_group <> '' or mutex_mode <> '' or mutex_id <> '') and mutex_group <> 'pgmutex.pool'
           and octet_length(owner_session) between 1 and 400 and not is_path(mutex_id)
$function$

-- Whether check_rule would accept this rule, if the session that a rule connection names is there.
CREATE OR REPLACE FUNCTION pgmutex.can_be_plain_rule(rule text, config text)
 RETURNS boolean
 LANGUAGE sql
 PARALLEL SAFE
AS $function$
    select case rule
               when 'timeout' then config ~ '^[0-9]{1,10}$' and config::bigint between 1 and 3153600000
               when 'connection' then config ~ '^[0-9]{1,18}( [0-9]{1,10})?$' and split_part(config, ' ', 1)::bigint > 0
                                      and coalesce(nullif(split_part(config, ' ', 2), ''), '1')::bigint between 1 and 3153600000
               when 'deadline' then rule_ends_at(rule, config, timestamptz 'epoch') > clock_timestamp()
                                    and rule_ends_at(rule, config, timestamptz 'epoch') = rule_ends_at(rule, config, timestamptz '2000-01-01 00:00:00Z')
               when '' then config = ''
               when 'never' then config = ''
               else octet_length(rule) <= 400 and octet_length(config) <= 1600
           end
$function$

-- Captures a mutex for owner_session, or refreshes the hold that session has. Outcome: captured, refreshed, evicted (captured; a hold that was over made way) or busy, then the row is the holder's. access shared lets others share it, permits says how many at most (the smallest number that one of them says counts); an own hold is changed from exclusive to shared, and back if nobody else shares it. With wait => true a busy mutex gives queued: the caller is in line, and gets the mutex by asking again, in its turn, as it must at least every 15 seconds, each time in a transaction of its own. Without a rule a new hold gets timeout 300 and a refresh keeps the rule it has. An empty status_data leaves the old one. A mutex_id that begins and ends with a slash is a path of a tree: it is busy also while a path above it is held with lock_children, or one below it with lock_parents, by another owner; the row of a busy answer is that hold then. A refresh keeps permits, lock_parents and lock_children as they were.
CREATE OR REPLACE FUNCTION pgmutex.capture(mutex_group text, mutex_mode text, mutex_id text, owner_session text, owner_host text DEFAULT ''::text, owner_id text DEFAULT ''::text, owner_login text DEFAULT ''::text, owner_name text DEFAULT ''::text, auto_release_rule text DEFAULT NULL::text, auto_release_config text DEFAULT NULL::text, status_data text DEFAULT NULL::text, access text DEFAULT 'exclusive'::text, permits integer DEFAULT NULL::integer, wait boolean DEFAULT false, listener bigint DEFAULT NULL::bigint, while_holding bigint[] DEFAULT NULL::bigint[], lock_parents boolean DEFAULT false, lock_children boolean DEFAULT false)
 RETURNS pgmutex.hold_outcome
 LANGUAGE plpgsql
 SECURITY DEFINER
 SET search_path TO 'pgmutex', 'pg_temp'
 SET lock_timeout TO '5s'
 SET enable_seqscan TO 'off'
 SET jit TO 'off'
AS $function$
#variable_conflict use_column
declare
    decided_at timestamptz;
    answer     hold_outcome;
    rule       text := coalesce(capture.auto_release_rule, 'timeout');
    config     text := coalesce(capture.auto_release_config, case when rule = 'timeout' then '300' else '' end);
    lock_key   bigint;
    set_to     text;
begin
    -- Each check that could refuse costs as much as all of this expression. So they are made only if it is not plain that all of
    -- them would be content: that those who describe the owner are together within the smallest of their limits, and so on.
    if (is_plain_call(capture.mutex_group, capture.mutex_mode, capture.mutex_id, capture.owner_session)
        and capture.access = 'exclusive' and capture.permits is null and not capture.lock_parents and not capture.lock_children
        and is_plain_rule(rule, config)
        and octet_length(concat(capture.owner_host, capture.owner_id, capture.owner_login, capture.owner_name, capture.status_data)) <= 400
       ) is not true then
        perform check_call(capture.mutex_group, capture.mutex_mode, capture.mutex_id, capture.owner_session);
        perform check_access(capture.access, capture.permits);
        perform check_reach(capture.mutex_id, capture.lock_parents, capture.lock_children);
        perform check_rule(rule, config);
        perform check_text('owner_host', capture.owner_host, 1600);
        perform check_text('owner_id', capture.owner_id, 400);
        perform check_text('owner_login', capture.owner_login, 400);
        perform check_text('owner_name', capture.owner_name, 400);
        perform check_text('status_data', capture.status_data, 65536);
    end if;

    if not is_path(capture.mutex_id) then
        -- Never before others who wait for the lock: then it is not free.
        lock_key := mutex_key(capture.mutex_group, capture.mutex_mode, capture.mutex_id);
        if not pg_try_advisory_xact_lock(lock_key) then
            perform pg_advisory_xact_lock(lock_key);
        end if;
    else
        perform lock_mutex(capture.mutex_group, capture.mutex_mode, capture.mutex_id);
    end if;

    -- Two conditions and not one: an expression with a query in it is not evaluated without the executor.
    if capture.mutex_group = 'pgmutex.pool' then
        if not exists (select from hold h
                       where h.mutex_group = capture.mutex_group and h.mutex_mode = capture.mutex_mode and h.mutex_id = capture.mutex_id
                         and h.owner_session = capture.owner_session) then
            perform refuse_input('mutex_group pgmutex.pool is that of the session pools: pool_checkout leases a session');
        end if;
    end if;
    if not is_path(capture.mutex_id) then
        decided_at := clock_timestamp();
        -- The common case in one statement: nobody holds it and nobody waits. The token is drawn only when a row will be written: a
        -- refused try leaves no trace, not even in the sequence. It is written out as draw_fencing_token draws it, and the answer's
        -- columns have the types that the answer has: a call and a conversion less.
        insert into mutex_model as h (
                          mutex_group, mutex_mode, mutex_id, permit, permits,
                          owner_session, owner_host, owner_id, owner_login, owner_name,
                          auto_release_rule, auto_release_config, captured_since, status_data, fencing_token, held_since,
                          lock_parents, lock_children, sweep_at)
        select capture.mutex_group, capture.mutex_mode, capture.mutex_id, case when capture.access = 'shared' then 1 else 0 end, capture.permits,
               capture.owner_session, coalesce(capture.owner_host, ''), coalesce(capture.owner_id, ''),
               coalesce(capture.owner_login, ''), coalesce(capture.owner_name, ''),
               rule, config, decided_at, capture.status_data,
               (coalesce((select t.generation from token_generation t where t.timeline = current_timeline()), ensure_generation()) << 40)
                   + nextval('fencing_token_sequence'),
               decided_at, false, false, rule_ends_at(rule, config, decided_at)
        where not exists (select from hold h
                          where h.mutex_group = capture.mutex_group and h.mutex_mode = capture.mutex_mode and h.mutex_id = capture.mutex_id)
          and not exists (select from mutex_waiter w
                          where w.mutex_group = capture.mutex_group and w.mutex_mode = capture.mutex_mode and w.mutex_id = capture.mutex_id)
        on conflict do nothing
        returning 'captured', h.mutex_group, h.mutex_mode, h.mutex_id, h.permit, h.permits,
                  h.owner_session, h.owner_host, h.owner_id, h.owner_login, h.owner_name,
                  h.auto_release_rule, h.auto_release_config, h.captured_since, h.status_data,
                  h.fencing_token, h.held_since, h.expires_at, h.lock_parents, h.lock_children,
                  decided_at, null::text, null::text, null::bigint, null::bigint
        into answer;
    end if;
    if answer.outcome is null then
        answer := capture_contended(
            capture.mutex_group, capture.mutex_mode, capture.mutex_id,
            capture.owner_session, capture.owner_host, capture.owner_id, capture.owner_login, capture.owner_name,
            rule, config, capture.auto_release_rule is null and capture.auto_release_config is null, capture.status_data,
            capture.access, capture.permits, capture.wait, capture.listener, capture.while_holding,
            capture.lock_parents, capture.lock_children);
    end if;

    -- What is acknowledged must survive a crash, whatever this role's default. (As a SET clause of the function it would be
    -- undone before the commit.)
    if current_setting('synchronous_commit') not in ('on', 'remote_apply') and answer.outcome not in ('busy', 'queued') then
        set_to := set_config('synchronous_commit', 'on', true);
    end if;
    return answer;
end
$function$

-- Captures all of several mutexes or none, for one owner. One row for each request, in their order, if all were captured; otherwise only rows of those that are in the way, with outcome busy or, with wait => true, queued: ask again as with capture.
CREATE OR REPLACE FUNCTION pgmutex.capture_all(requests jsonb, defaults jsonb DEFAULT '{}'::jsonb, wait boolean DEFAULT false, listener bigint DEFAULT NULL::bigint, while_holding bigint[] DEFAULT NULL::bigint[])
 RETURNS SETOF pgmutex.hold_outcome
 LANGUAGE plpgsql
 SECURITY DEFINER
 SET search_path TO 'pgmutex', 'pg_temp'
 SET lock_timeout TO '5s'
 SET enable_seqscan TO 'off'
 SET jit TO 'off'
 SET enable_hashjoin TO 'off'
 SET enable_mergejoin TO 'off'
AS $function$
#variable_conflict use_column
declare
    completed jsonb;
    wanted    jsonb;
    request   record;
    answer    hold_outcome;
    answers   hold_outcome[] := '{}';
    blockers  hold_outcome[] := '{}';
    place     bigint;
    would_be_alone boolean := false;
begin
    completed := check_requests(capture_all.requests, capture_all.defaults, array[
        'mutex_group', 'mutex_mode', 'mutex_id', 'owner_session', 'owner_host', 'owner_id', 'owner_login', 'owner_name',
        'auto_release_rule', 'auto_release_config', 'status_data', 'access', 'permits', 'lock_parents', 'lock_children']);
    if (select count(distinct r.value ->> 'owner_session') from jsonb_array_elements(completed) r) > 1 then
        perform refuse_input('all requests must be for one owner_session');
    elsif exists (select from jsonb_array_elements(completed) r
                  group by coalesce(r.value ->> 'mutex_group', ''), coalesce(r.value ->> 'mutex_mode', ''),
                           coalesce(r.value ->> 'mutex_id', '')
                  having count(*) > 1) then
        perform refuse_input('a mutex is named twice');
    end if;
    perform lock_mutexes(completed);
    perform lock_what_is_over_above(completed);
    begin
        for request in
            select r.* from jsonb_to_recordset(completed) r (
                mutex_group text, mutex_mode text, mutex_id text, owner_session text, owner_host text, owner_id text, owner_login text,
                owner_name text, auto_release_rule text, auto_release_config text, status_data text, access text, permits integer,
            lock_parents boolean, lock_children boolean)
        loop
            answer := capture(
                coalesce(request.mutex_group, ''), coalesce(request.mutex_mode, ''), coalesce(request.mutex_id, ''), request.owner_session,
                request.owner_host, request.owner_id, request.owner_login, request.owner_name,
                request.auto_release_rule, request.auto_release_config, request.status_data,
                coalesce(request.access, 'exclusive'), request.permits,
                lock_parents => coalesce(request.lock_parents, false), lock_children => coalesce(request.lock_children, false));
            if answer.outcome = 'busy' then
                blockers := blockers || answer;
                would_be_alone := would_be_alone or exists (
                    select from hold h
                    where h.mutex_group = coalesce(request.mutex_group, '') and h.mutex_mode = coalesce(request.mutex_mode, '')
                      and h.mutex_id = coalesce(request.mutex_id, '') and h.owner_session = request.owner_session
                      and not hold_is_over(h.auto_release_rule, h.auto_release_config, h.expires_at, clock_timestamp()));
            else
                answers := answers || answer;
            end if;
        end loop;
        if cardinality(blockers) > 0 then
            raise sqlstate 'PM007' using message = 'pgmutex: not all of them are free';
        end if;
    exception when sqlstate 'PM007' then
        null;
    end;
    if cardinality(blockers) = 0 then
        return query select a.* from unnest(answers) a;
        return;
    end if;

    -- One ticket, with a place in every line: whoever has the smallest ticket of all is first wherever it stands, so no two who
    -- wait for several can wait for each other. As in capture, nobody waits to have alone what it shares.
    if capture_all.wait and not would_be_alone then
        -- What it holds already it does not wait for.
        select jsonb_agg(r.value) into wanted from jsonb_array_elements(completed) r
        where not exists (select from hold h
                          where h.mutex_group = coalesce(r.value ->> 'mutex_group', '') and h.mutex_mode = coalesce(r.value ->> 'mutex_mode', '')
                            and h.mutex_id = coalesce(r.value ->> 'mutex_id', '') and h.owner_session = r.value ->> 'owner_session'
                            and not hold_is_over(h.auto_release_rule, h.auto_release_config, h.expires_at, clock_timestamp()));
        -- The latest of its places, if it has one in every line; else a new one in all. An earlier place carried into a line would
        -- pass those who came there before.
        select case when count(*) = jsonb_array_length(wanted) then max(w.ticket) end into place
        from jsonb_array_elements(wanted) r
        join mutex_waiter w
          on w.owner_session = r.value ->> 'owner_session'
         and mutex_key(w.mutex_group, w.mutex_mode, w.mutex_id)
             = mutex_key(coalesce(r.value ->> 'mutex_group', ''), coalesce(r.value ->> 'mutex_mode', ''), coalesce(r.value ->> 'mutex_id', ''))
         and (w.mutex_group = coalesce(r.value ->> 'mutex_group', '') and w.mutex_mode = coalesce(r.value ->> 'mutex_mode', '')
              and w.mutex_id = coalesce(r.value ->> 'mutex_id', '')) is true;
        place := coalesce(place, nextval('mutex_ticket_sequence'));
        for request in
            select r.* from jsonb_to_recordset(wanted) r (
                mutex_group text, mutex_mode text, mutex_id text, owner_session text, owner_host text, owner_id text, owner_login text,
                owner_name text, access text, permits integer, lock_parents boolean, lock_children boolean)
        loop
            perform join_line(coalesce(request.mutex_group, ''), coalesce(request.mutex_mode, ''), coalesce(request.mutex_id, ''), place,
                              coalesce(request.access, 'exclusive'), request.permits,
                              request.owner_session, request.owner_host, request.owner_id, request.owner_login, request.owner_name,
                              capture_all.while_holding, capture_all.listener,
                              coalesce(request.lock_parents, false), coalesce(request.lock_children, false));
        end loop;
        -- Only now: a circle may go through any of these places.
        for request in
            select r.* from jsonb_to_recordset(wanted) r (
                mutex_group text, mutex_mode text, mutex_id text, owner_session text, access text, permits integer,
                lock_parents boolean, lock_children boolean)
        loop
            perform refuse_deadlock(coalesce(request.mutex_group, ''), coalesce(request.mutex_mode, ''), coalesce(request.mutex_id, ''),
                                    coalesce(request.access, 'exclusive'), request.permits, request.owner_session, place,
                                    capture_all.while_holding,
                                    coalesce(request.lock_parents, false), coalesce(request.lock_children, false));
        end loop;
    end if;
    foreach answer in array blockers loop
        if place is not null then
            answer.outcome := 'queued';
            answer.ticket := place;
        end if;
        return next answer;
    end loop;
end
$function$

-- What capture does when a mutex is held or waited for, and for a path.
CREATE OR REPLACE FUNCTION pgmutex.capture_contended(mutex_group text, mutex_mode text, mutex_id text, owner_session text, owner_host text, owner_id text, owner_login text, owner_name text, rule text, config text, keeps_rule boolean, status_data text, access text, permits integer, wait boolean, listener bigint, while_holding bigint[], lock_parents boolean, lock_children boolean)
 RETURNS pgmutex.hold_outcome
 LANGUAGE plpgsql
 SET search_path TO 'pgmutex', 'pg_temp'
AS $function$
#variable_conflict use_column
declare
    decided_at   timestamptz;
    current      hold;
    own          hold;
    other        hold;
    evicted      hold;
    answer       hold_outcome;
    wants_permit integer := case when capture_contended.access = 'shared' then 1 else 0 end;
    others       integer;
    strictest    integer;
    has_room     boolean;
    ahead        bigint;
    ahead_at     text;
    own_ticket   bigint;
    at_path      boolean := is_path(capture_contended.mutex_id);
    blocker_id     text;
    blocker_permit integer;
    over_session   text;
    over_name      text;
    over_token     bigint;
    freed          text;
    freed_from     text;  -- the uppermost path where something was in the way that was over
    has_waited   boolean := false;
begin
    -- Comes round again only if a program that does not take the lock changed a row between two of these statements.
    for attempt in 1..100 loop
        decided_at := clock_timestamp();
        -- Who holds it? A hold that is over is removed, never ignored nor taken over by an update. One whose row is locked by
        -- someone else is not waited for (the holder may be refreshing it, or writing behind its fence): it counts.
        own := null; other := null; others := 0; strictest := null;
        for current in
            select h.* from hold h
            where h.mutex_group = capture_contended.mutex_group and h.mutex_mode = capture_contended.mutex_mode and h.mutex_id = capture_contended.mutex_id
            order by h.permit
        loop
            if hold_is_over(current.auto_release_rule, current.auto_release_config, current.expires_at, decided_at) then
                perform 1 from hold h
                where h.mutex_group = capture_contended.mutex_group and h.mutex_mode = capture_contended.mutex_mode and h.mutex_id = capture_contended.mutex_id
                  and h.permit = current.permit and h.fencing_token = current.fencing_token
                  and h.captured_since = current.captured_since  -- not refreshed since
                for update skip locked;
                if found then
                    delete from hold h
                    where h.mutex_group = capture_contended.mutex_group and h.mutex_mode = capture_contended.mutex_mode and h.mutex_id = capture_contended.mutex_id
                      and h.permit = current.permit;
                    if found then
                        if evicted.fencing_token is null then
                            evicted := current;
                        end if;
                        continue;
                    end if;
                end if;
            elsif current.owner_session = capture_contended.owner_session then
                own := current;
                continue;
            end if;
            others := others + 1;
            strictest := least(strictest, current.permits);
            if other.fencing_token is null then
                other := current;
            end if;
        end loop;

        if own.fencing_token is not null then
            if own.permit = 0 and wants_permit = 0 or own.permit > 0 and wants_permit > 0 then
                -- The clock once more: this may have waited for a refresh of the same hold.
                update hold h
                set captured_since = clock_timestamp(),
                    status_data = coalesce(nullif(capture_contended.status_data, ''), h.status_data),
                    auto_release_rule = case when keeps_rule then h.auto_release_rule else rule end,
                    auto_release_config = case when keeps_rule then h.auto_release_config else config end
                where h.mutex_group = capture_contended.mutex_group and h.mutex_mode = capture_contended.mutex_mode and h.mutex_id = capture_contended.mutex_id
                  and h.permit = own.permit and h.fencing_token = own.fencing_token
                  and (h.expires_at is null or h.expires_at >= clock_timestamp())
                returning 'refreshed', h.*, h.captured_since, null, null, null, null
                into answer;
                continue when not found;
                if evicted.fencing_token is not null or freed_from is not null then
                    perform wake_lines(capture_contended.mutex_group, capture_contended.mutex_mode, coalesce(freed_from, capture_contended.mutex_id));
                end if;
                exit;
            end if;
            if own.permit > 0 and others = 0 and at_path then
                select i.blocker_id, i.blocker_permit, i.freed, i.evicted_owner_session, i.evicted_owner_name, i.evicted_fencing_token
                into blocker_id, blocker_permit, freed, over_session, over_name, over_token
                from hold_in_the_way(capture_contended.mutex_group, capture_contended.mutex_mode, capture_contended.mutex_id, capture_contended.owner_session, 'exclusive', true) i;
                freed_from := least(freed_from, freed collate "C");
                if blocker_id is not null then
                    select h.* into other from hold h
                    where h.mutex_group = capture_contended.mutex_group and h.mutex_mode = capture_contended.mutex_mode and h.mutex_id = blocker_id
                      and h.permit = blocker_permit;
                    continue when not found;
                    others := 1;
                end if;
            end if;
            if own.permit > 0 and others > 0 then
                -- To have it alone needs to be alone. Waiting for that would end badly as soon as two of the holders did.
                if evicted.fencing_token is not null or freed_from is not null then
                    perform wake_lines(capture_contended.mutex_group, capture_contended.mutex_mode, coalesce(freed_from, capture_contended.mutex_id));
                end if;
                select 'busy', other.*, decided_at, null, null, null, null into answer;
                return answer;
            end if;
            -- From exclusive to shared keeps the token, as a refresh does. From shared to exclusive is a capture: others may have
            -- shared the mutex since, with tokens larger than this hold's. As in release, a refresh on its way is waited out, but
            -- not a transaction behind the hold's fence.
            perform 1 from hold h
            where h.mutex_group = capture_contended.mutex_group and h.mutex_mode = capture_contended.mutex_mode and h.mutex_id = capture_contended.mutex_id
              and h.permit = own.permit and h.fencing_token = own.fencing_token
            for update skip locked;
            if not found then
                if has_waited then
                    if evicted.fencing_token is not null or freed_from is not null then
                        perform wake_lines(capture_contended.mutex_group, capture_contended.mutex_mode, coalesce(freed_from, capture_contended.mutex_id));
                    end if;
                    select 'busy', own.*, decided_at, null, null, null, null into answer;
                    return answer;
                end if;
                perform 1 from hold h
                where h.mutex_group = capture_contended.mutex_group and h.mutex_mode = capture_contended.mutex_mode and h.mutex_id = capture_contended.mutex_id
                  and h.permit = own.permit and h.fencing_token = own.fencing_token
                for no key update;
                has_waited := true;
                continue;
            end if;
            update hold h
            set permit = wants_permit, permits = capture_contended.permits, captured_since = decided_at,
                fencing_token = case when wants_permit = 0 then draw_fencing_token() else h.fencing_token end,
                status_data = coalesce(nullif(capture_contended.status_data, ''), h.status_data),
                auto_release_rule = case when keeps_rule then h.auto_release_rule else rule end,
                auto_release_config = case when keeps_rule then h.auto_release_config else config end
            where h.mutex_group = capture_contended.mutex_group and h.mutex_mode = capture_contended.mutex_mode and h.mutex_id = capture_contended.mutex_id
              and h.permit = own.permit and h.fencing_token = own.fencing_token
            returning case when wants_permit = 0 then 'captured' else 'refreshed' end, h.*, decided_at, null, null, null, null
            into answer;
            continue when not found;
            if wants_permit > 0 or freed_from is not null then
                perform wake_lines(capture_contended.mutex_group, capture_contended.mutex_mode, coalesce(freed_from, capture_contended.mutex_id));
            end if;
            exit;
        end if;

        select w.ticket into own_ticket from mutex_waiter w
        where w.owner_session = capture_contended.owner_session
          and mutex_key(w.mutex_group, w.mutex_mode, w.mutex_id)
              = mutex_key(capture_contended.mutex_group, capture_contended.mutex_mode, capture_contended.mutex_id)
          and (w.mutex_group = capture_contended.mutex_group and w.mutex_mode = capture_contended.mutex_mode
               and w.mutex_id = capture_contended.mutex_id) is true;
        -- First come, first served: whoever came before must have been served, or be gone.
        ahead := first_in_line(capture_contended.mutex_group, capture_contended.mutex_mode, capture_contended.mutex_id, own_ticket);
        ahead_at := capture_contended.mutex_id;

        has_room := others = 0
                    or wants_permit > 0 and other.permit > 0 and others < coalesce(least(strictest, capture_contended.permits), others + 1);
        -- There may be room at a path itself, and something above or below it in the way.
        if at_path and ahead is null and has_room then
            select i.blocker_id, i.blocker_permit, i.freed, i.evicted_owner_session, i.evicted_owner_name, i.evicted_fencing_token
            into blocker_id, blocker_permit, freed, over_session, over_name, over_token
            from hold_in_the_way(capture_contended.mutex_group, capture_contended.mutex_mode, capture_contended.mutex_id, capture_contended.owner_session, capture_contended.access, true) i;
            freed_from := least(freed_from, freed collate "C");
            if over_token is not null and evicted.fencing_token is null then
                evicted.fencing_token := over_token;
                evicted.owner_session := over_session;
                evicted.owner_name := over_name;
            end if;
            if blocker_id is not null then
                select h.* into other from hold h
                where h.mutex_group = capture_contended.mutex_group and h.mutex_mode = capture_contended.mutex_mode and h.mutex_id = blocker_id
                  and h.permit = blocker_permit;
                continue when not found;
                ahead := 0;
            else
                select i.waiter_id, i.waiter_ticket into ahead_at, ahead
                from waiter_in_the_way(capture_contended.mutex_group, capture_contended.mutex_mode, capture_contended.mutex_id, own_ticket, capture_contended.owner_session,
                                       capture_contended.access, capture_contended.lock_parents, capture_contended.lock_children) i;
                if ahead is not null then
                    other := null;  -- there would be room beside it
                end if;
            end if;
        end if;

        if ahead is null
           and has_room then
            if wants_permit > 0 then
                -- The smallest number that nobody has.
                select min(free.number) into wants_permit
                from generate_series(1, others + 1) free (number)
                where not exists (select from hold h
                                  where h.mutex_group = capture_contended.mutex_group and h.mutex_mode = capture_contended.mutex_mode
                                    and h.mutex_id = capture_contended.mutex_id and h.permit = free.number);
            end if;
            insert into mutex_model as h (
                              mutex_group, mutex_mode, mutex_id, permit, permits,
                              owner_session, owner_host, owner_id, owner_login, owner_name,
                              auto_release_rule, auto_release_config, captured_since, status_data, fencing_token, held_since,
                              lock_parents, lock_children, sweep_at)
            values (capture_contended.mutex_group, capture_contended.mutex_mode, capture_contended.mutex_id, wants_permit, capture_contended.permits,
                    capture_contended.owner_session, coalesce(capture_contended.owner_host, ''), coalesce(capture_contended.owner_id, ''),
                    coalesce(capture_contended.owner_login, ''), coalesce(capture_contended.owner_name, ''),
                    rule, config, decided_at, capture_contended.status_data, draw_fencing_token(), decided_at,
                    capture_contended.lock_parents, capture_contended.lock_children, rule_ends_at(rule, config, decided_at))
            on conflict do nothing
            returning case when evicted.fencing_token is null then 'captured' else 'evicted' end,
                      h.mutex_group, h.mutex_mode, h.mutex_id, h.permit, h.permits,
                      h.owner_session, h.owner_host, h.owner_id, h.owner_login, h.owner_name,
                      h.auto_release_rule, h.auto_release_config, h.captured_since, h.status_data,
                      h.fencing_token, h.held_since, h.expires_at, h.lock_parents, h.lock_children,
                      decided_at,
                      evicted.owner_session, evicted.owner_name, evicted.fencing_token, null
            into answer;
            continue when not found;
            if own_ticket is not null then
                delete from mutex_waiter w
                where w.mutex_group = capture_contended.mutex_group and w.mutex_mode = capture_contended.mutex_mode and w.mutex_id = capture_contended.mutex_id
                  and w.ticket = own_ticket;
            end if;
            if own_ticket is not null and (wants_permit > 0 or at_path) or freed_from is not null
               or at_path and evicted.fencing_token is not null then
                -- The next one may be able to share it, or waits at another path.
                perform wake_lines(capture_contended.mutex_group, capture_contended.mutex_mode, coalesce(freed_from, capture_contended.mutex_id));
            end if;
            exit;
        end if;

        if other.fencing_token is not null then
            select 'busy', other.*, decided_at, null, null, null, null into answer;
        else
            -- Free, but for the one that is about to capture it: the answer shows it as it will be, without a token.
            select 'busy', w.mutex_group, w.mutex_mode, w.mutex_id, case when w.access = 'shared' then 1 else 0 end, w.permits,
                   w.owner_session, w.owner_host, w.owner_id, w.owner_login, w.owner_name,
                   '', '', w.queued_since, null, 0, w.queued_since, null, w.lock_parents, w.lock_children,
                   decided_at, null, null, null, null
            into answer from mutex_waiter w
            where w.mutex_group = capture_contended.mutex_group and w.mutex_mode = capture_contended.mutex_mode and w.mutex_id = ahead_at
              and w.ticket = ahead;
            -- It has left since, at a path where only its own call needs the lock.
            continue when not found;
        end if;
        if capture_contended.wait then
            answer.ticket := join_line(capture_contended.mutex_group, capture_contended.mutex_mode, capture_contended.mutex_id, null, capture_contended.access, capture_contended.permits,
                                       capture_contended.owner_session, capture_contended.owner_host, capture_contended.owner_id, capture_contended.owner_login, capture_contended.owner_name,
                                       capture_contended.while_holding, capture_contended.listener, capture_contended.lock_parents, capture_contended.lock_children);
            perform refuse_deadlock(capture_contended.mutex_group, capture_contended.mutex_mode, capture_contended.mutex_id, capture_contended.access, capture_contended.permits,
                                    capture_contended.owner_session, answer.ticket, capture_contended.while_holding,
                                    capture_contended.lock_parents, capture_contended.lock_children);
            answer.outcome := 'queued';
        end if;
        if evicted.fencing_token is not null or freed_from is not null then
            perform wake_lines(capture_contended.mutex_group, capture_contended.mutex_mode, coalesce(freed_from, capture_contended.mutex_id));
        end if;
        return answer;
    end loop;
    if answer.outcome is null then
        raise exception using errcode = 'PM004',
            message = 'pgmutex cannot write the row of this hold: it stays as it is, however often it is tried',
            hint = 'Look for a trigger of another program on table mutex_model that suppresses changes.';
    end if;
    return answer;
end
$function$

-- Captures many mutexes, each for itself: one row for each request, in their order, with the outcome that capture gives. A request is an object with the names of capture's arguments; what it does not say is taken from defaults.
CREATE OR REPLACE FUNCTION pgmutex.capture_each(requests jsonb, defaults jsonb DEFAULT '{}'::jsonb)
 RETURNS SETOF pgmutex.hold_outcome
 LANGUAGE plpgsql
 SECURITY DEFINER
 SET search_path TO 'pgmutex', 'pg_temp'
 SET lock_timeout TO '5s'
 SET enable_seqscan TO 'off'
 SET jit TO 'off'
 SET enable_hashjoin TO 'off'
 SET enable_mergejoin TO 'off'
AS $function$
#variable_conflict use_column
declare
    completed jsonb;
    request   record;
begin
    completed := check_requests(capture_each.requests, capture_each.defaults, array[
        'mutex_group', 'mutex_mode', 'mutex_id', 'owner_session', 'owner_host', 'owner_id', 'owner_login', 'owner_name',
        'auto_release_rule', 'auto_release_config', 'status_data', 'access', 'permits', 'lock_parents', 'lock_children']);
    perform lock_mutexes(completed);
    perform lock_what_is_over_above(completed);
    for request in
        select r.* from jsonb_to_recordset(completed) r (
            mutex_group text, mutex_mode text, mutex_id text, owner_session text, owner_host text, owner_id text, owner_login text,
            owner_name text, auto_release_rule text, auto_release_config text, status_data text, access text, permits integer,
            lock_parents boolean, lock_children boolean)
    loop
        return next capture(
            coalesce(request.mutex_group, ''), coalesce(request.mutex_mode, ''), coalesce(request.mutex_id, ''), request.owner_session,
            request.owner_host, request.owner_id, request.owner_login, request.owner_name,
            request.auto_release_rule, request.auto_release_config, request.status_data,
            coalesce(request.access, 'exclusive'), request.permits,
            lock_parents => coalesce(request.lock_parents, false), lock_children => coalesce(request.lock_children, false));
    end loop;
end
$function$

-- Captures mutexes for many callers, each for itself, as capture would in their order. One row for each request that was decided about: its place, from 1, and what capture answers, of which a plain capture leaves out what the asker said. A request without a row was left alone, because it might have had to wait for another transaction, or be refused: call capture for it. permit_limits are capture's permits, waits its wait; hold_others says that while_holding is not empty.
CREATE OR REPLACE FUNCTION pgmutex.capture_together(mutex_groups text[], mutex_modes text[], mutex_ids text[], owner_sessions text[], owner_hosts text[], owner_ids text[], owner_logins text[], owner_names text[], auto_release_rules text[], auto_release_configs text[], status_datas text[], accesses text[], permit_limits integer[], waits boolean[], hold_others boolean[], listener bigint DEFAULT NULL::bigint)
 RETURNS TABLE(place integer, outcome text, mutex_group text, mutex_mode text, mutex_id text, permit integer, permits integer, owner_session text, owner_host text, owner_id text, owner_login text, owner_name text, auto_release_rule text, auto_release_config text, captured_since timestamp with time zone, status_data text, fencing_token bigint, held_since timestamp with time zone, expires_at timestamp with time zone, lock_parents boolean, lock_children boolean, observed_at timestamp with time zone, evicted_owner_session text, evicted_owner_name text, evicted_fencing_token bigint, ticket bigint)
 LANGUAGE plpgsql
 SECURITY DEFINER
 SET search_path TO 'pgmutex', 'pg_temp'
 SET lock_timeout TO '1s'
 SET enable_seqscan TO 'off'
 SET jit TO 'off'
AS $function$
#variable_conflict use_column
declare
    wanted          integer := cardinality(capture_together.mutex_ids);
    rule            text := coalesce(auto_release_rules[1], 'timeout');
    config          text := coalesce(auto_release_configs[1], case when rule = 'timeout' then '300' else '' end);
    is_decided      boolean := false;
    plain           record;
    request         record;
    own_holds       bigint;
    may_wait        boolean;
    answer          hold_outcome;
    passed_over     bigint[] := '{}';
begin
    perform check_together(wanted, array[
        array_dims(mutex_groups), array_dims(mutex_modes), array_dims(mutex_ids), array_dims(owner_sessions), array_dims(owner_hosts),
        array_dims(owner_ids), array_dims(owner_logins), array_dims(owner_names), array_dims(auto_release_rules),
        array_dims(auto_release_configs), array_dims(status_datas), array_dims(accesses), array_dims(permit_limits), array_dims(waits),
        array_dims(hold_others)]);

    -- The usual: each array says the same of all, and nothing is near its limits.
    if accesses = '{exclusive}' and permit_limits[1] is null
       and cardinality(mutex_groups) + cardinality(mutex_modes) + cardinality(owner_sessions) + cardinality(owner_hosts) + cardinality(owner_ids)
           + cardinality(owner_logins) + cardinality(owner_names) + cardinality(auto_release_rules) + cardinality(auto_release_configs)
           + cardinality(status_datas) + cardinality(permit_limits) = 11
       and mutex_groups[1] || mutex_modes[1] <> '' and mutex_groups[1] <> 'pgmutex.pool' and owner_sessions[1] <> ''
       and octet_length(concat(mutex_groups[1], mutex_modes[1], owner_sessions[1], owner_hosts[1], owner_ids[1], owner_logins[1], owner_names[1],
                               status_datas[1])) <= 400
       and is_plain_rule(rule, config) then
        plain := capture_what_is_usual(
            mutex_groups[1], mutex_modes[1], capture_together.mutex_ids, owner_sessions[1], coalesce(owner_hosts[1], ''), coalesce(owner_ids[1], ''),
            coalesce(owner_logins[1], ''), coalesce(owner_names[1], ''), rule, config, status_datas[1]);
        is_decided := plain.decided_at is not null;
    end if;
    if not is_decided then
        plain := capture_what_is_plain(
            wanted, mutex_groups, mutex_modes, mutex_ids, owner_sessions, owner_hosts, owner_ids, owner_logins, owner_names,
            auto_release_rules, auto_release_configs, status_datas, accesses, permit_limits);
    end if;
    if plain.captured_places is not null then
        if current_setting('synchronous_commit') not in ('on', 'remote_apply') then
            perform set_config('synchronous_commit', 'on', true);
        end if;
        -- Of these the asker knows the rest.
        return query
        select c.place, 'captured', null::text, null::text, null::text, null::integer, null::integer,
               null::text, null::text, null::text, null::text, null::text,
               null::text, null::text, plain.decided_at, null::text, c.fencing_token,
               plain.decided_at, c.expires_at, null::boolean, null::boolean, plain.decided_at,
               null::text, null::text, null::bigint, null::bigint
        from unnest(plain.captured_places, plain.fencing_tokens, plain.ends_at) c (place, fencing_token, expires_at);
    end if;
    if plain.places_left is null then
        return;
    end if;

    for request in
        select p.place, mutex_groups[least(p.place, cardinality(mutex_groups))] as mutex_group,
               mutex_modes[least(p.place, cardinality(mutex_modes))] as mutex_mode, mutex_ids[p.place] as mutex_id,
               owner_sessions[least(p.place, cardinality(owner_sessions))] as owner_session,
               owner_hosts[least(p.place, cardinality(owner_hosts))] as owner_host,
               owner_ids[least(p.place, cardinality(owner_ids))] as owner_id,
               owner_logins[least(p.place, cardinality(owner_logins))] as owner_login,
               owner_names[least(p.place, cardinality(owner_names))] as owner_name,
               auto_release_rules[least(p.place, cardinality(auto_release_rules))] as rule,
               auto_release_configs[least(p.place, cardinality(auto_release_configs))] as config,
               status_datas[least(p.place, cardinality(status_datas))] as status_data,
               accesses[least(p.place, cardinality(accesses))] as access,
               permit_limits[least(p.place, cardinality(permit_limits))] as permits,
               coalesce(waits[least(p.place, cardinality(waits))], false) as waits,
               coalesce(hold_others[least(p.place, cardinality(hold_others))], true) as holds_others
        from unnest(plain.places_left) p (place)
    loop
        select count(*) into own_holds from hold h
        where h.mutex_group = request.mutex_group and h.mutex_mode = request.mutex_mode and h.mutex_id = request.mutex_id
          and (h.owner_session = request.owner_session) is true;
        -- Who asks on its own gets no better place in line by that, nor a worse one: nobody is let in before it who has no hold yet.
        continue when own_holds = 0
                      and mutex_key(request.mutex_group, request.mutex_mode, request.mutex_id) = any (passed_over);
        -- A refresh, or a change from shared to exclusive, would wait for whoever has the row.
        continue when own_holds > (select count(*) from (
                          select from hold h
                          where h.mutex_group = request.mutex_group and h.mutex_mode = request.mutex_mode and h.mutex_id = request.mutex_id
                            and (h.owner_session = request.owner_session) is true
                          for no key update skip locked) mine);
        -- Who holds something, or has a place in another line, may close a circle, which raises. (See refuse_deadlock.)
        may_wait := request.waits and not request.holds_others
                    and not exists (select from hold h where h.owner_session = request.owner_session)
                    and not exists (select from mutex_waiter w
                                    where w.owner_session = request.owner_session
                                      and (w.mutex_group <> request.mutex_group or w.mutex_mode <> request.mutex_mode
                                           or w.mutex_id <> request.mutex_id));
        -- What raises takes back what it did; one that is left alone because it might has done nothing: what is over stays.
        if request.waits and not may_wait
           and exists (select from hold h
                       where h.mutex_group = request.mutex_group and h.mutex_mode = request.mutex_mode and h.mutex_id = request.mutex_id
                         and hold_is_over(h.auto_release_rule, h.auto_release_config, h.expires_at, clock_timestamp())) then
            passed_over := passed_over || mutex_key(request.mutex_group, request.mutex_mode, request.mutex_id);
            continue;
        end if;
        answer := capture(request.mutex_group, request.mutex_mode, request.mutex_id, request.owner_session,
                          request.owner_host, request.owner_id, request.owner_login, request.owner_name,
                          request.rule, request.config, request.status_data, request.access, request.permits,
                          wait => may_wait, listener => capture_together.listener);
        if answer.outcome = 'busy' and request.waits then
            passed_over := passed_over || mutex_key(request.mutex_group, request.mutex_mode, request.mutex_id);
            continue;
        end if;
        return query select request.place, answer.*;
    end loop;
end
$function$

-- Takes the locks that can be had at once, captures those of these mutexes that nobody holds and nobody waits for, and says what else may be decided about behind the locks.
CREATE OR REPLACE FUNCTION pgmutex.capture_what_is_plain(wanted integer, mutex_groups text[], mutex_modes text[], mutex_ids text[], owner_sessions text[], owner_hosts text[], owner_ids text[], owner_logins text[], owner_names text[], auto_release_rules text[], auto_release_configs text[], status_datas text[], accesses text[], permit_limits integer[], OUT captured_places integer[], OUT fencing_tokens bigint[], OUT ends_at timestamp with time zone[], OUT decided_at timestamp with time zone, OUT places_left integer[])
 RETURNS record
 LANGUAGE plpgsql
 SET lock_timeout TO '100ms'
 SET plan_cache_mode TO 'force_generic_plan'
 SET enable_seqscan TO 'off'
 SET enable_bitmapscan TO 'off'
 SET jit TO 'off'
AS $function$
#variable_conflict use_column
declare
    places         integer[];
    later_places   integer[];
    gone           text[];
    drawn_tokens   bigint[];
    rules_are_alike boolean := cardinality(auto_release_rules) = 1 and cardinality(auto_release_configs) = 1;
    ends_alike     timestamptz;
begin
    select array_agg(asked.place) into places
    from (select p.place, mutex_groups[least(p.place, cardinality(mutex_groups))] as mutex_group,
                 mutex_modes[least(p.place, cardinality(mutex_modes))] as mutex_mode, mutex_ids[p.place] as mutex_id,
                 owner_sessions[least(p.place, cardinality(owner_sessions))] as owner_session,
                 owner_hosts[least(p.place, cardinality(owner_hosts))] as owner_host,
                 owner_ids[least(p.place, cardinality(owner_ids))] as owner_id,
                 owner_logins[least(p.place, cardinality(owner_logins))] as owner_login,
                 owner_names[least(p.place, cardinality(owner_names))] as owner_name,
                 r.rule, coalesce(auto_release_configs[least(p.place, cardinality(auto_release_configs))],
                                  case when r.rule = 'timeout' then '300' else '' end) as config,
                 status_datas[least(p.place, cardinality(status_datas))] as status_data,
                 accesses[least(p.place, cardinality(accesses))] as access,
                 permit_limits[least(p.place, cardinality(permit_limits))] as permits
          from generate_series(1, wanted) p (place)
          cross join lateral (select coalesce(auto_release_rules[least(p.place, cardinality(auto_release_rules))], 'timeout') as rule) r
          offset 0) asked
    where can_be_plain(asked.mutex_group, asked.mutex_mode, asked.mutex_id, asked.owner_session)
      and can_be_plain_rule(asked.rule, asked.config)
      and coalesce(octet_length(asked.owner_host), 0) <= 1600 and coalesce(octet_length(asked.owner_id), 0) <= 400
      and coalesce(octet_length(asked.owner_login), 0) <= 400 and coalesce(octet_length(asked.owner_name), 0) <= 400
      and coalesce(octet_length(asked.status_data), 0) <= 65536
      and (asked.access = 'exclusive' and asked.permits is null or asked.access = 'shared' and coalesce(asked.permits, 1) >= 1);
    if 'connection' = any (auto_release_rules) then
        -- Most name the same session: it is asked for once.
        select array_agg(s.config) into gone
        from (select distinct auto_release_configs[least(p.place, cardinality(auto_release_configs))] as config
              from unnest(places) p (place)
              where auto_release_rules[least(p.place, cardinality(auto_release_rules))] = 'connection'
              offset 0) s
        where session_is_gone(s.config);
        if gone is not null then
            select array_agg(p.place) into places from unnest(places) p (place)
            where auto_release_rules[least(p.place, cardinality(auto_release_rules))] is distinct from 'connection'
               or auto_release_configs[least(p.place, cardinality(auto_release_configs))] <> all (gone);
        end if;
    end if;

    select t.first_places, t.later_places into places, later_places from try_lock_together(places, mutex_groups, mutex_modes, mutex_ids) t;
    places_left := places || later_places;

    decided_at := clock_timestamp();
    select array_agg(p.place) into places from unnest(places) p (place)
    where (select true from hold h
           where h.mutex_group = mutex_groups[least(p.place, cardinality(mutex_groups))]
             and h.mutex_mode = mutex_modes[least(p.place, cardinality(mutex_modes))] and h.mutex_id = mutex_ids[p.place]
           limit 1) is null
      and (select true from mutex_waiter w
           where w.mutex_group = mutex_groups[least(p.place, cardinality(mutex_groups))]
             and w.mutex_mode = mutex_modes[least(p.place, cardinality(mutex_modes))] and w.mutex_id = mutex_ids[p.place]
           limit 1) is null;
    if places is null then
        select array_agg(p.place order by p.place) into places_left from unnest(places_left) p (place);
        return;
    end if;
    select array_agg((g.generation << 40) + nextval('fencing_token_sequence')) into drawn_tokens
    from (select coalesce((select t.generation from token_generation t where t.timeline = current_timeline()), ensure_generation()) as generation
          offset 0) g
    cross join generate_series(1, cardinality(places));
    if rules_are_alike then
        ends_alike := rule_ends_at(coalesce(auto_release_rules[1], 'timeout'),
                                   coalesce(auto_release_configs[1], case when coalesce(auto_release_rules[1], 'timeout') = 'timeout' then '300' else '' end),
                                   decided_at);
    end if;
    with written as (
        insert into mutex_model (mutex_group, mutex_mode, mutex_id, permit, permits,
                                 owner_session, owner_host, owner_id, owner_login, owner_name,
                                 auto_release_rule, auto_release_config, captured_since, status_data, fencing_token, held_since,
                                 lock_parents, lock_children, sweep_at)
        select mutex_groups[least(f.place, cardinality(mutex_groups))], mutex_modes[least(f.place, cardinality(mutex_modes))],
               mutex_ids[f.place],
               case when accesses[least(f.place, cardinality(accesses))] = 'shared' then 1 else 0 end,
               permit_limits[least(f.place, cardinality(permit_limits))],
               owner_sessions[least(f.place, cardinality(owner_sessions))],
               coalesce(owner_hosts[least(f.place, cardinality(owner_hosts))], ''),
               coalesce(owner_ids[least(f.place, cardinality(owner_ids))], ''),
               coalesce(owner_logins[least(f.place, cardinality(owner_logins))], ''),
               coalesce(owner_names[least(f.place, cardinality(owner_names))], ''),
               r.rule, c.config,
               decided_at, status_datas[least(f.place, cardinality(status_datas))], f.fencing_token, decided_at, false, false,
               case when rules_are_alike then ends_alike else rule_ends_at(r.rule, c.config, decided_at) end
        from unnest(places, drawn_tokens) f (place, fencing_token)
        cross join lateral (select coalesce(auto_release_rules[least(f.place, cardinality(auto_release_rules))], 'timeout') as rule) r
        cross join lateral (select coalesce(auto_release_configs[least(f.place, cardinality(auto_release_configs))],
                                            case when r.rule = 'timeout' then '300' else '' end) as config) c
        on conflict do nothing
        returning fencing_token, expires_at
    )
    select array_agg(w.fencing_token order by w.fencing_token), array_agg(w.expires_at order by w.fencing_token)
    into fencing_tokens, ends_at
    from written w;
    -- Another program may have come in between: one that does not take the locks.
    if cardinality(places) > coalesce(cardinality(fencing_tokens), 0) then
        select array_agg(f.place) into places from unnest(places, drawn_tokens) f (place, fencing_token)
        where f.fencing_token = any (fencing_tokens);
    end if;
    captured_places := places;  -- in the order of their tokens
    if cardinality(captured_places) = cardinality(places_left) then
        places_left := null;
    else
        select array_agg(p.place order by p.place) into places_left from unnest(places_left) p (place)
        where p.place <> all (coalesce(captured_places, '{}'));
    end if;
end
$function$

-- Does for one owner, mode and rule what capture_what_is_plain does for any. Decides nothing, and says no time, if one of the ids is not plain.
CREATE OR REPLACE FUNCTION pgmutex.capture_what_is_usual(mutex_group text, mutex_mode text, mutex_ids text[], owner_session text, owner_host text, owner_id text, owner_login text, owner_name text, rule text, config text, status_data text, OUT captured_places integer[], OUT fencing_tokens bigint[], OUT ends_at timestamp with time zone[], OUT decided_at timestamp with time zone, OUT places_left integer[])
 RETURNS record
 LANGUAGE plpgsql
 SET lock_timeout TO '100ms'
 SET plan_cache_mode TO 'force_generic_plan'
 SET enable_seqscan TO 'off'
 SET enable_bitmapscan TO 'off'
 SET jit TO 'off'
AS $function$
#variable_conflict use_variable
declare
    locked_ids    text[];
    locked_places integer[];
    written_ids   text[];
    all_are_plain boolean;
    ends_alike    timestamptz;
begin
    -- A lock is taken once more for each who asks for the same mutex: the first of them is written, and the others, who have drawn a token
    -- in vain, meet its row.
    select array_agg(asked.id) filter (where asked.is_locked), array_agg(asked.place) filter (where asked.is_locked),
           bool_and(asked.is_locked is not null)
    into locked_ids, locked_places, all_are_plain
    from (select u.id, u.place::integer as place,
                 case when octet_length(u.id) <= 1600 and left(u.id, 1) <> '/'
                      then pg_try_advisory_xact_lock(mutex_key(mutex_group, mutex_mode, u.id)) end as is_locked
          from unnest(mutex_ids) with ordinality u (id, place)
          offset 0) asked;
    if all_are_plain is not true then
        return;
    end if;
    decided_at := clock_timestamp();
    ends_alike := rule_ends_at(rule, config, decided_at);
    -- The token is drawn as draw_fencing_token draws it, without a call for each.
    with written as (
        insert into mutex_model as h (
                          mutex_group, mutex_mode, mutex_id, permit, permits,
                          owner_session, owner_host, owner_id, owner_login, owner_name,
                          auto_release_rule, auto_release_config, captured_since, status_data, fencing_token, held_since,
                          lock_parents, lock_children, sweep_at)
        select mutex_group, mutex_mode, u.id, 0, null, owner_session, owner_host, owner_id, owner_login, owner_name,
               rule, config, decided_at, status_data,
               (coalesce((select t.generation from token_generation t where t.timeline = current_timeline()), ensure_generation()) << 40)
                   + nextval('fencing_token_sequence'),
               decided_at, false, false, ends_alike
        from unnest(locked_ids) u (id)
        where (select true from mutex_model h
               where h.mutex_group = capture_what_is_usual.mutex_group and h.mutex_mode = capture_what_is_usual.mutex_mode and h.mutex_id = u.id
               limit 1) is null
          and (select true from mutex_waiter w
               where w.mutex_group = capture_what_is_usual.mutex_group and w.mutex_mode = capture_what_is_usual.mutex_mode and w.mutex_id = u.id
               limit 1) is null
        on conflict do nothing
        returning h.mutex_id, h.fencing_token, h.expires_at
    )
    select array_agg(w.mutex_id order by w.fencing_token), array_agg(w.fencing_token order by w.fencing_token),
           array_agg(w.expires_at order by w.fencing_token)
    into written_ids, fencing_tokens, ends_at
    from written w;
    if cardinality(written_ids) = cardinality(locked_ids) then
        captured_places := locked_places;  -- in the order of their tokens
    else
        select array_agg(locked_places[array_position(locked_ids, w.id)] order by w.nth) into captured_places
        from unnest(written_ids) with ordinality w (id, nth);
        if array_position(captured_places, null) is not null then
            raise exception using errcode = 'PM004',
                message = 'a trigger on mutex_model has given a hold another mutex_id: whose it is cannot be told';
        end if;
        select array_agg(p.place order by p.place) into places_left from unnest(locked_places) p (place)
        where p.place <> all (coalesce(captured_places, '{}'));
    end if;
end
$function$

-- Used by pool_update and its like; not called directly.
CREATE OR REPLACE FUNCTION pgmutex.change_session(collection text, id bigint, payload jsonb, unset_payload text[])
 RETURNS pgmutex.pool_outcome
 LANGUAGE plpgsql
 SET search_path TO 'pgmutex', 'pg_temp'
AS $function$
#variable_conflict use_column
declare
    changed jsonb;
begin
    select p.payload into changed from pool_session p
    where p.collection = change_session.collection and p.id = change_session.id for no key update;
    if not found then
        return session_answer('not_found', change_session.collection, null);
    end if;
    changed := updated_document(changed, coalesce(change_session.payload, '{}'), coalesce(change_session.unset_payload, '{}'));
    perform check_payload(changed);
    update pool_session p set payload = changed
    where p.collection = change_session.collection and p.id = change_session.id;
    return session_answer('updated', change_session.collection, change_session.id);
end
$function$

-- Raises PM003 if nobody could have this access.
CREATE OR REPLACE FUNCTION pgmutex.check_access(access text, permits integer)
 RETURNS void
 LANGUAGE plpgsql
AS $function$
begin
    if access is null or access not in ('exclusive', 'shared') then
        perform refuse_input('access must be exclusive or shared');
    elsif permits is not null and access = 'exclusive' then
        perform refuse_input('permits says how many may share the mutex: it goes with access shared');
    elsif permits < 1 then
        perform refuse_input('permits must be 1 or more, or null for any number');
    end if;
end
$function$

-- The start of every decision: refuses a transaction whose snapshot may be stale (PM001), a standby (PM002) and bad names (PM003).
CREATE OR REPLACE FUNCTION pgmutex.check_call(mutex_group text, mutex_mode text, mutex_id text, owner_session text)
 RETURNS void
 LANGUAGE plpgsql
AS $function$
begin
    if current_setting('transaction_isolation') not in ('read committed', 'read uncommitted') or pg_is_in_recovery() then
        perform refuse_transaction();
    end if;
    if mutex_group is null or mutex_mode is null or mutex_id is null then
        perform refuse_input('mutex_group, mutex_mode and mutex_id must not be null');
    end if;
    if mutex_group = '' and mutex_mode = '' and mutex_id = '' then
        perform refuse_input('mutex_id is empty, and so are mutex_group and mutex_mode: name the mutex');
    end if;
    if coalesce(owner_session, '') = '' then
        perform refuse_input('owner_session is empty: it says who holds the mutex');
    end if;
    perform check_text('mutex_group', mutex_group, 400);
    perform check_text('mutex_mode', mutex_mode, 400);
    perform check_text('mutex_id', mutex_id, 1600);
    perform check_text('owner_session', owner_session, 400);
    perform check_path(mutex_id);
end
$function$

-- Raises PM003 if a count makes no sense, or if some of its like would be too many to be counted.
CREATE OR REPLACE FUNCTION pgmutex.check_count(field text, count bigint)
 RETURNS void
 LANGUAGE plpgsql
AS $function$
begin
    if count is null or count not between 0 and 1000000000 then
        perform refuse_input(format('%s must be from 0 to 1000000000', field));
    end if;
end
$function$

-- The start of grant_role and revoke_role: refuses bad names (PM003) and callers that are not the owner, and takes the turn.
CREATE OR REPLACE FUNCTION pgmutex.check_granting(database_role name, role text)
 RETURNS void
 LANGUAGE plpgsql
 SET search_path TO 'pgmutex', 'pg_temp'
AS $function$
declare
    schema_owner oid := (select n.nspowner from pg_namespace n where n.nspname = current_schema());
begin
    if current_setting('transaction_isolation') not in ('read committed', 'read uncommitted') or pg_is_in_recovery() then
        perform refuse_transaction();
    end if;
    if check_granting.role is null or check_granting.role not in ('owner', 'admin', 'application', 'reader') then
        perform refuse_input(format('role is %s: it must be owner, admin, application or reader', coalesce(quote_literal(check_granting.role), 'null')));
    elsif check_granting.database_role is null then
        perform refuse_input('database_role must not be null: it says to whom');
    elsif not exists (select from pg_roles r where r.rolname = check_granting.database_role) then
        perform refuse_input(format('there is no database role %I: make it first (create role), or name one that is there', check_granting.database_role));
    elsif not pg_has_role(schema_owner, 'USAGE') then
        raise insufficient_privilege using message = format(
            'roles in schema %I are granted by its owner: connect as %I, or as a member of it', current_schema(), pg_get_userbyid(schema_owner));
    end if;
    -- Two who grant at once would trip over each other's privileges, and a migration over both: the turn is that of migrations.
    perform pg_advisory_xact_lock(hashtextextended(format('pgmutex: migrations of schema %s', current_schema()), 31638917211252088));
end
$function$

-- Raises PM003 if a path is too deep.
CREATE OR REPLACE FUNCTION pgmutex.check_path(mutex_id text)
 RETURNS void
 LANGUAGE plpgsql
AS $function$
begin
    -- Each level takes an entry of the server's lock table until the commit.
    if locks_of(mutex_id) > 101 then
        perform refuse_input('mutex_id is a path of more than 100 levels');
    end if;
end
$function$

-- Raises PM003 if a payload could not be stored.
CREATE OR REPLACE FUNCTION pgmutex.check_payload(payload jsonb)
 RETURNS void
 LANGUAGE plpgsql
AS $function$
begin
    if coalesce(jsonb_typeof(payload), '') <> 'object' then
        perform refuse_input('payload must be a JSON object');
    elsif pg_column_size(payload) > 1048576 then
        perform refuse_input(format('payload is %s bytes long, at most 1048576 are allowed', pg_column_size(payload)));
    elsif payload @? '$.**{101}' then
        perform refuse_input('payload is nested more than 100 levels deep');
    end if;
end
$function$

-- Raises PM003 if a time to wait makes no sense.
CREATE OR REPLACE FUNCTION pgmutex.check_period(field text, period interval)
 RETURNS void
 LANGUAGE plpgsql
AS $function$
begin
    -- In seconds: as intervals, 100 years are 36,000 days.
    if extract(epoch from period) not between 0 and extract(epoch from interval '100 years') then
        perform refuse_input(format('%s must be from 0 to 100 years', field));
    end if;
end
$function$

-- The start of every decision about a pool: as check_call.
CREATE OR REPLACE FUNCTION pgmutex.check_pool(collection text)
 RETURNS void
 LANGUAGE plpgsql
AS $function$
begin
    if current_setting('transaction_isolation') not in ('read committed', 'read uncommitted') or pg_is_in_recovery() then
        perform refuse_transaction();
    end if;
    if coalesce(collection, '') = '' then
        perform refuse_input('collection is empty: it names the pool');
    end if;
    perform check_text('collection', collection, 400);
end
$function$

-- Raises PM003 if what is no path is to lock what is above or below it.
CREATE OR REPLACE FUNCTION pgmutex.check_reach(mutex_id text, lock_parents boolean, lock_children boolean)
 RETURNS void
 LANGUAGE plpgsql
AS $function$
begin
    if lock_parents is null or lock_children is null then
        perform refuse_input('lock_parents and lock_children must not be null');
    elsif (lock_parents or lock_children) and not is_path(mutex_id) then
        perform refuse_input('lock_parents and lock_children go with a mutex_id that is a path: it begins and ends with a slash');
    end if;
end
$function$

-- Completes requests with defaults, and refuses what makes no sense (PM003).
CREATE OR REPLACE FUNCTION pgmutex.check_requests(requests jsonb, defaults jsonb, known text[])
 RETURNS jsonb
 LANGUAGE plpgsql
AS $function$
declare
    unknown text;
    completed jsonb;
begin
    if current_setting('transaction_isolation') not in ('read committed', 'read uncommitted') or pg_is_in_recovery() then
        perform refuse_transaction();
    end if;
    if coalesce(jsonb_typeof(requests), '') <> 'array' or coalesce(jsonb_typeof(defaults), '') <> 'object' then
        perform refuse_input('requests must be an array of objects, and defaults an object');
    elsif jsonb_array_length(requests) > 1000 then
        -- Each takes an entry of the server's lock table until the commit.
        perform refuse_input('at most 1000 requests go into one call');
    elsif exists (select from jsonb_array_elements(requests) r where jsonb_typeof(r.value) <> 'object') then
        perform refuse_input('requests must be an array of objects, and defaults an object');
    end if;
    select jsonb_agg(defaults || r.value order by r.ordinality) into completed
    from jsonb_array_elements(requests) with ordinality r;
    select k.key into unknown from jsonb_array_elements(completed) r cross join jsonb_object_keys(r.value) k (key)
    where k.key <> all (known)
    limit 1;
    if found then
        perform refuse_input(format('%s is not something that a request can say; it can say %s', unknown, array_to_string(known, ', ')));
    end if;
    return coalesce(completed, '[]');
end
$function$

-- Raises PM003 if a rule could not end a hold as its caller means it to.
CREATE OR REPLACE FUNCTION pgmutex.check_rule(rule text, config text)
 RETURNS void
 LANGUAGE plpgsql
AS $function$
begin
    if rule in ('', 'never') then
        if coalesce(config, '') <> '' then
            perform refuse_input('auto_release_config must be empty for the rule never');
        end if;
    elsif rule = 'timeout' then
        if coalesce(config !~ '^[0-9]{1,10}$', true) or config::bigint not between 1 and 3153600000 then
            perform refuse_input('auto_release_config of a timeout must be whole seconds from 1 to 3153600000 (100 years)');
        end if;
    elsif rule = 'deadline' then
        -- Two different starting points give two answers exactly when the text is no time and the fallback answers.
        if rule_ends_at(rule, config, timestamptz 'epoch') <> rule_ends_at(rule, config, timestamptz '2000-01-01 00:00:00Z') then
            perform refuse_input('auto_release_config of a deadline must be a time as in RFC 3339, such as 2030-01-31T12:00:00Z');
        elsif rule_ends_at(rule, config, timestamptz 'epoch') <= clock_timestamp() then
            perform refuse_input('auto_release_config: this deadline has already passed');
        end if;
    elsif rule = 'connection' then
        if coalesce(config !~ '^[0-9]{1,18}( [0-9]{1,10})?$', true) or split_part(config, ' ', 1)::bigint = 0
           or coalesce(nullif(split_part(config, ' ', 2), ''), '1')::bigint not between 1 and 3153600000 then
            perform refuse_input('auto_release_config of a connection must be the number of a database session, as attach_session gives it, '
                                 'and perhaps a space and whole seconds from 1 to 3153600000');
        elsif session_is_gone(config) then
            perform refuse_input('auto_release_config names a database session that is gone: attach another');
        end if;
    end if;
    perform check_text('auto_release_rule', rule, 400);
    perform check_text('auto_release_config', config, 1600);
end
$function$

-- Raises PM003 if a text is longer than its column takes.
CREATE OR REPLACE FUNCTION pgmutex.check_text(field text, value text, most_bytes integer)
 RETURNS void
 LANGUAGE plpgsql
 IMMUTABLE PARALLEL SAFE
AS $function$
begin
    if octet_length(value) > most_bytes then
        raise exception using errcode = 'PM003',
            message = format('%s is %s bytes long, at most %s are allowed', field, octet_length(value), most_bytes);
    end if;
end
$function$

-- The start of every decision about many requests: refuses a transaction whose snapshot may be stale (PM001), a standby (PM002) and arrays that do not go together (PM003).
CREATE OR REPLACE FUNCTION pgmutex.check_together(wanted integer, given text[])
 RETURNS void
 LANGUAGE plpgsql
AS $function$
begin
    if current_setting('transaction_isolation') not in ('read committed', 'read uncommitted') or pg_is_in_recovery() then
        perform refuse_transaction();
    end if;
    -- The bounds tell arrays of two dimensions, and such as do not begin at 1, from those whose elements can be told by their places.
    if wanted is null or wanted > 0 and not given <@ array[format('[1:%s]', wanted), '[1:1]'] then
        perform refuse_input('an array says something of each request or, with one element, of all; '
                             'it cannot be null or of another length, begin elsewhere than at 1, or have another dimension');
    elsif wanted > 1000 then
        -- Each takes an entry of the server's lock table until the commit.
        perform refuse_input('at most 1000 requests go into one call');
    end if;
end
$function$

-- If waiting for this mutex could never end, because its holders wait, directly or not, for the one who asks: the circle, in words. A circle of more than 64 is not found.
CREATE OR REPLACE FUNCTION pgmutex.circle_of_waiting(mutex_group text, mutex_mode text, mutex_id text, access text, permits integer, before_ticket bigint, lock_parents boolean, lock_children boolean, waiter_session text, owner_session text, own_ticket bigint, while_holding bigint[], passed bigint[], INOUT cleared bigint[], OUT circle text)
 RETURNS record
 LANGUAGE plpgsql
AS $function$
#variable_conflict use_column
declare
    now_is  timestamptz := clock_timestamp();
    -- Of built-in types: see the top of V1.
    line_group      text;
    line_mode       text;
    line_id         text;
    before          bigint;  -- null: the whole line
    behind          text;
    needs_it_alone  boolean;
    strictest       integer;
    others_alone    boolean;
    others_permits  integer;
    token           bigint;
    holder          text;
    described       text;
    holds_permit    integer;
    holds_permits   integer;
    waits_group     text;
    waits_mode      text;
    waits_id        text;
    waits_access    text;
    waits_permits   integer;
    waits_ticket    bigint;
    waits_parents   boolean;
    waits_children  boolean;
    waits_session   text;
    rest            text;
    hold_path       text;
    stuck           integer;
    found_here      text;
    found_in_line   text;
begin
    for line_group, line_mode, line_id, before, behind, needs_it_alone, strictest in
        with recursive line (mutex_group, mutex_mode, mutex_id, ticket, access, permits, lock_parents, lock_children, owner_session, behind) as (
            select circle_of_waiting.mutex_group collate "C", circle_of_waiting.mutex_mode collate "C", circle_of_waiting.mutex_id collate "C",
                   circle_of_waiting.before_ticket, circle_of_waiting.access, circle_of_waiting.permits,
                   circle_of_waiting.lock_parents, circle_of_waiting.lock_children,
                   circle_of_waiting.waiter_session collate "C", null::text collate "C"
            union
            select next.mutex_group, next.mutex_mode, next.mutex_id, next.ticket, next.access, next.permits,
                   next.lock_parents, next.lock_children, next.owner_session,
                   coalesce(nullif(next.owner_name, ''), 'session ' || next.owner_session)
            from line l
            cross join lateral (
                select other.* from mutex_waiter w
                join mutex_waiter other on other.owner_session = w.owner_session and other.ticket = w.ticket
                 and (other.mutex_group <> w.mutex_group or other.mutex_mode <> w.mutex_mode or other.mutex_id <> w.mutex_id)
                where w.mutex_group = l.mutex_group and w.mutex_mode = l.mutex_mode and w.mutex_id = l.mutex_id
                  and (l.ticket is null or w.ticket <= l.ticket)
                union all
                -- Those who come before one in the line at paths above and below.
                select w.* from mutex_waiter w
                where is_path(l.mutex_id) and w.mutex_group = l.mutex_group and w.mutex_mode = l.mutex_mode
                  and (w.mutex_id = any (paths_above(l.mutex_id))
                       or w.mutex_id > l.mutex_id and w.mutex_id < end_of_path(l.mutex_id) and is_path(w.mutex_id))
                  and exists (select from mutex_waiter later
                              where later.mutex_group = l.mutex_group and later.mutex_mode = l.mutex_mode and later.mutex_id = l.mutex_id
                                and later.ticket > w.ticket and (l.ticket is null or later.ticket <= l.ticket)
                                and (later.ticket = l.ticket or later.owner_session <> circle_of_waiting.owner_session)
                                and takes_turns(w, later))
            ) next
            -- Of the other place: it is the same waiter, and few have one.
            where next.owner_session <> circle_of_waiting.owner_session and not waiter_is_gone(next.listener, next.seen_at)
        )
        select l.mutex_group, l.mutex_mode, l.mutex_id, nullif(max(coalesce(l.ticket, 9223372036854775807)), 9223372036854775807),
               case when not bool_or(l.behind is null) then max(l.behind) end, bool_or(l.access = 'exclusive'), min(l.permits)
        from line l
        group by l.mutex_group, l.mutex_mode, l.mutex_id
        order by bool_or(l.behind is null) desc, 1, 2, 3
    loop
        stuck := 0;
        found_in_line := null;

        for token, holder, described, holds_permit, holds_permits, hold_path in
            select h.fencing_token, h.owner_session, coalesce(nullif(h.owner_name, ''), 'session ' || h.owner_session), h.permit, h.permits, null
            from hold h
            where h.mutex_group = line_group and h.mutex_mode = line_mode and h.mutex_id = line_id
              and not hold_is_over(h.auto_release_rule, h.auto_release_config, h.expires_at, now_is)
            union all
            -- At paths above and below only those who wait can be stuck.
            select h.fencing_token, h.owner_session,
                   format('%s (%s)', coalesce(nullif(h.owner_name, ''), 'session ' || h.owner_session), h.mutex_id), h.permit, h.permits, h.mutex_id
            from hold h
            where is_path(line_id) and h.mutex_group = line_group and h.mutex_mode = line_mode
              and (h.mutex_id = any (paths_above(line_id)) and h.lock_children
                   or h.mutex_id > line_id and h.mutex_id < end_of_path(line_id) and h.lock_parents)
              and exists (select from mutex_waiter w
                          where w.mutex_group = line_group and w.mutex_mode = line_mode and w.mutex_id = line_id
                            and (before is null or w.ticket <= before)
                            and (w.ticket = before or w.owner_session <> circle_of_waiting.owner_session)
                            and w.owner_session <> h.owner_session and (h.permit = 0 or w.access = 'exclusive')
                            and not waiter_is_gone(w.listener, w.seen_at))
              and (h.owner_session = circle_of_waiting.owner_session or h.fencing_token = any (circle_of_waiting.while_holding)
                   or exists (select from mutex_waiter w where w.owner_session = h.owner_session)
                   or exists (select from mutex_waiter w where w.while_holding is not null and w.while_holding @> array[h.fencing_token]))
              and not hold_is_over(h.auto_release_rule, h.auto_release_config, h.expires_at, now_is)
            order by 6 nulls first, 4
        loop
            found_here := null;
            if holder = circle_of_waiting.owner_session or token = any (circle_of_waiting.while_holding) then
                found_here := case when hold_path is null then ', which the one who asks holds'
                                   else format(', of which the one who asks holds %s', hold_path) end;
            elsif token = any (circle_of_waiting.passed) then
                found_here := '';
            elsif token <> all (cleared) and cardinality(circle_of_waiting.passed) < 64 then
                for waits_group, waits_mode, waits_id, waits_access, waits_permits, waits_ticket, waits_parents, waits_children, waits_session in
                    select w.mutex_group, w.mutex_mode, w.mutex_id, w.access, w.permits, w.ticket, w.lock_parents, w.lock_children, w.owner_session
                    from mutex_waiter w
                    where w.owner_session = holder and not waiter_is_gone(w.listener, w.seen_at)
                    union all
                    select w.mutex_group, w.mutex_mode, w.mutex_id, w.access, w.permits, w.ticket, w.lock_parents, w.lock_children, w.owner_session
                    from mutex_waiter w
                    where w.while_holding is not null and w.while_holding @> array[token] and w.owner_session <> holder
                      and not waiter_is_gone(w.listener, w.seen_at)
                    order by 6, 1, 2, 3  -- of several circles always the same is named
                loop
                    select c.cleared, c.circle into cleared, rest
                    from circle_of_waiting(waits_group, waits_mode, waits_id, waits_access, waits_permits, waits_ticket,
                                           waits_parents, waits_children, waits_session, circle_of_waiting.owner_session, circle_of_waiting.own_ticket,
                                           circle_of_waiting.while_holding, circle_of_waiting.passed || token, cleared) c;
                    if rest <> '' then
                        found_here := format(', held by %s, who waits for %s', described, rest);
                        exit;
                    end if;
                    found_here := coalesce(found_here, rest);
                end loop;
                if found_here is null then
                    cleared := cleared || token;
                end if;
            end if;
            if found_here is not null then
                stuck := stuck + 1;
                needs_it_alone := needs_it_alone or holds_permit = 0 or hold_path is not null;
                strictest := least(strictest, holds_permits);
                found_in_line := coalesce(nullif(found_in_line, ''), found_here);
            end if;
            exit when needs_it_alone and found_here <> '';
        end loop;
        if stuck > 0 then
            -- Those before it must get in, too.
            select coalesce(bool_or(w.access = 'exclusive'), false), min(w.permits) into others_alone, others_permits from mutex_waiter w
            where w.mutex_group = line_group and w.mutex_mode = line_mode and w.mutex_id = line_id
              and (before is null or w.ticket < before) and w.owner_session <> circle_of_waiting.owner_session
              and not waiter_is_gone(w.listener, w.seen_at);
            needs_it_alone := needs_it_alone or others_alone;
            strictest := least(strictest, others_permits);
        end if;
        if stuck = 0 or not needs_it_alone and coalesce(stuck < strictest, true) then
            found_in_line := null;
        end if;
        if found_in_line is null
           and exists (select from mutex_waiter w
                       where w.mutex_group = line_group and w.mutex_mode = line_mode
                         and w.owner_session = circle_of_waiting.owner_session and w.ticket = circle_of_waiting.own_ticket
                         and (w.mutex_id = line_id and w.ticket < before
                              or is_path(line_id) and is_path(w.mutex_id)
                                 and exists (select from mutex_waiter later
                                             where later.mutex_group = line_group and later.mutex_mode = line_mode and later.mutex_id = line_id
                                               and later.ticket > w.ticket and later.ticket <= before and takes_turns(w, later)
                                               and not waiter_is_gone(later.listener, later.seen_at)))) then
            found_in_line := ', where the one who asks is before it';
        end if;
        if found_in_line <> '' then
            circle := concat(circle_of_waiting.mutex_group, '/', circle_of_waiting.mutex_mode, '/', circle_of_waiting.mutex_id,
                             ', behind ' || behind || format(', who waits for %s/%s/%s', line_group, line_mode, line_id),
                             found_in_line);
            return;
        end if;
        circle := coalesce(circle, found_in_line);
    end loop;
end
$function$

-- The last step of a migration: takes what is new from everybody, gives those who have a role what is new in it, and gives what the migration has made to the owner of the schema.
CREATE OR REPLACE FUNCTION pgmutex.complete_grants()
 RETURNS void
 LANGUAGE plpgsql
 SET search_path TO 'pgmutex', 'pg_temp'
 SET lock_timeout TO '5s'
AS $function$
declare
    schema_owner oid := (select n.nspowner from pg_namespace n where n.nspname = current_schema());
    object       text;
    granted      record;
begin
    -- PostgreSQL lets everybody call a new function and use a new type, also the one of a table's rows: as long as nobody has granted or
    -- revoked anything about it. Answers need no privilege on their type; functions of a caller's own that take or return it do.
    for object in
        select format('routine %s', p.oid::regprocedure)
        from object_role o join pg_proc p on p.proname = o.name and p.pronamespace = quote_ident(current_schema())::regnamespace
        where o.kind = 'function' and pg_has_role(p.proowner, 'USAGE')
          and exists (select from aclexplode(coalesce(p.proacl, acldefault('f', p.proowner))) a where a.grantee = 0)
        union all
        select format('type %s', t.oid::regtype)
        from object_role o join pg_type t on t.typname = o.name and t.typnamespace = quote_ident(current_schema())::regnamespace
        where o.kind in ('relation', 'type') and pg_has_role(t.typowner, 'USAGE')
          and exists (select from aclexplode(coalesce(t.typacl, acldefault('T', t.typowner))) a where a.grantee = 0)
    loop
        execute format('revoke all on %s from public', object);
    end loop;
    -- A superuser who has migrated, or a member of the owner: functions must run with the owner's rights, not with theirs.
    if schema_owner <> current_user::regrole::oid and may_become(schema_owner)
       and has_schema_privilege(schema_owner, quote_ident(current_schema())::regnamespace, 'CREATE') then
        perform hand_over(pg_get_userbyid(schema_owner), array[current_user::regrole::oid]);
    end if;
    for granted in select r.database_role, r.role from roles r where r.role <> 'owner' loop
        perform grant_objects(granted.database_role, granted.role);
    end loop;
end
$function$

-- Whether the first waiter of a mutex would be let in, as things look now.
CREATE OR REPLACE FUNCTION pgmutex.could_be_captured(mutex_group text, mutex_mode text, mutex_id text, ticket bigint, access text, permits integer, owner_session text, lock_parents boolean, lock_children boolean)
 RETURNS boolean
 LANGUAGE plpgsql
AS $function$
#variable_conflict use_column
declare
    now_is   timestamptz := clock_timestamp();
    holders  bigint;
    strictest integer;
    one_is_exclusive boolean;
    blocker  text;
begin
    if could_be_captured.mutex_group = 'pgmutex.pool' then
        return pool_could_give(could_be_captured.mutex_mode);
    end if;
    select count(*), min(h.permits), coalesce(bool_or(h.permit = 0), false) into holders, strictest, one_is_exclusive from hold h
    where h.mutex_group = could_be_captured.mutex_group and h.mutex_mode = could_be_captured.mutex_mode
      and h.mutex_id = could_be_captured.mutex_id
      and not hold_is_over(h.auto_release_rule, h.auto_release_config, h.expires_at, now_is);
    if could_be_captured.access = 'exclusive' and holders > 0
       or one_is_exclusive or holders >= coalesce(least(strictest, could_be_captured.permits), holders + 1) then
        return false;
    elsif not is_path(could_be_captured.mutex_id) then
        return true;
    end if;
    select i.blocker_id into blocker
    from hold_in_the_way(could_be_captured.mutex_group, could_be_captured.mutex_mode, could_be_captured.mutex_id,
                         could_be_captured.owner_session, could_be_captured.access, false) i;
    if blocker is null then
        select i.waiter_id into blocker
        from waiter_in_the_way(could_be_captured.mutex_group, could_be_captured.mutex_mode, could_be_captured.mutex_id,
                               could_be_captured.ticket, could_be_captured.owner_session, could_be_captured.access,
                               could_be_captured.lock_parents, could_be_captured.lock_children) i;
    end if;
    return blocker is null;
end
$function$

-- The timeline this primary writes.
CREATE OR REPLACE FUNCTION pgmutex.current_timeline()
 RETURNS integer
 LANGUAGE sql
AS $function$
    select ('x' || substr(pg_walfile_name(pg_current_wal_lsn()), 1, 8))::bit(32)::integer
$function$

-- Writes no more events into table audit, which stays, and says whether that is new. Only for the owner of the schema.
CREATE OR REPLACE FUNCTION pgmutex.disable_audit()
 RETURNS boolean
 LANGUAGE plpgsql
 SET search_path TO 'pgmutex', 'pg_temp'
 SET lock_timeout TO '5s'
AS $function$
begin
    if current_setting('transaction_isolation') not in ('read committed', 'read uncommitted') or pg_is_in_recovery() then
        perform refuse_transaction();
    end if;
    if not audit_is_on() then
        return false;
    end if;
    lock table mutex_model in access exclusive mode;
    if not audit_is_on() then
        return false;
    end if;
    drop trigger audit_hold on mutex_model;
    drop trigger audit_change on mutex_model;
    drop trigger audit_truncate on mutex_model;
    return true;
end
$function$

-- Looks at what has to be right around the locks, and says for each subject a verdict (ok, note, warning, problem), what was found, and what to do about it. Changes nothing, and reads only a part of large tables. What lasts longer than patience is reported as old. It shows numbers of processes and names of roles that its owner may see, never their queries.
CREATE OR REPLACE FUNCTION pgmutex.doctor(patience interval DEFAULT '00:05:00'::interval)
 RETURNS TABLE(subject text, verdict text, found text, advice text)
 LANGUAGE plpgsql
 SECURITY DEFINER
 SET search_path TO 'pgmutex', 'pg_temp'
 SET lock_timeout TO '1s'
AS $function$
declare
    look        record;
    judged      text;
    seen        text;
    cure        text;
    -- Of a larger table a sample: many rows that nobody has swept, or a table that nobody has vacuumed, must not make this slow.
    most_bytes  constant numeric := 500 * current_setting('block_size')::numeric;
    holds_share real := 1;
    lines_share real := 1;
begin
    if doctor.patience is null or doctor.patience < interval '0' then
        perform refuse_input('patience must not be null or negative: what lasts longer is reported');
    end if;
    begin
        holds_share := least(100, 100 * most_bytes / greatest(pg_relation_size(to_regclass('mutex_model')), 1));
        lines_share := least(100, 100 * most_bytes / greatest(pg_relation_size(to_regclass('mutex_waiter')), 1));
    exception when lock_not_available then
        null;  -- whoever looks at the table will say so
    end;
    for look in select l.subject, l.query from (values

-- The server ----------------------------------------------------------------------------------------------------------

(10, 'version', $$
    -- https://www.postgresql.org/support/versioning/
    select case when s.version < 13 then 'problem' when e.supported_until < current_date then 'note' else 'ok' end,
           'PostgreSQL ' || current_setting('server_version') || case when e.supported_until < current_date then ', without fixes since ' || e.supported_until else '' end,
           case when s.version < 13 then 'Move to PostgreSQL 13 or later: earlier versions are not supported here.'
                when e.supported_until < current_date then 'Move to a version that the PostgreSQL project still supports.' end
    from (select current_setting('server_version_num')::integer / 10000 as version) s
    left join (values (13, date '2025-11-13'), (14, '2026-11-12'), (15, '2027-11-11'), (16, '2028-11-09'), (17, '2029-11-08'), (18, '2030-11-14'))
        e (version, supported_until) using (version) $$),

(11, 'writing', $$
    select case when pg_is_in_recovery() or current_setting('default_transaction_read_only')::boolean then 'warning' else 'ok' end,
           case when pg_is_in_recovery() then 'this is a standby: locks can be looked at, not captured'
                when current_setting('default_transaction_read_only')::boolean then 'transactions of role ' || session_user || ' are read-only by default'
                else 'this is a primary, and may be written to' end,
           case when pg_is_in_recovery() then 'Connect to the primary: target_session_attrs=read-write.'
                when current_setting('default_transaction_read_only')::boolean
                then format('alter role %I reset default_transaction_read_only; or look at the settings of the database.', session_user) end $$),

(12, 'isolation', $$
    select case when s.level not in ('read committed', 'read uncommitted') then 'warning' when others.names is not null then 'note' else 'ok' end,
           'transactions begin at ' || s.level || coalesce('; at another level for ' || others.names, ''),
           case when s.level not in ('read committed', 'read uncommitted')
                then format('alter role %I set default_transaction_isolation = ''read committed''; until then every call takes more round trips, and from psql fails with PM001 unless the transaction says its level.', session_user)
                when others.names is not null then 'What those roles call from SQL must say: begin isolation level read committed.' end
    from (select current_setting('default_transaction_isolation') as level) s
    cross join (select string_agg(format('role %I', r.rolname), ', ' order by r.rolname) as names
                from (select r.rolname from pg_db_role_setting s
                      join pg_roles r on r.oid = s.setrole and r.rolname <> session_user
                      cross join unnest(s.setconfig) c (setting)
                      where s.setdatabase in (0, (select d.oid from pg_database d where d.datname = current_database()))
                        and c.setting ~ '^default_transaction_isolation=(repeatable read|serializable)$'
                      -- Those set for this very database first.
                      group by r.rolname order by max(s.setdatabase) desc, r.rolname limit 3) r) others $$),

(13, 'commits', $$
    select case when s.setting in ('on', 'remote_apply') then 'ok' else 'note' end,
           'synchronous_commit is ' || s.setting || case when s.setting in ('on', 'remote_apply') then '' else '; captures and refreshes raise it for themselves' end,
           case when s.setting not in ('on', 'remote_apply')
                then 'Nothing needs to be done for the locks. What an application commits behind a fence is only as durable as this setting.' end
    from (select current_setting('synchronous_commit') as setting) s $$),

(14, 'durability', $$
    select case when count(*) > 0 then 'problem' else 'ok' end,
           coalesce(string_agg(w.reason, ', '), 'fsync and full_page_writes are on'),
           case when count(*) > 0 then 'A crash can lose holds and tokens that were acknowledged, or the whole cluster: ' || string_agg(w.cure, ', ') || '.' end
    from (select 'fsync is off' as reason, 'set fsync = on in postgresql.conf' as cure where current_setting('fsync') = 'off'
          union all
          select 'full_page_writes is off', 'set full_page_writes = on in postgresql.conf' where current_setting('full_page_writes') = 'off'
          union all
          select c.relname || ' is unlogged', format('alter table %I.%I set logged', current_schema(), c.relname) from pg_class c
          where c.relnamespace = quote_ident(current_schema())::regnamespace and c.relpersistence = 'u' and c.relname in ('mutex_model', 'pool_session', 'token_generation')) w $$),

(15, 'replication', $$
    select case when s.is_standby or not s.sees and (s.standbys > 0 or s.wanted <> '') then 'note'
                when s.wanted <> '' then case when s.synchronous > 0 then 'ok' else 'problem' end
                when s.standbys > 0 then 'note'
                else 'ok' end,
           case when s.is_standby then 'this is a standby: the primary knows more'
                when s.wanted <> '' and not s.sees then 'synchronous standbys are asked for; whether one is there it is not allowed to see'
                when s.wanted <> '' and s.synchronous > 0 then format('%s of %s standbys synchronous', s.synchronous, s.standbys)
                when s.wanted <> '' then 'synchronous_standby_names is set, and none of them is there: captures wait for it'
                when s.standbys > 0 then format('%s standby(s), none synchronous', s.standbys)
                else 'no standby' end,
           case when s.is_standby then 'Call it on the primary.'
                when s.wanted <> '' and not s.sees then format('grant pg_read_all_stats to %I;', current_user)
                when s.wanted <> '' and s.synchronous = 0 then 'Start the standby, or take it out of synchronous_standby_names.'
                when s.wanted = '' and s.standbys > 0
                then 'After a failover tokens still only grow, but a capture acknowledged just before it may be missing. If that must not be: set synchronous_standby_names.' end
    from (select pg_is_in_recovery() as is_standby, current_setting('synchronous_standby_names') as wanted,
                 pg_has_role(current_user, 'pg_read_all_stats', 'usage') as sees,
                 count(r.pid) filter (where r.application_name is distinct from 'pg_basebackup'
                                        and r.pid not in (select l.active_pid from pg_replication_slots l where l.slot_type = 'logical' and l.active_pid is not null)) as standbys,
                 count(r.pid) filter (where r.sync_state in ('sync', 'quorum')) as synchronous
          from pg_stat_replication r) s $$),

(16, 'lock table', $$
    select case when s.entries < 2000 then 'warning' else 'ok' end,
           format('%s entries; a batch of 1000 mutexes takes 1000, or of paths one for each level', s.entries),
           case when s.entries < 2000 then 'Raise max_locks_per_transaction and restart the server, or keep batches smaller.' end
    from (select current_setting('max_locks_per_transaction')::bigint
                 * (current_setting('max_connections')::bigint + current_setting('max_prepared_transactions')::bigint) as entries) s $$),

(17, 'timeouts', $$
    select case when bool_or(t.hurts) then 'warning' when count(*) > 0 then 'note' else 'ok' end,
           coalesce(string_agg(t.name || ' is ' || current_setting(t.name), ', ' order by t.name), 'none that would end a call or a session'),
           string_agg(t.why, ' ' order by t.name)
    from (select s.name, s.name <> 'idle_session_timeout' as hurts,
                 case s.name when 'idle_session_timeout' then 'idle_session_timeout ends sessions that listen, unless attach_session opened them.'
                             else s.name || ' ends calls that wait their turn, for up to 5 s, behind another decision: set it to 0 or above 6 s.' end as why
          from pg_settings s
          -- All three are kept in milliseconds. lock_timeout is not among them: functions that wait bring their own.
          where s.name = 'idle_session_timeout' and s.setting <> '0'
             or s.name in ('statement_timeout', 'transaction_timeout') and s.setting::bigint between 1 and 6000) t $$),

(18, 'attached holds', $$
    select case when exists (select from pg_settings s where s.name = 'client_connection_check_interval') then 'ok' else 'note' end,
           case when exists (select from pg_settings s where s.name = 'client_connection_check_interval')
                then 'free about 1 s after their process is killed, 10 s after it is cut off'
                else 'free only at the end of its query if their process is killed during one' end,
           case when not exists (select from pg_settings s where s.name = 'client_connection_check_interval')
                then 'PostgreSQL 14 and later notice at once.' end $$),

(19, 'notifications', $$
    select case when s.used > 0.5 then 'problem' when s.used > 0.1 then 'warning' else 'ok' end,
           format('queue %s %% full', round((100 * s.used)::numeric, 1)),
           case when s.used > 0.1 then 'A session that listens is stuck in a transaction; when the queue is full, releases fail. The server''s log names it: end it with pg_terminate_backend.' end
    from (select pg_notification_queue_usage() as used) s $$),

(20, 'encoding', $$
    select case when s.encoding = 'UTF8' then 'ok' when s.encoding = 'SQL_ASCII' then 'warning' else 'note' end,
           'the database is ' || s.encoding,
           case when s.encoding = 'SQL_ASCII' then 'It stores any bytes, which clients may not be able to read: use ASCII in names, or a database in UTF8.'
                when s.encoding <> 'UTF8' then 'Names with other characters are refused (22P05).' end
    from (select current_setting('server_encoding') as encoding) s $$),

-- Tokens --------------------------------------------------------------------------------------------------------------

(30, 'generation', $$
    select case when s.generation is null then 'problem' when s.is_standby then 'note' when s.is_same then 'ok' else 'warning' end,
           case when s.generation is null then 'token_generation is empty: no token can be given'
                when s.is_standby then format('%s; a standby gives no tokens', s.generation)
                when s.is_same then format('%s, of this server', s.generation)
                else format('%s, of another server (system %s, timeline %s)', s.generation, s.system_identifier, s.timeline) end,
           case when s.generation is null then 'Restore its row: generation above that of every token given so far.'
                when not s.is_same and not s.is_standby
                then format('select %I.ensure_generation(); clients that connect do it too. Until then tokens may run back.', current_schema()) end
    from (select g.generation, g.system_identifier, g.timeline, pg_is_in_recovery() as is_standby,
                 case when pg_is_in_recovery() then null
                      else g.timeline = current_timeline() and g.system_identifier = (select c.system_identifier from pg_control_system() c) end as is_same
          from (values (true)) one (row) left join token_generation g on true) s $$),

(31, 'token room', $$
    select case when s.used > 8000000 then 'problem' when s.used > 4000000 then 'warning' else 'ok' end,
           format('%s of 8388607 generations used', s.used),
           case when s.used > 4000000 then 'Find out who raises the generation so often (bump_generation), before none is left; then a new schema is needed.' end
    from (select g.generation + (f.last_value >> 40) as used from token_generation g cross join fencing_token_sequence f) s $$),

-- Vacuum --------------------------------------------------------------------------------------------------------------

(40, 'autovacuum', $$
    select case when s.is_off or s.names is not null then 'warning' else 'ok' end,
           case when s.is_off then 'off for the whole server' when s.names is not null then 'off for ' || s.names else 'on' end,
           case when s.is_off then 'Set autovacuum = on and track_counts = on in postgresql.conf, or vacuum the tables yourself every few minutes.'
                when s.names is not null then s.cures end
    from (select current_setting('autovacuum') = 'off' or current_setting('track_counts') = 'off' as is_off,
                 string_agg(c.relname, ', ' order by c.relname) as names,
                 string_agg(format('alter table %I.%I reset (autovacuum_enabled);', current_schema(), c.relname), ' ' order by c.relname) as cures
          from pg_class c cross join unnest(c.reloptions) o (setting)
          where c.relnamespace = quote_ident(current_schema())::regnamespace and c.relkind = 'r' and o.setting ~* '^autovacuum_enabled=(f|n|of|0)') s $$),

(41, 'dead rows', $$
    select case when bool_or(t.is_much) then 'warning' else 'ok' end,
           string_agg(format('%s %s', t.relname, t.n_dead_tup) || case when t.is_much then coalesce(', vacuumed at ' || date_trunc('second', t.vacuumed), ', never vacuumed') else '' end,
                      '; ' order by t.relname),
           case when bool_or(t.is_much)
                then string_agg(format('vacuum %I.%I;', current_schema(), t.relname), ' ' order by t.relname) filter (where t.is_much)
                     || ' If that does not help, see old snapshots.' end
    from (select s.relname, s.n_dead_tup, greatest(s.last_vacuum, s.last_autovacuum) as vacuumed,
                 s.n_dead_tup > 50000 and s.n_dead_tup > s.n_live_tup as is_much
          from pg_stat_all_tables s
          where s.schemaname = current_schema() and s.relname in ('mutex_model', 'mutex_waiter', 'mutex_listener', 'pool_session')) t $$),

(42, 'old snapshots', $$
    select case when count(o.who) > 0 then 'warning' when h.hidden > 0 then 'note' else 'ok' end,
           case when count(o.who) > 0 then format('%s keep(s) vacuum from removing rows: ', count(o.who)) || (array_agg(o.who order by o.lasts desc))[1]
                when h.hidden > 0 then format('it is not allowed to see those of %s session(s) of other roles', h.hidden)
                else format('none older than %s', $1) end,
           case when count(o.who) > 0 then (array_agg(o.cure order by o.lasts desc))[1] || ' Keep transactions short; idle_in_transaction_session_timeout ends forgotten ones.'
                when h.hidden > 0 then format('grant pg_read_all_stats to %I;', current_user) end
    from (select count(*) as hidden from pg_stat_activity a where a.datname = current_database() and a.query = '<insufficient privilege>') h
    left join (
        select format('process %s of role %I, %s for %s', a.pid, a.usename, coalesce(a.state, a.backend_type), date_trunc('second', clock_timestamp() - a.xact_start)) as who,
               format('select pg_terminate_backend(%s);', a.pid) as cure, clock_timestamp() - a.xact_start as lasts
        from pg_stat_activity a
        where coalesce(a.backend_xmin, a.backend_xid) is not null and a.xact_start <= clock_timestamp() - $1 and a.pid <> pg_backend_pid()
          and (a.datname = current_database() or a.backend_type = 'walsender')
          and a.backend_type <> 'autovacuum worker'
        union all
        select format('transaction %L, prepared %s ago', p.gid, date_trunc('second', clock_timestamp() - p.prepared)),
               format('rollback prepared %L;', p.gid), clock_timestamp() - p.prepared
        from pg_prepared_xacts p where p.database = current_database() and p.prepared <= clock_timestamp() - $1
        union all
        select format('replication slot %I, %s transactions behind', s.slot_name, age(s.xmin)),
               format('Bring its standby back, or select pg_drop_replication_slot(%L);', s.slot_name), interval '0'
        from pg_replication_slots s where age(s.xmin) > 1000000) o on true
    group by h.hidden $$),

-- Locks and lines -----------------------------------------------------------------------------------------------------

(50, 'open transactions', $$
    select case when count(*) filter (where t.lasts >= least($1, interval '30 seconds')) > 0 then 'warning'
                when count(*) filter (where t.lasts is null) > 0 then 'note' else 'ok' end,
           case when count(*) filter (where t.lasts >= least($1, interval '30 seconds')) > 0
                then format('%s keep(s) others from deciding about mutexes: ', count(*) filter (where t.lasts >= least($1, interval '30 seconds')))
                     || (array_agg(format('process %s of role %I, %s for %s', t.pid, t.usename, t.state, date_trunc('second', t.lasts)) order by t.lasts desc nulls last))[1]
                when count(*) filter (where t.lasts is null) > 0
                then format('%s of other roles have locks here; for how long it is not allowed to see', count(*) filter (where t.lasts is null))
                else 'none that keeps mutexes locked for long' end,
           case when count(*) filter (where t.lasts >= least($1, interval '30 seconds')) > 0
                then (array_agg(format('select pg_terminate_backend(%s);', t.pid) order by t.lasts desc nulls last))[1]
                     || ' Capture and release outside of transactions, or in ones that end within a second.'
                when count(*) filter (where t.lasts is null) > 0 then format('grant pg_read_all_stats to %I;', current_user) end
    from (select a.pid, a.usename, a.state, clock_timestamp() - a.xact_start as lasts
          from pg_stat_activity a
          where a.datname = current_database() and a.pid <> pg_backend_pid() and a.backend_type is distinct from 'autovacuum worker'
            -- Whoever has decided in a transaction that is still open has one of these beside the advisory lock, whose number tells nothing.
            and a.pid in (select l.pid from pg_locks l
                          where l.locktype = 'relation' and l.granted and l.mode in ('RowShareLock', 'RowExclusiveLock', 'ShareRowExclusiveLock', 'ExclusiveLock', 'AccessExclusiveLock')
                            and l.database = (select d.oid from pg_database d where d.datname = current_database())
                            and l.relation in ('mutex_model'::regclass, 'mutex_waiter'::regclass, 'pool_session'::regclass))) t $$),

(51, 'holds over', $$
    select case when s.count >= 50000 then 'warning' when s.count >= 1000 then 'note' else 'ok' end,
           format('%s%s over and not swept', case when $2 < 100 then 'about ' else '' end, s.count),
           case when s.count >= 1000 then format('select %I.sweep(); until it answers 0, and from now on regularly, for example from cron.', current_schema()) end
    from (select round((count(*) * 100 / $2)::numeric)::bigint as count
          from (select m.expires_at,
                       case when m.auto_release_rule = 'connection' and m.auto_release_config ~ '^[0-9]{1,18}( [0-9]{1,10})?$' and not pg_is_in_recovery()
                            then split_part(m.auto_release_config, ' ', 1)::bigint end as session
                from mutex_model m tablesample system ($2)) m
          -- Not by asking for the session's lock, as a sweep does: that many locks would fill the lock table.
          where m.expires_at < clock_timestamp()
             or m.session is not null and m.session not in (select l.classid::bigint << 32 | l.objid::bigint from pg_locks l
                                  where l.locktype = 'advisory' and l.objsubid = 1 and l.granted
                                    and l.database = (select d.oid from pg_database d where d.datname = current_database()))) s $$),

(52, 'holds for ever', $$
    select case when s.count > 0 then 'note' else 'ok' end,
           format('%s%s under the rule never, for more than a day', case when $2 < 100 then 'about ' else '' end, s.count),
           case when s.count > 0
                then format('Nothing ends them but release or force_release. See: select * from %I.held where auto_release_rule in ('''', ''never'') order by held_since;', current_schema()) end
    from (select round((count(*) * 100 / $2)::numeric)::bigint as count from mutex_model m tablesample system ($2)
          where m.auto_release_rule in ('', 'never') and m.held_since < clock_timestamp() - interval '1 day') s $$),

(53, 'custom rules', $$
    select case when s.count > 0 then 'note' else 'ok' end,
           case when s.count > 0 then format('%s%s under rules that the database does not know, such as %L', case when $2 < 100 then 'about ' else '' end, s.count, s.example)
                else 'no hold under a rule that the database does not know' end,
           case when s.count > 0 then 'Only clients that know the rule end these holds: make sure that one runs, or release them.' end
    from (select round((count(*) * 100 / $2)::numeric)::bigint as count, left(regexp_replace(min(m.auto_release_rule), '[[:cntrl:]]', ' ', 'g'), 40) as example
          from mutex_model m tablesample system ($2)
          where m.auto_release_rule not in ('', 'never', 'timeout', 'deadline', 'connection')) s $$),

(54, 'waiters', $$
    select case when s.gone > 0 then 'note' else 'ok' end,
           format('%s%s in line, %s of them gone', case when $3 < 100 then 'about ' else '' end, s.count, s.gone),
           case when s.gone > 0 then 'Their processes have not asked for 15 s. They are passed and removed when their turn comes: nothing needs to be done.' end
    from (select round((count(*) * 100 / $3)::numeric)::bigint as count,
                 round((count(*) filter (where case when w.listener is null then w.seen_at else coalesce(l.seen_at, '-infinity') end
                                               < clock_timestamp() - interval '15 seconds') * 100 / $3)::numeric)::bigint as gone
          from mutex_waiter w tablesample system ($3)
          left join mutex_listener l on l.listener = w.listener) s $$),

-- The schema ----------------------------------------------------------------------------------------------------------

(60, 'triggers', $$
    select case when bool_or(t.is_ours) then 'problem' when count(*) > 0 then 'warning' else 'ok' end,
           coalesce(string_agg(t.name || case when t.is_ours then ' is missing or disabled' else ' of another program' end, ', ' order by not t.is_ours, t.name),
                    'none of another program'),
           case when bool_or(t.is_ours) then 'alter table ... enable trigger, or make it again as the migrations do: sessions of pools do not come back without.'
                when count(*) > 0 then 'Make sure that it neither changes nor refuses rows of these tables, and is quick: it runs while others wait.' end
    from (select format('%I on %s', o.name, o.relation) as name, true as is_ours
          from (values ('pool_session_is_written', 'pool_session'), ('session_comes_back', 'pool_session'),
                       ('lease_has_ended', 'mutex_model'), ('lease_has_changed', 'mutex_model'), ('hold_ends_earlier', 'mutex_model')) o (name, relation)
          where not exists (select from pg_trigger g where g.tgrelid = to_regclass(o.relation) and g.tgname = o.name and g.tgenabled in ('O', 'A'))
          union all
          select format('%I on %s', g.tgname, c.relname), false
          from pg_trigger g join pg_class c on c.oid = g.tgrelid join pg_proc p on p.oid = g.tgfoid
          where c.relnamespace = quote_ident(current_schema())::regnamespace and c.relname in ('mutex_model', 'mutex_waiter', 'mutex_listener', 'pool_session', 'token_generation')
            and not g.tgisinternal and p.pronamespace <> quote_ident(current_schema())::regnamespace) t $$),

(61, 'indexes', $$
    select case when bool_or(i.is_missing) then 'problem' when count(*) > 0 then 'warning' else 'ok' end,
           coalesce(string_agg(i.name || i.what, ', ' order by not i.is_missing, i.name), 'all there and valid'),
           string_agg(i.cure, ' ' order by not i.is_missing, i.name)
    from (select o.name, ' is missing' as what, true as is_missing, 'Make ' || o.name || ' again as the migrations do.' as cure
          from unnest('{token_generation_pkey,mutex_model_pkey,mutex_model_owner_session,mutex_model_lock_parents,
                        mutex_model_sweep_at,mutex_model_connection,
                        mutex_listener_pkey,mutex_waiter_pkey,mutex_waiter_owner_session,mutex_waiter_listener,mutex_waiter_while_holding,
                        pool_session_pkey,pool_session_ready,pool_session_due,pool_session_leased,pool_session_request}'::text[]) o (name)
          where not exists (select from pg_class c where c.relnamespace = quote_ident(current_schema())::regnamespace and c.relname = o.name and c.relkind = 'i')
          union all
          select c.relname, ' is invalid', false, format('reindex index %I.%I;', current_schema(), c.relname)
          from pg_index x join pg_class c on c.oid = x.indexrelid
          where c.relnamespace = quote_ident(current_schema())::regnamespace and not (x.indisvalid and x.indisready)
          union all
          select c.relname, ' makes every heartbeat write it', false, format('drop index %I.%I; or leave out the columns captured_since, expires_at and status_data.', current_schema(), c.relname)
          from pg_index x join pg_class c on c.oid = x.indexrelid
          where x.indrelid = to_regclass('mutex_model') and pg_get_indexdef(x.indexrelid) ~ '\m(captured_since|expires_at|status_data)\M') i $$),

(62, 'views', $$
    select case when count(*) > 0 then 'problem' else 'ok' end,
           coalesce('missing: ' || string_agg(m.name, ', ' order by m.name), 'complete'),
           case when count(*) > 0 then 'Make them again as the migrations do: the functions read through them.' end
    from (select v.name || '.' || c.name as name
          from (values ('hold', '{mutex_group,mutex_mode,mutex_id,permit,permits,owner_session,owner_host,owner_id,owner_login,owner_name,auto_release_rule,auto_release_config,captured_since,status_data,fencing_token,held_since,expires_at,lock_parents,lock_children}'::text[]),
                       ('held', '{mutex_group,mutex_mode,mutex_id,permit,permits,owner_session,owner_host,owner_id,owner_login,owner_name,auto_release_rule,auto_release_config,status_data,fencing_token,held_since,captured_since,expires_at,lock_parents,lock_children,held_for,time_left}'),
                       ('waiting', '{mutex_group,mutex_mode,mutex_id,place,access,permits,owner_session,owner_host,owner_id,owner_login,owner_name,behind_owner_session,behind_owner_name,queued_since,waiting_for,ticket,while_holding,listener,seen_at,lock_parents,lock_children}')) v (name, columns)
          cross join unnest(v.columns) c (name)
          where not exists (select from pg_attribute a where a.attrelid = to_regclass(v.name) and a.attname = c.name and not a.attisdropped)) m $$),

(63, 'public rights', $$
    select case when count(*) > 0 then 'warning' else 'ok' end,
           case when count(*) > 0 then format('everybody may use %s', (array_agg(p.name order by p.name))[1]) || case when count(*) > 1 then format(' and %s more', count(*) - 1) else '' end
                else 'none' end,
           case when count(*) > 0
                then replace('revoke all on schema S from public; revoke all on all functions in schema S from public; revoke all on all tables in schema S from public;',
                             'S', quote_ident(current_schema())) end
    from (select 'schema ' || n.nspname as name, n.nspacl as acl from pg_namespace n where n.nspname = current_schema()
          union all
          -- Those of another program are its own business.
          select 'function ' || p.proname, coalesce(p.proacl, acldefault('f', p.proowner)) from pg_proc p join pg_namespace n on n.oid = p.pronamespace and n.nspowner = p.proowner
          where n.nspname = current_schema()
          union all
          select c.relname, c.relacl from pg_class c where c.relnamespace = quote_ident(current_schema())::regnamespace and c.relkind in ('r', 'v', 'p', 'S')) p
    where exists (select from aclexplode(p.acl) a where a.grantee = 0) $$),

(64, 'schema rights', $$
    select case when count(*) > 0 then 'problem' else 'ok' end,
           case when count(*) > 0 then 'objects can be made in the schema by ' || string_agg(g.name, ', ' order by g.name) else 'only its owner makes objects in it' end,
           case when count(*) > 0 then 'A function made there could run with the rights of its owner: '
                                       || string_agg(format('revoke create on schema %I from %s;', current_schema(), g.name), ' ' order by g.name) end
    from (select distinct case when a.grantee = 0 then 'public' else quote_ident(pg_get_userbyid(a.grantee)) end as name
          from pg_namespace n cross join aclexplode(n.nspacl) a
          where n.nspname = current_schema() and a.privilege_type = 'CREATE' and a.grantee <> n.nspowner) g $$),

(65, 'owner', $$
    select case when r.rolsuper or s.strangers > 0 then 'note' else 'ok' end,
           format('role %I', r.rolname) || case when r.rolsuper then ', a superuser' else '' end
               || case when s.strangers > 0 then format('; %s function(s) belong to another', s.strangers) else '' end,
           case when r.rolsuper then format('The functions run with its rights. Safer: make a plain role, alter schema %I owner to it, and so with all in it.', current_schema())
                when s.strangers > 0 then format('alter function ... owner to %I; or drop what does not belong here.', r.rolname) end
    from pg_namespace n join pg_roles r on r.oid = n.nspowner
    cross join lateral (select count(*) as strangers from pg_proc p where p.pronamespace = n.oid and p.proowner <> n.nspowner) s
    where n.nspname = current_schema() $$)

    ) l (place, subject, query) order by l.place
    loop
        begin
            execute look.query into strict judged, seen, cure using doctor.patience, holds_share, lines_share;
            return query select look.subject, judged, seen, cure;
        exception
            when insufficient_privilege then
                return query select look.subject, 'note', 'not allowed to see: ' || sqlerrm, format('Let its owner, role %I, see it.', current_user);
            -- Before the class that it is of.
            when lock_not_available then
                return query select look.subject, 'warning', 'another transaction keeps a whole table locked', 'Find it in pg_locks, and wait for its end or end it.'::text;
            when feature_not_supported or object_not_in_prerequisite_state then
                return query select look.subject, 'note', 'cannot be seen here: ' || sqlerrm, 'Call it on the primary.'::text;
            when others then
                return query select look.subject, 'problem', 'cannot be looked at: ' || sqlerrm, 'Something of the schema is not as the migrations left it.'::text;
        end;
    end loop;
end
$function$

-- A document with one value set, or taken away if it is null.
CREATE OR REPLACE FUNCTION pgmutex.document_with(document jsonb, path text[], value jsonb)
 RETURNS jsonb
 LANGUAGE plpgsql
AS $function$
declare
    child jsonb := document -> path[1];
begin
    if jsonb_typeof(document) <> 'object' then
        perform refuse_input(format('a path leads through a value that is no object, before the name %L', path[1]));
    elsif cardinality(path) = 1 then
        return case when value is null then document - path[1] else document || jsonb_build_object(path[1], value) end;
    elsif child is null and value is null then
        return document;
    end if;
    return document || jsonb_build_object(path[1], document_with(coalesce(child, '{}'), path[2:], value));
end
$function$

-- The next fencing token, for the functions of this schema.
CREATE OR REPLACE FUNCTION pgmutex.draw_fencing_token()
 RETURNS bigint
 LANGUAGE plpgsql
AS $function$
declare
    current_generation bigint;
begin
    select t.generation into current_generation from token_generation t where t.timeline = current_timeline();
    if not found then
        current_generation := ensure_generation();
    end if;
    return (current_generation << 40) + nextval('fencing_token_sequence');
end
$function$

-- Has every beginning and end of a hold written into table audit from now on, and says whether that is new. Waits up to 2 seconds for transactions that have captured something. Only for the owner of the schema.
CREATE OR REPLACE FUNCTION pgmutex.enable_audit()
 RETURNS boolean
 LANGUAGE plpgsql
 SET search_path TO 'pgmutex', 'pg_temp'
 SET lock_timeout TO '2s'
AS $function$
begin
    if current_setting('transaction_isolation') not in ('read committed', 'read uncommitted') or pg_is_in_recovery() then
        perform refuse_transaction();
    end if;
    if audit_is_on() then
        return false;
    end if;
    -- Against row locks, too: whoever has locked a hold that it removes has seen that there is no audit.
    lock table mutex_model in exclusive mode;
    if audit_is_on() then
        return false;
    end if;
    -- Whatever is older than a retention is left to a call that says one.
    perform keep_audit('1000 years');
    create trigger audit_hold after insert or delete on mutex_model
    for each row execute function write_audit();
    -- No refresh writes these columns.
    create trigger audit_change after update of mutex_group, mutex_mode, mutex_id, permit, owner_session, fencing_token on mutex_model
    for each row when ((old.mutex_group, old.mutex_mode, old.mutex_id, old.permit, old.owner_session, old.fencing_token)
                       is distinct from (new.mutex_group, new.mutex_mode, new.mutex_id, new.permit, new.owner_session, new.fencing_token))
    execute function write_audit();
    create trigger audit_truncate before truncate on mutex_model
    for each statement execute function write_audit();
    return true;
end
$function$

-- Where the range of all that begins with a path ends.
CREATE OR REPLACE FUNCTION pgmutex.end_of_path(mutex_id text)
 RETURNS text
 LANGUAGE sql
 IMMUTABLE PARALLEL SAFE
AS $function$ select left(mutex_id, -1) || '0' $function$

-- Raises the generation of fencing tokens if this is not the server that gave the last ones. Clients call it when they connect and migrate.
CREATE OR REPLACE FUNCTION pgmutex.ensure_generation()
 RETURNS bigint
 LANGUAGE plpgsql
 SECURITY DEFINER
 SET search_path TO 'pgmutex', 'pg_temp'
 SET lock_timeout TO '5s'
 SET enable_seqscan TO 'off'
 SET jit TO 'off'
AS $function$
declare
    seen_timeline integer;
    seen_system   bigint := (select control.system_identifier from pg_control_system() control);
    current_generation bigint;
begin
    if pg_is_in_recovery() then
        perform refuse_transaction();
    end if;
    seen_timeline := current_timeline();
    select t.generation into current_generation from token_generation t
    where t.timeline = seen_timeline and t.system_identifier = seen_system;
    if not found then
        -- Whoever comes second waits here for the first and then finds the row already right.
        perform 1 from token_generation t for update;
        select t.generation into current_generation from token_generation t
        where t.timeline = seen_timeline and t.system_identifier = seen_system;
        if not found then
            current_generation := bump_generation();
        end if;
    end if;
    return current_generation;
end
$function$

-- Removes one hold under a custom rule, for a client that knows the rule and has found it over: exactly the hold with this token, and only if its rule is not one that the database judges itself. Outcome: released, not_held or busy.
CREATE OR REPLACE FUNCTION pgmutex.evict(mutex_group text, mutex_mode text, mutex_id text, fencing_token bigint)
 RETURNS pgmutex.hold_outcome
 LANGUAGE plpgsql
 SECURITY DEFINER
 SET search_path TO 'pgmutex', 'pg_temp'
 SET lock_timeout TO '5s'
 SET enable_seqscan TO 'off'
 SET jit TO 'off'
AS $function$
begin
    perform check_call(evict.mutex_group, evict.mutex_mode, evict.mutex_id, 'evict');
    if evict.fencing_token is null then
        perform refuse_input('fencing_token must not be null: it says which hold was judged');
    end if;
    return remove_hold(evict.mutex_group, evict.mutex_mode, evict.mutex_id, evict.fencing_token, 'evicted');
end
$function$

-- Removes a hold that is over, as it was seen; false if it stays, because it was refreshed or a write behind its fence is under way.
CREATE OR REPLACE FUNCTION pgmutex.evict_hold(mutex_group text, mutex_mode text, mutex_id text, permit integer, fencing_token bigint, captured_since timestamp with time zone, is_above boolean)
 RETURNS boolean
 LANGUAGE plpgsql
AS $function$
#variable_conflict use_column
begin
    for attempt in 1..2 loop
        perform 1 from hold h
        where h.mutex_group = evict_hold.mutex_group and h.mutex_mode = evict_hold.mutex_mode and h.mutex_id = evict_hold.mutex_id
          and h.permit = evict_hold.permit and h.fencing_token = evict_hold.fencing_token
          and h.captured_since = evict_hold.captured_since  -- not refreshed since
        for update skip locked;
        if found then
            delete from hold h
            where h.mutex_group = evict_hold.mutex_group and h.mutex_mode = evict_hold.mutex_mode and h.mutex_id = evict_hold.mutex_id
              and h.permit = evict_hold.permit;
            return found;
        end if;
        exit when attempt = 2 or not evict_hold.is_above;
        perform 1 from hold h
        where h.mutex_group = evict_hold.mutex_group and h.mutex_mode = evict_hold.mutex_mode and h.mutex_id = evict_hold.mutex_id
          and h.permit = evict_hold.permit and h.fencing_token = evict_hold.fencing_token
        for no key update;
        if not found then
            return true;
        end if;
    end loop;
    return false;
end
$function$

-- Called inside the transaction that writes what the mutex protects: raises PM005 if the hold with this token is over or gone; else nobody can capture the mutex until this transaction ends.
CREATE OR REPLACE FUNCTION pgmutex.fence(mutex_group text, mutex_mode text, mutex_id text, fencing_token bigint)
 RETURNS void
 LANGUAGE plpgsql
 SECURITY DEFINER
 SET search_path TO 'pgmutex', 'pg_temp'
 SET lock_timeout TO '5s'
 SET enable_seqscan TO 'off'
 SET jit TO 'off'
AS $function$
#variable_conflict use_column
declare
    rule    text;
    config  text;
    ends_at timestamptz;
begin
    if fence.mutex_group is null or fence.mutex_mode is null or fence.mutex_id is null or fence.fencing_token is null then
        perform refuse_input('mutex_group, mutex_mode, mutex_id and fencing_token must not be null');
    end if;
    select h.auto_release_rule, h.auto_release_config, h.expires_at into rule, config, ends_at from hold h
    where h.mutex_group = fence.mutex_group and h.mutex_mode = fence.mutex_mode and h.mutex_id = fence.mutex_id
      and h.fencing_token = fence.fencing_token
    for key share;
    -- The clock is read when the row is locked: the wait for it counts.
    if not found or hold_is_over(rule, config, ends_at, clock_timestamp()) then
        raise exception using errcode = 'PM005',
            message = format('mutex %s/%s/%s is no longer held under token %s',
                             fence.mutex_group, fence.mutex_mode, fence.mutex_id, fence.fencing_token),
            hint = 'Roll back: another may hold it by now. Nothing of this transaction must be kept.';
    end if;
end
$function$

-- The ticket of the first waiter of a mutex that is still there, among those before a ticket if one is given; dead ones are removed.
CREATE OR REPLACE FUNCTION pgmutex.first_in_line(mutex_group text, mutex_mode text, mutex_id text, before_ticket bigint, is_hint boolean DEFAULT false)
 RETURNS bigint
 LANGUAGE plpgsql
AS $function$
#variable_conflict use_column
declare
    passed_ticket bigint := -9223372036854775808;
    head_ticket   bigint;
    head_listener bigint;
    head_seen_at  timestamptz;
begin
    loop
        select w.ticket, w.listener, w.seen_at into head_ticket, head_listener, head_seen_at from mutex_waiter w
        where w.mutex_group = first_in_line.mutex_group and w.mutex_mode = first_in_line.mutex_mode and w.mutex_id = first_in_line.mutex_id
          and (first_in_line.before_ticket is null or w.ticket < first_in_line.before_ticket)
          and w.ticket > passed_ticket
        order by w.ticket
        limit 1;
        if not found then
            return null;
        elsif not waiter_is_gone(head_listener, head_seen_at) then
            return head_ticket;
        end if;
        if first_in_line.is_hint then
            passed_ticket := head_ticket;
            perform 1 from mutex_waiter w
            where w.mutex_group = first_in_line.mutex_group and w.mutex_mode = first_in_line.mutex_mode and w.mutex_id = first_in_line.mutex_id
              and w.ticket = head_ticket and w.listener is not distinct from head_listener
            for update skip locked;
            continue when not found;
            delete from mutex_waiter w
            where w.mutex_group = first_in_line.mutex_group and w.mutex_mode = first_in_line.mutex_mode and w.mutex_id = first_in_line.mutex_id
              and w.ticket = head_ticket;
            continue;
        end if;
        delete from mutex_waiter w
        where w.mutex_group = first_in_line.mutex_group and w.mutex_mode = first_in_line.mutex_mode and w.mutex_id = first_in_line.mutex_id
          and (w.ticket = head_ticket and w.listener is not distinct from head_listener  -- it has not gone over to another session
               or w.listener = head_listener
               or head_listener is null and w.listener is null and waiter_is_gone(null, w.seen_at));
    end loop;
end
$function$

-- Takes a mutex away from whoever holds it, all of them if it is shared, and writes who did so and why to the server's log. Outcome: released (the row is the hold that was, or the first of them), not_held, or busy (a fenced write of a holder is under way; the holds before it are gone). With fencing_token, only that very hold.
CREATE OR REPLACE FUNCTION pgmutex.force_release(mutex_group text, mutex_mode text, mutex_id text, reason text DEFAULT NULL::text, fencing_token bigint DEFAULT NULL::bigint)
 RETURNS pgmutex.hold_outcome
 LANGUAGE plpgsql
 SECURITY DEFINER
 SET search_path TO 'pgmutex', 'pg_temp'
 SET lock_timeout TO '5s'
 SET enable_seqscan TO 'off'
 SET jit TO 'off'
AS $function$
declare
    answer hold_outcome;
    first  hold_outcome;
begin
    perform check_call(force_release.mutex_group, force_release.mutex_mode, force_release.mutex_id, 'force_release');
    perform check_text('reason', force_release.reason, 1600);
    loop
        answer := remove_hold(force_release.mutex_group, force_release.mutex_mode, force_release.mutex_id, force_release.fencing_token,
                              concat_ws(' ', 'forced', force_release.reason));
        exit when answer.outcome <> 'released';
        -- On one line, whatever the names and the reason contain: a line of the log must not be forged.
        raise log using message = regexp_replace(format(
            'pgmutex: %L forced the release of %L/%L/%L, held by %s with token %s since %s; reason: %L',
            session_user, answer.mutex_group, answer.mutex_mode, answer.mutex_id,
            owner_in_words(answer.owner_name, answer.owner_login, answer.owner_session), answer.fencing_token, answer.held_since, force_release.reason), '[[:cntrl:]]', ' ', 'g');
        if first.outcome is null then
            first := answer;
        end if;
    end loop;
    if answer.outcome = 'not_held' and first.outcome is not null then
        return first;
    end if;
    return answer;
end
$function$

-- Used by grant_role and complete_grants: grants everything that belongs to a role, and marks it.
CREATE OR REPLACE FUNCTION pgmutex.grant_objects(database_role name, role text)
 RETURNS void
 LANGUAGE plpgsql
 SET search_path TO 'pgmutex', 'pg_temp'
AS $function$
declare
    granted record;
begin
    for granted in select o.privilege, o.object from role_objects(grant_objects.role) o loop
        execute format('grant %s on %s to %I', granted.privilege, granted.object, grant_objects.database_role);
    end loop;
    execute format('grant select (%I) on role_mark to %I', grant_objects.role, grant_objects.database_role);
end
$function$

-- Gives a database role that is there one of the roles of this schema: reader (the views, without secrets), application (the functions that use locks and pools), admin (beside them force_release, bump_generation and the indexes of pools), or owner: the schema and what is ours in it are handed over, to be migrated by that role from now on. Instead of the role that it had, if any. Granting it again is harmless. Only the owner may call this; to hand over, it must be a member of the new owner and be allowed to create schemas in the database.
CREATE OR REPLACE FUNCTION pgmutex.grant_role(database_role name, role text)
 RETURNS void
 LANGUAGE plpgsql
 SET search_path TO 'pgmutex', 'pg_temp'
 SET lock_timeout TO '5s'
AS $function$
#variable_conflict use_column
declare
    schema_owner oid := (select n.nspowner from pg_namespace n where n.nspname = current_schema());
    new_owner    oid;
    other        text;
begin
    perform check_granting(grant_role.database_role, grant_role.role);
    select r.oid into new_owner from pg_roles r where r.rolname = grant_role.database_role;
    if grant_role.role <> 'owner' then
        if new_owner = schema_owner then
            perform refuse_input(format('%I owns the schema and may do everything; grant the role owner to another first', grant_role.database_role));
        end if;
        for other in select m.role from roles m where m.database_role = grant_role.database_role and m.role <> grant_role.role loop
            perform revoke_objects(grant_role.database_role, other, grant_role.role);
        end loop;
        perform grant_objects(grant_role.database_role, grant_role.role);
        return;
    end if;

    if not may_become(new_owner) then
        raise insufficient_privilege using message = format(
            'to hand schema %1$I over to %2$I, %3$I must be a member of it: have somebody who may do so run: grant %2$I to %3$I',
            current_schema(), grant_role.database_role, current_user);
    elsif new_owner <> schema_owner and not has_database_privilege(current_database(), 'CREATE') then
        raise insufficient_privilege using message = format(
            'to hand schema %I over, %2$I must be allowed to create schemas in this database: have its owner run: grant create on database %3$I to %2$I',
            current_schema(), current_user, current_database());
    end if;
    for other in select m.role from roles m where m.database_role = grant_role.database_role and m.role <> 'owner' loop
        perform revoke_objects(grant_role.database_role, other, null);
    end loop;
    -- The schema last: until then its old owner finds the objects, and the new one is allowed to have them.
    execute format('grant usage, create on schema %I to %I', current_schema(), grant_role.database_role);
    perform hand_over(grant_role.database_role, array[schema_owner, current_user::regrole::oid]);
    execute format('alter schema %I owner to %I', current_schema(), grant_role.database_role);
end
$function$

-- Used by grant_role and complete_grants; makes what is ours and belongs to these roles belong to another.
CREATE OR REPLACE FUNCTION pgmutex.hand_over(new_owner name, old_owners oid[])
 RETURNS void
 LANGUAGE plpgsql
 SET search_path TO 'pgmutex', 'pg_temp'
 SET lock_timeout TO '5s'
AS $function$
declare
    objects   text[];
    object    text;
    m3_schema name;
begin
    select n.nspname into m3_schema
    from pg_class c join pg_namespace n on n.oid = c.relnamespace
    where c.relname = 'm3_mutex' and c.relkind = 'v' and c.relowner = any (hand_over.old_owners) and is_m3_mutex_view(c.oid)
      and not has_schema_privilege(hand_over.new_owner, n.oid, 'CREATE')
      and not (select r.rolsuper from pg_roles r where r.rolname = current_user);
    if found then
        raise insufficient_privilege using message = format(
            'to hand view %1$I.m3_mutex over to %2$I, it must be allowed to create objects there: have the owner of schema %1$I run: '
            'grant create on schema %1$I to %2$I (it can be revoked afterwards), or call uninstall_m3_mutex(%3$L) first',
            m3_schema, hand_over.new_owner, m3_schema);
    end if;
    -- All of them before the first is handed over: a table that is being read does not change hands.
    objects := array(
        -- Each once: a partition is among the parts of its table, too. The sequence of an identity column and the type of a table's rows follow their table.
        select format('%s %s', case c.relkind when 'v' then 'view' when 'm' then 'materialized view' when 'S' then 'sequence' else 'table' end,
                      c.oid::regclass)
        from object_role o
        join pg_class ours on ours.relname = o.name and ours.relnamespace = quote_ident(current_schema())::regnamespace
        join pg_class c on c.oid = ours.oid or ours.relkind = 'p' and c.oid in (select t.relid from pg_partition_tree(ours.oid) t)
        where o.kind = 'relation' and c.relkind in ('r', 'p', 'v', 'm', 'S') and c.relowner = any (hand_over.old_owners)
          and not (c.relkind = 'S' and exists (select from pg_depend d
                                               where d.classid = 'pg_class'::regclass and d.objid = c.oid
                                                 and d.refclassid = 'pg_class'::regclass and d.deptype in ('a', 'i')))
        union
        -- What stands in for another program's table reads ours with the rights of its owner.
        select format('view %s', c.oid::regclass)
        from pg_class c
        where c.relname = 'm3_mutex' and c.relkind = 'v' and c.relowner = any (hand_over.old_owners)
          and is_m3_mutex_view(c.oid)
        union
        select format('type %s', t.oid::regtype)
        from object_role o join pg_type t on t.typname = o.name and t.typnamespace = quote_ident(current_schema())::regnamespace
        where o.kind = 'type' and t.typowner = any (hand_over.old_owners)
        union
        select format('routine %s', p.oid::regprocedure)
        from object_role o join pg_proc p on p.proname = o.name and p.pronamespace = quote_ident(current_schema())::regnamespace
        where o.kind = 'function' and p.proowner = any (hand_over.old_owners));
    foreach object in array objects loop
        execute format('alter %s owner to %I', object, hand_over.new_owner);
    end loop;
end
$function$

-- Trigger: has a sweep look at a hold in time that now ends earlier than before.
CREATE OR REPLACE FUNCTION pgmutex.hold_ends_earlier()
 RETURNS trigger
 LANGUAGE plpgsql
 SECURITY DEFINER
 SET search_path TO 'pgmutex', 'pg_temp'
 SET enable_seqscan TO 'off'
 SET jit TO 'off'
AS $function$
begin
    update mutex_model h set sweep_at = new.expires_at
    where h.mutex_group = new.mutex_group and h.mutex_mode = new.mutex_mode and h.mutex_id = new.mutex_id and h.permit = new.permit;
    return null;
end
$function$

-- The first hold above a path that locks its children, or below it that locks its parents.
CREATE OR REPLACE FUNCTION pgmutex.hold_in_the_way(mutex_group text, mutex_mode text, mutex_id text, owner_session text, access text, evict boolean, OUT blocker_id text, OUT blocker_permit integer, OUT blocker_ends_at timestamp with time zone, OUT blocker_rule text, OUT freed text, OUT evicted_owner_session text, OUT evicted_owner_name text, OUT evicted_fencing_token bigint)
 RETURNS record
 LANGUAGE plpgsql
AS $function$
#variable_conflict use_column
declare
    now_is  timestamptz := clock_timestamp();
    above   text;
    current record;
begin
    foreach above in array paths_above(hold_in_the_way.mutex_id) loop
        for current in
            select h.permit, h.fencing_token, h.captured_since, h.owner_session, h.owner_name,
                   h.auto_release_rule, h.auto_release_config, h.expires_at
            from hold h
            where h.mutex_group = hold_in_the_way.mutex_group and h.mutex_mode = hold_in_the_way.mutex_mode and h.mutex_id = above
              and h.lock_children and h.owner_session <> hold_in_the_way.owner_session
              and (h.permit = 0 or hold_in_the_way.access = 'exclusive')
            order by h.permit
        loop
            if hold_is_over(current.auto_release_rule, current.auto_release_config, current.expires_at, now_is) then
                continue when not hold_in_the_way.evict;
                if evict_hold(hold_in_the_way.mutex_group, hold_in_the_way.mutex_mode, above, current.permit, current.fencing_token,
                              current.captured_since, true) then
                    if freed is null then
                        freed := above;
                        evicted_owner_session := current.owner_session;
                        evicted_owner_name := current.owner_name;
                        evicted_fencing_token := current.fencing_token;
                    end if;
                    continue;
                end if;
            end if;
            blocker_id := above;
            blocker_permit := current.permit;
            blocker_ends_at := current.expires_at;
            blocker_rule := current.auto_release_rule;
            return;
        end loop;
    end loop;

    for current in
        select h.mutex_id, h.permit, h.fencing_token, h.captured_since, h.owner_session, h.owner_name,
               h.auto_release_rule, h.auto_release_config, h.expires_at
        from hold h
        where h.mutex_group = hold_in_the_way.mutex_group and h.mutex_mode = hold_in_the_way.mutex_mode
          and h.mutex_id > hold_in_the_way.mutex_id and h.mutex_id < end_of_path(hold_in_the_way.mutex_id)
          and h.lock_parents and h.owner_session <> hold_in_the_way.owner_session
          and (h.permit = 0 or hold_in_the_way.access = 'exclusive')
        order by h.mutex_id, h.permit
    loop
        if hold_is_over(current.auto_release_rule, current.auto_release_config, current.expires_at, now_is) then
            continue when not hold_in_the_way.evict;
            if evict_hold(hold_in_the_way.mutex_group, hold_in_the_way.mutex_mode, current.mutex_id, current.permit, current.fencing_token,
                          current.captured_since, false) then
                if freed is null then
                    freed := hold_in_the_way.mutex_id;
                    evicted_owner_session := current.owner_session;
                    evicted_owner_name := current.owner_name;
                    evicted_fencing_token := current.fencing_token;
                end if;
                continue;
            end if;
        end if;
        blocker_id := current.mutex_id;
        blocker_permit := current.permit;
        blocker_ends_at := current.expires_at;
        blocker_rule := current.auto_release_rule;
        return;
    end loop;
end
$function$

-- Whether the rule of a hold has ended it.
CREATE OR REPLACE FUNCTION pgmutex.hold_is_over(rule text, config text, expires_at timestamp with time zone, at_time timestamp with time zone)
 RETURNS boolean
 LANGUAGE sql
AS $function$ select coalesce(expires_at < at_time, false) or coalesce(rule = 'connection' and session_is_gone(config), false) $function$

-- Whether a row of mutex_model is within its limits: raises check_violation with the name of the limit that is broken.
CREATE OR REPLACE FUNCTION pgmutex.hold_is_within_limits(mutex_group text, mutex_mode text, mutex_id text, owner_session text, owner_host text, owner_id text, owner_login text, owner_name text, auto_release_rule text, auto_release_config text, status_data text, permit integer, permits integer, lock_parents boolean, lock_children boolean)
 RETURNS boolean
 LANGUAGE plpgsql
 IMMUTABLE PARALLEL SAFE
AS $function$
declare
    limit_broken text;
begin
    -- All texts together within the smallest of the limits: each is. (What is null makes this null, and is looked at below.)
    if octet_length(mutex_group || mutex_mode || mutex_id || owner_session || owner_host || owner_id || owner_login || owner_name
                    || auto_release_rule || auto_release_config || coalesce(status_data, '')) <= 400
       and mutex_group || mutex_mode || mutex_id <> '' and permit = 0 and permits is null and not lock_parents and not lock_children then
        return true;
    end if;
    limit_broken := case
        when mutex_group = '' and mutex_mode = '' and mutex_id = '' then 'mutex_is_named'
        -- Together the key columns stay below the 2,704 bytes that an index entry can hold.
        when octet_length(mutex_group) > 400 then 'mutex_group_at_most_400_bytes'
        when octet_length(mutex_mode) > 400 then 'mutex_mode_at_most_400_bytes'
        when octet_length(mutex_id) > 1600 then 'mutex_id_at_most_1600_bytes'
        when octet_length(owner_session) > 400 then 'owner_session_at_most_400_bytes'
        when octet_length(owner_host) > 1600 then 'owner_host_at_most_1600_bytes'
        when octet_length(owner_id) > 400 then 'owner_id_at_most_400_bytes'
        when octet_length(owner_login) > 400 then 'owner_login_at_most_400_bytes'
        when octet_length(owner_name) > 400 then 'owner_name_at_most_400_bytes'
        when octet_length(auto_release_rule) > 400 then 'auto_release_rule_at_most_400_bytes'
        when octet_length(auto_release_config) > 1600 then 'auto_release_config_at_most_1600_bytes'
        when octet_length(status_data) > 65536 then 'status_data_at_most_65536_bytes'
        when permit < 0 then 'permit_is_0_or_a_number'
        when permits is not null and permit not between 1 and permits then 'permit_is_one_of_the_permits'
        when (lock_parents or lock_children) and not (left(mutex_id, 1) = '/' and right(mutex_id, 1) = '/')
            then 'lock_parents_and_lock_children_go_with_a_path'
    end;
    if limit_broken is not null then
        raise exception using errcode = 'check_violation', table = 'mutex_model', constraint = limit_broken,
            message = format('new row for relation "mutex_model" violates check constraint "%s"', limit_broken);
    end if;
    return true;
end
$function$

-- Whether a capture would be refused, as things look now: outcome free, or busy and the hold in the way, which for a path may be at a path above or below; with token 0 it is one who waits and came before. Unlike request it removes nothing.
CREATE OR REPLACE FUNCTION pgmutex.holder_in_the_way(mutex_group text, mutex_mode text, mutex_id text, owner_session text, access text DEFAULT 'exclusive'::text, permits integer DEFAULT NULL::integer, lock_parents boolean DEFAULT false, lock_children boolean DEFAULT false)
 RETURNS pgmutex.hold_outcome
 LANGUAGE plpgsql
 SECURITY DEFINER
 SET search_path TO 'pgmutex', 'pg_temp'
 SET lock_timeout TO '5s'
 SET enable_seqscan TO 'off'
 SET jit TO 'off'
AS $function$
#variable_conflict use_column
declare
    observed_at    timestamptz := clock_timestamp();
    current        hold;
    other          hold;
    others         integer := 0;
    has_own        boolean := false;  -- shared, and it wants to have it alone
    strictest      integer := holder_in_the_way.permits;
    own_ticket     bigint;
    ahead_at       text := holder_in_the_way.mutex_id;
    ahead          bigint;
    blocker_id     text;
    blocker_permit integer;
    answer         hold_outcome;
begin
    perform check_call(holder_in_the_way.mutex_group, holder_in_the_way.mutex_mode, holder_in_the_way.mutex_id, holder_in_the_way.owner_session);
    perform check_access(holder_in_the_way.access, holder_in_the_way.permits);
    perform check_reach(holder_in_the_way.mutex_id, holder_in_the_way.lock_parents, holder_in_the_way.lock_children);
    answer.outcome := 'free';
    answer.mutex_group := holder_in_the_way.mutex_group;
    answer.mutex_mode := holder_in_the_way.mutex_mode;
    answer.mutex_id := holder_in_the_way.mutex_id;
    answer.observed_at := observed_at;

    for current in
        select h.* from hold h
        where h.mutex_group = holder_in_the_way.mutex_group and h.mutex_mode = holder_in_the_way.mutex_mode
          and h.mutex_id = holder_in_the_way.mutex_id
          and not hold_is_over(h.auto_release_rule, h.auto_release_config, h.expires_at, observed_at)
        order by h.permit
    loop
        if current.owner_session = holder_in_the_way.owner_session then
            has_own := true;
            if current.permit = 0 or holder_in_the_way.access = 'shared' then
                return answer;
            end if;
            continue;
        end if;
        others := others + 1;
        strictest := least(strictest, current.permits);
        if other.fencing_token is null then
            other := current;
        end if;
    end loop;
    if others = 0 or holder_in_the_way.access = 'shared' and other.permit > 0 and others < coalesce(strictest, others + 1) then
        select h.blocker_id, h.blocker_permit into blocker_id, blocker_permit
        from hold_in_the_way(holder_in_the_way.mutex_group, holder_in_the_way.mutex_mode, holder_in_the_way.mutex_id,
                             holder_in_the_way.owner_session, holder_in_the_way.access, false) h
        where is_path(holder_in_the_way.mutex_id);
        if blocker_id is not null then
            select h.* into other from hold h
            where h.mutex_group = holder_in_the_way.mutex_group and h.mutex_mode = holder_in_the_way.mutex_mode and h.mutex_id = blocker_id
              and h.permit = blocker_permit;
        else
            other := null;
        end if;
    end if;
    if other.fencing_token is not null then
        select 'busy', other.*, observed_at, null, null, null, null into answer;
        return answer;
    elsif has_own then
        return answer;
    end if;

    select w.ticket into own_ticket from mutex_waiter w
    where w.owner_session = holder_in_the_way.owner_session
      and mutex_key(w.mutex_group, w.mutex_mode, w.mutex_id) = mutex_key(holder_in_the_way.mutex_group, holder_in_the_way.mutex_mode, holder_in_the_way.mutex_id)
      and (w.mutex_group = holder_in_the_way.mutex_group and w.mutex_mode = holder_in_the_way.mutex_mode and w.mutex_id = holder_in_the_way.mutex_id) is true;
    select w.ticket into ahead from mutex_waiter w
    where w.mutex_group = holder_in_the_way.mutex_group and w.mutex_mode = holder_in_the_way.mutex_mode
      and w.mutex_id = holder_in_the_way.mutex_id and (own_ticket is null or w.ticket < own_ticket)
      and not waiter_is_gone(w.listener, w.seen_at)
    order by w.ticket
    limit 1;
    if ahead is null and is_path(holder_in_the_way.mutex_id) then
        select w.waiter_id, w.waiter_ticket into ahead_at, ahead
        from waiter_in_the_way(holder_in_the_way.mutex_group, holder_in_the_way.mutex_mode, holder_in_the_way.mutex_id, own_ticket,
                               holder_in_the_way.owner_session, holder_in_the_way.access,
                               holder_in_the_way.lock_parents, holder_in_the_way.lock_children) w;
    end if;
    if ahead is not null then
        select 'busy', w.mutex_group, w.mutex_mode, w.mutex_id, case when w.access = 'shared' then 1 else 0 end, w.permits,
               w.owner_session, w.owner_host, w.owner_id, w.owner_login, w.owner_name,
               '', '', w.queued_since, null, 0, w.queued_since, null, w.lock_parents, w.lock_children,
               observed_at, null, null, null, null
        into answer from mutex_waiter w
        where w.mutex_group = holder_in_the_way.mutex_group and w.mutex_mode = holder_in_the_way.mutex_mode and w.mutex_id = ahead_at
          and w.ticket = ahead;
        if not found then
            answer.outcome := 'free';
        end if;
    end if;
    return answer;
end
$function$

-- Captures what the rows of an old table of m3-mutex hold, for their owners, under their rules and since the time they say, and tells of each row what became of it. A time without a time zone is read in the session's. A row that makes no sense stops no other. Nobody may write to the old table meanwhile, or any more: adopt_m3_mutex sees to that. For the owner of this schema.
CREATE OR REPLACE FUNCTION pgmutex.import_m3_mutex(from_table regclass)
 RETURNS SETOF pgmutex.m3_mutex_import
 LANGUAGE plpgsql
 SET search_path TO 'pgmutex', 'pg_temp'
 SET lock_timeout TO '5s'
 SET row_security TO 'off'
AS $function$
#variable_conflict use_column
declare
    missing     text;
    imported_at timestamptz;
    old_row     record;
    answer      m3_mutex_import;
    config      text;
    in_the_way  hold;
    last_token  bigint := 0;
begin
    if current_setting('transaction_isolation') not in ('read committed', 'read uncommitted') or pg_is_in_recovery() then
        perform refuse_transaction();
    elsif from_table is null then
        perform refuse_input('from_table must name a table that is there');
    end if;
    select string_agg(c.name, ', ' order by c.place) into missing
    from unnest('{id,mutex_group,mutex_mode,mutex_id,owner_session,owner_host,owner_id,owner_login,owner_name,auto_release_rule,'
                'auto_release_config,captured_since,status_data}'::text[]) with ordinality c (name, place)
    where not exists (select from pg_attribute a where a.attrelid = from_table and a.attname = c.name and not a.attisdropped);
    if missing is not null then
        perform refuse_input(format('%s is not a table of m3-mutex: it has no %s', from_table, missing));
    elsif exists (select from pg_class c where c.oid = from_table and c.relkind not in ('r', 'p'))
       or exists (select from pg_attribute a join pg_type t on t.oid = a.atttypid
                  where a.attrelid = from_table and a.attnum > 0 and not a.attisdropped and t.typnamespace <> 'pg_catalog'::regnamespace) then
        -- Reading it would run its owner's functions with the rights of whoever imports.
        perform refuse_input(format('%s is not a table of m3-mutex: it is no plain table, or has columns of types that PostgreSQL does not bring', from_table));
    end if;

    lock table mutex_model in access exclusive mode;
    imported_at := clock_timestamp();
    select coalesce(max(m.fencing_token), 0) into last_token from mutex_model m;
    for old_row in execute format(
        'select id::text, mutex_group::text, mutex_mode::text, mutex_id::text, owner_session::text, owner_host::text, owner_id::text, '
        'owner_login::text, owner_name::text, auto_release_rule::text, auto_release_config::text, '
        -- So near the end of the calendar that another time zone leaves it: no time, like infinity.
        'case when captured_since between ''4700-01-01 BC'' and ''294000-01-01'' then captured_since end::timestamptz as captured_since, status_data::text '
        'from %s t order by t.captured_since desc nulls last, t.id desc', from_table)
    loop
        answer := (old_row.id, old_row.mutex_group, old_row.mutex_mode, old_row.mutex_id, 'imported', null);
        config := m3_mutex_config(old_row.auto_release_rule, old_row.auto_release_config);
        if coalesce(old_row.auto_release_rule, '') in ('', 'never') then
            config := '';  -- the package asks for none either
        end if;
        if old_row.auto_release_rule = 'timeout' and config <> coalesce(old_row.auto_release_config, '') then
            answer.problem := format('auto_release_config %L counts as %s', old_row.auto_release_config, config);
        end if;
        -- No lock is taken inside: an error may undo what is done here.
        begin
            if old_row.captured_since is null or not isfinite(old_row.captured_since) then
                perform refuse_input('captured_since is no time');
            elsif old_row.auto_release_rule in ('deadline', 'connection') then
                perform refuse_input(format('auto_release_rule %L means something else to pgmutex', old_row.auto_release_rule));
            end if;
            perform check_call(old_row.mutex_group, old_row.mutex_mode, old_row.mutex_id, old_row.owner_session);
            perform check_text('owner_host', old_row.owner_host, 1600);
            perform check_text('owner_id', old_row.owner_id, 400);
            perform check_text('owner_login', old_row.owner_login, 400);
            perform check_text('owner_name', old_row.owner_name, 400);
            perform check_text('status_data', old_row.status_data, 65536);
            if rule_ends_at(old_row.auto_release_rule, config, old_row.captured_since) < imported_at then
                answer.outcome := 'over';
            else
                perform check_rule(coalesce(old_row.auto_release_rule, ''), config);
                -- A clock that was ahead, or a time zone that was another.
                if old_row.captured_since > imported_at then
                    answer.problem := concat_ws('; ', answer.problem,
                                                format('captured_since %s lies ahead: counts as now', old_row.captured_since));
                    old_row.captured_since := imported_at;
                end if;
                if old_row.mutex_group = 'pgmutex.pool' then
                    perform refuse_input('mutex_group pgmutex.pool is that of the session pools');
                end if;
            end if;
        exception when others then
            answer.outcome := 'refused';
            answer.problem := sqlerrm;
        end;

        if answer.outcome = 'imported' then
            delete from mutex_model m
            where m.mutex_group = old_row.mutex_group and m.mutex_mode = old_row.mutex_mode and m.mutex_id = old_row.mutex_id
              and hold_is_over(m.auto_release_rule, m.auto_release_config, m.expires_at, imported_at);
            in_the_way := null;
            select h.* into in_the_way from hold h
            where h.mutex_group = old_row.mutex_group and h.mutex_mode = old_row.mutex_mode and h.mutex_id = old_row.mutex_id
            order by h.permit
            limit 1;
            if not found and is_path(old_row.mutex_id) then
                select h.* into in_the_way
                from hold_in_the_way(old_row.mutex_group, old_row.mutex_mode, old_row.mutex_id, old_row.owner_session, 'exclusive', false) b
                join hold h on h.mutex_group = old_row.mutex_group and h.mutex_mode = old_row.mutex_mode and h.mutex_id = b.blocker_id
                           and h.permit = b.blocker_permit;
            end if;
            if in_the_way.fencing_token is null then
                insert into mutex_model (mutex_group, mutex_mode, mutex_id, owner_session, owner_host, owner_id, owner_login, owner_name,
                                         auto_release_rule, auto_release_config, captured_since, status_data, fencing_token, held_since,
                                         through_m3_mutex)
                values (old_row.mutex_group, old_row.mutex_mode, old_row.mutex_id, old_row.owner_session, coalesce(old_row.owner_host, ''),
                        coalesce(old_row.owner_id, ''), coalesce(old_row.owner_login, ''), coalesce(old_row.owner_name, ''),
                        coalesce(old_row.auto_release_rule, ''), config, old_row.captured_since, old_row.status_data, draw_fencing_token(),
                        old_row.captured_since, true);
            else
                answer.outcome := 'refused';
                answer.problem := format(
                    case when in_the_way.fencing_token > last_token
                         then 'there is a later row of this mutex, of session %L captured at %s, which was kept'
                         else 'it is held here already, by session %L since %s' end,
                    in_the_way.owner_session, in_the_way.captured_since);
            end if;
        end if;
        return next answer;
    end loop;
    perform be_durable();
end
$function$

-- Puts a view m3_mutex into a schema, which the Django package m3-mutex takes for its table, and grants it to the role of the application. Repeating it is safe. Where there is the package's own table: adopt_m3_mutex. In Django: manage.py migrate --fake m3_mutex. For the owner of this schema.
CREATE OR REPLACE FUNCTION pgmutex.install_m3_mutex(in_schema name DEFAULT 'public'::name, to_role name DEFAULT NULL::name)
 RETURNS void
 LANGUAGE plpgsql
 SET search_path TO 'pgmutex', 'pg_temp'
 SET lock_timeout TO '5s'
AS $function$
declare
    taken pg_class := m3_mutex_relation(in_schema);
    owner name := (select pg_get_userbyid(c.relowner) from pg_class c where c.oid = 'mutex_model'::regclass);
begin
    if taken.relkind in ('r', 'p') then
        perform refuse_input(format(
            'there is a table m3_mutex in schema %I: adopt_m3_mutex(%L) keeps it under another name, imports its rows and puts the view in its place',
            in_schema, in_schema));
    elsif taken.oid is not null and not is_m3_mutex_view(taken.oid) then
        perform refuse_input(format('there is something else called m3_mutex in schema %I: rename it first', in_schema));
    elsif to_role is not null and to_regrole(quote_ident(to_role)) is null then
        perform refuse_input(format('there is no role %I', to_role));
    end if;

    -- The package's id is a positive number of 32 bits. Two holds share one only if so many captures lie between them, or a failover has
    -- made the sequence run backwards. A refresh does not change it, and stays a HOT update.
    if to_regclass('mutex_model_m3_mutex_id') is null then
        create index mutex_model_m3_mutex_id on mutex_model ((((fencing_token & 9223372036854775807) % 2147483647 + 1)::integer));
    end if;
    execute format($view$
        create or replace view %1$I.m3_mutex as
        select ((h.fencing_token & 9223372036854775807) %% 2147483647 + 1)::integer as id,
               h.mutex_group::varchar, h.mutex_mode::varchar, h.mutex_id::varchar,
               h.owner_session::varchar, h.owner_host, h.owner_id::varchar, h.owner_login::varchar, h.owner_name::varchar,
               h.auto_release_rule::varchar,
               -- The package casts it to an integer where it clears away.
               case when h.auto_release_rule <> 'timeout' or h.auto_release_config ~ '^[+-]?[0-9]{1,9}$' then h.auto_release_config
                    when h.auto_release_config ~ '^[[:space:]]*[+]?[0-9]+[[:space:]]*$' then '2147483647'
                    when h.auto_release_config ~ '^[[:space:]]*-[0-9]+[[:space:]]*$' then '-1'
                    else '300' end::varchar as auto_release_config,
               h.captured_since, h.status_data
        from %2$I.live_hold h
        where case
                  -- One row of a shared mutex, as the package expects.
                  when h.permit > 0 and exists (select from %2$I.live_hold o
                                                where o.mutex_group = h.mutex_group and o.mutex_mode = h.mutex_mode and o.mutex_id = h.mutex_id
                                                  and o.permit < h.permit) then false
                  when current_setting('pgmutex.m3_writes', true) = 'on' then true
                  else set_config('pgmutex.m3_read', jsonb_build_array(h.fencing_token, h.mutex_group, h.mutex_mode, h.mutex_id, h.captured_since)::text, false) is not null
              end
        $view$, in_schema, current_schema());
    execute format('alter view %I.m3_mutex owner to %I', in_schema, owner);
    execute format('revoke all on %I.m3_mutex from public', in_schema);
    execute format('comment on view %I.m3_mutex is %L', in_schema,
                   'What is held, as the table of the Django package m3-mutex. INSERT captures, UPDATE refreshes, DELETE releases.');
    if not is_m3_mutex_view(format('%I.m3_mutex', in_schema)::regclass) then
        execute format('create trigger m3_mutex_write_begins before insert or update or delete on %I.m3_mutex
                        for each statement execute function m3_mutex_write_begins()', in_schema);
        execute format('create trigger m3_mutex_insert instead of insert on %I.m3_mutex for each row execute function m3_mutex_insert()', in_schema);
        execute format('create trigger m3_mutex_update instead of update on %I.m3_mutex for each row execute function m3_mutex_update()', in_schema);
        execute format('create trigger m3_mutex_delete instead of delete on %I.m3_mutex for each row execute function m3_mutex_delete()', in_schema);
        execute format('create trigger m3_mutex_write_ends after insert or update or delete on %I.m3_mutex
                        for each statement execute function m3_mutex_write_ends()', in_schema);
    end if;
    if to_role is not null then
        execute format('grant usage on schema %I to %I', in_schema, to_role);
        execute format('grant select, insert, update, delete on %I.m3_mutex to %I', in_schema, to_role);
    end if;
end
$function$

-- Whether this is a view that install_m3_mutex of this schema made.
CREATE OR REPLACE FUNCTION pgmutex.is_m3_mutex_view(relation oid)
 RETURNS boolean
 LANGUAGE sql
 SET search_path TO 'pgmutex', 'pg_temp'
AS $function$
    select exists (select from pg_trigger t where t.tgrelid = relation and t.tgfoid = 'm3_mutex_insert()'::regprocedure)
$function$

-- Whether a mutex id is a path of a tree: it begins and ends with a slash.
CREATE OR REPLACE FUNCTION pgmutex.is_path(mutex_id text)
 RETURNS boolean
 LANGUAGE sql
 IMMUTABLE PARALLEL SAFE
AS $function$ select left(mutex_id, 1) = '/' and right(mutex_id, 1) = '/' $function$

-- True if check_call would find nothing, for short names of what is no path; else false or null, which says nothing.
CREATE OR REPLACE FUNCTION pgmutex.is_plain_call(mutex_group text, mutex_mode text, mutex_id text, owner_session text)
 RETURNS boolean
 LANGUAGE sql
AS $function$
    select octet_length(mutex_group || mutex_mode || mutex_id || owner_session) <= 400
           and mutex_group || mutex_mode || mutex_id <> '' and owner_session <> '' and left(mutex_id, 1) <> '/'
           and current_setting('transaction_isolation') in ('read committed', 'read uncommitted') and not pg_is_in_recovery()
$function$

-- True if check_rule would find nothing, for the simplest rules; else false or null, which says nothing.
CREATE OR REPLACE FUNCTION pgmutex.is_plain_rule(rule text, config text)
 RETURNS boolean
 LANGUAGE sql
AS $function$
    select case rule
               when 'timeout' then ltrim(config, '0123456789') = '' and octet_length(config) between 1 and 9 and ltrim(config, '0') <> ''
               when 'connection' then ltrim(config, '0123456789') = '' and octet_length(config) between 1 and 18 and ltrim(config, '0') <> ''
                                      and not session_is_gone(config)
               when 'never' then config = ''
               when '' then config = ''
           end
$function$

-- Puts an owner into the line of a mutex, or leaves it where it is, and gives its ticket. Whether it may wait at all is for refuse_deadlock to say.
CREATE OR REPLACE FUNCTION pgmutex.join_line(mutex_group text, mutex_mode text, mutex_id text, ticket bigint, access text, permits integer, owner_session text, owner_host text, owner_id text, owner_login text, owner_name text, while_holding bigint[], listener bigint, lock_parents boolean, lock_children boolean)
 RETURNS bigint
 LANGUAGE plpgsql
AS $function$
#variable_conflict use_column
declare
    own_ticket bigint;
begin
    select w.ticket into own_ticket from mutex_waiter w
    where w.owner_session = join_line.owner_session
      and mutex_key(w.mutex_group, w.mutex_mode, w.mutex_id) = mutex_key(join_line.mutex_group, join_line.mutex_mode, join_line.mutex_id)
      and (w.mutex_group = join_line.mutex_group and w.mutex_mode = join_line.mutex_mode and w.mutex_id = join_line.mutex_id) is true;
    own_ticket := coalesce(join_line.ticket, own_ticket);
    if join_line.listener is not null then
        -- A process asks only while it waits for something: until now it may have been silent for long.
        perform listener_is_seen(join_line.listener, null);
    end if;
    update mutex_waiter w
    set ticket = own_ticket, access = join_line.access, permits = join_line.permits, while_holding = nullif(join_line.while_holding, '{}'),
        listener = join_line.listener, seen_at = clock_timestamp(),
        lock_parents = join_line.lock_parents, lock_children = join_line.lock_children
    where w.owner_session = join_line.owner_session
      and mutex_key(w.mutex_group, w.mutex_mode, w.mutex_id) = mutex_key(join_line.mutex_group, join_line.mutex_mode, join_line.mutex_id)
      and (w.mutex_group = join_line.mutex_group and w.mutex_mode = join_line.mutex_mode and w.mutex_id = join_line.mutex_id) is true;
    if not found then
        own_ticket := coalesce(own_ticket, nextval('mutex_ticket_sequence'));
        insert into mutex_waiter (mutex_group, mutex_mode, mutex_id, ticket, access, permits,
                                  owner_session, owner_host, owner_id, owner_login, owner_name,
                                  while_holding, listener, queued_since, seen_at, lock_parents, lock_children)
        values (join_line.mutex_group, join_line.mutex_mode, join_line.mutex_id, own_ticket, join_line.access, join_line.permits,
                join_line.owner_session, coalesce(join_line.owner_host, ''), coalesce(join_line.owner_id, ''),
                coalesce(join_line.owner_login, ''), coalesce(join_line.owner_name, ''),
                nullif(join_line.while_holding, '{}'), join_line.listener, clock_timestamp(), clock_timestamp(),
                join_line.lock_parents, join_line.lock_children);
    end if;
    return own_ticket;
end
$function$

-- Makes the time of many holds start again, named by mutex and token. Answers with those it could not refresh: not_held (lost), or locked (another transaction has the row; ask again soon).
CREATE OR REPLACE FUNCTION pgmutex.keep(mutex_groups text[], mutex_modes text[], mutex_ids text[], fencing_tokens bigint[])
 RETURNS TABLE(fencing_token bigint, outcome text)
 LANGUAGE plpgsql
 SECURITY DEFINER
 SET search_path TO 'pgmutex', 'pg_temp'
 SET lock_timeout TO '5s'
 SET enable_seqscan TO 'off'
 SET jit TO 'off'
 SET enable_hashjoin TO 'off'
 SET enable_mergejoin TO 'off'
AS $function$
#variable_conflict use_column
declare
    kept bigint[];
begin
    if current_setting('transaction_isolation') not in ('read committed', 'read uncommitted') or pg_is_in_recovery() then
        perform refuse_transaction();
    end if;
    if array_length(keep.mutex_groups, 1) is distinct from array_length(keep.fencing_tokens, 1)
       or array_length(keep.mutex_modes, 1) is distinct from array_length(keep.fencing_tokens, 1)
       or array_length(keep.mutex_ids, 1) is distinct from array_length(keep.fencing_tokens, 1)
       or coalesce(array_ndims(keep.fencing_tokens), 1) <> 1
       or keep.fencing_tokens is null or array_position(keep.fencing_tokens, null) is not null then
        perform refuse_input('mutex_groups, mutex_modes, mutex_ids and fencing_tokens must be as long as each other, and no token null');
    end if;
    with asked as (
        select a.* from unnest(keep.mutex_groups, keep.mutex_modes, keep.mutex_ids, keep.fencing_tokens)
                        a (mutex_group, mutex_mode, mutex_id, fencing_token)
    ), mine as (
        select h.mutex_group, h.mutex_mode, h.mutex_id, h.permit from asked a
        join hold h on h.mutex_group = a.mutex_group and h.mutex_mode = a.mutex_mode and h.mutex_id = a.mutex_id
                   and h.fencing_token = a.fencing_token
        where not hold_is_over(h.auto_release_rule, h.auto_release_config, h.expires_at, clock_timestamp())
        for no key update of h skip locked
    ), refreshed as (
        update hold h set captured_since = clock_timestamp() from mine m
        where h.mutex_group = m.mutex_group and h.mutex_mode = m.mutex_mode and h.mutex_id = m.mutex_id and h.permit = m.permit
        returning h.fencing_token
    )
    select array_agg(r.fencing_token) into kept from refreshed r;
    if kept is not null and current_setting('synchronous_commit') not in ('on', 'remote_apply') then
        perform set_config('synchronous_commit', 'on', true);
    end if;
    if cardinality(kept) = cardinality(keep.fencing_tokens) then
        return;
    end if;
    return query
    select a.fencing_token,
           case when h.fencing_token is null or hold_is_over(h.auto_release_rule, h.auto_release_config, h.expires_at, clock_timestamp())
                then 'not_held' else 'locked' end
    from unnest(keep.mutex_groups, keep.mutex_modes, keep.mutex_ids, keep.fencing_tokens) a (mutex_group, mutex_mode, mutex_id, fencing_token)
    left join hold h on h.mutex_group = a.mutex_group and h.mutex_mode = a.mutex_mode and h.mutex_id = a.mutex_id
                    and h.fencing_token = a.fencing_token
    where a.fencing_token <> all (coalesce(kept, '{}'));
end
$function$

-- Makes the partitions of the audit for this month and those of the time ahead, moves events that had no month into one, and drops the months that have wholly passed since longer than the retention: an event is kept for up to a month more. Call it now and then, from anywhere: where nothing is to do it does nothing. If the months have run out, captures wait while events are moved, some seconds for a million. Only for the owner of the schema.
CREATE OR REPLACE FUNCTION pgmutex.keep_audit(retention interval DEFAULT '1 year'::interval, ahead interval DEFAULT '3 mons'::interval, OUT made integer, OUT moved bigint, OUT dropped integer)
 RETURNS record
 LANGUAGE plpgsql
 SET search_path TO 'pgmutex', 'pg_temp'
 SET "TimeZone" TO 'UTC'
 SET lock_timeout TO '2s'
AS $function$
declare
    now_is  timestamptz := clock_timestamp();
    missing timestamptz[];
    stale   text[];
    is_used boolean;
    month   timestamptz;
    name    text;
begin
    if current_setting('transaction_isolation') not in ('read committed', 'read uncommitted') or pg_is_in_recovery() then
        perform refuse_transaction();
    end if;
    if retention is null or ahead is null
       or extract(epoch from retention) not between 0 and extract(epoch from interval '1000 years')
       or extract(epoch from ahead) not between 0 and extract(epoch from interval '10 years') then
        perform refuse_input('retention must be from 0 to 1000 years, and ahead from 0 to 10 years');
    end if;
    made := 0; moved := 0; dropped := 0;
    for attempt in 1..2 loop
        select array_agg(m.month order by m.month) into missing
        from generate_series(date_trunc('month', now_is), now_is + ahead, interval '1 month') m (month)
        where m.month not in (select p.month from audit_partitions() p);
        select array_agg(p.name) into stale from audit_partitions() p where p.month + interval '1 month' <= now_is - retention;
        is_used := pg_relation_size('audit_default') > 0;
        if missing is null and stale is null and not is_used then
            return;
        end if;
        exit when attempt = 2;
        lock table audit in access exclusive mode;
    end loop;

    foreach name in array coalesce(stale, '{}') loop
        execute format('drop table %I', name);
        dropped := dropped + 1;
    end loop;
    if is_used then
        alter table audit detach partition audit_default;
        alter table audit_default rename to audit_to_be_moved;
        perform make_audit_partition('audit_default', 'default', null);
        select count(*) into moved from audit_to_be_moved;
        select array_agg(distinct date_trunc('month', e.at)) || missing into missing from audit_to_be_moved e;
    end if;
    for month in select distinct m from unnest(missing) m order by m loop
        name := 'audit_' || to_char(month, 'YYYY_MM');
        perform make_audit_partition(
            name, format('for values from (%L) to (%L)', month, month + interval '1 month'),
            case when is_used then format('from audit_to_be_moved e where e.at >= %L and e.at < %L', month, month + interval '1 month') end);
        made := made + 1;
    end loop;
    if is_used then
        drop table audit_to_be_moved;
    end if;
end
$function$

-- Trigger: says of a session when to look at its lease, if the lease has become another.
CREATE OR REPLACE FUNCTION pgmutex.lease_has_changed()
 RETURNS trigger
 LANGUAGE plpgsql
 SECURITY DEFINER
 SET search_path TO 'pgmutex', 'pg_temp'
 SET enable_seqscan TO 'off'
 SET jit TO 'off'
AS $function$
begin
    if old.mutex_id ~ '^-?[0-9]{1,18}$' then
        update pool_session p
        set fencing_token = new.fencing_token,
            look_at_lease = least(new.expires_at, case when new.auto_release_rule = 'connection' then clock_timestamp() + interval '15 seconds'
                                                       else 'infinity' end)
        where p.collection = old.mutex_mode and p.id = old.mutex_id::bigint and p.fencing_token = old.fencing_token;
    end if;
    return null;
end
$function$

-- Trigger: gives the session of a lease back to its pool.
CREATE OR REPLACE FUNCTION pgmutex.lease_has_ended()
 RETURNS trigger
 LANGUAGE plpgsql
 SECURITY DEFINER
 SET search_path TO 'pgmutex', 'pg_temp'
 SET enable_seqscan TO 'off'
 SET jit TO 'off'
AS $function$
begin
    if old.mutex_id ~ '^-?[0-9]{1,18}$' then
        update pool_session p set fencing_token = null, look_at_lease = null
        where p.collection = old.mutex_mode and p.id = old.mutex_id::bigint and p.fencing_token = old.fencing_token;
    end if;
    return null;
end
$function$

-- Gives up waiting for a mutex; says whether there was a ticket to give up. A hold stays.
CREATE OR REPLACE FUNCTION pgmutex.leave_line(mutex_group text, mutex_mode text, mutex_id text, owner_session text)
 RETURNS boolean
 LANGUAGE plpgsql
 SECURITY DEFINER
 SET search_path TO 'pgmutex', 'pg_temp'
 SET lock_timeout TO '5s'
 SET enable_seqscan TO 'off'
 SET jit TO 'off'
AS $function$
#variable_conflict use_column
declare
    left_it boolean;
begin
    perform check_call(leave_line.mutex_group, leave_line.mutex_mode, leave_line.mutex_id, leave_line.owner_session);
    perform lock_mutex(leave_line.mutex_group, leave_line.mutex_mode,
                       case when leave_line.mutex_group = 'pgmutex.pool' then '' else leave_line.mutex_id end);  -- one for all lines of a pool
    delete from mutex_waiter w
    where w.owner_session = leave_line.owner_session
      and mutex_key(w.mutex_group, w.mutex_mode, w.mutex_id) = mutex_key(leave_line.mutex_group, leave_line.mutex_mode, leave_line.mutex_id)
      and (w.mutex_group = leave_line.mutex_group and w.mutex_mode = leave_line.mutex_mode and w.mutex_id = leave_line.mutex_id) is true;
    left_it := found;
    if left_it then
        perform wake_lines(leave_line.mutex_group, leave_line.mutex_mode, leave_line.mutex_id);
    end if;
    return left_it;
end
$function$

-- The holds that fit all the filters given, ordered by mutex id. A page: page_size rows (-1: all) from page_start, or, at a cost that does not grow with the number of holds, after the last row of the page before (after_group, after_mode, after_id, after_permit).
CREATE OR REPLACE FUNCTION pgmutex.list(mutex_group text DEFAULT NULL::text, mutex_mode text DEFAULT NULL::text, mutex_id text DEFAULT NULL::text, mutex_id_prefix text DEFAULT NULL::text, owner_session text DEFAULT NULL::text, owner_id text DEFAULT NULL::text, owner_login text DEFAULT NULL::text, auto_release_rule text DEFAULT NULL::text, include_over boolean DEFAULT false, page_start bigint DEFAULT 0, page_size bigint DEFAULT '-1'::integer, after_group text DEFAULT NULL::text, after_mode text DEFAULT NULL::text, after_id text DEFAULT NULL::text, after_permit integer DEFAULT NULL::integer)
 RETURNS SETOF pgmutex.hold
 LANGUAGE plpgsql
 SECURITY DEFINER
 SET search_path TO 'pgmutex', 'pg_temp'
 SET plan_cache_mode TO 'force_custom_plan'
 SET enable_bitmapscan TO 'off'
AS $function$
#variable_conflict use_column
declare
    observed_at timestamptz := clock_timestamp();
    -- E: a plain literal with backslashes means something else under standard_conforming_strings = off.
    prefix_pattern text := regexp_replace(list.mutex_id_prefix, E'([\\\\%_])', E'\\\\\\1', 'g') || '%';
begin
    if list.page_start < 0 then
        perform refuse_input('page_start must be 0 or more');
    elsif list.page_size < -1 then
        perform refuse_input('page_size must be 0 or more, or -1 for all');
    end if;
    return query
    select h.* from hold h
    where (list.mutex_group is null or h.mutex_group = list.mutex_group)
      and (list.mutex_mode is null or h.mutex_mode = list.mutex_mode)
      and (list.mutex_id is null or h.mutex_id = list.mutex_id)
      and (list.mutex_id_prefix is null or h.mutex_id like prefix_pattern)
      and (list.owner_session is null or h.owner_session = list.owner_session)
      and (list.owner_id is null or h.owner_id = list.owner_id)
      and (list.owner_login is null or h.owner_login = list.owner_login)
      and (list.auto_release_rule is null or h.auto_release_rule = list.auto_release_rule)
      and (list.include_over or h.expires_at is null or h.expires_at >= observed_at)
      and case when list.include_over or h.auto_release_rule <> 'connection' then true else not session_is_gone(h.auto_release_config) end
      -- The columns that a filter fixes are left out of the comparison: an index scan begins at an equality if there is one for
      -- its first column, and then walks past all that lies before the place.
      and case
              when list.after_group is null then true
              when list.mutex_group is null then
                  (h.mutex_group, h.mutex_mode, h.mutex_id, h.permit)
                  > (list.after_group, coalesce(list.after_mode, ''), coalesce(list.after_id, ''), coalesce(list.after_permit, 0))
              when list.mutex_group <> list.after_group then list.mutex_group collate "C" > list.after_group
              when list.mutex_mode is null then
                  (h.mutex_mode, h.mutex_id, h.permit)
                  > (coalesce(list.after_mode, ''), coalesce(list.after_id, ''), coalesce(list.after_permit, 0))
              when list.mutex_mode <> coalesce(list.after_mode, '') then list.mutex_mode collate "C" > coalesce(list.after_mode, '')
              else (h.mutex_id, h.permit) > (coalesce(list.after_id, ''), coalesce(list.after_permit, 0))
          end
    order by h.mutex_group, h.mutex_mode, h.mutex_id, h.permit
    offset coalesce(list.page_start, 0)
    limit nullif(list.page_size, -1);
end
$function$

-- How many holds fit all the filters given. It reads them all.
CREATE OR REPLACE FUNCTION pgmutex.list_count(mutex_group text DEFAULT NULL::text, mutex_mode text DEFAULT NULL::text, mutex_id text DEFAULT NULL::text, mutex_id_prefix text DEFAULT NULL::text, owner_session text DEFAULT NULL::text, owner_id text DEFAULT NULL::text, owner_login text DEFAULT NULL::text, auto_release_rule text DEFAULT NULL::text, include_over boolean DEFAULT false)
 RETURNS bigint
 LANGUAGE sql
 SECURITY DEFINER
 SET search_path TO 'pgmutex', 'pg_temp'
AS $function$
    select count(*) from list(mutex_group, mutex_mode, mutex_id, mutex_id_prefix, owner_session, owner_id, owner_login, auto_release_rule, include_over)
$function$

-- Those who wait, as the view waiting shows them, that fit all the filters given, ordered by mutex id and place. A page: page_size rows (-1: all) after the last row of the page before (after_group, after_mode, after_id, after_ticket).
CREATE OR REPLACE FUNCTION pgmutex.list_waiting(mutex_group text DEFAULT NULL::text, mutex_mode text DEFAULT NULL::text, mutex_id text DEFAULT NULL::text, mutex_id_prefix text DEFAULT NULL::text, owner_session text DEFAULT NULL::text, page_size bigint DEFAULT '-1'::integer, after_group text DEFAULT NULL::text, after_mode text DEFAULT NULL::text, after_id text DEFAULT NULL::text, after_ticket bigint DEFAULT NULL::bigint)
 RETURNS SETOF pgmutex.waiting
 LANGUAGE plpgsql
 SECURITY DEFINER
 SET search_path TO 'pgmutex', 'pg_temp'
 SET plan_cache_mode TO 'force_custom_plan'
AS $function$
#variable_conflict use_column
begin
    if list_waiting.page_size < -1 then
        perform refuse_input('page_size must be 0 or more, or -1 for all');
    end if;
    return query
    select w.* from waiting w
    where (list_waiting.mutex_group is null or w.mutex_group = list_waiting.mutex_group)
      and (list_waiting.mutex_mode is null or w.mutex_mode = list_waiting.mutex_mode)
      and (list_waiting.mutex_id is null or w.mutex_id = list_waiting.mutex_id)
      and (list_waiting.mutex_id_prefix is null or starts_with(w.mutex_id, list_waiting.mutex_id_prefix))
      and (list_waiting.owner_session is null or w.owner_session = list_waiting.owner_session)
      and (list_waiting.after_group is null
           or (w.mutex_group, w.mutex_mode, w.mutex_id, w.ticket)
              > (list_waiting.after_group, coalesce(list_waiting.after_mode, ''), coalesce(list_waiting.after_id, ''),
                 coalesce(list_waiting.after_ticket, 0)))
    order by w.mutex_group, w.mutex_mode, w.mutex_id, w.ticket
    limit nullif(list_waiting.page_size, -1);
end
$function$

-- Writes down that a process is there.
CREATE OR REPLACE FUNCTION pgmutex.listener_is_seen(listener bigint, has_session boolean)
 RETURNS void
 LANGUAGE plpgsql
AS $function$
#variable_conflict use_column
begin
    perform 1 from mutex_listener l
    where l.listener = listener_is_seen.listener
      and (l.seen_at < clock_timestamp() - interval '500 milliseconds' or l.has_session <> listener_is_seen.has_session)
    for update skip locked;
    if found then
        update mutex_listener l
        set seen_at = clock_timestamp(), has_session = coalesce(listener_is_seen.has_session, l.has_session)
        where l.listener = listener_is_seen.listener;
    elsif not exists (select from mutex_listener l where l.listener = listener_is_seen.listener) then
        insert into mutex_listener (listener, has_session)
        values (listener_is_seen.listener, coalesce(listener_is_seen.has_session, false))
        on conflict do nothing;
    end if;
end
$function$

-- Takes the advisory lock behind which decisions about a mutex are made; for a path also those of the paths above it, shared.
CREATE OR REPLACE FUNCTION pgmutex.lock_mutex(mutex_group text, mutex_mode text, mutex_id text)
 RETURNS void
 LANGUAGE plpgsql
AS $function$
declare
    lock_key bigint;
    is_own   boolean;
begin
    if not is_path(lock_mutex.mutex_id) then
        perform pg_advisory_xact_lock(mutex_key(lock_mutex.mutex_group, lock_mutex.mutex_mode, lock_mutex.mutex_id));
        return;
    end if;
    for lock_key, is_own in
        select mutex_key(lock_mutex.mutex_group, lock_mutex.mutex_mode, p.path), bool_or(p.path = lock_mutex.mutex_id)
        from unnest(paths_above(lock_mutex.mutex_id) || lock_mutex.mutex_id) p (path)
        group by 1
        order by 1
    loop
        if is_own then
            perform pg_advisory_xact_lock(lock_key);
        else
            perform pg_advisory_xact_lock_shared(lock_key);
        end if;
    end loop;
end
$function$

-- Takes the advisory locks of all mutexes named in the requests.
CREATE OR REPLACE FUNCTION pgmutex.lock_mutexes(requests jsonb)
 RETURNS void
 LANGUAGE plpgsql
AS $function$
declare
    lock_keys bigint[];
    are_own   boolean[];
begin
    -- Of a path those above it are locked too, as shared ones; the stronger of two counts.
    select array_agg(k.lock_key order by k.lock_key), array_agg(k.is_own order by k.lock_key) into lock_keys, are_own
    from (select mutex_key(r.mutex_group, r.mutex_mode, p.path) as lock_key, bool_or(p.path = r.mutex_id) as is_own
          from (select coalesce(r.value ->> 'mutex_group', '') as mutex_group, coalesce(r.value ->> 'mutex_mode', '') as mutex_mode,
                       coalesce(r.value ->> 'mutex_id', '') as mutex_id
                from jsonb_array_elements(lock_mutexes.requests) r) r
          cross join unnest(case when is_path(r.mutex_id) then paths_above(r.mutex_id) else '{}' end || r.mutex_id) p (path)
          group by 1) k;
    if cardinality(lock_keys) > 4000 then
        -- Each takes an entry of the server's lock table until the commit.
        perform refuse_input(format('these paths and all above them take %s locks; at most 4000 go into one call', cardinality(lock_keys)));
    end if;
    for n in 1..coalesce(cardinality(lock_keys), 0) loop
        if are_own[n] then
            perform pg_advisory_xact_lock(lock_keys[n]);
        else
            perform pg_advisory_xact_lock_shared(lock_keys[n]);
        end if;
    end loop;
end
$function$

-- Used by take_session; not called directly.
CREATE OR REPLACE FUNCTION pgmutex.lock_next_session(collection text, condition text, due bigint[], due_last_use timestamp with time zone[])
 RETURNS bigint
 LANGUAGE plpgsql
 SET enable_seqscan TO 'off'
 SET enable_bitmapscan TO 'off'
 SET enable_sort TO 'off'
 SET jit TO 'off'
AS $function$
#variable_conflict use_column
declare
    ready          bigint[];
    ready_last_use timestamptz[];
    candidate      record;
    reach          bigint;
begin
    foreach reach in array array[1, 100, 1000] loop
        if lock_next_session.condition = 'true' then
            select array_agg(r.id), array_agg(r.last_use) into ready, ready_last_use
            from (select p.id, p.last_use from pool_session p
                  where p.collection = lock_next_session.collection and p.is_ready
                  order by p.last_use nulls first, p.id
                  limit reach) r;
        else
            execute format('select array_agg(r.id), array_agg(r.last_use) from (select p.id, p.last_use from pool_session p '
                           'where p.collection = $1 and p.is_ready and (%s) order by p.last_use nulls first, p.id limit $2) r',
                           lock_next_session.condition)
            into ready, ready_last_use using lock_next_session.collection, reach;
        end if;
        for candidate in
            select c.id, c.last_use, c.place
            from (select r.id, r.last_use, r.place from unnest(ready, ready_last_use) with ordinality r (id, last_use, place)
                  union all
                  select d.id, d.last_use, null from unnest(due, due_last_use) d (id, last_use)) c
            order by c.last_use nulls first, c.id
        loop
            perform 1 from pool_session p
            where p.collection = lock_next_session.collection and p.id = candidate.id
              and p.active and p.next_use <= clock_timestamp() and p.fencing_token is null
              and p.last_use is not distinct from candidate.last_use  -- not used since
            for update skip locked;
            if found then
                return candidate.id;
            end if;
            exit when candidate.place = reach;  -- what is ready beyond it comes before the rest of what is due
        end loop;
        exit when coalesce(cardinality(ready), 0) < reach;
    end loop;
    return null;
end
$function$

-- Used by pool_lock and pool_block; not called directly.
CREATE OR REPLACE FUNCTION pgmutex.lock_session(collection text, id bigint, period interval, fencing_token bigint, is_blocked boolean)
 RETURNS boolean
 LANGUAGE plpgsql
AS $function$
#variable_conflict use_column
begin
    perform check_pool(lock_session.collection);
    perform check_period('period', lock_session.period);
    if lock_session.period is null then
        perform refuse_input('period must not be null');
    end if;
    update pool_session p
    set next_use = clock_timestamp() + lock_session.period, is_blocked = lock_session.is_blocked
    where p.collection = lock_session.collection and p.id = lock_session.id
      and (lock_session.fencing_token is null or p.fencing_token = lock_session.fencing_token);
    return found;
end
$function$

-- Locks the rows of the holds above the paths named in the requests that are over and in the way.
CREATE OR REPLACE FUNCTION pgmutex.lock_what_is_over_above(requests jsonb)
 RETURNS void
 LANGUAGE plpgsql
AS $function$
declare
    above_group text;
    above_mode  text;
    above       text;
begin
    if jsonb_array_length(requests) = 1 then
        return;
    end if;
    for above_group, above_mode, above in
        select distinct r.mutex_group collate "C", r.mutex_mode collate "C", p.path collate "C"
        from (select coalesce(r.value ->> 'mutex_group', '') as mutex_group, coalesce(r.value ->> 'mutex_mode', '') as mutex_mode,
                     coalesce(r.value ->> 'mutex_id', '') as mutex_id
              from jsonb_array_elements(lock_what_is_over_above.requests) r) r
        cross join unnest(paths_above(r.mutex_id)) p (path)
        where is_path(r.mutex_id)
        order by 1, 2, 3
    loop
        perform 1 from hold h
        where h.mutex_group = above_group and h.mutex_mode = above_mode and h.mutex_id = above
          and h.lock_children and hold_is_over(h.auto_release_rule, h.auto_release_config, h.expires_at, clock_timestamp())
        order by h.permit
        for no key update;
    end loop;
end
$function$

-- Takes the locks that can be had at once, locks the rows of the holds that their owners have and nobody waits for, and says what else may be decided about behind the locks.
CREATE OR REPLACE FUNCTION pgmutex.lock_what_is_plain(wanted integer, mutex_groups text[], mutex_modes text[], mutex_ids text[], owner_sessions text[], fencing_tokens bigint[], OUT locked_places integer[], OUT locked_rows tid[], OUT all_end boolean, OUT decided_at timestamp with time zone, OUT places_left integer[])
 RETURNS record
 LANGUAGE plpgsql
 SET plan_cache_mode TO 'force_generic_plan'
 SET enable_seqscan TO 'off'
 SET enable_bitmapscan TO 'off'
 SET jit TO 'off'
AS $function$
#variable_conflict use_column
declare
    places       integer[];
    later_places integer[];
    names        bigint;
begin
    select array_agg(asked.place) filter (where asked.is_locked), count(distinct asked.lock_key) filter (where asked.is_locked)
    into places, names
    from (select k.place, k.lock_key, case when k.lock_key is not null then pg_try_advisory_xact_lock(k.lock_key) end as is_locked
          from (select p.place,
                       case when can_be_plain(
                               mutex_groups[least(p.place, cardinality(mutex_groups))], mutex_modes[least(p.place, cardinality(mutex_modes))],
                               mutex_ids[p.place], owner_sessions[least(p.place, cardinality(owner_sessions))])
                            then mutex_key(
                               mutex_groups[least(p.place, cardinality(mutex_groups))], mutex_modes[least(p.place, cardinality(mutex_modes))],
                               mutex_ids[p.place])
                       end as lock_key
                from generate_series(1, wanted) p (place)
                offset 0) k
          offset 0) asked;
    places_left := places;
    -- Of those who ask for the same one, the first is plain; the others come after it.
    if names < cardinality(places) then
        select t.first_places, t.later_places into places, later_places from try_lock_together(places, mutex_groups, mutex_modes, mutex_ids) t;
        places_left := places || later_places;
    end if;

    decided_at := clock_timestamp();
    select array_agg(p.place), array_agg(h.ctid), bool_and(h.ends) into locked_places, locked_rows, all_end
    from unnest(places) p (place)
    cross join lateral (
        select h.ctid, isfinite(h.expires_at) is true or h.auto_release_rule = 'connection' as ends from mutex_model h
        where h.mutex_group = mutex_groups[least(p.place, cardinality(mutex_groups))]
          and h.mutex_mode = mutex_modes[least(p.place, cardinality(mutex_modes))] and h.mutex_id = mutex_ids[p.place]
          -- Said so that the index of owners is of no use: one owner may hold many.
          and (h.owner_session = owner_sessions[least(p.place, cardinality(owner_sessions))]) is true
          and (fencing_tokens[least(p.place, cardinality(fencing_tokens))] is null
               or h.fencing_token = fencing_tokens[least(p.place, cardinality(fencing_tokens))])
          and (h.expires_at is null or h.expires_at >= decided_at)
          and (h.auto_release_rule <> 'connection' or not session_is_gone(h.auto_release_config))
        order by h.permit
        limit 1
        for update skip locked) h
    where (select true from mutex_waiter w
           where w.mutex_group = mutex_groups[least(p.place, cardinality(mutex_groups))]
             and w.mutex_mode = mutex_modes[least(p.place, cardinality(mutex_modes))] and w.mutex_id = mutex_ids[p.place]
           limit 1) is null;
    if cardinality(locked_places) = cardinality(places_left) then
        places_left := null;
    else
        select array_agg(p.place order by p.place) into places_left from unnest(places_left) p (place)
        where p.place <> all (coalesce(locked_places, '{}'));
    end if;
end
$function$

-- How many advisory locks a decision about a mutex takes: of a path one for each level, and one for the root.
CREATE OR REPLACE FUNCTION pgmutex.locks_of(mutex_id text)
 RETURNS integer
 LANGUAGE sql
 IMMUTABLE PARALLEL SAFE
AS $function$ select case when is_path(mutex_id) then length(mutex_id) - length(replace(mutex_id, '/', '')) else 1 end $function$

-- Says of a session that is due whether it can be taken now, and if not, when to look again.
CREATE OR REPLACE FUNCTION pgmutex.look_at_lease(collection text, id bigint, fencing_token bigint)
 RETURNS void
 LANGUAGE plpgsql
AS $function$
#variable_conflict use_column
declare
    now_is  timestamptz := clock_timestamp();
    again   timestamptz;
    rule    text;
    config  text;
    ends_at timestamptz;
begin
    if look_at_lease.fencing_token is not null then
        select h.auto_release_rule, h.auto_release_config, h.expires_at into rule, config, ends_at from hold h
        where h.mutex_group = 'pgmutex.pool' and h.mutex_mode = look_at_lease.collection and h.mutex_id = look_at_lease.id::text
          and h.fencing_token = look_at_lease.fencing_token;
        if found and hold_is_over(rule, config, ends_at, now_is) then
            perform 1 from hold h
            where h.mutex_group = 'pgmutex.pool' and h.mutex_mode = look_at_lease.collection and h.mutex_id = look_at_lease.id::text
              and h.fencing_token = look_at_lease.fencing_token
              and hold_is_over(h.auto_release_rule, h.auto_release_config, h.expires_at, now_is)
            for update skip locked;
            if found then
                -- Its trigger gives the session back.
                delete from hold h
                where h.mutex_group = 'pgmutex.pool' and h.mutex_mode = look_at_lease.collection and h.mutex_id = look_at_lease.id::text
                  and h.fencing_token = look_at_lease.fencing_token;
                return;
            end if;
            again := now_is + interval '1 second';  -- behind its fence, or being refreshed
        elsif found then
            again := least(ends_at, case when rule = 'connection' then now_is + interval '15 seconds' else 'infinity' end);
        end if;
    end if;
    update pool_session p
    set look_at_lease = again, fencing_token = case when again is not null then p.fencing_token end
    where p.collection = look_at_lease.collection and p.id = look_at_lease.id;
end
$function$

-- Asked by a process that waits, about once a second: which of its tickets are first in line, whether their turn has come as far as can be seen, and when to look again at the latest. tickets is the list of all that it knows: those that are no more are named, too, and places that it does not know are given up after 15 seconds.
CREATE OR REPLACE FUNCTION pgmutex.look_at_lines(listener bigint, has_session boolean, tickets bigint[] DEFAULT NULL::bigint[])
 RETURNS TABLE(ticket bigint, is_my_turn boolean, look_again_in interval)
 LANGUAGE plpgsql
 SECURITY DEFINER
 SET search_path TO 'pgmutex', 'pg_temp'
 SET lock_timeout TO '1s'
 SET enable_seqscan TO 'off'
 SET jit TO 'off'
 SET enable_hashjoin TO 'off'
 SET enable_mergejoin TO 'off'
AS $function$
#variable_conflict use_column
declare
    now_is timestamptz := clock_timestamp();
begin
    if pg_is_in_recovery() then
        perform refuse_transaction();
    end if;
    if look_at_lines.listener is null or look_at_lines.has_session is null then
        perform refuse_input('listener and has_session must not be null: they say who asks');
    end if;
    perform listener_is_seen(look_at_lines.listener, look_at_lines.has_session);

    return query
    select head.ticket,
           could_be_captured(line.mutex_group, line.mutex_mode, line.mutex_id, head.ticket, head.access, head.permits,
                             head.owner_session, head.lock_parents, head.lock_children),
           -- Nobody says when the session of a holder ends: it must be looked at.
           (select min(case when h.expires_at < now_is then interval '0'
                            when h.auto_release_rule = 'connection' then least(h.expires_at - now_is, interval '1 second')
                            when isfinite(h.expires_at) then h.expires_at - now_is end)
            from (select h.expires_at, h.auto_release_rule from hold h
                  where h.mutex_group = line.mutex_group and h.mutex_mode = line.mutex_mode and h.mutex_id = line.mutex_id
                  union all
                  select i.blocker_ends_at, i.blocker_rule
                  from hold_in_the_way(line.mutex_group, line.mutex_mode, line.mutex_id, head.owner_session, head.access, false) i
                  where is_path(line.mutex_id)
                  union all
                  -- A session of a pool, when its time has come; or the lease of one, whose holder may be gone.
                  (select p.due_at, case when p.fencing_token is not null then 'connection' end
                   from pool_session p
                   where line.mutex_group = 'pgmutex.pool' and p.collection = line.mutex_mode and p.active and not p.is_ready
                     and p.due_at > now_is  -- what is due already makes it this waiter's turn
                   order by p.due_at
                   limit 1)) h)
    from (select distinct w.mutex_group, w.mutex_mode, w.mutex_id from mutex_waiter w where w.listener = look_at_lines.listener) line
    cross join lateral (select w.ticket, w.listener, w.access, w.permits, w.owner_session, w.lock_parents, w.lock_children
                        from mutex_waiter w
                        where w.mutex_group = line.mutex_group and w.mutex_mode = line.mutex_mode and w.mutex_id = line.mutex_id
                          and (w.listener = look_at_lines.listener or not waiter_is_gone(w.listener, w.seen_at))
                        order by w.ticket
                        limit 1) head
    where head.listener = look_at_lines.listener;

    -- Tickets that are no more: the server has crashed meanwhile, or they were taken for dead.
    return query
    select asked.ticket, true, null::interval
    from unnest(look_at_lines.tickets) asked (ticket)
    where not exists (select from mutex_waiter w where w.listener = look_at_lines.listener and w.ticket = asked.ticket);

    -- Tickets that the process knows nothing of: their answers were lost, and nobody will ask for them.
    delete from mutex_waiter w
    where look_at_lines.tickets is not null
      and (w.mutex_group, w.mutex_mode, w.mutex_id, w.ticket) in (
          select lost.mutex_group, lost.mutex_mode, lost.mutex_id, lost.ticket from mutex_waiter lost
          where lost.listener = look_at_lines.listener and lost.ticket <> all (look_at_lines.tickets)
            and lost.seen_at < clock_timestamp() - interval '15 seconds'
          for update skip locked);

    delete from mutex_listener l
    where l.listener in (select old.listener from mutex_listener old
                         where old.seen_at < clock_timestamp() - interval '10 minutes'
                           and not exists (select from mutex_waiter w where w.listener = old.listener)
                         for update skip locked);
end
$function$

-- The setting of a rule as m3-mutex means it, such as this schema takes it.
CREATE OR REPLACE FUNCTION pgmutex.m3_mutex_config(rule text, config text)
 RETURNS text
 LANGUAGE plpgsql
 IMMUTABLE PARALLEL SAFE
 SET search_path TO 'pgmutex', 'pg_temp'
AS $function$
declare
    trimmed text := btrim(config, E' \t\r\n');
begin
    if rule is distinct from 'timeout' then
        return coalesce(config, '');
    elsif coalesce(trimmed !~ '^[+-]?[0-9]+$', true) then
        return '300';
    elsif left(trimmed, 1) = '-' then
        return trimmed;
    end if;
    trimmed := coalesce(nullif(ltrim(trimmed, '+0'), ''), '300');
    return case when length(trimmed) > 10 then '3153600000' else least(trimmed::bigint, 3153600000)::text end;
end
$function$

-- DELETE through a view m3_mutex: releases the hold, if it was captured or refreshed through the view. Any other stays until it is over, and so does one that has come into the place of the one read before, or was refreshed since; a warning tells.
CREATE OR REPLACE FUNCTION pgmutex.m3_mutex_delete()
 RETURNS trigger
 LANGUAGE plpgsql
 SECURITY DEFINER
 SET search_path TO 'pgmutex', 'pg_temp'
 SET lock_timeout TO '5s'
 SET enable_seqscan TO 'off'
 SET jit TO 'off'
AS $function$
#variable_conflict use_column
declare
    hold_now mutex_model;
    token    bigint := m3_mutex_token_read(old.mutex_group, old.mutex_mode, old.mutex_id);
    since    timestamptz := case when token is not null then current_setting('pgmutex.m3_read')::jsonb ->> 4 end;
    answer   hold_outcome;
    why_not  text;
begin
    -- A refresh on its way is waited out, as in release, and none comes in between any more: whoever took the hold for over must not
    -- remove it after its holder has refreshed it in time.
    perform lock_mutex(old.mutex_group, old.mutex_mode, old.mutex_id);
    select m.* into hold_now from mutex_model m
    where m.mutex_group = old.mutex_group and m.mutex_mode = old.mutex_mode and m.mutex_id = old.mutex_id
      and ((m.fencing_token & 9223372036854775807) % 2147483647 + 1)::integer = old.id
    for no key update;
    if not found then
        return null;
    elsif hold_now.fencing_token <> token then
        why_not := 'it is another hold than the one read before';
    elsif hold_now.captured_since <> since then
        why_not := 'it has been refreshed since it was read';
    elsif not hold_now.through_m3_mutex
          and not hold_is_over(hold_now.auto_release_rule, hold_now.auto_release_config, hold_now.expires_at, clock_timestamp()) then
        why_not := 'it was not captured through this view, and is not over';
    else
        answer := release(old.mutex_group, old.mutex_mode, old.mutex_id, old.owner_session, hold_now.fencing_token);
        if answer.outcome <> 'busy' then
            perform set_config('pgmutex.m3_has_written', 'on', true);
            return old;
        end if;
        why_not := 'a write behind its fence is under way';
    end if;
    -- On one line, whatever the names contain: a line of the log must not be forged.
    raise warning using message = regexp_replace(format(
        'pgmutex: the hold of mutex %L/%L/%L by %s stays: %s',
        old.mutex_group, old.mutex_mode, old.mutex_id, owner_in_words(old.owner_name, old.owner_login, old.owner_session), why_not), '[[:cntrl:]]', ' ', 'g');
    return null;
end
$function$

-- INSERT through a view m3_mutex: captures, or refreshes what the same session has. Where another holds the mutex or waits for it: unique_violation.
CREATE OR REPLACE FUNCTION pgmutex.m3_mutex_insert()
 RETURNS trigger
 LANGUAGE plpgsql
 SECURITY DEFINER
 SET search_path TO 'pgmutex', 'pg_temp'
 SET lock_timeout TO '5s'
 SET enable_seqscan TO 'off'
 SET jit TO 'off'
AS $function$
#variable_conflict use_column
declare
    answer hold_outcome;
begin
    answer := capture(new.mutex_group, new.mutex_mode, new.mutex_id, new.owner_session, new.owner_host, new.owner_id, new.owner_login,
                      new.owner_name, coalesce(new.auto_release_rule, ''),
                      m3_mutex_config(new.auto_release_rule, new.auto_release_config), new.status_data);
    if answer.outcome = 'busy' then
        raise unique_violation using
            message = format('mutex %L/%L/%L %s %s since %s', new.mutex_group, new.mutex_mode, new.mutex_id,
                             case when answer.fencing_token = 0 then 'is waited for by' else 'is held by' end,
                             owner_in_words(answer.owner_name, answer.owner_login, answer.owner_session), answer.held_since),
            hint = 'Another was faster, or came before: the mutex was not captured.',
            constraint = 'mutex_is_held';
    end if;
    update mutex_model m set through_m3_mutex = true
    where m.mutex_group = answer.mutex_group and m.mutex_mode = answer.mutex_mode and m.mutex_id = answer.mutex_id
      and m.fencing_token = answer.fencing_token;
    perform set_config('pgmutex.m3_has_written', 'on', true);
    new.id := (answer.fencing_token & 9223372036854775807) % 2147483647 + 1;
    new.owner_host := answer.owner_host;
    new.owner_id := answer.owner_id;
    new.owner_login := answer.owner_login;
    new.owner_name := answer.owner_name;
    new.auto_release_rule := answer.auto_release_rule;
    new.auto_release_config := answer.auto_release_config;
    new.captured_since := answer.captured_since;
    new.status_data := answer.status_data;
    return new;
end
$function$

-- What is called m3_mutex in a schema, if anything is.
CREATE OR REPLACE FUNCTION pgmutex.m3_mutex_relation(in_schema name)
 RETURNS pg_class
 LANGUAGE plpgsql
 SET search_path TO 'pgmutex', 'pg_temp'
AS $function$
declare
    found_relation pg_class;
begin
    if in_schema is null or to_regnamespace(quote_ident(in_schema)) is null then
        perform refuse_input(format('there is no schema %s', coalesce(quote_ident(in_schema), 'null')));
    end if;
    select c.* into found_relation from pg_class c
    where c.relnamespace = to_regnamespace(quote_ident(in_schema)) and c.relname = 'm3_mutex';
    return found_relation;
end
$function$

-- The fencing token of the hold that this database session has last read through a view m3_mutex, if it was one of this mutex.
CREATE OR REPLACE FUNCTION pgmutex.m3_mutex_token_read(mutex_group text, mutex_mode text, mutex_id text)
 RETURNS bigint
 LANGUAGE plpgsql
 SET search_path TO 'pgmutex', 'pg_temp'
AS $function$
declare
    seen jsonb := nullif(current_setting('pgmutex.m3_read', true), '')::jsonb;
begin
    if seen ->> 1 = m3_mutex_token_read.mutex_group and seen ->> 2 = m3_mutex_token_read.mutex_mode
       and seen ->> 3 = m3_mutex_token_read.mutex_id then
        return (seen ->> 0)::bigint;
    end if;
    return null;
end
$function$

-- UPDATE through a view m3_mutex: refreshes the hold, by the database's clock whatever captured_since is sent, and takes status_data and the rule. Where the hold read before is gone, or another's by now: unique_violation.
CREATE OR REPLACE FUNCTION pgmutex.m3_mutex_update()
 RETURNS trigger
 LANGUAGE plpgsql
 SECURITY DEFINER
 SET search_path TO 'pgmutex', 'pg_temp'
 SET lock_timeout TO '5s'
 SET enable_seqscan TO 'off'
 SET jit TO 'off'
AS $function$
#variable_conflict use_column
declare
    refreshed   mutex_model;
    new_config  text := m3_mutex_config(new.auto_release_rule, new.auto_release_config);
    is_new_rule boolean := (new.auto_release_rule, new.auto_release_config) is distinct from (old.auto_release_rule, old.auto_release_config);
begin
    perform check_call(old.mutex_group, old.mutex_mode, old.mutex_id, old.owner_session);
    perform check_text('status_data', new.status_data, 65536);
    if (new.id, new.mutex_group, new.mutex_mode, new.mutex_id, new.owner_session, new.owner_host, new.owner_id, new.owner_login, new.owner_name)
       is distinct from
       (old.id, old.mutex_group, old.mutex_mode, old.mutex_id, old.owner_session, old.owner_host, old.owner_id, old.owner_login, old.owner_name) then
        perform refuse_input('a hold keeps its mutex and its owner: an UPDATE refreshes it, and changes status_data or the rule at most');
    elsif is_new_rule then
        perform check_rule(coalesce(new.auto_release_rule, ''), new_config);
    end if;

    update mutex_model m
    set captured_since = clock_timestamp(),
        status_data = new.status_data,
        auto_release_rule = case when is_new_rule then coalesce(new.auto_release_rule, '') else m.auto_release_rule end,
        auto_release_config = case when is_new_rule then new_config else m.auto_release_config end,
        through_m3_mutex = true
    where m.mutex_group = old.mutex_group and m.mutex_mode = old.mutex_mode and m.mutex_id = old.mutex_id
      and ((m.fencing_token & 9223372036854775807) % 2147483647 + 1)::integer = old.id
      and m.fencing_token = coalesce(m3_mutex_token_read(old.mutex_group, old.mutex_mode, old.mutex_id), m.fencing_token)
      and not hold_is_over(m.auto_release_rule, m.auto_release_config, m.expires_at, clock_timestamp())
    returning m.* into refreshed;
    if not found then
        raise unique_violation using
            message = format('mutex %L/%L/%L is no longer held: its hold ended before it could be refreshed',
                             old.mutex_group, old.mutex_mode, old.mutex_id),
            hint = 'Capture it again.',
            constraint = 'mutex_is_held';
    end if;
    perform be_durable(), set_config('pgmutex.m3_has_written', 'on', true);
    new.captured_since := refreshed.captured_since;
    new.auto_release_rule := refreshed.auto_release_rule;
    new.auto_release_config := refreshed.auto_release_config;
    return new;
end
$function$

-- Before each statement that writes through a view m3_mutex.
CREATE OR REPLACE FUNCTION pgmutex.m3_mutex_write_begins()
 RETURNS trigger
 LANGUAGE plpgsql
 SECURITY DEFINER
 SET search_path TO 'pgmutex', 'pg_temp'
 SET enable_seqscan TO 'off'
 SET jit TO 'off'
AS $function$
begin
    perform set_config('pgmutex.m3_writes', 'on', true), set_config('pgmutex.m3_has_written', '', true);
    return null;
end
$function$

-- After each statement that writes through a view m3_mutex: an UPDATE that meant the hold last read, which is gone, fails; a DELETE that removed nothing sweeps.
CREATE OR REPLACE FUNCTION pgmutex.m3_mutex_write_ends()
 RETURNS trigger
 LANGUAGE plpgsql
 SECURITY DEFINER
 SET search_path TO 'pgmutex', 'pg_temp'
 SET lock_timeout TO '5s'
 SET enable_seqscan TO 'off'
 SET jit TO 'off'
AS $function$
declare
    seen        jsonb := nullif(current_setting('pgmutex.m3_read', true), '')::jsonb;
    has_written boolean := current_setting('pgmutex.m3_has_written', true) = 'on';
begin
    perform set_config('pgmutex.m3_writes', '', true), set_config('pgmutex.m3_read', '', false);
    if has_written then
        return null;
    elsif tg_op = 'UPDATE' and seen is not null
       and not exists (select from held h
                       where h.mutex_group = seen ->> 1 and h.mutex_mode = seen ->> 2 and h.mutex_id = seen ->> 3
                         and h.fencing_token = (seen ->> 0)::bigint) then
        raise unique_violation using
            message = format('mutex %L/%L/%L is no longer held: its hold ended before it could be refreshed', seen ->> 1, seen ->> 2, seen ->> 3),
            hint = 'Capture it again.',
            constraint = 'mutex_is_held';
    elsif tg_op = 'DELETE' and statement_timestamp() - transaction_timestamp() < interval '10 milliseconds' then
        -- Not in a larger transaction, which would keep the turns of up to 100 other mutexes to its end. (A driver that sends a statement
        -- in parts begins its transaction a moment earlier.)
        -- The package's own clearing away of what is over finds nothing here, because that is not shown.
        perform sweep(100);
    end if;
    return null;
end
$function$

-- Used by keep_audit; not called directly.
CREATE OR REPLACE FUNCTION pgmutex.make_audit_partition(name text, bounds text, events_from text)
 RETURNS void
 LANGUAGE plpgsql
 SET search_path TO 'pgmutex', 'pg_temp'
AS $function$
declare
    reader text;
begin
    execute format('create table %I (like audit including defaults including constraints including comments)', name);
    -- Whoever may do this for the owner, a superuser perhaps, does not become the owner of events.
    execute format('alter table %I owner to %s', name, (select c.relowner::regrole from pg_class c where c.oid = 'audit'::regclass));
    execute format('revoke all on type %I from public', name);
    -- What default privileges have given away: whoever may read the audit reads it as a whole.
    for reader in
        select distinct case when a.grantee = 0 then 'public' else a.grantee::regrole::text end
        from pg_class c cross join aclexplode(c.relacl) a
        where c.oid = to_regclass(quote_ident(name)) and a.grantee <> c.relowner
    loop
        execute format('revoke all on table %I from %s', name, reader);
    end loop;
    execute format('comment on table %I is %L', name, 'A part of the audit: ' || bounds);
    execute format('create trigger audit_is_not_emptied before truncate on %I for each statement execute function audit_only_grows()', name);
    if events_from is not null then
        execute format('insert into %I (at, number, event, mutex_group, mutex_mode, mutex_id, permit, fencing_token, owner_session, owner_host, '
                       'owner_id, owner_login, owner_name, reason, database_role, client_address, application_name) '
                       'select e.at, e.number, e.event, e.mutex_group, e.mutex_mode, e.mutex_id, e.permit, e.fencing_token, e.owner_session, '
                       'e.owner_host, e.owner_id, e.owner_login, e.owner_name, e.reason, e.database_role, e.client_address, e.application_name %s',
                       name, events_from);
    end if;
    execute format('alter table audit attach partition %I %s', name, bounds);
end
$function$

-- Whether the caller may make another database role the owner of what it owns.
CREATE OR REPLACE FUNCTION pgmutex.may_become(database_role oid)
 RETURNS boolean
 LANGUAGE plpgsql
 SET search_path TO 'pgmutex', 'pg_temp'
AS $function$
begin
    -- PostgreSQL 16 tells being a member from being allowed to act as the role.
    return pg_has_role(database_role, case when current_setting('server_version_num')::integer >= 160000 then 'SET' else 'MEMBER' end);
end
$function$

-- The key of the advisory transaction lock behind which decisions about a mutex are made. Two mutexes with one key only take turns.
CREATE OR REPLACE FUNCTION pgmutex.mutex_key(mutex_group text, mutex_mode text, mutex_id text)
 RETURNS bigint
 LANGUAGE sql
 IMMUTABLE PARALLEL SAFE
AS $function$
    select hashtextextended(
        octet_length(mutex_group)::text || ':' || octet_length(mutex_mode)::text || ':' || mutex_group || mutex_mode || mutex_id,
        31638917211252088)  -- the bytes of 'pgmutex': keys that an application makes for itself do not meet ours by accident
$function$

-- The next fencing token: larger than every one given before, also after a failover. For rows that another program inserts.
CREATE OR REPLACE FUNCTION pgmutex.next_fencing_token()
 RETURNS bigint
 LANGUAGE plpgsql
 SECURITY DEFINER
 SET search_path TO 'pgmutex', 'pg_temp'
 SET enable_seqscan TO 'off'
 SET jit TO 'off'
AS $function$
begin
    return draw_fencing_token();
end
$function$

-- Whose hold it is, for messages: the name, the login, or else a digest of the session, as the view held shows it.
CREATE OR REPLACE FUNCTION pgmutex.owner_in_words(owner_name text, owner_login text, owner_session text)
 RETURNS text
 LANGUAGE sql
 STABLE PARALLEL SAFE
AS $function$
    select coalesce(nullif(owner_name, ''), nullif(owner_login, ''),
                    'session sha256:' || left(encode(sha256(convert_to(owner_session, getdatabaseencoding()::name)), 'hex'), 12))
$function$

-- The names of a dotted path. Raises PM003 if it is none.
CREATE OR REPLACE FUNCTION pgmutex.path_of_key(key text)
 RETURNS text[]
 LANGUAGE plpgsql
AS $function$
declare
    path text[] := string_to_array(key, '.');
begin
    if coalesce(cardinality(path), 0) = 0 or '' = any (path) then
        perform refuse_input(format('%L is no path: it is made of names with dots between them', key));
    elsif cardinality(path) > 100 then
        perform refuse_input('a path has more than 100 names');
    end if;
    return path;
end
$function$

-- The paths above a path, the root first.
CREATE OR REPLACE FUNCTION pgmutex.paths_above(mutex_id text)
 RETURNS text[]
 LANGUAGE sql
 IMMUTABLE PARALLEL SAFE
AS $function$
    select coalesce(array_agg(array_to_string(segments.list[1:level], '/') || '/' order by level), '{}')
    from (values (string_to_array(mutex_id, '/'))) segments (list)
    cross join generate_series(1, cardinality(segments.list) - 2) level
$function$

-- Puts a session into use again. Outcome updated or not_found.
CREATE OR REPLACE FUNCTION pgmutex.pool_activate(collection text, id bigint)
 RETURNS pgmutex.pool_outcome
 LANGUAGE plpgsql
 SECURITY DEFINER
 SET search_path TO 'pgmutex', 'pg_temp'
 SET lock_timeout TO '5s'
 SET enable_seqscan TO 'off'
 SET jit TO 'off'
AS $function$ begin return activate_session(pool_activate.collection, pool_activate.id, true); end $function$

-- Adds a session to a pool, ready to be used. Outcome added.
CREATE OR REPLACE FUNCTION pgmutex.pool_add(collection text, payload jsonb)
 RETURNS pgmutex.pool_outcome
 LANGUAGE plpgsql
 SECURITY DEFINER
 SET search_path TO 'pgmutex', 'pg_temp'
 SET lock_timeout TO '5s'
 SET enable_seqscan TO 'off'
 SET jit TO 'off'
AS $function$
#variable_conflict use_column
declare
    added bigint;
begin
    perform check_pool(pool_add.collection);
    perform check_payload(pool_add.payload);
    insert into pool_session (collection, payload) values (pool_add.collection, pool_add.payload) returning id into added;
    perform pg_advisory_xact_lock_shared(mutex_key('pgmutex.pool', pool_add.collection, ''));
    perform wake_pool(pool_add.collection);
    return session_answer('added', pool_add.collection, added);
end
$function$

-- As pool_lock, for long: statistics count it as blocked.
CREATE OR REPLACE FUNCTION pgmutex.pool_block(collection text, id bigint, period interval DEFAULT '1 day'::interval, fencing_token bigint DEFAULT NULL::bigint)
 RETURNS pgmutex.pool_outcome
 LANGUAGE plpgsql
 SECURITY DEFINER
 SET search_path TO 'pgmutex', 'pg_temp'
 SET lock_timeout TO '5s'
 SET enable_seqscan TO 'off'
 SET jit TO 'off'
AS $function$
begin
    return session_answer(
        case when lock_session(pool_block.collection, pool_block.id, pool_block.period, pool_block.fencing_token, true)
             then 'updated' else 'not_found' end, pool_block.collection, pool_block.id);
end
$function$

-- Takes a session as pool_get_session does, and leases it: it stays with its owner until it is released (release of the mutex in lease), or until the rule ends the hold. lease.outcome is captured, refreshed (the same owner_session has one already), none, or with wait => true queued: ask again as with capture.
CREATE OR REPLACE FUNCTION pgmutex.pool_checkout(collection text, owner_session text, owner_host text DEFAULT ''::text, owner_id text DEFAULT ''::text, owner_login text DEFAULT ''::text, owner_name text DEFAULT ''::text, auto_release_rule text DEFAULT 'timeout'::text, auto_release_config text DEFAULT '300'::text, status_data text DEFAULT NULL::text, count_use bigint DEFAULT 1, next_use_delay interval DEFAULT '00:00:03'::interval, filter jsonb DEFAULT '[]'::jsonb, wait boolean DEFAULT false, listener bigint DEFAULT NULL::bigint, while_holding bigint[] DEFAULT NULL::bigint[], OUT lease pgmutex.hold_outcome, OUT session pgmutex.pool_outcome)
 RETURNS record
 LANGUAGE plpgsql
 SECURITY DEFINER
 SET search_path TO 'pgmutex', 'pg_temp'
 SET lock_timeout TO '5s'
 SET enable_seqscan TO 'off'
 SET jit TO 'off'
AS $function$
#variable_conflict use_column
declare
    condition  text;
    line       text := pool_line(pool_checkout.filter);
    taken      bigint;
    own_ticket bigint;
    ahead      bigint;
    now_is     timestamptz;
    another    record;
    is_behind  boolean := false;
begin
    perform check_pool(pool_checkout.collection);
    if coalesce(pool_checkout.owner_session, '') = '' then
        perform refuse_input('owner_session is empty: it says who holds the session');
    end if;
    perform check_rule(coalesce(pool_checkout.auto_release_rule, ''), pool_checkout.auto_release_config);
    perform check_period('next_use_delay', pool_checkout.next_use_delay);
    perform check_count('count_use', pool_checkout.count_use);
    perform check_text('owner_session', pool_checkout.owner_session, 400);
    perform check_text('owner_host', pool_checkout.owner_host, 1600);
    perform check_text('owner_id', pool_checkout.owner_id, 400);
    perform check_text('owner_login', pool_checkout.owner_login, 400);
    perform check_text('owner_name', pool_checkout.owner_name, 400);
    perform check_text('status_data', pool_checkout.status_data, 65536);
    condition := pool_condition(pool_checkout.filter);

    -- The owner session is the request: the same one gets the same session.
    perform pg_advisory_xact_lock(mutex_key('pgmutex.pool', pool_checkout.collection, 'request ' || pool_checkout.owner_session));
    select p.id into taken from pool_session p
    where p.collection = pool_checkout.collection and p.request_id = pool_checkout.owner_session;
    if found then
        update hold h
        set captured_since = clock_timestamp()
        where h.mutex_group = 'pgmutex.pool' and h.mutex_mode = pool_checkout.collection and h.mutex_id = taken::text
          and h.owner_session = pool_checkout.owner_session
          and not hold_is_over(h.auto_release_rule, h.auto_release_config, h.expires_at, clock_timestamp())
        returning 'refreshed', h.*, h.captured_since, null, null, null, null
        into lease;
        if found then
            session := session_answer('refreshed', pool_checkout.collection, taken);
            perform be_durable();
            return;
        end if;
        -- It had one, and has lost it. Another may be taking that one at this moment.
        update pool_session p set request_id = null
        where p.collection = pool_checkout.collection and p.id = taken and p.request_id = pool_checkout.owner_session;
        taken := null;
    end if;

    if exists (select from mutex_waiter w
               where w.mutex_group = 'pgmutex.pool' and w.mutex_mode = pool_checkout.collection and w.mutex_id = line) then
        is_behind := true;
    else
        taken := take_session(pool_checkout.collection, condition);
    end if;
    if taken is null and (pool_checkout.wait or is_behind) then
        -- Behind this lock a session that comes back is seen, or finds who waits for it.
        perform pg_advisory_xact_lock(mutex_key('pgmutex.pool', pool_checkout.collection, ''));
        select w.ticket into own_ticket from mutex_waiter w
        where w.owner_session = pool_checkout.owner_session
          and mutex_key(w.mutex_group, w.mutex_mode, w.mutex_id) = mutex_key('pgmutex.pool', pool_checkout.collection, line)
          and (w.mutex_group = 'pgmutex.pool' and w.mutex_mode = pool_checkout.collection and w.mutex_id = line) is true;
        ahead := first_in_line('pgmutex.pool', pool_checkout.collection, line, own_ticket);
        if ahead is null then
            taken := take_session(pool_checkout.collection, condition);
        end if;
        if taken is null and pool_checkout.wait then
            own_ticket := join_line('pgmutex.pool', pool_checkout.collection, line, null, 'exclusive', null,
                                    pool_checkout.owner_session, pool_checkout.owner_host, pool_checkout.owner_id,
                                    pool_checkout.owner_login, pool_checkout.owner_name, pool_checkout.while_holding,
                                    pool_checkout.listener, false, false);
            session := session_answer('queued', pool_checkout.collection, null);
            lease.outcome := 'queued';
            lease.ticket := own_ticket;
        end if;
    end if;
    if taken is null then
        if session.outcome is null then
            session := session_answer('none', pool_checkout.collection, null);
            lease.outcome := 'none';
        end if;
        lease.mutex_group := 'pgmutex.pool';
        lease.mutex_mode := pool_checkout.collection;
        lease.mutex_id := line;
        lease.observed_at := session.observed_at;
        return;
    end if;

    now_is := clock_timestamp();
    insert into hold (mutex_group, mutex_mode, mutex_id, permit, permits,
                      owner_session, owner_host, owner_id, owner_login, owner_name,
                      auto_release_rule, auto_release_config, captured_since, status_data, fencing_token, held_since,
                      lock_parents, lock_children)
    values ('pgmutex.pool', pool_checkout.collection, taken::text, 0, null,
            pool_checkout.owner_session, coalesce(pool_checkout.owner_host, ''), coalesce(pool_checkout.owner_id, ''),
            coalesce(pool_checkout.owner_login, ''), coalesce(pool_checkout.owner_name, ''),
            coalesce(pool_checkout.auto_release_rule, ''), coalesce(pool_checkout.auto_release_config, ''),
            now_is, pool_checkout.status_data, draw_fencing_token(), now_is, false, false)
    on conflict do nothing
    returning 'captured', hold.*, now_is, null, null, null, null
    into lease;
    if not found then
        -- Somebody has made the row forget its lease. The session is that hold's still; this call asks for another.
        update pool_session p set fencing_token = h.fencing_token, look_at_lease = now_is
        from hold h
        where p.collection = pool_checkout.collection and p.id = taken
          and h.mutex_group = 'pgmutex.pool' and h.mutex_mode = p.collection and h.mutex_id = p.id::text;
        select c.* into another
        from pool_checkout(pool_checkout.collection, pool_checkout.owner_session, pool_checkout.owner_host, pool_checkout.owner_id,
                           pool_checkout.owner_login, pool_checkout.owner_name, pool_checkout.auto_release_rule,
                           pool_checkout.auto_release_config, pool_checkout.status_data, pool_checkout.count_use,
                           pool_checkout.next_use_delay, pool_checkout.filter, pool_checkout.wait, pool_checkout.listener,
                           pool_checkout.while_holding) c;
        lease := another.lease;
        session := another.session;
        return;
    end if;
    update pool_session p
    set last_use = now_is, next_use = now_is + coalesce(pool_checkout.next_use_delay, interval '3 seconds'), is_blocked = false,
        use_count = least(p.use_count, 9000000000000000000) + pool_checkout.count_use, request_id = pool_checkout.owner_session,
        fencing_token = lease.fencing_token,
        look_at_lease = least(lease.expires_at, case when lease.auto_release_rule = 'connection' then now_is + interval '15 seconds'
                                                     else 'infinity' end)
    where p.collection = pool_checkout.collection and p.id = taken;
    if own_ticket is not null then
        delete from mutex_waiter w
        where w.mutex_group = 'pgmutex.pool' and w.mutex_mode = pool_checkout.collection and w.mutex_id = line and w.ticket = own_ticket;
        perform wake_pool(pool_checkout.collection);
    end if;
    perform be_durable();
    session := session_answer('captured', pool_checkout.collection, taken);
end
$function$

-- The condition that a filter stands for, built of checked names and quoted values.
CREATE OR REPLACE FUNCTION pgmutex.pool_condition(filter jsonb)
 RETURNS text
 LANGUAGE plpgsql
AS $function$
declare
    test      jsonb;
    field     text;
    operator  text;
    wanted    text;
    conditions text[] := '{}';
begin
    if coalesce(jsonb_typeof(filter), 'array') <> 'array' then
        perform refuse_input('filter must be an array of conditions');
    elsif jsonb_array_length(coalesce(filter, '[]')) > 100 then
        perform refuse_input('at most 100 conditions go into one filter');
    end if;
    for test in select t.value from jsonb_array_elements(coalesce(filter, '[]')) t loop
        if jsonb_typeof(test) <> 'object' then
            perform refuse_input('a condition must be an object');
        end if;
        field := coalesce(test ->> 'field', 'payload');
        operator := case test ->> 'test'
            when 'equal' then '=' when 'not_equal' then '<>' when 'less' then '<' when 'less_or_equal' then '<='
            when 'greater' then '>' when 'greater_or_equal' then '>=' when 'contains' then '@>'
            when 'exists' then 'is not null' when 'missing' then 'is null' end;
        if operator is null then
            perform refuse_input(format('%s is no test', coalesce(test ->> 'test', 'nothing')));
        end if;
        if field = 'payload' then
            if test ->> 'path' is null and operator <> '@>' then
                perform refuse_input('a condition about the payload needs a path');
            end if;
            wanted := case when test ->> 'path' is null then 'p.payload'
                           else format('(p.payload #> %L::text[])', path_of_key(test ->> 'path')) end;
            -- Values of different kinds are not compared by size.
            wanted := case
                when operator in ('is not null', 'is null') then format('%s %s', wanted, operator)
                when operator in ('<', '<=', '>', '>=')
                    then format('%1$s %2$s %3$L::jsonb and jsonb_typeof%4$s = %5$L', wanted, operator, test -> 'value',
                                '(p.payload #> ' || quote_literal(path_of_key(test ->> 'path')) || '::text[])', jsonb_typeof(test -> 'value'))
                when operator = '<>' then format('%s is distinct from %L::jsonb', wanted, test -> 'value')
                else format('%s %s %L::jsonb', wanted, operator, test -> 'value') end;
            if test -> 'value' is null and operator not in ('is not null', 'is null') then
                perform refuse_input('a condition needs a value');
            end if;
        elsif field in ('id', 'active', 'next_use', 'last_use', 'use_count', 'success_count', 'created_at', 'updated_at', 'fencing_token') then
            if operator = '@>' then
                perform refuse_input('contains goes with the payload');
            elsif operator in ('is not null', 'is null') then
                wanted := format('p.%I %s', field, operator);
            elsif test ->> 'value' is null then
                perform refuse_input('a condition needs a value');
            else
                wanted := format('p.%I %s %L', field, operator, test ->> 'value');
                begin
                    perform case when field = 'active' then test ->> 'value' end::boolean,
                            case when field in ('id', 'use_count', 'success_count', 'fencing_token') then test ->> 'value' end::bigint,
                            case when field in ('next_use', 'last_use', 'created_at', 'updated_at') then test ->> 'value' end::timestamptz;
                exception when data_exception then
                    perform refuse_input(format('%L is no value for %s', test ->> 'value', field));
                end;
            end if;
        else
            perform refuse_input(format('%L is no field of a session', field));
        end if;
        conditions := conditions || format('(%s)', wanted);
    end loop;
    return coalesce(nullif(array_to_string(conditions, ' and '), ''), 'true');
end
$function$

-- Whether it is worth asking a pool for a session.
CREATE OR REPLACE FUNCTION pgmutex.pool_could_give(collection text)
 RETURNS boolean
 LANGUAGE plpgsql
 SET enable_seqscan TO 'off'
 SET enable_bitmapscan TO 'off'
 SET jit TO 'off'
AS $function$
#variable_conflict use_column
declare
    now_is timestamptz := clock_timestamp();
begin
    return exists (select from pool_session p where p.collection = pool_could_give.collection and p.is_ready)
        or exists (select from pool_session p
                   where p.collection = pool_could_give.collection and p.active and not p.is_ready and p.due_at <= now_is)
        -- As take_session does: nobody says when the session of a worker ends.
        or exists (select from (select p.id, p.fencing_token, p.active and p.next_use <= now_is as is_wanted from pool_session p
                                where p.collection = pool_could_give.collection and p.fencing_token is not null
                                order by p.id
                                limit 1000) l
                   left join hold h on h.mutex_group = 'pgmutex.pool' and h.mutex_mode = pool_could_give.collection and h.mutex_id = l.id::text
                                   and h.fencing_token = l.fencing_token
                   where l.is_wanted and (h.fencing_token is null
                                          or h.auto_release_rule = 'connection' and session_is_gone(h.auto_release_config)));
end
$function$

-- How many sessions a filter lets through.
CREATE OR REPLACE FUNCTION pgmutex.pool_count(collection text, filter jsonb DEFAULT '[]'::jsonb)
 RETURNS bigint
 LANGUAGE plpgsql
 SECURITY DEFINER
 SET search_path TO 'pgmutex', 'pg_temp'
AS $function$
declare
    counted bigint;
begin
    perform check_pool(pool_count.collection);
    execute format('select count(*) from pool_session p where p.collection = $1 and %s', pool_condition(pool_count.filter))
    into counted using pool_count.collection;
    return counted;
end
$function$

-- How many sessions are active and not locked now, leased or not.
CREATE OR REPLACE FUNCTION pgmutex.pool_count_active(collection text, filter jsonb DEFAULT '[]'::jsonb)
 RETURNS bigint
 LANGUAGE plpgsql
 SECURITY DEFINER
 SET search_path TO 'pgmutex', 'pg_temp'
AS $function$
declare
    counted bigint;
begin
    perform check_pool(pool_count_active.collection);
    execute format('select count(*) from pool_session p where p.collection = $1 and p.active and p.next_use <= clock_timestamp() and %s',
                   pool_condition(pool_count_active.filter))
    into counted using pool_count_active.collection;
    return counted;
end
$function$

-- Makes pool_find and its like fast where they filter by a dotted path of one pool's payloads. Nobody can write to any pool while it is built. A session with a value of more than some 2,600 bytes there cannot be written any more. Gives its name.
CREATE OR REPLACE FUNCTION pgmutex.pool_create_index(collection text, path text)
 RETURNS text
 LANGUAGE plpgsql
 SECURITY DEFINER
 SET search_path TO 'pgmutex', 'pg_temp'
 SET lock_timeout TO '5s'
AS $function$
declare
    names text[] := path_of_key(pool_create_index.path);
    name  text := 'pool_session_path_' || md5(jsonb_build_array(pool_create_index.collection, pool_create_index.path)::text);
begin
    perform check_pool(pool_create_index.collection);
    execute format('create index if not exists %I on pool_session ((payload #> %L::text[])) where collection = %L',
                   name, names, pool_create_index.collection);
    execute format('comment on index %I is %L', name,
                   jsonb_build_object('collection', pool_create_index.collection, 'path', pool_create_index.path)::text);
    return name;
end
$function$

-- Removes a session from its pool. Outcome deleted (the row is the session as it was) or not_found. A lease of it lasts on.
CREATE OR REPLACE FUNCTION pgmutex.pool_delete(collection text, id bigint)
 RETURNS pgmutex.pool_outcome
 LANGUAGE plpgsql
 SECURITY DEFINER
 SET search_path TO 'pgmutex', 'pg_temp'
 SET lock_timeout TO '5s'
 SET enable_seqscan TO 'off'
 SET jit TO 'off'
AS $function$
#variable_conflict use_column
declare
    answer pool_outcome;
begin
    perform check_pool(pool_delete.collection);
    answer := session_answer('deleted', pool_delete.collection, pool_delete.id);
    delete from pool_session p where p.collection = pool_delete.collection and p.id = pool_delete.id;
    if not found then
        answer := session_answer('not_found', pool_delete.collection, null);
    end if;
    return answer;
end
$function$

-- Deletes the first session that a filter lets through. Outcome deleted or not_found.
CREATE OR REPLACE FUNCTION pgmutex.pool_delete_one(collection text, filter jsonb)
 RETURNS pgmutex.pool_outcome
 LANGUAGE plpgsql
 SECURITY DEFINER
 SET search_path TO 'pgmutex', 'pg_temp'
 SET lock_timeout TO '5s'
 SET enable_seqscan TO 'off'
 SET jit TO 'off'
AS $function$
begin
    return pool_delete(pool_delete_one.collection, coalesce(session_that_fits(pool_delete_one.collection, pool_delete_one.filter), 0));
end
$function$

-- Removes such an index, and says whether there was one.
CREATE OR REPLACE FUNCTION pgmutex.pool_drop_index(collection text, path text)
 RETURNS boolean
 LANGUAGE plpgsql
 SECURITY DEFINER
 SET search_path TO 'pgmutex', 'pg_temp'
 SET lock_timeout TO '5s'
AS $function$
declare
    name text;
begin
    perform check_pool(pool_drop_index.collection);
    select i.name into name from pool_list_indexes(pool_drop_index.collection) i where i.path = pool_drop_index.path;
    if name is null then
        return false;
    end if;
    execute format('drop index %I', name);
    return true;
end
$function$

-- The sessions that a filter lets through, in the order of their ids, with what projection names of their payloads. A filter is an array of conditions: {"path": "session.country", "test": "equal", "value": "DE"}, or {"field": "active", ...}.
CREATE OR REPLACE FUNCTION pgmutex.pool_find(collection text, filter jsonb DEFAULT '[]'::jsonb, projection text[] DEFAULT NULL::text[], page_size bigint DEFAULT '-1'::integer, after_id bigint DEFAULT NULL::bigint)
 RETURNS SETOF pgmutex.pool_outcome
 LANGUAGE plpgsql
 SECURITY DEFINER
 SET search_path TO 'pgmutex', 'pg_temp'
AS $function$
begin
    perform check_pool(pool_find.collection);
    if coalesce(pool_find.page_size, -1) < -1 then
        perform refuse_input('page_size must be 0 or more, or -1 for all');
    end if;
    return query execute format(
        'select ''found'', p.collection, p.id, projected_document(p.payload, $2), p.active, p.next_use, p.last_use, p.use_count, p.success_count, '
        'p.created_at, p.updated_at, p.fencing_token, clock_timestamp() from pool_session p '
        'where p.collection = $1 and ($3::bigint is null or p.id > $3) and %s order by p.id limit $4',
        pool_condition(pool_find.filter))
    using pool_find.collection, pool_find.projection, pool_find.after_id, nullif(coalesce(pool_find.page_size, -1), -1);
end
$function$

-- Changes the first session that a filter lets through, as pool_update does. Outcome updated (the row is the session as it is now) or not_found.
CREATE OR REPLACE FUNCTION pgmutex.pool_find_one_and_update(collection text, filter jsonb, payload jsonb, unset_payload text[] DEFAULT '{}'::text[])
 RETURNS pgmutex.pool_outcome
 LANGUAGE plpgsql
 SECURITY DEFINER
 SET search_path TO 'pgmutex', 'pg_temp'
 SET lock_timeout TO '5s'
 SET enable_seqscan TO 'off'
 SET jit TO 'off'
AS $function$
begin
    return change_session(pool_find_one_and_update.collection,
                          session_that_fits(pool_find_one_and_update.collection, pool_find_one_and_update.filter),
                          pool_find_one_and_update.payload, pool_find_one_and_update.unset_payload);
end
$function$

-- One session. Outcome found or not_found.
CREATE OR REPLACE FUNCTION pgmutex.pool_get(collection text, id bigint)
 RETURNS pgmutex.pool_outcome
 LANGUAGE plpgsql
 SECURITY DEFINER
 SET search_path TO 'pgmutex', 'pg_temp'
 SET lock_timeout TO '5s'
 SET enable_seqscan TO 'off'
 SET jit TO 'off'
AS $function$
#variable_conflict use_column
begin
    perform check_pool(pool_get.collection);
    return session_answer(
        case when exists (select from pool_session p where p.collection = pool_get.collection and p.id = pool_get.id)
             then 'found' else 'not_found' end, pool_get.collection, pool_get.id);
end
$function$

-- Takes the session that is active, not locked, not leased, and was used longest ago (never used ones first); it is locked for next_use_delay. Outcome captured, or none. Asking again with the same request_id gives the same session, until it is taken again.
CREATE OR REPLACE FUNCTION pgmutex.pool_get_session(collection text, count_use bigint DEFAULT 1, next_use_delay interval DEFAULT '00:00:03'::interval, request_id text DEFAULT NULL::text, filter jsonb DEFAULT '[]'::jsonb)
 RETURNS pgmutex.pool_outcome
 LANGUAGE plpgsql
 SECURITY DEFINER
 SET search_path TO 'pgmutex', 'pg_temp'
 SET lock_timeout TO '5s'
 SET enable_seqscan TO 'off'
 SET jit TO 'off'
AS $function$
#variable_conflict use_column
declare
    condition text;
    taken     bigint;
    now_is    timestamptz;
begin
    perform check_pool(pool_get_session.collection);
    perform check_period('next_use_delay', pool_get_session.next_use_delay);
    perform check_text('request_id', pool_get_session.request_id, 400);
    perform check_count('count_use', pool_get_session.count_use);
    condition := pool_condition(pool_get_session.filter);
    if pool_get_session.request_id is not null then
        -- Two of the same request must not both take one.
        perform pg_advisory_xact_lock(mutex_key('pgmutex.pool', pool_get_session.collection, 'request ' || pool_get_session.request_id));
        select p.id into taken from pool_session p
        where p.collection = pool_get_session.collection and p.request_id = pool_get_session.request_id;
        if found then
            return session_answer('captured', pool_get_session.collection, taken);
        end if;
    end if;
    -- Whoever waits in line came before.
    if exists (select from mutex_waiter w
               where w.mutex_group = 'pgmutex.pool' and w.mutex_mode = pool_get_session.collection
                 and w.mutex_id = pool_line(pool_get_session.filter) and not waiter_is_gone(w.listener, w.seen_at)) then
        return session_answer('none', pool_get_session.collection, null);
    end if;
    taken := take_session(pool_get_session.collection, condition);
    if taken is null then
        return session_answer('none', pool_get_session.collection, null);
    end if;
    now_is := clock_timestamp();
    update pool_session p
    set last_use = now_is, next_use = now_is + coalesce(pool_get_session.next_use_delay, interval '3 seconds'), is_blocked = false,
        use_count = least(p.use_count, 9000000000000000000) + pool_get_session.count_use, request_id = pool_get_session.request_id
    where p.collection = pool_get_session.collection and p.id = taken;
    perform be_durable();
    return session_answer('captured', pool_get_session.collection, taken);
end
$function$

-- Takes a session out of use until somebody activates it. Outcome updated or not_found.
CREATE OR REPLACE FUNCTION pgmutex.pool_inactive(collection text, id bigint)
 RETURNS pgmutex.pool_outcome
 LANGUAGE plpgsql
 SECURITY DEFINER
 SET search_path TO 'pgmutex', 'pg_temp'
 SET lock_timeout TO '5s'
 SET enable_seqscan TO 'off'
 SET jit TO 'off'
AS $function$ begin return activate_session(pool_inactive.collection, pool_inactive.id, false); end $function$

-- The line, among those of a pool, in which those wait who want what this filter lets through.
CREATE OR REPLACE FUNCTION pgmutex.pool_line(filter jsonb)
 RETURNS text
 LANGUAGE sql
 IMMUTABLE PARALLEL SAFE
AS $function$ select case when coalesce(filter, '[]') = '[]' then '' else 'filter ' || md5(filter::text) end $function$

-- The indexes that pool_create_index has made for a pool.
CREATE OR REPLACE FUNCTION pgmutex.pool_list_indexes(collection text)
 RETURNS TABLE(name text, path text)
 LANGUAGE plpgsql
 SECURITY DEFINER
 SET search_path TO 'pgmutex', 'pg_temp'
AS $function$
begin
    perform check_pool(pool_list_indexes.collection);
    return query
    select c.relname::text, obj_description(c.oid, 'pg_class')::jsonb ->> 'path'
    from pg_index i join pg_class c on c.oid = i.indexrelid
    where i.indrelid = 'pool_session'::regclass and left(c.relname, 18) = 'pool_session_path_' and i.indisvalid
      and left(obj_description(c.oid, 'pg_class'), 1) = '{'
      and obj_description(c.oid, 'pg_class')::jsonb ->> 'collection' = pool_list_indexes.collection
    order by 2;
end
$function$

-- Keeps a session from being used for a while. Outcome updated or not_found. With fencing_token only while that lease has it.
CREATE OR REPLACE FUNCTION pgmutex.pool_lock(collection text, id bigint, period interval DEFAULT '00:10:00'::interval, fencing_token bigint DEFAULT NULL::bigint)
 RETURNS pgmutex.pool_outcome
 LANGUAGE plpgsql
 SECURITY DEFINER
 SET search_path TO 'pgmutex', 'pg_temp'
 SET lock_timeout TO '5s'
 SET enable_seqscan TO 'off'
 SET jit TO 'off'
AS $function$
begin
    return session_answer(
        case when lock_session(pool_lock.collection, pool_lock.id, pool_lock.period, pool_lock.fencing_token, false)
             then 'updated' else 'not_found' end, pool_lock.collection, pool_lock.id);
end
$function$

-- Trigger: says whether a session can be taken.
CREATE OR REPLACE FUNCTION pgmutex.pool_session_is_written()
 RETURNS trigger
 LANGUAGE plpgsql
 SECURITY DEFINER
 SET search_path TO 'pgmutex', 'pg_temp'
 SET enable_seqscan TO 'off'
 SET jit TO 'off'
AS $function$
begin
    new.is_ready := new.active and new.next_use <= clock_timestamp() and new.fencing_token is null;
    if new.fencing_token is null then
        new.look_at_lease := null;
    end if;
    new.updated_at := clock_timestamp();
    return new;
end
$function$

-- How a pool stands, or each of them.
CREATE OR REPLACE FUNCTION pgmutex.pool_statistics(collection text DEFAULT NULL::text)
 RETURNS SETOF pgmutex.pool_statistics
 LANGUAGE plpgsql
 SECURITY DEFINER
 SET search_path TO 'pgmutex', 'pg_temp'
AS $function$
begin
    return query
    select s.* from pool_statistics s
    where pool_statistics.collection is null or s.collection = pool_statistics.collection
    order by s.collection;
end
$function$

-- Counts a success, and with next_use_delay locks the session for that long from now. Outcome updated or not_found. With fencing_token only while that lease has it.
CREATE OR REPLACE FUNCTION pgmutex.pool_success(collection text, id bigint, count_success bigint DEFAULT 1, next_use_delay interval DEFAULT NULL::interval, fencing_token bigint DEFAULT NULL::bigint)
 RETURNS pgmutex.pool_outcome
 LANGUAGE plpgsql
 SECURITY DEFINER
 SET search_path TO 'pgmutex', 'pg_temp'
 SET lock_timeout TO '5s'
 SET enable_seqscan TO 'off'
 SET jit TO 'off'
AS $function$
#variable_conflict use_column
begin
    perform check_pool(pool_success.collection);
    perform check_period('next_use_delay', pool_success.next_use_delay);
    perform check_count('count_success', pool_success.count_success);
    update pool_session p
    set success_count = least(p.success_count, 9000000000000000000) + pool_success.count_success,
        next_use = coalesce(clock_timestamp() + pool_success.next_use_delay, p.next_use),
        is_blocked = p.is_blocked and pool_success.next_use_delay is null
    where p.collection = pool_success.collection and p.id = pool_success.id
      and (pool_success.fencing_token is null or p.fencing_token = pool_success.fencing_token);
    return session_answer(case when found then 'updated' else 'not_found' end, pool_success.collection, pool_success.id);
end
$function$

-- Sets the values at dotted paths of a session's payload ({"session.phone": "..."}) and takes those at others away; everything beside them stays. Outcome updated or not_found.
CREATE OR REPLACE FUNCTION pgmutex.pool_update(collection text, id bigint, payload jsonb, unset_payload text[] DEFAULT '{}'::text[])
 RETURNS pgmutex.pool_outcome
 LANGUAGE plpgsql
 SECURITY DEFINER
 SET search_path TO 'pgmutex', 'pg_temp'
 SET lock_timeout TO '5s'
 SET enable_seqscan TO 'off'
 SET jit TO 'off'
AS $function$
begin
    perform check_pool(pool_update.collection);
    return change_session(pool_update.collection, pool_update.id, pool_update.payload, pool_update.unset_payload);
end
$function$

-- The values at some dotted paths of a document; all of it if none are named.
CREATE OR REPLACE FUNCTION pgmutex.projected_document(document jsonb, projection text[])
 RETURNS jsonb
 LANGUAGE plpgsql
AS $function$
declare
    chosen jsonb := '{}';
    key    text;
    path   text[];
begin
    if coalesce(cardinality(projection), 0) = 0 then
        return document;
    end if;
    foreach key in array projection loop
        path := path_of_key(key);
        if document #> path is not null and jsonb_typeof(coalesce(document #> path[:cardinality(path) - 1], document)) = 'object' then
            chosen := document_with(chosen, path, document #> path);
        end if;
    end loop;
    return chosen;
end
$function$

-- Makes the time of a hold start again. Outcome: refreshed; not_held (lost: it was over, released or never held); or busy (lost: another holds it). With fencing_token, only that very hold counts.
CREATE OR REPLACE FUNCTION pgmutex.refresh(mutex_group text, mutex_mode text, mutex_id text, owner_session text, fencing_token bigint DEFAULT NULL::bigint, status_data text DEFAULT NULL::text)
 RETURNS pgmutex.hold_outcome
 LANGUAGE plpgsql
 SECURITY DEFINER
 SET search_path TO 'pgmutex', 'pg_temp'
 SET lock_timeout TO '5s'
 SET enable_seqscan TO 'off'
 SET jit TO 'off'
AS $function$
#variable_conflict use_column
declare
    observed_at timestamptz;
    answer      hold_outcome;
begin
    if (is_plain_call(refresh.mutex_group, refresh.mutex_mode, refresh.mutex_id, refresh.owner_session)
        and coalesce(octet_length(refresh.status_data) <= 65536, true)) is not true then
        perform check_call(refresh.mutex_group, refresh.mutex_mode, refresh.mutex_id, refresh.owner_session);
        perform check_text('status_data', refresh.status_data, 65536);
    end if;

    update hold h
    set captured_since = clock_timestamp(),
        status_data = coalesce(nullif(refresh.status_data, ''), h.status_data)
    where h.mutex_group = refresh.mutex_group and h.mutex_mode = refresh.mutex_mode and h.mutex_id = refresh.mutex_id
      and (h.owner_session = refresh.owner_session) is true
      and (refresh.fencing_token is null or h.fencing_token = refresh.fencing_token)
      and not hold_is_over(h.auto_release_rule, h.auto_release_config, h.expires_at, clock_timestamp())
    returning 'refreshed', h.*, h.captured_since, null::text, null::text, null::bigint, null::bigint
    into answer;
    if found then
        if current_setting('synchronous_commit') not in ('on', 'remote_apply') then
            perform set_config('synchronous_commit', 'on', true);
        end if;
        return answer;
    end if;

    observed_at := clock_timestamp();
    select 'busy', h.*, observed_at, null, null, null, null into answer from hold h
    where h.mutex_group = refresh.mutex_group and h.mutex_mode = refresh.mutex_mode and h.mutex_id = refresh.mutex_id
      and h.owner_session <> refresh.owner_session
      and not hold_is_over(h.auto_release_rule, h.auto_release_config, h.expires_at, observed_at)
    order by h.permit
    limit 1;
    if not found then
        answer.outcome := 'not_held';
        answer.mutex_group := refresh.mutex_group;
        answer.mutex_mode := refresh.mutex_mode;
        answer.mutex_id := refresh.mutex_id;
        answer.observed_at := observed_at;
    end if;
    return answer;
end
$function$

-- Makes the times of many callers' holds start again, each for itself, as refresh would in their order. One row for each request that was decided about: its place, from 1, and what refresh answers. A request without a row was left alone, because it might have had to wait for another transaction, or be refused: call refresh for it.
CREATE OR REPLACE FUNCTION pgmutex.refresh_together(mutex_groups text[], mutex_modes text[], mutex_ids text[], owner_sessions text[], fencing_tokens bigint[], status_datas text[])
 RETURNS TABLE(place integer, outcome text, mutex_group text, mutex_mode text, mutex_id text, permit integer, permits integer, owner_session text, owner_host text, owner_id text, owner_login text, owner_name text, auto_release_rule text, auto_release_config text, captured_since timestamp with time zone, status_data text, fencing_token bigint, held_since timestamp with time zone, expires_at timestamp with time zone, lock_parents boolean, lock_children boolean, observed_at timestamp with time zone, evicted_owner_session text, evicted_owner_name text, evicted_fencing_token bigint, ticket bigint)
 LANGUAGE plpgsql
 SECURITY DEFINER
 SET search_path TO 'pgmutex', 'pg_temp'
 SET lock_timeout TO '1s'
 SET enable_seqscan TO 'off'
 SET jit TO 'off'
AS $function$
#variable_conflict use_column
declare
    wanted  integer := cardinality(refresh_together.mutex_ids);
    request record;
    answer  hold_outcome;
begin
    perform check_together(wanted, array[array_dims(mutex_groups), array_dims(mutex_modes), array_dims(mutex_ids), array_dims(owner_sessions),
                                         array_dims(refresh_together.fencing_tokens), array_dims(status_datas)]);
    for request in
        select p.place, mutex_groups[least(p.place, cardinality(mutex_groups))] as mutex_group,
               mutex_modes[least(p.place, cardinality(mutex_modes))] as mutex_mode, mutex_ids[p.place] as mutex_id,
               owner_sessions[least(p.place, cardinality(owner_sessions))] as owner_session,
               refresh_together.fencing_tokens[least(p.place, cardinality(refresh_together.fencing_tokens))] as fencing_token,
               status_datas[least(p.place, cardinality(status_datas))] as status_data
        from generate_series(1, wanted) p (place)
        order by 1
    loop
        continue when not coalesce(can_be_plain(request.mutex_group, request.mutex_mode, request.mutex_id, request.owner_session), false)
                      or octet_length(request.status_data) > 65536;
        -- refresh waits for whoever has the row.
        continue when (select count(*) from hold h
                       where h.mutex_group = request.mutex_group and h.mutex_mode = request.mutex_mode and h.mutex_id = request.mutex_id
                         and (h.owner_session = request.owner_session) is true
                         and (request.fencing_token is null or h.fencing_token = request.fencing_token))
                      > (select count(*) from (select from hold h
                         where h.mutex_group = request.mutex_group and h.mutex_mode = request.mutex_mode and h.mutex_id = request.mutex_id
                           and (h.owner_session = request.owner_session) is true
                           and (request.fencing_token is null or h.fencing_token = request.fencing_token)
                         for no key update skip locked) mine);
        answer := refresh(request.mutex_group, request.mutex_mode, request.mutex_id, request.owner_session, request.fencing_token,
                          request.status_data);
        return query select request.place, answer.*;
    end loop;
end
$function$

-- Raises PM006 if waiting for this mutex could never end.
CREATE OR REPLACE FUNCTION pgmutex.refuse_deadlock(mutex_group text, mutex_mode text, mutex_id text, access text, permits integer, owner_session text, own_ticket bigint, while_holding bigint[], lock_parents boolean, lock_children boolean)
 RETURNS void
 LANGUAGE plpgsql
AS $function$
#variable_conflict use_column
declare
    circle text;
begin
    -- Who holds nothing, and keeps no place in another line, cannot be waited for.
    if coalesce(cardinality(refuse_deadlock.while_holding), 0) = 0
       and not exists (select from hold h where h.owner_session = refuse_deadlock.owner_session)
       and not exists (select from mutex_waiter w
                       where w.owner_session = refuse_deadlock.owner_session and w.ticket = refuse_deadlock.own_ticket
                         and (w.mutex_group <> refuse_deadlock.mutex_group or w.mutex_mode <> refuse_deadlock.mutex_mode
                              or w.mutex_id <> refuse_deadlock.mutex_id)) then
        return;
    end if;
    -- Two who close a circle at the same moment, in two lines, must see each other. This lock is always the last one taken;
    -- no mutex has the empty name.
    perform pg_advisory_xact_lock(mutex_key('', '', ''));
    select c.circle into circle
    from circle_of_waiting(refuse_deadlock.mutex_group, refuse_deadlock.mutex_mode, refuse_deadlock.mutex_id,
                           refuse_deadlock.access, refuse_deadlock.permits, refuse_deadlock.own_ticket,
                           refuse_deadlock.lock_parents, refuse_deadlock.lock_children, refuse_deadlock.owner_session,
                           refuse_deadlock.owner_session, refuse_deadlock.own_ticket,
                           coalesce(refuse_deadlock.while_holding, '{}'), '{}', '{}') c;
    if circle <> '' then
        raise exception using errcode = 'PM006',
            message = format('deadlock: this would wait for %s', circle),
            hint = 'Release what you hold and begin again, or capture all of them at once with capture_all.';
    end if;
end
$function$

-- Raises PM003 (an argument that cannot be accepted).
CREATE OR REPLACE FUNCTION pgmutex.refuse_input(problem text)
 RETURNS void
 LANGUAGE plpgsql
AS $function$
begin
    raise exception using errcode = 'PM003', message = problem,
        hint = 'Nothing was changed. The limits are in function hold_is_within_limits, and what the columns mean in the comments of table mutex_model.';
end
$function$

-- Raises PM001 (isolation level) or PM002 (standby).
CREATE OR REPLACE FUNCTION pgmutex.refuse_transaction()
 RETURNS void
 LANGUAGE plpgsql
AS $function$
begin
    if pg_is_in_recovery() then
        raise exception using errcode = 'PM002',
            message = 'pgmutex cannot decide on a standby',
            hint = 'Connect to the primary, for example with target_session_attrs=read-write.';
    end if;
    raise exception using errcode = 'PM001',
        message = format('pgmutex cannot decide in a %s transaction: its snapshot may be older than the lock', current_setting('transaction_isolation')),
        hint = 'Call it on its own, or begin the transaction with: begin isolation level read committed';
end
$function$

-- Gives a mutex back. Outcome: released (the row is the hold that was); not_held (nothing to release, or it was already over); busy (held by another, or a fenced write of this holder is still under way). With fencing_token, only that very hold is released; without it, a ticket of this owner is given up too. durable => false does not wait for the disk: only for a call that is a transaction of its own.
CREATE OR REPLACE FUNCTION pgmutex.release(mutex_group text, mutex_mode text, mutex_id text, owner_session text, fencing_token bigint DEFAULT NULL::bigint, durable boolean DEFAULT true)
 RETURNS pgmutex.hold_outcome
 LANGUAGE plpgsql
 SECURITY DEFINER
 SET search_path TO 'pgmutex', 'pg_temp'
 SET lock_timeout TO '5s'
 SET enable_seqscan TO 'off'
 SET jit TO 'off'
AS $function$
#variable_conflict use_column
declare
    decided_at timestamptz;
    answer     hold_outcome;
    lock_key   bigint;
    has_line   boolean;  -- whether somebody may wait
    set_to     text;
begin
    if is_plain_call(release.mutex_group, release.mutex_mode, release.mutex_id, release.owner_session) is not true then
        perform check_call(release.mutex_group, release.mutex_mode, release.mutex_id, release.owner_session);
    end if;

    if not is_path(release.mutex_id) then
        lock_key := mutex_key(release.mutex_group, release.mutex_mode, release.mutex_id);
        if not pg_try_advisory_xact_lock(lock_key) then
            perform pg_advisory_xact_lock(lock_key);
        end if;
        -- The common case in one statement: an own hold, which nobody else has locked; there may be a line. The row is locked first
        -- although that is a record more in the log: a delete would wait for a fence, behind the mutex's lock, and whether the row is
        -- locked can be asked only by locking it.
        decided_at := clock_timestamp();
        delete from hold h
        where h.mutex_group = release.mutex_group and h.mutex_mode = release.mutex_mode and h.mutex_id = release.mutex_id
          and h.permit = (select own.permit from hold own
                          where own.mutex_group = release.mutex_group and own.mutex_mode = release.mutex_mode and own.mutex_id = release.mutex_id
                            and (own.owner_session = release.owner_session) is true
                            and (release.fencing_token is null or own.fencing_token = release.fencing_token)
                          order by own.permit
                          limit 1
                          for update of own skip locked)
        returning case when hold_is_over(h.auto_release_rule, h.auto_release_config, h.expires_at, decided_at) then 'not_held' else 'released' end,
                  h.*, decided_at, null::text, null::text, null::bigint,
                  -- By way of the ticket: whether somebody waits.
                  (select w.ticket from mutex_waiter w
                   where w.mutex_group = release.mutex_group and w.mutex_mode = release.mutex_mode and w.mutex_id = release.mutex_id
                   limit 1)
        into answer;
        if found then
            has_line := answer.ticket is not null;
            answer.ticket := null;
        end if;
    else
        perform lock_mutex(release.mutex_group, release.mutex_mode, release.mutex_id);
    end if;

    if answer.outcome is null then
        for attempt in 1..2 loop
            decided_at := clock_timestamp();
            select case when hold_is_over(h.auto_release_rule, h.auto_release_config, h.expires_at, decided_at) then 'not_held' else 'released' end,
                   h.*, decided_at, null, null, null, null
            into answer from hold h
            where h.mutex_group = release.mutex_group and h.mutex_mode = release.mutex_mode and h.mutex_id = release.mutex_id
              and (h.owner_session = release.owner_session) is true
              and (release.fencing_token is null or h.fencing_token = release.fencing_token)
            order by h.permit
            limit 1
            for update skip locked;
            exit when found or attempt = 2;
            -- Nothing, or a locked row. A refresh on its way is waited out here: this lock conflicts with its lock, but not with
            -- the lock of a fence, which a transaction may keep for long. What is still locked afterwards is fenced.
            perform 1 from hold h
            where h.mutex_group = release.mutex_group and h.mutex_mode = release.mutex_mode and h.mutex_id = release.mutex_id
              and (h.owner_session = release.owner_session) is true
              and (release.fencing_token is null or h.fencing_token = release.fencing_token)
            for no key update;
            exit when not found;
        end loop;
        if answer.outcome is not null then
            delete from hold h
            where h.mutex_group = answer.mutex_group and h.mutex_mode = answer.mutex_mode and h.mutex_id = answer.mutex_id
              and h.permit = answer.permit;
            if not found then
                answer.outcome := 'busy';  -- a trigger of another program has kept the row
            end if;
        end if;
        has_line := is_path(release.mutex_id)
                    or exists (select from mutex_waiter w
                               where w.mutex_group = release.mutex_group and w.mutex_mode = release.mutex_mode and w.mutex_id = release.mutex_id);
    end if;

    if has_line then
        if release.fencing_token is null then
            delete from mutex_waiter w
            where w.owner_session = release.owner_session
              and mutex_key(w.mutex_group, w.mutex_mode, w.mutex_id) = mutex_key(release.mutex_group, release.mutex_mode, release.mutex_id)
              and (w.mutex_group = release.mutex_group and w.mutex_mode = release.mutex_mode and w.mutex_id = release.mutex_id) is true;
        end if;
        perform wake_lines(release.mutex_group, release.mutex_mode, release.mutex_id);
    end if;
    if answer.outcome is not null then
        -- If a crash loses this, the hold only lasts until its rule ends it. Never for a hold that nothing else would end,
        -- and never unasked: in a larger transaction it would weaken the caller's own data.
        if not release.durable and answer.outcome <> 'busy' and (isfinite(answer.expires_at) or answer.auto_release_rule = 'connection')
           and current_setting('synchronous_commit') <> 'off' then
            set_to := set_config('synchronous_commit', 'off', true);
        end if;
        return answer;
    end if;

    -- Another's hold, or our own behind a fence: either way it stays.
    select 'busy', h.*, decided_at, null, null, null, null into answer from hold h
    where h.mutex_group = release.mutex_group and h.mutex_mode = release.mutex_mode and h.mutex_id = release.mutex_id
      and not hold_is_over(h.auto_release_rule, h.auto_release_config, h.expires_at, decided_at)
      and (release.fencing_token is null or h.owner_session <> release.owner_session or h.fencing_token = release.fencing_token)
    order by h.permit
    limit 1;
    if not found then
        answer.outcome := 'not_held';
        answer.mutex_group := release.mutex_group;
        answer.mutex_mode := release.mutex_mode;
        answer.mutex_id := release.mutex_id;
        answer.observed_at := decided_at;
    end if;
    return answer;
end
$function$

-- Gives many mutexes back, each for itself: one row for each request, in their order, with the outcome that release gives.
CREATE OR REPLACE FUNCTION pgmutex.release_each(requests jsonb, defaults jsonb DEFAULT '{}'::jsonb, durable boolean DEFAULT true)
 RETURNS SETOF pgmutex.hold_outcome
 LANGUAGE plpgsql
 SECURITY DEFINER
 SET search_path TO 'pgmutex', 'pg_temp'
 SET lock_timeout TO '5s'
 SET enable_seqscan TO 'off'
 SET jit TO 'off'
 SET enable_hashjoin TO 'off'
 SET enable_mergejoin TO 'off'
AS $function$
#variable_conflict use_column
declare
    completed jsonb;
    request   record;
    answer    hold_outcome;
    all_end   boolean := true;
begin
    completed := check_requests(release_each.requests, release_each.defaults, array[
        'mutex_group', 'mutex_mode', 'mutex_id', 'owner_session', 'fencing_token']);
    perform lock_mutexes(completed);
    for request in
        select r.* from jsonb_to_recordset(completed) r (
            mutex_group text, mutex_mode text, mutex_id text, owner_session text, fencing_token bigint)
    loop
        answer := release(coalesce(request.mutex_group, ''), coalesce(request.mutex_mode, ''), coalesce(request.mutex_id, ''),
                          request.owner_session, request.fencing_token, true);
        all_end := all_end and (answer.outcome <> 'released' or answer.auto_release_rule = 'connection' or isfinite(answer.expires_at));
        return next answer;
    end loop;
    -- As in release; not left to it, because among the holds may be one that nothing else would end.
    if not release_each.durable and all_end and current_setting('synchronous_commit') <> 'off' then
        perform set_config('synchronous_commit', 'off', true);
    end if;
end
$function$

-- Removes the holds in these rows, which are locked by this transaction.
CREATE OR REPLACE FUNCTION pgmutex.release_locked(places integer[], locked_rows tid[])
 RETURNS TABLE(place integer, mutex_group text, mutex_mode text, mutex_id text, permit integer, permits integer, owner_session text, owner_host text, owner_id text, owner_login text, owner_name text, auto_release_rule text, auto_release_config text, captured_since timestamp with time zone, status_data text, fencing_token bigint, held_since timestamp with time zone, expires_at timestamp with time zone, lock_parents boolean, lock_children boolean)
 LANGUAGE plpgsql
 SET lock_timeout TO '100ms'
 SET plan_cache_mode TO 'force_generic_plan'
 SET enable_seqscan TO 'off'
 SET enable_indexscan TO 'off'
 SET enable_indexonlyscan TO 'off'
 SET enable_bitmapscan TO 'off'
 SET enable_hashjoin TO 'off'
 SET enable_mergejoin TO 'off'
 SET jit TO 'off'
AS $function$
#variable_conflict use_column
begin
    return query
    delete from mutex_model h using unnest(places, locked_rows) l (place, locked_row)
    where h.ctid = l.locked_row
    returning l.place, h.mutex_group, h.mutex_mode, h.mutex_id, h.permit, h.permits,
              h.owner_session, h.owner_host, h.owner_id, h.owner_login, h.owner_name,
              h.auto_release_rule, h.auto_release_config, h.captured_since, h.status_data,
              h.fencing_token, h.held_since, h.expires_at, h.lock_parents, h.lock_children;
end
$function$

-- Releases everything that an owner holds, and gives up every place it has in a line: up to batch mutexes (at most 1000). One row for each hold, with outcome released, or busy if a fenced write keeps it. Call it again until it gives no released row.
CREATE OR REPLACE FUNCTION pgmutex.release_owner(owner_session text, batch integer DEFAULT 1000)
 RETURNS SETOF pgmutex.hold_outcome
 LANGUAGE plpgsql
 SECURITY DEFINER
 SET search_path TO 'pgmutex', 'pg_temp'
 SET lock_timeout TO '5s'
 SET enable_seqscan TO 'off'
 SET jit TO 'off'
 SET enable_hashjoin TO 'off'
 SET enable_mergejoin TO 'off'
AS $function$
#variable_conflict use_column
declare
    requests jsonb;
begin
    if coalesce(release_owner.owner_session, '') = '' then
        perform refuse_input('owner_session is empty: it says whose holds are released');
    elsif release_owner.batch is null or release_owner.batch not between 1 and 1000 then
        perform refuse_input('batch must be from 1 to 1000');
    end if;
    select jsonb_agg(jsonb_build_object('mutex_group', k.mutex_group, 'mutex_mode', k.mutex_mode, 'mutex_id', k.mutex_id,
                                        'owner_session', release_owner.owner_session)) into requests
    -- What is held comes first, then places in line, then what is over: as long as anything is held, each call releases some.
    from (select k.mutex_group, k.mutex_mode, k.mutex_id,
                 sum(locks_of(k.mutex_id)) over (order by min(k.comes), k.mutex_group, k.mutex_mode, k.mutex_id rows unbounded preceding) as locks
          from (select h.mutex_group, h.mutex_mode, h.mutex_id,
                       case when hold_is_over(h.auto_release_rule, h.auto_release_config, h.expires_at, clock_timestamp()) then 3 else 1 end as comes
                from hold h where h.owner_session = release_owner.owner_session
                union all
                select w.mutex_group, w.mutex_mode, w.mutex_id, 2 from mutex_waiter w where w.owner_session = release_owner.owner_session) k
          group by k.mutex_group, k.mutex_mode, k.mutex_id
          order by min(k.comes), k.mutex_group, k.mutex_mode, k.mutex_id
          limit release_owner.batch) k
    where k.locks <= 4000;
    return query select r.* from release_each(coalesce(requests, '[]')) r
                 where r.outcome <> 'not_held' and r.owner_session = release_owner.owner_session;
end
$function$

-- Gives mutexes back for many callers, each for itself, as release would in their order. One row for each request that was decided about: its place, from 1, and what release answers. A request without a row was left alone, because it might have had to wait for another transaction, or be refused: call release for it.
CREATE OR REPLACE FUNCTION pgmutex.release_together(mutex_groups text[], mutex_modes text[], mutex_ids text[], owner_sessions text[], fencing_tokens bigint[], durable boolean DEFAULT true)
 RETURNS TABLE(place integer, outcome text, mutex_group text, mutex_mode text, mutex_id text, permit integer, permits integer, owner_session text, owner_host text, owner_id text, owner_login text, owner_name text, auto_release_rule text, auto_release_config text, captured_since timestamp with time zone, status_data text, fencing_token bigint, held_since timestamp with time zone, expires_at timestamp with time zone, lock_parents boolean, lock_children boolean, observed_at timestamp with time zone, evicted_owner_session text, evicted_owner_name text, evicted_fencing_token bigint, ticket bigint)
 LANGUAGE plpgsql
 SECURITY DEFINER
 SET search_path TO 'pgmutex', 'pg_temp'
 SET lock_timeout TO '1s'
 SET enable_seqscan TO 'off'
 SET jit TO 'off'
AS $function$
#variable_conflict use_column
declare
    wanted        integer := cardinality(release_together.mutex_ids);
    plain         record;
    all_end       boolean;
    request       record;
    answer        hold_outcome;
begin
    perform check_together(wanted, array[array_dims(mutex_groups), array_dims(mutex_modes), array_dims(mutex_ids), array_dims(owner_sessions),
                                         array_dims(release_together.fencing_tokens)]);
    plain := lock_what_is_plain(wanted, mutex_groups, mutex_modes, mutex_ids, owner_sessions, release_together.fencing_tokens);
    all_end := coalesce(plain.all_end, true);
    if plain.locked_places is not null then
        return query
        select r.place, 'released', r.mutex_group, r.mutex_mode, r.mutex_id, r.permit, r.permits,
               r.owner_session, r.owner_host, r.owner_id, r.owner_login, r.owner_name,
               r.auto_release_rule, r.auto_release_config, r.captured_since, r.status_data, r.fencing_token,
               r.held_since, r.expires_at, r.lock_parents, r.lock_children, plain.decided_at,
               null::text, null::text, null::bigint, null::bigint
        from release_locked(plain.locked_places, plain.locked_rows) r;
    end if;
    if plain.places_left is not null then
        for request in
            select p.place, mutex_groups[least(p.place, cardinality(mutex_groups))] as mutex_group,
                   mutex_modes[least(p.place, cardinality(mutex_modes))] as mutex_mode, mutex_ids[p.place] as mutex_id,
                   owner_sessions[least(p.place, cardinality(owner_sessions))] as owner_session,
                   release_together.fencing_tokens[least(p.place, cardinality(release_together.fencing_tokens))] as fencing_token
            from unnest(plain.places_left) p (place)
        loop
            -- release waits for a row that is being refreshed.
            continue when (select count(*) from hold h
                           where h.mutex_group = request.mutex_group and h.mutex_mode = request.mutex_mode and h.mutex_id = request.mutex_id
                             and (h.owner_session = request.owner_session) is true
                             and (request.fencing_token is null or h.fencing_token = request.fencing_token))
                          > (select count(*) from (select from hold h
                             where h.mutex_group = request.mutex_group and h.mutex_mode = request.mutex_mode and h.mutex_id = request.mutex_id
                               and (h.owner_session = request.owner_session) is true
                               and (request.fencing_token is null or h.fencing_token = request.fencing_token)
                             for update skip locked) mine);
            answer := release(request.mutex_group, request.mutex_mode, request.mutex_id, request.owner_session, request.fencing_token, true);
            all_end := all_end and (answer.outcome <> 'released' or answer.auto_release_rule = 'connection' or isfinite(answer.expires_at) is true);
            return query select request.place, answer.*;
        end loop;
    end if;
    -- As in release; not left to it, because among the holds may be one that nothing else would end.
    if not release_together.durable and all_end and current_setting('synchronous_commit') <> 'off' then
        perform set_config('synchronous_commit', 'off', true);
    end if;
end
$function$

-- Used by evict and force_release; not called directly. ending is evicted (only under a custom rule), or forced and the reason.
CREATE OR REPLACE FUNCTION pgmutex.remove_hold(mutex_group text, mutex_mode text, mutex_id text, fencing_token bigint, ending text)
 RETURNS pgmutex.hold_outcome
 LANGUAGE plpgsql
 SET search_path TO 'pgmutex', 'pg_temp'
AS $function$
#variable_conflict use_column
declare
    answer hold_outcome;
begin
    perform lock_mutex(remove_hold.mutex_group, remove_hold.mutex_mode, remove_hold.mutex_id);
    for attempt in 1..2 loop
        select 'released', h.*, clock_timestamp(), h.owner_session, h.owner_name, h.fencing_token, null into answer from hold h
        where h.mutex_group = remove_hold.mutex_group and h.mutex_mode = remove_hold.mutex_mode and h.mutex_id = remove_hold.mutex_id
          and (remove_hold.fencing_token is null or h.fencing_token = remove_hold.fencing_token)
          and not (remove_hold.ending = 'evicted' and h.auto_release_rule in ('', 'never', 'timeout', 'deadline', 'connection'))
        order by h.permit
        limit 1
        for update skip locked;
        if found then
            -- On the row itself, where the audit's trigger finds it: nobody but the functions can write there, and it cannot outlive
            -- the hold.
            if audit_is_on() then
                update mutex_model h set ending = remove_hold.ending
                where h.mutex_group = answer.mutex_group and h.mutex_mode = answer.mutex_mode and h.mutex_id = answer.mutex_id
                  and h.permit = answer.permit;
            end if;
            delete from hold h
            where h.mutex_group = answer.mutex_group and h.mutex_mode = answer.mutex_mode and h.mutex_id = answer.mutex_id
              and h.permit = answer.permit;
            if not found then
                -- A trigger of another program keeps it: then it stays, and is busy.
                update mutex_model h set ending = null
                where h.mutex_group = answer.mutex_group and h.mutex_mode = answer.mutex_mode and h.mutex_id = answer.mutex_id
                  and h.permit = answer.permit and h.ending is not null;
                exit;
            end if;
            perform wake_lines(remove_hold.mutex_group, remove_hold.mutex_mode, remove_hold.mutex_id);
            return answer;
        end if;
        exit when attempt = 2;
        -- As in release: a refresh on its way is waited out, a fenced write is not.
        perform 1 from hold h
        where h.mutex_group = remove_hold.mutex_group and h.mutex_mode = remove_hold.mutex_mode and h.mutex_id = remove_hold.mutex_id
          and (remove_hold.fencing_token is null or h.fencing_token = remove_hold.fencing_token)
        for no key update;
        exit when not found;
    end loop;

    select 'busy', h.*, clock_timestamp(), null, null, null, null into answer from hold h
    where h.mutex_group = remove_hold.mutex_group and h.mutex_mode = remove_hold.mutex_mode and h.mutex_id = remove_hold.mutex_id
      and (remove_hold.fencing_token is null or h.fencing_token = remove_hold.fencing_token)
    order by h.permit
    limit 1;
    if not found then
        answer.outcome := 'not_held';
        answer.mutex_group := remove_hold.mutex_group;
        answer.mutex_mode := remove_hold.mutex_mode;
        answer.mutex_id := remove_hold.mutex_id;
        answer.observed_at := clock_timestamp();
    end if;
    return answer;
end
$function$

-- Says whether a mutex is free: outcome free, captured_by_me or captured_by_other and the hold. A hold that is over is removed.
CREATE OR REPLACE FUNCTION pgmutex.request(mutex_group text, mutex_mode text, mutex_id text, owner_session text)
 RETURNS pgmutex.hold_outcome
 LANGUAGE plpgsql
 SECURITY DEFINER
 SET search_path TO 'pgmutex', 'pg_temp'
 SET lock_timeout TO '5s'
 SET enable_seqscan TO 'off'
 SET jit TO 'off'
AS $function$
#variable_conflict use_column
declare
    decided_at  timestamptz;
    current     hold;
    over_tokens bigint[];
    answer      hold_outcome;
begin
    perform check_call(request.mutex_group, request.mutex_mode, request.mutex_id, request.owner_session);

    for attempt in 1..2 loop
        decided_at := clock_timestamp();
        over_tokens := null;
        for current in
            select h.* from hold h
            where h.mutex_group = request.mutex_group and h.mutex_mode = request.mutex_mode and h.mutex_id = request.mutex_id
            -- The asker's own is told of first, then another's.
            order by h.owner_session <> request.owner_session, h.permit
        loop
            if hold_is_over(current.auto_release_rule, current.auto_release_config, current.expires_at, decided_at) then
                over_tokens := over_tokens || current.fencing_token;
                if attempt = 2 then
                    -- It could not be removed: its row is locked by a write behind its fence, and nobody can capture it before that ends.
                    over_tokens := null;
                else
                    continue;
                end if;
            end if;
            if answer.outcome is null then
                select case when current.owner_session = request.owner_session then 'captured_by_me' else 'captured_by_other' end,
                       current.*, decided_at, null, null, null, null into answer;
            end if;
        end loop;
        exit when over_tokens is null;

        -- Over, and so it is in the way of people who look: evicted as capture would, behind the same lock.
        answer := null;
        perform lock_mutex(request.mutex_group, request.mutex_mode, request.mutex_id);
        for current in
            select h.* from hold h
            where h.mutex_group = request.mutex_group and h.mutex_mode = request.mutex_mode and h.mutex_id = request.mutex_id
              and h.fencing_token = any (over_tokens)
              and hold_is_over(h.auto_release_rule, h.auto_release_config, h.expires_at, clock_timestamp())
            for update skip locked
        loop
            delete from hold h
            where h.mutex_group = current.mutex_group and h.mutex_mode = current.mutex_mode and h.mutex_id = current.mutex_id
              and h.permit = current.permit;
        end loop;
        perform wake_lines(request.mutex_group, request.mutex_mode, request.mutex_id);
    end loop;

    if answer.outcome is null then
        answer.outcome := 'free';
        answer.mutex_group := request.mutex_group;
        answer.mutex_mode := request.mutex_mode;
        answer.mutex_id := request.mutex_id;
        answer.observed_at := decided_at;
    end if;
    return answer;
end
$function$

-- Used by grant_role and revoke_role: takes away everything that belongs to a role and not to another one that stays.
CREATE OR REPLACE FUNCTION pgmutex.revoke_objects(database_role name, role text, but_not_of text)
 RETURNS void
 LANGUAGE plpgsql
 SET search_path TO 'pgmutex', 'pg_temp'
AS $function$
declare
    revoked record;
begin
    for revoked in
        select o.privilege, o.object from role_objects(revoke_objects.role) o
        except
        select o.privilege, o.object from role_objects(revoke_objects.but_not_of) o where revoke_objects.but_not_of is not null
    loop
        execute format('revoke %s on %s from %I', revoked.privilege, revoked.object, revoke_objects.database_role);
    end loop;
    execute format('revoke select (%I) on role_mark from %I', revoke_objects.role, revoke_objects.database_role);
end
$function$

-- Takes a role away from a database role, with all its privileges, those that were granted by hand too; says whether it had the role. Only the owner may call this.
CREATE OR REPLACE FUNCTION pgmutex.revoke_role(database_role name, role text)
 RETURNS boolean
 LANGUAGE plpgsql
 SET search_path TO 'pgmutex', 'pg_temp'
 SET lock_timeout TO '5s'
AS $function$
#variable_conflict use_column
declare
    has text;
begin
    perform check_granting(revoke_role.database_role, revoke_role.role);
    select m.role into has from roles m where m.database_role = revoke_role.database_role order by m.role = 'owner' desc limit 1;
    if has = 'owner' or revoke_role.role = 'owner' then
        perform refuse_input('the role owner cannot be revoked: grant it to another, who then has it');
    elsif has <> revoke_role.role then
        perform refuse_input(format('%I has the role %s, not %s: revoke that, or grant the one that it is to have',
                                    revoke_role.database_role, has, revoke_role.role));
    end if;
    perform revoke_objects(revoke_role.database_role, revoke_role.role, null);
    return has is not null;
end
$function$

-- What grant_role grants: privileges and objects that exist, as GRANT and REVOKE name them.
CREATE OR REPLACE FUNCTION pgmutex.role_objects(role text)
 RETURNS TABLE(privilege text, object text)
 LANGUAGE plpgsql
 SET search_path TO 'pgmutex', 'pg_temp'
AS $function$
#variable_conflict use_column
declare
    steps constant text[] := '{reader,application,admin,owner}';
begin
    return query
    select 'usage'::text, format('schema %I', current_schema())
    union all
    select 'execute', format('routine %s', p.oid::regprocedure)
    from object_role o join pg_proc p on p.proname = o.name and p.pronamespace = quote_ident(current_schema())::regnamespace
    where o.kind = 'function' and array_position(steps, o.role) <= array_position(steps, role_objects.role)
    union all
    select 'select', format('table %s', c.oid::regclass)
    from object_role o join pg_class c on c.relname = o.name and c.relnamespace = quote_ident(current_schema())::regnamespace
    where o.kind = 'relation' and c.relkind in ('r', 'p', 'v', 'm')
      and array_position(steps, o.role) <= array_position(steps, role_objects.role)
    union all
    select 'usage', format('type %s', t.oid::regtype)
    from object_role o join pg_type t on t.typname = o.name and t.typnamespace = quote_ident(current_schema())::regnamespace
    where o.kind = 'type' and array_position(steps, o.role) <= array_position(steps, role_objects.role);
end
$function$

-- When time ends a hold under this rule: null if the rule is not one of time. A timeout that is no number, a deadline that is no time and a connection that names no session count as 300 seconds.
CREATE OR REPLACE FUNCTION pgmutex.rule_ends_at(rule text, config text, captured_since timestamp with time zone)
 RETURNS timestamp with time zone
 LANGUAGE plpgsql
 IMMUTABLE
AS $function$
declare
    longest constant bigint := 3153600000;  -- 100 years in seconds; more counts as for ever
    seconds bigint := 300;
    deadline timestamptz;
    trimmed text;
begin
    -- Nearly every row: decided at once, with nothing that costs more than it must (a regular expression does).
    if rule = 'timeout' and ltrim(config, '0123456789') = '' and octet_length(config) between 1 and 9
       and captured_since between '2000-01-01 00:00:00+00' and '9000-01-01 00:00:00+00' then
        return captured_since + make_interval(secs => config::integer);
    end if;
    if rule = 'deadline'
       and config ~ '^[0-9]{4}-[0-9]{2}-[0-9]{2}[Tt ]([01][0-9]|2[0-3]):[0-5][0-9]:[0-5][0-9]([.][0-9]{1,9})?([Zz]|[+-][0-9]{2}:[0-9]{2})$' then
        begin
            deadline := config::timestamptz;
            -- The years that can be written so in UTC, which is how clients write it back.
            if deadline >= '0001-01-01 00:00:00+00' and deadline < '10000-01-01 00:00:00+00' then
                return deadline;
            end if;
        exception when others then
            null;  -- the 31st of February: it counts as the fallback, like any other config that makes no sense
        end;
    elsif rule = 'connection' and config ~ '^[0-9]{1,18}$' then
        return null;  -- over with the database session, and not by time
    elsif rule = 'connection' and config ~ '^[0-9]{1,18} [0-9]{1,10}$' and split_part(config, ' ', 2)::bigint <= longest then
        seconds := split_part(config, ' ', 2)::bigint;
    elsif rule = 'timeout' then
        trimmed := btrim(config, E' \t\r\n');
        if trimmed ~ '^[+-]?[0-9]+$' then
            if length(trimmed) > 18 or trimmed::bigint not between -longest and longest then
                return case when left(trimmed, 1) = '-' then '-infinity' else 'infinity' end;
            end if;
            seconds := trimmed::bigint;
        end if;
    elsif rule is null or rule not in ('deadline', 'connection') then
        return null;
    end if;
    if captured_since not between '4600-01-01 00:00:00+00 BC' and '294000-01-01 00:00:00+00' then
        -- So near an end of the calendar that the sum might leave it.
        return case when captured_since > 'epoch' then 'infinity' else '-infinity' end;
    end if;
    return captured_since + make_interval(secs => seconds);
end
$function$

-- A session as an answer.
CREATE OR REPLACE FUNCTION pgmutex.session_answer(outcome text, collection text, id bigint)
 RETURNS pgmutex.pool_outcome
 LANGUAGE plpgsql
 SET search_path TO 'pgmutex', 'pg_temp'
AS $function$
#variable_conflict use_column
declare
    answer pool_outcome;
begin
    if session_answer.outcome in ('added', 'updated', 'deleted') then
        perform be_durable();
    end if;
    select session_answer.outcome, p.collection, p.id, p.payload, p.active, p.next_use, p.last_use, p.use_count, p.success_count,
           p.created_at, p.updated_at, p.fencing_token, clock_timestamp()
    into answer from pool_session p
    where p.collection = session_answer.collection and p.id = session_answer.id;
    if not found then
        answer.outcome := session_answer.outcome;
        answer.collection := session_answer.collection;
        answer.observed_at := clock_timestamp();
    end if;
    return answer;
end
$function$

-- Trigger: tells those who wait for a session of a pool that there is one.
CREATE OR REPLACE FUNCTION pgmutex.session_comes_back()
 RETURNS trigger
 LANGUAGE plpgsql
 SECURITY DEFINER
 SET search_path TO 'pgmutex', 'pg_temp'
 SET lock_timeout TO '5s'
 SET enable_seqscan TO 'off'
 SET jit TO 'off'
AS $function$
begin
    perform pg_advisory_xact_lock_shared(mutex_key('pgmutex.pool', new.collection, ''));
    perform wake_pool(new.collection);
    return null;
end
$function$

-- Whether the database session that a rule connection names has ended.
CREATE OR REPLACE FUNCTION pgmutex.session_is_gone(config text)
 RETURNS boolean
 LANGUAGE plpgsql
AS $function$
declare
    number text := split_part(config, ' ', 1);
begin
    if config !~ '^[0-9]{1,18}( [0-9]{1,10})?$' or number = any (string_to_array(current_setting('pgmutex.attached', true), ',')) then
        return false;
    end if;
    -- Advisory locks are not replicated: a standby cannot tell.
    return not pg_is_in_recovery() and pg_try_advisory_xact_lock_shared(number::bigint);
end
$function$

-- Locks the row of the first session that a filter lets through.
CREATE OR REPLACE FUNCTION pgmutex.session_that_fits(collection text, filter jsonb)
 RETURNS bigint
 LANGUAGE plpgsql
AS $function$
declare
    fits bigint;
begin
    perform check_pool(session_that_fits.collection);
    execute format('select p.id from pool_session p where p.collection = $1 and %s order by p.id limit 1 for update',
                   pool_condition(session_that_fits.filter))
    into fits using session_that_fits.collection;
    return fits;
end
$function$

-- How all mutexes together stand, for monitoring. It looks at no more than most_counted holds, places in line and sessions of pools: beyond that the number of holds is the planner's estimate, and the rest is about those looked at.
CREATE OR REPLACE FUNCTION pgmutex.statistics(most_counted integer DEFAULT 10000)
 RETURNS pgmutex.mutex_statistics
 LANGUAGE plpgsql
 SECURITY DEFINER
 SET search_path TO 'pgmutex', 'pg_temp'
AS $function$
declare
    now_is             timestamptz := clock_timestamp();
    patience constant  interval := interval '15 seconds';  -- as in waiter_is_gone
    looked_at          bigint;
    over               bigint;
    since              timestamptz;
    answer             mutex_statistics;
begin
    if statistics.most_counted is null or statistics.most_counted not between 1 and 1000000 then
        perform refuse_input('most_counted must be from 1 to 1000000');
    end if;
    answer.observed_at := now_is;

    select count(*), count(*) filter (where h.expires_at < now_is),
           min(h.held_since) filter (where isfinite(h.held_since) and (h.expires_at is null or h.expires_at >= now_is))
    into looked_at, over, since
    from (select m.held_since, m.expires_at from hold m limit statistics.most_counted) h;
    answer.holds := looked_at;
    answer.holds_over := over;
    answer.oldest_hold_since := since;
    answer.holds_are_estimated := looked_at >= statistics.most_counted;
    if answer.holds_are_estimated then
        select greatest(looked_at, c.reltuples::bigint) into answer.holds from pg_class c where c.oid = 'mutex_model'::regclass;
    end if;

    -- Unlogged, so a standby has no lines; nobody can wait there.
    if not pg_is_in_recovery() then
        select count(*), min(w.queued_since) filter (where isfinite(w.queued_since)) into answer.waiters, answer.oldest_waiter_since
        from (select m.listener, m.seen_at, m.queued_since from mutex_waiter m limit statistics.most_counted) w
        left join mutex_listener l on l.listener = w.listener
        -- Those that have died are in the line until somebody meets them.
        where case when w.listener is null then w.seen_at else l.seen_at end >= now_is - patience;
    end if;

    select count(*) into answer.pool_sessions from (select from pool_session p limit statistics.most_counted) p;
    return answer;
end
$function$

-- Removes up to batch holds that are over (at most 1000) and says how many. Not needed for correctness: a hold that is over stops nobody. Call it now and then, until it answers 0, to keep the table small: 0 says that nothing more can be removed now. It reads what is over, and each other hold once each time it would have ended without a refresh; one that another program has written, once more.
CREATE OR REPLACE FUNCTION pgmutex.sweep(batch integer DEFAULT 1000)
 RETURNS bigint
 LANGUAGE plpgsql
 SECURITY DEFINER
 SET search_path TO 'pgmutex', 'pg_temp'
 SET lock_timeout TO '5s'
 SET enable_seqscan TO 'off'
 SET enable_bitmapscan TO 'off'
 SET jit TO 'off'
AS $function$
#variable_conflict use_column
declare
    -- A heartbeat that meets a hold which has been put later finds it locked until the end of the call.
    most_put_later constant integer := 100000;
    started_at timestamptz := clock_timestamp();
    candidate  record;
    is_swept   boolean;
    swept      bigint := 0;
    locked     bigint := 0;
    wasted     bigint := 0;  -- of these locks, for holds that stay
    looked_at  bigint := 0;
    put_later  bigint := 0;
    later      tid[] := '{}';
    session    text := '';
begin
    if current_setting('transaction_isolation') not in ('read committed', 'read uncommitted') or pg_is_in_recovery() then
        perform refuse_transaction();
    end if;
    -- Each hold costs one entry in the server's lock table until the commit.
    if sweep.batch is null or sweep.batch not between 1 and 1000 then
        perform refuse_input('batch must be from 1 to 1000');
    end if;

    -- In the order in which they are due: once. What has been refreshed meanwhile, or was not looked at before, is put where a later sweep
    -- will look, so that no sweep reads it again before its time. On as long as none is over, and then ten for each that may be removed.
    for candidate in
        select h.ctid as place, h.expires_at, h.mutex_group, h.mutex_mode, h.mutex_id, h.permit, h.fencing_token, h.captured_since
        from mutex_model h
        where h.sweep_at < started_at
        order by h.sweep_at
    loop
        exit when swept >= sweep.batch or locked >= 1000 or swept > 0 and looked_at >= sweep.batch * 10;
        looked_at := case when swept > 0 then looked_at + 1 else 1 end;
        if candidate.expires_at < started_at then
            -- Not many locks for those that stay, or there would be none left for those that could go.
            is_swept := sweep_hold(candidate.mutex_group, candidate.mutex_mode, candidate.mutex_id, candidate.permit,
                                   candidate.fencing_token, candidate.captured_since, wasted >= 100);
            swept := swept + coalesce(is_swept, false)::integer;
            locked := locked + case when is_swept is not null then locks_of(candidate.mutex_id) else 0 end;
            wasted := wasted + case when not is_swept then locks_of(candidate.mutex_id) else 0 end;
        elsif put_later < most_put_later then
            put_later := put_later + 1;
            later := later || candidate.place;
            if cardinality(later) = 1000 then
                perform sweep_later(later, started_at);
                later := '{}';
            end if;
        end if;
    end loop;
    perform sweep_later(later, started_at);

    -- From one session to the next in the index, past all the holds of the one before.
    while swept < sweep.batch and locked < 1000 loop
        select h.auto_release_config into session from mutex_model h
        where h.auto_release_rule = 'connection' and h.auto_release_config collate "C" > session
        order by h.auto_release_config collate "C"
        limit 1;
        exit when not found;
        continue when not session_is_gone(session);
        locked := locked + 1;
        for candidate in
            select h.mutex_group, h.mutex_mode, h.mutex_id, h.permit, h.fencing_token, h.captured_since from mutex_model h
            where h.auto_release_rule = 'connection' and h.auto_release_config collate "C" = session
        loop
            exit when swept >= sweep.batch or locked >= 1000;
            is_swept := sweep_hold(candidate.mutex_group, candidate.mutex_mode, candidate.mutex_id, candidate.permit,
                                   candidate.fencing_token, candidate.captured_since, wasted >= 100);
            swept := swept + coalesce(is_swept, false)::integer;
            locked := locked + case when is_swept is not null then locks_of(candidate.mutex_id) else 0 end;
            wasted := wasted + case when not is_swept then locks_of(candidate.mutex_id) else 0 end;
        end loop;
    end loop;
    return swept;
end
$function$

-- Used by sweep; not called directly. Removes a hold that is over, as it was seen; false if it stays, because somebody is about to decide about it or has its row, null if that was found out without a lock.
CREATE OR REPLACE FUNCTION pgmutex.sweep_hold(mutex_group text, mutex_mode text, mutex_id text, permit integer, fencing_token bigint, captured_since timestamp with time zone, row_first boolean)
 RETURNS boolean
 LANGUAGE plpgsql
AS $function$
#variable_conflict use_column
begin
    if sweep_hold.row_first then
        perform 1 from hold h
        where h.mutex_group = sweep_hold.mutex_group and h.mutex_mode = sweep_hold.mutex_mode and h.mutex_id = sweep_hold.mutex_id
          and h.permit = sweep_hold.permit and h.fencing_token = sweep_hold.fencing_token
        for update skip locked;
        if not found then
            return null;
        end if;
    end if;
    if not try_lock_mutex(sweep_hold.mutex_group, sweep_hold.mutex_mode, sweep_hold.mutex_id) then
        return false;
    end if;
    perform 1 from hold h
    where h.mutex_group = sweep_hold.mutex_group and h.mutex_mode = sweep_hold.mutex_mode and h.mutex_id = sweep_hold.mutex_id
      and h.permit = sweep_hold.permit and h.fencing_token = sweep_hold.fencing_token
      and h.captured_since = sweep_hold.captured_since  -- not refreshed since
    for update skip locked;
    if not found then
        return false;
    end if;
    if sweep_hold.mutex_group = 'pgmutex.pool' then
        -- Nor for the row of its session, which comes back with the end of the lease.
        perform 1 from pool_session p
        where p.collection = sweep_hold.mutex_mode and p.fencing_token = sweep_hold.fencing_token
          and p.id = case when sweep_hold.mutex_id ~ '^-?[0-9]{1,18}$' then sweep_hold.mutex_id::bigint end
        for update skip locked;
        if not found
           and exists (select from pool_session p
                       where p.collection = sweep_hold.mutex_mode and p.fencing_token = sweep_hold.fencing_token
                         and p.id = case when sweep_hold.mutex_id ~ '^-?[0-9]{1,18}$' then sweep_hold.mutex_id::bigint end) then
            return false;
        end if;
    end if;
    delete from hold h
    where h.mutex_group = sweep_hold.mutex_group and h.mutex_mode = sweep_hold.mutex_mode and h.mutex_id = sweep_hold.mutex_id
      and h.permit = sweep_hold.permit;
    if not found then
        return false;
    end if;
    perform wake_lines(sweep_hold.mutex_group, sweep_hold.mutex_mode, sweep_hold.mutex_id);
    return true;
end
$function$

-- Used by sweep; not called directly. Puts holds that are not over where a later sweep will look: at the end that they have now.
CREATE OR REPLACE FUNCTION pgmutex.sweep_later(places tid[], looked_at timestamp with time zone)
 RETURNS void
 LANGUAGE plpgsql
AS $function$
declare
    locked tid[];
begin
    locked := array(select h.ctid from mutex_model h
                    where h.ctid = any (places) and h.sweep_at < looked_at and (h.expires_at is null or h.expires_at >= looked_at)
                    for no key update skip locked);
    update mutex_model h set sweep_at = h.expires_at where h.ctid = any (locked);
end
$function$

-- Locks the row of the session that comes next: never used, or unused for longest, of those that can be taken. Null if there is none.
CREATE OR REPLACE FUNCTION pgmutex.take_session(collection text, condition text)
 RETURNS bigint
 LANGUAGE plpgsql
 SET enable_seqscan TO 'off'
 SET enable_bitmapscan TO 'off'
 SET enable_sort TO 'off'
 SET jit TO 'off'
AS $function$
#variable_conflict use_column
declare
    now_is  timestamptz := clock_timestamp();  -- a variable: an index is not searched by what may change on the way
    due     bigint[];
    used    timestamptz[];
    spare   bigint[];
    leased  bigint[];
    suspect bigint;
    token   bigint;
    taken   bigint;
    looked  boolean := false;
    more_are_due boolean;
begin
    -- In bounded steps: if more have become due since the last look, the rest counts from the next one on.
    select array_agg(w.id order by w.last_use nulls first, w.id) filter (where w.fencing_token is null),
           array_agg(w.last_use order by w.last_use nulls first, w.id) filter (where w.fencing_token is null),
           array_agg(w.id) filter (where w.fencing_token is not null), count(*) = 1000
    into due, used, leased, more_are_due
    from (select p.id, p.last_use, p.fencing_token from pool_session p
          where p.collection = take_session.collection and p.active and not p.is_ready and p.due_at <= now_is
          order by p.due_at
          limit 1000) w;
    spare := due[501:600];
    if due is not null and take_session.condition <> 'true' then
        execute format('select array_agg(p.id), array_agg(p.last_use) from pool_session p '
                       'where p.collection = $1 and p.id = any ($2) and (%s)', take_session.condition)
        into due, used using take_session.collection, due;
    end if;
    loop
        foreach suspect in array coalesce(leased, '{}') loop
            select p.fencing_token into token from pool_session p
            where p.collection = take_session.collection and p.id = suspect and p.fencing_token is not null
            for update skip locked;
            if found then
                perform look_at_lease(take_session.collection, suspect, token);
            end if;
        end loop;
        leased := null;
        taken := lock_next_session(take_session.collection, take_session.condition, due, used);
        if taken is not null then
            select h.fencing_token into token from hold h
            where h.mutex_group = 'pgmutex.pool' and h.mutex_mode = take_session.collection and h.mutex_id = taken::text
            order by h.permit
            limit 1;
            exit when not found;
            -- Somebody has made the row forget its lease. The session is that hold's still.
            update pool_session p set fencing_token = token
            where p.collection = take_session.collection and p.id = taken;
            perform look_at_lease(take_session.collection, taken, token);
            continue;
        end if;
        exit when looked;
        -- Nobody says when the session of a worker ends. Before none is given, its leases are looked at: only those that are over are
        -- touched, for their workers are about to give back the others. Nor does anybody when a hold is removed past its triggers.
        select array_agg(l.id) into leased
        from (select p.id, p.fencing_token, p.active and p.next_use <= now_is as is_wanted from pool_session p
              where p.collection = take_session.collection and p.fencing_token is not null
              order by p.id
              limit 1000) l
        left join hold h on h.mutex_group = 'pgmutex.pool' and h.mutex_mode = take_session.collection and h.mutex_id = l.id::text
                        and h.fencing_token = l.fencing_token
        where l.is_wanted and (h.fencing_token is null or h.auto_release_rule = 'connection' and session_is_gone(h.auto_release_config));
        if more_are_due and take_session.condition <> 'true' then
            -- What fits may be none of the first that are due.
            execute format('select array_agg(d.id), array_agg(d.last_use) from (select p.id, p.last_use from pool_session p '
                           'where p.collection = $1 and p.active and not p.is_ready and p.due_at <= $2 and p.fencing_token is null and (%s) '
                           'order by p.due_at limit 1000) d', take_session.condition)
            into due, used using take_session.collection, now_is;
        end if;
        looked := true;
    end loop;
    -- Those that nobody has come for go where one step finds them: not the first ones, which others are coming for at this moment.
    if spare <> '{}' then
        update pool_session p set is_ready = true
        where p.collection = take_session.collection and p.id in (
            select s.id from pool_session s
            where s.collection = take_session.collection and s.id = any (spare) and s.fencing_token is null
            for update skip locked);
    end if;
    return taken;
end
$function$

-- Whether of two who wait, one at a path above that of the other, one would be in the way of the other.
CREATE OR REPLACE FUNCTION pgmutex.takes_turns(one pgmutex.mutex_waiter, other pgmutex.mutex_waiter)
 RETURNS boolean
 LANGUAGE sql
 IMMUTABLE PARALLEL SAFE
AS $function$
    select one.owner_session <> other.owner_session and (one.access = 'exclusive' or other.access = 'exclusive')
           and (starts_with(other.mutex_id, one.mutex_id) and (one.lock_children or other.lock_parents)
                or starts_with(one.mutex_id, other.mutex_id) and (one.lock_parents or other.lock_children))
$function$

-- As lock_mutex, without waiting; false if one of the locks is taken.
CREATE OR REPLACE FUNCTION pgmutex.try_lock_mutex(mutex_group text, mutex_mode text, mutex_id text)
 RETURNS boolean
 LANGUAGE plpgsql
AS $function$
declare
    above text;
begin
    if is_path(try_lock_mutex.mutex_id) then
        foreach above in array paths_above(try_lock_mutex.mutex_id) loop
            if not pg_try_advisory_xact_lock_shared(mutex_key(try_lock_mutex.mutex_group, try_lock_mutex.mutex_mode, above)) then
                return false;
            end if;
        end loop;
    end if;
    return pg_try_advisory_xact_lock(mutex_key(try_lock_mutex.mutex_group, try_lock_mutex.mutex_mode, try_lock_mutex.mutex_id));
end
$function$

-- Takes the advisory locks of the mutexes at these places that can be had at once, and says which places these are: the first of each mutex, and those after it.
CREATE OR REPLACE FUNCTION pgmutex.try_lock_together(places integer[], mutex_groups text[], mutex_modes text[], mutex_ids text[], OUT first_places integer[], OUT later_places integer[])
 RETURNS record
 LANGUAGE plpgsql
 SET plan_cache_mode TO 'force_generic_plan'
 SET jit TO 'off'
AS $function$
begin
    with asked as materialized (
        select a.place, a.lock_key, row_number() over (partition by a.lock_key order by a.place) as nth
        from (select p.place, mutex_key(mutex_groups[least(p.place, cardinality(mutex_groups))],
                                        mutex_modes[least(p.place, cardinality(mutex_modes))], mutex_ids[p.place]) as lock_key
              from unnest(places) p (place)) a
    ), keys as materialized (
        select a.lock_key, pg_try_advisory_xact_lock(a.lock_key) as is_ours from asked a where a.nth = 1
    )
    select array_agg(a.place order by a.place) filter (where a.nth = 1), array_agg(a.place order by a.place) filter (where a.nth > 1)
    into first_places, later_places
    from asked a join keys k on k.lock_key = a.lock_key and k.is_ours;
end
$function$

-- Drops the view that install_m3_mutex made; the holds stay. Says whether there was one.
CREATE OR REPLACE FUNCTION pgmutex.uninstall_m3_mutex(in_schema name DEFAULT 'public'::name)
 RETURNS boolean
 LANGUAGE plpgsql
 SET search_path TO 'pgmutex', 'pg_temp'
 SET lock_timeout TO '5s'
AS $function$
declare
    installed pg_class := m3_mutex_relation(in_schema);
begin
    if installed.oid is null then
        return false;
    elsif not is_m3_mutex_view(installed.oid) then
        perform refuse_input(format('m3_mutex in schema %I is not the view that install_m3_mutex makes', in_schema));
    end if;
    execute format('drop view %I.m3_mutex', in_schema);
    if not exists (select from pg_trigger t where t.tgfoid = 'm3_mutex_insert()'::regprocedure) then
        drop index if exists mutex_model_m3_mutex_id;
    end if;
    return true;
end
$function$

-- A document with the values at some dotted paths set and those at others taken away. Raises PM003 if that makes no sense.
CREATE OR REPLACE FUNCTION pgmutex.updated_document(document jsonb, changes jsonb, unset text[])
 RETURNS jsonb
 LANGUAGE plpgsql
AS $function$
declare
    changed  jsonb := document;
    conflict text;
    change   record;
begin
    if coalesce(jsonb_typeof(changes), 'object') <> 'object' then
        perform refuse_input('payload must be an object of dotted paths and their new values');
    elsif (select count(*) from jsonb_object_keys(changes)) + coalesce(cardinality(unset), 0) > 1000 then
        perform refuse_input('at most 1000 paths are changed at once');
    elsif array_position(unset, null) is not null then
        perform refuse_input('unset_payload must be a list of dotted paths');
    end if;
    select a.key into conflict
    from (select k.key, k.place from (select jsonb_object_keys(changes) union all select unnest(unset)) n (key)
          cross join lateral (select n.key, row_number() over ()) k (key, place)) a
    join (select jsonb_object_keys(changes) as key union all select unnest(unset)) b on starts_with(b.key, a.key || '.')
    limit 1;
    if not found then
        select n.key into conflict from (select jsonb_object_keys(changes) as key union all select unnest(unset)) n
        group by n.key having count(*) > 1 limit 1;
    end if;
    if found then
        perform refuse_input(format('%L is changed, and so is the whole or a part of it: say it once', conflict));
    end if;
    for change in select c.key, c.value from jsonb_each(changes) c loop
        changed := document_with(changed, path_of_key(change.key), change.value);
    end loop;
    for change in select u.key from unnest(unset) u (key) loop
        changed := document_with(changed, path_of_key(change.key), null);
    end loop;
    return changed;
end
$function$

-- A waiter at a path above or below who came before, or, without a ticket, any: null if there is none.
CREATE OR REPLACE FUNCTION pgmutex.waiter_in_the_way(mutex_group text, mutex_mode text, mutex_id text, before_ticket bigint, owner_session text, access text, lock_parents boolean, lock_children boolean, OUT waiter_id text, OUT waiter_ticket bigint)
 RETURNS record
 LANGUAGE plpgsql
AS $function$
#variable_conflict use_column
declare
    above   text;
    current record;
begin
    foreach above in array paths_above(waiter_in_the_way.mutex_id) loop
        for current in
            select w.ticket, w.listener, w.seen_at from mutex_waiter w
            where w.mutex_group = waiter_in_the_way.mutex_group and w.mutex_mode = waiter_in_the_way.mutex_mode and w.mutex_id = above
              and (waiter_in_the_way.before_ticket is null or w.ticket < waiter_in_the_way.before_ticket)
              and (w.lock_children or waiter_in_the_way.lock_parents)
              and w.owner_session <> waiter_in_the_way.owner_session
              and (w.access = 'exclusive' or waiter_in_the_way.access = 'exclusive')
            order by w.ticket
        loop
            if not waiter_is_gone(current.listener, current.seen_at) then
                waiter_id := above;
                waiter_ticket := current.ticket;
                return;
            end if;
        end loop;
    end loop;

    for current in
        select w.mutex_id, w.ticket, w.listener, w.seen_at from mutex_waiter w
        where w.mutex_group = waiter_in_the_way.mutex_group and w.mutex_mode = waiter_in_the_way.mutex_mode
          and w.mutex_id > waiter_in_the_way.mutex_id and w.mutex_id < end_of_path(waiter_in_the_way.mutex_id) and is_path(w.mutex_id)
          and (waiter_in_the_way.before_ticket is null or w.ticket < waiter_in_the_way.before_ticket)
          and (w.lock_parents or waiter_in_the_way.lock_children)
          and w.owner_session <> waiter_in_the_way.owner_session
          and (w.access = 'exclusive' or waiter_in_the_way.access = 'exclusive')
        order by w.mutex_id, w.ticket
    loop
        if not waiter_is_gone(current.listener, current.seen_at) then
            waiter_id := current.mutex_id;
            waiter_ticket := current.ticket;
            return;
        end if;
    end loop;
end
$function$

-- Whether a waiter need not be waited for: its process has not asked for 15 seconds (it may be stopped, or cut off), or for 3 while its database session is gone (it may be connecting again).
CREATE OR REPLACE FUNCTION pgmutex.waiter_is_gone(listener bigint, seen_at timestamp with time zone)
 RETURNS boolean
 LANGUAGE plpgsql
AS $function$
#variable_conflict use_column
declare
    process_has_session boolean;
    process_seen_at     timestamptz := waiter_is_gone.seen_at;
    patience constant   interval := interval '15 seconds';
    reconnect constant  interval := interval '3 seconds';  -- wake_line takes whoever was seen since for present
begin
    if waiter_is_gone.listener is not null then
        select l.has_session, l.seen_at into process_has_session, process_seen_at
        from mutex_listener l where l.listener = waiter_is_gone.listener;
        if not found then
            return true;
        elsif process_has_session and process_seen_at < clock_timestamp() - reconnect and session_is_gone(waiter_is_gone.listener::text) then
            return true;
        end if;
    end if;
    return process_seen_at < clock_timestamp() - patience;
end
$function$

-- Tells the first waiter of a mutex to ask again, if it could be let in.
CREATE OR REPLACE FUNCTION pgmutex.wake_line(mutex_group text, mutex_mode text, mutex_id text)
 RETURNS void
 LANGUAGE plpgsql
AS $function$
#variable_conflict use_column
declare
    head          bigint := -9223372036854775808;
    told          bigint;
    seen_at       timestamptz;
    nobody_holds_it boolean;
    wants_access  text;
    wants_permits integer;
    wants_session text;
    wants_parents boolean;
    wants_children boolean;
begin
    -- The head as it is; if that may be gone, the first that is there.
    for look in 1..2 loop
        select w.ticket, w.access, w.permits, w.owner_session, w.lock_parents, w.lock_children, l.listener, l.seen_at,
               -- At a path something above or below it may be in the way, and a pool has sessions to give, not itself.
               not is_path(w.mutex_id) and w.mutex_group <> 'pgmutex.pool'
               and not exists (select from hold h
                               where h.mutex_group = wake_line.mutex_group and h.mutex_mode = wake_line.mutex_mode and h.mutex_id = wake_line.mutex_id)
        into head, wants_access, wants_permits, wants_session, wants_parents, wants_children, told, seen_at, nobody_holds_it
        from mutex_waiter w left join mutex_listener l on l.listener = w.listener and l.has_session
        where w.mutex_group = wake_line.mutex_group and w.mutex_mode = wake_line.mutex_mode and w.mutex_id = wake_line.mutex_id
          and w.ticket >= head
        order by w.ticket
        limit 1;
        if not found then
            return;  -- as most do
        end if;
        -- Who was seen just now is there (see waiter_is_gone). With any other it may be the turn of one behind it.
        exit when look = 2 or seen_at > clock_timestamp() - interval '3 seconds';
        -- The lines of a pool are looked at behind a shared lock, too.
        head := first_in_line(wake_line.mutex_group, wake_line.mutex_mode, wake_line.mutex_id, null,
                              is_path(wake_line.mutex_id) or wake_line.mutex_group = 'pgmutex.pool');
        if head is null then
            return;
        end if;
    end loop;
    -- Never in vain: a notification costs everyone, a lock of the whole database until the commit.
    if told is not null
       and (nobody_holds_it
            or could_be_captured(wake_line.mutex_group, wake_line.mutex_mode, wake_line.mutex_id, head, wants_access, wants_permits,
                                 wants_session, wants_parents, wants_children)) then
        perform pg_notify('pgmutex_' || told, head::text);
    end if;
end
$function$

-- Tells everyone to ask again whom a change at a mutex may have let in: the first in its line, and for a path also those above and below.
CREATE OR REPLACE FUNCTION pgmutex.wake_lines(mutex_group text, mutex_mode text, mutex_id text)
 RETURNS void
 LANGUAGE plpgsql
AS $function$
#variable_conflict use_column
declare
    line text;
begin
    if not is_path(wake_lines.mutex_id) then
        perform wake_line(wake_lines.mutex_group, wake_lines.mutex_mode, wake_lines.mutex_id);
        return;
    end if;
    for line in
        select distinct w.mutex_id from mutex_waiter w
        where w.mutex_group = wake_lines.mutex_group and w.mutex_mode = wake_lines.mutex_mode
          and w.mutex_id = any (paths_above(wake_lines.mutex_id) || wake_lines.mutex_id)
        union
        select distinct w.mutex_id from mutex_waiter w
        where w.mutex_group = wake_lines.mutex_group and w.mutex_mode = wake_lines.mutex_mode
          and w.mutex_id > wake_lines.mutex_id and w.mutex_id < end_of_path(wake_lines.mutex_id) and is_path(w.mutex_id)
        order by 1
    loop
        perform wake_line(wake_lines.mutex_group, wake_lines.mutex_mode, line);
    end loop;
end
$function$

-- Tells the first in each line of a pool to ask again, if there is a session to be had.
CREATE OR REPLACE FUNCTION pgmutex.wake_pool(collection text)
 RETURNS void
 LANGUAGE plpgsql
AS $function$
#variable_conflict use_column
declare
    line text;
begin
    for line in
        select distinct w.mutex_id from mutex_waiter w
        where w.mutex_group = 'pgmutex.pool' and w.mutex_mode = wake_pool.collection
        order by 1
    loop
        perform wake_line('pgmutex.pool', wake_pool.collection, line);
    end loop;
end
$function$

-- Trigger: writes the beginnings and ends of holds into the audit.
CREATE OR REPLACE FUNCTION pgmutex.write_audit()
 RETURNS trigger
 LANGUAGE plpgsql
 SECURITY DEFINER
 SET search_path TO 'pgmutex', 'pg_temp'
 SET enable_seqscan TO 'off'
 SET jit TO 'off'
AS $function$
declare
    what text := 'released';
    why  text;
begin
    if tg_op = 'TRUNCATE' then
        insert into audit (at, event, mutex_group, mutex_mode, mutex_id, permit, fencing_token,
                           owner_session, owner_host, owner_id, owner_login, owner_name,
                           reason, database_role, client_address, application_name)
        select clock_timestamp(), 'forced', h.mutex_group, h.mutex_mode, h.mutex_id, h.permit, h.fencing_token,
               h.owner_session, h.owner_host, h.owner_id, h.owner_login, h.owner_name,
               'truncate', session_user, inet_client_addr(), current_setting('application_name')
        from hold h;
        return null;
    end if;
    if tg_op <> 'INSERT' then
        if old.ending is not null then
            -- Only the functions that remove a hold against its holder's will write there.
            what := split_part(old.ending, ' ', 1);
            why := nullif(substr(old.ending, length(what) + 2), '');
        elsif hold_is_over(old.auto_release_rule, old.auto_release_config, old.expires_at, clock_timestamp()) then
            what := 'evicted';
        end if;
        if what = 'evicted' then
            why := rtrim(old.auto_release_rule || ' ' || old.auto_release_config);
        end if;
        insert into audit (at, event, mutex_group, mutex_mode, mutex_id, permit, fencing_token,
                           owner_session, owner_host, owner_id, owner_login, owner_name,
                           reason, database_role, client_address, application_name)
        values (clock_timestamp(), what, old.mutex_group, old.mutex_mode, old.mutex_id, old.permit, old.fencing_token,
                old.owner_session, old.owner_host, old.owner_id, old.owner_login, old.owner_name,
                why, session_user, inet_client_addr(), current_setting('application_name'));
    end if;
    if tg_op <> 'DELETE' then
        insert into audit (at, event, mutex_group, mutex_mode, mutex_id, permit, fencing_token,
                           owner_session, owner_host, owner_id, owner_login, owner_name,
                           reason, database_role, client_address, application_name)
        values (clock_timestamp(), 'captured', new.mutex_group, new.mutex_mode, new.mutex_id, new.permit, new.fencing_token,
                new.owner_session, new.owner_host, new.owner_id, new.owner_login, new.owner_name,
                null, session_user, inet_client_addr(), current_setting('application_name'));
    end if;
    return null;
end
$function$

-- privileges of everybody ---
