"""What a recipe was tuned for is what measured the corpus, or it is refused."""

import pytest

from curate.deciding.makers import check_scorers
from schemas.document import DocumentError
from schemas.recipe import Recipe

SHOWN = {"aesthetic": "handcrafted@1-2a3b4c5d"}


def tuned(**scorers):
    return Recipe(name="tuned", scorers=scorers)


@pytest.mark.parametrize("wanted", ["handcrafted", "handcrafted@1", "handcrafted@1-2a3b4c5d", "any"])
def test_a_scorer_is_named_with_or_without_its_version_and_digest(wanted):
    check_scorers(tuned(aesthetic=wanted), SHOWN)


@pytest.mark.parametrize("wanted", ["hand", "handcrafted@2", "handcrafted@1-2a3b4c5e", "laion_v2"])
def test_another_scorer_is_refused_naming_both(wanted):
    with pytest.raises(DocumentError, match=rf"tuned for the scorer `{wanted}`, and this corpus shows values of `handcrafted@1-2a3b4c5d`"):
        check_scorers(tuned(aesthetic=wanted), SHOWN)


@pytest.mark.parametrize(
    ("column", "wanted", "told"),
    [
        ("watermark", "watermark@2", "run `clipmill measure --only watermark`"),
        ("nsfw", "any", "run `clipmill measure --only nsfw`"),
        ("alignment", "conse", "run `clipmill caption` and `clipmill measure --only conse`"),
        ("watermark", "watermerk", "no scorer `watermerk` measures it, only watermark, overlay"),
    ],
)
def test_a_scorer_that_never_ran_is_refused_with_what_to_run(column, wanted, told):
    with pytest.raises(DocumentError) as caught:
        check_scorers(tuned(**{column: wanted}), SHOWN)
    assert told in str(caught.value) and f"nothing has measured `{column}` here" in str(caught.value)


def test_every_wrong_scorer_is_named_at_once():
    with pytest.raises(DocumentError) as caught:
        check_scorers(tuned(aesthetic="laion_v2", watermark="watermark@2"), SHOWN)
    assert len(str(caught.value).splitlines()) == 2
