# Runs a server in a folder of its own, and ends it and removes the folder when this shell's input ends: when the test program
# is done or dead, however it died.
#
# usage: sh -c SCRIPT keeper PROGRAM ARGUMENT...
#   The first line of the output names the folder, in which the server runs; then comes its log. "missing" alone means that
#   the program is not installed.

# A Ctrl-C is the test program's business.
trap '' HUP INT QUIT TERM
PATH=${PATH:+$PATH:}/usr/sbin:/usr/bin:/bin

if ! command -v "$1" >/dev/null; then
    echo missing
    exit
fi

folder=$(mktemp -d) && cd "$folder" || exit
echo "$folder"
"$@" </dev/null 2>&1 &
server=$!
exec >/dev/null # so that the log ends with the server
cat
kill -KILL "$server"
wait
rm -rf "$folder"
