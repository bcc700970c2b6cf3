"""Recipes: what is accepted, what is inherited, and how a mistake is told."""

import string
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from schemas.clip import CLIPS
from schemas.document import DocumentError, parse_document
from schemas.recipe import NUMERIC, Recipe, kind_of, read_recipe

NUMBERS = sorted(field.name for field in CLIPS if kind_of(field.type) == NUMERIC)
finite = st.floats(allow_nan=False, allow_infinity=False, width=32)


def write(folder: Path, name: str, text: str) -> Path:
    path = folder / name
    path.write_text(text, encoding="utf-8")
    return path


@pytest.mark.parametrize("name", ["default", "strict", "demo"])
def test_every_shipped_recipe_is_valid_and_named_after_its_file(name):
    assert read_recipe(name).name == name


def test_the_simple_form_is_a_name_and_ranges(tmp_path):
    recipe = read_recipe(write(tmp_path, "r.toml", 'name = "x"\n[keep]\naesthetic = { min = 5, max = 9 }\n'))
    assert recipe.keep["aesthetic"].min == 5 and recipe.keep["aesthetic"].max == 9


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ('name = "x"\n[keep]\naesthetics = { min = 5 }\n', "did you mean `aesthetic`?"),
        ('name = "x"\n[keep]\naesthetic = { min = 5, mox = 6 }\n', "line 3: `keep.aesthetic.mox` is not a key here; did you mean `max`?"),
        ('name = "x"\n[keep]\naesthetic = { min = 9, max = 5 }\n', "line 3: `keep.aesthetic`: min 9 is above max 5"),
        ('name = "x"\n[keep]\naesthetic = { min = nan }\n', "line 3"),
        ('name = "x"\n[keep]\nborder = { any_of = ["none"], none_of = ["none", "blurred"] }\n', "none_of refuses all that any_of asks for (none)"),
        ('name = "x"\n[rights]\ndays_left = 1000000000\n', "line 3: `rights.days_left`"),
        ('name = "x"\n[quotas]\nby = "border"\nbalance = 1e300\n', "line 4: `quotas.balance`"),
        ('name = "x"\n[encoding]\nfps = inf\n', "line 3: `encoding.fps`"),
        ('name = "x"\n[encoding]\nheight = 100000000\n', "line 3: `encoding.height`"),
        ('name = "x"\n[encoding]\nshard_mb = inf\n', "line 3: `encoding.shard_mb`"),
        ('name = "x"\n[keep]\ncaption = { min = 5 }\n', "`caption` holds text"),
        ('name = "x"\n[keep]\nmotion = { any_of = ["fast"] }\n', "`motion` holds numbers"),
        ('name = "x"\n[keep]\ncontent_box = { any_of = ["wide"] }\n', "which no rule can compare"),
        ('name = "../x"\n', "line 1: `name`"),
        ('name = "x"\nsead = 1\n', "did you mean `seed`?"),
        ('name = "x"\n[quotas]\nby = "motion"\n', "line 3: `quotas.by`: `motion` does not group clips"),
        ('name = "x"\n[sample]\nweight = "caption"\n', "line 3: `sample.weight`"),
        ('name = "x"\n[scorers]\nmotion = "any"\n', "no scorer writes `motion`"),
        ('name = "x"\n[keep\n', "is not valid TOML"),
        ("", "`name` is missing"),
    ],
)
def test_a_mistake_is_told_with_its_place_and_what_is_allowed(tmp_path, text, told):
    path = write(tmp_path, "wrong.toml", text)
    with pytest.raises(DocumentError, match=r"wrong\.toml") as caught:
        read_recipe(path)
    assert told in str(caught.value)


def test_an_unknown_name_lists_those_that_ship():
    with pytest.raises(DocumentError, match="default, demo, everything, strict"):
        read_recipe("no-such-recipe")


