"""``make test-arm64``: the arm64 image, made without Docker, run under emulation as each processor of a Raspberry Pi.

``python -m arm64 --help`` (with ``tests`` on the path) is the command. What it does and finds is in
``docs/owners/docker.md`` and ``profiles/reports/arm64``.
"""
