"""Answers as MATH and GSM8K hold them, each with one that says the same or only looks alike."""

import pytest

from anypo_tasks.answers import final
from anypo_tasks.rewards import math

RIGHT = [
    # several at once
    (r"x = 5 \text{ or } x = 6", "5, 6"),
    (r"6\text{ and }-2", "6, -2"),
    ("5, 6", "5 or 6"),
    (r"2 < x < 5", "(2,5)"),
    (r"-1, 0, 1", r"\{-1,0,1\}"),
    ("1, 2, and 3", "1,2,3"),
    (r"2,3,\text{ and }4", "2,3,4"),
    ("5<x<7", "(5,7)"),
    # numbers
    ("42", "42"),
    ("42.0", "42"),
    ("-7", "-7"),
    ("043", "43"),
    ("1,000", "1000"),
    ("1,234,567", "1234567"),
    ("12{,}000", "12000"),
    ("1000", "1,000"),
    ("0.5", r"\frac{1}{2}"),
    ("1/2", "0.5"),
    (".5", "0.5"),
    (r"\frac12", "1/2"),
    (r"\dfrac{3}{4}", "0.75"),
    (r"-\frac{1}{2}", r"\frac{-1}{2}"),
    (r"\tfrac{5}{6}", "5/6"),
    (r"\frac{6}{8}", r"\frac{3}{4}"),
    (r"3\frac{1}{2}", "3.5"),
    ("3 1/2", "7/2"),
    ("1.5e-3", "0.0015"),
    (r"1.5 \times 10^{-3}", "0.0015"),
    (r"3.2 \times 10^5", "320000"),
    ("1.5e3", "1500"),
    ("6.02 x 10^23", r"6.02 \times 10^{23}"),
    (r"0.\overline{3}", r"\frac13"),
    (r"-1.2\overline{34}", "-611/495"),
    (r"\frac13", r".\overline3"),
    (r"50\%", r"50\%"),
    ("50%", r"50\%"),
    ("50", r"50\%"),
    ("0.5", "50%"),
    (r"\$18.90", "18.90"),
    ("$18.90", "18.90"),
    (r"\$1,500", "1500"),
    ("$1,500", r"\$1,500"),
    # units
    (r"5\text{ cm}", "5"),
    ("5 cm", "5"),
    ("5", r"5 \text{ cm}"),
    (r"10\text{ inches}", "10"),
    ("12 square units", "12"),
    (r"30\,\mathrm{cm}^2", "30"),
    (r"45^\circ", "45"),
    ("45 degrees", r"45^\circ"),
    ("45°", r"45^{\circ}"),
    ("10 m/s", "10"),
    (r"10\text{ m/s}", "10 m/s"),
    ("60 km/h", "60"),
    ("9.8 m/s^2", "9.8"),
    ("5 L", "5"),
    ("5 m^2", "5"),
    ("2 m", "2m"),
    ("£20", "20"),
    ("20", "€20"),
    # roots and constants
    (r"2\sqrt{3}", r"\sqrt{12}"),
    (r"\frac{\sqrt{2}}{2}", r"\frac{1}{\sqrt{2}}"),
    ("sqrt(2)", r"\sqrt{2}"),
    ("2*sqrt(3)", r"2\sqrt{3}"),
    ("2sqrt(3)", r"2\sqrt{3}"),
    (r"\sqrt2", r"\sqrt{2}"),
    (r"\sqrt[3]{8}", "2"),
    ("√2", r"\sqrt{2}"),
    (r"\pi", "pi"),
    ("2pi", r"2\pi"),
    (r"\frac{\pi}{4}", "pi/4"),
    ("π/4", r"\frac{\pi}{4}"),
    ("e^2", "e^{2}"),
    # expressions
    ("x^2+2x+1", "(x+1)^2"),
    ("(x+1)(x+2)", "x^2+3x+2"),
    ("2x + 1", "1 + 2x"),
    (r"\frac{x}{2}", "x/2"),
    ("2*x+1", "2x+1"),
    ("x**2", "x^2"),
    ("sin(x)", r"\sin x"),
    (r"\log_2 8", "3"),
    ("n(n+1)/2", r"\frac{n(n+1)}{2}"),
    ("3a+2b", "2b+3a"),
    # equations and inequalities
    ("x=5", "5"),
    ("5", "x=5"),
    ("x = 5", "x=5"),
    ("y=2x+3", "y = 2x + 3"),
    ("y=2x+3", "y-2x=3"),
    ("f(x)=2x", "2x"),
    ("y=2x+3", "2x+3"),
    (r"x \le 5", r"x \leq 5"),
    ("3 < x", "x > 3"),
    # tuples, sets and intervals
    ("(1,2)", "(1, 2)"),
    (r"\left(1,2\right)", "(1,2)"),
    (r"\left( 3, \frac{\pi}{2} \right)", "(3, pi/2)"),
    ("(1,2,3)", "(1,2,3)"),
    (r"\{1,2\}", r"\{2,1\}"),
    ("{1,2}", r"\{1,2\}"),
    ("1,2", "2,1"),
    ("2, 3", "2 and 3"),
    ("1, 2, 3", "1,2,3"),
    ("[2,5)", "[2,5)"),
    (r"(-\infty, 3]", r"(-\infty,3]"),
    (r"(-\infty, 3) \cup (5, \infty)", r"(-\infty,3)\cup(5,\infty)"),
    (r"x \in [2,5)", "[2,5)"),
    (r"(-\infty, \infty)", r"\mathbb{R}"),
    (r"\emptyset", r"\emptyset"),
    (r"\pm 2", "2,-2"),
    (r"1 \pm \sqrt{2}", r"1+\sqrt{2}, 1-\sqrt{2}"),
    # matrices
    (r"\begin{pmatrix} 1 & 2 \\ 3 & 4 \end{pmatrix}", r"\begin{pmatrix}1&2\\3&4\end{pmatrix}"),
    (r"\begin{bmatrix} 1 & 2 \\ 3 & 4 \end{bmatrix}", r"\begin{pmatrix}1&2\\3&4\end{pmatrix}"),
    (r"\begin{pmatrix} 0.5 \\ 1 \end{pmatrix}", r"\begin{pmatrix} \frac{1}{2} \\ 1 \end{pmatrix}"),
    # words
    (r"\text{Evelyn}", "Evelyn"),
    ("Evelyn", r"\text{Evelyn}"),
    ("evelyn", r"\text{Evelyn}"),
    (r"\textbf{Evelyn}", "Evelyn"),
    ("east", "east"),
    (r"\text{east}", "East"),
    ("yes", "Yes"),
    ("east.", "east"),
    ("no solution", r"\text{no solution}"),
    (r"\text{even}", "even"),
    ("infinitely many", r"\text{infinitely many}"),
    ("Monday", "Monday"),
    ("neither", r"\text{neither}"),
    ("True", "true"),
    ("(C)", "C"),
    (r"\text{(C)}", "C"),
    ("C", r"\text{C}"),
    (r"\textbf{(C)}", "(C)"),
    ("c", "C"),
    (r"\mathrm{(C)}", "C"),
    ("C.", "C"),
    ("A,C", "A, C"),
    ("(B) A cat", "B"),
    ("B. I like it", "B."),
    ("A. cat", "(A) cat"),
    ("(A) 0.5", r"(A) \frac12"),
    ("A", "A. cat"),
    ("option B.", "B"),
    (r"\text{(B)} 5", "B"),
    (r"\text{A and C}", "A and C"),
    # bases, ratios and the rest
    ("1012_3", "1012_3"),
    ("1012_{3}", "1012_3"),
    ("1012", "1012_3"),
    ("2516_8", "2516_8"),
    ("1A_{16}", "1A_{16}"),
    ("BEE_{16}", "BEE_{16}"),
    ("3:4", "3:4"),
    ("10:30", "10:30"),
    (r"10\!:\!30", "10:30"),
    ("3+4i", "4i+3"),
    ("10!", "3628800"),
    (r"\binom{5}{2}", "10"),
    ("2^{10}", "1024"),
    ("2^10", "1024"),
    ("9^9", "387420489"),
    ("|x|", "|x|"),
    (r"\lfloor 2.5 \rfloor", "2"),
]

