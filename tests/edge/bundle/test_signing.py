"""Signed bundles: what a key lets in, and what it keeps out."""

from __future__ import annotations

import json
import subprocess

import numpy as np
import pytest

from lightcl_edge import Learner
from lightcl_edge.bundle.bundle import Bundle
from lightcl_edge.bundle.signature import make_key_pair, read_private_key, sign_manifest
from lightcl_edge.bundle.writing import write_bundle
from lightcl_edge.errors import DowngradeError, SignatureError
from lightcl_edge.state.state import State
from small_bundle import make_bundle, make_folder

pytest.importorskip("cryptography")


@pytest.fixture
def keys(tmp_path):
    make_key_pair(tmp_path / "fleet")
    return tmp_path / "fleet.key", tmp_path / "fleet.pub"


def signed(out, key, release, seed=0):
    """The tiny bundle, signed; ``out`` may end in .lclb."""
    plain = make_bundle(out.parent / f"plain-{out.stem}", seed=seed)
    opened = Bundle.open(plain)
    files = {entry.path: opened.path(entry.path).read_bytes() for entry in opened.manifest.files}
    write_bundle(out, opened.manifest, files, lambda manifest: sign_manifest(manifest, read_private_key(key), release))
    return out


@pytest.mark.parametrize("name", ["b", "b.lclb"])
def test_a_signed_bundle_is_verified(edge, keys, tmp_path, name):
    bundle = signed(tmp_path / name, keys[0], 3)
    document = json.loads(edge("verify", bundle, "--key", keys[1], "--json")[0])
    assert document["ok"] and document["signature_checked"] and document["release"] == 3
    assert "signature: good, release 3" in edge("verify", bundle, "--key", keys[1])[0]
    assert "not asked for" in edge("verify", bundle)[0]


def test_what_is_not_signed_by_the_key_is_refused(edge, bundle, keys, tmp_path):
    assert "is not signed" in edge("verify", bundle, "--key", keys[1], code=3)[1]
    make_key_pair(tmp_path / "other")
    mine = signed(tmp_path / "b", keys[0], 1)
    assert "signed by key" in edge("verify", mine, "--key", tmp_path / "other.pub", code=3)[1]
    manifest = mine / "manifest.json"
    manifest.write_bytes(manifest.read_bytes() + b"\n")
    assert "changed after it was signed" in edge("verify", mine, "--key", keys[1], code=3)[1]
    again = signed(tmp_path / "c", keys[0], 1)
    value = json.loads((again / "manifest.sig").read_text())
    (again / "manifest.sig").write_text(json.dumps({**value, "release": 2}))
    assert "changed after it was signed" in edge("verify", again, "--key", keys[1], code=3)[1]
    (again / "manifest.sig").write_text("{}")
    assert "manifest.sig is damaged" in edge("verify", again, "--key", keys[1], code=3)[1]


def test_a_state_keeps_its_key(edge, bundle, keys, tmp_path):
    state, data = tmp_path / "s", make_folder(tmp_path / "d", ["red", "green"])
    edge("train", "--bundle", bundle, "--state", state, "--data", data, "--key", keys[1], code=3)
    assert not state.exists()
    mine = signed(tmp_path / "b", keys[0], 5)
    edge("train", "--bundle", mine, "--state", state, "--data", data, "--key", keys[1], "--quiet")
    edge("train", "--state", state, "--data", data, "--quiet")
    stripped = tmp_path / "plain-b"
    _, err = edge("train", "--bundle", stripped, "--state", state, "--data", data, code=3)
    assert "accepts only bundles signed by" in err
    make_key_pair(tmp_path / "other")
    _, err = edge("train", "--state", state, "--data", data, "--key", tmp_path / "other.pub", code=6)
    assert "a state keeps its key" in err
    assert State(state).current_number() == 2


def test_an_application_asks_for_the_key_too(edge, bundle, keys, tmp_path):
    with pytest.raises(SignatureError):
        Learner.open(bundle, tmp_path / "s", key=keys[1])
    learner = Learner.open(signed(tmp_path / "b", keys[0], 5), tmp_path / "s", key=keys[1])
    learner.learn([np.full((9, 9, 3), grey, np.uint8) for grey in (10, 200)], ["dark", "bright"])
    _, err = edge("train", "--bundle", tmp_path / "plain-b", "--state", tmp_path / "s", "--data", "digits", code=3)
    assert "accepts only bundles signed by" in err


def test_a_downgrade_is_refused(edge, keys, tmp_path):
    state, data = tmp_path / "s", make_folder(tmp_path / "d", ["red", "green"])
    new, old = signed(tmp_path / "new", keys[0], 9), signed(tmp_path / "old", keys[0], 8, seed=1)
    edge("train", "--bundle", new, "--state", state, "--data", data, "--key", keys[1], "--quiet")
    _, err = edge("train", "--bundle", old, "--state", state, "--data", data, code=3)
    assert "is release 8" in err and "accepted release 9" in err
    out, _ = edge("train", "--bundle", old, "--state", state, "--data", data, "--json", code=3)
    assert json.loads(out)["error"]["kind"] == DowngradeError.__name__
    assert issubclass(DowngradeError, SignatureError)
    newer = signed(tmp_path / "newer", keys[0], 12)  # the same content, signed again
    edge("train", "--bundle", newer, "--state", state, "--data", data, "--quiet")
    _, err = edge("train", "--bundle", new, "--state", state, "--data", data, code=3)
    assert "accepted release 12" in err


def test_a_bundle_exchanged_in_the_state_is_noticed(edge, keys, tmp_path):
    import shutil

    state, data = tmp_path / "s", make_folder(tmp_path / "d", ["red", "green"])
    mine = signed(tmp_path / "b", keys[0], 5)
    edge("train", "--bundle", mine, "--state", state, "--data", data, "--key", keys[1], "--quiet")
    shutil.rmtree(state / "bundle")
    shutil.copytree(make_bundle(tmp_path / "evil", seed=3), state / "bundle")
    assert "accepted the signed bundle" in edge("predict", "--state", state, data / "red" / "0.png", code=6)[1]


def test_without_the_library_the_message_says_what_to_install(edge, keys, tmp_path, monkeypatch):
    import sys

    bundle = signed(tmp_path / "b", keys[0], 1)
    for name in [name for name in sys.modules if name.startswith("cryptography")]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "cryptography", None)
    assert "pip install 'lightcl-edge[sign]'" in edge("verify", bundle, "--key", keys[1], code=2)[1]
    assert "not asked for" in edge("verify", bundle)[0]  # nobody needs it who asks for no signature


def test_keys_are_pem_files_that_openssl_reads(keys, tmp_path):
    secret, public = keys
    assert secret.stat().st_mode & 0o077 == 0 and public.read_text().startswith("-----BEGIN PUBLIC KEY-----")
    try:
        done = subprocess.run(
            ["openssl", "pkey", "-in", secret, "-pubout"], capture_output=True, text=True, check=False
        )
    except FileNotFoundError:
        return
    assert done.returncode != 0 or done.stdout == public.read_text()


def test_a_key_is_never_replaced(keys):
    from lightcl_edge.errors import UsageError

    with pytest.raises(UsageError, match="never replaced"):
        make_key_pair(keys[0].with_suffix(""))
    with pytest.raises(UsageError, match="no private Ed25519 key"):
        read_private_key(keys[1])
