"""The benchmark of names and relations: names judged, captions, other seeds, its claims, and that it runs."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from scipy.sparse import csr_array

from benchmarks import naming
from benchmarks.concepts import material
from benchmarks.concepts.again import found_again
from benchmarks.concepts.answers import KIND, SAME, SHUFFLED, STRICT, WU_PALMER, Answers, agreeing, first_keys, judge
from benchmarks.concepts.captions import captioned, mentions
from benchmarks.concepts.claims import claims_of
from benchmarks.concepts.modes import BEST, MODES, PARENTS, PUBLISHED, VANILLA, Named
from benchmarks.concepts.references import Labelled
from benchmarks.concepts.rows import BOTH, CLOSED, OPEN, OVER_LABELS, Table
from benchmarks.concepts.texts import TextSpace
from naming import Names, WordNet
from sae.errors import InsightError


def answers(right: list[float], confidence: list[float] | None = None) -> Answers:
    n = len(right)
    values = {f"top-1 {KIND}": np.array(right), f"top-1 {STRICT}": np.array(right)}
    return Answers(
        np.arange(n), np.array([f"label {i % 3}" for i in range(n)]), np.array(confidence or [0.0] * n), values
    )


def test_captions_mention_forms_of_a_name_on_the_strongest_photographs() -> None:
    said = [
        mentions(captions) for captions in (["Two palm-trees."], ["A palm tree", "a dog's dinner"], ["A man"], ["Dogs"])
    ]
    assert "palmtree" in said[0]
    strength = np.array([[3.0, 0.1], [2.0, 9.0], [0.5, 8.0], [0.0, 7.0]])
    more = np.tile(strength, (2, 1)) + np.linspace(0.001, 0.008, 8)[:, None] * (np.tile(strength, (2, 1)) > 0)
    there, everywhere = captioned(csr_array(more), ["palm trees", None], said * 2)
    assert everywhere.tolist() == [0.5, 0.0]
    assert there.tolist() == [0.8, 0.0], "the five strongest of the first concept are 3, 3, 2, 2 and a half"
    assert captioned(csr_array(more), ["dog", "man"], said * 2)[0].tolist() == [0.0, 0.4]


def test_two_decoders_have_in_common_what_is_mutually_nearest_and_near() -> None:
    generator = torch.Generator().manual_seed(0)
    rows = torch.linalg.qr(torch.randn(32, 32, generator=generator))[0]
    other = torch.cat([rows[5:9] + 0.1 * rows[20:24], rows[5:6] + 0.5 * rows[25:26], rows[28:29] + 2 * rows[29:30]])
    first, second = found_again(rows[:20], other)
    assert first.tolist() == [5, 6, 7, 8]
    assert second.tolist() == [0, 1, 2, 3]


def named(*phrases: tuple[str, ...]) -> Named:
    return Named(Names(phrases, tuple(tuple(0.9 - 0.1 * i for i in range(len(some))) for some in phrases)))


def test_names_that_two_sources_give_alike_are_counted_beside_chance() -> None:
    one = named(("dogs",), ("cat",), (), ("tree",))
    other = named(("dog",), ("dog",), (), ("house",))
    concepts = np.arange(4)
    found = agreeing(one, concepts, (first_keys(one, concepts), first_keys(other, concepts))).values
    assert found[SAME].tolist() == [1, 0, 1, 0]
    assert next(values for figure, values in found.items() if figure != SAME).tolist() == [0.5, 0, 0.25, 0]


class Spelling:
    """A text space where a phrase stands by its letters."""

    fingerprint, dim = "spelling", 26

    def encode_text(self, texts: list[str]) -> torch.Tensor:
        counts = torch.stack([torch.tensor([float(text.count(chr(97 + i))) for i in range(26)]) for text in texts])
        return torch.nn.functional.normalize(counts, dim=1)


def test_names_are_judged_strictly_as_kinds_and_by_how_near_they_are(tmp_path: Path) -> None:
    labels = ("cow", "dog", "tree")
    labelled = Labelled("set", labels, np.array([0, 2, 3]), np.array([1, 1, 2]), np.zeros(4, int), 4, 3, 3)
    texts = TextSpace(Spelling(), tmp_path)  # type: ignore[arg-type]
    names = named(("beagle", "sofa"), ("never asked",), ("sofa", "dogs"), ())
    found = judge(names, labelled, texts, WordNet.load())
    assert found.values[f"top-1 {STRICT}"].tolist() == [0, 0, 0]
    assert found.values[f"top-5 {STRICT}"].tolist() == [0, 1, 0]
    assert found.values[f"top-1 {KIND}"].tolist() == [1, 0, 0]
    assert found.values[f"top-1 {KIND}, {SHUFFLED}"] == pytest.approx([2 / 3, 0, 0])
    assert found.values[WU_PALMER][0] == pytest.approx(WordNet.load().similarity("beagle", "dog"))
    assert found.values[WU_PALMER][2] == 0
    assert found.confidence.tolist() == [0.9, 0.9, -np.inf]
    assert found.labels.tolist() == ["set: dog", "set: dog", "set: tree"]


def test_ours_is_claimed_over_the_published_modes_by_its_interval_and_its_aim() -> None:
    good = [answers([1.0] * 40 + [0.0] * 20)] * 2
    poor = [answers([1.0] * 20 + [0.0] * 40)] * 2
    rows = []
    for vocabulary in (OPEN, CLOSED):
        table = Table(BOTH, vocabulary, {VANILLA: poor, PARENTS: poor, BEST: good}, seed=0)
        rows += [*table.shares(), *table.ratios([f"top-1 {KIND}", f"top-1 {STRICT}"], [BEST], PUBLISHED[::2])]
    said = {claim["claim"]: claim for claim in claims_of(rows)}
    what = f"{BOTH}, {OPEN}: top-1 {KIND} of ours, times that of "
    for other in (PARENTS, VANILLA):
        assert said[what + other]["value"] == pytest.approx(2)
        assert (said[what + other]["target"], said[what + other]["holds"]) == ("more than 1, with its interval", True)
        assert said[what + other + OVER_LABELS]["target"] is None
    aimed = said[f"{what}{PARENTS} (aimed at)"]
    assert (aimed["target"], aimed["holds"]) == ("at least 1.3", True)
    assert sum(claim["target"] is not None for claim in said.values()) == 3


TINY = {
    "embed_dim": 24,
    "vision_cfg": {"image_size": 64, "layers": 2, "width": 32, "head_width": 16, "patch_size": 16},
    "text_cfg": {"context_length": 77, "vocab_size": 49408, "width": 32, "heads": 2, "layers": 1},
}


def test_training_and_held_out_photographs_are_apart(data: Path, tmp_path: Path) -> None:
    folders = {part: material.link_photos(data, tmp_path / part, part) for part in ("train", "test")}
    found = {
        part: {p.relative_to(folder).as_posix() for p in folder.rglob("*.png")} for part, folder in folders.items()
    }
    assert not found["train"] & found["test"]
    assert {path for path in found["train"] if path[:2] in ("co", "im")} == {
        "coco/0.png", "coco/1.png", *(f"imagenet/n1/{i}.png" for i in range(1, 8))
    }  # fmt: skip
    assert {path for path in found["test"] if path.startswith("msrc")} == {f"msrc/test{i}.png" for i in range(8)}
    with pytest.raises(InsightError, match="expected photographs, found none"):
        material.link_photos(data, tmp_path / "no", "train", few=0)


@pytest.mark.slow
def test_the_benchmark_runs_on_any_backbone_with_a_text_space(data: Path, tmp_path: Path) -> None:
    import open_clip

    (tmp_path / "insight-tiny-aligned.json").write_text(json.dumps(TINY))
    open_clip.add_model_config(tmp_path / "insight-tiny-aligned.json")
    options = ["--quick", "--backbone=openclip:insight-tiny-aligned/", f"--data={data}", f"--work={tmp_path / 'work'}"]
    naming.main([*options, f"--json={tmp_path / 'test.json'}", "--concepts=128", "--steps=20"])
    record = json.loads((tmp_path / "test.json").read_text())
    assert record["data"]["split"] == "test or held out"
    assert record["data"]["name"] == "MSRC-v2 (8), clothing parts (8), COCO val2017 (6), ImageNet (1)"
    named = [row for row in record["rows"] if row["part"] == "names"]
    assert {row["mode"] for row in named} == set(MODES)
    assert {row["vocabulary"] for row in named} == {OPEN, CLOSED}
    edges = {(row["graph"], row["kind"]) for row in record["rows"] if row["part"] == "edges"}
    assert len(edges) == 4
    assert record["claims"]

    naming.main([*options, f"--json={tmp_path / 'dev.json'}", "--concepts=128", "--steps=20", "--dev", "--seeds=2"])
    record = json.loads((tmp_path / "dev.json").read_text())
    assert record["data"]["split"] == "training photographs, to choose modes by"
    assert record["data"]["name"] == "MSRC-v2 (8), clothing parts (8), COCO val2017 (2), ImageNet (7)"