def test_a_recipe_takes_over_what_it_does_not_say(tmp_path):
    write(tmp_path, "base.toml", 'name = "base"\nseed = 7\n[keep]\nmotion = { min = 1 }\nwatermark = { max = 0.5 }\n[encoding]\nheight = 256\ncrf = 20\n')
    child = write(tmp_path, "child.toml", 'name = "child"\nextends = "base.toml"\n[keep]\nmotion = { max = 9 }\n[encoding]\ncrf = 30\n')
    recipe = read_recipe(child)
    assert (recipe.name, recipe.seed) == ("child", 7)
    assert recipe.keep["motion"].min is None and recipe.keep["motion"].max == 9
    assert recipe.keep["watermark"].max == 0.5
    assert (recipe.encoding.height, recipe.encoding.crf) == (256, 30)


def test_a_recipe_that_extends_another_keeps_the_other_part_of_its_split(tmp_path):
    training = read_recipe(write(tmp_path, "mine.toml", 'name = "mine"\nextends = "default"\n[split]\nheld_out = 0.05\nseed = 3\n'))
    held_out = read_recipe(write(tmp_path, "held.toml", 'name = "held"\nextends = "mine.toml"\n[split]\npart = "held_out"\n'))
    assert training.split and held_out.split == training.split.model_copy(update={"part": "held_out"}) and held_out.keep == training.keep


def test_a_recipe_extends_a_shipped_one_and_drops_a_rule(tmp_path):
    recipe = read_recipe(write(tmp_path, "mine.toml", 'name = "mine"\nextends = "default"\ndrop = ["watermark"]\n'))
    assert set(recipe.keep) == set(read_recipe("default").keep) - {"watermark"}


def test_dropping_a_rule_that_is_not_there_is_a_mistake(tmp_path):
    with pytest.raises(DocumentError, match="no rule on `nsfw`"):
        read_recipe(write(tmp_path, "mine.toml", 'name = "mine"\nextends = "default"\ndrop = ["nsfw"]\n'))


def test_recipes_that_extend_one_another_are_refused(tmp_path):
    write(tmp_path, "a.toml", 'name = "a"\nextends = "b.toml"\n')
    write(tmp_path, "b.toml", 'name = "b"\nextends = "a.toml"\n')
    with pytest.raises(DocumentError, match="in a circle"):
        read_recipe(tmp_path / "a.toml")


def test_a_mistake_in_the_extended_recipe_is_told_at_its_own_place(tmp_path):
    write(tmp_path, "base.toml", 'name = "base"\n[keep]\nmotoin = { min = 1 }\n')
    with pytest.raises(DocumentError, match=r"base\.toml, line 3"):
        read_recipe(write(tmp_path, "child.toml", 'name = "child"\nextends = "base.toml"\n'))


@settings(deadline=None)
@given(st.dictionaries(st.sampled_from(NUMBERS), st.tuples(finite, finite), max_size=6), st.integers(0, 2**31))
def test_any_ordered_ranges_over_number_columns_are_a_recipe(ranges, seed):
    keep = {name: {"min": min(bounds), "max": max(bounds)} for name, bounds in ranges.items()}
    recipe = parse_document({"name": "x", "seed": seed, "keep": keep}, Recipe, "generated")
    assert {name: (rule.min, rule.max) for name, rule in recipe.keep.items()} == {name: tuple(sorted(bounds)) for name, bounds in ranges.items()}
    assert Recipe.model_validate(recipe.model_dump(mode="json")) == recipe


@settings(deadline=None)
@given(st.text(string.printable, max_size=30).filter(lambda text: text not in CLIPS.names))
def test_no_other_column_name_gets_through(name):
    with pytest.raises(DocumentError, match="is not a column of clips"):
        parse_document({"name": "x", "keep": {name: {"min": 0}}}, Recipe, "generated")


@pytest.mark.parametrize(
    "phrases",
    [
        {"beauty": "looks {}"},
        {"texts": "says {}"},
        {"aesthetic": "aesthetic"},
        {"aesthetic": "{} {}"},
        {"aesthetic": "{0.__class__}"},
        {"clip_id": "{:.1f}"},
    ],
)
def test_a_phrase_about_no_column_or_without_its_value_is_refused(phrases):
    with pytest.raises(ValidationError, match="conditioning"):
        Recipe(name="r", conditioning=phrases)