WRONG = [
    # signs
    ("-x", "x"),
    ("x-y", "xy"),
    ("-pi", "pi"),
    ("n!", "n"),
    # numbers
    ("7", "-7"),
    ("1/3", "0.333"),
    (r"0.\overline{3}", "0.3"),
    (r"0.1\overline{6}", r"0.\overline{16}"),
    ("2/1", "1/2"),
    (r"3\frac{1}{2}", r"\frac{3}{2}"),
    ("1 1/2", "11/2"),
    (r"3.2 \times 10^5", r"3.2 \times 10^6"),
    ("5%", "50%"),
    ("$15", "$150"),
    ("5<x<7", "5,7"),
    ("5<x<7", r"\{5,7\}"),
    ("12:30 PM", "12:30 AM"),
    ("11 a.m.", "11 p.m."),
    # units
    ("6 cm", "5 cm"),
    ("6 m/s", "5 m/s"),
    ("3 x", "3"),
    (r"90^\circ", r"45^\circ"),
    # roots and constants
    (r"3\sqrt{2}", r"2\sqrt{3}"),
    (r"\frac{\pi}{3}", r"\frac{\pi}{4}"),
    ("3.14159", r"\pi"),
    # expressions
    ("x-1", "x+1"),
    ("x^2+1", "x^2-1"),
    ("2y", "2x"),
    (r"\cos x", r"\sin x"),
    # equations and inequalities
    ("x=5", "x=6"),
    ("y = 3x+2", "y=2x+3"),
    ("x > 3", "x < 3"),
    ("x>3", r"x \geq 3"),
    # tuples, sets and intervals
    ("(1,2)", "(2,1)"),
    ("(1,2,3)", "(1,3,2)"),
    (r"\{1,2\}", r"\{1,3\}"),
    ("1,2,3", "1,2"),
    ("1,2", "1,3"),
    ("(2,5)", "[2,5)"),
    ("[2,5]", "[2,5)"),
    (r"(-\infty, 3) \cup (5, \infty)", r"(-\infty,3)\cup(6,\infty)"),
    (r"(3,\infty)", r"(-3,\infty)"),
    (r"\pm 2", r"\pm 3"),
    # matrices
    (r"\begin{pmatrix} 1 & 3 \\ 2 & 4 \end{pmatrix}", r"\begin{pmatrix}1&2\\3&4\end{pmatrix}"),
    (r"\begin{pmatrix} 1 \\ 2 \end{pmatrix}", r"\begin{pmatrix} 2 \\ 1 \end{pmatrix}"),
    # words
    ("Eveyln", r"\text{Evelyn}"),
    ("Evelyn", "Briana"),
    ("seat", "east"),
    ("eats", r"\text{east}"),
    ("west", "east"),
    ("no", "on"),
    ("no", "yes"),
    ("listen", "silent"),
    ("no solutions", "one solution"),
    ("odd", "even"),
    ("parabola", r"\text{ellipse}"),
    ("ABC", "CBA"),
    ("AB", "BA"),
    ("B", "C"),
    ("(B)", "(C)"),
    ("A, B", "A, C"),
    ("(A) (B) (C) (D)", "A"),
    ("A) B) C) D)", "A"),
    ("A) 5 B) 6", "A"),
    ("(A) or (B)", "A"),
    (r"\text{(A)}\text{(B)}", "(A)"),
    ("A. Wait, it is B.", "A"),
    ("D.", "D.C."),
    ("A. cat", "A. dog"),
    ("(A) 5", "(A) 6"),
    # bases, ratios and the rest
    ("1012_4", "1012_3"),
    ("2516_8", "2561_8"),
    ("4:3", "3:4"),
    ("10:35", "10:30"),
    ("3-4i", "3+4i"),
    (r"\infty", r"-\infty"),
    ("12", "1 2"),
    ("21", "12"),
    ("I don't know", "5"),
    ("I don't know", "east"),
    (r"\frac{1}{0}", "0"),
]

