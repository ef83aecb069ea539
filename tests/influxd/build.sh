#!/usr/bin/env bash
# Builds influxd 2.7 into the user's cache, for tests without a ready-made InfluxDB.
#
#   build.sh              build, unless it is there already
#   build.sh --if-needed  build only where the tests would find no server otherwise (`make test`)
set -euo pipefail

readonly VERSION=2.7.12 GO_AT_LEAST=1.24 RUST_AT_LEAST=1.72
readonly FOLDER="${XDG_CACHE_HOME:-$HOME/.cache}/metrics-pipeline/influxd-$VERSION"
readonly PROGRAM=influxd
cd "$(dirname "${BASH_SOURCE[0]}")"
. ./building.sh

have() { command -v "$1" >/dev/null 2>&1; }

# One sentence with the fix for each tool that is missing or too old; silence when all are there.
complaints() {
    local found
    found=$(go_version)
    [ -n "$found" ] && at_least "$GO_AT_LEAST" "$found" ||
        echo "Go $GO_AT_LEAST or newer is needed and ${found:-none} was found: on Debian 13 apt-get install golang-go, elsewhere Go's own archive, with its bin folder on PATH."
    found=$(rustc --version 2>/dev/null | cut -d ' ' -f 2 || true)
    [ -n "$found" ] && at_least "$RUST_AT_LEAST" "$found" && have cargo ||
        echo "Rust $RUST_AT_LEAST or newer with cargo is needed and ${found:-none} was found: with rustup, rustup toolchain install stable; without, apt-get install rustc cargo on Debian 13, rustc-web cargo-web on Debian 12."
    have cc || echo "A C compiler (cc) is needed: apt-get install gcc libc6-dev."
    have pkg-config || echo "pkg-config is needed: apt-get install pkg-config."
}

# Succeeds where the tests get a server without a build (server.py looks in the same places).
server_at_hand() {
    [ -n "${INFLUXDB_TEST_URL:-}" ] && return
    [ -x "$FOLDER/influxd" ] && return
    influxd version 2>/dev/null | grep -q '^InfluxDB v\?2\.' && return
    have docker && docker version >/dev/null 2>&1 || return
    docker image inspect "metrics-pipeline/influxd:$VERSION" >/dev/null 2>&1 ||
        docker image inspect influxdb:2.7 >/dev/null 2>&1 ||
        timeout 300 docker pull --quiet influxdb:2.7 >/dev/null 2>&1
}

build() {
    alone
    [ ! -x "$FOLDER/influxd" ] || return 0
    make_work
    say "building $VERSION: fetches about 1.5 GB of modules the first time, 3 to 5 minutes on 2 cores"
    # Flux's own pkg-config builds its Rust library; at a fixed path, so that Go's cache holds.
    run "building Flux's pkg-config" go build -o "$FOLDER/pkg-config" github.com/influxdata/pkg-config
    # Newer compilers warn of what Flux's lints then deny, and RUSTFLAGS does not reach every crate.
    export CGO_ENABLED=1 PKG_CONFIG="$FOLDER/pkg-config" RUSTC_WRAPPER="$PWD/rustc-lenient.sh"
    run "building" go build -tags sqlite_foreign_keys,sqlite_json \
        -ldflags "-s -w -X main.version=v$VERSION" -o "$work/influxd" github.com/influxdata/influxdb/v2/cmd/influxd
    "$work/influxd" version >/dev/null
    mv "$work/influxd" "$FOLDER/influxd" # a rename: nobody ever sees a half-written one
    say "built in $SECONDS s: $FOLDER/influxd"
}

case "${1:-}" in
'') if_needed= ;;
--if-needed) if_needed=1 ;;
*) echo "usage: $0 [--if-needed]" >&2; exit 2 ;;
esac

if [ -n "$if_needed" ] && server_at_hand; then exit 0; fi
if [ -x "$FOLDER/influxd" ]; then say "already there: $FOLDER/influxd"; exit 0; fi
# rustup would obey Flux and fetch the old compiler that it asks for; the stable one does as well.
if have rustup; then export RUSTUP_TOOLCHAIN=stable; fi
missing=$(complaints)
if [ -n "$missing" ]; then
    echo "$missing" >&2
    [ -n "$if_needed" ] || exit 1
    # pytest says the whole of it: what would give a server, this among others.
    echo "Without it or Docker the tests that need an InfluxDB fail; make unit runs the others." >&2
    exit 0
fi
build
