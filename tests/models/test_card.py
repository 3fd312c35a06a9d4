"""A card of any age, or edited by hand, is read, or refused with a message; never a traceback."""

import json

import numpy as np
import pytest
from click.testing import CliRunner
from helpers import full_card, make_answers, write_model

from cifar_model.__main__ import main
from cifar_model.answering.classifier import Classifier
from cifar_model.errors import ModelError
from cifar_model.models.card import SCHEMA, Card, load_card, read_card, write_card
from cifar_model.models.folder import list_models
from cifar_model.models.layout import CARD_FILE
from cifar_model.storage import assets_dir, write_json
from cifar_model.trust.report import read_report

LABELS = np.repeat(np.arange(10), 30)
SHIPPED = sorted((assets_dir() / "models").glob("*/card.json"))


@pytest.mark.parametrize("file", SHIPPED, ids=lambda file: file.parent.name)
def test_shipped_cards_make_sense_wholly(file):
    stored, card = json.loads(file.read_text(encoding="utf-8")), read_card(file.parent)
    assert card.problems == () and card.stored == stored
    assert card.scores.test_accuracy == stored["scores"]["test_accuracy"]
    assert card.scores.classes["cat"].recall == stored["scores"]["classes"]["cat"]["recall"]
    np.testing.assert_array_equal(card.confusion, stored["confusion"])
    np.testing.assert_array_equal(card.calibration.bins, stored["calibration"]["bins"])
    assert {str(n): one.threshold for n, one in card.sets.levels.items()} == {
        n: one["threshold"] for n, one in stored["sets"]["levels"].items()
    }
    assert (card.scope.method, card.scope.threshold) == (stored["scope"]["method"], stored["scope"]["threshold"])
    held = stored["data"].get("held_out_up_to")
    assert card.data.held_out_up_to == (None if held is None else int(held, 16))
    assert card.settings == stored["settings"] and card.epochs == stored["epochs"]


def test_parts_that_lack_are_no_problem():
    for stored in ({}, {"name": "old", "scores": {"test_accuracy": 0.8}}, {"calibration": {}, "sets": None}):
        card = Card.from_dict(stored)
        assert card.problems == () and card.schema == 0
        assert (card.calibration, card.sets, card.scope, card.mixes, card.data.test) == (None,) * 5
    assert not Card() and card and Card.from_dict({"scores": {"test_accuracy": 0.8}}).scores.test_accuracy == 0.8


@pytest.mark.parametrize(
    ("edit", "told"),
    [
        ({"scores": {"test_accuracy": "91 %"}}, "scores.test_accuracy is '91 %'; expected a number from 0 to 1"),
        ({"scores": {"test_accuracy": 91.7}}, "scores.test_accuracy is 91.7"),
        ({"scores": [1, 2]}, r"scores is \[1, 2\]; expected an object"),
        ({"epochs": 10**400}, "epochs is 1000"),
        ({"seconds": 10**400}, "seconds is 1000"),
        ({"data": {"held_out_up_to": "zz"}}, "data.held_out_up_to is 'zz'; expected 64 bits"),
        ({"sets": {"levels": {"many": {"coverage": 1}}}}, "sets.levels is 'many'; expected a level"),
        ({"calibration": {"temperature": -1}}, "calibration.temperature is -1; expected a number from 0.001"),
        ({"confusion": [[1, 2], [3]]}, "confusion is .*; expected 10 × 10 counts"),
        ({"scope": {"threshold": True}}, "scope.threshold is True; expected a number"),
        ({"command": 7}, "command is 7; expected text"),
    ],
)
def test_nonsense_is_left_out_and_told(edit, told):
    card = Card.from_dict({"name": "edited", "parameters": 5} | edit)
    assert (card.name, card.parameters) == ("edited", 5)
    (problem,) = card.problems
    with pytest.raises(ModelError, match=told):
        raise ModelError(problem)
    assert len(problem) < 200


@pytest.mark.parametrize("schema", [SCHEMA + 1, -1, "1", 1.5, True, None])
def test_a_newer_card_is_refused(tmp_path, schema):
    write_json(tmp_path / CARD_FILE, {"schema": schema, "name": "new"})
    for read in (load_card, read_card):
        with pytest.raises(ModelError, match=f"its schema is .*reads up to {SCHEMA}"):
            read(tmp_path)


def test_what_was_written_is_read_and_stays_readable_by_hand(tmp_path):
    stored = full_card("mine", LABELS, make_answers(LABELS, 1)) | {"somebody's own": [1, {"a": 2}]}
    write_card(tmp_path, stored)
    card = read_card(tmp_path)
    assert card.schema == SCHEMA and card.stored["somebody's own"] == [1, {"a": 2}]
    assert card == Card.from_dict(json.loads(json.dumps(stored)) | {"schema": SCHEMA})
    assert (tmp_path / CARD_FILE).read_text(encoding="utf-8").startswith('{\n  "schema": 2,\n  "name": "mine",\n')


def test_a_card_beyond_all_depth_is_a_message(tmp_path):
    (tmp_path / CARD_FILE).write_text("[" * 100_000)
    with pytest.raises(ModelError, match="can't be read as JSON"):
        read_card(tmp_path)


@pytest.mark.parametrize("value", ["nonsense", 7, [], {"method": 1, "levels": 2, "threshold": "x", "temperature": []}])
def test_pages_command_line_and_classifier_take_nonsense(tmp_path, monkeypatch, random_model, value):
    monkeypatch.setenv("CIFAR_LAB_RUNS", str(tmp_path))
    folder = tmp_path / "edited"
    write_model(folder, LABELS)
    (folder / "model.keras").write_bytes((random_model / "model.keras").read_bytes())
    write_json(folder / CARD_FILE, dict.fromkeys(load_card(folder), value))
    (info,) = (model for model in list_models() if model.name == "edited")
    assert info.title == "edited" and info.card.problems
    assert set(info.card.problems) == set(read_report("edited").problems)
    result = CliRunner().invoke(main, ["card", "edited"])
    assert result.exit_code == 0 and "It is left out" in result.output
    classifier = Classifier("edited")
    assert classifier.calibration == {} and classifier.scope_threshold is None
    assert classifier.predict(np.zeros((1, 32, 32, 3), np.uint8)).shape == (1, 10)


def test_a_calibration_of_the_kind_before_schema_2_is_left_out_and_told():
    older = {"schema": 1, "calibration": {"temperature": 1.2, "power": -0.4}, "sets": {"method": "RAPS"}, "scope": {}}
    card = Card.from_dict(older)
    assert card.calibration is None and card.sets is None and card.scope is None
    assert any("assess" in problem for problem in card.problems)
    plain = Card.from_dict({"schema": 1, "calibration": {"temperature": 1.2, "power": 0.0}})
    assert plain.calibration.temperature == 1.2 and not plain.problems
