"""Patterns with braces stand for what a shell would make of them."""

import shutil
import subprocess

import pytest

from insight.data.braces import expand_braces
from sae.errors import InsightError

PATTERNS = [
    "a.tar",
    "a-{0..3}.tar",
    "a-{000..012}.tar",
    "a-{08..11}.tar",
    "a-{9..7}.tar",
    "{train,val}/{0..2}.tar",
    "{train-{0..2},val-{00..01}}.tar",
    "x{a,}y",
    "{a,b{1,2},c}{0..1}",
    "{{a,b},c}",
]


@pytest.mark.skipif(shutil.which("bash") is None, reason="compares with bash, which is not here")
@pytest.mark.parametrize("pattern", PATTERNS)
def test_as_a_shell_has_it(pattern: str) -> None:
    shell = subprocess.run(["bash", "-c", f"printf '%s\\n' {pattern}"], capture_output=True, text=True, check=True)
    assert expand_braces(pattern) == shell.stdout.splitlines()


def test_as_the_package_webdataset_has_it() -> None:
    braceexpand = pytest.importorskip("braceexpand", reason="compares with webdataset: pip install webdataset")
    for pattern in PATTERNS:
        assert expand_braces(pattern) == list(braceexpand.braceexpand(pattern))


def test_other_braces_are_text() -> None:
    for text in ("a{b}c.tar", "{}", "a}b{c", "pipe:awk '{print}' {", "{1..x}"):
        assert expand_braces(text) == [text]


def test_absurd_ranges_are_refused() -> None:
    for pattern in ("{0..99999999999}.tar", "{1..9999}{1..9999}"):
        with pytest.raises(InsightError, match="at most 1000000 names"):
            expand_braces(pattern)
