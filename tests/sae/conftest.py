"""Fresh random inputs for every test: the seed is drawn anew each run and shown when a test fails."""

import secrets

import pytest
import torch


@pytest.fixture
def generator() -> torch.Generator:
    seed = secrets.randbelow(2**31)
    print(f"generator seed: {seed}")
    return torch.Generator().manual_seed(seed)
