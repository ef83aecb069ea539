#!/usr/bin/env bash
# Builds Telegraf into the user's cache, of its Go module, with the inputs that the agent has too; and
# beside it one that takes lines from a socket, to fill its buffers.
set -euo pipefail

readonly VERSION=1.37.2 GO_AT_LEAST=1.25.5 MODULE=github.com/influxdata/telegraf
readonly FOLDER="${XDG_CACHE_HOME:-$HOME/.cache}/metrics-pipeline/telegraf-$VERSION"
# What Go's checksum database has of it; those of all that it needs are in its own go.sum.
readonly HASH=h1:mYr0I/suEw9+UM4KrCFuYuzJuq/e99cINniIwqO6ykw=
readonly HASH_OF_MOD=h1:dq+24HZKWxGo5ttW03SZug03UlFfpxh9vsXQgdZ9RPw=
# As Telegraf's custom_builder chooses plugins; the file and its format are for benchmarks.schema.
readonly TAGS=custom,inputs.cpu,inputs.mem,inputs.swap,inputs.disk,inputs.diskio,inputs.net,inputs.system,inputs.processes,inputs.temp,inputs.kernel,inputs.nstat,inputs.conntrack,inputs.linux_sysctl_fs,outputs.influxdb_v2,outputs.file,serializers.influx
readonly BUFFER_TAGS=custom,inputs.socket_listener,parsers.influx,outputs.influxdb_v2,serializers.influx
readonly PROGRAM=telegraf
. "$(dirname "${BASH_SOURCE[0]}")/../../tests/influxd/building.sh"

require_go() {
    local found
    found=$(go_version)
    [ -n "$found" ] && at_least "$GO_AT_LEAST" "$found" || {
        echo "Go $GO_AT_LEAST or newer is needed and ${found:-none} was found: Go's own archive has it; put its bin folder on PATH." >&2
        exit 1
    }
}

# A module that has Telegraf's own requirements and hashes: `go get` would choose them anew, and
# fetch those of all 400 plugins for it.
make_module() {
    local source
    printf 'module metrics-pipeline/benchmarks/telegraf\n\ngo %s\n\nrequire %s v%s\n' \
        "$GO_AT_LEAST" "$MODULE" "$VERSION" >go.mod
    printf '%s v%s %s\n%s v%s/go.mod %s\n' \
        "$MODULE" "$VERSION" "$HASH" "$MODULE" "$VERSION" "$HASH_OF_MOD" >go.sum
    run "fetching" go mod download -json "$MODULE@v$VERSION"
    source=$(sed -n 's/^\t"Dir": "\(.*\)",\{0,1\}$/\1/p' "$work/log")
    { cat go.mod; sed '/^module /d; /^go /d' "$source/go.mod"; } >merged
    mv merged go.mod
    cat "$source/go.sum" >>go.sum
}

# compile NAME TAGS: as Telegraf's Makefile builds releases, without cgo.
compile() {
    ! has "$@" || return 0
    run "building $1" env CGO_ENABLED=0 go build -tags "$2" \
        -ldflags "-s -w -X $MODULE/internal.Version=$VERSION" -o "$1" "$MODULE/cmd/telegraf"
    [ "$("./$1" --version)" = "Telegraf $VERSION" ]
    mv "$1" "$FOLDER/$1" # a rename: nobody ever sees a half-written one
    printf '%s' "$2" >"$FOLDER/$1.tags"
    say "built in $SECONDS s: $FOLDER/$1"
}

build() {
    alone
    ! is_built || return 0
    make_work
    say "building $VERSION"
    cd "$work"
    make_module
    compile telegraf "$TAGS"
    compile telegraf-buffer "$BUFFER_TAGS"
}

# has NAME TAGS: whether it is there, with these plugins.
has() { [ -x "$FOLDER/$1" ] && [ "$(cat "$FOLDER/$1.tags" 2>/dev/null)" = "$2" ]; }

is_built() { has telegraf "$TAGS" && has telegraf-buffer "$BUFFER_TAGS"; }

[ $# = 0 ] || { echo "usage: $0" >&2; exit 2; }
if is_built; then say "already there: $FOLDER/telegraf"; exit 0; fi
require_go
build
