"""Evidence: its parts see what they should, passes merge, and a folder brings it all back or says what is wrong."""

import warnings

import numpy as np
import pytest
import torch

from naming import Cooccurrence, Evidence, Exemplars
from sae import InsightError, SparseCodes

from . import reference
from .images import evidence_of, random_images
from .reference import COUNTS, MATRICES

GRID, M, DIM, IMAGES = (3, 4), 10, 6, 9


@pytest.fixture
def data(generator):
    return random_images(generator, IMAGES, GRID, M), torch.randn(IMAGES * 12, DIM, generator=generator)


def assert_same(one: Evidence, other: Evidence) -> None:
    assert one.images_seen == other.images_seen
    for counts, expected in ((one.tokens, other.tokens), (one.images, other.images)):
        assert counts.tokens == expected.tokens
        assert np.array_equal(counts.frequency, expected.frequency)
        assert np.array_equal(counts.counts.toarray(), expected.counts.toarray())
        np.testing.assert_allclose(counts.weighted.toarray(), expected.weighted.toarray(), rtol=1e-12)
    for name in COUNTS:
        assert np.array_equal(getattr(one.regions, name), getattr(other.regions, name))
    for name in MATRICES:
        found, expected = getattr(one.regions, name).toarray(), getattr(other.regions, name).toarray()
        np.testing.assert_allclose(found, expected, rtol=1e-6)
    for top, expected in ((one.exemplars, other.exemplars), (one.examples, other.examples)):
        assert all(torch.equal(*arrays) for arrays in zip(top.table(), expected.table(), strict=True))
        np.testing.assert_allclose(top.mean_codes().toarray(), expected.mean_codes().toarray(), rtol=1e-6)
    np.testing.assert_allclose(one.features.means(), other.features.means(), rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(one.features.centre, other.features.centre, rtol=1e-4, atol=1e-5)


def test_every_part_sees_the_codes_it_is_about(data):
    dense, features = data
    evidence = evidence_of(dense, features, GRID, (2, 7), first=5)
    image_codes = dense.view(IMAGES, 12, M).amax(1).double().numpy()
    strength, active = dense.double().numpy(), (dense > 0).double().numpy()
    assert np.array_equal(evidence.tokens.counts.toarray(), active.T @ active)
    np.testing.assert_allclose(evidence.tokens.weighted.toarray(), strength.T @ active, rtol=1e-9)
    assert np.array_equal(evidence.images.counts.toarray(), (image_codes > 0).T.astype(float) @ (image_codes > 0))
    np.testing.assert_allclose(evidence.images.weighted.toarray(), image_codes.T @ (image_codes > 0), rtol=1e-9)
    expected = reference.region_pairs(dense, GRID)
    for name in MATRICES:
        np.testing.assert_allclose(getattr(evidence.regions, name).toarray(), expected[name].numpy(), rtol=1e-6)
    assert evidence.images_seen == evidence.images.tokens == IMAGES
    assert evidence.tokens.tokens == evidence.features.tokens == len(dense)
    images = torch.arange(len(dense)) // 12 + 5
    for fold in range(4):
        weight = dense[images % 4 == fold].double().sum(0).numpy()
        np.testing.assert_allclose(evidence.features.weight[fold], weight, rtol=1e-5)


def test_examples_are_the_strongest_patches_of_different_images(data):
    dense, features = data
    evidence = evidence_of(dense, features, GRID, first=5)
    for concept in range(M):
        tokens, activations = evidence.examples.top(concept)
        by_image = dense.view(IMAGES, 12, M)[..., concept].numpy()
        place, strongest = by_image.argmax(1), by_image.max(1)
        order = [image for image in np.argsort(-strongest, kind="stable") if strongest[image] > 0]
        assert tokens.tolist() == [(5 + image) * 12 + place[image] for image in order]
        assert np.array_equal(activations.numpy(), strongest[order])
        column = dense[:, concept].numpy()
        ranked = [60 + token for token in np.argsort(-column, kind="stable") if column[token] > 0]
        assert evidence.exemplars.top(concept)[0].tolist() == ranked[:30]


@pytest.mark.parametrize("cuts", [(1, 2), (3, 3, 8), tuple(range(1, IMAGES))])
def test_any_cut_gives_the_same(data, cuts):
    assert_same(evidence_of(*data, GRID, cuts), evidence_of(*data, GRID))


def test_merged_passes_are_one_pass(data):
    dense, features = data
    merged = evidence_of(dense[48:], features[48:], GRID, first=4)
    first = evidence_of(dense[:48], features[:48], GRID)
    merged.merge(first)
    assert_same(merged, evidence_of(dense, features, GRID))
    assert_same(first, evidence_of(dense[:48], features[:48], GRID))


@pytest.mark.parametrize("most_partners", [None, 3])
def test_a_saved_folder_is_read_back_and_goes_on(data, tmp_path, most_partners):
    dense, features = data
    first = evidence_of(dense[:60], features[:60], GRID, most_partners=most_partners)
    first.save(tmp_path)
    assert {path.suffix for path in tmp_path.iterdir()} == {".npz", ".json"}
    loaded = Evidence.load(tmp_path)
    assert_same(loaded, first)
    for evidence in (loaded, first):
        evidence.update(SparseCodes.from_dense(dense[60:]), features[60:], 5)
    assert_same(loaded, first)


def test_evidence_without_images_and_with_dead_concepts_only(tmp_path):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        nothing = Evidence(M, GRID, DIM)
        nothing.update(SparseCodes.from_dense(torch.zeros(0, M)), torch.zeros(0, DIM), 0)
        dead = evidence_of(torch.zeros(24, M), torch.ones(24, DIM), GRID)
        for number, evidence in enumerate((nothing, dead)):
            evidence.save(tmp_path / str(number))
            loaded = Evidence.load(tmp_path / str(number))
            assert_same(loaded, evidence)
            assert loaded.tokens.counts.nnz == loaded.regions.beside.nnz == loaded.images.counts.nnz == 0
            assert not loaded.features.mean().any()
    assert np.array_equal(dead.features.centre, np.ones(DIM))


def test_what_does_not_fit_is_refused(data):
    dense, features = data
    codes = SparseCodes.from_dense(dense)
    evidence = Evidence(M, GRID, DIM)
    with pytest.raises(InsightError, match="whole images of 3 x 4 = 12 rows, found 107 rows"):
        evidence.update(codes[1:], features[1:], 0)
    with pytest.raises(InsightError, match="features \\[107, 6\\]"):
        evidence.update(codes, features[1:], 0)
    with pytest.raises(InsightError, match="concepts"):
        evidence.update(SparseCodes.from_dense(dense[:, 1:]), features, 0)
    assert evidence.images_seen == evidence.tokens.tokens == 0
    others = [Evidence(M + 1, GRID, DIM), Evidence(M, (4, 3), DIM), Evidence(M, GRID, DIM + 1)]
    for other in [*others, Evidence(M, GRID, DIM, most_partners=5)]:
        with pytest.raises(InsightError, match="as here, found"):
            evidence.merge(other)


def test_a_folder_that_was_not_finished_or_is_damaged_is_named(data, tmp_path):
    evidence = evidence_of(*data, GRID)
    with pytest.raises(InsightError, match="insight relate"):
        Evidence.load(tmp_path / "absent")
    evidence.save(tmp_path)
    whole = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    for name, content in whole.items():
        path = tmp_path / name
        path.write_bytes(content[: len(content) // 2])
        with pytest.raises(InsightError, match=name):
            Evidence.load(tmp_path)
        path.unlink()
        with pytest.raises(InsightError, match=r"no such file|no evidence\.json"):
            Evidence.load(tmp_path)
        path.write_bytes(content)
    Cooccurrence(M + 1).save(tmp_path / "images.npz")
    with pytest.raises(InsightError, match="'images': 11"):
        Evidence.load(tmp_path)
    evidence.save(tmp_path)
    assert_same(Evidence.load(tmp_path), evidence)


def test_a_save_that_is_cut_off_leaves_no_folder_that_can_be_read(data, tmp_path, monkeypatch):
    evidence = evidence_of(*data, GRID)
    evidence.save(tmp_path)

    def full(self: Exemplars, path: object) -> None:
        raise OSError("no space left")

    monkeypatch.setattr(Exemplars, "save", full)
    with pytest.raises(OSError, match="no space"):
        evidence.save(tmp_path)
    with pytest.raises(InsightError, match="expected finished evidence"):
        Evidence.load(tmp_path)
