"""What a report says: the facts of the model, the same in all three forms, and what is missing."""

import json
import re
import time
from collections.abc import Iterator
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from insight import ConceptModel, Edits, InsightError
from insight.cli import main
from insight.examples import Example, save_examples
from insight.report import Report, collect, write_report
from insight.report.page import report_page
from sae.files import read_json

from ..commands import fails
from ..random_models import Pixels
from .made import FINGERPRINT, graph_of, write_model


@pytest.fixture
def rng() -> np.random.Generator:
    return np.random.default_rng()


@pytest.fixture
def folder(rng: np.random.Generator, tmp_path: Path) -> Path:
    write_model(tmp_path / "model", rng)
    return tmp_path / "model"


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Report, str]:
    """A model's folder that no test changes, its report, and the page of that."""
    folder = tmp_path_factory.mktemp("report") / "model"
    write_model(folder, np.random.default_rng())
    report = collect(folder)
    return folder, report, report_page(report)


class Parsed(HTMLParser):
    """Every element of a page with its attributes, and its text."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.words: list[str] = []
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))

    def handle_data(self, data: str) -> None:
        self.words.append(data)

    @property
    def text(self) -> str:
        return " ".join(" ".join(self.words).split())


def nodes(trees: Any) -> Iterator[dict[str, Any]]:
    """Every concept in trees of the JSON."""
    for node in trees:
        yield node
        yield from nodes(node["children"])


def strict(path: Path) -> Any:
    """JSON without NaN and infinity."""

    def refuse(constant: str) -> None:
        raise AssertionError(f"{constant} is not JSON")

    return json.loads(path.read_text(encoding="utf-8"), parse_constant=refuse)


def test_the_facts_are_those_of_the_model(made: tuple[Path, Report, str]) -> None:
    folder, report, _ = made
    found = report.to_dict()
    model, config = ConceptModel.from_pretrained(folder), read_json(folder / "config.json")
    alive = [concept for concept in model.concepts if concept.frequency > 0]
    named = [concept for concept in alive if concept.name]
    share = model.relations.frequency / model.relations.tokens
    assert found["quality"][0]["fvu"] == config["quality"]["fvu"]
    assert (found["names"]["concepts"], found["names"]["named"]) == (len(alive), len(named))
    assert found["names"]["expected_right"] == pytest.approx(np.mean([concept.confidence for concept in named]))
    assert sum(found["names"]["named_counts"]) == len(named)
    assert sum(found["names"]["guessed_counts"]) == len(alive) - len(named)
    assert found["activity"]["never"] == (share == 0).sum()
    most_frequent = np.argsort(-share, kind="stable").tolist()
    assert [entry[0] for entry in found["activity"]["dense"]] == most_frequent[: (share > 0.1).sum()]
    assert np.sum(found["activity"]["counts"]) == len(alive)
    assert found["activity"]["l0"] == pytest.approx(share.sum())
    assert [level["concepts"] for level in found["levels"]] == [10, 30]
    assert sum(level["silent"] for level in found["levels"]) == found["activity"]["never"]


def test_page_picture_and_json_say_the_same(made: tuple[Path, Report, str], tmp_path: Path) -> None:
    _, report, page = made
    for form in ("png", "json"):
        write_report(report, tmp_path / f"report.{form}", form)
    said = strict(tmp_path / "report.json")
    assert said == json.loads(json.dumps(report.to_dict()))
    text = Parsed(page).text
    names = said["names"]
    assert f"Of {names['concepts']} concepts that are ever active {names['named']} have a name" in text
    for share in said["quality"][0]["fvu"]:
        assert f" {share:.3f} " in text
    for kind, count in said["tree"]["edges"].items():
        assert f"{count} {kind}" in text
    with Image.open(tmp_path / "report.png") as picture:
        assert (picture.format, picture.width) == ("PNG", 1680)


def test_the_same_model_gives_the_same_page(made: tuple[Path, Report, str], tmp_path: Path) -> None:
    folder, _, page = made
    main(["report", str(folder), "--out", str(tmp_path / "a.html")])
    assert (tmp_path / "a.html").read_text(encoding="utf-8") == page


def test_the_page_asks_for_nothing_and_has_no_script(made: tuple[Path, Report, str]) -> None:
    page = Parsed(made[2])
    tags = {tag for tag, _ in page.elements}
    assert not tags & {"script", "iframe", "object", "embed", "link", "form", "base"}
    for tag, attributes in page.elements:
        assert not any(name.startswith("on") for name in attributes), tag
        assert (attributes.get("src") or "data:").startswith("data:")
        assert (attributes.get("href") or "#").startswith("#")
    (policy,) = [a["content"] for _, a in page.elements if a.get("http-equiv") == "Content-Security-Policy"]
    assert policy is not None
    assert policy.startswith("default-src 'none'")
    assert "script-src" not in policy


def test_the_page_can_be_read_without_seeing_it(made: tuple[Path, Report, str]) -> None:
    page = Parsed(made[2])
    assert page.elements[0] == ("html", {"lang": "en"})
    assert all(attributes.get("alt") for tag, attributes in page.elements if tag == "img")
    headings = [int(tag[1]) for tag, _ in page.elements if re.fullmatch("h[1-6]", tag)]
    assert headings[0] == 1
    assert headings.count(1) == 1
    assert max(np.diff(headings)) <= 1  # no step is left out on the way down
    ids = [attributes["id"] for _, attributes in page.elements if "id" in attributes]
    assert len(set(ids)) == len(ids)
    links = [str(attributes["href"])[1:] for tag, attributes in page.elements if tag == "a"]
    assert set(links) <= set(ids)


HOSTILE = "</details><script>alert(1)</script><img src=x onerror=alert(1)>\"' onclick='x'"


def test_names_stay_text(rng: np.random.Generator, tmp_path: Path) -> None:
    folder = tmp_path / "model"
    write_model(folder, rng, word=HOSTILE)
    (folder / "README.md").write_text(f"# {HOSTILE}")
    (folder / "card.json").write_text(json.dumps({HOSTILE: HOSTILE, "list": [HOSTILE], "table": {HOSTILE: HOSTILE}}))
    page = Parsed(report_page(collect(folder)))
    assert not {tag for tag, _ in page.elements} & {"script"}
    assert not [a for tag, a in page.elements if tag == "img" and not str(a["src"]).startswith("data:image/svg")]
    assert not [a for _, a in page.elements if any(name.startswith("on") for name in a)]
    assert page.text.count("<script>alert(1)</script>") > 20


def test_a_concept_stands_once_under_the_surest_of_its_parents(made: tuple[Path, Report, str]) -> None:
    folder, report, _ = made
    model = ConceptModel.from_pretrained(folder)
    graph, alive = model.relations, model.relations.frequency > 0
    found = report.to_dict()["tree"]
    ids = [node["id"] for node in nodes(found["trees"])]
    assert len(set(ids)) == len(ids) == found["n_concepts"] == found["n_shown"]
    assert found["n_concepts"] + found["alone"] == alive.sum()
    above = {child["id"]: node["id"] for node in nodes(found["trees"]) for child in node["children"]}
    for node in nodes(found["trees"]):
        parents = [parent for parent in graph.parents(node["id"]).tolist() if alive[parent]]
        assert above.get(node["id"]) == (parents[0] if parents else None)
        others = [parent for parent in graph.parents(node["id"]).tolist() if parent != above.get(node["id"])]
        assert [title for _, title in node["also"]] == [model.concepts[parent].guessed for parent in others]
        assert node["below"] == sum(1 + child["below"] for child in node["children"])
    sizes = [1 + tree["below"] for tree in found["trees"]]
    assert sizes == sorted(sizes, reverse=True)


def test_a_graph_with_cycles_becomes_a_tree(rng: np.random.Generator, tmp_path: Path) -> None:
    def ring(_: np.random.Generator, m: int, __: int) -> tuple[np.ndarray, np.ndarray]:
        return np.arange(m), (np.arange(m) + 1) % m

    write_model(tmp_path / "model", rng, m=12, edges=ring)
    graph = graph_of(rng, np.arange(12), (np.arange(12) + 1) % 12, 12)
    graph.frequency[:] = 5
    graph.save(tmp_path / "model" / "relations.npz")
    tree = collect(tmp_path / "model").to_dict()["tree"]
    assert sorted(node["id"] for node in nodes(tree["trees"])) == list(range(12))


def test_a_large_dictionary_is_shown_in_bounded_time_and_size(rng: np.random.Generator, tmp_path: Path) -> None:
    write_model(tmp_path / "model", rng, m=8192)
    start = time.process_time()
    report = collect(tmp_path / "model")
    page = report_page(report)
    assert time.process_time() - start < 10
    assert len(page.encode()) < 8 << 20
    tree = report.to_dict()["tree"]
    shown = list(nodes(tree["trees"]))
    assert len(shown) == tree["n_shown"] <= 2000 < tree["n_concepts"]
    text = Parsed(page).text
    assert f"{tree['n_concepts']:,} concepts stand in {tree['n_trees']:,} trees" in text
    for node in shown:
        hidden = node["below"] - sum(1 + child["below"] for child in node["children"])
        told = f"and {hidden:,} more below it" if node["children"] else f"{hidden:,} below, not shown"
        assert not hidden or told in text


def test_of_a_tree_that_is_too_large_the_rest_is_counted(rng: np.random.Generator, tmp_path: Path) -> None:
    def star(_: np.random.Generator, m: int, __: int) -> tuple[np.ndarray, np.ndarray]:
        return np.arange(1, m), np.zeros(m - 1, np.int64)

    write_model(tmp_path / "model", rng, m=700, edges=star)
    graph = graph_of(rng, *star(rng, 700, 0), 700)
    graph.frequency[:] = 5
    graph.save(tmp_path / "model" / "relations.npz")
    report = collect(tmp_path / "model")
    tree = report.to_dict()["tree"]
    assert (tree["n_shown"], tree["n_concepts"]) == (500, 700)
    assert "and 200 more below it" in Parsed(report_page(report)).text


def test_what_a_model_does_not_have_is_said(folder: Path, tmp_path: Path) -> None:
    config = read_json(folder / "config.json")
    del config["quality"]
    (folder / "config.json").write_text(json.dumps(config))
    (folder / "relations.npz").unlink()
    report = collect(folder)
    assert (report.tree, report.names, report.activity, report.quality) == (None, None, None, ())
    for form in ("png", "json"):
        write_report(report, tmp_path / "bare", form)
        assert (tmp_path / "bare").stat().st_size > 0
    text = Parsed(report_page(report)).text
    assert "no measures of training" in text
    assert "no relations yet" in text


def test_a_model_without_names_is_told_as_numbers(rng: np.random.Generator, folder: Path) -> None:
    from insight.concept import load_concepts, save_concepts, unnamed

    concepts = load_concepts(folder / "concepts.parquet", 40)
    bare = unnamed([c.level for c in concepts], [c.frequency for c in concepts], [0.0] * 40)
    save_concepts(folder / "concepts.parquet", bare)
    report = collect(folder)
    text = Parsed(report_page(report)).text
    assert report.names is None
    assert "The concepts have no names yet (`insight name`)." in text
    assert "concept " in text


def test_a_dictionary_without_a_backbone_gets_a_report(rng: np.random.Generator, tmp_path: Path) -> None:
    write_model(tmp_path / "model", rng, config={"backbone": None, "train": None})
    report = collect(tmp_path / "model")
    assert next(iter(report.facts)) == "dictionary"
    assert [len(quality.fvu) for quality in report.quality] == [2]
    report_page(report)


def test_what_is_not_known_is_null(folder: Path, tmp_path: Path) -> None:
    config = read_json(folder / "config.json")
    config["quality"]["fvu"] = [float("nan"), 0.25]
    (folder / "config.json").write_text(json.dumps(config))
    report = collect(folder)
    write_report(report, tmp_path / "report.json", "json")
    assert strict(tmp_path / "report.json")["quality"][0]["fvu"] == [None, 0.25]
    assert " – " in Parsed(report_page(report)).text


def test_edits_are_listed_with_what_could_not_be_applied(folder: Path) -> None:
    edits = Edits(folder)
    edits.rename(3, "a <b>beak</b>", note="looked at")
    edits.hide(5)
    report = collect(folder)
    lines = report.to_dict()["edits"]
    assert [line["said"] for line in lines] == ["concept 3 is called “a <b>beak</b>”", "concept 5 is hidden"]
    assert [line["reason"] for line in lines] == [None, None]
    text = Parsed(report_page(report)).text
    assert "a <b>beak</b>" in text
    assert "looked at" in text
    assert not [node for node in nodes(report.to_dict()["tree"]["trees"]) if node["id"] == 5]


def test_the_card_and_the_readme_of_a_model_are_shown(folder: Path) -> None:
    (folder / "README.md").write_text("---\nlicense: x\n---\n# A model\nof things")
    (folder / "card.json").write_text(
        json.dumps({"what": "a test", "not": ["a", "b"], "from": {"x": {"photographs": 3}, "y": 0.25}, "deep": [[[1]]]})
    )
    report = collect(folder)
    assert [(section.title, section.lines) for section in report.card] == [
        ("what", ("a test",)),
        ("not", ("a", "b")),
        ("from", ("x: photographs 3", "y: 0.25")),
    ]
    assert report.readme == "# A model\nof things"


@pytest.fixture
def with_pixels(monkeypatch: pytest.MonkeyPatch) -> None:
    """The made-up backbone for models that are read from a folder."""

    class Fingerprinted(Pixels):
        fingerprint = FINGERPRINT

    monkeypatch.setattr("insight.model.load_backbone", lambda name, device: Fingerprinted())


@pytest.mark.usefixtures("with_pixels")
def test_crops_are_shown_of_some_concepts_of_each_level(folder: Path, tmp_path: Path) -> None:
    Image.new("RGB", (32, 32), "red").save(tmp_path / "a.png")
    save_examples(folder / "examples.parquet", {i: [Example("a.png", 1, 1, 1.0)] for i in range(40)})
    report = collect(folder, photos=tmp_path)
    levels = [card.level for card in report.cards]
    assert levels == sorted(levels)
    assert set(levels) == {0, 1}
    assert max(levels.count(0), levels.count(1)) <= 8
    page = Parsed(report_page(report))
    crops = [a for tag, a in page.elements if tag == "img" and str(a["src"]).startswith("data:image/jpeg")]
    assert len(crops) == len(report.cards)
    assert sum(card["crops"] for card in report.to_dict()["cards"]) == len(crops)


def test_photos_without_examples_are_no_error(folder: Path, tmp_path: Path) -> None:
    report = collect(folder, photos=tmp_path)
    assert report.cards == ()
    assert any("examples.parquet" in line for line in report.missing)


def test_a_report_that_fails_leaves_the_old_file(folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    out = tmp_path / "report.html"
    out.write_text("old")

    def broken(report: Report) -> str:
        raise InsightError("no")

    monkeypatch.setattr("insight.report.write.report_page", broken)
    with pytest.raises(InsightError):
        write_report(collect(folder), out, "html")
    assert out.read_text() == "old"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["model", "report.html"]


def test_the_command_writes_what_the_suffix_or_the_format_says(folder: Path, tmp_path: Path) -> None:
    main(["report", str(folder), "--out", str(tmp_path / "a.json")])
    main(["report", str(folder), "--out", str(tmp_path / "b"), "--format", "json"])
    assert strict(tmp_path / "a.json") == strict(tmp_path / "b")


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--out", "report.pdf"], "expected a file that ends in .html or .png or .json, found .pdf"),
        (["--out", "."], "expected a file to write"),
        (["--out", "a.html", "--photos", "nowhere"], "expected a folder of photographs, found nothing"),
        (["--out", "a.html", "--heads", "nowhere"], "expected the folder of a head"),
        (["--out", "a.html", "--cache", "nowhere"], "expected a feature cache"),
    ],
)
def test_wrong_arguments_are_told(
    folder: Path, arguments: list[str], said: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(folder)
    assert said in fails(["report", str(folder), *arguments], capsys)
    assert not (folder / "a.html").exists()
