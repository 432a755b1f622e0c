"""`insight name` on a small real model: vocabularies, abstention, models that came without evidence, other namers."""

import json
import shutil
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from insight import ConceptModel
from insight.cli import main
from insight.concept import Concept, load_concepts
from sae.errors import InsightError


@pytest.fixture
def model(built: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(built, tmp_path / "model"))


def concepts(model: Path) -> list[Concept]:
    return load_concepts(model / "concepts.parquet", 256)


def best(concept: Concept) -> str | None:
    """The concept's nearest phrase, be it sure or a guess; its title may say more."""
    return next((phrase for phrase in (concept.name, *concept.alternatives) if phrase), None)


def test_concepts_have_names_only_as_sure_as_asked(model: Path, words: Path) -> None:
    named = {}
    for least in ("0", "0.5", "1"):
        main(["name", str(model), "--vocabulary", str(words), "--min-confidence", least, "--device", "cpu"])
        found = concepts(model)
        named[least] = {c.id for c in found if c.name}
        assert all(c.confidence >= float(least) for c in found if c.name)
        assert all(len(c.scores) >= len(c.alternatives) > 0 for c in found if c.frequency)
    assert named["0"] == {c.id for c in concepts(model) if c.frequency}
    assert named["1"] < named["0.5"] < named["0"]
    unsure = next(c for c in concepts(model) if c.frequency)
    assert unsure.title == f"concept {unsure.id}"


def test_search_and_names_use_the_same_embeddings(model: Path, words: Path) -> None:
    main(["name", str(model), "--vocabulary", str(words), "--min-confidence", "0", "--device", "cpu"])
    loaded = ConceptModel.from_pretrained(model)
    listed = set(words.read_text().split())
    named = [concept for concept in loaded.concepts if concept.name in listed]
    assert named
    for concept in named[:20]:
        text = torch.nn.functional.normalize(loaded.backbone.encode_text([f"a photo of {concept.name}"]), dim=1)[0]
        assert concept.scores[0] == pytest.approx(float(loaded.embeddings[concept.id] @ text), abs=2e-3)


def test_a_model_without_its_evidence_is_named_by_its_embeddings(model: Path) -> None:
    main(["name", str(model), "--vocabulary", "coco", "--device", "cpu"])
    before = concepts(model)
    shutil.rmtree(model / "evidence")
    main(["name", str(model), "--vocabulary", "coco", "--device", "cpu"])
    after = concepts(model)
    same = np.mean([best(one) == best(other) for one, other in zip(before, after)])
    assert same > 0.95  # embeddings are kept as float16
    assert all(c.stability is None for c in after)
    assert any(c.stability is not None for c in before)
    (model / "embeddings.npz").unlink()
    with pytest.raises(SystemExit):
        main(["name", str(model), "--vocabulary", "coco", "--device", "cpu"])


def test_a_language_model_gives_names_or_none(model: Path, words: Path, tmp_path: Path) -> None:
    program = tmp_path / "namer.py"
    program.write_text(
        "import json, sys\n"
        "for line in sys.stdin:\n"
        "    asked = json.loads(line)\n"
        "    name = 'a kind of bird' if 'bird' in asked['prompt'] else 'unknown'\n"
        "    print(json.dumps({'id': asked['id'], 'name': name}))\n"
    )
    arguments = ["--vocabulary", str(words), "--namer", f"{sys.executable} {program}", "--device", "cpu"]
    main(["name", str(model), *arguments])
    assert {c.name for c in concepts(model)} <= {"kind of bird", None}
    assert any(c.name for c in concepts(model))
    assert json.loads((model / "config.json").read_text())["names"]["language_model"] is True


def test_attributes_may_tell_names_apart(model: Path, words: Path, tmp_path: Path) -> None:
    listed = tmp_path / "attributes.txt"
    listed.write_text("red\nwet\nleafy\n")
    arguments = ["--vocabulary", str(words), "--attributes", str(listed), "--device", "cpu"]
    main(["name", str(model), *arguments])
    phrases = words.read_text().split()
    composed = {f"{attribute} {phrase}" for attribute in ("red", "wet", "leafy") for phrase in phrases}
    for concept in concepts(model):
        plain = concept.name in (None, *phrases) or " of a" in concept.name or "(" in concept.name
        assert plain or concept.name in composed


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--min-confidence", "1.5"], "expected 0 to 1, found 1.5"),
        (["--vocabulary", "cocoa"], "did you mean coco"),
        (["--namer", "no-such-program-here"], "no-such-program-here"),
    ],
)
def test_bad_settings_are_said(
    arguments: list[str], said: str, model: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    before = (model / "concepts.parquet").read_bytes()
    with pytest.raises(SystemExit):
        main(["name", str(model), *arguments, "--device", "cpu"])
    assert said in capsys.readouterr().err
    assert (model / "concepts.parquet").read_bytes() == before


def test_embeddings_of_another_size_are_refused(model: Path) -> None:
    np.savez(model / "embeddings.npz", embeddings=np.zeros((3, 384), np.float16))
    with pytest.raises(
        InsightError, match=r"embeddings.npz: expected finite vectors of 256 concepts, found \(3, 384\)"
    ):
        ConceptModel.from_pretrained(model)
