#!/bin/sh
# The product's wheel from its sources, built in a clean copy: what an earlier build left behind can't get in.
# usage: [PYTHON=python] wheel.sh SOURCES OUT
set -eu

sources=$1
out=$2
copy=$(mktemp -d)
for part in pyproject.toml README.md LICENSE edge host models profiles; do
    cp -a "$sources/$part" "$copy/"
done
find "$copy" \( -name '*.egg-info' -o -name build -o -name __pycache__ \) -prune -exec rm -r {} +
# Old and new pip take the versions of build tools from different variables.
PIP_CONSTRAINT="$sources/constraints.txt" PIP_BUILD_CONSTRAINT="$sources/constraints.txt" \
    "${PYTHON:-/opt/tools/bin/python}" -m pip wheel --disable-pip-version-check --no-cache-dir --no-deps \
    --wheel-dir "$out" "$copy"
rm -r "$copy"
