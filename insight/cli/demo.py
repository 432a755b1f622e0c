"""`insight demo`: the whole way on real photographs that it fetches itself."""

from pathlib import Path

from .options import Device, Folder, pick_device


def demo(out: Folder = Path("demo"), device: Device = None) -> None:
    """Fetch 919 photographs and the weights, build a model of their concepts, and explain photos it has not seen.

    Takes a few minutes on two cores. Writes OUT/report.html (open this one), OUT/explanation.png,
    OUT/explanation.json and OUT/model; OUT/ATTRIBUTION.md credits the photographers. A killed demo goes on where it
    stopped.

    Example: insight demo --out demo

    Args:
        out: Folder to write to.
    """
    from .outputs import check_folder

    check_folder("--out", out)

    from ..demo import run_demo

    run_demo(out, device=pick_device(device))
