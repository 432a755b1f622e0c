"""An autoencoder goes to the hub and comes back; a stand-in plays the hub, for there is no network in tests."""

import inspect
import shutil
from pathlib import Path

import huggingface_hub
import pytest
import torch

from sae import InsightError, SaeConfig, SparseAutoencoder


@pytest.fixture
def sae(generator):
    sae = SparseAutoencoder(SaeConfig(5, 12, 3, (0.25, 0.75)))
    for weight in sae.weights:
        weight.copy_(torch.randn(weight.shape, generator=generator))
    return sae


def _fits(function, *args, **kwargs):
    """The real function takes these arguments."""
    inspect.signature(function).bind(*args, **kwargs)


@pytest.fixture
def hub(monkeypatch, tmp_path):
    """A hub whose repositories are folders, and a list of what was asked of it."""
    shelf, asked = tmp_path / "hub", []
    RealApi, real_download = huggingface_hub.HfApi, huggingface_hub.snapshot_download

    class Api:
        def create_repo(self, repository, *, private, exist_ok):
            _fits(RealApi.create_repo, self, repository, private=private, exist_ok=exist_ok)
            asked.append(("create", repository, private, exist_ok))
            (shelf / repository).mkdir(parents=True, exist_ok=True)
            return f"https://hub.test/{repository}"

        def upload_folder(self, *, repo_id, folder_path, commit_message):
            _fits(RealApi.upload_folder, self, repo_id=repo_id, folder_path=folder_path, commit_message=commit_message)
            shutil.copytree(folder_path, shelf / repo_id, dirs_exist_ok=True)

    def download(repository, *, revision, allow_patterns):
        _fits(real_download, repository, revision=revision, allow_patterns=allow_patterns)
        asked.append(("download", repository, revision))
        folder = tmp_path / "cache" / repository
        folder.mkdir(parents=True, exist_ok=True)
        for name in allow_patterns:
            if (shelf / repository / name).exists():
                shutil.copy(shelf / repository / name, folder)
        return str(folder)

    monkeypatch.setattr(huggingface_hub, "HfApi", Api)
    monkeypatch.setattr(huggingface_hub, "snapshot_download", download)
    return shelf, asked


def test_what_is_pushed_comes_back(sae, hub, generator):
    shelf, asked = hub
    assert sae.push_to_hub("ada/birds", extra={"train": {"steps": 7}}, private=True) == "https://hub.test/ada/birds"
    assert {file.name for file in (shelf / "ada" / "birds").iterdir()} == {
        "config.json",
        "sae.safetensors",
        "README.md",
    }
    again = SparseAutoencoder.from_pretrained("ada/birds", revision="v1")
    x = torch.randn(20, 5, generator=generator)
    assert again.config == sae.config
    assert torch.equal(again.encode(x).dense(), sae.encode(x).dense())
    assert asked == [("create", "ada/birds", True, True), ("download", "ada/birds", "v1")]
    assert '"steps": 7' in (shelf / "ada" / "birds" / "config.json").read_text()


def test_the_card_says_what_it_is_and_how_it_is_loaded(sae, hub):
    sae.push_to_hub("ada/birds")
    card = (hub[0] / "ada" / "birds" / "README.md").read_text()
    assert card.startswith("---\nlibrary_name: insight-concepts\n")
    assert 'SparseAutoencoder.from_pretrained("ada/birds")' in card
    assert "| n_concepts | 12 |" in card
    assert "| fractions | 0.25, 0.75 |" in card


def test_only_the_two_files_are_downloaded(sae, hub, tmp_path):
    sae.push_to_hub("ada/birds")
    SparseAutoencoder.from_pretrained("ada/birds")
    found = {file.name for file in (tmp_path / "cache" / "ada" / "birds").iterdir()}
    assert found == {"config.json", "sae.safetensors"}


def test_a_folder_goes_before_a_repository_of_its_name(sae, hub, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    sae.save_pretrained("ada/birds")
    SparseAutoencoder.from_pretrained("ada/birds")
    assert hub[1] == []


@pytest.mark.parametrize("folder", [Path("ada/birds"), "./ada/birds", "/ada/birds", "birds", "a/b/c"])
def test_what_is_not_a_repositorys_name_is_a_path(hub, folder):
    with pytest.raises(InsightError, match=r"config\.json: no such file"):
        SparseAutoencoder.from_pretrained(folder)
    assert hub[1] == []


def test_a_repository_of_something_else_is_named(hub):
    with pytest.raises(InsightError, match=r"ada/else: expected config\.json and sae\.safetensors in the repository"):
        SparseAutoencoder.from_pretrained("ada/else")


def test_without_a_network_the_error_is_one_line(sae, monkeypatch):
    def offline(*args, **kwargs):
        raise ConnectionError("no route to host\nand much more")

    monkeypatch.setattr(huggingface_hub, "snapshot_download", offline)
    monkeypatch.setattr(huggingface_hub.HfApi, "create_repo", offline)
    with pytest.raises(InsightError, match=r"none could be had from the hub \(ConnectionError: no route") as error:
        SparseAutoencoder.from_pretrained("ada/birds")
    assert "\n" not in str(error.value)
    with pytest.raises(InsightError, match=r"the upload failed \(ConnectionError: no route") as error:
        sae.push_to_hub("ada/birds")
    assert "\n" not in str(error.value)
    with pytest.raises(InsightError, match='expected a repository "user/name", found "birds"'):
        sae.push_to_hub("birds")
