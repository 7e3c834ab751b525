# The keeper of one private server: started first, gone last.
#
# It owns the run folder and the postmaster. It obeys the orders on its standard input, one a line, and answers
# each with one line. The program that wants the server holds the other end of that pipe, and nobody else does:
# the end of the input means that the program is gone, in whatever way it went, and the keeper tidies up.
# A normal stop is the same end of input, so there is one way out.
#
# usage: sh -c SCRIPT keeper BASE BIN DATA TEMPLATE SERVER-ARGUMENT...
#   DATA is a folder that outlives the server, or empty: then the data lies in the run folder and goes with it.

# A Ctrl-C or a hang-up is the program's business. PIPE: an answer nobody reads is no reason to die untidily.
trap '' HUP INT QUIT TERM PIPE
umask 077
PATH=${PATH:+$PATH:}/usr/bin:/bin

base=$1 bin=$2 kept=$3 template=$4
shift 4

# Only this user can write to BASE, so the name is all that mktemp has to find.
run=$(mktemp -d "$base/run-XXXXXX" 2>&1) || { echo "failed $run"; exit 1; }
echo "done ${run##*/}"

data=${kept:-$run/data}
log=${kept:-$run}/server.log
postmaster=

answer() { if [ "$1" -eq 0 ]; then echo "done $2"; else echo "failed $2"; fi; }

# C.UTF-8 sorts by code point and knows letters beyond ASCII; systems without it get C.
initdb() {
    for locale in C.UTF-8 C; do
        "$bin/initdb" -D "$data" -U postgres -A trust -E UTF8 --locale="$locale" "$@" \
            </dev/null >>"$run/initdb.log" 2>&1 && return
    done
}

# Shares the blocks with the template where the file system can.
copy() {
    rm -rf "$data"
    cp -a --reflink=auto "$template" "$data" 2>/dev/null && return
    rm -rf "$data"
    cp -pR "$template" "$data" 2>>"$run/initdb.log"
}

# True when the postmaster is gone within so many seconds.
gone_within() {
    looks=$(($1 * 50))
    while kill -0 "$postmaster" 2>/dev/null; do
        [ "$looks" -gt 0 ] || return 1
        looks=$((looks - 1))
        sleep 0.02 || sleep 1
    done
}

while read -r order; do
    case $order in
    initdb) initdb; answer $? ;;
    initdb-unsynced) initdb -N; answer $? ;;
    copy) copy; answer $? ;;
    start)
        exec "$bin/postgres" -D "$data" "$@" -c "unix_socket_directories=$run" </dev/null >>"$log" 2>&1 &
        postmaster=$!
        answer 0 "$postmaster"
        ;;
    # The program saw the postmaster end. Until here its process id could not be given to another process.
    reap) wait "$postmaster"; postmaster=; answer 0 ;;
    esac
done

if [ -n "$postmaster" ]; then
    kill -CONT "$postmaster" # it may have been stopped in the middle of a crash
    # Data that stays is closed in order, with a checkpoint; data that goes away need not be.
    if [ -z "$kept" ] || ! { kill -INT "$postmaster"; gone_within 60; }; then
        # After five seconds the postmaster itself kills its children that have not heeded this.
        kill -QUIT "$postmaster"
        gone_within 10 || { kill -KILL "$postmaster"; gone_within 10; }
    fi
fi

if [ -z "$kept" ] && [ -f "$data/postmaster.pid" ]; then
    # A killed postmaster leaves its System V segment, a few bytes that mark the data as in use: line 7, "key id".
    ipcrm -m "$(sed -n '7s/.* //p' "$data/postmaster.pid")"
fi

# Orphans of a killed postmaster may still write for a moment.
for _ in 1 2 3 4 5 6 7 8 9 10; do
    rm -rf "$run" && break
    sleep 1
done
