#!/bin/sh
# What the product imports, in /opt/lightcl/python: wheels only, each at the version the constraints name.
# usage: [TORCH=1] dependencies.sh SOURCES     SOURCES holds pyproject.toml and both files of constraints
set -eu

sources=$1
here=$(dirname "$0")
lists=$(mktemp -d)
python3 "$here/pins.py" requirements "$sources/pyproject.toml" --torch "${TORCH:-0}" >"$lists/requirements"
python3 "$here/pins.py" constraints "$sources/constraints.txt" "$sources/constraints-arm64.txt" >"$lists/constraints"

python3 -m venv --without-pip /opt/lightcl/python
/opt/tools/bin/pip --python /opt/lightcl/python/bin/python install --no-cache-dir --disable-pip-version-check \
    --only-binary=:all: --requirement "$lists/requirements" --constraint "$lists/constraints"
rm -r "$lists"

# The product itself lives beside its dependencies: an update of it is a layer of 4 MiB.
for packages in /opt/lightcl/python/lib/python3.*/site-packages; do
    version=$(basename "$(dirname "$packages")")
    echo "/opt/lightcl/app/lib/$version/site-packages" >"$packages/lightcl-app.pth"
done
