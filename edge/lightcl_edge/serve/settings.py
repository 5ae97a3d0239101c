"""What the owner has set on the page: ``STATE/serve/settings.json``."""

import json
from dataclasses import asdict
from pathlib import Path

from lightcl_edge.errors import LightclError
from lightcl_edge.files.durable import replace_durably
from lightcl_edge.files.records import read_record
from lightcl_edge.files.strict_json import read_json
from lightcl_edge.serve.records.watching import Settings

_NAME = "settings.json"


def read_settings(folder: Path) -> Settings:
    """The settings; the defaults where there are none or they are damaged."""
    try:
        return read_record(Settings, read_json(folder / _NAME), "", ValueError)
    except (OSError, ValueError, LightclError):
        return Settings()


def write_settings(folder: Path, settings: Settings) -> None:
    """Keep the settings."""
    replace_durably(folder / _NAME, json.dumps(asdict(settings)).encode())
