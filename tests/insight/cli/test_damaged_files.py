"""Files of models, caches, heads and fine-tuned models that are damaged or gone: the line names the file."""

from collections.abc import Callable
from pathlib import Path

import pytest

from .conftest import Complaint

WAYS = ("cut", "empty", "replaced", "gone")
READ = [  # a folder, one of its files, and a command that reads it
    ("model", "sae.safetensors", "explain {} whole.png"),
    ("model", "config.json", "explain {} whole.png"),
    ("model", "concepts.parquet", "explain {} whole.png"),
    ("model", "relations.npz", "explain {} whole.png"),
    ("model", "examples.parquet", "concepts {} --html o.html --photos photos"),
    ("model", "config.json", "info {}"),
    ("model", "sae.safetensors", "edit {} rename 1 x"),
    ("cache", "manifest.json", "info {}"),
    ("cache", "index.parquet", "info {}"),
    ("cache", "skipped.parquet", "cache info {}"),
    ("cache", "shard-*.safetensors", "train {} --out m"),
    ("cache", "shard-*.safetensors", "relate model {}"),
    ("cache", "shard-*.safetensors", "cache verify {}"),
    ("head", "head.json", "classify predict {} whole.png"),
    ("head", "head.safetensors", "classify predict {} whole.png"),
    ("tuned", "method.json", "finetune predict {} whole.png"),
    ("tuned", "method.safetensors", "finetune predict {} whole.png"),
]
CHECKED = [  # a flipped byte is found as well, where there is a checksum
    ("cache", "shard-*.safetensors", "cache verify {}"),
    ("cache", "index.parquet", "cache verify {}"),
    ("tuned", "method.safetensors", "finetune predict {} whole.png"),
]


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize(("folder", "name", "command"), READ, ids=[f"{name}, {line}" for _, name, line in READ])
def test_a_damaged_file_is_named(
    folder: str, name: str, command: str, way: str, complaint: Complaint, damaged: Callable[[str, str, str], Path]
) -> None:
    copy = damaged(folder, name, way)
    said = complaint(command.format(f"'{copy}'"))
    assert name.partition("*")[0] in said
    assert str(copy) in said
    assert "allow_pickle" not in said  # no message advises what is unsafe


@pytest.mark.parametrize(("folder", "name", "command"), CHECKED, ids=[name for _, name, _ in CHECKED])
def test_a_flipped_byte_is_found_where_there_is_a_checksum(
    folder: str, name: str, command: str, complaint: Complaint, damaged: Callable[[str, str, str], Path]
) -> None:
    copy = damaged(folder, name, "flipped")
    assert name.partition("*")[0] in complaint(command.format(f"'{copy}'"))
