#!/bin/sh
# Builds dist/metrics-pipeline_VERSION_ARCH.deb, which needs no internet where it is installed: all
# that the agent is made of, at the versions of constraints/run.txt, is in it.
#
#     deploy/debian/build.sh [PYTHON]
#
# PYTHON has pip and this project's dependencies at hand; python3 without it.
set -eu
cd "$(dirname "$0")/../.."
umask 022
here=deploy/debian
python=${1:-python3}
scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT
tree=$scratch/tree
program=$tree/opt/metrics-pipeline
pip() { "$python" -m pip --disable-pip-version-check --quiet "$@"; }

# What is built today from a commit is built tomorrow, byte for byte.
SOURCE_DATE_EPOCH=${SOURCE_DATE_EPOCH:-$(git log -1 --format=%ct 2>/dev/null || echo 1577836800)}
export SOURCE_DATE_EPOCH

version=$(sed -n 's/^__version__ = "\(.*\)"$/\1/p' pipeline/__init__.py)
architecture=$(dpkg --print-architecture)
package=dist/metrics-pipeline_${version}_$architecture.deb

# The wheel house, and out of it alone the program.
pip download --require-hashes --only-binary :all: --dest "$scratch/wheels" -r constraints/run.txt
pip install --no-index --find-links "$scratch/wheels" --target "$scratch/build" flit_core
PYTHONPATH=$scratch/build pip wheel --no-index --no-deps --no-build-isolation \
    --wheel-dir "$scratch/wheels" .
# By name, since pip notes the path of a file that it is given, and that is another each time.
(
    unset PIP_FIND_LINKS
    pip install --no-index --find-links "$scratch/wheels" --no-compile --target "$program/lib" \
        "metrics-pipeline==$version"
)
rm -rf "$program/lib/bin"
install -D -m 755 "$here/metrics-pipeline" "$program/bin/metrics-pipeline"
install -d "$tree/usr/bin"
ln -s /opt/metrics-pipeline/bin/metrics-pipeline "$tree/usr/bin/metrics-pipeline"

install -D -m 644 deploy/systemd/metrics-pipeline.service \
    "$tree/usr/lib/systemd/system/metrics-pipeline.service"
install -D -m 644 deploy/systemd/metrics-pipeline.sysusers \
    "$tree/usr/lib/sysusers.d/metrics-pipeline.conf"
install -D -m 644 settings.toml "$tree/etc/metrics-pipeline/settings.toml"
install -D -m 644 LICENSE "$tree/usr/share/doc/metrics-pipeline/copyright"
install -D -m 644 .secrets.toml.example \
    "$tree/usr/share/doc/metrics-pipeline/examples/secrets.toml"

install -d "$tree/DEBIAN"
sed "s/@VERSION@/$version/; s/@ARCHITECTURE@/$architecture/" "$here/control" >"$tree/DEBIAN/control"
echo /etc/metrics-pipeline/settings.toml >"$tree/DEBIAN/conffiles"
install -m 755 "$here/postinst" "$here/prerm" "$here/postrm" "$tree/DEBIAN"
find "$tree" -newermt "@$SOURCE_DATE_EPOCH" -exec touch --no-dereference --date "@$SOURCE_DATE_EPOCH" {} +

mkdir -p dist
dpkg-deb --root-owner-group --build "$tree" "$package" >/dev/null
echo "$package"
