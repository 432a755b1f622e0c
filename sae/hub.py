"""Autoencoders on the Hugging Face hub: a repository with `config.json`, `sae.safetensors` and a model card.

In: a repository's name, "user/name". Out: a local folder (`downloaded`) or the repository's address (`upload`).
Downloads come through the hub's own cache; a repository that is in it is had without a network.
"""

from __future__ import annotations

import re
from pathlib import Path

from .config import SaeConfig
from .errors import InsightError

FILES = ("config.json", "sae.safetensors")
_REPOSITORY = re.compile(r"[\w-][\w.-]*/[\w-][\w.-]*")

_CARD = """\
---
library_name: insight-concepts
tags:
- sparse-autoencoder
- interpretability
---

# {name}

A sparse autoencoder: each feature vector of width {dim} is a bias plus a few of {n_concepts} directions (concepts).

| setting | value |
| --- | --- |
{settings}

```python
from sae import SparseAutoencoder

sae = SparseAutoencoder.from_pretrained("{repository}")
codes = sae.encode(features)  # features: float32 [n, {dim}]; codes: which concepts are active, and how strongly
reconstructions = sae(features)
```

`config.json` holds the configuration and `sae.safetensors` the weights; neither holds code.
"""


def is_repository(folder: Path | str) -> bool:
    """Whether "user/name" is meant as a repository: a text of that form, and no such path exists here."""
    return isinstance(folder, str) and _REPOSITORY.fullmatch(folder) is not None and not Path(folder).exists()


def downloaded(repository: str, revision: str | None = None) -> Path:
    """The folder of a repository's two files, downloaded unless they are in the hub's cache; nothing else is fetched.

    `revision` is a branch, tag or commit (default: the newest). `InsightError` when the files cannot be had.
    """
    from huggingface_hub import snapshot_download

    try:
        folder = Path(snapshot_download(repository, revision=revision, allow_patterns=list(FILES)))
    except Exception as error:  # the hub's client raises its own, its HTTP library's and the system's errors
        raise InsightError(
            f"{repository}: no such folder here, and none could be had from the hub ({_short(error)}); "
            "check the name and the network, or log in if it is private"
        ) from None
    missing = [name for name in FILES if not (folder / name).is_file()]
    if missing:
        raise InsightError(f"{repository}: expected {' and '.join(FILES)} in the repository, found no {missing[0]}")
    return folder


def upload(folder: Path, config: SaeConfig, repository: str, *, private: bool) -> str:
    """Upload an autoencoder's folder, and a model card, to a repository, made if need be; returns its address."""
    if not _REPOSITORY.fullmatch(repository):
        raise InsightError(f'push_to_hub: expected a repository "user/name", found "{repository}"')
    from huggingface_hub import HfApi

    (folder / "README.md").write_text(model_card(config, repository), encoding="utf-8")
    api = HfApi()
    try:
        address = api.create_repo(repository, private=private, exist_ok=True)
        api.upload_folder(repo_id=repository, folder_path=folder, commit_message="Sparse autoencoder")
    except Exception as error:  # as above
        raise InsightError(
            f"{repository}: the upload failed ({_short(error)}); check the network and log in by `hf auth login`"
        ) from None
    return str(address)


def model_card(config: SaeConfig, repository: str) -> str:
    """Markdown which says what an autoencoder of `config` is and how it is loaded."""
    rows = {**config.to_dict(), "fractions": ", ".join(map(str, config.fractions))}
    settings = "\n".join(f"| {name} | {value} |" for name, value in rows.items())
    name = repository.split("/")[1]
    return _CARD.format(
        name=name, repository=repository, dim=config.dim, n_concepts=config.n_concepts, settings=settings
    )


def _short(error: Exception) -> str:
    return f"{type(error).__name__}: {(str(error).splitlines() or [''])[0][:120]}"
