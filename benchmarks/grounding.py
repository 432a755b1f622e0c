"""Whether concepts stand where labelled things stand: in masks of objects, of garments and body parts, and of lungs.

    python -m benchmarks.grounding --json FILE --data DIR --work DIR [--xray DIR --lungs DIR] [--birds DIR]
        [--extra NAME=SPEC ...] [--only KINDS] [--seeds N] [--quick]

DIR of --data holds `imagenet-200x5`, `coco-captions`, `msrc` and `clothing-parts` in the layouts of this project's
documents; the dictionaries are trained on their training photographs and measured on the test splits of the two masked
sets. --xray holds chest X-rays (`train/CLASS`, `test/CLASS`) and --lungs masks of some of them by the same names
(`test/CLASS/NAME.png`). --extra adds any source with masks and a split that `insight.data.open_source` knows. Caches
and dictionaries are kept in --work.

Locality, consistency and impurity are those of `insight.evaluation`, on the grid of the patches, with the strongest
concepts of an image and with all; "background" counts as no label. What is chosen (the concept of a label, its
threshold) is chosen on training photographs where the figure says so; consistency as published chooses on the test
photographs. All settings stand in `benchmarks/heads/settings.py`.
"""

from __future__ import annotations

from pathlib import Path

from benchmarks.concepts.material import MASKED
from benchmarks.heads.grounded_claims import claims_of
from benchmarks.heads.grounded_rows import rows_of
from benchmarks.heads.masked import read_any_masked, read_lungs, read_masked
from benchmarks.heads.named import read_xrays
from benchmarks.heads.options import Setting, parser_of, read_options, show
from benchmarks.heads.pointed_rows import rows_of as pointed_rows_of
from benchmarks.heads.settings import GROUNDED, MINE
from benchmarks.record import write_record


def main(arguments: list[str] | None = None) -> None:
    parser = parser_of(__doc__)
    parser.add_argument("--xray", type=Path, help="folder of chest X-rays")
    parser.add_argument("--lungs", type=Path, help="folder of masks of lungs, by the names of the X-rays")
    options = read_options(parser, arguments)
    setting = Setting(options)
    held_out = setting.held_out()
    sets = [read_masked(options.data, name, setting.general, held_out) for name in MASKED]
    sets += [read_any_masked(name, spec, setting.place) for name, spec in options.extra]
    pointed = list(sets)
    if options.xray and options.lungs:
        pointed.append(read_lungs(read_xrays(options.xray, setting.place).cache, options.lungs))
    kinds = setting.kinds(GROUNDED)
    dictionaries = setting.maker.make(kinds, once=[name for name in kinds if name not in MINE])
    rows = []
    for masked in pointed:
        found = rows_of(masked, dictionaries) if masked in sets else []
        found += pointed_rows_of(masked, dictionaries)
        for row in found:
            show(row)
        rows += found
    write_record(
        options.json,
        benchmark="grounding",
        data={
            "name": ", ".join(f"{masked.name} ({len(masked.test):,})" for masked in pointed),
            "images": sum(len(masked.test) for masked in pointed),
            "split": "test",
        },
        settings=setting.described(kinds),
        rows=rows,
        claims=claims_of(rows),
    )


if __name__ == "__main__":
    main()
