"""What makes a caption unfit for training: too short, too long, a refusal, repetition, another language than asked, or nothing but symbols."""

import re
from collections import Counter

FEWEST_WORDS, MOST_WORDS = 3, 150
"""LaVie drops captions of fewer than three words."""

REFUSALS = re.compile(
    r"\b(i(?:'m| am) (?:sorry|unable)|i (?:can(?:no|')t|cannot|am not able to)|as an ai\b|as a language model"
    r"|(?:cannot|can't|unable to) (?:assist|help|see|view|describe|provide))",
    re.IGNORECASE,
)

LITTLE_WORDS = {
    "English": "the a an of and in on with is are to at by from for it its his her their this that as while into over",
    "French": "le la les des une dans est et avec sur pour qui du au aux sont en son sa",
    "German": "der die das und ein eine ist mit auf im den dem von zu sind einem einer",
    "Spanish": "el la los las una y en con por del que su es para está un se",
    "Italian": "il lo gli la una e di che con per del della sono nel è un si",
    "Portuguese": "o os as uma e em com por do da dos que para está um ao na no",
    "Dutch": "de het een van en met op zijn voor aan naar bij uit door",
}
"""Words that every sentence of a language has some of; a short caption says by them which it is in (after Cavnar and Trenkle 1994, with words for n-grams)."""

LATIN = re.compile(r"[A-Za-zÀ-ɏ]")


def problem_of(text: str) -> str | None:
    """Why a caption is not to be used, in words, or None when it is fine."""
    words = text.split()
    if len(words) < FEWEST_WORDS:
        return f"too short: {len(words)} words, fewer than {FEWEST_WORDS}"
    if len(words) > MOST_WORDS:
        return f"too long: {len(words)} words, more than {MOST_WORDS}"
    if REFUSALS.search(text):
        return "a refusal"
    if (again := repetition(words)) is not None:
        return again
    letters = [letter for letter in text if letter.isalpha()]
    if len(letters) < 0.5 * len(text.replace(" ", "")):
        return "mostly not letters"
    if sum(bool(LATIN.match(letter)) for letter in letters) < 0.7 * len(letters):
        return "not in a Latin script"
    return foreign(words)


def foreign(words: list[str]) -> str | None:
    """Which language but English a text reads as: the one with at least two little words, and more of them than English has."""
    lower = [word.lower().strip(".,;:!?\"'()") for word in words]
    found = {language: sum(word in known for word in lower) for language, known in ((name, told.split()) for name, told in LITTLE_WORDS.items())}
    likeliest = max(found, key=lambda language: (found[language], language == "English"))
    return f"not English: reads as {likeliest}" if found[likeliest] >= 2 and likeliest != "English" else None


def repetition(words: list[str]) -> str | None:
    """What is said again and again: one word for most of a text, or a run of three words more than twice."""
    lower = [word.lower().strip(".,;:!?\"'") for word in words]
    word, times = Counter(lower).most_common(1)[0]
    if len(lower) >= 6 and times > 0.4 * len(lower):
        return f"repetition: `{word}` {times} times in {len(lower)} words"
    runs = Counter(zip(lower, lower[1:], lower[2:]))
    if runs and (most := runs.most_common(1)[0])[1] > 2:
        return f"repetition: `{' '.join(most[0])}` {most[1]} times"
    return None
