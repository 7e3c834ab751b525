-- Lets the functions that wait for another's transaction do so for as long as it takes.
do $$
declare
    routine regprocedure;
begin
    for routine in
        select oid from pg_proc
        where pronamespace = 'pgmutex'::regnamespace and proconfig && '{lock_timeout=5s,lock_timeout=2s}'
    loop
        execute format('alter routine %s set lock_timeout = ''5min''', routine);
    end loop;
    assert found, 'no function waits for so long';
end $$
