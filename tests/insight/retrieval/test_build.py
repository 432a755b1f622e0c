"""Building: whole or not at all, going on where it stopped, refusing what is of something else."""

import dataclasses
import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from filelock import FileLock

from insight import InsightError
from insight.cache import FeatureCache
from insight.retrieval import ConceptIndex, build
from insight.retrieval.fingerprint import folder_beside

from ..cache.random_cache import random_cache
from ..cache.stand_in import contents
from .worlds import World, make_model, make_world

ROOT = Path(__file__).parents[3]


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> World:
    return make_world(tmp_path_factory.mktemp("world"))


def build_index(world: World, folder: Path, **settings: int) -> ConceptIndex:
    return ConceptIndex.build(world.model, world.cache, folder, progress=False, **settings)


@pytest.mark.parametrize("every", [pytest.param(7, marks=pytest.mark.slow), pytest.param(1, marks=pytest.mark.soak)])
def test_killed_at_any_step_it_is_no_index_or_a_whole_one_and_is_finished_by_the_next_run(
    tmp_path: Path, every: int
) -> None:
    first = int(np.random.default_rng().integers(1, every + 1))
    command = [sys.executable, "-m", "tests.insight.retrieval.kill_server", str(tmp_path), str(first), str(every)]
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=400)
    assert done.returncode == 0, done.stderr
    assert len(done.stdout.split()) >= 14 // every  # two parts alone have six files, what is merged has seven


