"""Machines on one network, as namespaces of Linux; only root can make them."""

import os
import shutil
import subprocess

import pytest

needs_namespaces = pytest.mark.skipif(
    os.geteuid() != 0 or shutil.which("ip") is None, reason="network namespaces need root and iproute2"
)


def _ip(words, check=True):
    subprocess.run(["ip", *words.split()], check=check, capture_output=True)


class Machines:
    """By name. All are reached from here over a bridge."""

    def __init__(self, names):
        self._numbers = {name: number for number, name in enumerate(names, 1)}

    def __enter__(self):
        self.__exit__()  # what a killed run has left
        _ip("link add lcl-bridge type bridge")
        _ip("address add 10.213.0.254/24 dev lcl-bridge")
        _ip("link set lcl-bridge up")
        for name, number in self._numbers.items():
            _ip(f"netns add lcl-{number}")
            _ip(f"link add lcl-{number} type veth peer name eth0 netns lcl-{number}")
            _ip(f"link set lcl-{number} master lcl-bridge up")
            _ip(f"-n lcl-{number} address add {self.address(name)}/24 dev eth0")
            for device in ("eth0", "lo"):
                _ip(f"-n lcl-{number} link set {device} up")
        return self

    def __exit__(self, *_):
        for number in self._numbers.values():
            _ip(f"link delete lcl-{number}", check=False)
            _ip(f"netns delete lcl-{number}", check=False)
        _ip("link delete lcl-bridge", check=False)

    def address(self, name):
        return f"10.213.0.{self._numbers[name]}"

    def inside(self, name):
        """The words that start a program on a machine."""
        return f"ip netns exec lcl-{self._numbers[name]}".split()

    def plug(self, name, to):
        """Its cable: "up" or "down"."""
        _ip(f"link set lcl-{self._numbers[name]} {to}")
