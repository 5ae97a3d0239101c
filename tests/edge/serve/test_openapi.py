"""The description of the interface is true: a stranger's requests made from it get the answers that it promises."""

from __future__ import annotations

import httpx2
import pytest
import schemathesis
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st

from lightcl_edge import __version__
from lightcl_edge.serve.api import teaching, watching
from lightcl_edge.serve.app import OPERATIONS
from lightcl_edge.serve.web import limits
from lightcl_edge.serve.web.operations import openapi
from served import BASE, picture, served_over_http, teach

for kind in ("jpeg", "png", "webp"):
    schemathesis.openapi.media_type(f"image/{kind}", st.just(picture("red")))
#: Answers without an end; test_streams.py reads them.
ENDLESS = "events|live|latest"
schema = schemathesis.openapi.from_dict(openapi(OPERATIONS, __version__)).exclude(path_regex=ENDLESS)


@pytest.fixture(scope="module")
def address(tmp_path_factory):
    from small_bundle import make_bundle

    folder = tmp_path_factory.mktemp("openapi")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(limits.Rate, "wait_seconds", lambda *_: 0)
        patch.setattr(teaching, "_PATIENCE_SECONDS", 0.05)
        patch.setattr(watching, "_LONGEST_WAIT_SECONDS", 0.05)
        with served_over_http(make_bundle(folder / "bundle"), folder / "state") as served:
            with httpx2.Client(base_url=served.address) as client:
                teach(client, "red", 2)
                client.post(f"{BASE}/frames", content=picture("red"))
            yield served.address


@schema.parametrize()
@settings(max_examples=3, deadline=None, suppress_health_check=list(HealthCheck), derandomize=True)
def test_the_description_is_true(case, address):
    case.call_and_validate(base_url=address)


def test_every_operation_says_what_it_is_for():
    document = openapi(OPERATIONS, __version__)
    found = [entry for path in document["paths"].values() for entry in path.values()]
    assert len(found) == len(OPERATIONS) and len({entry["operationId"] for entry in found}) == len(found)
    assert all(entry["summary"] and "400" in entry["responses"] for entry in found)
