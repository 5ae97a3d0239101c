"""Tells an MQTT broker what the camera shows, and listens for the button to learn."""

import json
import ssl
import sys
import threading
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Protocol

from lightcl_edge.errors import UsageError
from lightcl_edge.serve.mqtt.discovery import OFFLINE, ONLINE, PRESS, Topics, board_id, introduction
from lightcl_edge.serve.mqtt.options import MqttOptions

if TYPE_CHECKING:
    from paho.mqtt.client import Client, MQTTMessage
    from paho.mqtt.reasoncodes import ReasonCode

#: An answer that stays the same is repeated after so long, for its probability; a picture likewise.
STATE_SECONDS, PICTURE_SECONDS = 5.0, 10.0
#: Pictures come at most so often, however fast answers change: a slow network would pile them up.
LEAST_PICTURE_SECONDS = 1.0
#: The pause between two tries to connect doubles from the first to the longest.
_FIRST_PAUSE_SECONDS, _LONGEST_PAUSE_SECONDS = 1, 60
_KEEP_ALIVE_SECONDS = 30
_CLOSING_SECONDS = 2.0


class AnswerLike(Protocol):
    """What a link needs of an answer: ``kind`` is ``sure``, ``unsure``, ``never seen`` or ``nothing learned``."""

    @property
    def class_name(self) -> str | None: ...

    @property
    def probability(self) -> float: ...

    @property
    def kind(self) -> str: ...


class MqttLink:
    """Connects by itself, and again when the broker was away. Any thread may call any method; none waits for a network.

    Args:
        board_name: how Home Assistant calls the board; it must differ between the boards of one broker.
        on_learn: called in a thread of the link when the button is pressed. It must only take note, and not raise.

    Raises UsageError when paho-mqtt is not installed, or the authority's file holds no certificate.
    """

    def __init__(self, options: MqttOptions, board_name: str, on_learn: Callable[[], None]) -> None:
        self._options, self._name, self._on_learn = options, board_name, on_learn
        self._topics = Topics(board_id(board_name), options.discovery)
        self._lock = threading.Lock()
        self._state: dict[str, Any] | None = None
        self._picture: bytes | None = None
        self._state_due = self._picture_due = 0.0  # monotonic seconds
        self.connected = False
        self.message = f"connecting to {self._place}"
        self._client = self._make_client()
        self._client.connect_async(options.host, options.port, _KEEP_ALIVE_SECONDS)
        self._client.loop_start()

    @property
    def _place(self) -> str:
        return f"{self._options.host}:{self._options.port}"

    def publish(self, answer: AnswerLike, jpeg: bytes | None) -> None:
        """Tell the answer and its frame: at once when it has changed, else now and then."""
        state = _state(answer)
        with self._lock:
            before, now = self._state, time.monotonic()
            changed = before is None or any(before[key] != state[key] for key in ("class", "unsure", "never_seen"))
            self._state, self._picture = state, jpeg if self._options.pictures else None
            if changed or now >= self._state_due:
                self._send_state(now)
            if now >= self._picture_due - (PICTURE_SECONDS - LEAST_PICTURE_SECONDS if changed else 0):
                self._send_picture(now)

    def refresh(self) -> None:
        """Tell everything again, after something new was learned."""
        with self._lock:
            self._introduce()

    def close(self) -> None:
        """Say good-bye and end; a second time does nothing."""
        if self.connected:
            self._client.publish(self._topics.availability, OFFLINE, qos=0, retain=True)
        self._client.disconnect()
        # It waits for its thread, which may be trying to reach a host that does not answer.
        ending = threading.Thread(target=self._client.loop_stop, daemon=True)
        ending.start()
        ending.join(_CLOSING_SECONDS)

    def _make_client(self) -> "Client":
        try:
            from paho.mqtt.client import Client
            from paho.mqtt.enums import CallbackAPIVersion
        except ImportError as error:
            raise UsageError("MQTT needs paho-mqtt; install it with: pip install 'lightcl-edge[mqtt]'") from error
        client = Client(CallbackAPIVersion.VERSION2, client_id=self._topics.id)
        client.suppress_exceptions = True  # in callbacks: the link's thread must not end
        client.reconnect_delay_set(_FIRST_PAUSE_SECONDS, _LONGEST_PAUSE_SECONDS)
        client.will_set(self._topics.availability, OFFLINE, qos=1, retain=True)
        if self._options.user is not None:
            client.username_pw_set(self._options.user, self._options.password)
        if self._options.tls:
            try:
                client.tls_set(str(self._options.authority) if self._options.authority else None)
            except (ssl.SSLError, OSError) as error:
                raise UsageError(f"--mqtt-ca {self._options.authority} holds no certificate ({error})") from error
        client.on_connect = self._connected
        client.on_connect_fail = self._failed
        client.on_disconnect = self._disconnected
        client.on_message = self._received
        return client

    def _connected(self, client: "Client", _data: Any, _flags: Any, reason: "ReasonCode", _properties: Any) -> None:
        if reason.is_failure:
            self.message = f"{self._place} refuses the connection: {str(reason).lower()}; check user and password"
            return
        client.subscribe([(self._topics.learn, 1), (self._topics.home_assistant, 0)])
        with self._lock:
            self.connected, self.message = True, f"connected to {self._place}"
            self._introduce()

    def _failed(self, _client: "Client", _data: Any) -> None:
        error = sys.exc_info()[1]  # paho calls this while it handles the error
        if isinstance(error, ssl.SSLCertVerificationError):
            why = f"its certificate is not trusted ({error.verify_message}); name who signed it with --mqtt-ca"
        else:
            why = f"{getattr(error, 'strerror', None) or error or 'no answer'}"
        self.message = f"no connection to {self._place}: {why}"

    def _disconnected(self, _client: "Client", _data: Any, _flags: Any, _reason: Any, _properties: Any) -> None:
        if self.connected:
            self.connected, self.message = False, f"{self._place} has ended the connection; trying again"

    def _received(self, _client: "Client", _data: Any, message: "MQTTMessage") -> None:
        if message.topic == self._topics.home_assistant:
            if message.payload == ONLINE.encode():
                self.refresh()
        elif message.payload == PRESS.encode() and not message.retain:  # a kept message is no press
            self._on_learn()

    def _introduce(self) -> None:
        """Send everything that whoever has just come needs."""
        if not self.connected:
            return
        about = introduction(self._topics, self._name, pictures=self._options.pictures)
        self._client.publish(self._topics.introduction, json.dumps(about), qos=1, retain=True)
        self._client.publish(self._topics.availability, ONLINE, qos=1, retain=True)
        self._send_state(time.monotonic())
        self._send_picture(time.monotonic())

    def _send_state(self, now: float) -> None:
        if self.connected and self._state is not None:
            self._client.publish(self._topics.state, json.dumps(self._state), qos=0, retain=True)
            self._state_due = now + STATE_SECONDS

    def _send_picture(self, now: float) -> None:
        # Not retained: a broker may keep what is retained on its disk.
        if self.connected and self._picture is not None:
            self._client.publish(self._topics.picture, self._picture, qos=0)
            self._picture_due = now + PICTURE_SECONDS


def _state(answer: AnswerLike) -> dict[str, Any]:
    return {
        "class": answer.class_name if answer.kind == "sure" else None,
        "unsure": "ON" if answer.kind == "unsure" else "OFF",
        "never_seen": "ON" if answer.kind == "never seen" else "OFF",
        "nearest": answer.class_name,
        "probability": round(answer.probability, 3),
    }
