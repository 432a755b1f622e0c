"""The README's tables, written from the JSON files in `benchmarks/results`: `python -m benchmarks.tables`.

One section a benchmark: what was measured on which data, and each claim with its value, target and 95 % interval.
"""

from pathlib import Path
from typing import Any

from sae.files import atomic_write, read_json

ROOT = Path(__file__).parent.parent
RESULTS = ROOT / "benchmarks" / "results"
BEGIN, END = "<!-- tables -->", "<!-- end of tables -->"


def table(record: dict[str, Any]) -> str:
    """One benchmark's record as Markdown."""
    data, machine = record["data"], record["machine"]
    where = machine["accelerator"] or f"{machine['cores']} cores"
    images = f", {data['images']:,} images" if data["images"] else ""
    lines = [
        f"**`{record['benchmark']}`** on {data['name']}, {data['split']}{images}; {where}, "
        f"torch {record['versions']['torch']}",
        "",
        "| claim | measured | 95 % interval | target | holds |",
        "|---|---|---|---|---|",
    ]
    for claim in record["claims"]:
        holds = {True: "yes", False: "**no**", None: ""}[claim["holds"]]
        interval = f"[{', '.join(map(_number, claim['interval']))}]" if claim["interval"] else ""
        target = "" if claim["target"] is None else _number(claim["target"])
        lines.append(
            f"| {claim['claim']} | {_number(claim['value'])} {claim['unit'] or ''} | {interval} | {target} | {holds} |"
        )
    return "\n".join(lines)


def readme_with_tables(text: str, records: list[dict[str, Any]]) -> str:
    """The README's text with everything between the two markers written anew."""
    before, _, rest = text.partition(BEGIN)
    _, marker, after = rest.partition(END)
    if not marker:
        raise SystemExit(f"README.md: expected {BEGIN} and {END}, found them missing or out of order")
    return f"{before}{BEGIN}\n" + "\n\n".join(table(record) for record in records) + f"\n{END}{after}"


def _number(value: Any) -> str:
    return f"{value:.3g}" if isinstance(value, float) else str(value)


def main() -> None:
    readme = ROOT / "README.md"
    records = [read_json(file) for file in sorted(RESULTS.glob("*.json"))]
    text = readme_with_tables(readme.read_text(encoding="utf-8"), records)
    with atomic_write(readme) as temporary:
        temporary.write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
