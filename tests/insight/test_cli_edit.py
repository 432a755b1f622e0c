"""`insight edit`: each subcommand as a person types it, what it prints, and what the other commands show then."""

import json
from pathlib import Path

import numpy as np
import pytest

from insight import ConceptModel
from insight.cli import main

from .random_models import random_dictionary, random_graph, write_model


@pytest.fixture
def model(tmp_path: Path) -> Path:
    rng = np.random.default_rng()
    write_model(tmp_path / "model", random_dictionary(rng), random_graph(rng))
    return tmp_path / "model"


def fails(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> str:
    with pytest.raises(SystemExit) as stop:
        main(arguments)
    assert stop.value.code == 2
    lines = capsys.readouterr().err.splitlines()
    assert len(lines) == 1
    return lines[0]


def test_every_subcommand_does_what_it_says(model: Path, capsys: pytest.CaptureFixture[str]) -> None:
    edit = ["edit", str(model)]
    main([*edit, "rename", "12", "ear of a dog", "--note", "seen on ten photos"])
    assert "concept 12: ear of a dog" in capsys.readouterr().out
    main([*edit, "merge", "21", "22", "23"])
    main([*edit, "hide", "7"])
    main([*edit, "hide", "8"])
    main([*edit, "show", "8"])
    main([*edit, "relate", "2", "0", "--kind", "part-of"])
    main([*edit, "unrelate", "2", "1"])
    concepts = ConceptModel.from_pretrained(model).concepts
    relations = ConceptModel.from_pretrained(model).relations
    assert concepts[12].name == "ear of a dog"
    assert [concepts[i].merged_into for i in (21, 22, 23)] == [None, 21, 21]
    assert [concepts[i].hidden for i in (7, 8)] == [True, False]
    assert 0 in relations.parents(2, "part-of")
    assert 1 not in relations.parents(2)
    capsys.readouterr()
    main([*edit, "list"])
    lines = capsys.readouterr().out.splitlines()
    assert [line.split()[0] for line in lines] == list("1234567")
    assert "rename 12 “ear of a dog” (seen on ten photos)" in lines[0]
    assert "merge 21 22 23" in lines[1]
    assert "relate 2 0 --kind part-of" in lines[5]
    main([*edit, "undo", "1"])
    assert "undone:" in capsys.readouterr().out
    assert ConceptModel.from_pretrained(model).concepts[12].name == "word 12"


def test_list_says_which_edits_could_not_be_placed_and_which_were_carried(
    model: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    main(["edit", str(model), "list"])
    assert "no edits" in capsys.readouterr().out
    main(["edit", str(model), "rename", "3", "kept"])
    main(["edit", str(model), "rename", "4", "lost"])
    rng = np.random.default_rng()
    other = random_dictionary(rng)
    other.decoder.data[9] = ConceptModel.from_pretrained(model).sae.decoder.data[3]
    write_model(model, other, random_graph(rng))
    capsys.readouterr()
    main(["edit", str(model), "list"])
    lines = capsys.readouterr().out.splitlines()
    assert "3 is 9 now, cosine 1.00" in lines[1]
    assert "not applied: no concept is near enough to what 4 was" in lines[3]


def test_concepts_marks_what_was_edited_and_leaves_out_what_is_hidden(
    model: Path, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    edit = ["edit", str(model)]
    main([*edit, "rename", "12", "ear of a dog"])
    main([*edit, "hide", "7"])
    main([*edit, "merge", "21", "22"])
    capsys.readouterr()
    main(["concepts", str(model), "--top", "0"])
    lines = capsys.readouterr().out.splitlines()
    assert {int(line.split()[0]) for line in lines} == set(range(24)) - {7, 22}
    assert {int(line.split()[0]) for line in lines if "edited" in line} == {12, 21}
    main(["concepts", str(model), "--top", "0", "--json", str(tmp_path / "out.json")])
    rows = json.loads((tmp_path / "out.json").read_text(encoding="utf-8"))
    assert {row["id"] for row in rows if row["edited"]} == {12, 21}
    renamed = next(row for row in rows if row["id"] == 12)
    assert renamed["name"] == "ear of a dog"
    assert renamed["alternatives"][0] == ["word 12", 0.75]
    assert not any(7 in row["parents"] + row["children"] for row in rows)


def test_bad_input_is_one_line(model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    edit = ["edit", str(model)]
    assert "expected a concept of 0 to 23, found 24" in fails([*edit, "hide", "24"], capsys)
    assert "printable characters" in fails([*edit, "rename", "1", "\t"], capsys)
    assert "would close a cycle" in fails([*edit, "relate", "0", "2", "--kind", "kind-of"], capsys)
    assert "each once" in fails([*edit, "merge", "1"], capsys)
    assert "number of an edit (none)" in fails([*edit, "undo", "1"], capsys)
    assert str(tmp_path / "no") in fails(["edit", str(tmp_path / "no"), "hide", "1"], capsys)
    (model / "edits.json").write_text("[]")
    assert "edits.json: expected a file of edits" in fails([*edit, "list"], capsys)
