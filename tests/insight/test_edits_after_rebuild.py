"""How edits come through a rebuild of the dictionary, and what is said of those that do not."""

import base64
import json
from pathlib import Path

import numpy as np
import pytest
import torch

from insight import ConceptModel, Edits
from insight.edits.placing import CARRIED
from sae import SparseAutoencoder

from .random_models import CONCEPTS, DIM, Pixels, random_dictionary, random_graph, write_model


@pytest.fixture
def rng() -> np.random.Generator:
    return np.random.default_rng()


@pytest.fixture
def folder(rng: np.random.Generator, tmp_path: Path) -> Path:
    write_model(tmp_path / "model", random_dictionary(rng), random_graph(rng, density=0))
    return tmp_path / "model"


def names(folder: Path) -> dict[int, str]:
    """The edited concepts and what they are called."""
    model = ConceptModel.from_pretrained(folder, backbone=Pixels())
    return {concept.id: concept.title for concept in model.concepts if concept.edited}


def turned(directions: torch.Tensor, cosine: float, rng: np.random.Generator) -> torch.Tensor:
    """Vectors of any length at exactly that cosine to each direction, otherwise drawn at random."""
    other = torch.from_numpy(rng.standard_normal(directions.shape))
    unit = torch.nn.functional.normalize(directions.double(), dim=1)
    other -= (other * unit).sum(1, keepdim=True) * unit
    other = torch.nn.functional.normalize(other, dim=1)
    length = torch.from_numpy(rng.uniform(0.5, 2, (len(unit), 1)))
    return (length * (cosine * unit + (1 - cosine**2) ** 0.5 * other)).float()


def rebuild(folder: Path, rng: np.random.Generator, cosine: float) -> np.ndarray:
    """Another dictionary in the folder; returns where each old concept is now, at that cosine to what it was."""
    order = rng.permutation(CONCEPTS)
    sae = random_dictionary(rng)
    with torch.no_grad():
        sae.decoder[order] = turned(SparseAutoencoder.from_pretrained(folder).decoder.detach(), cosine, rng)
    write_model(folder, sae, random_graph(rng, density=0))
    return order


def test_edits_go_with_the_directions_of_their_concepts(folder: Path, rng: np.random.Generator) -> None:
    chosen = rng.choice(CONCEPTS, 5, replace=False).tolist()
    edits = Edits(folder)
    for concept in chosen:
        edits.rename(concept, f"was {concept}")
    edits.merge(chosen[0], chosen[1])
    now = rebuild(folder, rng, CARRIED + 0.02)
    expected = {int(now[concept]): f"was {concept}" for concept in chosen}
    assert names(folder) == expected
    model = ConceptModel.from_pretrained(folder)
    assert model.concepts[now[chosen[1]]].merged_into == now[chosen[0]]


def test_edits_below_the_threshold_are_kept_but_not_applied_and_said(
    folder: Path, rng: np.random.Generator, capsys: pytest.CaptureFixture[str]
) -> None:
    edits = Edits(folder)
    for concept in (3, 4, 5):
        edits.rename(concept, "mine")
    original = SparseAutoencoder.from_pretrained(folder)
    before = (folder / "edits.json").read_bytes()
    rebuild(folder, rng, CARRIED - 0.02)
    assert names(folder) == {}
    said = capsys.readouterr().err
    assert f"{folder}: 3 edits could not be placed: 1 (no concept is near enough to what 3 was" in said
    assert "insight edit" in said
    assert (folder / "edits.json").read_bytes() == before
    write_model(folder, original, random_graph(rng))
    assert names(folder) == {3: "mine", 4: "mine", 5: "mine"}
    assert capsys.readouterr().err == ""


def test_while_the_direction_of_an_id_is_unchanged_it_is_that_concept(folder: Path, rng: np.random.Generator) -> None:
    """Even where another concept has the very same direction."""
    Edits(folder).rename(7, "mine")
    sae = SparseAutoencoder.from_pretrained(folder)
    with torch.no_grad():
        sae.decoder[2] = 3 * sae.decoder[7]
    write_model(folder, sae, random_graph(rng))
    assert names(folder) == {7: "mine"}


def test_of_two_edited_concepts_the_nearer_gets_the_one_that_is_left(
    folder: Path, rng: np.random.Generator, capsys: pytest.CaptureFixture[str]
) -> None:
    sae = SparseAutoencoder.from_pretrained(folder)
    with torch.no_grad():
        sae.decoder[9] = turned(sae.decoder[8:9], 0.95, rng)
    write_model(folder, sae, random_graph(rng))
    edits = Edits(folder)
    edits.rename(8, "one")
    edits.rename(9, "other")
    after = random_dictionary(rng)
    with torch.no_grad():
        after.decoder[20] = turned(sae.decoder[9:10], 0.998, rng)
    write_model(folder, after, random_graph(rng))
    assert names(folder) == {20: "other"}
    assert (
        "1 edit could not be placed: 1 (the nearest to what 8 was, 20, is nearer to another" in capsys.readouterr().err
    )


def test_an_edit_made_after_a_rebuild_settles_those_that_were_carried(folder: Path, rng: np.random.Generator) -> None:
    """So that they are carried on over any number of rebuilds, each of which is near to the last alone."""
    place = 6
    Edits(folder).rename(place, "mine")
    for _ in range(4):
        place = int(rebuild(folder, rng, 0.93)[place])
        edits = Edits(folder)
        edits.hide((place + 1) % CONCEPTS)
        written = json.loads((folder / "edits.json").read_text())["edits"]
        assert (written[0]["name"], written[0]["concepts"][0]["id"]) == ("mine", place)
    assert names(folder)[place] == "mine"


def test_features_of_another_width_are_said(
    folder: Path, rng: np.random.Generator, capsys: pytest.CaptureFixture[str]
) -> None:
    Edits(folder).rename(1, "mine")
    entries = json.loads((folder / "edits.json").read_text())
    narrow = np.zeros(DIM // 2, "<f2")
    narrow[0] = 1
    entries["edits"][0]["concepts"][0]["direction"] = base64.b64encode(narrow.tobytes()).decode()
    (folder / "edits.json").write_text(json.dumps(entries))
    assert names(folder) == {}
    assert f"features of {DIM // 2} values, here they have {DIM}" in capsys.readouterr().err


def test_an_edge_that_new_relations_make_a_cycle_of_is_left_out(
    folder: Path, rng: np.random.Generator, capsys: pytest.CaptureFixture[str]
) -> None:
    sae, graph = SparseAutoencoder.from_pretrained(folder), random_graph(rng)
    write_model(folder, sae, random_graph(rng, density=0))
    Edits(folder).relate(0, 2, "kind-of")
    assert 2 in ConceptModel.from_pretrained(folder, backbone=Pixels()).relations.parents(0)
    write_model(folder, sae, graph)
    relations = ConceptModel.from_pretrained(folder, backbone=Pixels()).relations
    assert 0 in relations.ancestors(2)
    assert 2 not in relations.ancestors(0)
    assert "1 edit could not be placed: 1 (2 belongs to 0 already" in capsys.readouterr().err
