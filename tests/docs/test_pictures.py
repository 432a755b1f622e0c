"""The documents' pictures are small, and their photographers named, every one."""

import pytest
from PIL import Image

from scripts.documents.credits import credits_page
from tests.docs.fences import ROOT

PICTURES = sorted((ROOT / "docs" / "pictures").glob("*.jpg"))
ATTRIBUTION = """# Attribution

- Photographs: **3**

## Photographers

### [A *star* <b>](https://example.org/a) (2)
- "One [1]" — https://example.org/a/1
- "" — https://example.org/a/2

### [B](https://example.org/b) (1)
- "&lt;I&gt;Ajaja&lt;/I&gt;" — https://example.org/b/1
"""


def test_pictures_are_small() -> None:
    sizes = [picture.stat().st_size for picture in PICTURES]
    assert len(sizes) >= 6
    assert max(sizes) < 200_000
    assert sum(sizes) < 1_500_000
    for picture in PICTURES:
        Image.open(picture).verify()


def test_all_photographs_of_the_demo_are_credited() -> None:
    text = (ROOT / "docs" / "credits.md").read_text(encoding="utf-8")
    people = [line for line in text.splitlines() if line.startswith("- [")]
    assert len(people) == 782
    assert sum(line.count("](http") - 1 for line in people) == 919
    assert "https://creativecommons.org/licenses/by/2.0/" in text


def test_a_title_stays_text_whatever_it_means_in_markdown() -> None:
    page = credits_page(ATTRIBUTION)
    assert "- [A &#42;star&#42;](https://example.org/a): [One &#91;1&#93;](https://example.org/a/1), [untitled]" in page
    assert "[Ajaja](https://example.org/b/1)" in page


@pytest.mark.parametrize("cut", ["- Photographs: **3**", '- "One [1]" — https://example.org/a/1\n', "## Photographers"])
def test_nobody_is_left_out_unnoticed(cut: str) -> None:
    with pytest.raises(ValueError, match="expected"):
        credits_page(ATTRIBUTION.replace(cut, ""))
