"""How a board introduces itself to Home Assistant: one device with its entities, in one message (since 2024.11)."""

import re
from dataclasses import dataclass
from typing import Any

from lightcl_edge import __version__

ONLINE, OFFLINE, PRESS = "online", "offline", "learn"


@dataclass(frozen=True)
class Topics:
    """Where a board's messages go. ``id`` must differ between the boards of one broker."""

    id: str
    discovery: str = "homeassistant"

    @property
    def state(self) -> str:
        return f"lightcl/{self.id}/state"

    @property
    def picture(self) -> str:
        return f"lightcl/{self.id}/picture"

    @property
    def availability(self) -> str:
        return f"lightcl/{self.id}/availability"

    @property
    def learn(self) -> str:
        return f"lightcl/{self.id}/learn"

    @property
    def introduction(self) -> str:
        return f"{self.discovery}/device/{self.id}/config"

    @property
    def home_assistant(self) -> str:
        """Where Home Assistant says that it has started."""
        return f"{self.discovery}/status"


def board_id(name: str) -> str:
    """A board's name in letters that a topic may hold: ``Küche 2`` -> ``lightcl_k_che_2``."""
    return f"lightcl_{re.sub('[^a-z0-9]+', '_', name.lower()).strip('_') or 'board'}"


def introduction(topics: Topics, name: str, *, pictures: bool) -> dict[str, Any]:
    """The device: the class, unsure, never seen, a button to learn, and the newest frame."""

    def entity(key: str, platform: str, label: str, icon: str, **more: str) -> dict[str, str]:
        about = {"platform": platform, "name": label, "icon": icon, "unique_id": f"{topics.id}_{key}"}
        return {**about, "default_entity_id": f"{platform}.{topics.id}_{key}", **more}

    state = topics.state
    entities = {
        # None in a template is shown as unknown: there is no class to believe in.
        "class": entity("class", "sensor", "Class", "mdi:shape", state_topic=state, json_attributes_topic=state,
                        value_template="{{ value_json.class }}"),
        "unsure": entity("unsure", "binary_sensor", "Unsure", "mdi:help-circle-outline", state_topic=state,
                         value_template="{{ value_json.unsure }}"),
        "never_seen": entity("never_seen", "binary_sensor", "Never seen", "mdi:new-box", state_topic=state,
                             value_template="{{ value_json.never_seen }}"),
        "learn": entity("learn", "button", "Learn", "mdi:school", command_topic=topics.learn, payload_press=PRESS),
    }  # fmt: skip
    if pictures:
        entities["picture"] = entity("picture", "image", "Picture", "mdi:camera", image_topic=topics.picture,
                                     content_type="image/jpeg")  # fmt: skip
    return {
        "device": {"identifiers": [topics.id], "name": name, "manufacturer": "lightcl-edge", "sw_version": __version__},
        "origin": {"name": "lightcl-edge", "sw_version": __version__},
        "availability_topic": topics.availability,
        "payload_available": ONLINE,
        "payload_not_available": OFFLINE,
        "components": entities,
    }
