# The keeper of one private server: started first, gone last.
#
# It owns the run folder and the postmaster. It obeys the orders on its standard input, one a line,
# and answers each with one line. The program that wants the server holds the other end of that
# pipe, and nobody else does: the end of the input means that the program is gone, in whatever way
# it went, and the keeper tidies up. A normal stop is the same end of input: there is one way out.
#
# usage: sh -c SCRIPT sh BASE BIN KEPT TEMPLATE SERVER-ARGUMENT...
#   KEPT is a data folder that outlives the server. Without one (""), the data lies in the run
#   folder and goes with it.

# A Ctrl-C or a hang-up is the program's business. PIPE: an answer that nobody reads is no reason to
# die untidily.
trap '' HUP INT QUIT TERM PIPE
umask 077
PATH=${PATH:+$PATH:}/usr/bin:/bin

base=$1 bin=$2 kept=$3 template=$4
shift 4

run=$(mktemp -d "$base/run-XXXXXX" 2>&1) || { echo "failed $run"; exit 1; }
echo "done ${run##*/}"

data=${kept:-$run/data}
log=${kept:-$run}/server.log
postmaster=

answer() { if [ "$1" -eq 0 ]; then echo "done $2"; else echo "failed $2"; fi; }

# within SECONDS COMMAND...: repeats the command until it succeeds.
within() {
    looks=$(($1 * 50))
    shift
    until "$@"; do
        [ "$looks" -gt 0 ] || return 1
        looks=$((looks - 1))
        sleep 0.02 || sleep 1 # not every sleep knows fractions
    done
}

initdb_in() {
    "$bin/initdb" -D "$data" -U postgres -A trust -E UTF8 "$@" </dev/null >>"$run/initdb.log" 2>&1
}

# C.UTF-8 sorts by code point and knows letters beyond ASCII; systems without it get C.
initdb() {
    initdb_in --locale=C.UTF-8 "$@" && return
    grep -q 'invalid locale name' "$run/initdb.log" && initdb_in --locale=C "$@"
}

# Shares the blocks with the template where the file system can.
copy() {
    rm -rf "$data"
    cp -a --reflink=auto "$template" "$data" 2>/dev/null && return
    rm -rf "$data"
    cp -pR "$template" "$data" 2>>"$run/initdb.log"
}

is_gone() { ! kill -0 "$postmaster" 2>/dev/null; }

# Kills what a dead postmaster left behind: a child that is busy computing does not notice that it
# is alone. Data that is kept may be served by somebody else, so there nothing is killed; and where
# there is no /proc, such a child is left to notice later.
has_no_orphans() {
    [ -z "$kept" ] || return 0
    orphans=
    for process in /proc/[0-9]*; do
        if [ "$process/cwd" -ef "$data" ] && [ "$process/exe" -ef "$bin/postgres" ]; then
            kill -KILL "${process#/proc/}"
            orphans=some
        fi
    done
    [ -z "$orphans" ]
}

# To be called when the postmaster has ended. Until here its process id could not become another's.
reap() {
    [ -z "$postmaster" ] || wait "$postmaster"
    postmaster=
    within 10 has_no_orphans
}

stop() {
    kill -CONT "$postmaster" # it may have been stopped in the middle of a crash
    # Data that is kept is closed in order, with a checkpoint; data that goes away need not be.
    [ -n "$kept" ] && kill -INT "$postmaster" && within 60 is_gone && return
    # After five seconds the postmaster itself kills its children that have not heeded this.
    kill -QUIT "$postmaster"
    within 10 is_gone && return
    kill -KILL "$postmaster"
    within 10 is_gone
}

# A killed postmaster leaves a System V segment of a few bytes, which marks the data as in use. The
# seventh line of postmaster.pid is its key and its id.
remove_segment() {
    [ -f "$data/postmaster.pid" ] && ipcrm -m "$(sed -n '7s/.* //p' "$data/postmaster.pid")"
}

while read -r order; do
    case $order in
    initdb) initdb; answer $? ;;
    initdb-unsynced) initdb -N; answer $? ;;
    copy) copy; answer $? ;;
    start)
        reap
        exec "$bin/postgres" -D "$data" "$@" -c "unix_socket_directories=$run" \
            </dev/null >>"$log" 2>&1 &
        postmaster=$!
        answer 0 "$postmaster"
        ;;
    reap) reap; answer 0 ;;
    esac
done

[ -z "$postmaster" ] || stop
within 10 has_no_orphans
[ -n "$kept" ] || remove_segment
within 10 rm -rf "$run"
