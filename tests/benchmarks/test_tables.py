"""The README and the list of figures say what the result files say."""

from benchmarks.tables import RESULTS, ROOT, all_figures, readme_with_tables, table
from sae.files import read_json


def test_the_texts_are_what_the_results_say() -> None:
    records = [read_json(file) for file in sorted(RESULTS.glob("*.json"))]
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    assert readme_with_tables(readme, records) == readme
    assert (ROOT / "docs" / "figures.md").read_text(encoding="utf-8") == all_figures(records)


def test_a_claim_that_misses_its_target_is_said_so() -> None:
    claim = {"claim": "as good as", "value": 0.123456, "unit": "%", "target": 0.5, "holds": False}
    claim["interval"] = [0.1, 0.2]
    record = {
        "benchmark": "made_up",
        "data": {"name": "photos", "images": 1234, "split": "test"},
        "machine": {"cores": 2, "accelerator": None},
        "versions": {"torch": "2.6"},
        "claims": [claim],
    }
    text = table(record, [claim])
    assert "1,234 images" in text
    assert "| as good as | 0.123 % | [0.1, 0.2] | 0.5 | **no** |" in text
