"""Files of phrases are read in any script, or refused in one line that names the place."""

import pytest

from naming import load_phrases
from sae import InsightError


@pytest.fixture
def read(tmp_path):
    """The phrases of a file with this content."""

    def words_of(content: str | bytes):
        path = tmp_path / "words.txt"
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
        return load_phrases(path)

    return words_of


def test_blank_lines_spaces_and_repeats_do_not_count(read):
    words = read("\ufeffdog\n\n  red   panda \t3.5\r\nDog\n\t\ncat\t\n\u200b\n\u3000\n")
    assert words.phrases == ("dog", "red panda", "cat")
    assert words.zipf == (0.0, 3.5, 0.0)
    assert words.repeats == 1


def test_any_script_is_read(read):
    texts = ("שלום", "🦜", "zażółć", "猫", "नमस्ते", "👩‍🚀", "❤️", "🏴󠁧󠁢󠁥󠁮󠁧󠁿", "می‌خواهم")
    assert read("\n".join(texts)).phrases == texts


@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"])
def test_lines_end_as_any_system_ends_them(read, end):
    assert read(end.join(["dog", "red panda", ""])).phrases == ("dog", "red panda")


@pytest.mark.parametrize(
    "same",
    [
        "cafe\u0301",  # the accent as a character of its own
        "CAFÉ",
        "\u200fcafé\u200e",
        "ca\u00adfé",
        "\u202ecafé\u202c",
        "\ufeffcaf\u200bé",
        "\u200dcafé",
        "\u00a0café ",
    ],
)
def test_phrases_that_look_the_same_are_one(read, same):
    words = read(f"café\n{same}\n")
    assert words.phrases == ("café",)
    assert words.repeats == 1


def test_a_file_that_repeats_itself_gives_each_phrase_once_and_says_so(tmp_path, capsys):
    path = tmp_path / "words.txt"
    path.write_text("".join(f"word {i % 10}\t{1 + i // 10}\n" for i in range(100_000)))
    words = load_phrases(path)
    assert words.phrases == tuple(f"word {i}" for i in range(10))
    assert words.zipf == (1.0,) * 10
    assert words.repeats == 99_990
    assert "99990 of 100000 lines repeat an earlier one" in capsys.readouterr().err


@pytest.mark.parametrize("content", [b"", b"\n\n \n\t\n", b"\xef\xbb\xbf", "\u200b\n\u200d\n"])
def test_a_file_without_phrases_is_refused(read, content):
    with pytest.raises(InsightError, match=r"words\.txt: expected phrases"):
        read(content)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("caf\xe9\n".encode("latin-1"), "UTF-8"),
        ("dog\n".encode("utf-16"), "UTF-8"),
        ("dog\n".encode("utf-16-le"), "line 1: expected a phrase, found a control character .U.0000."),
        (b"dog\n" + b"a" * 10_000, r"line 2: expected a phrase of at most 200 .* found 10000"),
        ("dog\n" + "é" * 10_000, r"line 2: expected a phrase of at most 200 .* found 10000"),
        (b"cat\x00dog\n", "line 1"),
        (b"cat\n\ndog\x1b[31m\n", "line 3: expected a phrase, found a control character .U.001B."),
        (b"cat\x0bdog\n", "line 1"),
        ("cat\x85dog\n", "line 1"),
        ("cat\u2028dog\n", "line 1: expected a phrase, found a line separator"),
        ("\ue000\n", "private"),
        ("caf\ufffd\n", "lost in conversion"),
        ("dog\n\u0301\n", "line 2: expected a letter first, found an accent alone .U.0301."),
        (b"dog\t3.1\ncat\tmany\n", "line 2: expected a Zipf frequency"),
        (b"dog\tnan\n", "line 1: expected a Zipf frequency"),
        (b"dog\t3.1\t4\n", "line 1: expected a Zipf frequency"),
    ],
)
def test_what_is_no_list_is_refused_with_its_place(read, content, message):
    with pytest.raises(InsightError, match=message) as error:
        read(content)
    assert "\n" not in str(error.value)
    assert str(error.value).isascii()
    assert "words.txt" in str(error.value)
