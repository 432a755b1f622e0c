"""The notebooks run from front to back on what is fetched, and what they say of their results is so; marked `docs`.

Both take some minutes on a core.
"""

import json
import shutil
from pathlib import Path
from typing import Any

import pytest

from tests.docs.fences import ROOT

pytestmark = pytest.mark.docs
FOLDER = ROOT / "docs" / "notebooks"


def run(name: str, folder: Path, asked: str) -> dict[str, Any]:
    """Run a notebook in an empty folder with what lies beside it, then ask its kernel for values (a dictionary)."""
    nbformat = pytest.importorskip("nbformat", reason="needs `pip install -e '.[test,docs]'`")
    nbclient = pytest.importorskip("nbclient", reason="needs `pip install -e '.[test,docs]'`")
    pytest.importorskip("ipykernel", reason="needs `pip install -e '.[test,docs]'`")
    shutil.copy(FOLDER / "birds.csv", folder)
    notebook = nbformat.read(FOLDER / f"{name}.ipynb", as_version=4)
    notebook.cells.append(nbformat.v4.new_code_cell(f"import json\n\nprint(json.dumps({asked}))"))
    nbclient.NotebookClient(
        notebook, timeout=1200, kernel_name="python3", resources={"metadata": {"path": str(folder)}}
    ).execute()
    answer = "".join(output["text"] for output in notebook.cells[-1].outputs if output.get("name") == "stdout")
    found: dict[str, Any] = json.loads(answer)
    return found


def test_from_a_photo_to_concepts(tmp_path: Path) -> None:
    found = run(
        "photo-to-concepts",
        tmp_path,
        """{
            "unexplained": explanation.fvu,
            "classes": [str(head.predict([photo])[0]) for photo in (mallard, houses, egret)],
            "logit": float(why.logit),
            "total": float(total),
            "before": why.predicted,
            "after": after.predicted,
            "kept": kept / len(others),
            "bird": found.share("bird"),
            "water": found.share("water"),
            "finer": str(finer.predict([mallard])[0]),
            "boat": [graph.title(int(parent)) for parent in graph.parents(boat)],
        }""",
    )
    assert found["unexplained"] < 0.2
    assert found["classes"] == ["bird", "house", "bird"]
    assert found["total"] == pytest.approx(found["logit"], abs=1e-6)
    assert (found["before"], found["after"] != "house") == ("house", True)
    assert found["kept"] > 0.9  # one other concept, whichever it is, hardly ever changes the decision
    assert found["bird"] > 0.4
    assert found["water"] > 0.2
    assert found["finer"] != "duck"  # as the last section says
    assert found["boat"] == ["ocean"]


def test_a_dictionary_of_your_own(tmp_path: Path) -> None:
    found = run(
        "own-dictionary",
        tmp_path,
        """{
            "accuracy": accuracy,
            "learnt": evaluate(model.sae, (x for _, x in learn_cache.scan()))["fvu"],
            "held": evaluate(model.sae, (x for _, x in test_cache.scan()))["fvu"],
            "shared": len({path for path, _ in learn} & {path for path, _ in test}),
            "target": str(why.target),
            "logit": float(why.logit),
            "total": float(total),
            "named": named,
        }""",
    )
    accuracy = found["accuracy"]
    assert accuracy["head on concepts"] > 0.75
    assert accuracy["probe on opaque features"] > 0.75
    assert accuracy["head on concepts"] > accuracy["probe on opaque features"] - 0.12
    assert accuracy["head, labels shuffled"] < 0.45
    assert found["shared"] == 0
    assert all(later < sooner for sooner, later in zip(found["held"], found["held"][1:]))
    assert found["held"][-1] > found["learnt"][-1]
    assert found["target"] == "fowl"
    assert found["total"] == pytest.approx(found["logit"], abs=1e-6)
    assert 20 < found["named"] < 256
    assert (tmp_path / "birds-head" / "head.json").is_file()
