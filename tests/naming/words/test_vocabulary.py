"""Vocabulary: templates averaged as published, vectors cached, the nearest phrases those of a full ranking."""

import hashlib

import pytest
import torch
from safetensors.torch import save_file

from naming import Vocabulary, WordList
from sae import InsightError

WORDS = WordList(tuple(f"word {i}" for i in range(600)), tuple(i / 100 for i in range(600)))


class Encoder:
    """A text encoder: any text a random direction of its own, told by its hash. Counts what it is asked."""

    def __init__(self) -> None:
        self.asked: list[str] = []

    def __call__(self, texts: list[str]) -> torch.Tensor:
        self.asked.extend(texts)
        return torch.stack([self.vector(text) for text in texts])

    @staticmethod
    def vector(text: str) -> torch.Tensor:
        seed = int.from_bytes(hashlib.sha256(text.encode()).digest()[:4], "big")
        return torch.nn.functional.normalize(torch.randn(7, generator=torch.Generator().manual_seed(seed)), dim=0)


def test_a_phrase_stands_at_the_renormalised_mean_over_the_templates():
    templates = ("a photo of a {}", "{}", "{} and {}")
    vocabulary = Vocabulary.embed(WORDS, Encoder(), templates, progress=False)
    for i in (0, 255, 256, 599):
        phrase = WORDS.phrases[i]
        texts = [f"a photo of a {phrase}", phrase, f"{phrase} and {phrase}"]
        mean = torch.stack([Encoder.vector(text).double() for text in texts]).mean(0)
        torch.testing.assert_close(vocabulary.vectors[i].double(), mean / mean.norm(), atol=1e-6, rtol=0)
    assert vocabulary.phrases == WORDS.phrases
    assert vocabulary.zipf.tolist() == pytest.approx(WORDS.zipf)


def test_braces_in_a_phrase_are_only_text():
    vocabulary = Vocabulary.embed(WordList(("a {b} {0}",), (0.0,)), Encoder(), ("the {}",), progress=False)
    torch.testing.assert_close(vocabulary.vectors[0], Encoder.vector("the a {b} {0}"))


def test_what_is_cached_is_not_embedded_again(tmp_path):
    encoder = Encoder()
    first, second = (
        Vocabulary.embed(WORDS, encoder, cache=tmp_path, fingerprint="f", progress=False) for _ in range(2)
    )
    assert len(encoder.asked) == 600
    assert torch.equal(first.vectors, second.vectors)
    assert (first.phrases, first.zipf.tolist()) == (second.phrases, second.zipf.tolist())


def test_other_words_templates_or_encoders_are_cached_apart(tmp_path):
    encoder = Encoder()
    few = WordList(("dog",), (1.0,))
    for words, templates, fingerprint in [
        (few, ("{}",), "f"),
        (few, ("a {}",), "f"),
        (few, ("{}",), "g"),
        (WordList(("cat",), (1.0,)), ("{}",), "f"),
    ]:
        Vocabulary.embed(words, encoder, templates, cache=tmp_path, fingerprint=fingerprint, progress=False)
    assert encoder.asked == ["dog", "a dog", "dog", "cat"]


def test_a_damaged_cache_is_made_again(tmp_path):
    made = Vocabulary.embed(WORDS, Encoder(), cache=tmp_path, fingerprint="f", progress=False)
    (file,) = tmp_path.iterdir()
    file.write_bytes(file.read_bytes()[:100])
    again = Vocabulary.embed(WORDS, Encoder(), cache=tmp_path, fingerprint="f", progress=False)
    assert torch.equal(made.vectors, again.vectors)
    assert torch.equal(Vocabulary.load(file).vectors, made.vectors)


def test_a_cache_needs_to_know_the_encoder(tmp_path):
    with pytest.raises(InsightError, match="fingerprint"):
        Vocabulary.embed(WORDS, Encoder(), cache=tmp_path, progress=False)


class Killed(BaseException):
    """An end by force."""


def codes(texts: list[str]) -> torch.Tensor:
    """A text encoder: the first bytes of each text's hash."""
    digests = b"".join(hashlib.sha256(text.encode()).digest()[:8] for text in texts)
    return torch.frombuffer(bytearray(digests), dtype=torch.uint8).view(-1, 8).float() - 127.5


def test_a_long_list_goes_on_where_it_was_ended(tmp_path):
    words = WordList(tuple(f"{i} " + "x" * (i % 7) for i in range(20_000)), (0.0,) * 20_000)
    whole = Vocabulary.embed(words, codes, progress=False)
    asked = []

    def ended(texts: list[str]) -> torch.Tensor:
        asked.extend(texts)
        if len(asked) > 17_000:
            raise Killed
        return codes(texts)

    with pytest.raises(Killed):
        Vocabulary.embed(words, ended, cache=tmp_path, fingerprint="f", progress=False)
    chunks = sorted(tmp_path.rglob("0*.safetensors"))
    assert len(chunks) == 2
    chunks[0].write_bytes(chunks[0].read_bytes()[:1000])  # and one of them is damaged
    again = []

    def encode(texts: list[str]) -> torch.Tensor:
        again.extend(texts)
        return codes(texts)

    resumed = Vocabulary.embed(words, encode, cache=tmp_path, fingerprint="f", progress=False)
    assert torch.equal(resumed.vectors, whole.vectors)
    assert len(again) == 20_000 - 8192
    assert [file.name for file in tmp_path.rglob("*")] == [path.name for path in tmp_path.glob("*.safetensors")]
    assert torch.equal(
        Vocabulary.embed(words, ended, cache=tmp_path, fingerprint="f", progress=False).vectors, whole.vectors
    )


