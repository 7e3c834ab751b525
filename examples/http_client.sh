#!/usr/bin/env bash
# Locks over plain HTTP, from a script: a test rig is reserved, found reserved, waited for and given back.
#
#   examples/http_client.sh                          # with a server that it starts for itself
#   PGMUTEX_URL=http://locks:8765 examples/http_client.sh
#
# It needs curl and nothing else. PGMUTEX_TOKEN is sent if the server asks for one.
set -euo pipefail

folder=$(mktemp -d)
chmod 755 "$folder"  # for root, the server runs as another user, who must get in
server=
finish() {
    [ -z "$server" ] || { kill "$server" && wait "$server"; } 2>/dev/null || true
    rm -rf "$folder"
}
trap finish EXIT

if [ -z "${PGMUTEX_URL:-}" ]; then
    program=${PGMUTEX:-pgmutex}
    env -u DATABASE_URL "$program" serve --port 0 --file "$folder/locks.db" >"$folder/said" &
    server=$!
    until PGMUTEX_URL=$(grep -o -m 1 'http://[^ ]*' "$folder/said"); do
        kill -0 "$server" || { echo "the server does not start" >&2; exit 1; }
        sleep 0.1
    done
fi

# One call, as a line of JSON. What is said with -d goes in a form, and stays out of logs of what was asked for.
call() {
    local path=$1
    shift
    curl --silent --show-error --fail-with-body --max-time 90 \
        ${PGMUTEX_TOKEN:+--header "Authorization: Bearer $PGMUTEX_TOKEN"} "$@" "$PGMUTEX_URL/$path"
    echo
}

expect() {
    echo "      $2"
    grep -q "$1" <<<"$2" || { echo "expected: $1" >&2; exit 1; }
}

echo "Reserve board 3 in rack 1, for ten minutes at most:"
reserved=$(call canhaz/rack1/board3 -d id=nightly -d ttl=600)
expect '"ok":true' "$reserved"
token=$(sed 's/.*"token":"\([^"]*\)".*/\1/' <<<"$reserved")

echo "The rack is not free as long as one of its boards is not, and it is said who has it:"
expect '"lockedBy":"nightly"' "$(call canhaz/rack1 -d id=repair)"

echo "Another board is free:"
other=$(call canhaz/rack1/board4 -d id=nightly)
expect '"ok":true' "$other"

echo "Wait for board 3, while it is given back:"
call canhaz/rack1/board3 -d id=release -d wait=60 >"$folder/waited" &
waiting=$!
for _ in {1..300}; do
    call "v1/waiters?group=locker" >"$folder/line"
    ! grep -q '"release"' "$folder/line" || break
    sleep 0.1
done
expect '"name":"release"' "$(grep -o '"name":"[^"]*"' "$folder/line")"
expect '"ok":true' "$(call nowant/rack1/board3 -d "token=$token")"
wait "$waiting"
expect '"ok":true' "$(cat "$folder/waited")"

echo "Give everything back:"
expect '"ok":true' "$(call nowant/rack1/board3 -d "token=$(sed 's/.*"token":"\([^"]*\)".*/\1/' "$folder/waited")")"
expect '"ok":true' "$(call nowant/rack1/board4 -d "token=$(sed 's/.*"token":"\([^"]*\)".*/\1/' <<<"$other")")"
expect '"lockedBy":null' "$(call dohaz/rack1)"
