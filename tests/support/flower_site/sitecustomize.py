"""Makes a SuperNode's ClientApps quick to start, with this folder on its Python's path.

Each is a process still, but forked from Flower's executor, which has all imported: to import Flower takes 2.5 s of
processor time. With ``$LIGHTCL_LIES`` the board shares the files of that folder in turn, in place of what it taught.
"""

import os
import signal
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace


def start(words, **more):
    if words[0] != "flwr-clientapp":
        return subprocess.Popen(words, **more)
    if os.fork():
        return None
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    sys.argv = words
    try:
        return cli.flwr_clientapp()
    finally:
        if heavy := {"onnxruntime", "torch", "lightcl_edge.learning"} & set(sys.modules):
            print(f"Flower's process has loaded {heavy}", flush=True)
        os._exit(0)


def lie(self, known):
    path = min(Path(os.environ["LIGHTCL_LIES"]).iterdir(), key=lambda each: each.stat().st_mtime_ns)
    path.touch()
    # it says that it has all, so that the server sends it nothing
    return {"board": "liar", "boards": dict.fromkeys(known, 2**31)}, path.read_bytes()


if any(word.endswith("flower-superexec") for word in sys.orig_argv):
    from flwr.supercore.superexec.executor import subprocess_executor
    from flwr.supernode import cli

    from lightcl_edge.fleet.member import Member

    subprocess_executor.subprocess = SimpleNamespace(Popen=start, DEVNULL=subprocess.DEVNULL)
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)
    if "LIGHTCL_LIES" in os.environ:
        Member.share = lie
