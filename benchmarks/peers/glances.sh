#!/usr/bin/env bash
# Puts Glances, with what its influxdb2 export needs, into an environment of its own in the user's
# cache. Its versions and hashes are in glances.txt; no index address, so that any mirror serves.
set -euo pipefail

readonly VERSION=4.5.8
readonly FOLDER="${XDG_CACHE_HOME:-$HOME/.cache}/metrics-pipeline/glances-$VERSION"
readonly PINNED="$(dirname "$(realpath "$0")")/glances.txt"

say() { echo "glances: $*"; }

[ $# = 0 ] || { echo "usage: PYTHON=python3 $0" >&2; exit 2; }
if [ -x "$FOLDER/bin/glances" ]; then say "already there: $FOLDER/bin/glances"; exit 0; fi
mkdir -p "$FOLDER"
exec 9>"$FOLDER/lock"
flock 9
if [ ! -x "$FOLDER/bin/glances" ]; then
    say "installing $VERSION"
    "${PYTHON:-python3}" -m venv "$FOLDER"
    "$FOLDER/bin/python" -m pip install --quiet --disable-pip-version-check --require-hashes -r "$PINNED"
    say "installed in $SECONDS s: $FOLDER/bin/glances"
fi
