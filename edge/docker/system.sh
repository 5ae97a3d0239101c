#!/bin/sh
# What the image needs of Debian, the user it runs as, and the folder that holds what it learns.
set -eu

export DEBIAN_FRONTEND=noninteractive
apt-get update
apt-get install -y --no-install-recommends python3
apt-get clean
rm -rf /var/lib/apt/lists/*

# A fixed number, so that a volume keeps its owner from image to image.
if ! getent passwd lightcl >/dev/null; then
    groupadd --gid 10001 lightcl
    useradd --uid 10001 --gid lightcl --no-create-home --home-dir /state --shell /usr/sbin/nologin lightcl
fi
install -d -o lightcl -g lightcl -m 750 /state
