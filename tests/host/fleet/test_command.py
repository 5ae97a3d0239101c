"""``lightcl-host fleet`` writes an app that Flower can read, once."""

from __future__ import annotations

import sys

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

from lightcl_host.cli import main


def test_the_app_is_written_once(tmp_path, capsys):
    out = tmp_path / "fleet-app"
    assert main(["fleet", "--out", str(out)]) == 0 and "flower.md" in capsys.readouterr().out
    app = tomllib.loads((out / "pyproject.toml").read_text())["tool"]["flwr"]["app"]
    for component in app["components"].values():
        module, _, name = component.partition(":")
        source = (out / f"{module.replace('.', '/')}.py").read_text()
        assert f"{name} = " in source
    server = (out / "lightcl_fleet" / "server_app.py").read_text()
    client = (out / "lightcl_fleet" / "client_app.py").read_text()
    assert all(f'run["{key}"]' in server + client for key in app["config"])
    assert main(["fleet", "--out", str(out)]) == 2 and "exists already" in capsys.readouterr().err
