"""`python -m tests.insight.retrieval.kill_server FOLDER FIRST EVERY`: builds that kill themselves with SIGKILL.

A step is a rename, a removal, or a folder made. At step FIRST and every EVERY steps behind it, one process builds an
index and dies just before it; what is there then must be no index or a whole one. A second process builds to the end.
Prints the steps, or what was wrong.
"""

import os
import signal
import sys
from pathlib import Path

import torch

from insight.retrieval import ConceptIndex

from ..cache.stand_in import contents
from .worlds import World, make_world

STEPS = {"os.rename", "os.remove", "os.rmdir", "os.mkdir"}


def child(world: World, folder: Path, die_at: int) -> bool:
    """Build in a process of its own; whether it was killed."""
    pid = os.fork()
    if pid == 0:
        count = 0

        def audit(event: str, arguments: tuple[object, ...]) -> None:
            nonlocal count
            if event in STEPS:
                count += 1
                if count == die_at:
                    os.kill(os.getpid(), signal.SIGKILL)

        try:
            sys.addaudithook(audit)
            # flat=100: patches are compressed, image vectors are not
            settings = {"patches": 9, "part_images": 7, "flat": 100, "progress": False}
            ConceptIndex.build(world.model, world.cache, folder, **settings)
        except BaseException:
            sys.excepthook(*sys.exc_info())
            os._exit(1)
        os._exit(0)
    code = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
    assert code in (0, -signal.SIGKILL), f"step {die_at}: exit code {code}"
    return code != 0


def main() -> None:
    torch.set_num_threads(1)
    root = Path(sys.argv[1])
    world = make_world(root / "world")
    assert not child(world, root / "whole", 0)
    expected = contents(root / "whole")
    step, every = int(sys.argv[2]), int(sys.argv[3])
    died = []
    while child(world, root / f"{step}", step):
        found = contents(root / f"{step}")
        assert not found or found == expected, f"step {step}: half an index"
        assert not child(world, root / f"{step}", 0)
        assert contents(root / f"{step}") == expected, f"step {step}: another index"
        assert not (root / f"{step}.unfinished").exists(), f"step {step}: something left"
        died.append(step)
        step += every
    print(*died)


if __name__ == "__main__":
    main()
