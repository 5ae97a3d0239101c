"""Debian's mosquitto on a free port, and its own command line clients."""

import socket
import subprocess
import threading
import time
from contextlib import contextmanager

#: A topic on which the broker keeps a message for whoever has just subscribed.
SUBSCRIBED = "listener/subscribed"


def free_port():
    with socket.create_server(("127.0.0.1", 0)) as server:
        return server.getsockname()[1]


class Broker:
    """A broker that can be stopped and started again; it keeps nothing meanwhile."""

    def __init__(self, folder, *lines):
        self.port, self._process, self._listeners = free_port(), None, []
        self._config = folder / "mosquitto.conf"
        # As root it would become a user who may not read a test's folder.
        self._config.write_text("\n".join([f"listener {self.port} 127.0.0.1", "user root", *lines]) + "\n")
        self.start()

    def start(self):
        # Debian keeps it in a folder of administrators' programs.
        command = ["env", "PATH=/usr/sbin:/usr/bin:/bin", "mosquitto", "-c", str(self._config)]
        self._process = subprocess.Popen(command, stderr=subprocess.DEVNULL)
        end = time.monotonic() + 10
        while time.monotonic() < end:
            try:
                socket.create_connection(("127.0.0.1", self.port), 1).close()
                return
            except OSError:
                time.sleep(0.02)
        raise TimeoutError("mosquitto does not answer")

    def stop(self):
        if self._process is not None:
            self._process.terminate()
            self._process.wait(10)
            self._process = None

    def close(self):
        for listener in self._listeners:
            listener.close()
        self.stop()

    def listen(self, *options, topic="#"):
        """A listener that has subscribed by now: it misses nothing that is said from here on."""
        self.send(SUBSCRIBED, "yes", "-r")
        listener = Listener(["mosquitto_sub", "-p", str(self.port), "-t", topic, "-t", SUBSCRIBED, *options])
        self._listeners.append(listener)
        if not listener.subscribed.wait(15):
            raise TimeoutError("mosquitto_sub hears nothing")
        return listener

    def send(self, topic, text, *options):
        subprocess.run(["mosquitto_pub", "-p", str(self.port), "-t", topic, "-m", text, *options], check=True)


class Listener:
    """What mosquitto_sub has heard: (topic, retained, payload as hexadecimal digits)."""

    def __init__(self, command):
        self.heard, self.subscribed = [], threading.Event()
        self._process = subprocess.Popen([*command, "-F", "%t %r %x"], stdout=subprocess.PIPE, text=True)
        threading.Thread(target=self._read, daemon=True).start()

    def _read(self):
        for line in self._process.stdout:
            topic, retained, *payload = line.rstrip("\n").split(" ")
            if topic == SUBSCRIBED:
                self.subscribed.set()
            else:
                self.heard.append((topic, retained == "1", bytes.fromhex(payload[0]) if payload else b""))

    def of(self, topic):
        return [payload for each, _, payload in self.heard if each == topic]

    def wait(self, condition, seconds=15):
        """Wait until the condition holds for what was heard."""
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            if condition():
                return True
            time.sleep(0.02)
        return False

    def close(self):
        self._process.terminate()
        self._process.wait(10)
        self._process.stdout.close()


@contextmanager
def broker(folder, *lines):
    found = Broker(folder, *lines)
    try:
        yield found
    finally:
        found.close()
