"""The tables of figures, written from the JSON files in `benchmarks/results`: `python -m benchmarks.tables`.

One section a benchmark: what was measured on which data, and each claim with its value, target and 95 % interval. The
README has the claims with a target, `docs/figures.md` has all.
"""

from pathlib import Path
from typing import Any

from sae.files import atomic_write, read_json

ROOT = Path(__file__).parent.parent
RESULTS = ROOT / "benchmarks" / "results"
BEGIN, END = "<!-- tables -->", "<!-- end of tables -->"
HEAD = "# Figures\n\nAll claims of all benchmarks, written by `python -m benchmarks.tables` from `benchmarks/results`."

Record = dict[str, Any]


def table(record: Record, claims: list[Record]) -> str:
    """Claims of one benchmark's record as Markdown."""
    data, machine = record["data"], record["machine"]
    where = machine["accelerator"] or f"{machine['cores']} cores"
    split = f", {data['split']}" if data["split"] else ""
    images = f", {data['images']:,} images" if data["images"] else ""
    lines = [
        f"**`{record['benchmark']}`** on {data['name']}{split}{images}; {where}, "
        f"torch {record['versions']['torch']}",
        "",
        "| claim | measured | 95 % interval | target | holds |",
        "|---|---|---|---|---|",
    ]
    for claim in claims:
        holds = {True: "yes", False: "**no**", None: ""}[claim["holds"]]
        interval = f"[{', '.join(map(_number, claim['interval']))}]" if claim["interval"] else ""
        target = "" if claim["target"] is None else _number(claim["target"])
        lines.append(
            f"| {claim['claim']} | {_number(claim['value'])} {claim['unit'] or ''} | {interval} | {target} | {holds} |"
        )
    return "\n".join(lines)


def readme_with_tables(text: str, records: list[Record]) -> str:
    """The README's text with everything between the two markers written anew."""
    before, _, rest = text.partition(BEGIN)
    _, marker, after = rest.partition(END)
    if not marker:
        raise SystemExit(f"README.md: expected {BEGIN} and {END}, found them missing or out of order")
    aimed = [(record, [claim for claim in record["claims"] if claim["target"] is not None]) for record in records]
    return f"{before}{BEGIN}\n" + "\n\n".join(table(*found) for found in aimed if found[1]) + f"\n{END}{after}"


def all_figures(records: list[Record]) -> str:
    """The text of `docs/figures.md`."""
    return "\n\n".join([HEAD, *(table(record, record["claims"]) for record in records)]) + "\n"


def _number(value: Any) -> str:
    return f"{value:.3g}" if isinstance(value, float) else str(value)


def main() -> None:
    records = [read_json(file) for file in sorted(RESULTS.glob("*.json"))]
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    texts = {"README.md": readme_with_tables(readme, records), "docs/figures.md": all_figures(records)}
    for name, text in texts.items():
        with atomic_write(ROOT / name) as temporary:
            temporary.write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
