"""Makers: whether a corpus shows values of the scorers that a recipe was tuned for, and in words what to do where it does not."""

from collections.abc import Mapping

from curate.scorers import SCORERS
from schemas.document import DocumentError
from schemas.recipe import ANY_SCORER, Recipe


def check_scorers(recipe: Recipe, makers: Mapping[str, str]) -> None:
    """Refuse a recipe that was tuned for another scorer than the one whose values the corpus shows, or for one that never ran.

    Args:
        recipe: under `scorers`, column to scorer; the digest, or the version and the digest, may be left away.
        makers: column to scorer (`name@version-digest8`), as the corpus shows them.

    Raises:
        DocumentError: every scorer that is missing or another.
    """
    told = []
    for column, wanted in recipe.scorers.items():
        maker = makers.get(column)
        if maker is None:
            told.append(f"recipe `{recipe.name}`: it asks for values of {_shown(wanted)}, and {_missing(column, wanted)}")
        elif wanted != ANY_SCORER and maker != wanted and not maker.startswith((f"{wanted}-", f"{wanted}@")):
            told.append(
                f"recipe `{recipe.name}`: its rule on `{column}` was tuned for the scorer `{wanted}`, and this corpus shows values of `{maker}`. "
                f'Measure with `{wanted}`, or tune the rule and state `{column} = "{maker}"` under [scorers], or `{column} = "{ANY_SCORER}"` to take any'
            )
    if told:
        raise DocumentError("\n".join(told))


def _shown(wanted: str) -> str:
    return "any scorer" if wanted == ANY_SCORER else f"the scorer `{wanted}`"


def _missing(column: str, wanted: str) -> str:
    """That nobody measured a column, and what to run."""
    nothing = f"nothing has measured `{column}` here"
    able = [cls for cls in SCORERS if column in {field.name for field in cls.columns}]
    named = [cls for cls in able if wanted == ANY_SCORER or cls.name == wanted.partition("@")[0]]
    if not named:
        return f"{nothing}; no scorer `{wanted}` measures it, only {', '.join(cls.name for cls in able)}"
    before = "`clipmill caption` and " if "caption" in named[0].needs else ""
    return f"{nothing}; run {before}`clipmill measure --only {named[0].name}`, or leave `{column}` out of [scorers]"
