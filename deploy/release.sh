#!/bin/sh
# Makes a release in dist/: sdist, wheel, Debian package, SBOM (CycloneDX) of what the agent needs to
# run, and SHA256SUMS of these. They are the same, byte for byte, whenever they are made of a commit.
#
#     deploy/release.sh PYTHON
#
# PYTHON has what constraints/release.txt lists.
set -eu
cd "$(dirname "$0")/.."
umask 022
python=$1
pip() { "$python" -m pip --disable-pip-version-check --quiet "$@"; }
refuse() {
    echo "no release is made: $1" >&2
    exit 1
}

version=$(sed -n 's/^__version__ = "\(.*\)"$/\1/p' pipeline/__init__.py)
changes() {
    awk -v title="## [$1]" '/^## / { inside = index($0, title) == 1; next } inside && NF' CHANGELOG.md
}
[ -n "$(changes "$version")" ] ||
    refuse "CHANGELOG.md has nothing below '## [$version]', the version in pipeline/__init__.py"
[ -z "$(changes Unreleased)" ] ||
    refuse "CHANGELOG.md has something below '## [Unreleased]'; put '## [VERSION]' above it"
if [ -e .git ] && [ -n "$(git status --porcelain --untracked-files=no)" ]; then
    refuse "some files differ from the last commit; commit them first"
fi

SOURCE_DATE_EPOCH=${SOURCE_DATE_EPOCH:-$(git log -1 --format=%ct 2>/dev/null || echo 1577836800)}
export SOURCE_DATE_EPOCH
scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT
sdist=metrics_pipeline-$version.tar.gz
wheel=metrics_pipeline-$version-py3-none-any.whl
sbom=metrics-pipeline-$version.cdx.json

# The wheel is made of the sdist, which thereby is shown to be complete.
"$python" -m build --no-isolation --outdir dist . >"$scratch/log" 2>&1 ||
    { cat "$scratch/log" >&2; exit 1; }

# The bill lists an environment that has what the agent needs to run, and nothing else.
"$python" -m venv --without-pip "$scratch/env"
pip --python "$scratch/env" install --require-hashes -r constraints/run.txt
pip --python "$scratch/env" uninstall --yes flit_core
pip --python "$scratch/env" install --no-index --no-deps "dist/$wheel"
sed "s/^dynamic = .*/version = \"$version\"/" pyproject.toml >"$scratch/pyproject.toml"
"$python" -m cyclonedx_py environment --pyproject "$scratch/pyproject.toml" --output-reproducible \
    --output-file "dist/$sbom" "$scratch/env"

package=$(deploy/debian/build.sh "$python")
cd dist
sha256sum "$sdist" "$wheel" "${package#dist/}" "$sbom" >SHA256SUMS
echo "dist/SHA256SUMS:"
cat SHA256SUMS
