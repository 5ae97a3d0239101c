#!/bin/sh
# Healthy: what was learned can be read, every file with its hash; before anything was learned, an engine works here
# and the volume can be written.
set -eu

state=${LIGHTCL_STATE:-/state}
if [ -e "$state/CURRENT" ]; then
    exec lightcl-edge status --state "$state"
fi
test -w "$state"
exec lightcl-edge doctor --engine ort  # trying torch, too, would take 200 MiB from a training beside it
