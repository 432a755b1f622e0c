"""`insight backbones`: a table for people, JSON for programs, one line for mistakes."""

import json

import pytest

from insight.cli import main


def test_without_words_small_and_the_way_to_the_others_are_shown(capsys: pytest.CaptureFixture[str]) -> None:
    main(["backbones"])
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].split() == ["name", "values", "patches", "pixels", "text", "MB", "weights", "licence"]
    assert lines[1].split()[:7] == ["small", "384", "16", "×", "16", "224", "yes"]
    assert "insight backbones WORD..." in lines[-2]


def test_words_filter_the_list(capsys: pytest.CaptureFixture[str]) -> None:
    main(["backbones", "SIGLIP-512", "b-16"])
    lines = capsys.readouterr().out.splitlines()[1:]
    assert [line.split()[0] for line in lines] == ["openclip:ViT-B-16-SigLIP-512/webli"]
    assert " 815 " in lines[0]
    main(["backbones", "openclip"])
    assert capsys.readouterr().out.splitlines()[-1].endswith("worked out for up to 40: add a word")


def test_json_has_everything(capsys: pytest.CaptureFixture[str]) -> None:
    main(["backbones", "timm", "test_vit.", "--json"])
    (found,) = json.loads(capsys.readouterr().out)["backbones"]
    assert found["name"] == "timm:test_vit.r160_in1k"
    assert (found["dim"], found["grid"], found["image_size"], found["text"]) == (64, [10, 10], 160, False)
    assert found["origin"] == "the hub (timm/test_vit.r160_in1k)"
    main(["backbones", "--json"])
    listed = json.loads(capsys.readouterr().out)
    assert listed["backbones"][0]["name"] == "small"
    assert min(listed["known"].values()) > 100


def test_words_that_nothing_has_end_in_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as stop:
        main(["backbones", "no-such-thing"])
    assert stop.value.code == 2
    assert capsys.readouterr().err.startswith("insight: no encoder has no-such-thing in its name")
