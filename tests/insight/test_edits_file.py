"""The file of edits: what is in it, what is refused, and that two writers lose nothing."""

import base64
import copy
import json
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from insight import ConceptModel, Edits, InsightError
from sae import SparseAutoencoder

from .random_models import CONCEPTS, DIM, random_dictionary, random_graph, write_model


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    rng = np.random.default_rng()
    write_model(tmp_path / "model", random_dictionary(rng), random_graph(rng, density=0))
    return tmp_path / "model"


def written(folder: Path) -> dict[str, Any]:
    return json.loads((folder / "edits.json").read_text(encoding="utf-8"))


def test_the_file_says_what_was_done_to_which_directions(folder: Path) -> None:
    edits = Edits(folder)
    edits.rename(4, "  a   name ", note="seen on ten photos")
    edits.relate(5, 4, "part-of")
    value = written(folder)
    assert (value["format"], value["version"]) == ("insight-edits", 1)
    first, second = value["edits"]
    concepts = first.pop("concepts")
    assert first.pop("date")[:2] == "20"
    assert first == {"number": 1, "do": "rename", "name": "a name", "note": "seen on ten photos"}
    assert (second["number"], second["do"], second["kind"]) == (2, "relate", "part-of")
    assert [concept["id"] for concept in concepts + second["concepts"]] == [4, 5, 4]
    decoder = SparseAutoencoder.from_pretrained(folder).decoder.detach().double().numpy()
    stored = np.frombuffer(base64.b64decode(concepts[0]["direction"]), "<f2").astype(float)
    np.testing.assert_allclose(stored, decoder[4] / np.linalg.norm(decoder[4]), atol=1e-3)


def test_a_number_stays_with_its_edit(folder: Path) -> None:
    edits = Edits(folder)
    for concept in range(4):
        edits.hide(concept)
    edits.undo(2)
    assert [edit["number"] for edit in written(folder)["edits"]] == [1, 3, 4]
    assert edits.hide(7).number == 5
    with pytest.raises(InsightError, match=r"the number of an edit \(1, 3, 4, 5\), found 2"):
        edits.undo(2)


DAMAGES: dict[str, Callable[[dict[str, Any]], object]] = {
    "version 1, found 2": lambda value: value.update(version=2),
    "version 1, found None": lambda value: value.pop("version"),
    'a file of edits \\("format"': lambda value: value.update(format="insight-sae"),
    'a list "edits"': lambda value: value.update(edits={}),
    "edit 1: expected \"do\" to be one of .* found 'paint'": lambda value: value["edits"][0].update(do="paint"),
    "edit 1: expected \"do\" to be one of .* found \\['hide'\\]": lambda value: value["edits"][0].update(do=["hide"]),
    'edit 2: expected "do" to be one of .* found 7': lambda value: value["edits"].append(7),
    'edit 1: expected a "number" of 1 or more, found 0': lambda value: value["edits"][0].update(number=0),
    "every edit to have its own number": lambda value: value["edits"].append(value["edits"][0]),
    'edit 1, "name": expected 1 to 200 printable characters': lambda value: value["edits"][0].update(name="a\u0000b"),
    "edit 1: expected \"name\" to be a text, found '5'": lambda value: value["edits"][0].update(name=5),
    'edit 1: expected a "name" for rename': lambda value: value["edits"][0].pop("name"),
    'edit 1: expected a "kind" .* for relate alone': lambda value: value["edits"][0].update(kind="part-of"),
    'edit 1: expected a list of 1 "concepts"': lambda value: value["edits"][0].update(concepts=[]),
    'edit 1: expected a list of 2 or more "concepts"': lambda value: (
        value["edits"][0].update(do="merge"),
        value["edits"][0].pop("name"),
    ),
    'edit 1: expected concepts with an "id"': lambda value: value["edits"][0]["concepts"][0].update(id=-1),
    "edit 1: expected concepts .*unit vector": lambda value: value["edits"][0]["concepts"][0].update(
        direction=base64.b64encode(np.full(DIM, np.nan, "<f2").tobytes()).decode()
    ),
    'a "direction" \\(a unit vector': lambda value: value["edits"][0]["concepts"][0].update(direction="?"),
}


@pytest.mark.parametrize("message", DAMAGES)
def test_a_damaged_or_later_file_is_an_error_that_names_it(folder: Path, message: str) -> None:
    Edits(folder).rename(0, "mine")
    value = copy.deepcopy(written(folder))
    DAMAGES[message](value)
    (folder / "edits.json").write_text(json.dumps(value))
    for read in (ConceptModel.from_pretrained, Edits):
        with pytest.raises(InsightError, match=message) as error:
            read(folder)
        assert str(folder / "edits.json") in str(error.value)
        assert "\n" not in str(error.value)


def test_a_cut_off_file_is_an_error_and_stays_as_it_is(folder: Path) -> None:
    edits = Edits(folder)
    edits.rename(0, "mine")
    half = (folder / "edits.json").read_bytes()[:300]
    (folder / "edits.json").write_bytes(half)
    with pytest.raises(InsightError, match=r"edits\.json: expected JSON"):
        edits.rename(1, "other")
    assert (folder / "edits.json").read_bytes() == half


def test_writers_at_the_same_time_lose_nothing(folder: Path) -> None:
    writers = [Edits(folder) for _ in range(6)]
    with ThreadPoolExecutor(6) as pool:
        for future in [pool.submit(writers[i % 6].rename, i, f"mine {i}") for i in range(CONCEPTS)]:
            future.result()
    assert sorted(edit["number"] for edit in written(folder)["edits"]) == list(range(1, CONCEPTS + 1))
    titles = [concept.title for concept in ConceptModel.from_pretrained(folder).concepts]
    assert titles == [f"mine {i}" for i in range(CONCEPTS)]


def test_a_folder_without_a_model_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InsightError, match="expected the folder of a related model"):
        Edits(tmp_path / "nothing").hide(1)
    assert not (tmp_path / "nothing").exists()
