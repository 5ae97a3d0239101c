"""Nobody gets in who should not, and nobody's page can act in the owner's name."""

from __future__ import annotations

import base64
import re

import pytest

from lightcl_edge.serve import app
from lightcl_edge.serve.web.guard import MAX_BODY_BYTES
from lightcl_edge.serve.web.limits import Rate, client_of
from lightcl_edge.serve.web.sessions import COOKIE
from served import BASE, picture, served

WORD = "correct horse"


@pytest.fixture
def open_client(bundle, tmp_path):
    with served(bundle, tmp_path / "state") as found:
        yield found


@pytest.fixture
def client(bundle, tmp_path):
    with served(bundle, tmp_path / "state", password=WORD, secure=True) as found:
        yield found


def signed_in(client, word=WORD):
    return client.post("/login", data={"password": word})


def token_of(client):
    return re.search('name="page-token" content="([^"]+)"', client.get("/").text)[1]


@pytest.mark.parametrize(
    "host", ["evil.example", "localhost.evil.example", "", "evil.example:80", "[::1", "1.2.3.4.nip.io"]
)
def test_a_name_that_is_not_ours_is_refused(open_client, host):
    answer = open_client.get(f"{BASE}/status", headers={"host": host})
    assert answer.status_code == 403 and answer.json()["error"]["kind"] == "HostError"


@pytest.mark.parametrize("host", ["localhost", "127.0.0.1:8765", "[::1]:8765", "192.168.0.7", "LOCALHOST:1"])
def test_our_own_names_and_numbers_are_not(open_client, host):
    assert open_client.get(f"{BASE}/status", headers={"host": host}).status_code == 200


def test_every_answer_carries_the_policy(open_client):
    for path in ("/", "/static/x/style.css", f"{BASE}/status", f"{BASE}/nothing", "/login"):
        headers = open_client.get(path).headers
        policy = headers["content-security-policy"]
        assert "default-src 'none'" in policy and "script-src 'self'" in policy and "unsafe" not in policy
        assert headers["x-content-type-options"] == "nosniff" and headers["referrer-policy"] == "same-origin"
    page = open_client.get("/").text
    assert "<script>" not in page and " style=" not in page and not re.search(r'\son\w+="', page)
    assert not re.search(r'(?:src|href)="(?:https?:)?//', page)


def test_another_page_can_not_act_in_the_owners_name(open_client):
    wish = {"content": picture("red"), "params": {"class_name": "red"}}
    for headers in ({"origin": "http://evil.example"}, {"sec-fetch-site": "cross-site"}, {"origin": "null"}):
        answer = open_client.post(f"{BASE}/teach", headers=headers, **wish)
        assert answer.status_code == 403 and answer.json()["error"]["kind"] == "OriginError"
    own = {"origin": "http://localhost", "sec-fetch-site": "same-origin"}
    assert open_client.post(f"{BASE}/teach", headers=own, **wish).json()["error"]["kind"] == "TokenError"
    own["x-page-token"] = token_of(open_client)
    assert open_client.post(f"{BASE}/teach", headers=own, **wish).status_code == 201
    assert open_client.post(f"{BASE}/teach", **wish).status_code == 201  # a program, which sends no origin


def test_with_a_password_everything_but_the_door_is_closed(client):
    for path in (f"{BASE}/status", f"{BASE}/frames/live", f"{BASE}/events", f"{BASE}/openapi.json", "/metrics"):
        assert client.get(path).status_code == 401, path
    for path in ("/teach?class_name=a", "/learn", "/rollback", "/frames"):
        assert client.post(f"{BASE}{path}", content=b"{}").status_code == 401
    door = client.get("/")
    assert (door.status_code, door.headers["location"]) == (303, "/login")
    assert client.get("/login").status_code == 200 and client.get("/static/x/style.css").status_code == 200


def test_the_session_is_out_of_reach_of_scripts_and_ends_with_the_secret(client):
    answer = signed_in(client)
    cookie = answer.headers["set-cookie"]
    assert answer.status_code == 303 and all(word in cookie for word in ("HttpOnly", "SameSite=strict", "Secure"))
    value = client.cookies[COOKIE]
    client.base_url = "https://localhost"
    assert client.get(f"{BASE}/status").status_code == 200
    assert client.post(f"{BASE}/learn", json={}).json()["error"]["kind"] == "TokenError"
    headers = {"x-page-token": token_of(client)}
    assert "nothing to learn" in client.post(f"{BASE}/learn", json={}, headers=headers).text
    assert client.post("/logout", headers=headers).status_code == 303
    client.cookies.set(COOKIE, value)
    assert client.get(f"{BASE}/status").status_code == 401


