# What scripts that build a program into the user's cache share, to be sourced: PROGRAM is its name,
# FOLDER the place in the cache.
work= child=

say() { echo "$PROGRAM: $*"; }

# at_least WANTED FOUND: whether the version FOUND is WANTED or newer.
at_least() { [ "$(printf '%s\n' "$1" "$2" | sort -V | head -n 1)" = "$1" ]; }

go_version() { go env GOVERSION 2>/dev/null | sed 's/^go//' || true; }

# run WHAT COMMAND...: runs it in the background and says now and then that it is still at it.
run() {
    local what=$1 started=$SECONDS log="$work/log"
    shift
    "$@" >"$log" 2>&1 9>&- &
    child=$!
    while kill -0 "$child" 2>/dev/null; do
        sleep 1
        (((SECONDS - started) % 20)) || say "$what, $((SECONDS - started)) s"
    done
    wait "$child" || { tail -n 40 "$log" >&2; say "$what failed; its last lines are above" >&2; exit 1; }
    child=
}

clean_up() {
    [ -z "$child" ] || kill "$child" 2>/dev/null || true
    [ -z "$work" ] || rm -rf "$work"
}

# alone: until the script ends, no other one builds into the folder.
alone() {
    mkdir -p "$FOLDER"
    exec 9>"$FOLDER/lock"
    flock -n 9 || { say "another build is under way; waiting for it"; flock 9; }
}

# make_work: makes a folder to build in, which is gone at the end.
make_work() {
    work=$(mktemp -d "$FOLDER/build.XXXXXX")
    trap clean_up EXIT
}
