"""Word lists: the shipped one is as promised, a user's file is read or refused in one line."""

import pytest

from naming import load_phrases
from sae import InsightError


def test_the_shipped_list_has_twenty_thousand_distinct_phrases_common_ones_first():
    words = load_phrases()
    assert len(words) >= 20_000
    assert len({phrase.casefold() for phrase in words.phrases}) == len(words)
    assert list(words.zipf) == sorted(words.zipf, reverse=True)
    assert 0 <= words.zipf[-1] < words.zipf[0] < 8


def test_the_shipped_list_names_what_photographs_show():
    phrases = set(load_phrases().phrases)
    assert {"dog", "palm tree", "traffic light", "sky", "brick wall", "striped", "grass", "wheel", "face"} <= phrases


def test_the_shipped_list_is_short_phrases_without_underscores():
    for phrase in load_phrases().phrases:
        assert "_" not in phrase
        assert len(phrase) <= 40
        assert len(phrase.split()) <= 6


def test_blank_lines_spaces_and_repeats_do_not_count(tmp_path):
    path = tmp_path / "words.txt"
    path.write_text("\ufeffdog\n\n  red   panda \t3.5\r\nDog\n\t\ncat\t\n", encoding="utf-8")
    words = load_phrases(path)
    assert words.phrases == ("dog", "red panda", "cat")
    assert words.zipf == (0.0, 3.5, 0.0)


def test_any_script_is_read(tmp_path):
    path = tmp_path / "words.txt"
    path.write_text("שלום\n🦜\nzażółć\n", encoding="utf-8")
    assert load_phrases(path).phrases == ("שלום", "🦜", "zażółć")


@pytest.mark.parametrize("content", [b"", b"\n\n \n\t\n", b"\xef\xbb\xbf"])
def test_a_file_without_phrases_is_refused(tmp_path, content):
    path = tmp_path / "words.txt"
    path.write_bytes(content)
    with pytest.raises(InsightError, match=r"words\.txt: expected phrases"):
        load_phrases(path)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("caf\xe9\n".encode("latin-1"), "UTF-8"),
        (b"dog\n" + b"a" * 10_000, r"line 2: expected a phrase of at most 200 .* found 10000"),
        (b"cat\x00dog\n", "line 1"),
        (b"dog\t3.1\ncat\tmany\n", "line 2: expected a Zipf frequency"),
        (b"dog\tnan\n", "line 1: expected a Zipf frequency"),
    ],
)
def test_what_is_no_list_is_refused_with_its_place(tmp_path, content, message):
    path = tmp_path / "words.txt"
    path.write_bytes(content)
    with pytest.raises(InsightError, match=message) as error:
        load_phrases(path)
    assert "\n" not in str(error.value)
    assert "words.txt" in str(error.value)


def test_a_missing_file_and_a_folder_are_refused(tmp_path):
    for path in (tmp_path / "none.txt", tmp_path):
        with pytest.raises(InsightError, match="cannot be read"):
            load_phrases(path)
