"""The command line on a small real job: real photographs, real weights, a short training."""

import json
import math
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import networkx
import numpy as np
import pyarrow.parquet as pq
import pytest
from PIL import Image

from insight import ConceptModel
from insight.cache import FeatureCache
from insight.cli import COMMANDS, main

from .cache.stand_in import contents
from .conftest import BUILD


def fails(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> str:
    """Run a command that must end with exit code 2 and one line on standard error; returns the line."""
    with pytest.raises(SystemExit) as stop:
        main([*arguments, *([] if arguments[0] == "info" else ["--device", "cpu"])])
    assert stop.value.code == 2
    lines = [line for line in capsys.readouterr().err.splitlines() if line.startswith("insight: ")]
    assert len(lines) == 1
    return lines[0]


def test_model_folder_holds_what_the_design_says(built: Path) -> None:
    names = {path.name for path in built.iterdir()}
    assert {"config.json", "sae.safetensors", "relations.npz", "examples.parquet", "concepts.parquet"} <= names
    assert not any(name.startswith(".") for name in names)


def test_explain_writes_json_png_and_page(built: Path, photos: Path, tmp_path: Path) -> None:
    photo = sorted(photos.iterdir())[0]
    files = [tmp_path / f"out.{kind}" for kind in ("json", "png", "html")]
    flags = [part for file in files for part in (f"--{file.suffix[1:]}", str(file))]
    main(["explain", str(built), str(photo), "--top", "9", "--device", "cpu", *flags])
    values = json.loads(files[0].read_text())
    assert values["image"] == str(photo)
    assert values["backbone"] == "small"
    assert values["grid"] == [16, 16]
    assert 0 < values["fvu"] < 1
    assert 1 <= len(values["concepts"]) <= 9
    for concept in values["concepts"]:
        assert np.array(concept["map"]).shape == (16, 16)
        assert concept["activation"] == pytest.approx(np.max(concept["map"]))
        assert all(isinstance(text, str) and -1 <= score <= 1 for text, score in concept["alternatives"])
    assert Image.open(files[1]).width > 500
    assert "<canvas" in files[2].read_text() or "canvas" in files[2].read_text()


def test_explanation_agrees_with_the_autoencoder_alone(built: Path, photos: Path) -> None:
    photo = sorted(photos.iterdir())[3]
    model = ConceptModel.from_pretrained(built)
    explanation = model.explain(photo, top=None)
    image = model.backbone.transform(Image.open(photo).convert("RGB"))[None]
    features = model.backbone.encode_image(image).patches[0].detach().double().numpy()
    sae = model.sae
    encoder, decoder, encoder_bias, bias = (weight.detach().double().numpy() for weight in sae.weights)
    u = (features - bias) @ encoder.T + encoder_bias
    dense = np.where((u > float(sae.threshold)) & (u > 0), u, 0.0)
    assert {concept.id for concept in explanation.concepts} == set(np.flatnonzero(dense.max(axis=0)))
    for concept in explanation.concepts:
        np.testing.assert_allclose(concept.map.reshape(-1), dense[:, concept.id], rtol=1e-3, atol=1e-3)
    residual, around_bias = features - dense @ decoder - bias, features - bias
    assert explanation.fvu == pytest.approx((residual**2).sum() / (around_bias**2).sum(), rel=1e-3)


def test_concepts_lists_the_dictionary_and_finds_by_text(built: Path, tmp_path: Path) -> None:
    main(["concepts", str(built), "--top", "0", "--json", str(tmp_path / "all.json"), "--device", "cpu"])
    rows = json.loads((tmp_path / "all.json").read_text())
    assert len(rows) == 256
    frequencies = [row["frequency"] for row in rows]
    assert frequencies == sorted(frequencies, reverse=True)
    main(["concepts", str(built), "--query", "duck", "--json", str(tmp_path / "duck.json"), "--device", "cpu"])
    found = json.loads((tmp_path / "duck.json").read_text())
    similarities = [row["similarity"] for row in found]
    assert len(found) == 20
    assert similarities == sorted(similarities, reverse=True)


def test_concepts_shows_where_each_is_strongest(built: Path, photos: Path, tmp_path: Path) -> None:
    page = tmp_path / "concepts.html"
    main(["concepts", str(built), "--top", "5", "--html", str(page), "--photos", str(photos), "--device", "cpu"])
    data = json.loads(page.read_text().split('id="data">')[1].split("</script>")[0])
    assert len(data["cards"]) == 5
    for card in data["cards"]:
        assert 1 <= len(card["examples"]) <= 6
        assert all(str(relative) in data["names"] for relative in (card["id"], *card["parents"], *card["children"]))


def test_concepts_draws_a_contact_sheet(built: Path, photos: Path, tmp_path: Path) -> None:
    sheet = tmp_path / "sheet.png"
    main(["concepts", str(built), "--top", "4", "--png", str(sheet), "--photos", str(photos), "--device", "cpu"])
    with Image.open(sheet) as picture:
        assert picture.width == 1600
        assert picture.height > 4 * 150
        assert len(picture.convert("RGB").getcolors(maxcolors=10**7)) > 10_000  # photographs are in it


def test_parents_and_children_mirror_each_other(built: Path) -> None:
    graph = ConceptModel.from_pretrained(built).relations
    for concept in range(graph.n_concepts):
        for parent in graph.parents(concept):
            assert graph.synonyms[concept] in graph.children(int(parent))


def test_concepts_are_written_as_a_graph_with_their_names(
    built: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    model = ConceptModel.from_pretrained(built)
    for suffix in (".graphml", ".mmd"):
        main(["concepts", str(built), "--top", "0", "--graph", str(tmp_path / f"all{suffix}"), "--device", "cpu"])
    read = networkx.read_graphml(tmp_path / "all.graphml", node_type=int)
    assert set(read) >= {concept.id for concept in model.concepts if concept.frequency > 0}
    assert all(data["title"] == model.concepts[node].title for node, data in read.nodes(data=True))
    assert read.number_of_edges() == len(model.relations.parent_ids)
    drawn = (tmp_path / "all.mmd").read_text(encoding="utf-8")
    assert drawn.startswith("flowchart BT\n")
    assert drawn.count(" -->|") == int(model.relations.direct.sum())
    line = fails(["concepts", str(built), "--graph", str(tmp_path / "all.txt")], capsys)
    assert ".graphml or .mmd" in line


def test_info_says_what_a_cache_and_a_model_are(built: Path, capsys: pytest.CaptureFixture[str]) -> None:
    main(["info", str(built)])
    model = capsys.readouterr().out
    assert "256 concepts" in model
    assert "not CLIP" in model
    main(["info", str(built.with_name("model-cache"))])
    assert "48" in capsys.readouterr().out


def test_building_again_changes_nothing(built: Path, photos: Path, words: Path) -> None:
    before, concepts = contents(built), pq.read_table(built / "concepts.parquet").to_pylist()
    main(["build", str(photos), "--out", str(built), "--vocabulary", str(words), "--device", "cpu", *BUILD])
    after = contents(built)
    assert after.keys() == before.keys()
    assert {name for name in before if before[name] != after[name]} <= {"concepts.parquet"}
    assert alike(pq.read_table(built / "concepts.parquet").to_pylist(), concepts)


def alike(found: Any, expected: Any) -> bool:
    """Whether values are the same, numbers up to rounding: busy cores share a product out in another way."""
    if isinstance(expected, float):
        return math.isclose(found, expected, rel_tol=1e-4, abs_tol=1e-6)
    if isinstance(expected, list):
        return len(found) == len(expected) and all(map(alike, found, expected))
    if isinstance(expected, dict):
        return found.keys() == expected.keys() and all(alike(found[key], value) for key, value in expected.items())
    return bool(found == expected)


def test_bad_photos_are_listed_and_the_good_ones_kept(photos: Path, tmp_path: Path) -> None:
    folder = tmp_path / "mixed"
    folder.mkdir()
    good = sorted(photos.iterdir())[0]
    pixels = Image.open(good)
    whole = good.read_bytes()
    (folder / "truncated.jpg").write_bytes(whole[: len(whole) // 2])
    (folder / "empty.jpg").write_bytes(b"")
    (folder / "text.png").write_text("not a picture")
    pixels.convert("CMYK").save(folder / "cmyk.jpg")
    Image.fromarray(np.asarray(pixels.convert("L")).astype(np.uint16) * 257).save(folder / "deep.png")
    Image.new("RGB", (1, 1), "red").save(folder / "dot.png")
    pixels.save(folder / "moving.gif", save_all=True, append_images=[pixels.rotate(90)])
    pixels.save(folder / "plain.jpg")
    main(["cache", "write", str(folder), "--out", str(tmp_path / "cache"), "--device", "cpu"])
    cache = FeatureCache.open(tmp_path / "cache")
    assert sorted(cache.skipped["id"].to_pylist()) == ["empty.jpg", "text.png", "truncated.jpg"]
    assert all(cache.skipped["reason"].to_pylist())
    assert cache.index["id"].to_pylist() == ["cmyk.jpg", "deep.png", "dot.png", "moving.gif", "plain.jpg"]


def test_bad_input_ends_in_one_line_and_exit_code_2(
    built: Path, photos: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "nothing").mkdir()
    photo = str(sorted(photos.iterdir())[0])
    nothing = str(tmp_path / "nothing")
    assert nothing in fails(["cache", "write", nothing, "--out", str(tmp_path / "cache")], capsys)
    assert "no model" in fails(["explain", str(tmp_path / "absent"), photo], capsys)
    assert "absent.jpg" in fails(["explain", str(built), str(tmp_path / "absent.jpg")], capsys)
    assert "expected a cache" in fails(["info", str(tmp_path / "nothing")], capsys)
    assert "--photos" in fails(["concepts", str(built), "--html", str(tmp_path / "page.html")], capsys)
    assert "at least one photo" in fails(["explain", str(built)], capsys)
    (tmp_path / "words.txt").write_text("\n\n")
    assert "words.txt" in fails(["name", str(built), "--vocabulary", str(tmp_path / "words.txt")], capsys)


def test_model_of_another_backbone_is_refused(
    built: Path, photos: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    other = tmp_path / "other"
    shutil.copytree(built, other)
    config = json.loads((other / "config.json").read_text())
    config["backbone"]["fingerprint"] = "0" * 64
    (other / "config.json").write_text(json.dumps(config))
    assert "fingerprint" in fails(["explain", str(other), str(sorted(photos.iterdir())[0])], capsys)
    assert "fingerprint" in fails(["relate", str(other), str(built.with_name("model-cache"))], capsys)


@pytest.mark.parametrize("damage", ["a byte short", "a bit flipped"])
def test_damaged_shard_is_named(damage: str, built: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    cache = tmp_path / "cache"
    shutil.copytree(built.with_name("model-cache"), cache)
    shard = next(cache.glob("shard-*.safetensors"))
    content = bytearray(shard.read_bytes())
    if damage == "a byte short":
        content.pop()
    else:
        content[len(content) // 2] ^= 1
    shard.write_bytes(content)
    assert shard.name in fails(["train", str(cache), "--out", str(tmp_path / "model"), *BUILD], capsys)
    assert not (tmp_path / "model" / "sae.safetensors").exists()
    assert shard.name in fails(["relate", str(built), str(cache)], capsys)


@pytest.mark.slow
def test_killed_training_goes_on_to_the_same_model(built: Path, tmp_path: Path) -> None:
    cache = built.with_name("model-cache")
    flags = ["--concepts", "256", "--k", "8", "--steps", "40", "--device", "cpu"]

    def command(out: Path) -> list[str]:
        return [sys.executable, "-m", "insight", "train", str(cache), "--out", str(out), *flags]

    subprocess.run(command(tmp_path / "whole"), check=True, capture_output=True)
    killed = subprocess.Popen(command(tmp_path / "killed"), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    log = tmp_path / "killed" / "training.jsonl"
    deadline = time.monotonic() + 120
    while time.monotonic() < deadline and not log.exists():
        time.sleep(0.05)
    time.sleep(1)
    os.kill(killed.pid, signal.SIGKILL)
    killed.wait()
    subprocess.run(command(tmp_path / "killed"), check=True, capture_output=True)
    for name in ("sae.safetensors", "training.jsonl", "config.json"):
        assert (tmp_path / "killed" / name).read_bytes() == (tmp_path / "whole" / name).read_bytes()


def test_help_teaches_every_command(capsys: pytest.CaptureFixture[str]) -> None:
    for command in COMMANDS:
        with pytest.raises(SystemExit) as stop:
            main([command, "--help"])
        assert stop.value.code == 0
        assert len(capsys.readouterr().out) > 300
