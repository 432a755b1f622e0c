"""What a person's edits do to a model, and how they come through a rebuild."""

import json
import re
from pathlib import Path

import networkx as nx
import numpy as np
import pytest
from PIL import Image

from insight import ConceptModel, Edits, Explanation, InsightError
from insight.examples import Example, crop, save_examples
from insight.render.cards import CROP_PIXELS, concept_cards
from naming import ConceptGraph
from sae import SparseAutoencoder

from .random_models import CONCEPTS, Pixels, random_dictionary, random_graph, write_model


@pytest.fixture
def rng() -> np.random.Generator:
    return np.random.default_rng()


@pytest.fixture
def folder(rng: np.random.Generator, tmp_path: Path) -> Path:
    write_model(tmp_path / "model", random_dictionary(rng), random_graph(rng))
    return tmp_path / "model"


def loaded(folder: Path) -> ConceptModel:
    return ConceptModel.from_pretrained(folder, backbone=Pixels())


def explained(folder: Path, photo: Image.Image) -> Explanation:
    return loaded(folder).explain(photo, top=None)


def photo_of(rng: np.random.Generator) -> Image.Image:
    return Image.fromarray(rng.integers(0, 256, (16, 16, 3), dtype=np.uint8))


def maps(explanation: Explanation) -> dict[int, np.ndarray]:
    return {concept.id: concept.map for concept in explanation.concepts}


def edges(graph: ConceptGraph, *, direct_only: bool = True) -> set[tuple[int, int]]:
    rows = graph.direct if direct_only else slice(None)
    return set(zip(graph.child_ids[rows].tolist(), graph.parent_ids[rows].tolist(), strict=True))


CHAIN = (2, 1, 0)
"""Each belongs to the next, directly."""
APART = (21, 22, 23)
"""Nothing leads from one to another."""


def test_a_model_without_edits_is_as_it_was(folder: Path) -> None:
    model = loaded(folder)
    assert not any(concept.edited or not concept.shown for concept in model.concepts)
    assert not (folder / "edits.json").exists()
    np.testing.assert_array_equal(model.relations.parent_ids, ConceptGraph.load(folder / "relations.npz").parent_ids)


def test_a_renamed_concept_keeps_its_old_names_as_alternatives(folder: Path, rng: np.random.Generator) -> None:
    concept = int(rng.integers(CONCEPTS))
    Edits(folder).rename(concept, "ear of a dog")
    for other in loaded(folder).concepts:
        if other.id != concept:
            assert (other.name, other.edited) == (f"word {other.id}", False)
    renamed = loaded(folder).concepts[concept]
    assert (renamed.title, renamed.edited, renamed.score) == ("ear of a dog", True, None)
    assert (renamed.confidence, renamed.stability) == (None, None)
    old = [f"word {concept}", f"word {concept} b", f"word {concept} c"]
    assert renamed.scored_alternatives == tuple(zip(old, (0.75, 0.5, 0.25)))


def test_a_name_taken_from_the_alternatives_keeps_its_score(folder: Path) -> None:
    Edits(folder).rename(3, "Word 3 C")
    renamed = loaded(folder).concepts[3]
    assert (renamed.name, renamed.score) == ("Word 3 C", 0.25)
    assert renamed.scored_alternatives == (("word 3", 0.75), ("word 3 b", 0.5))


def test_a_name_survives_naming_again(folder: Path, rng: np.random.Generator) -> None:
    Edits(folder).rename(5, "mine")
    before = (folder / "edits.json").read_bytes()
    write_model(folder, SparseAutoencoder.from_pretrained(folder), random_graph(rng), word="other")
    assert (folder / "edits.json").read_bytes() == before
    model = loaded(folder)
    assert model.concepts[5].name == "mine"
    assert model.concepts[5].alternatives[0] == "other 5"
    assert model.concepts[6].name == "other 6"


NAMES = ["Ohr eines Hundes", "犬の耳", "أذن كلب", "गाय का कान", "می\u200cخواهم", "🐕", "👩\u200d🌾", "$\\frac{", "<b>"]
SCOTLAND = "🏴" + "".join(chr(0xE0000 + ord(letter)) for letter in "gbsct") + "\U000e007f"


