"""A vocabulary in text space: phrases, their unit vectors, and the phrases nearest to a direction.

In: a `WordList`, and the text encoder of the backbone whose concepts are to be named. Out: `Vocabulary`, searched
exactly by faiss. Vectors are used as the encoder gives them; centring them, if it helps, is the backbone's business.
"""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float, Int
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor
from tqdm import tqdm

from sae.errors import InsightError
from sae.files import atomic_write

from .phrases import WordList

TEMPLATES = ("a photo of {}",)
"""Without an article: it must fit "grass", "shoes" and "striped" as well as "dog"."""
FORMAT = {"format": "insight-vocabulary", "format_version": "1"}
BATCH = 256
CHUNK = 32 * BATCH
"""Phrases that are embedded, and kept, at a time: what an end by force can cost."""
BLOCK = 1 << 16
"""Phrases that are searched at a time."""


@dataclass(frozen=True, eq=False)
class Vocabulary:
    """Phrases and where they stand in text space."""

    phrases: tuple[str, ...]
    vectors: Float[Tensor, "v d"]
    """float32 on the CPU, unit rows."""
    zipf: Float[Tensor, " v"]
    """float32: log10 of occurrences per 10^9 words, 0 where nothing is known."""

    def __len__(self) -> int:
        return len(self.phrases)

    @classmethod
    def embed(
        cls,
        words: WordList,
        encode_text: Callable[[list[str]], Float[Tensor, "n d"]],
        templates: Sequence[str] = TEMPLATES,
        *,
        cache: Path | str | None = None,
        fingerprint: str = "",
        progress: bool = True,
    ) -> Vocabulary:
        """Embed each phrase in each template, average over the templates, renormalise.

        `cache`: a folder that keeps the vectors, one file for each list, set of templates and `fingerprint`
        (which must tell the encoder, weights included, from any other); what is found there is not embedded again.
        Long lists are kept in chunks of 8,192 phrases while they are embedded, so that after an end by force the same
        call goes on where it stopped. float32: a million phrases of 384 dimensions take 1.5 GB, twice that until the
        chunks are gone. (float16 would name 2 of 2,048 concepts otherwise.)
        """
        if not len(words):
            raise InsightError("Vocabulary.embed: expected phrases, found none")
        if not templates or not all("{}" in template for template in templates):
            raise InsightError(
                f"templates: expected {{}} for the phrase in each template, found {list(templates)}"
            )
        if cache is None:
            return cls(words.phrases, _embed(words, encode_text, templates, None, progress), torch.tensor(words.zipf))
        if not fingerprint:
            raise InsightError("Vocabulary.embed: a cache needs the encoder's fingerprint, found none")
        key = json.dumps([FORMAT, words.phrases, words.zipf, list(templates), fingerprint]).encode()
        path = Path(cache) / f"{hashlib.sha256(key).hexdigest()[:32]}.safetensors"
        if path.exists():
            try:
                return cls.load(path)
            except InsightError:
                pass  # a damaged cache is made again
        chunks = path.with_suffix(".chunks")
        made = cls(words.phrases, _embed(words, encode_text, templates, chunks, progress), torch.tensor(words.zipf))
        made.save(path)
        shutil.rmtree(chunks, ignore_errors=True)
        return made

    @classmethod
    def join(cls, parts: Sequence[Vocabulary]) -> Vocabulary:
        """All phrases of all parts, in order.

        One list embedded in several families of templates and joined is searched by whichever family comes nearest,
        as published; names hold each phrase once.
        """
        if not parts or len({part.vectors.shape[1] for part in parts}) != 1:
            raise InsightError("Vocabulary.join: expected vocabularies of one text space, found none or several widths")
        phrases = tuple(phrase for part in parts for phrase in part.phrases)
        return cls(phrases, torch.cat([p.vectors for p in parts]), torch.cat([p.zipf for p in parts]))

    def nearest(
        self, vectors: Float[Tensor, "q d"], top: int, *, prior: float = 0.0
    ) -> tuple[Float[Tensor, "q top"], Int[Tensor, "q top"]]:
        """The `top` phrases of largest cosine + `prior` · zipf for each unit vector: cosines and indices, best first.

        Exact, in memory of q · (d + top) numbers and one block of phrases, however many there are: no [q, v] array is
        formed. Fewer than `top` columns when there are fewer phrases.
        """
        import faiss

        if vectors.dim() != 2 or vectors.shape[1] != self.vectors.shape[1]:
            expected, found = self.vectors.shape[1], list(vectors.shape)
            raise InsightError(f"Vocabulary.nearest: expected vectors [q, {expected}], found {found}; same backbone?")
        queries = vectors.detach().cpu().float()
        top = min(top, len(self))
        if not len(queries) or not top:
            return torch.empty(len(queries), top), torch.empty(len(queries), top, dtype=torch.int64)
        if prior:  # one more dimension holds it
            queries = torch.cat([queries, torch.full((len(queries), 1), prior)], 1)
        asked = np.ascontiguousarray(queries.numpy())
        scores, indices = torch.empty(len(queries), 0), torch.empty(len(queries), 0, dtype=torch.int64)
        for start in range(0, len(self), BLOCK):
            rows = self.vectors[start : start + BLOCK]
            if prior:
                rows = torch.cat([rows, self.zipf[start : start + BLOCK, None]], 1)
            held = np.ascontiguousarray(rows.numpy())
            nearest = faiss.knn(asked, held, min(top, len(held)), metric=faiss.METRIC_INNER_PRODUCT)
            scores = torch.cat([scores, torch.from_numpy(nearest[0])], 1)
            indices = torch.cat([indices, torch.from_numpy(nearest[1]) + start], 1)
            scores, kept = scores.topk(min(top, scores.shape[1]))
            indices = indices.gather(1, kept)
        return scores - prior * self.zipf[indices], indices

    def save(self, path: Path | str) -> None:
        """Write one safetensors file: `vectors`, `zipf`, and `phrases` as the bytes of UTF-8 text, one a line."""
        text = np.frombuffer("\n".join(self.phrases).encode(), dtype=np.uint8).copy()
        arrays = {"vectors": self.vectors.contiguous(), "zipf": self.zipf, "phrases": torch.from_numpy(text)}
        with atomic_write(path) as temporary:
            save_file(arrays, temporary, metadata=FORMAT)

    @classmethod
    def load(cls, path: Path | str) -> Vocabulary:
        """Read what `save` wrote; `InsightError` names a file that is missing, damaged or something else."""
        remedy = "delete it and name the concepts again"
        if not Path(path).is_file():
            raise InsightError(f"{path}: no such file")
        try:
            with safe_open(path, framework="pt") as file:
                if file.metadata() != FORMAT:
                    raise InsightError(f"{path}: expected an embedded vocabulary, found {file.metadata()}; {remedy}")
                vectors, zipf, text = (file.get_tensor(name) for name in ("vectors", "zipf", "phrases"))
        except SafetensorError as error:
            raise InsightError(f"{path}: expected safetensors, found a damaged file ({error}); {remedy}") from None
        phrases = tuple(text.numpy().tobytes().decode().split("\n"))
        if vectors.dim() != 2 or not len(phrases) == len(vectors) == len(zipf):
            raise InsightError(f"{path}: expected a vector for each of {len(phrases)} phrases, found others; {remedy}")
        return cls(phrases, vectors, zipf)


