"""Sentence vectors are the reference's: mean of the real tokens' last states, unit length, in the order asked."""

import random

import pytest
import torch

from insight.backbones.small.minilm import MAX_TOKENS, MiniLM

WORDS = "dog red car the a of window sky runs quickly hospital antidisestablishmentarianism über 2,5 naïve x".split()


@pytest.fixture(scope="module")
def encoder() -> MiniLM:
    return MiniLM().eval()


def pooled_one_by_one(encoder: MiniLM, texts: list[str]) -> torch.Tensor:
    """The pooling written out in float64: one text at a time, so without padding, mask or order."""
    vectors = []
    encoder.bert.double()
    try:
        for text in texts:
            ids = torch.tensor([encoder.tokenizer.encode(text).ids])
            states = encoder.bert(input_ids=ids, attention_mask=torch.ones_like(ids)).last_hidden_state[0]
            mean = sum(states[i] for i in range(len(states))) / len(states)
            vectors.append(mean / mean.pow(2).sum().sqrt())
    finally:
        encoder.bert.float()
    return torch.stack(vectors)


def test_batched_vectors_equal_the_written_out_pooling(encoder: MiniLM) -> None:
    seed = random.randrange(10**6)
    print(f"seed: {seed}")
    rng = random.Random(seed)
    texts = [" ".join(rng.choices(WORDS, k=rng.choice([0, 1, 2, 3, 20]))) for _ in range(15)]
    with torch.no_grad():
        found, expected = encoder(texts), pooled_one_by_one(encoder, texts)
    assert found.shape == (15, 384)
    torch.testing.assert_close(found.double(), expected, atol=2e-6, rtol=0)


def test_the_first_tokens_of_a_long_text_count(encoder: MiniLM) -> None:
    long = "dog " * 1000
    with torch.no_grad():
        assert len(encoder.tokenizer.encode(long).ids) == MAX_TOKENS
        torch.testing.assert_close(encoder([long]), encoder([long + "cat"]))


def test_meaning_is_near_meaning(encoder: MiniLM) -> None:
    with torch.no_grad():
        dog, puppy, tax = encoder(["a dog in the park", "a puppy playing on grass", "the tax return was late"])
    assert dog @ puppy > 0.4 > dog @ tax + 0.2


def test_no_texts_give_no_vectors(encoder: MiniLM) -> None:
    assert encoder([]).shape == (0, 384)
