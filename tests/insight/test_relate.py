"""`relate`: what one pass over a cache leaves in a model's folder, by one process and by two."""

import json
import os
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch

import insight.pipeline.relate as module
from insight.cache import FeatureCache
from insight.examples import load_examples
from insight.pipeline import relate_concepts
from naming import ConceptGraph, Evidence
from sae import InsightError, SaeConfig, SparseAutoencoder, evaluate

from .cache.stand_in import StandIn, contents, make_photos, write

ROOT = Path(__file__).parents[2]
CONCEPTS, DEAD = 24, 5
RELATE = """
import json, sys
from pathlib import Path
from insight.cache import FeatureCache
from insight.pipeline import relate_concepts
from sae.errors import InsightError
for model, cache, settings in json.loads(sys.argv[1]):
    try:
        print(len(relate_concepts(Path(model), FeatureCache.open(cache), **settings).frequency), flush=True)
    except InsightError as error:
        print(error, flush=True)
"""


@pytest.fixture(scope="module")
def cache(tmp_path_factory: pytest.TempPathFactory) -> FeatureCache:
    """22 images in shards of four."""
    folder = tmp_path_factory.mktemp("cache")
    return write(make_photos(folder / "photos", 22), folder / "cache")


@pytest.fixture(autouse=True)
def _one_thread() -> Iterator[None]:
    """As the processes that are started: with more, products may round in another way."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.fixture
def model(cache: FeatureCache, tmp_path: Path) -> Path:
    """A dictionary with random rows; the concept `DEAD` never fires."""
    seed = int.from_bytes(os.urandom(3), "little")
    print(f"seed {seed}")
    generator = torch.Generator().manual_seed(seed)
    sae = SparseAutoencoder(
        SaeConfig(dim=cache.dim, n_concepts=CONCEPTS, k=4, fractions=(0.25, 0.75), selection="relu")
    )
    with torch.no_grad():
        for rows in (sae.encoder, sae.decoder):
            rows.copy_(torch.nn.functional.normalize(torch.randn(rows.shape, generator=generator), dim=1))
        sae.decoder_bias.copy_(next(cache.scan())[1].mean(0))
        sae.encoder_bias[DEAD] = -1e6
    sae.save_pretrained(tmp_path / "model", {"backbone": cache.encoder})
    return tmp_path / "model"


def copied(model: Path, name: str) -> Path:
    other = model.with_name(name)
    SparseAutoencoder.from_pretrained(model).save_pretrained(other, json.loads((model / "config.json").read_text()))
    return other


def two_processes(*jobs: tuple[Path, Path, dict[str, object]]) -> list[list[str]]:
    """Relate (model, cache, settings) one after the other by two processes as torchrun starts them: what each said."""
    with socket.socket() as free:
        free.bind(("localhost", 0))
        port = str(free.getsockname()[1])
    run = {"MASTER_ADDR": "localhost", "MASTER_PORT": port, "TORCHELASTIC_RUN_ID": "test", "OMP_NUM_THREADS": "1"}
    processes = [
        subprocess.Popen(
            [sys.executable, "-c", RELATE, json.dumps(jobs, default=str)],
            cwd=ROOT,
            env=os.environ | run | {"WORLD_SIZE": "2", "RANK": str(rank), "LOCAL_RANK": str(rank)},
            stdout=subprocess.PIPE,
            text=True,
        )
        for rank in range(2)
    ]
    return [process.communicate(timeout=200)[0].splitlines() for process in processes]


def assert_same_sums(one: Evidence, other: Evidence) -> None:
    assert one.images_seen == other.images_seen
    for name in ("tokens", "images"):
        assert np.array_equal(getattr(one, name).counts.toarray(), getattr(other, name).counts.toarray())
        weighted = (getattr(one, name).weighted.toarray(), getattr(other, name).weighted.toarray())
        np.testing.assert_allclose(*weighted, rtol=1e-12)
    for name in ("covered_images", "inside", "beside"):
        assert np.array_equal(getattr(one.regions, name).toarray(), getattr(other.regions, name).toarray())
    for name in ("exemplars", "examples"):
        tables = zip(getattr(one, name).table(), getattr(other, name).table(), strict=True)
        assert all(torch.equal(*arrays) for arrays in tables)
    np.testing.assert_allclose(one.features.means(), other.features.means(), rtol=1e-4, atol=1e-5)


def test_the_folder_holds_the_evidence_of_all_codes(model: Path, cache: FeatureCache) -> None:
    graph = relate_concepts(model, cache)
    sae = SparseAutoencoder.from_pretrained(model).eval()
    expected = Evidence(CONCEPTS, cache.grid, cache.dim)
    for first, features in cache.scan():
        expected.update(sae.encode(features), features, first // cache.tokens_per_image)
    found = Evidence.load(model / "evidence")
    assert_same_sums(found, expected)
    assert found.images_seen == cache.n_images == 22
    assert found.most_partners is None
    assert np.array_equal(graph.frequency, found.tokens.frequency)
    config = json.loads((model / "config.json").read_text())
    assert set(config["relations"]) == {"threshold", "min_support", "q", "min_lift"}
    assert config["quality"]["l0"] == pytest.approx(found.tokens.frequency.sum() / cache.n_tokens)
    assert graph.frequency[DEAD] == 0
    assert len(graph.parents(DEAD)) == 0
    assert load_examples(model / "examples.parquet", [DEAD]) == {DEAD: []}
    assert not found.features.mean()[DEAD].any()


def test_examples_are_located_where_the_concept_is_strongest(model: Path, cache: FeatureCache) -> None:
    relate_concepts(model, cache)
    sae = SparseAutoencoder.from_pretrained(model).eval()
    ids = cache.index["id"].to_pylist()
    dense = torch.cat([sae.encode(features).dense() for _, features in cache.scan()]).view(22, *cache.grid, CONCEPTS)
    examples = load_examples(model / "examples.parquet", range(CONCEPTS))
    for concept, found in examples.items():
        assert len(found) == int((dense[..., concept].amax((1, 2)) > 0).sum())  # fewer than 30 images
        for example in found:
            map_ = dense[ids.index(example.image), ..., concept]
            assert float(map_[example.row, example.column]) == pytest.approx(example.activation) == float(map_.max())


@pytest.mark.slow
def test_two_processes_write_what_one_does_and_refuse_what_one_refuses(
    model: Path, cache: FeatureCache, tmp_path: Path
) -> None:
    other = write(make_photos(tmp_path / "photos", 3), tmp_path / "other", StandIn("2"))
    small = write(make_photos(tmp_path / "photos", 3), tmp_path / "small")  # one piece: one process gets none
    together, little, alone, little_alone = (copied(model, f"model {number}") for number in range(4))
    settings = {"min_support": 5}
    said = two_processes(
        (together, cache.folder, settings), (little, small.folder, settings), (together, other.folder, settings)
    )
    for lines in said:
        assert lines[:2] == [str(CONCEPTS)] * 2
        assert "fingerprint" in lines[2] or "backbone" in lines[2]
    for shared, single, features in ((together, alone, cache), (little, little_alone, small)):
        relate_concepts(single, features, min_support=5)
        assert_same_sums(Evidence.load(shared / "evidence"), Evidence.load(single / "evidence"))
        assert contents(shared).keys() == contents(single).keys()
        assert (shared / "examples.parquet").read_bytes() == (single / "examples.parquet").read_bytes()
        assert (shared / "concepts.parquet").read_bytes() == (single / "concepts.parquet").read_bytes()
        graphs = [ConceptGraph.load(folder / "relations.npz") for folder in (shared, single)]
        assert np.array_equal(graphs[0].parent_ids, graphs[1].parent_ids)
        configs = [json.loads((folder / "config.json").read_text()) for folder in (shared, single)]
        qualities = [config.pop("quality") for config in configs]
        assert configs[0] == configs[1]
        for name, value in qualities[0].items():
            assert value == pytest.approx(qualities[1][name], rel=1e-9)


def test_another_backbone_and_no_backbone_leave_the_folder_as_it_was(
    model: Path, cache: FeatureCache, tmp_path: Path
) -> None:
    relate_concepts(model, cache)
    before = contents(model)
    other = write(make_photos(tmp_path / "photos", 2), tmp_path / "other", StandIn("2"))
    with pytest.raises(InsightError, match="expected"):
        relate_concepts(model, other)
    assert contents(model) == before
    SparseAutoencoder.from_pretrained(model).save_pretrained(tmp_path / "bare")
    with pytest.raises(InsightError, match="an autoencoder without a backbone"):
        relate_concepts(tmp_path / "bare", cache)


@pytest.mark.parametrize("step", ["evaluate", "build_graph", "save_examples", "save_concepts", "write_json"])
def test_what_breaks_off_leaves_whole_files_and_is_done_again_from_the_start(
    model: Path, cache: FeatureCache, monkeypatch: pytest.MonkeyPatch, step: str
) -> None:
    relate_concepts(model, cache)
    expected = contents(model)
    left = model / "evidence" / "part-1"  # by a run of two that was killed
    Evidence(3, (1, 1), 2).save(left)
    with monkeypatch.context() as patch:

        def stop(*args: object, **options: object) -> None:
            raise KeyboardInterrupt

        patch.setattr(module, step, stop)
        with pytest.raises(KeyboardInterrupt):
            relate_concepts(model, cache, min_lift=3.0)
    assert not any(name.endswith(".part") for name in contents(model))
    ConceptGraph.load(model / "relations.npz")
    Evidence.load(model / "evidence")
    load_examples(model / "examples.parquet", [0])
    relate_concepts(model, cache)
    assert contents(model) == expected


def test_a_bound_on_partners_is_kept_and_is_the_default_of_large_dictionaries(
    model: Path, cache: FeatureCache, monkeypatch: pytest.MonkeyPatch
) -> None:
    relate_concepts(model, cache, most_partners=4)
    bounded = Evidence.load(model / "evidence")
    assert bounded.most_partners == 4
    assert np.diff(bounded.tokens.counts.indptr).max() <= 5
    assert bounded.tokens.missed.any()
    monkeypatch.setattr(module, "LARGE", CONCEPTS - 1)
    monkeypatch.setattr(module, "PARTNERS_OF_LARGE", 6)
    relate_concepts(model, cache)
    assert Evidence.load(model / "evidence").most_partners == 6
    with pytest.raises(InsightError, match="most_partners: expected at least 1"):
        relate_concepts(model, cache, most_partners=0)


def test_quality_is_that_of_all_tokens(model: Path, cache: FeatureCache) -> None:
    relate_concepts(model, cache)
    sae = SparseAutoencoder.from_pretrained(model).eval()
    expected = evaluate(sae, [features for _, features in cache.scan()])
    quality = json.loads((model / "config.json").read_text())["quality"]
    for name, value in expected.items():
        assert quality[name] == pytest.approx(value, rel=1e-6)
