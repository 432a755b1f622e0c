"""Values outside their range, flags that exclude each other, and places where nothing can be written."""

import errno
import os
from pathlib import Path

import pytest

from .conftest import Complaint
from .world import table

WRONG = table("""
build photos --out m --concepts 0 → --concepts: expected at least 1, found 0
build photos --out m --concepts 20 --k 30 → --k: expected a number from 1 to 20, found 30
build photos --out m --concepts 20 → take at least 126 concepts
build photos --out m --k 0 → --k: expected at least 1, found 0
build photos --out m --steps -1 → --steps: expected at least 1, found -1
build photos --out m --lr nan → --lr: expected a number above 0, found nan
build photos --out m --seed -1 → --seed: expected at least 0, found -1
explain model whole.png --top 0 → --top: expected at least 1, found 0
concepts model --top -1 → --top: expected at least 0, found -1
concepts model --query '' → --query: expected a word or sentence, found nothing
cache write photos --out c --tokens 0 → --tokens: expected at least 1, found 0
cache write photos --out c --backbone timm:known --tokens 99 → tokens: expected from 1 to 16
cache write photos --out c --batch-size 0 → --batch-size: expected at least 1
cache write photos --out c --shard-images 0 → --shard-images: expected at least 1
cache write photos --out c --workers -2 → --workers: expected at least 1
cache write photos --out c d --backbone small → expected a folder (--out) for each backbone, found 2 for 1
cache write photos --out c c --backbone small small@6 → --out: expected a folder for each backbone, found one twice
cache sample cache --out c → expected a number of images or of patches
cache sample cache --out c --images 99 → images: expected a number from 1 to 16, as it has, found 99
cache sample cache --out c --tokens 0 → tokens: expected a number from 1 to 16
train cache --out m --concepts -1 → --concepts: expected at least 1, found -1
train cache --out m --concepts 20 → take at least 126 concepts
train cache --out m --k 9999 → k: expected 1 to n_concepts = 256
train cache --out m --level-k 1 → level_k: expected a number for each level
train cache --out m --level-k 1 1 1 1 1 1 --k 3 → level_k: expected numbers which sum to k = 3
train cache --out m --batch-size 0 → --batch-size: expected at least 1
train cache --out m --lr inf → --lr: expected a number above 0, found inf
train cache --out model → model/config.json: started with sae.k = 4, now 8 is asked for
relate model cache --threshold 2 → expected 0 to 1, found 2.0
relate model cache --q nan → expected between 0 and 1, found nan
relate model cache --min-lift -1 → expected at least 0, found -1.0
relate model cache --min-support -1 → expected at least 0, found -1
relate model cache --most-partners 0 → most_partners: expected at least 1
name model --vocabulary words.txt --templates 'a photo' → templates: expected {} for the phrase in each template
name model --prior nan → prior: expected a number, found nan
name model --min-confidence 2 → min_confidence is a probability: expected 0 to 1, found 2.0
name model --namer '' → --namer: expected a program and its arguments, found nothing
name model --namer "'unclosed" → --namer: expected a program and its arguments
edit model rename 9999 y → model: expected a concept of 0 to 129, found 9999
edit model rename 1 '' → the name: expected 1 to 200 printable characters
edit model merge 1 1 → merge: expected two concepts, each once; found 1, 1
edit model relate 1 1 --kind kind-of → relate: expected two concepts, each once
edit model show 1 → show: concept 1 is not hidden
edit model undo 99 → model/edits.json: expected the number of an edit (none), found 99
segment model whole.png → expected --classes "sky,boat,water" or --head FOLDER, found neither
segment model whole.png --classes a,b --head head → expected --classes "sky,boat,water" or --head FOLDER, found both
segment model whole.png --classes a → --classes: expected at least two, or --background too
segment model whole.png --classes a,a → --classes: 'a' is given twice
segment model whole.png --classes a,,b → expected names and words that are not empty
segment model whole.png --classes a,b --background nan → --background: expected a number from 0 to 1, found nan
segment model whole.png --classes a,b --size 0 → --size: expected at least 1
segment model whole.png --classes a,b --size 1000000 → choose a smaller short side
segment model whole.png --classes a,b --upsampling nonsense → upsampling: expected bilinear, jbu
classify fit model photos --out h --split nonsense → photos: expected a split 'nonsense', found none
classify fit model photos --out h --alpha 0 → --alpha: expected a number above 0
classify fit model photos --out h --max-concepts 0 → --max-concepts: expected at least 1
classify fit model photos --out h --seed -1 → --seed: expected at least 0
classify predict model whole.png --classes a → classes: expected at least two to choose from
classify predict model whole.png --classes a,b --model model → --model: with --classes HEAD is the model itself
classify explain head whole.png --target nonsense → expected one of the 2 classes (blue, red), found 'nonsense'
classify explain head whole.png --remove 9999 → expected concepts of 0 to 129, found 9999
find model cache → expected one thing to look for, TEXT or --concept or --like, found none
find model cache red --like whole.png → found TEXT and --like
find model cache '' → TEXT: expected a word or sentence to look for, found nothing
find model cache red --top 0 → --top: expected at least 1
find model cache red --png o.png --top 5000 → expected at most 100 hits in a picture, found --top 5000
find model cache --concept 9999 → concept: expected an id of 0 to 129, found 9999
find model cache --without 1 → expected at least one concept to look for
attribute similarity timm:known whole.png '' → expected at least one text to look for, found an empty one
attribute m2ib timm:known whole.png red --beta nan → m2ib: beta must be at least 0, found nan
attribute m2ib timm:known whole.png red --steps 0 → m2ib: steps must be at least 1
attribute rise timm:known whole.png red --masks 0 → rise: masks must be at least 1
finetune probe photos --out t --epochs 0 → --epochs: expected at least 1
finetune probe photos --out t --batch-size -1 → --batch-size: expected at least 1
finetune probe photos --out t --lr nan → --lr: expected a number above 0
finetune probe photos --out t --seed -1 → --seed: expected at least 0
finetune probe photos --out t --backbone timm:known --split nonsense → photos: expected a split 'nonsense', found none
finetune probe photos --out t --bank bank.json --bank-from model → expected --bank or --bank-from, found both
finetune deal photos --out t --backbone timm:known --bank bank.json --concepts 0 → deal: concepts must be at least 1
finetune ecor photos --out t --backbone timm:known --bank bank.json --rank 0 → rank: expected at least 1
""")

