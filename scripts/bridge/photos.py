"""What the bridge learns from: photos, and the texts that go with them as centred unit vectors.

In: COCO's `captions.json` and `images/`, ImageNet's `classes.tsv` and `images/<wnid>/`, WordNet, and
`held_out.json`. Out: lists of files and the `Texts`. No held-out photo is in any list, nor its captions.
"""

from __future__ import annotations

import itertools
import json
import re
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor
from torch.nn.functional import normalize

from insight.backbones.small.minilm import MiniLM
from naming import WordNet
from sae.files import read_json

from .teacher import teacher_classes

ROOT = Path(__file__).resolve().parents[2]
HELD_OUT = ROOT / "insight" / "backbones" / "small" / "bridge" / "held_out.json"
VOCABULARY = ROOT / "naming" / "vocabularies" / "english.txt"
TOO_GENERAL = 1 / 8
"""Of the teacher's classes. A noun over more of them is left out: it holds for so many patches ("instrumentation" for
358 of 1,000 classes, whatever stands in the photo) that it becomes the name of all that has no other."""
TEMPLATES = ("a photo of a {}", "{}", "a {} in a photo", "a close-up of a {}")


@dataclass(frozen=True)
class Photos:
    """Files of the photos to train on, and what is written about them.

    captioned: files, with `captions` and, for each of those, the number of its photo in `caption_photo`;
    named: files, with the number of each one's class in `photo_name`; classes: WordNet id and name of each class;
    """

    captioned: list[Path]
    captions: list[str]
    caption_photo: list[int]
    named: list[Path]
    photo_name: list[int]
    classes: dict[str, str]


def read_photos(coco: Path, imagenet: Path) -> Photos:
    """All photos of the two folders but those of `held_out.json`, in the order of the caption file and of names."""
    held_out = read_json(HELD_OUT)
    listing = json.loads((coco / "captions.json").read_text(encoding="utf-8"))
    images = [image for image in listing["images"] if image["file_name"] not in set(held_out["coco"])]
    numbers = {image["id"]: i for i, image in enumerate(images)}
    written = [entry for entry in listing["annotations"] if entry["image_id"] in numbers]
    classes = dict(line.split("\t") for line in (imagenet / "classes.tsv").read_text(encoding="utf-8").splitlines())
    files = sorted((imagenet / "images").glob("*/*"))
    named = [file for file in files if f"{file.parent.name}/{file.name}" not in set(held_out["imagenet"])]
    return Photos(
        captioned=[coco / "images" / image["file_name"] for image in images],
        captions=[entry["caption"] for entry in written],
        caption_photo=[numbers[entry["image_id"]] for entry in written],
        named=named,
        photo_name=[list(classes).index(file.parent.name) for file in named],
        classes=classes,
    )


@dataclass(frozen=True)
class Texts:
    """Vectors of all texts, centred by the mean caption and of unit length; [t, n, 384] where there are t templates.

    mean: [384], the mean caption; captions: [c, 384] with caption_photo [c];
    said: words of the captions, with has_said [n_captioned, w];
    names: of the classes, with photo_name [n_named]; teacher: names of the teacher's 1,000 classes;
    words: WordNet's nouns, with class_word [classes, w] and teacher_word [1000, w].
    """

    mean: Tensor
    captions: Tensor
    caption_photo: Tensor
    said: Tensor
    has_said: Tensor
    names: Tensor
    photo_name: Tensor
    teacher: Tensor
    words: Tensor
    class_word: Tensor
    teacher_word: Tensor


def class_words(synset: str, known: set[str]) -> set[str]:
    """Nouns of a class ("n02084071") and of all above it (a sports car is a car and a vehicle) that `known` has.

    Only those whose commonest sense is that very one.
    """
    wordnet = WordNet.load()
    own = wordnet.numbered(synset)
    lemmas = ((sense, lemma) for sense in {own, *wordnet.ancestors(own)} for lemma in wordnet.synset(sense).lemmas)
    return {lemma for sense, lemma in lemmas if lemma in known and wordnet.senses(lemma)[0] == sense}


def embed(photos: Photos, text: MiniLM, min_photos_per_word: int) -> Texts:
    """Every text as vectors; takes a minute."""
    vectors = text(photos.captions)
    mean = vectors.mean(0)

    def prompted(phrases: list[str]) -> Tensor:
        return torch.stack([normalize(text([form.format(p) for p in phrases]) - mean, dim=1) for form in TEMPLATES])

    said, has_said = said_words(photos.captions, photos.caption_photo, len(photos.captioned), min_photos_per_word)
    teacher = teacher_classes()
    known = vocabulary()
    words_of = {synset: class_words(synset, known) for synset in [*photos.classes, *teacher]}
    classes_of = Counter(itertools.chain.from_iterable(words_of[synset] for synset in teacher))
    words = sorted(w for w in set().union(*words_of.values()) if classes_of[w] <= TOO_GENERAL * len(teacher))
    return Texts(
        mean=mean,
        captions=normalize(vectors - mean, dim=1),
        caption_photo=torch.tensor(photos.caption_photo),
        said=prompted(said),
        has_said=has_said,
        names=prompted(list(photos.classes.values())),
        photo_name=torch.tensor(photos.photo_name),
        teacher=prompted(list(teacher.values())),
        words=prompted(words),
        class_word=torch.tensor([[word in words_of[synset] for word in words] for synset in photos.classes]),
        teacher_word=torch.tensor([[word in words_of[synset] for word in words] for synset in teacher]),
    )


def vocabulary() -> set[str]:
    """The phrases of the shipped vocabulary of visible things."""
    return {line.split("\t")[0] for line in VOCABULARY.read_text(encoding="utf-8").splitlines()}


def said_words(sentences: list[str], photo: list[int], n_photos: int, least: int) -> tuple[list[str], Tensor]:
    """Words and word pairs of the captions that the vocabulary has, and [n_photos, w] of whose photo each is said.

    A plural counts for its singular too; words on fewer than `least` photos are left out.
    """
    known = vocabulary()
    photos_of: dict[str, set[int]] = {}
    for sentence, i in zip(sentences, photo, strict=True):
        tokens = re.findall("[a-z]+", sentence.lower())
        for phrase in [*tokens, *(f"{a} {b}" for a, b in itertools.pairwise(tokens))]:
            for form in {phrase, phrase.removesuffix("s")} & known:
                photos_of.setdefault(form, set()).add(i)
    words = sorted(word for word, found in photos_of.items() if len(found) >= least)
    has_word = torch.zeros(n_photos, len(words), dtype=torch.bool)
    for column, word in enumerate(words):
        has_word[sorted(photos_of[word]), column] = True
    return words, has_word
