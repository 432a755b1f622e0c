"""Whether pixels are labelled as well from concepts as from the features they were read from.

    python -m benchmarks.segmentation --json FILE --data DIR --work DIR [--birds DIR] [--extra NAME=SPEC ...]
        [--only KINDS] [--seeds N] [--quick]

DIR of --data holds `imagenet-200x5`, `coco-captions`, `msrc` and `clothing-parts` in the layouts of this project's
documents; the dictionaries are trained on their training photographs, and pixels are those of the test splits of the
two masked sets (of the centre square, 224 × 224). --extra adds any source with masks and a split that
`insight.data.open_source` knows. Caches and dictionaries are kept in --work.

Patches are labelled with texts alone (by the features themselves, and by what a dictionary reconstructs of them), and
by linear heads trained on the training photographs: on the features, and on codes; of each patch alone, and for the
features and our dictionaries also with the mean of the patches around it. Scores of patches are drawn out bilinearly.
All settings stand in `benchmarks/heads/settings.py`; heads choose theirs on training photographs.
"""

from __future__ import annotations

from benchmarks.concepts.material import MASKED
from benchmarks.heads.masked import read_any_masked, read_masked
from benchmarks.heads.options import Setting, parser_of, read_options, show
from benchmarks.heads.segmented_claims import claims_of
from benchmarks.heads.segmented_rows import rows_of
from benchmarks.heads.settings import OURS, SEGMENTED
from benchmarks.record import write_record


def main(arguments: list[str] | None = None) -> None:
    options = read_options(parser_of(__doc__), arguments)
    setting = Setting(options)
    held_out = setting.held_out()
    sets = [read_masked(options.data, name, setting.general, held_out) for name in MASKED]
    sets += [read_any_masked(name, spec, setting.place) for name, spec in options.extra]
    kinds = setting.kinds(SEGMENTED)
    dictionaries = setting.maker.make(kinds, once=[name for name in kinds if name != OURS])
    rows = []
    for masked in sets:
        found = rows_of(masked, dictionaries, setting.texts.vectors(masked.labels))
        for row in found:
            show(row)
        rows += found
    write_record(
        options.json,
        benchmark="segmentation",
        data={
            "name": ", ".join(f"{masked.name} ({len(masked.test):,})" for masked in sets),
            "images": sum(len(masked.test) for masked in sets),
            "split": "test",
        },
        settings=setting.described(kinds),
        rows=rows,
        claims=claims_of(rows),
        packages=["scikit-learn"],
    )


if __name__ == "__main__":
    main()
