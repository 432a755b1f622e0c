"""Writing takes as much memory for many images as for few."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[4]
WRITER = """
import resource, sys
from pathlib import Path
import torch
from PIL import Image
from insight.data import Item
from tests.insight.cache.stand_in import Pictures, StandIn, write
photo = Image.effect_noise((24, 24), 90).convert("RGB")
class Many(Pictures):
    def item(self, id, number):
        return Item(id, "label", None, lambda: photo)
class Wide(StandIn):
    dim = 512
    def __init__(self):
        super().__init__()
        self.weight = torch.nn.Parameter(torch.ones(3, 512))
parts = [f"{chr(97 + number)}5000" for number in range(int(sys.argv[1]))]
cache = write(Many(parts), Path(sys.argv[2]), Wide(), shard_images=256, batch_size=64)
print(cache.n_images, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss >> 10)
"""


@pytest.mark.soak
def test_memory_does_not_grow_with_the_images(tmp_path: Path) -> None:
    peaks = []
    for parts in (1, 12):
        command = [sys.executable, "-c", WRITER, str(parts), str(tmp_path / f"{parts}")]
        done = subprocess.run(command, cwd=ROOT, env=os.environ | {"OMP_NUM_THREADS": "1"}, stdout=-1, check=True)
        images, peak = map(int, done.stdout.split())
        assert images == 5000 * parts
        peaks.append(peak)
        shutil.rmtree(tmp_path / f"{parts}")
    assert peaks[1] - peaks[0] < 100, peaks  # MiB; the features of 5,000 images take 40, those of 60,000 take 480
