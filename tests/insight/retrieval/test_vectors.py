"""Vectors in cells find what is near; representatives stand for every patch."""

from pathlib import Path

import faiss
import numpy as np
import pytest
import torch
from torch.nn import functional as F

from insight.retrieval.representatives import representatives
from insight.retrieval.vectors import Part, Vectors, write_empty

DIM = 32


def clustered(rng: np.random.Generator, count: int, clusters: int) -> np.ndarray:
    """Unit vectors around random directions, as features are."""
    centres = rng.standard_normal((clusters, DIM))
    drawn = centres[rng.integers(0, clusters, count)] + 0.5 * rng.standard_normal((count, DIM))
    return (drawn / np.linalg.norm(drawn, axis=1, keepdims=True)).astype(np.float32)


def written(folder: Path, vectors: np.ndarray, per_image: int, flat: int, parts: int) -> Vectors:
    write_empty(folder / "empty", DIM, len(vectors), flat, lambda count: vectors[:: max(1, len(vectors) // count)])
    files, step = [], -(-len(vectors) // (parts * per_image)) * per_image
    for first in range(0, len(vectors), step):
        part = Part(folder / "empty")
        for start in range(first, min(first + step, len(vectors)), 100):  # in pieces, as a pass adds them
            part.add(vectors[start : min(start + 100, first + step)], start)
        files.append(folder / f"{first}.faiss")
        part.write(files[-1])
    return Vectors(files, per_image)


@pytest.mark.parametrize("parts", [1, 3])
def test_few_vectors_are_searched_exactly(tmp_path: Path, parts: int) -> None:
    rng = np.random.default_rng()
    vectors = clustered(rng, 600, 20)
    index = written(tmp_path, vectors, 4, 600, parts)
    assert index.exact
    for query in clustered(rng, 5, 5):
        best = (vectors @ query).reshape(150, 4).max(1)
        found = index.images_near(query, 10)
        assert len(set(found.tolist())) == 10
        np.testing.assert_allclose(best[found], np.sort(best)[::-1][:10], atol=1e-5)
    assert sorted(index.images_near(query, 1000).tolist()) == list(range(150))


@pytest.mark.parametrize("parts", [1, 3])
def test_many_vectors_are_compressed_and_still_found(
    tmp_path: Path, parts: int, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("insight.retrieval.vectors.PROBED", 12)  # of 126 cells
    monkeypatch.setattr(faiss, "omp_get_max_threads", lambda: 1)
    rng = np.random.default_rng()
    vectors = clustered(rng, 4000, 60)
    index = written(tmp_path, vectors, 1, 100, parts)
    assert not index.exact
    shares = []
    for query in vectors[rng.integers(0, 4000, 50)]:
        best = set(np.argsort(-(vectors @ query))[:10].tolist())
        shares.append(len(best & set(index.images_near(query, 40).tolist())) / 10)
    assert np.mean(shares) > 0.8
    size = sum(path.stat().st_size for path in tmp_path.glob("*.faiss"))
    assert size < 4000 * (DIM / 2 + 8) + parts * (126 * DIM * 4 + 20_000)
    assert capfd.readouterr().out == ""


def test_representatives_are_unit_vectors_and_every_patch_where_there_are_no_more() -> None:
    patches = torch.randn(3, 20, DIM)
    assert representatives(patches, 5).shape == (3, 5, DIM)
    torch.testing.assert_close(representatives(patches, 5).norm(dim=2), torch.ones(3, 5))
    for count in (20, 21):
        torch.testing.assert_close(representatives(patches, count), F.normalize(patches, dim=2))
    one_by_one = torch.cat([representatives(patches[i : i + 1], 5) for i in range(3)])
    torch.testing.assert_close(one_by_one, representatives(patches, 5), rtol=0, atol=1e-5)


def test_a_small_thing_in_an_image_has_a_representative_of_its_own() -> None:
    """Five kinds of patches, one of them on a single patch: five representatives are their mean directions."""
    kinds = torch.linalg.qr(torch.randn(DIM, 5))[0].T
    kind = torch.tensor([0] * 40 + [1] * 30 + [2] * 20 + [3] * 9 + [4])[torch.randperm(100)]
    patches = (kinds[kind] + 0.02 * torch.randn(100, DIM)) * (1 + torch.rand(100, 1))
    found = representatives(patches[None], 5)[0]
    unit = F.normalize(patches, dim=1)
    expected = torch.stack([F.normalize(unit[kind == k].sum(0), dim=0) for k in range(5)])
    nearest = (expected @ found.T).max(1)
    assert sorted(nearest.indices.tolist()) == [0, 1, 2, 3, 4]
    assert float(nearest.values.min()) > 1 - 1e-5


def test_an_image_of_equal_patches_has_equal_representatives() -> None:
    patches = torch.randn(2, 1, DIM).expand(2, 30, DIM)
    found = representatives(patches, 4)
    torch.testing.assert_close(found, F.normalize(patches[:, :4], dim=2), rtol=0, atol=1e-5)