@pytest.mark.parametrize("forged", ["", "x", "9999999999.abc.def", ".", "9999999999..", "é.é.é"])
def test_a_forged_session_opens_nothing(client, forged):
    headers = {"cookie": f"{COOKIE}={forged}".encode()}
    assert client.get(f"{BASE}/status", headers=headers).status_code == 401


def basic(word):
    return {"authorization": "Basic " + base64.b64encode(f"any:{word}".encode()).decode()}


def test_programs_send_the_password_and_need_no_token(client):
    assert client.get(f"{BASE}/status", headers=basic(WORD)).status_code == 200
    wish = client.post(f"{BASE}/learn", json={}, headers=basic(WORD))
    assert wish.status_code == 409  # nothing to learn, but let in
    assert client.get(f"{BASE}/status", headers=basic("wrong")).status_code == 401
    assert client.get(f"{BASE}/status", headers={"authorization": "Basic ???"}).status_code == 401
    assert client.get(f"{BASE}/status", headers={"authorization": "Bearer x"}).status_code == 401


def test_guessing_is_slow(client):
    answers = [signed_in(client, f"guess {number}").status_code for number in range(8)]
    assert answers[:5] == [401] * 5 and set(answers[5:]) == {429}
    limited = signed_in(client, "guess")
    assert int(limited.headers["retry-after"]) >= 1 and "Wait" in limited.text
    assert signed_in(client).status_code == 429  # the right one has to wait too


def test_a_body_that_is_too_large_is_refused_unread(open_client):
    answer = open_client.post(f"{BASE}/predict", content=b"x", headers={"content-length": str(MAX_BODY_BYTES + 1)})
    assert answer.status_code == 413

    def drops():
        for _ in range(MAX_BODY_BYTES // 2**20 + 2):
            yield b"\0" * 2**20

    assert open_client.post(f"{BASE}/predict", content=drops()).status_code == 413
    assert open_client.post(f"{BASE}/learn", content=b" " * 2**17).status_code == 413


def test_one_client_can_not_take_the_board_for_itself(bundle, tmp_path, monkeypatch):
    monkeypatch.setattr(app, "Rate", lambda per_second, burst: Rate(per_second, burst, clock=lambda: 0.0))
    with served(bundle, tmp_path / "state") as client:
        answers = [client.post(f"{BASE}/taught/drop", json={"ids": ["0"]}).status_code for _ in range(103)]
        assert answers == [200] * 100 + [429] * 3
        assert client.get(f"{BASE}/status").status_code == 200  # looking is free


def test_a_client_that_waits_may_go_on_and_others_are_not_held_up():
    now = [0.0]
    rate = Rate(per_second=2.0, burst=3, clock=lambda: now[0])
    assert [rate.wait_seconds("a") for _ in range(4)] == [0, 0, 0, 1] and rate.wait_seconds("b") == 0
    now[0] = 0.5
    assert [rate.wait_seconds("a") for _ in range(2)] == [0, 1]
    for number in range(5000):  # so many clients take no memory
        rate.wait_seconds(str(number))
    assert len(rate._buckets) <= 1024


def test_errors_are_documents_and_name_no_paths(open_client, tmp_path):
    cases = [
        open_client.post(f"{BASE}/learn", content=b"{"),
        open_client.post(f"{BASE}/learn", json=[]),
        open_client.post(f"{BASE}/rollback", json={"to": "1"}),
        open_client.post(f"{BASE}/taught/drop", json={"ids": ["../../x"]}),
        open_client.get(f"{BASE}/taught/..%2f..%2fsecret"),
        open_client.get(f"{BASE}/nothing"),
        open_client.delete(f"{BASE}/learn"),
        open_client.post(f"{BASE}/teach", params={"class_name": "../x"}, content=picture("red")),
        open_client.post(f"{BASE}/teach", params={"class_name": "x"}, content=b"no picture"),
        open_client.get("/static/x/../templates/page.html"),
    ]
    for answer in cases:
        assert 400 <= answer.status_code < 500 and answer.json()["error"]["message"], answer.text
        assert "Traceback" not in answer.text and str(tmp_path) not in answer.text


@pytest.mark.parametrize(
    ("address", "client"),
    [("192.168.0.7", "192.168.0.7"), ("::1", "::1"), ("::ffff:10.0.0.1", "10.0.0.1"), ("nonsense", "unknown"),
     ("2001:db8::1:2:3:4", "2001:db8::/64"), ("fe80::1%eth0", "fe80::/64")],
)  # fmt: skip
def test_a_client_is_an_address_or_a_network_of_its_own(address, client):
    assert client_of(address) == client
