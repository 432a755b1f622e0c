"""From a model's folder to a `Report`. What the folder does not have is left out, and `missing` says so."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from sae import SparseAutoencoder
from sae.errors import InsightError
from sae.files import read_json

from ..cache import FeatureCache
from ..cache.derived.facts import cache_facts
from ..model import ConceptModel
from ..models import model_folder
from ..pipeline import describe_model
from .card import card_sections, readme_text
from .corpus import cache_quality
from .dictionary import activity_of, levels_of, names_of, stored_quality, trained_activity
from .edits import edit_lines
from .heads import head_table
from .limits import LIMITS
from .samples import sampled_cards
from .tree import concept_tree
from .values import Report


def collect(
    model: Path | str,
    *,
    photos: Path | None = None,
    heads: Sequence[Path | str] = (),
    cache: Path | str | None = None,
    device: str = "cpu",
) -> Report:
    """All that is said of a model: a folder, or the name of one that comes with the package.

    photos: folder of the photographs it was built from, for crops; heads: folders of classifiers and segmenters fitted
    on it; cache: a feature cache of its backbone, to describe and to measure the dictionary on. `InsightError` for what
    is not there or is of another model. A model that is not related or named yet gets a shorter report.
    """
    folder = model_folder(model)
    config = read_json(folder / "config.json")
    related = "backbone" in config and (folder / "relations.npz").exists()
    loaded = ConceptModel.from_pretrained(folder, device=device) if related else None
    sae = SparseAutoencoder.from_pretrained(folder).to(device) if loaded is None else loaded.sae
    if loaded is None and (photos or heads):
        raise InsightError(f"{folder}: expected a related model for --photos and --heads; run `insight relate` first")
    if photos is not None and not photos.is_dir():
        raise InsightError(f"{photos}: expected the folder of the photographs that the model was built from")

    tables = tuple(head_table(Path(head), loaded) for head in heads) if loaded else ()
    names = None if loaded is None else names_of(loaded.concepts, config)
    examples = (folder / "examples.parquet").exists()
    missing = []
    if not config.get("quality"):
        missing.append("config.json has no measures of training, so what is left unexplained is not known.")
    if loaded is None:
        missing.append("The model has no relations yet (`insight relate`), so there are no tree, names or crops.")
    elif names is None:
        missing.append("The concepts have no names yet (`insight name`).")
    if photos and not examples:
        missing.append("The folder has no examples.parquet (`insight relate`), so there are no crops.")

    quality = stored_quality(config)
    store = None if cache is None else FeatureCache.open(cache)
    if store is not None:
        if "backbone" in config:
            store.require(config["backbone"]["fingerprint"])
        quality = (*quality, cache_quality(sae, store))
    return Report(
        name=folder.resolve().name,
        facts=describe_model(config),
        card=card_sections(folder),
        readme=readme_text(folder),
        limits=LIMITS,
        missing=tuple(missing),
        quality=quality,
        levels=levels_of(sae.config, *((loaded.concepts, loaded.relations) if loaded else (None, None))),
        activity=activity_of(sae.config, loaded.concepts, loaded.relations) if loaded else trained_activity(config),
        names=names,
        tree=None if loaded is None else concept_tree(loaded.concepts, loaded.relations),
        cards=sampled_cards(loaded, folder, photos) if loaded and photos and examples else (),
        heads=tables,
        edits=edit_lines(folder) if loaded else (),
        cache={} if store is None else cache_facts(store),
    )
