#!/bin/sh
# pip in an environment of its own, for building: the image that runs gets none of this.
set -eu

export DEBIAN_FRONTEND=noninteractive
apt-get update
apt-get install -y --no-install-recommends python3-venv ca-certificates
apt-get clean
rm -rf /var/lib/apt/lists/*
python3 -m venv /opt/tools
