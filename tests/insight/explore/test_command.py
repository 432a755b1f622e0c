"""`insight explore` looks at every argument before it reads anything, and says where it answers."""

import os
import signal
import socket
import sys
import threading
import time

import httpx
import pytest

from insight.cli import main
from insight.explore.guard import hosts_of
from insight.explore.server import find_port
from sae.errors import InsightError

from ..commands import fails
from .world import World, free_port


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["no-such-model"], "no model here"),
        (["small", "--images", "no-such-folder"], "expected a folder of photographs or a feature cache, found nothing"),
        (["small", "--heads", "."], "head.json"),
        (["small", "--compare", "no-such-model"], "no model here"),
        (["small", "--port", "0"], "1 to 65535"),
        (["small", "--port", "70000"], "1 to 65535"),
        (["small", "--host", "no.such.host.invalid"], "--host"),
    ],
)
def test_a_wrong_argument_is_a_sentence(
    arguments: list[str], sentence: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert sentence in fails(["explore", *arguments], capsys)


def test_a_port_that_is_taken_is_said_and_otherwise_the_next_is_found() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        with pytest.raises(InsightError, match=f"--port: {port} cannot be had"):
            find_port("127.0.0.1", port)
    assert find_port("127.0.0.1", None) >= 7860


def test_a_missing_gradio_is_said(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setitem(sys.modules, "gradio", None)
    assert "pip install 'insight-concepts[explore]'" in fails(["explore", "small"], capsys)


def test_only_a_server_for_this_machine_alone_names_its_hosts() -> None:
    assert hosts_of("127.0.0.1") == ["127.0.0.1", "localhost", "::1"]
    assert hosts_of("localhost") == ["localhost", "127.0.0.1", "::1"]
    assert "::1" in (hosts_of("[::1]") or [])
    assert hosts_of("0.0.0.0") is None
    assert hosts_of("192.168.1.7") is None


def test_the_command_prints_one_line_answers_and_ends_with_ctrl_c(
    own: World, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    port = free_port()
    answers: list[dict] = []
    shown: list[str] = []
    monkeypatch.setenv("INSIGHT_CACHE", str(own.home))
    monkeypatch.setattr(os, "_exit", lambda code: None)  # what the command may do while an encoder is being loaded

    def look_and_interrupt() -> None:
        try:
            for _ in range(600):
                try:
                    answers.append(httpx.get(f"http://127.0.0.1:{port}/api/model", timeout=30).json())
                    break
                except httpx.TransportError:
                    time.sleep(0.1)
            while "ends it)" not in "".join(shown) and len(shown) < 600:
                time.sleep(0.1)
                shown.append(capsys.readouterr().out)
        finally:
            os.kill(os.getpid(), signal.SIGINT)

    thread = threading.Thread(target=look_and_interrupt)
    thread.start()
    main(["explore", str(own.model), "--images", str(own.cache), "--port", str(port), "--device", "cpu"])
    thread.join()
    assert answers[0]["models"][0]["images"]["what"] == "9 photographs"
    told = "".join([*shown, capsys.readouterr().out])
    assert told.strip() == f"Explorer of model at http://127.0.0.1:{port} (Ctrl-C ends it)"
    with pytest.raises(httpx.TransportError):
        httpx.get(f"http://127.0.0.1:{port}/", timeout=5)
