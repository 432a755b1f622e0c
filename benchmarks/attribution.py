"""Whether maps of texts stand where the things stand, what a model loses without what they show, and what they cost.

    python -m benchmarks.attribution --json FILE --data DIR --work DIR [--model MODEL] [--photos N] [--changed N]
        [--sets NAMES] [--xray DIR --lungs DIR] [--parts PARTS] [--quick]

DIR of --data holds the sets in the layouts of this project's documents; --xray chest X-rays (`train/CLASS`,
`test/CLASS`) and --lungs masks of some of them by the same names, which make a set too. Test photographs of each set,
drawn with a seed, are asked about the labels that stand in them ("a photo of a cow"), by every explainer of
`benchmarks/maps/settings.py`, of the encoder's cosines; maps are held against masks, then photos are changed by the
maps and the encoder is asked again (`benchmarks.methods` asks fitted models and concept heads). An explainer that is
wrong on purpose shows that the measures can fail. M2IB is timed beside its published way on a tower of random weights.
Parts, by commas: "masks", "changes", "speed". All settings are defaults or stand in that file; nothing was chosen on
these photographs.
"""

from __future__ import annotations

import argparse
from pathlib import Path

from benchmarks.concepts.material import MASKED
from benchmarks.heads.caches import Workplace
from benchmarks.heads.masked import read_lungs, read_masked
from benchmarks.heads.named import read_xrays
from benchmarks.heads.options import FEW
from benchmarks.maps import settings
from benchmarks.maps.cases import cases_of
from benchmarks.maps.claims import claims_of
from benchmarks.maps.rows import CHANGES, PLACES, rows_of
from benchmarks.maps.speed import speed_rows
from benchmarks.maps.wrong import UpsideDown
from benchmarks.record import write_record
from insight import ConceptModel
from insight.evaluation.judging import judge
from sae.errors import InsightError

ROUNDS = 3
PARTS = ("masks", "changes", "speed")


def main(arguments: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", type=Path, required=True)
    parser.add_argument("--data", type=Path, required=True, help="folder of the sets of photographs")
    parser.add_argument("--work", type=Path, required=True, help="folder for what is made once")
    parser.add_argument("--model", default="small", help="concept model: a folder or the name of a shipped one")
    parser.add_argument("--photos", type=int, default=settings.PHOTOS)
    parser.add_argument("--changed", type=int, default=settings.CHANGED)
    parser.add_argument("--sets", default=",".join(MASKED), help="names of sets, by commas; \"\" for none")
    parser.add_argument("--xray", type=Path, help="folder of chest X-rays")
    parser.add_argument("--lungs", type=Path, help="folder of masks of lungs, by the names of the X-rays")
    parser.add_argument("--parts", default=",".join(PARTS))
    parser.add_argument("--quick", action="store_true", help="a smoke test: two photographs, cheap settings")
    options = parser.parse_args(arguments)
    quick = options.quick
    photos, changed = (2, 1) if quick else (options.photos, options.changed)
    parts = options.parts.split(",")
    if unknown := set(parts) - set(PARTS):
        raise InsightError(f"--parts: expected some of {', '.join(PARTS)}, found {', '.join(sorted(unknown))}")

    model = ConceptModel.from_pretrained(options.model)
    place = Workplace(options.work, model.backbone.name, FEW if quick else None)
    sets = []
    if options.sets:
        train, test = place.general(options.data, "train"), place.general(options.data, "test")
        sets += [read_masked(options.data, name, train, test) for name in options.sets.split(",")]
    if options.xray and options.lungs:
        sets.append(read_lungs(read_xrays(options.xray, place).cache, options.lungs))
    explainers = settings.explainers_of(model, quick)
    wrong = {settings.WRONG: UpsideDown(explainers["similarity"])}
    models = {model.backbone.name: model.backbone}
    rows, images = [], 0
    for masked in sets:
        cases = cases_of(masked, photos, settings.SEED)
        images += len(cases)
        if "masks" in parts:
            judged = judge({**explainers, **wrong}, models, cases, perturb=False)
            rows += shown(rows_of("masks", masked.name, judged, PLACES))
        if "changes" in parts:
            steps = 3 if quick else settings.STEPS
            judged = judge({**explainers, **wrong}, models, cases[:changed], steps=steps, cell=settings.CELL)
            rows += shown(rows_of("changes", masked.name, judged, CHANGES))
    if "speed" in parts:
        rows += shown(speed_rows(1, steps=2, samples=1) if quick else speed_rows(ROUNDS))
    constants = {name.lower(): value for name, value in vars(settings).items() if name.isupper()}
    write_record(
        options.json,
        benchmark="attribution",
        data={"name": ", ".join(masked.name for masked in sets), "images": images, "split": "test"},
        settings={**constants, "photos": photos, "changed": changed, "model": options.model, "quick": quick},
        rows=rows,
        claims=claims_of(rows),
        packages=["captum", "open_clip_torch"],
    )


def shown(rows: list[dict]) -> list[dict]:
    """The rows, each said to a person."""
    for row in rows:
        bounds = "" if row["interval"] is None else "[{:.3f}, {:.3f}]".format(*row["interval"])
        keys = ("part", "data", "model", "by", "how", "figure", "against")
        print(" | ".join(str(row[key]) for key in keys if row.get(key)), f"{row['value']:.4f}", bounds, flush=True)
    return rows


if __name__ == "__main__":
    main()