MARKS = [
    r"Thus \boxed{%s}.",
    "<answer>%s</answer>",
    "I think:\n#### %s",
    "The answer is %s.",
    "%s",
    r"<answer>\[ %s \]</answer>",
    r"#### \[%s\]",
    r"The answer is \[%s\]",
    "Final Answer:\n\\[ %s \\]",
    "The answer is:\n\\[\n%s\n\\]",
    "**Final Answer**\n\nThe answer is:\n$$\n%s\n$$\nas was asked.",
    r"The answer is \(\boxed{%s}\).",
    "The answer is <answer>\n%s\n</answer>.",
    r"\[%s\]",
]


@pytest.fixture(scope="module")
def judge():
    """What an answer is worth."""
    reward = math("")
    return lambda said, right: reward(completions=[said], answer=[right])[0]


@pytest.mark.parametrize(("said", "right"), RIGHT)
def test_a_right_answer_is_right_however_it_is_written(judge, said, right):
    assert judge(rf"\boxed{{{said}}}", right) == 1.0


@pytest.mark.parametrize(("said", "right"), WRONG)
def test_a_wrong_answer_is_wrong_however_alike_it_looks(judge, said, right):
    assert judge(rf"\boxed{{{said}}}", right) == 0.0


@pytest.mark.parametrize("mark", MARKS)
@pytest.mark.parametrize(
    ("said", "right", "reward"),
    [
        ("18", "18", 1.0),
        ("$1,450", "1450", 1.0),
        ("17", "18", 0.0),
        (r"\frac{1}{2}", "0.5", 1.0),
        (r"2\sqrt{3}", r"\sqrt{12}", 1.0),
        ("x^2+1", "1+x^2", 1.0),
        ("x > 3", "x < 3", 0.0),
        ("(2,1)", "(1,2)", 0.0),
        ("10:35", "10:30", 0.0),
        ("east", r"\text{East}", 1.0),
        ("seat", "east", 0.0),
        ("(C)", "C", 1.0),
        ("5 cm", "5", 1.0),
        (r"\begin{pmatrix}1\\2\end{pmatrix}", r"\begin{pmatrix}2\\1\end{pmatrix}", 0.0),
    ],
)
def test_an_answer_counts_the_same_however_it_is_marked(judge, mark, said, right, reward):
    assert judge(mark % said, right) == reward
    assert judge(said, mark % right) == reward


