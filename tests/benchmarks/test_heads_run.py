"""The benchmarks of classification, segmentation and grounding run from photographs to claims, on any backbone."""

import csv
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from benchmarks import classification, grounding, segmentation
from benchmarks.heads.settings import GROUNDED, HEAD, OURS, SEGMENTED
from tests.benchmarks.conftest import photo

TINY = {
    "embed_dim": 24,
    "vision_cfg": {"image_size": 64, "layers": 2, "width": 32, "head_width": 16, "patch_size": 16},
    "text_cfg": {"context_length": 77, "vocab_size": 49408, "width": 32, "heads": 2, "layers": 1},
}


@pytest.fixture
def options(data: Path, tmp_path: Path) -> list[str]:
    """The four sets, PH2, and X-rays with lungs, small; and a small backbone with a text space."""
    import open_clip

    torch.manual_seed(0)  # of the backbone's weights
    (tmp_path / "insight-tiny-heads.json").write_text(json.dumps(TINY))
    open_clip.add_model_config(tmp_path / "insight-tiny-heads.json")
    for i in range(5):
        photo(data / "imagenet-200x5" / "images" / "n2" / f"{i}.png", (3, i % 4))
    (data / "imagenet-200x5" / "classes.tsv").write_text("n1\tred thing\nn2\tyellow thing\n")
    with_diagnosis = []
    for i in range(14):
        photo(data / "ph2" / "images" / f"IMD{i}.png", (i % 2, i % 3))
        with_diagnosis.append({"image": f"IMD{i}", "diagnosis": ("common nevus", "melanoma")[i % 2]})
    with (data / "ph2" / "concepts.csv").open("w", newline="") as file:
        writer = csv.DictWriter(file, ["image", "diagnosis"])
        writer.writeheader()
        writer.writerows(with_diagnosis)
    for split in ("train", "test"):
        for kind, name in enumerate(("NORMAL", "PNEUMONIA")):
            for i in range(6):
                photo(tmp_path / "xray" / split / name / f"{i}.png", (kind, (kind + i) % 4))
                mask = np.zeros((64, 64), np.uint8)
                mask[:, :32] = 255
                (tmp_path / "lungs" / split / name).mkdir(parents=True, exist_ok=True)
                Image.fromarray(mask).save(tmp_path / "lungs" / split / name / f"{i}.png")
    folders = [f"--data={data}", f"--work={tmp_path / 'work'}"]
    return [*folders, "--quick", "--backbone=openclip:insight-tiny-heads/", "--concepts=256", "--steps=20"]


def run(benchmark: Any, options: list[str], tmp_path: Path) -> dict:
    benchmark.main([*options, f"--json={tmp_path / 'out.json'}"])
    record: dict = json.loads((tmp_path / "out.json").read_text())
    assert record["claims"]
    assert any(claim["target"] for claim in record["claims"])
    return record


@pytest.mark.slow
def test_classification_runs(options: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(HEAD, "tol", 0.5)
    monkeypatch.setitem(HEAD, "max_iter", 10)
    kinds = (OURS, "DN-CBM")
    record = run(classification, [*options, f"--xray={tmp_path / 'xray'}", f"--only={','.join(kinds)}"], tmp_path)
    rows = record["rows"]
    assert {row["data"] for row in rows} == {"chest X-rays", "ImageNet, 200 names", "PH2, melanoma or not"}
    heads = {row["by"].removeprefix("concept head, ") for row in rows if row["by"].startswith("concept head, ")}
    assert heads == set(kinds)
    targets = {claim["target"] for claim in record["claims"]}
    assert targets == {None, "at least -0.005", "at most 25", "at least 3", "at most 1.15"}


@pytest.mark.soak
def test_segmentation_runs(options: list[str], tmp_path: Path) -> None:
    record = run(segmentation, options, tmp_path)
    for how in ("open vocabulary", "trained"):
        assert {row["by"] for row in record["rows"] if row["how"] == how} >= {"opaque features", *SEGMENTED}
    assert {claim["target"] for claim in record["claims"]} == {None, "at least 0.98", "at least 0.97"}


@pytest.mark.soak
def test_grounding_runs(options: list[str], tmp_path: Path) -> None:
    record = run(grounding, [*options, f"--xray={tmp_path / 'xray'}", f"--lungs={tmp_path / 'lungs'}"], tmp_path)
    rows = record["rows"]
    assert {row["by"] for row in rows if row["part"] == "grounding"} >= set(GROUNDED)
    assert {row["budget"] for row in rows if row["part"] == "grounding"} == {16, None}
    assert {row["data"] for row in rows if row["part"] == "pointing"} == {
        "MSRC-v2",
        "clothing parts",
        "lungs in X-rays",
    }
    assert record["settings"]["budgets"] == [16, None]