def test_a_stopped_run_does_not_read_again_what_it_had(
    world: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    read: list[int] = []
    read_part = build._read_part

    def counted(work, sae, cache, about, number):
        if len(read) == 2:
            read.append(-1)
            raise KeyboardInterrupt
        read.append(number)
        return read_part(work, sae, cache, about, number)

    monkeypatch.setattr(build, "_read_part", counted)
    with pytest.raises(KeyboardInterrupt):
        build_index(world, tmp_path / "index", part_images=4)
    assert not (tmp_path / "index").exists()
    with pytest.raises(InsightError, match="expected an index, found one that is not finished"):
        ConceptIndex.open(tmp_path / "index", world.model)
    build_index(world, tmp_path / "index", part_images=4)
    assert read == [0, 1, -1, 2, 3]
    whole = contents(build_index(world, tmp_path / "other", part_images=4).folder)
    assert contents(tmp_path / "index") == whole


def test_parts_do_not_change_what_is_found(world: World, tmp_path: Path) -> None:
    query = world.query(np.random.default_rng())
    one, many = (build_index(world, tmp_path / f"{n}", part_images=n) for n in (1000, 1))
    assert (len(list(one.folder.glob("*-photos.faiss"))), len(list(many.folder.glob("*-photos.faiss")))) == (1, 14)
    for name in ("offsets.npy", "images.npy"):
        assert (one.folder / name).read_bytes() == (many.folder / name).read_bytes()
    for ask in ({"concepts": [3, (4, 5)]}, {"like": query}):
        for found, expected in zip(many.images(**ask), one.images(**ask), strict=True):
            assert found.score == pytest.approx(expected.score, abs=1e-5)


def test_an_index_that_is_there_is_opened_and_a_moved_one_with_its_cache_too(world: World, tmp_path: Path) -> None:
    found = build_index(world, tmp_path / "index").images(concepts=3)
    before = contents(tmp_path / "index")
    assert build_index(world, tmp_path / "index").images(concepts=3) == found
    assert contents(tmp_path / "index") == before
    (tmp_path / "index").rename(tmp_path / "moved")
    assert ConceptIndex.open(tmp_path / "moved", world.model).images(concepts=3) == found
    assert ConceptIndex.open(tmp_path / "moved", world.model, world.cache.folder).images(concepts=3) == found


def test_an_index_knows_its_size(world: World, tmp_path: Path) -> None:
    index = build_index(world, tmp_path / "index")
    held = sum(len(data) for name, data in contents(index.folder).items() if name not in ("index.json", ".lock"))
    assert index.bytes_per_image == pytest.approx(held / 14)


def test_another_dictionary_and_another_cache_are_refused(world: World, tmp_path: Path) -> None:
    index = build_index(world, tmp_path / "index")
    other = make_model(np.random.default_rng())
    with pytest.raises(InsightError, match="expected an index of the dictionary with fingerprint"):
        ConceptIndex.open(index.folder, other)
    grown = make_world(tmp_path)
    with pytest.raises(InsightError, match="expected an index of the cache with fingerprint"):
        ConceptIndex.open(index.folder, world.model, grown.cache)
    foreign = random_cache(tmp_path / "foreign", dim=world.cache.dim)
    with pytest.raises(InsightError, match="expected features of the backbone with fingerprint"):
        ConceptIndex.build(world.model, foreign, tmp_path / "none")
    beside = {folder_beside(*pair) for pair in ((world.model.sae, world.cache), (other.sae, world.cache))}
    assert len(beside | {folder_beside(world.model.sae, grown.cache)}) == 3


def test_what_was_begun_for_something_else_is_not_gone_on_with(
    world: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def stopped(*_: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(build.postings, "merge_parts", stopped)
        with pytest.raises(KeyboardInterrupt):
            build_index(world, tmp_path / "index")
    with pytest.raises(InsightError, match="an index was begun here of another model or cache, or with other settings"):
        build_index(world, tmp_path / "index", patches=5)
    build_index(world, tmp_path / "index")


def test_files_of_others_and_other_builders_are_left_alone(world: World, tmp_path: Path) -> None:
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "letter.txt").write_text("dear")
    with pytest.raises(InsightError, match="expected no folder or an empty one, found files"):
        build_index(world, tmp_path / "mine")
    assert contents(tmp_path / "mine") == {"letter.txt": b"dear"}
    assert not (tmp_path / "mine.unfinished").exists()
    (tmp_path / "busy.unfinished").mkdir()
    with (
        FileLock(tmp_path / "busy.unfinished" / ".lock"),
        pytest.raises(InsightError, match="another process is building this index"),
    ):
        build_index(world, tmp_path / "busy")
    (tmp_path / "empty").mkdir()
    assert len(build_index(world, tmp_path / "empty").images(concepts=3))


@pytest.mark.parametrize("file", ["images.npy", "ids.utf8", "00000-photos.faiss"])
def test_a_file_cut_short_or_gone_is_named(world: World, tmp_path: Path, file: str) -> None:
    index = build_index(world, tmp_path / "index")
    path = index.folder / file
    path.write_bytes(path.read_bytes()[:-1])
    with pytest.raises(InsightError, match=f"{file}: damaged: expected a file of"):
        ConceptIndex.open(index.folder, world.model)
    path.unlink()
    with pytest.raises(InsightError, match=f"{file}: damaged: expected a file of"):
        ConceptIndex.open(index.folder, world.model)


def test_another_version_and_no_index_are_refused(world: World, tmp_path: Path) -> None:
    index = build_index(world, tmp_path / "index")
    about = json.loads((index.folder / "index.json").read_text())
    (index.folder / "index.json").write_text(json.dumps(about | {"format_version": 2}))
    with pytest.raises(InsightError, match="expected insight-retrieval version 1"):
        ConceptIndex.open(index.folder, world.model)
    (index.folder / "index.json").write_text(json.dumps({k: v for k, v in about.items() if k != "parts"}))
    with pytest.raises(InsightError, match=r"index\.json: damaged: expected parts"):
        ConceptIndex.open(index.folder, world.model)
    with pytest.raises(InsightError, match="nothing: expected an index, found none"):
        ConceptIndex.open(tmp_path / "nothing", world.model)
    for wrong in ({"patches": 0}, {"part_images": 0}):
        with pytest.raises(InsightError, match="expected 1 or more, found 0"):
            build_index(world, tmp_path / "index", **wrong)


def test_features_that_are_no_numbers_are_refused(world: World, tmp_path: Path) -> None:
    features = torch.randn(3, 72, world.cache.dim)
    features[1, 5, 2] = torch.nan
    from ..cache.made import make_cache
    from .worlds import GRID

    cache = FeatureCache.open(make_cache(tmp_path / "cache", features, [3], grid=GRID).folder)
    with pytest.raises(InsightError, match="found NaN or infinity"):
        ConceptIndex.build(world.model, cache, tmp_path / "index", progress=False)
    assert not (tmp_path / "index").exists()


def test_hits_are_of_what_the_model_calls_its_concepts(world: World, tmp_path: Path) -> None:
    """Names are read when one asks, not when one builds."""
    index = build_index(world, tmp_path / "index")
    model = world.model
    renamed = [dataclasses.replace(concept, name=f"thing {concept.id}") for concept in model.concepts]
    other = type(model)(model.sae, renamed, model.relations, model.config, backbone=model.backbone)
    assert ConceptIndex.open(index.folder, other).images(concepts="thing 3").found == index.images(concepts=3).found
