"""Fresh random numbers for the tests of this folder; pytest shows the seed of a test that fails."""

import secrets

import pytest
import torch


@pytest.fixture
def seed() -> int:
    value = secrets.randbits(31)
    print(f"seed {value}")
    return value


@pytest.fixture
def generator(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)