@pytest.mark.parametrize("name", [*NAMES, SCOTLAND])
def test_a_name_is_of_any_language(folder: Path, name: str) -> None:
    Edits(folder).rename(0, name)
    assert loaded(folder).concepts[0].name == name
    assert json.loads((folder / "edits.json").read_text(encoding="utf-8"))["edits"][0]["name"] == name


@pytest.mark.parametrize("name", ["", " \n", "a" * 201, "bell\a", "a\u202egod", "half \ud83d"])
def test_a_name_that_cannot_be_shown_is_refused(folder: Path, name: str) -> None:
    with pytest.raises(InsightError, match="1 to 200 printable characters"):
        Edits(folder).rename(0, name)
    assert not (folder / "edits.json").exists()


def test_merged_concepts_are_shown_as_one_under_the_first_name(folder: Path, rng: np.random.Generator) -> None:
    photo = photo_of(rng)
    before = maps(explained(folder, photo))
    first, second, third = APART
    Edits(folder).merge(first, second, third)
    explanation = explained(folder, photo)
    after = maps(explanation)
    absent = np.zeros((4, 4), np.float32)
    expected = np.maximum.reduce([before.get(concept, absent) for concept in (first, second, third)])
    np.testing.assert_array_equal(after.pop(first), expected)
    assert set(after) == set(before) - {first, second, third}
    for concept, heat in after.items():
        np.testing.assert_array_equal(heat, before[concept])
    entry = next(concept for concept in explanation.concepts if concept.id == first)
    assert (entry.name, entry.edited, entry.activation) == (f"word {first}", True, expected.max())
    counts = ConceptGraph.load(folder / "relations.npz").frequency[[first, second, third]]
    assert loaded(folder).concepts[first].frequency == counts.max()


def test_a_merged_concept_is_shown_where_any_of_it_is_strongest(folder: Path, rng: np.random.Generator) -> None:
    for name in "abc":
        photo_of(rng).save(folder / f"{name}.png")
    first, second, third = APART
    examples = {
        first: [Example("a.png", 0, 0, 5.0), Example("b.png", 1, 1, 2.0)],
        second: [Example("c.png", 2, 2, 4.0), Example("a.png", 3, 3, 3.0)],
        third: [Example("b.png", 3, 0, 9.0)],
    }
    save_examples(folder / "examples.parquet", examples)
    Edits(folder).merge(first, second)
    merged, alone = concept_cards(loaded(folder), folder, folder, [first, third])
    strongest = [("a.png", 0, 0), ("c.png", 2, 2), ("b.png", 1, 1)]
    with_crop = [
        crop(Image.open(folder / image), Pixels().transform, (4, 4), Example(image, row, column, 1.0), CROP_PIXELS)
        for image, row, column in strongest
    ]
    assert [image.tobytes() for image in merged.examples] == [image.tobytes() for image in with_crop]
    assert (merged.edited, alone.edited, len(alone.examples)) == (True, False, 1)


def test_merging_leaves_what_is_unexplained_as_it_was(folder: Path, rng: np.random.Generator) -> None:
    photo = photo_of(rng)
    before = explained(folder, photo).fvu
    Edits(folder).merge(*APART)
    assert explained(folder, photo).fvu == before


def test_a_hidden_concept_is_nowhere_until_it_is_shown_again(folder: Path, rng: np.random.Generator) -> None:
    photo = photo_of(rng)
    before = explained(folder, photo)
    found = [concept.id for concept, _ in loaded(folder).search("fur", top=CONCEPTS)]
    hidden = CHAIN[1]
    edits = Edits(folder)
    edits.hide(hidden)
    model = loaded(folder)
    assert (model.concepts[hidden].hidden, model.concepts[hidden].edited) == (True, True)
    explanation = explained(folder, photo)
    assert set(maps(explanation)) == set(maps(before)) - {hidden}
    assert hidden not in {i for c in explanation.concepts for i in (*c.parents, *c.children)}
    assert len(model.search("fur", top=99)) == len(found) - 1
    assert hidden not in {concept.id for concept, _ in model.search("fur", top=99)}
    edits.show(hidden)
    assert explained(folder, photo).to_dict() == before.to_dict()
    with pytest.raises(InsightError, match=f"{hidden} is not hidden"):
        edits.show(hidden)


