"""Find the final answer in a text, and judge it by another one."""

import re
from typing import Any

BRACED = r"[^{}]*+"
for _ in range(9):  # braces in braces
    BRACED = rf"(?:[^{{}}]|\{{{BRACED}\}})*+"
STATING = r"\b(?:answer|correct\s+(?:option|choice))\**(?:\s+is\b\s*:?|\s*:)"
OPENING = rf"<answer>|\\(?:boxed|fbox)\s*\{{|####|{STATING}"
DISPLAYED = r"(?>\\\[(?:(?!\\[\[\]])[\s\S])*\\\]|\$\$[\s\S]*?\$\$)"  # over lines
TOLD = rf"(?=\S)(?:(?!{OPENING}).)+?"
MARK = re.compile(
    rf"<answer>(?P<tagged>[\s\S]*?)</answer>|\\(?:boxed|fbox)\s*\{{(?P<boxed>{BRACED})\}}"
    rf"|####(?!.*:\**\s*$)\s*(?P<hashed>{DISPLAYED}|{TOLD}(?=$|{OPENING}))"  # GSM8K's
    rf"|{STATING}[*\s]*(?P<stated>{DISPLAYED}|{TOLD}(?=\**(?:\.\s|\.?$|{OPENING})))",
    re.IGNORECASE | re.MULTILINE,
)
PROSE = re.compile(r"[A-Za-z]{2,}|an? ")

SPACING = re.compile(r"(?<!\\)\\[,;:! ]|\\q?quad|~|(?<!\d)\s+|\s+(?!\d)")
WRAPPED = re.compile(r"\\(?:text|textbf|textit|textrm|mathrm|mathbf|mbox)\s*\{([^{}]*)\}")
NOTHING = re.compile(r"\\(?:left|right|displaystyle)(?![A-Za-z])|\\?\$|[£€]|(?<!\\)\\[\[\]()]")
BASED = re.compile(r"(\d[0-9A-Z]*)_\{?(\d+)\}?")
NAMED = re.compile(r"\\(?:begin|end|operatorname)\s*\{\w+\*?\}")
CHOICE = re.compile(r"(?:[Oo]ption\s+)?\(?([A-J])(?:\)\.?|\.(?=\s|$)|$)\s*([\s\S]*)")
LETTER = re.compile(r"(?<![A-Za-z\\])(?!A\s+[a-z]|I\s)[A-J](?![A-Za-z])")  # no article, no pronoun
HALF_OF_DAY = re.compile(r"(?i)\d\s*([ap])\.?m\b")
BARE_LIST = re.compile(r"(?:(?!\\[lg]eq?\b)[^()\[\]<>])*,")
WORD = re.compile(r"(?<![A-Za-z\\])[A-Za-z]{2,}")
OPERATOR = re.compile(
    r"[\d\\^_=<>+*/|!{}\[\]]|(?<![A-Za-z])-|(?<![A-Za-z]{2})-(?![A-Za-z]{2})"  # not a hyphen
)
POWER = r"(?:\^\{?\d\}?)?"
MEASURE = rf"^(-?[\d.,]+)\s+(?:[A-Za-z]{{2,}}|[mgLlshNJWVAK]){POWER}(?:/[A-Za-z]+{POWER})?$"
REPEATING = re.compile(r"(\d{0,99})\.(\d{0,99})\\overline\{?(\d{1,99})\}?")
UNIT = re.compile(r"(?<=[\d})])\s*(?:(?<![A-Za-z\\])[A-Za-z]{2,}(?:\^\{?\d\}?)?\s*)+$")
AS_LATEX = [
    (re.compile(pattern), latex)
    for pattern, latex in (
        (r"(?<=\d)\s*x\s*(?=10\s*\^)", r" \\times "),
        (r"(?<=\d)[eE]([+-]?\d+)", r" \\times 10^{\1}"),
        (r"(?<!\d)(\d+)\s+(\d+)/(\d+)", r"\1\\frac{\2}{\3}"),
        (r"\\?sqrt\s*\(([^()]*)\)", r"\\sqrt{\1}"),
        (r"√\s*\(([^()]*)\)|√\s*(\w)", r"\\sqrt{\1\2}"),
        (r"(?<![A-Za-z\\])(pi|sqrt|sin|cos|tan|log|ln|infty)(?![A-Za-z])", r"\\\1 "),
        (r"\*\*", "^"),
        (r"\*", r" \\cdot "),
        (r",?(?:\s+(?:and|or)\s+|\s*\\text\{\s*(?:and|or)\s*\})", ", "),
        (MEASURE, r"\1"),
    )
]
SIGNS = str.maketrans(
    {
        "\N{GREEK SMALL LETTER PI}": r"\pi ",
        "\N{DEGREE SIGN}": r"^\circ ",
        "\N{MULTIPLICATION SIGN}": r"\times ",
        "\N{MIDDLE DOT}": r"\cdot ",
        "\N{INFINITY}": r"\infty ",
        "\N{MINUS SIGN}": "-",
        "\N{LESS-THAN OR EQUAL TO}": r"\le ",
        "\N{GREATER-THAN OR EQUAL TO}": r"\ge ",
        "\N{UNION}": r"\cup ",
        "\N{SUPERSCRIPT TWO}": "^2",
        "\N{SUPERSCRIPT THREE}": "^3",
    }
)


