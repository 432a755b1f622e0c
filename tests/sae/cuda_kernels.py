"""What the tests of the Triton kernels share: where they run, random inputs, dense forms, and closeness."""

import importlib.util
import os
import subprocess
import sys

import pytest
import torch

from sae.kernels import Pattern

INTERPRETED = os.environ.get("TRITON_INTERPRET") == "1"
DEVICE = "cpu" if INTERPRETED else "cuda"
TYPES = [torch.float32, torch.bfloat16, torch.float16]


def on_device(test):
    """A test of kernels: of every run where they are interpreted, else of `pytest -m gpu`."""
    if INTERPRETED:
        return test
    return pytest.mark.gpu(pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")(test))


def pass_interpreted(file):
    """Run the tests of `file` in a process whose kernels are interpreted; skipped where triton is not installed."""
    if importlib.util.find_spec("triton") is None:
        pytest.skip("triton is not installed")
    command = [sys.executable, "-m", "pytest", file, "-p", "no:cacheprovider", "-x"]
    run = subprocess.run(command, env=os.environ | {"TRITON_INTERPRET": "1"}, capture_output=True, text=True)
    assert run.returncode == 0, run.stdout[-6000:] + run.stderr[-2000:]


def normal(generator, *shape, dtype=torch.float32):
    return torch.randn(*shape, generator=generator).to(dtype).to(DEVICE)


def some(generator, n, m, density=0.2):
    """bool [n, m] on the CPU, with an empty row, a full row and an empty column where there is room."""
    mask = torch.rand(n, m, generator=generator) < density
    mask[n // 2] = False
    mask[-1] = True
    mask[:, m // 3] &= n == 1
    return mask


def pattern_of(mask):
    counts = mask.sum(1)
    offsets = torch.cat([counts.new_zeros(1), counts.cumsum(0)])
    return Pattern(offsets.to(DEVICE), mask.nonzero()[:, 1].to(torch.int32).to(DEVICE), mask.shape[1])


def scattered(mask, values):
    """float64 [n, m] on the CPU: values at the places of the mask."""
    dense = torch.zeros(mask.shape, dtype=torch.float64)
    dense[mask] = values.double().cpu()
    return dense


def close(found, expected, tolerance=2e-5):
    """Within `tolerance` of the largest expected size."""
    assert found.shape == expected.shape
    scale = float(expected.abs().max()) if expected.numel() else 1.0
    assert found.numel() == 0 or float((found.double().cpu() - expected).abs().max()) <= tolerance * (scale or 1.0)