def test_search_gives_the_best_of_what_was_merged(folder: Path) -> None:
    scores = {concept.id: score for concept, score in loaded(folder).search("fur", top=CONCEPTS)}
    merged = APART
    Edits(folder).merge(*merged)
    model = loaded(folder)
    found = {concept.id: score for concept, score in model.search("fur", top=CONCEPTS)}
    assert set(found) == set(scores) - set(merged[1:])
    untouched = set(found) - {merged[0]} - {int(c) for i in merged for c in model.relations.children(i)}
    np.testing.assert_allclose([found[i] for i in untouched], [scores[i] for i in untouched], atol=1e-6)


def test_an_added_edge_is_there_with_its_kind(folder: Path) -> None:
    child, parent = APART[:2]
    Edits(folder).relate(child, parent, "part-of")
    model = loaded(folder)
    assert parent in model.relations.parents(child, "part-of")
    assert child in model.relations.children(parent, "part-of")
    edge = model.relations.edge(child, parent)
    assert (edge.kind, edge.weight, edge.support, edge.direct) == ("part-of", 1.0, 0, True)
    assert model.concepts[child].edited


def test_an_edge_a_person_asked_for_is_direct_whatever_else_leads_there(folder: Path) -> None:
    low, _, high = CHAIN
    Edits(folder).relate(low, high, "kind-of")
    assert high in loaded(folder).relations.parents(low)


def test_a_corrected_kind_leaves_the_evidence(folder: Path) -> None:
    child, parent, _ = CHAIN
    before = loaded(folder).relations.edge(child, parent)
    kind = "kind-of" if before.kind == "part-of" else "part-of"
    Edits(folder).relate(child, parent, kind)
    after = loaded(folder).relations.edge(child, parent)
    assert after.kind == kind
    for name in ("weight", "lift", "q_value", "support", "cover", "cover_spread"):
        assert getattr(after, name) == getattr(before, name)


def test_an_edge_that_would_close_a_cycle_is_refused_by_name(folder: Path) -> None:
    low, _, high = CHAIN
    edits = Edits(folder)
    edits.rename(low, "paw")
    before = (folder / "edits.json").read_bytes()
    with pytest.raises(InsightError, match=rf"{low} “paw” → .*{high} “word {high}”.*would close a cycle"):
        edits.relate(high, low, "part-of")
    with pytest.raises(InsightError, match="each once"):
        edits.relate(low, low, "part-of")
    assert (folder / "edits.json").read_bytes() == before


def test_concepts_with_another_between_them_are_not_merged(folder: Path) -> None:
    low, middle, high = CHAIN
    with pytest.raises(InsightError, match=f"{low} “word {low}” → .* would be a cycle"):
        Edits(folder).merge(low, high)
    edits = Edits(folder)
    edits.merge(low, middle)
    assert high in loaded(folder).relations.parents(low)
    assert middle not in loaded(folder).relations.parents(low)


def test_a_removed_edge_is_gone(folder: Path) -> None:
    child, parent, _ = CHAIN
    Edits(folder).unrelate(child, parent)
    graph = loaded(folder).relations
    assert (child, parent) not in edges(graph, direct_only=False)
    with pytest.raises(InsightError, match=f"{parent} is no parent of concept {child}"):
        Edits(folder).unrelate(child, parent)


