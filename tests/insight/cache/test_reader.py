"""Reading a cache: in order, by image, shuffled from any step; and every damage is found and named."""

import json
import shutil
from itertools import islice
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch

from insight.cache import FeatureCache
from insight.cache.shard import sha256_of
from sae.errors import InsightError

from .stand_in import StandIn, write


@pytest.fixture
def copy(cache: FeatureCache, tmp_path: Path) -> Path:
    """The finished cache in a folder that may be damaged."""
    return Path(shutil.copytree(cache.folder, tmp_path / "copy"))


def rewrite_manifest(folder: Path, **fields: object) -> None:
    manifest = json.loads((folder / "manifest.json").read_text())
    (folder / "manifest.json").write_text(json.dumps(manifest | fields))


def all_tokens(cache: FeatureCache) -> torch.Tensor:
    return torch.cat([piece for _, piece in cache.scan()])


def token_numbers(cache: FeatureCache, batch: torch.Tensor) -> list[int]:
    """Which tokens a batch holds; the photos are noise, so every token is its own."""
    same = (batch[:, None] == all_tokens(cache)).all(-1)
    assert (same.sum(1) == 1).all()
    return same.int().argmax(1).tolist()


def test_what_the_cache_is(cache: FeatureCache) -> None:
    assert (cache.dim, cache.grid, cache.n_images, cache.n_tokens) == (8, (3, 2), 23, 138)
    assert (cache.backbone, cache.fingerprint) == ("stand-in", StandIn().fingerprint)