def test_the_nearest_of_very_many_are_those_of_a_full_ranking(generator):
    vocabulary = random_vocabulary(generator, 150_000)
    queries = torch.nn.functional.normalize(torch.randn(20, 16, generator=generator), dim=1)
    for prior in (0.0, 0.05):
        cosines, indices = vocabulary.nearest(queries, 5, prior=prior)
        exact = queries.double() @ vocabulary.vectors.double().T
        ranked_by = exact + prior * vocabulary.zipf.double()
        torch.testing.assert_close(ranked_by.gather(1, indices), ranked_by.topk(5).values, atol=1e-6, rtol=0)
        torch.testing.assert_close(cosines.double(), exact.gather(1, indices), atol=1e-5, rtol=0)
        assert indices.unique().max() > 65_536
        assert all(len(set(row)) == 5 for row in indices.tolist())


def random_vocabulary(generator: torch.Generator, count: int) -> Vocabulary:
    vectors = torch.nn.functional.normalize(torch.randn(count, 16, generator=generator), dim=1)
    return Vocabulary(tuple(map(str, range(count))), vectors, torch.rand(count, generator=generator) * 6)


@pytest.mark.parametrize("prior", [0.0, 0.03])
def test_the_nearest_are_those_of_a_full_ranking(generator, prior):
    vocabulary = random_vocabulary(generator, 300)
    queries = torch.nn.functional.normalize(torch.randn(50, 16, generator=generator), dim=1)
    cosines, indices = vocabulary.nearest(queries, 9, prior=prior)
    exact = queries.double() @ vocabulary.vectors.double().T
    ranked_by = exact + prior * vocabulary.zipf.double()
    torch.testing.assert_close(ranked_by.gather(1, indices), ranked_by.topk(9).values, atol=1e-6, rtol=0)
    torch.testing.assert_close(cosines.double(), exact.gather(1, indices), atol=1e-5, rtol=0)
    assert all(len(set(row)) == 9 for row in indices.tolist())


def test_more_than_there_is_gives_all_and_no_query_gives_none(generator):
    vocabulary = random_vocabulary(generator, 4)
    assert vocabulary.nearest(torch.ones(3, 16), 9)[1].shape == (3, 4)
    assert vocabulary.nearest(torch.ones(0, 16), 2)[1].shape == (0, 2)


def test_joined_vocabularies_hold_all_phrases(generator):
    one, other = random_vocabulary(generator, 3), random_vocabulary(generator, 4)
    joined = Vocabulary.join([one, other])
    assert joined.phrases == one.phrases + other.phrases
    assert torch.equal(joined.vectors[3:], other.vectors)
    with pytest.raises(InsightError, match="none"):
        Vocabulary.join([])


def test_a_saved_vocabulary_is_read_back_in_any_script(tmp_path):
    saved = Vocabulary(("שלום", "🦜 parrot", "dog"), torch.eye(3), torch.tensor([0.0, 1.0, 5.1]))
    saved.save(tmp_path / "v.safetensors")
    loaded = Vocabulary.load(tmp_path / "v.safetensors")
    assert loaded.phrases == saved.phrases
    assert torch.equal(loaded.vectors, saved.vectors)
    assert torch.equal(loaded.zipf, saved.zipf)


def test_what_is_no_vocabulary_is_refused(tmp_path):
    path = tmp_path / "v.safetensors"
    with pytest.raises(InsightError, match="no such file"):
        Vocabulary.load(path)
    path.write_bytes(b"something else")
    with pytest.raises(InsightError, match="damaged"):
        Vocabulary.load(path)
    save_file({"vectors": torch.eye(2)}, path)
    with pytest.raises(InsightError, match="expected an embedded vocabulary"):
        Vocabulary.load(path)


@pytest.mark.parametrize(
    ("encode", "message"),
    [
        (lambda texts: torch.ones(len(texts) + 1, 4), "600"),
        (lambda texts: torch.full((len(texts), 4), torch.nan), "NaN"),
        (lambda texts: torch.ones(len(texts)), "finite text vectors"),
    ],
)
def test_an_encoder_that_gives_something_else_is_refused(encode, message):
    words = WordList(WORDS.phrases[:600], WORDS.zipf)
    with pytest.raises(InsightError, match=message if message != "600" else "expected 256 finite"):
        Vocabulary.embed(words, encode, progress=False)


@pytest.mark.parametrize("templates", [(), ("a photo",)])
def test_templates_need_a_place_for_the_phrase(templates):
    with pytest.raises(InsightError, match=r"\{\}"):
        Vocabulary.embed(WORDS, Encoder(), templates, progress=False)


def test_no_words_are_refused():
    with pytest.raises(InsightError, match="found none"):
        Vocabulary.embed(WordList((), ()), Encoder(), progress=False)
