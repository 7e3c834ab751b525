-- Lets whoever waits stay in line for an hour without asking again, however long the steps of a test take.
do $$
declare
    definition text := pg_get_functiondef('pgmutex.waiter_is_gone'::regproc);
begin
    assert definition like '%15 seconds%';
    execute replace(definition, '15 seconds', '1 hour');
end $$