@torch.no_grad()
def _embed(
    words: WordList,
    encode_text: Callable[[list[str]], Tensor],
    templates: Sequence[str],
    chunks: Path | None,
    progress: bool,
) -> Float[Tensor, "v d"]:
    """Unit vectors in the list's order. `chunks`: a folder that keeps them while they are made, of lists that are long.

    Chunks are looked for under their number alone: the folder belongs to one list, encoder and set of templates.
    """
    order = sorted(range(len(words)), key=lambda i: len(words.phrases[i]))  # like lengths together: less padding
    parts = []
    with tqdm(total=len(words), desc="embedding words", unit=" phrases", disable=not progress) as bar:
        for number, start in enumerate(range(0, len(words), CHUNK)):
            phrases = [words.phrases[i] for i in order[start : start + CHUNK]]
            path = chunks / f"{number:05d}.safetensors" if chunks is not None and len(words) > CHUNK else None
            part = _read_chunk(path, len(phrases)) if path else None
            if part is None:
                part = torch.cat([*_embed_batches(phrases, encode_text, templates, bar)])
                if path:
                    with atomic_write(path) as temporary:
                        save_file({"vectors": part}, temporary)
            else:
                bar.update(len(phrases))
            parts.append(part)
    vectors = torch.cat(parts)
    return torch.empty_like(vectors).index_copy_(0, torch.tensor(order), vectors)


def _embed_batches(
    phrases: list[str], encode_text: Callable[[list[str]], Tensor], templates: Sequence[str], bar: tqdm
) -> Iterator[Float[Tensor, "b d"]]:
    for start in range(0, len(phrases), BATCH):
        batch = phrases[start : start + BATCH]
        texts = [[template.replace("{}", phrase) for phrase in batch] for template in templates]
        family = torch.stack([_unit(_checked(encode_text(of_template), len(batch))) for of_template in texts])
        yield _unit(family.mean(0))
        bar.update(len(batch))


def _read_chunk(path: Path, count: int) -> Float[Tensor, "b d"] | None:
    """The vectors of a chunk; None where it is missing or damaged: it is made again."""
    try:
        with safe_open(path, framework="pt") as file:
            vectors = file.get_tensor("vectors")
    except (OSError, SafetensorError):
        return None
    return vectors if vectors.dim() == 2 and len(vectors) == count else None


def _checked(vectors: Tensor, count: int) -> Tensor:
    vectors = vectors.detach().cpu().float()
    if vectors.dim() != 2 or len(vectors) != count or not bool(vectors.isfinite().all()):
        found = f"{list(vectors.shape)}{'' if bool(vectors.isfinite().all()) else ' with NaN or infinity'}"
        raise InsightError(f"Vocabulary.embed: expected {count} finite text vectors, found {found}")
    return vectors


def _unit(vectors: Tensor) -> Tensor:
    return torch.nn.functional.normalize(vectors, dim=-1)
