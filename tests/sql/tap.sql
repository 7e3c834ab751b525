-- What the checks beside this file are written with: a few of pgTAP's functions, under its names and with its arguments
-- (https://pgtap.org), so that nothing has to be installed. Each answers with lines of the Test Anything Protocol.
--
-- The one of our own is throws_hint. By hand: psql -X -q -A -t -f tests/sql/tap.sql -f tests/sql/verbs.sql

create schema tap;
set search_path = tap, public;

create table checks (number serial primary key, passed boolean not null);
create table planned (checks integer not null);

create function plan(checks integer) returns text language sql as $$
    insert into planned (checks) values (plan.checks);
    select format('1..%s', plan.checks);
$$;

create function ok(passed boolean, description text) returns text language plpgsql as $$
declare
    line text;
    this integer;
begin
    insert into checks (passed) values (coalesce(ok.passed, false)) returning number into this;
    line := format('ok %s - %s', this, description);
    if not coalesce(ok.passed, false) then
        line := format(E'not %s\n# Failed test %s: "%s"', line, this, description);
    end if;
    return line;
end
$$;

create function diag(message text) returns text language sql as $$
    select regexp_replace(diag.message, '^', '#     ', 'gn');
$$;

create function is(have anyelement, want anyelement, description text) returns text language sql as $$
    select ok(have is not distinct from want, description)
           || case when have is distinct from want
                   then E'\n' || diag(format(E'have: %s\nwant: %s', coalesce(have::text, 'NULL'), coalesce(want::text, 'NULL'))) else '' end;
$$;

create function isnt(have anyelement, want anyelement, description text) returns text language sql as $$
    select ok(have is distinct from want, description)
           || case when have is not distinct from want
                   then E'\n' || diag(format('have: %s', coalesce(have::text, 'NULL'))) else '' end;
$$;

create function matches(have text, pattern text, description text) returns text language sql as $$
    select ok(have ~ pattern, description)
           || case when (have ~ pattern) is not true
                   then E'\n' || diag(format(E'%s\ndoes not match: %s', coalesce(have, 'NULL'), pattern)) else '' end;
$$;

create function is_empty(query text, description text) returns text language plpgsql as $$
declare
    rows text;
begin
    execute format('select string_agg(r::text, e''\n'') from (%s) r', query) into rows;
    return ok(rows is null, description) || coalesce(E'\n' || diag(E'Records returned:\n' || rows), '');
end
$$;

-- A null message: any will do.
create function throws_ok(query text, errcode text, errmsg text, description text) returns text language plpgsql as $$
begin
    execute query;
    return ok(false, description) || E'\n' || diag('no exception');
exception when others then
    return ok(sqlstate = errcode and sqlerrm = coalesce(errmsg, sqlerrm), description)
           || case when sqlstate = errcode and sqlerrm = coalesce(errmsg, sqlerrm) then ''
                   else E'\n' || diag(format(E'caught: %s: %s\nwanted: %s: %s', sqlstate, sqlerrm, errcode, errmsg)) end;
end
$$;

create function throws_hint(query text, pattern text, description text) returns text language plpgsql as $$
declare
    hint text;
begin
    execute query;
    return ok(false, description) || E'\n' || diag('no exception');
exception when others then
    get stacked diagnostics hint = pg_exception_hint;
    return matches(hint, pattern, description);
end
$$;

create function finish() returns setof text language plpgsql as $$
declare
    ran    integer := (select count(*) from checks);
    failed integer := (select count(*) from checks where not passed);
    wanted integer := (select p.checks from planned p);
begin
    if ran is distinct from wanted then
        return next format('# Looks like you planned %s tests but ran %s', coalesce(wanted::text, 'no'), ran);
    end if;
    if failed > 0 then
        return next format('# Looks like you failed %s of %s tests', failed, ran);
    end if;
end
$$;
