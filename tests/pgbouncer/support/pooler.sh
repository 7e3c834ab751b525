# Starts PgBouncer, and ends it when this shell's input ends: when the test program is done or dead, however it died.
#
# usage: sh -c SCRIPT pooler FOLDER SETTINGS USERS
#   The log goes to the output; "missing" alone means that PgBouncer is not installed.

# A Ctrl-C is the test program's business.
trap '' HUP INT QUIT TERM
PATH=${PATH:+$PATH:}/usr/sbin:/usr/bin:/bin

if ! command -v pgbouncer >/dev/null; then
    echo missing
    exit
fi

cd "$1" || exit
printf '%s\n' "$2" >pgbouncer.ini
printf '%s\n' "$3" >users.txt
# Statements that PgBouncer itself would look after, as later versions can, would hide the ones that get lost.
if pgbouncer --version | grep -qE '^PgBouncer 1\.(2[1-9]|[3-9][0-9])\.'; then
    echo 'max_prepared_statements = 0' >>pgbouncer.ini
fi

pgbouncer pgbouncer.ini </dev/null 2>&1 &
pooler=$!
exec >/dev/null # so that the log ends with PgBouncer
cat
kill -KILL "$pooler"
