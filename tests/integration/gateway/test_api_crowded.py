"""The HTTP API among clients that wait, stay silent, dawdle, or come from a web page: others are answered."""

from __future__ import annotations

import contextlib
import os
import socket
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from urllib.parse import urlsplit

import httpx
import pytest

from edgeseal.adapters.packagedir import read_package
from edgeseal.errors import Unavailable
from edgeseal.model import encode_package, package_digest
from edgeseal_gateway.web import request, upload
from edgeseal_gateway.web.punctual import Punctual
from tests.gatewaystore import Founded
from tests.integration.gateway.rig import until
from tests.integration.gateway.test_api import PACKAGE, Served


@pytest.fixture
def served(founded: Founded, tmp_path: Path) -> Iterator[Served]:
    made = Served(founded, tmp_path)
    yield made
    made.close()


def test_those_who_wait_for_a_receipt_hold_nobody_up(served: Served) -> None:
    founded = served.founded
    accepted = founded.hand_in(founded.tenant.enrolment(founded.tenant.device_of("cam-1")))
    path = f"/v1/statements/{accepted.digest.hex()}"
    with ThreadPoolExecutor(60) as crowd, httpx.Client(timeout=60, limits=httpx.Limits(max_connections=60)) as many:
        waiting = [crowd.submit(many.get, f"{served.server.url}{path}?wait=30") for _ in range(60)]
        for _ in range(20):
            assert served.get("/v1/health") == {"status": "ok"}
        assert not any(one.done() for one in waiting)
        founded.sequence()
        assert {one.result().json()["state"] for one in waiting} == {"sequenced"}


def test_silent_connections_lose_their_place(served: Served, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Punctual, "head_s", 1.0)
    place = urlsplit(served.server.url)
    silent = [socket.create_connection((place.hostname, place.port)) for _ in range(140)]
    silent[0].sendall(b"GET /v1/health HTTP/1.1\r\nhost: localhost\r\n")  # a head that never ends
    try:
        until(lambda: httpx.get(f"{served.server.url}/v1/health").status_code == 200, "an answer")
        until(lambda: _ended(silent[0]), "the end of a head without end")
    finally:
        for one in silent:
            one.close()


def _ended(one: socket.socket) -> bool:
    one.settimeout(0.1)
    try:
        return one.recv(1) == b""
    except TimeoutError:
        return False
    except ConnectionError:
        return True


def test_a_connection_may_rest_between_questions(served: Served) -> None:
    for _ in range(3):
        assert served.get("/v1/health") == {"status": "ok"}


def test_a_body_that_does_not_come_is_given_up(served: Served, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(request, "BODY_S", 0.2)
    place = urlsplit(served.server.url)
    with socket.create_connection((place.hostname, place.port), 60) as slow:
        slow.sendall(b"POST /v1/statements HTTP/1.1\r\nhost: localhost\r\ncontent-length: 100\r\n\r\n{")
        assert slow.recv(100).startswith(b"HTTP/1.1 408 ")


def test_what_a_web_page_sends_changes_nothing(served: Served) -> None:
    founded = served.founded
    statement = founded.tenant.enrolment(founded.tenant.device_of("cam-1")).hex()
    for path in ("/v1/statements", "/v1/enrolments/" + "0" * 64 + "/ask"):
        answer = served.http.post(path, json={"statement": statement}, headers={"origin": "http://127.0.0.1:1"})
        assert (answer.status_code, answer.json()["code"]) == (401, "unauthorized")
    assert served.get("/v1/status")["size"] == 2 and founded.ask(_pending) == 0


def _pending(connection: object) -> int:
    return int(connection.execute("SELECT count(*) FROM pending").fetchone()[0])  # type: ignore[attr-defined]


def test_a_position_no_log_has_is_a_bad_question(served: Served) -> None:
    path = f"/v1/devices/{'0' * 64}/records/{'9' * 6_000}/proof"
    assert served.get(path, 400)["code"] == "query"


def test_a_package_sent_twice_at_once_is_whole(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    files = read_package(PACKAGE)
    digest, archive = package_digest(files), encode_package(files)
    real, both = os.fsync, threading.Barrier(2)

    def fsync(descriptor: int) -> None:
        with contextlib.suppress(threading.BrokenBarrierError):
            both.wait(0.2)  # two writers would meet here, one of them over the other's file
        real(descriptor)

    monkeypatch.setattr(os, "fsync", fsync)
    with ThreadPoolExecutor(2) as two:
        for one in [two.submit(upload.keep, tmp_path, digest, archive) for _ in range(2)]:
            one.result()
    assert [path.name for path in tmp_path.iterdir()] == [f"{digest.hex()}.cbor"]
    assert upload.find(tmp_path, digest).read_bytes() == archive


def test_a_package_that_does_not_fit_leaves_no_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fsync(descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", fsync)
    with pytest.raises(Unavailable, match="store_unavailable"):
        upload.keep(tmp_path, bytes(32), b"archive")
    assert list(tmp_path.iterdir()) == []
