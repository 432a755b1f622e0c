"""Figures that pages quote are those of the committed results."""

from sae.files import read_json
from tests.docs.fences import ROOT

PERCENT = (
    ("of the names that are given, {}", "both sets, all words: top-1 kind-of, named, regions, prior"),
    ("named or not, {}", "both sets, all words: top-1 kind-of, regions, prior"),
    ("another form of it) {}", "both sets, all words: top-1 strict, regions, prior"),
    ("dealt at random reach {}", "both sets, all words: top-1 kind-of, labels shuffled, regions, prior"),
    ("half of the evidence, {}", "halves of the evidence: the same first name, regions, prior"),
    ("training, {}", "another seed's dictionary: the same first name, regions, prior"),
    ("can judge, {}", "our graph, kind-of: right by kind-of by masks, both sets"),
    ("part-of edges {}", "our graph, part-of: right by part-of by masks, both sets"),
)
NUMBERS = (
    ("calibration error is {}", "both sets, all words: top-1 kind-of, calibration error, of ours"),
    ("strict measure it is {}", "both sets, all words: top-1 strict, calibration error, of ours"),
    ("({} times chance)", "our graph, part-of: right by part-of by masks, clothing parts (210 judged), times chance"),
)


def test_limits_quote_the_benchmark_of_names() -> None:
    claims = {
        claim["claim"]: claim["value"] for claim in read_json(ROOT / "benchmarks" / "results" / "naming.json")["claims"]
    }
    text = " ".join((ROOT / "docs" / "limits.md").read_text(encoding="utf-8").lower().split())
    said = [sentence.format(f"{claims[claim] * 100:.0f} %") for sentence, claim in PERCENT]
    said += [sentence.format(f"{claims[claim]:.2f}") for sentence, claim in NUMBERS]
    assert [sentence for sentence in said if sentence not in text] == []
