"""The README says what the result files say."""

from benchmarks.tables import RESULTS, ROOT, readme_with_tables, table
from sae.files import read_json


def test_readme_is_what_the_results_say() -> None:
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    assert readme_with_tables(text, [read_json(file) for file in sorted(RESULTS.glob("*.json"))]) == text


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
    text = table(record)
    assert "1,234 images" in text
    assert "| as good as | 0.123 % | [0.1, 0.2] | 0.5 | **no** |" in text
