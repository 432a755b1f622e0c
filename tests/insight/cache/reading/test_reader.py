"""Reading a cache: in order, by image, shuffled from any step, shared among processes; all damage is named."""

import json
import shutil
from itertools import islice
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch

from insight.cache import FeatureCache
from insight.cache.format.shard import sha256_of
from sae.errors import InsightError

from ..made import Made, make_cache
from ..stand_in import StandIn, write


@pytest.fixture(scope="module", params=["float32", "bfloat16", "float16", "int8"])
def made(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Made:
    """23 images of 11 × 13 patches, of which 130 are kept (blocks of 43, 43 and 44), with masks of 5 classes."""
    folder = tmp_path_factory.mktemp("made") / "cache"
    patches = torch.randn(23, 130, 7)
    return make_cache(folder, patches, [4, 1, 10, 8], dtype=request.param, grid=(11, 13), classes=5)


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


def rows(tokens: torch.Tensor) -> list[tuple[float, ...]]:
    return sorted(map(tuple, tokens.tolist()))


@pytest.mark.parametrize("memory", [1, 10_000, 20_000, 1 << 20])
def test_caches_of_every_form_are_read_as_they_were_written(made: Made, memory: int) -> None:
    cache = FeatureCache.open(made.folder, shuffle_memory=memory)
    everything = made.patches.flatten(0, 1)
    assert (cache.n_images, cache.tokens_per_image, cache.n_tokens) == (23, 130, 2990)
    assert torch.equal(torch.cat([piece for _, piece in cache.scan(300)]), everything)
    assert all(torch.equal(cache.image(number), made.patches[number]) for number in range(23))
    assert torch.equal(cache.pooled(), made.pooled)
    assert torch.equal(cache.positions(), made.positions)
    assert torch.equal(cache.patch_classes(), made.classes.short())
    assert torch.equal(cache.positions(13, 2), made.positions[13:15])
    assert torch.equal(cache.patch_classes(22), made.classes[22:].short())
    assert cache.patch_classes().dtype == torch.int16
    assert cache.classes == tuple(f"class {number}" for number in range(5))
    assert cache.skipped["reason"].to_pylist() == ["empty (zero bytes)"]
    batches = cache.batches(299, seed=4)
    for _ in range(2):
        assert rows(torch.cat([next(batches) for _ in range(10)])) == rows(everything)


def test_a_token_of_a_cache_with_fewer_patches_lies_where_it_was(made: Made) -> None:
    cache = FeatureCache.open(made.folder)
    for token in range(0, 2990, 37):
        image, row, column = cache.locate(token)
        assert (image, 13 * row + column) == (token // 130, int(made.positions[image][token % 130]))


@pytest.mark.parametrize("world", [2, 3, 7])
@pytest.mark.parametrize("memory", [1, 10_000, 1 << 20])
def test_processes_share_every_epoch(made: Made, world: int, memory: int) -> None:
    cache = FeatureCache.open(made.folder, shuffle_memory=memory)
    shares = [cache.share(rank, world) for rank in range(world)]
    assert sum(share.n_tokens for share in shares) == 2990
    epochs: list[list[torch.Tensor]] = [[], []]
    for share in shares:
        tokens = torch.cat([*islice(share.batches(50, seed=2), -(-2 * share.n_tokens // 50))])
        for epoch, seen in enumerate(epochs):
            seen.append(tokens[epoch * share.n_tokens : (epoch + 1) * share.n_tokens])
        assert torch.equal(next(share.batches(50, seed=2, start_step=13)), tokens[13 * 50 : 14 * 50])
    everything = rows(made.patches.flatten(0, 1))
    for seen in epochs:
        assert rows(torch.cat(seen)) == everything
    assert rows(epochs[0][0]) != rows(epochs[1][0])  # dealt anew


def test_more_processes_than_blocks_are_refused(made: Made) -> None:
    with pytest.raises(InsightError, match="for each of 100 processes"):
        FeatureCache.open(made.folder).share(0, 100)


def test_masks_are_not_asked_of_a_cache_without(cache: FeatureCache) -> None:
    with pytest.raises(InsightError, match="expected a cache of images with masks"):
        cache.patch_classes()


READS = {
    "patches": ["scan", "batches", "image"],
    "scales": ["scan", "batches", "image"],
    "checks": ["scan", "batches", "image"],
    "pooled": ["pooled", "positions", "classes"],
    "positions": ["pooled", "positions", "classes", "locate"],
    "classes": ["pooled", "positions", "classes"],
}


@pytest.mark.parametrize("tensor", READS)
def test_a_flipped_bit_is_found_by_whoever_reads_it(made: Made, tmp_path: Path, tensor: str) -> None:
    if tensor == "scales" and FeatureCache.open(made.folder).manifest.dtype != "int8":
        return
    folder = Path(shutil.copytree(made.folder, tmp_path / "copy"))
    path = folder / "shard-00002.safetensors"
    data = bytearray(path.read_bytes())
    length = int.from_bytes(data[:8], "little")
    start, stop = json.loads(data[8 : 8 + length])[tensor]["data_offsets"]
    at = 8 + length + start + (stop - start) * 7 // 10  # in the first column of checks or row 7 of the rest
    at -= (at - 8 - length - start) % 32 if tensor == "checks" else 0
    data[at] ^= 1 << torch.randint(8, ()).item()
    path.write_bytes(data)
    cache = FeatureCache.open(folder, shuffle_memory=10_000)
    reads = {
        "scan": lambda: list(cache.scan()),
        "batches": lambda: list(islice(cache.batches(299, seed=0), 10)),
        "image": lambda: [cache.image(image) for image in range(23)],
        "pooled": cache.pooled,
        "positions": cache.positions,
        "classes": cache.patch_classes,
        "locate": lambda: [cache.locate(token) for token in range(0, 2990, 130)],
    }
    for read in READS[tensor]:
        with pytest.raises(InsightError, match=r"shard-00002\.safetensors: damaged: .* of its image 7 do not fit"):
            reads[read]()
    cache.image(0)  # others are as good as before


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
    with pytest.raises(InsightError, match="not finished; run the same `insight cache write` command again"):
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


def described(index: Path) -> dict[str, object]:
    """What a manifest says of an index with a line for each of the 23 images."""
    return {"file": index.name, "bytes": index.stat().st_size, "sha256": sha256_of(index), "rows": 23}


def index_with(copy: Path, **columns: list[object]) -> None:
    table = pq.read_table(copy / "index.parquet")
    for name, values in columns.items():
        place = table.schema.names.index(name)
        table = table.set_column(place, table.schema.field(name), pa.array(values, table.schema.field(name).type))
    pq.write_table(table, copy / "index.parquet")
    rewrite_manifest(copy, index=described(copy / "index.parquet"))


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
    rewrite_manifest(copy, index=described(copy / "index.parquet"))
    with pytest.raises(InsightError, match=r"index.parquet: damaged: expected a parquet file"):
        _ = FeatureCache.open(copy).index