def final(text: str) -> str:
    """What a text marks as its answer; the whole text if it marks none.

    The mark is `<answer>…</answer>`, `\\boxed{…}`, `#### …` or "the answer is …". The one that
    stands last counts, whatever its kind. One that is empty holds no answer; "#### Proof" and "the
    answer is clear", which begin with a word, hold one only where nothing else is marked. Thoughts
    that end with `</think>` are passed over.
    """
    text = _said(text)
    held = _marked(text)
    sure = [each for each in held if each[0] in ("tagged", "boxed") or not PROSE.match(each[1])]
    return (sure or held or [("", text)])[-1][1]


def is_marked(text: str) -> bool:
    """Whether a text marks its answer."""
    return bool(_marked(_said(text)))


def _said(text: str) -> str:
    return text.rpartition("</think>")[2].strip()


def _marked(text: str) -> list[tuple[str | None, str]]:
    """All that is marked as an answer, with the kind of its mark."""
    found = [(mark.lastgroup, final(mark[mark.lastgroup or 0])) for mark in MARK.finditer(text)]
    return [(kind, answer) for kind, answer in found if answer]


def spelt(text: str) -> str:
    """The final answer of a text, without blanks, currencies and LaTeX that only lays it out.

    Answers that mean the same and are spelt otherwise, such as 0.5 and 1/2, stay different.
    """
    return _literal(final(text))


def equal(answer: str, right: str) -> bool:
    """Whether a final answer says what the right one says, as a text, a number or a formula."""
    if _literal(answer) == _literal(right):
        return True
    if (picked := _choice(answer)) and (choice := _choice(right)):
        both_tell = picked[2] and choice[2]  # what the letter stands for
        return picked[1] == choice[1] and (not both_tell or equal(picked[2], choice[2]))
    if len({half.casefold() for half in HALF_OF_DAY.findall(f"{answer}\n{right}")}) > 1:
        return False
    if _is_words(answer) and _is_words(right):
        return _letters(answer) == _letters(right)
    if based := BASED.fullmatch(_literal(right)):
        return _literal(answer) == based[1]
    from math_verify import verify  # takes a second to import

    has_bounds = not BARE_LIST.match(right)  # 5<x<7 may be (5,7) but not 5,7
    # Its own timeouts raise outside the main thread, and it turns what is raised into "wrong".
    options: Any = {"allow_set_relation_comp": has_bounds, "timeout_seconds": None}
    return bool(verify(_parsed(right), _parsed(answer), **options))


def _plain(text: str) -> str:
    return WRAPPED.sub(r"\1", NOTHING.sub("", text)).strip()


def _literal(text: str) -> str:
    plain = SPACING.sub("", _plain(text))
    return re.sub(r"\{(\w)\}", r"\1", plain.replace("dfrac", "frac")).rstrip(".%\\")


def _choice(text: str) -> re.Match[str] | None:
    """The letter, if it names one and no other, and what stands behind it."""
    plain = _plain(text)
    return CHOICE.fullmatch(plain) if len(set(LETTER.findall(plain))) == 1 else None


def _is_words(text: str) -> bool:
    plain = _plain(text)
    return not OPERATOR.search(plain) and bool(_letters(plain))


def _letters(text: str) -> str:
    return "".join(filter(str.isalnum, WRAPPED.sub(r"\1", text))).casefold()


def _parsed(text: str) -> list[Any]:
    """What a formula, or the last one of a sentence, may mean."""
    from math_verify import LatexExtractionConfig, parse

    formula = NOTHING.sub("", text).translate(SIGNS).rstrip(". ")
    formula = REPEATING.sub(_fraction, formula)
    for pattern, latex in AS_LATEX:
        formula = pattern.sub(latex, formula)
    formula = UNIT.sub("", formula)
    is_prose = "\n" in formula and "\\begin" not in formula
    if is_prose or WORD.search(NAMED.sub("", WRAPPED.sub("", formula))):
        return list(parse(text, parsing_timeout=None))
    as_latex = [LatexExtractionConfig()]
    return list(parse(f"${formula}$", as_latex, "no_fallback", parsing_timeout=None))


def _fraction(repeating: re.Match[str]) -> str:
    whole, once, again = repeating.groups()
    over = int(whole + once + again) - int(whole + once or 0)
    return rf"\frac{{{over}}}{{{10 ** len(once) * (10 ** len(again) - 1)}}}"
