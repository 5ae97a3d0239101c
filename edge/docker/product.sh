#!/bin/sh
# The product's wheel, in /opt/lightcl/app; its dependencies are there already.
# usage: product.sh WHEEL
set -eu

/opt/tools/bin/pip --python /opt/lightcl/python/bin/python install --no-cache-dir --disable-pip-version-check \
    --no-deps --no-index --prefix /opt/lightcl/app "$1"
/opt/lightcl/app/bin/lightcl-edge --version