@pytest.mark.parametrize(
    ("text", "answer"),
    [
        (r"\boxed{3}, no: \boxed{4}", "4"),
        (r"\boxed{3} or <answer>4</answer>", "4"),
        (r"<answer>3</answer> <answer>\boxed{\frac{1}{2}}</answer>", r"\frac{1}{2}"),
        (r"\boxed{\text{\{a\}}} \boxed{", r"\text{\{a\}}"),
        (r"\fbox{7}", "7"),
        ("#### 5\n#### 6\n", "6"),
        (r"First \boxed{3}? No. The answer is 4.", "4"),
        (r"The answer is 4. \boxed{3}", "3"),
        ("#### 3\nThe answer is 4", "4"),
        ("<answer>4</answer>\n#### 5", "5"),
        (r"#### The answer is \boxed{5} cm", "5"),
        (r"\boxed{The answer is 5}", "5"),
        ("<answer>The answer is 5</answer>", "5"),
        (r"\boxed{5} \boxed{} <answer></answer> The answer is", "5"),
        ("The answer is 5.\nHope that the answer is clear.", "5"),
        ("The answer is 5. It is good that the answer is a whole number.", "5"),
        (r"\boxed{5}" "\n#### Proof\nas above", "5"),
        ("#### Final Answer:\n5", "5"),
        (r"<think>maybe \boxed{3}</think> The answer is 4", "4"),
        (r"maybe \boxed{3}</think> 4", "4"),
        ("The correct option is B.", "B"),
        (r"\boxed{" + "{" * 9 + "1" + "}" * 9 + "}", "{" * 9 + "1" + "}" * 9),
        ("**Answer:** 5", "5"),
        ("**Answer**: 5 cm.", "5 cm"),
        ("The answer is 3.5. I hope so.", "3.5"),
        ("The final answer is: (C) 42", "(C) 42"),
        ("The answer is $x$\nand that is all", "$x$"),
        ("the answer is 4. No, the answer is 5", "5"),
        ("an answer", "an answer"),
        ("", ""),
    ],
)
def test_the_last_marked_answer_is_the_final_one(text, answer):
    assert final(text) == answer


@pytest.mark.parametrize(
    ("said", "right"),
    [
        ("It follows that x equals 12", "12"),
        ("So $x = 5$ and we are done", "5"),
        ("1+1=2\n2+2=4", "4"),
        ("12+34=46", "46"),
        (r"Therefore $x = \frac{3}{4}$.", "0.75"),
        ("The answer is 18 dollars a day.", "18"),
        ("The answer is (C) 42.", "C"),
        ("C", "(C) 42"),
        (r"\boxed{5}", "Janet sells 9.\n9 * 2 = $<<9*2=18>>18\nSo 5.\n#### 5"),
        ("9", r"We add them, which gives \boxed{9} in all."),
    ],
)
def test_an_answer_may_stand_in_a_sentence(judge, said, right):
    assert judge(said, right) == 1.0


@pytest.mark.parametrize(
    "again",
    ["The answer is ", "#### ", "<answer>", r"\boxed{", r"The answer is \[ ", "The answer is $$ "],
)
def test_a_text_may_say_the_same_for_ever(again):
    assert final(again * 2000 + "\nThe answer is 5") == "5"


@pytest.mark.parametrize("said", ["I don't know", "", r"\boxed{", r"\boxed{}", "seat", "Say 5."])
@pytest.mark.parametrize("right", ["east", "7", "x+1", "(1,2)"])
def test_what_gives_no_answer_is_wrong(judge, said, right):
    assert judge(said, right) == 0.0