@pytest.mark.parametrize("round_number", range(6))
def test_relations_after_any_edits_are_those_of_a_plain_graph(
    folder: Path, rng: np.random.Generator, round_number: int
) -> None:
    """Against networkx: nodes contracted, edges added and removed, then reduced; refused where that has a cycle."""
    plain = nx.DiGraph(edges(loaded(folder).relations, direct_only=False))
    plain.add_nodes_from(range(CONCEPTS))
    hidden: set[int] = set()
    wanted: set[tuple[int, int]] = set()
    edits = Edits(folder)
    for action in rng.choice(["merge", "relate", "unrelate", "hide"], 25, p=[0.2, 0.4, 0.3, 0.1]):
        a, b = (int(i) for i in rng.choice(sorted(set(plain) - hidden), 2, replace=False))
        trial, arguments = plain.copy(), (a, b)
        if action == "merge":
            trial = nx.contracted_nodes(trial, a, b, self_loops=False)
        elif action == "relate":
            trial.add_edge(a, b)
            arguments = (a, b, "kind-of")
        elif action == "hide":
            arguments = (a,)
        elif plain.has_edge(a, b):
            trial.remove_edge(a, b)
        else:
            with pytest.raises(InsightError, match="is no parent of"):
                edits.unrelate(a, b)
            continue
        if not nx.is_directed_acyclic_graph(trial):
            with pytest.raises(InsightError, match="cycle"):
                getattr(edits, action)(*arguments)
            continue
        getattr(edits, action)(*arguments)
        plain = trial
        hidden |= {a} if action == "hide" else set()
        wanted |= {(a, b)} if action == "relate" else set()
        if action == "merge":
            wanted = {(a if child == b else child, a if parent == b else parent) for child, parent in wanted}
        wanted &= set(plain.edges)
    plain.remove_nodes_from(hidden)
    after = loaded(folder)
    assert edges(after.relations, direct_only=False) == set(plain.edges)
    assert edges(after.relations) == set(nx.transitive_reduction(plain).edges) | (wanted & set(plain.edges))
    assert {concept.id for concept in after.concepts if concept.shown} == set(plain)


def test_edits_are_undone_one_by_one(folder: Path, rng: np.random.Generator) -> None:
    photo = photo_of(rng)
    states = [explained(folder, photo).to_dict()]
    first, second, third = APART
    edits = Edits(folder)
    for edit in (
        lambda: edits.rename(first, "mine"),
        lambda: edits.merge(first, second),
        lambda: edits.relate(first, third, "part-of"),
        lambda: edits.unrelate(first, third),
        lambda: edits.hide(third),
    ):
        edit()
        states.append(explained(folder, photo).to_dict())
    for number in range(5, 0, -1):
        assert explained(folder, photo).to_dict() == states[number]
        assert edits.undo(number).number == number
    assert explained(folder, photo).to_dict() == states[0]
    with pytest.raises(InsightError, match=r"edits\.json: expected the number of an edit \(none\), found 1"):
        edits.undo(1)


def test_an_edit_of_a_merged_concept_is_one_of_what_it_is_shown_as(folder: Path) -> None:
    first, second, _ = APART
    edits = Edits(folder)
    edits.merge(first, second)
    edits.rename(second, "both")
    assert loaded(folder).concepts[first].title == "both"
    edits.hide(second)
    assert not loaded(folder).concepts[first].shown
    with pytest.raises(InsightError, match="one concept already"):
        edits.merge(second, first)


@pytest.mark.parametrize("concept", [-1, CONCEPTS, 10**12])
def test_a_concept_that_does_not_exist_is_refused(folder: Path, concept: int) -> None:
    with pytest.raises(InsightError, match=f"expected a concept of 0 to {CONCEPTS - 1}, found {concept}"):
        Edits(folder).hide(concept)


def test_what_says_nothing_is_refused(folder: Path) -> None:
    edits = Edits(folder)
    for call in (lambda: edits.merge(3), lambda: edits.merge(3, 3), lambda: edits.relate(3, 3, "kind-of")):
        with pytest.raises(InsightError, match="expected two concepts, each once"):
            call()
    with pytest.raises(InsightError, match="kind-of or part-of, found 'friend'"):
        edits.relate(3, 4, "friend")


def test_edits_show_as_edits(folder: Path, rng: np.random.Generator, tmp_path: Path) -> None:
    photo = photo_of(rng)
    concept = explained(folder, photo).concepts[0].id
    Edits(folder).rename(concept, "$</script>{")
    explanation = explained(folder, photo)
    marks = {entry["id"]: entry["edited"] for entry in explanation.to_dict()["concepts"]}
    assert {i for i, edited in marks.items() if edited} == {concept}
    explanation.save_png(tmp_path / "out.png")
    explanation.save_html(tmp_path / "out.html")
    page = (tmp_path / "out.html").read_text(encoding="utf-8")
    data = json.loads(re.search(r'<script type="application/json" id="data">(.*?)</script>', page, re.S).group(1))
    assert [entry["id"] for entry in data["explanations"][0]["concepts"] if entry["edited"]] == [concept]
