"""Fresh random numbers for the tests of this folder; pytest shows the seed of a test that fails."""

import secrets

import pytest
import torch


@pytest.fixture
def generator() -> torch.Generator:
    seed = secrets.randbits(31)
    print(f"seed {seed}")
    return torch.Generator().manual_seed(seed)