@pytest.mark.parametrize("batch_tokens", [1, 6, 13, 24, 10**6])
def test_a_scan_reads_every_token_in_order(cache: FeatureCache, batch_tokens: int) -> None:
    expected = 0
    for first, piece in cache.scan(batch_tokens):
        assert first == expected
        assert piece.dtype == torch.float32
        assert 6 <= len(piece) <= max(6, batch_tokens)
        for offset in range(0, len(piece), 6):
            assert torch.equal(piece[offset : offset + 6], cache.image((first + offset) // 6))
        expected += len(piece)
    assert expected == cache.n_tokens


def test_a_token_is_located_on_its_image(cache: FeatureCache) -> None:
    assert cache.locate(0) == (0, 0, 0)
    assert cache.locate(6 * 7 + 5) == (7, 2, 1)
    places = [(image, row, column) for image in range(23) for row in range(3) for column in range(2)]
    assert [cache.locate(token) for token in range(138)] == places


@pytest.mark.parametrize("number", [-1, 138])
def test_numbers_out_of_range_are_refused(cache: FeatureCache, number: int) -> None:
    with pytest.raises(InsightError, match="token: expected a number from 0 to 137"):
        cache.locate(number)
    with pytest.raises(InsightError, match="image: expected a number from 0 to 22"):
        cache.image(number)


@pytest.mark.parametrize("dtype", ["float32", "bfloat16", "float16", "int8"])
@pytest.mark.parametrize("memory", [1 << 20, 1])
def test_an_epoch_holds_every_token_once(photos: Path, tmp_path: Path, dtype: str, memory: int) -> None:
    write(photos, tmp_path / "out", dtype=dtype, shard_images=16)
    cache = FeatureCache.open(tmp_path / "out", shuffle_memory=memory)
    epochs = islice(cache.batches(20, seed=5), 21)  # 420 tokens: three epochs of 138 and six of the fourth
    seen = [token for batch in epochs for token in token_numbers(cache, batch)]
    orders = [seen[start : start + 138] for start in (0, 138, 276)]
    assert all(sorted(order) == list(range(138)) for order in orders)
    assert orders[0] != orders[1] != orders[2] != orders[0]


@pytest.mark.parametrize("memory", [1 << 20, 64 * (32 + 8), 1])
@pytest.mark.parametrize("batch_size", [1, 7, 46, 150])
def test_batches_begin_at_any_step(cache: FeatureCache, memory: int, batch_size: int) -> None:
    cache = FeatureCache.open(cache.folder, shuffle_memory=memory)
    whole = list(islice(cache.batches(batch_size, seed=1), 25))
    assert all(batch.shape == (batch_size, 8) and batch.dtype == torch.float32 for batch in whole)
    for step in (1, 6, 19, 24):
        again = next(cache.batches(batch_size, seed=1, start_step=step))
        assert torch.equal(again, whole[step])
    assert not torch.equal(whole[0], next(cache.batches(batch_size, seed=2)))


def test_a_batch_belongs_to_who_asked_for_it(cache: FeatureCache) -> None:
    batch = next(cache.batches(138, seed=0))
    batch.zero_()
    assert next(cache.batches(138, seed=0)).abs().sum() > 0
    stream = cache.batches(138, seed=0)
    next(stream).zero_()
    assert next(stream).abs().sum() > 0


@pytest.mark.parametrize("wrong", [{"batch_size": 0}, {"seed": -1}, {"start_step": -1}])
def test_batches_that_make_no_sense_are_refused_at_once(cache: FeatureCache, wrong: dict[str, int]) -> None:
    with pytest.raises(InsightError, match="at least"):
        cache.batches(**{"batch_size": 4, "seed": 0, **wrong})


def test_another_backbone_is_refused_by_name(cache: FeatureCache) -> None:
    cache.require(StandIn().fingerprint)
    other = StandIn("2").fingerprint
    with pytest.raises(InsightError, match=f"{other[:12]}.*stand-in with {cache.fingerprint[:12]}"):
        cache.require(other)


def test_a_half_cache_is_refused(copy: Path) -> None:
    (copy / "manifest.json").unlink()
    with pytest.raises(InsightError, match="expected a feature cache with manifest"):
        FeatureCache.open(copy)
    (copy / "unfinished").mkdir()
    with pytest.raises(InsightError, match="not finished; run the same `insight cache` command again"):
        FeatureCache.open(copy)
    with pytest.raises(InsightError, match="no such folder"):
        FeatureCache.open(copy / "missing")


@pytest.mark.parametrize("file", ["shard-00002.safetensors", "index.parquet"])
def test_a_flipped_bit_is_found_and_named(copy: Path, file: str) -> None:
    FeatureCache.open(copy).verify()
    data = bytearray((copy / file).read_bytes())
    data[-1 if file.startswith("shard") else len(data) // 2] ^= 4
    (copy / file).write_bytes(data)
    with pytest.raises(InsightError, match=rf"damaged: {file} \(expected SHA-256"):
        FeatureCache.open(copy).verify()


def test_every_damaged_file_is_named(copy: Path) -> None:
    for number in (1, 4):
        path = copy / f"shard-0000{number}.safetensors"
        path.write_bytes(path.read_bytes()[:-1] + b"!")
    with pytest.raises(InsightError, match=r"shard-00001.*shard-00004"):
        FeatureCache.open(copy).verify()


@pytest.mark.parametrize("change", ["missing", "shorter", "longer", "empty", "header", "huge header", "folder"])
def test_a_shard_of_another_form_is_refused_at_opening(copy: Path, change: str) -> None:
    path = copy / "shard-00001.safetensors"
    data = path.read_bytes()
    path.unlink()
    if change == "folder":
        path.mkdir()
    changed = {
        "shorter": data[:-1],
        "longer": data + b"\0",
        "empty": b"",
        "header": data.replace(b'"F32"', b'"F16"', 1),
        "huge header": (1 << 62).to_bytes(8, "little") + data[8:],
    }
    if change in changed:
        path.write_bytes(changed[change])
    with pytest.raises(InsightError, match=r"shard-00001\.safetensors"):
        FeatureCache.open(copy)


def test_a_shard_cut_short_while_it_is_read_is_an_error_and_not_a_crash(copy: Path) -> None:
    cache = FeatureCache.open(copy)
    path = copy / "shard-00005.safetensors"
    path.write_bytes(path.read_bytes()[:400])
    with pytest.raises(InsightError, match=r"shard-00005\.safetensors: ends too early"):
        cache.image(22)
    with pytest.raises(InsightError, match=r"shard-00005\.safetensors: ends too early"):
        next(cache.batches(4, seed=0))
    path.unlink()
    with pytest.raises(InsightError, match=r"shard-00005\.safetensors: cannot be read"):
        list(cache.scan())


@pytest.mark.parametrize(
    "name", ["../shard-00000.safetensors", "/etc/passwd", "shard-00000.safetensors\n", "index.parquet"]
)
def test_names_that_lead_elsewhere_are_refused(copy: Path, name: str) -> None:
    shards = json.loads((copy / "manifest.json").read_text())["shards"]
    shards[0]["file"] = name
    rewrite_manifest(copy, shards=shards)
    with pytest.raises(InsightError, match=r"manifest.json: shards.file: expected"):
        FeatureCache.open(copy)


def index_with(copy: Path, **columns: list[object]) -> None:
    table = pq.read_table(copy / "index.parquet")
    for name, values in columns.items():
        place = table.schema.names.index(name)
        table = table.set_column(place, table.schema.field(name), pa.array(values, table.schema.field(name).type))
    pq.write_table(table, copy / "index.parquet")
    stored = {"file": "index.parquet", "bytes": (copy / "index.parquet").stat().st_size}
    rewrite_manifest(copy, index=stored | {"sha256": sha256_of(copy / "index.parquet")})


def test_an_index_that_contradicts_the_manifest_is_refused(copy: Path) -> None:
    index_with(copy, label=["bird"] * 23)
    assert FeatureCache.open(copy).labels == ["bird"] * 23
    index_with(copy, id=["same"] * 23)
    with pytest.raises(InsightError, match="each id once"):
        _ = FeatureCache.open(copy).index
    index_with(copy, id=[str(number) for number in range(23)], row=[0] * 23)
    with pytest.raises(InsightError, match="in the order of the shards"):
        FeatureCache.open(copy).verify()


def test_an_index_that_is_no_table_is_refused(copy: Path) -> None:
    (copy / "index.parquet").write_bytes(b"PAR1 and so on PAR1")
    rewrite_manifest(copy, index={"file": "index.parquet", "bytes": 19, "sha256": sha256_of(copy / "index.parquet")})
    with pytest.raises(InsightError, match=r"index.parquet: damaged index: expected a parquet file"):
        _ = FeatureCache.open(copy).index