FILES = {  # a command and its flags for files to write
    "explain model whole.png": {"--json": ".json", "--png": ".png", "--html": ".html"},
    "concepts model --photos photos": {"--json": ".json", "--png": ".png", "--html": ".html", "--graph": ".graphml"},
    "segment model whole.png --classes a,b": {"--json": ".json", "--png": ".png"},
    "classify predict head whole.png": {"--json": ".json"},
    "classify explain head whole.png": {"--json": ".json", "--png": ".png"},
    "find model cache red": {"--json": ".json", "--png": ".png"},
    "attribute similarity timm:known whole.png red": {"--json": ".json", "--png": ".png"},
    "finetune predict tuned whole.png": {"--json": ".json"},
}
FOLDERS = {  # a command that writes a folder, and what that folder is
    "build photos": "a model",
    "cache write photos": "a feature cache",
    "train cache": "a model",
    "classify fit model photos": "a head",
    "finetune probe photos": "a fine-tuned model",
}


@pytest.mark.parametrize(("line", "said"), WRONG, ids=[line for line, _ in WRONG])
def test_a_value_out_of_range_is_named_with_its_range(line: str, said: str, complaint: Complaint) -> None:
    assert said in complaint(line)


@pytest.mark.parametrize("command", FILES)
def test_a_file_that_cannot_be_written_is_said_before_any_work(command: str, complaint: Complaint) -> None:
    for flag, suffix in FILES[command].items():
        assert f"{flag} photos: expected a file to write, found a folder" in complaint(f"{command} {flag} photos")
        assert f"expected a file that ends in {suffix}" in complaint(f"{command} {flag} out.txt")
        assert "found no suffix" in complaint(f"{command} {flag} out")
        assert "whole.png is a file" in complaint(f"{command} {flag} whole.png/out{suffix}")


@pytest.mark.parametrize("command", FOLDERS)
def test_a_folder_of_something_else_is_not_written_to(command: str, complaint: Complaint) -> None:
    assert "--out whole.png: expected a folder to write to, found a file" in complaint(f"{command} --out whole.png")
    assert "whole.png is a file" in complaint(f"{command} --out whole.png/deep/out")
    said = complaint(f"{command} --out photos")
    assert f"--out photos: expected a new folder or the folder of {FOLDERS[command]}, found other files (blue)" in said


@pytest.mark.parametrize("command", ["merge cache", "convert cache --dtype int8", "sample cache --images 3"])
def test_a_cache_is_not_made_where_something_else_is(command: str, complaint: Complaint) -> None:
    assert "--out whole.png: expected a folder to write to" in complaint(f"cache {command} --out whole.png")
    assert "other files (concepts.parquet)" in complaint(f"cache {command} --out model")
    assert "a cache that was made otherwise" in complaint(f"cache {command} --out cache")


def test_a_folder_that_may_not_be_written_to_is_named(
    complaint: Complaint, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("os.access", lambda path, mode: Path(path) != tmp_path)  # root may write everywhere
    assert f"{tmp_path} may not be written to" in complaint(f"explain model whole.png --json '{tmp_path}/o.json'")
    assert f"{tmp_path} may not be written to" in complaint(f"train cache --out '{tmp_path}/new/m'")


def test_a_full_disk_is_said_in_one_line_and_leaves_nothing(
    complaint: Complaint, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(descriptor: int) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr("sae.files.os.fsync", refuse)
    assert "No space left on device; make room" in complaint("explain model whole.png --json out.json")
