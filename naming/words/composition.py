"""Names of two parts: "rusty car", "wheel of a car", where a bare name says less than the concept does.

In: concepts in text space with their bare names, attributes, and the encoder. Out: for each concept the composed
phrase that fits it best, and how often one that gains as much is there by chance.

How it is decided. A concept's nouns are its nearest bare names without an attribute in them. The attributes that are
nearest to it, compared with the mean of all concepts, are put before them; only these phrases are embedded. The *gain*
is the cosine of the best composed phrase less that of the best bare name. The best of several gains something on any
vector. Each concept therefore has decoys: vectors with the concept's cosine to each of its nouns, whose rest is drawn
from the normal distribution with the mean and covariance of the rests of all concepts. They lean where concepts lean
in general, but to no attribute of their own; attributes are chosen for them in the same way. Of the concepts that gain
at least t, about as many are there by chance as decoys do, divided by the number of decoys a concept has;
(1 + that) / concepts estimates the share, and its least value over all t up to a concept's own gain is the concept's
q-value (target-decoy estimate of the false discovery rate: Elias and Gygi, 2007; Barber and Candès, 2015).

What this does not say is that the phrase is right. It says that the concept's vector leans to it more than chance would
have it; whether the text space puts an attribute where eyes see it is the encoder's affair, and a concept that is two
things leans to both ("fruiting parrot": parrots and bananas). With `small`, 2,048 concepts of 5,376 photos, nothing
reaches a q-value of 0.1; of the 52 largest gains 17 are apt to the eye and 12 half so where concepts are decoded with
their parents, 7 and 15 where they are the mean feature of their regions.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn.functional import normalize

from sae.errors import InsightError

from ..names.nearest import Names
from .phrases import WordList
from .titles import of_parent
from .wordforms import word_key
from .wordnet import WordNet

Embed = Callable[[list[str]], Float[Tensor, "n d"]]
MOST_NOUNS = 2
MOST_ATTRIBUTES = 5
"""Before each noun."""
DECOYS = 4
"""For each concept. It and they need at most 50 phrases, most of them shared with others: about 14 are embedded."""
MOST_WHOLES = 2
BLOCK = 4096
STEM = 4
"""Letters: words that begin with the same ones say a thing twice ("mountainous mountain")."""


LIVING = set(
    "adult baby barefoot bearded climbing crawling crouching dressed elderly female freckled galloping grazing "
    "juvenile kneeling leaping male nesting newborn perched pregnant reclining resting roosting seated shirtless "
    "sitting sleepy soaring squatting squinting standing staring swimming tattooed winking youthful".split()
)
"""What only people and animals are; text spaces put "standing" beside whatever people wear."""
DRIVEN = set("anchored crashed docked moored motorized parked speeding towed".split())
"""What only vehicles are."""
SEXES = ("female", "male")


@dataclass(frozen=True)
class Composed:
    """For each concept its best composed phrase, None where there is none to try."""

    phrases: tuple[str | None, ...]
    scores: tuple[float, ...]
    """Cosine of the phrase with the concept; 0 where there is none."""
    gain: tuple[float, ...]
    """That less the cosine of the best bare name; 0 where there is none."""
    q_values: tuple[float, ...]
    """Share of chance finds among the concepts that gain as much; 1 where there is no phrase, or no gain."""

    def __len__(self) -> int:
        return len(self.phrases)

    def accepted(self, q: float = 0.1) -> tuple[str | None, ...]:
        """The phrases to use if a share `q` of them may be there by chance."""
        return tuple(phrase if value <= q else None for phrase, value in zip(self.phrases, self.q_values, strict=True))


def compose(
    embeddings: Float[Tensor, "m d"],
    names: Names,
    attributes: WordList,
    embed: Embed,
    *,
    wholes: Sequence[Sequence[str]] | None = None,
    seed: int = 0,
) -> Composed:
    """The best phrase "attribute noun", or "noun of a whole" where `wholes` names what a concept is part of.

    `embeddings` are unit rows (zero rows get no phrase); `names` their bare names with cosines; `embed` gives a vector
    for each phrase, in the same space and templates as the names'. It is called twice, each time with distinct phrases.
    """
    wholes = [()] * len(names) if wholes is None else wholes
    if not len(embeddings) == len(names) == len(wholes):
        raise InsightError(
            f"compose: expected names and wholes for {len(embeddings)} concepts, found {len(names)} and {len(wholes)}"
        )
    is_attribute = {word_key(attribute) for attribute in attributes.phrases}
    nouns = [[phrase for phrase in row if _is_bare(phrase, is_attribute)][:MOST_NOUNS] for row in names.phrases]
    living = (embeddings.abs().sum(1) > 0).tolist()
    tried = [concept for concept in range(len(names)) if living[concept] and nouns[concept]]
    if not tried or not len(attributes):
        return _composed(len(names), {})
    lexicon = _Lexicon(embed, [*attributes.phrases, *(noun for concept in tried for noun in nouns[concept])])
    targets = normalize(embeddings[tried].detach().cpu().float(), dim=1)
    sides = torch.cat([targets, _decoys(targets, [lexicon[nouns[concept]] for concept in tried], seed)])

    toward = lexicon[attributes.phrases].T
    usual = targets.mean(0) @ toward
    tops = min(4 * MOST_ATTRIBUTES, len(attributes))  # some will not fit the noun
    near = [row for block in sides.split(BLOCK) for row in (block @ toward - usual).topk(tops).indices.tolist()]
    choices = [
        _choices(nouns[concept], [attributes.phrases[i] for i in row], wholes[concept])
        for concept, row in zip(tried * (1 + DECOYS), near, strict=True)
    ]
    lexicon.learn(phrase for row in choices for phrase in row)
    best = [_best(vector, row, lexicon) for vector, row in zip(sides, choices, strict=True)]
    bare = torch.tensor([max(names.scores[concept]) for concept in tried])
    gain = torch.tensor([score for _, score in best]) - bare.repeat(1 + DECOYS)
    q_values = _q_values(gain[: len(tried)], gain[len(tried) :])
    found = zip(tried, best, gain.tolist(), q_values.tolist())  # of `best` and `gain` what is no decoy's
    return _composed(len(names), {concept: (*one, by, q) for concept, one, by, q in found if one[0] is not None})


class _Lexicon:
    """Unit vectors of phrases, each embedded once."""

    def __init__(self, embed: Embed, phrases: Iterable[str]) -> None:
        self._embed = embed
        self._row: dict[str, int] = {}
        self._vectors: Tensor | None = None
        self.learn(phrases)

    def learn(self, phrases: Iterable[str]) -> None:
        new = [phrase for phrase in dict.fromkeys(phrases) if phrase not in self._row]
        if not new:
            return
        vectors = self._embed(new).detach().cpu().float()
        if vectors.dim() != 2 or len(vectors) != len(new) or not bool(vectors.isfinite().all()):
            raise InsightError(f"compose: expected {len(new)} finite text vectors, found {list(vectors.shape)}")
        self._row |= {phrase: len(self._row) + i for i, phrase in enumerate(new)}
        vectors = normalize(vectors, dim=1)
        self._vectors = vectors if self._vectors is None else torch.cat([self._vectors, vectors])

    def __getitem__(self, phrases: Sequence[str]) -> Float[Tensor, "n d"]:
        assert self._vectors is not None
        return self._vectors[[self._row[phrase] for phrase in phrases]]


def _is_bare(phrase: str, is_attribute: set[str]) -> bool:
    return word_key(phrase) not in is_attribute and is_attribute.isdisjoint(map(word_key, phrase.split()))


def _choices(nouns: Sequence[str], attributes: Sequence[str], wholes: Sequence[str]) -> list[str]:
    """The composed phrases to try for one concept; `attributes` the nearest first."""
    phrases = []
    for noun in nouns:
        fitting = [attribute for attribute in attributes if _fits(attribute, noun)]
        phrases += [f"{attribute} {noun}" for attribute in fitting[:MOST_ATTRIBUTES]]
        phrases += [phrase for whole in wholes[:MOST_WHOLES] if (phrase := of_parent(noun, whole)) != noun]
    return phrases


def _fits(attribute: str, noun: str) -> bool:
    """Whether the two can stand together: nothing is said twice, and of a thing nothing that only a person is."""
    stems = {word[:STEM] for word in noun.casefold().split()}
    if any(word[:STEM] in stems for word in attribute.casefold().split()):
        return False
    is_kind_of = WordNet.load().is_kind_of
    if attribute in SEXES and any(is_kind_of(noun, sex) for sex in SEXES):
        return False  # a man is male
    if attribute in LIVING:
        return is_kind_of(noun, "organism")
    return attribute not in DRIVEN or is_kind_of(noun, "vehicle")


def _decoys(targets: Float[Tensor, "n d"], of_nouns: Sequence[Float[Tensor, "k d"]], seed: int) -> Float[Tensor, "n d"]:
    """`DECOYS` vectors for each target, [DECOYS · n, d]: the same cosines to its nouns, and nothing else of its own."""
    bases = [torch.linalg.qr(rows.T).Q for rows in of_nouns]
    parts = torch.stack([basis @ (basis.T @ target) for basis, target in zip(bases, targets, strict=True)])
    rests = targets - parts
    directions = normalize(rests, dim=1)
    mean = directions.mean(0)
    spread = (directions - mean).T @ (directions - mean) / len(directions)
    values, axes = torch.linalg.eigh(spread)
    noise = torch.randn(DECOYS, *targets.shape, generator=torch.Generator().manual_seed(seed))
    drawn = mean + (noise * values.clamp(min=0).sqrt()) @ axes.T
    drawn = torch.stack(
        [draws - draws @ basis @ basis.T for basis, draws in zip(bases, drawn.unbind(1), strict=True)], 1
    )
    return (parts + rests.norm(dim=1, keepdim=True) * normalize(drawn, dim=-1)).flatten(0, 1)


def _best(vector: Float[Tensor, " d"], phrases: Sequence[str], lexicon: _Lexicon) -> tuple[str | None, float]:
    if not phrases:
        return None, -1.0
    score, place = (lexicon[phrases] @ vector).max(0)
    return phrases[int(place)], float(score)


def _q_values(gain: Float[Tensor, " n"], of_decoys: Float[Tensor, " k"]) -> Float[Tensor, " n"]:
    """Least (1 + decoys · n / k) / targets that gain at least t, over t in (0, own gain]; 1 where nothing is gained."""
    values, order = gain.double().sort()
    others = of_decoys.double().sort().values
    targets = len(values) - torch.searchsorted(values, values)
    decoys = (len(others) - torch.searchsorted(others, values)).double() * len(values) / len(others)
    rate = ((1 + decoys) / targets).clamp(max=1).masked_fill(values <= 0, 1.0)
    least = rate.cummin(0).values  # thresholds rise
    return torch.empty_like(least).index_copy_(0, order, least)


def _composed(count: int, found: dict[int, tuple[str | None, float, float, float]]) -> Composed:
    rows = [found.get(concept, (None, 0.0, 0.0, 1.0)) for concept in range(count)]
    phrases, scores, gain, q_values = zip(*rows) if rows else ((), (), (), ())
    return Composed(tuple(phrases), tuple(scores), tuple(gain), tuple(q_values))
