"""Find the final answer in a text, and judge it by another one."""

import re
from typing import Any

TAGGED = re.compile(r"<answer>(.*?)</answer>", re.DOTALL)
BOX = re.compile(r"\\(?:boxed|fbox)\s*\{")
HASHED = re.compile(r"####\s*(.+)")  # GSM8K's mark
STATED = re.compile(r"(?im)\banswer\**(?:\s+is\b\s*:?|\s*:)[*\s]*(\S.*?)\**(?=\.\s|\.?$)")

SPACING = re.compile(r"(?<!\\)\\[,;:! ]|\\q?quad|~|(?<!\d)\s+|\s+(?!\d)")
WRAPPED = re.compile(r"\\(?:text|textbf|textit|textrm|mathrm|mathbf|mbox)\s*\{([^{}]*)\}")
NOTHING = re.compile(r"\\(?:left|right|displaystyle)(?![A-Za-z])|\\?\$")
BASED = re.compile(r"(\d[0-9A-Z]*)_\{?(\d+)\}?")
NAMED = re.compile(r"\\(?:begin|end|operatorname)\s*\{\w+\*?\}")
CHOICE = re.compile(r"\(?([A-J])(?:[).]|$)")
WORD = re.compile(r"(?<![A-Za-z\\])[A-Za-z]{2,}")
OPERATOR = re.compile(
    r"[\d\\^_=<>+*/|!{}\[\]]|(?<![A-Za-z])-|(?<![A-Za-z]{2})-(?![A-Za-z]{2})"  # not a hyphen
)
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
        (r"\s+(?:and|or)\s+|\\text\{\s*(?:and|or)\s*\}", ", "),
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


def tagged(text: str) -> str:
    """The last <answer>…</answer>; the whole text if there is none."""
    found: list[str] = TAGGED.findall(text)
    return (found or [text])[-1].strip()


def final(text: str) -> str:
    """What a text marks as its answer; the whole text if it marks none.

    The mark is `<answer>…</answer>`, `\\boxed{…}`, `#### …` or "the answer is …"; the last counts.
    """
    text = tagged(text)
    return (_boxed(text) or HASHED.findall(text) or STATED.findall(text) or [text])[-1].strip()


def _boxed(text: str) -> list[str]:
    """What the last box holds."""
    for box in reversed(list(BOX.finditer(text))):
        depth = 1
        for end in range(box.end(), len(text)):
            depth += {"{": 1, "}": -1}.get(text[end], 0)
            if not depth:
                return [final(text[box.end() : end])]
    return []


def equal(answer: str, right: str) -> bool:
    """Whether a final answer says what the right one says, as a text, a number or a formula."""
    if _literal(answer) == _literal(right):
        return True
    if (picked := CHOICE.match(_literal(answer))) and (choice := CHOICE.match(_literal(right))):
        return picked[1] == choice[1]
    if _is_words(answer) and _is_words(right):
        return _letters(answer) == _letters(right)
    if based := BASED.fullmatch(_literal(right)):
        return _literal(answer) == based[1]
    from math_verify import verify  # takes a second to import

    # Its own timeouts raise outside the main thread, and it turns what is raised into "wrong".
    options: Any = {"allow_set_relation_comp": True, "timeout_seconds": None}
    return bool(verify(_parsed(right), _parsed(answer), **options))


def _literal(text: str) -> str:
    plain = WRAPPED.sub(r"\1", SPACING.sub("", NOTHING.sub("", text)))
    return re.sub(r"\{(\w)\}", r"\1", plain.replace("dfrac", "frac")).rstrip(".%\\")


def _is_words(text: str) -> bool:
    plain = WRAPPED.sub(r"\1", NOTHING.sub("", text))
    return not OPERATOR.search(plain) and bool(_letters(plain))


def _letters(text: str) -> str:
    return "".join(filter(str.isalnum, WRAPPED.sub(r"\1", text))).casefold()


def _parsed(text: str) -> list[Any]:
    """What a formula, or the last one of a sentence, may mean."""
    from math_verify import LatexExtractionConfig, parse

    formula = NOTHING.sub("", text).translate(SIGNS).rstrip(". ")
    for pattern, latex in AS_LATEX:
        formula = pattern.sub(latex, formula)
    formula = UNIT.sub("", formula)
    is_prose = "\n" in formula and "\\begin" not in formula
    if is_prose or WORD.search(NAMED.sub("", WRAPPED.sub("", formula))):
        return list(parse(text, parsing_timeout=None))
    as_latex = [LatexExtractionConfig()]
    return list(parse(f"${formula}$", as_latex, "no_fallback", parsing_timeout=None))
