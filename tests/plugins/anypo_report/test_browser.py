"""Reports as a browser shows them."""

import pytest

pytestmark = pytest.mark.browser

HOSTILE = """</script><img src=x onerror="document.title='taken'"><script>document.title=1//"""


@pytest.fixture
def many(make_run, measured, held_out, trained):
    """Makes so many runs of twenty steps, with completions; gives their directories."""

    def many(number):
        folders = []
        for seed in range(number):
            metrics = [{"step": 0, "eval/score": 0.1}]
            metrics += [measured(s, **{"reward/mean": s * seed / 200}) for s in range(1, 21)]
            metrics[-1]["eval/score"] = 0.2
            rows = [trained(s, g, i / 4) for s in (1, 11) for g in (0, 1) for i in (2, 4, 1, 3)]
            rows += [held_out(s, g, float(g % 2)) for s in (0, 20) for g in range(3)]
            algorithm = ("grpo", "dapo")[seed % 2]
            folders.append(make_run(f"run-{seed}", metrics, rows, algorithm=algorithm))
        return folders

    return many


@pytest.fixture
def shown(call, tmp_path, browser):
    """Opens the report of runs."""

    def shown(*folders, **options):
        output = tmp_path / "reports" / "report.html"
        status, _, error = call("show", *folders, "--output", output)
        assert status == 0, error
        tab = browser.open(output, **options)
        tab.wait_for("document.querySelectorAll('#main-charts svg').length")
        return tab

    return shown


@pytest.mark.parametrize("number", [1, 3, 10])
def test_it_is_drawn_without_a_complaint_and_asks_nobody(number, many, shown):
    tab = shown(*many(number))
    tab.wait_for("document.querySelectorAll('#main-charts svg').length == 3")
    lines = "[...document.querySelectorAll('#main-charts .mark-line path')]"
    strokes = tab.run(f"new Set({lines}.map((line) => getComputedStyle(line).stroke)).size")
    assert strokes == number
    assert tab.count("#runs tbody tr") == number
    assert tab.text("#algorithm summary").startswith("grpo")
    assert tab.complaints() == []


def test_completions_are_sorted_by_reward_and_browsed(many, shown):
    tab = shown(*many(1))
    rewards = "[...document.querySelectorAll('#answers .reward')].map((x) => x.innerText)"
    assert tab.text("#sampled") == "All 16 completions of this set in samples.jsonl."
    assert tab.text("#prompt") == "prompt 0"
    assert tab.run(rewards) == ["1", "0.75", "0.5", "0.25"]
    assert tab.text("#answers li .facts") == "exact 1\n7 tokens"
    tab.choose("#order", "worst")
    assert tab.run(rewards) == ["0.25", "0.5", "0.75", "1"]
    tab.run("document.querySelector('#after').click()")
    assert tab.text("#prompt") == "prompt 1"
    assert tab.run("document.querySelector('#after').disabled")
    tab.choose("#of-set", "1")
    assert "held-out" in tab.text("#prompt")
    assert tab.complaints() == []


def test_completions_of_a_data_set_have_no_reward_and_keep_their_order(
    make_run, measured, trained, shown
):
    rows = [trained(1, 0, None, scores={}, completion=text) for text in ("b", "a", "b")]
    tab = shown(make_run("run", [measured(1)], rows))
    assert tab.text("#answers").splitlines() == [
        *("no reward", "b", "7 tokens", "2 times"),
        *("no reward", "a", "7 tokens"),
    ]
    assert tab.complaints() == []


def test_smoothing_the_axis_and_the_boxes_change_what_is_drawn(many, shown):
    tab = shown(*many(2))
    tab.wait_for("document.querySelectorAll('#main-charts svg').length == 3")
    lines = '[data-metric="loss"] .mark-line path'
    path = f"[...document.querySelectorAll({lines!r})].at(-1).getAttribute('d')"
    drawn = [tab.run(path)]
    for control, value in (("#smoothing", "0.9"), ("#over", "tokens")):
        tab.choose(control, value)
        drawn.append(tab.run(path))
    assert drawn[0] != drawn[1] == drawn[2]  # the axis alone has changed
    assert "4,000" in tab.text('[data-metric="loss"]')
    tab.run("document.querySelector('input[name=run]').click()")
    assert tab.count(lines) == 2  # the values of one run, and their means
    assert tab.complaints() == []


def test_the_pointer_shows_what_all_runs_have_there(many, shown):
    tab = shown(*many(2))
    chart = """document.querySelector('[data-metric="reward/mean"] svg')"""
    tab.wait_for(chart)
    box = tab.run(
        f"(({{ x, y, width, height }}) => [x + width, y + height / 2])"
        f"({chart}.getBoundingClientRect())"
    )
    tab.ask("Input.dispatchMouseEvent", type="mouseMoved", x=box[0] - 1, y=box[1])
    tab.wait_for("!document.querySelector('#tip').hidden")
    assert tab.text("#tip").split() == [
        "steps:",
        "20",
        "run-0",
        "0",
        "run-1",
        "0.0925",
    ]  # 1.5 steps behind
    tab.ask("Input.dispatchMouseEvent", type="mouseMoved", x=1, y=1)
    tab.wait_for("document.querySelector('#tip').hidden")
    assert tab.complaints() == []


def test_completions_and_names_are_texts_whatever_they_say(make_run, measured, trained, shown):
    row = {"prompt": [{"role": HOSTILE, "content": HOSTILE}], "scores": {HOSTILE: 1.0}}
    rows = [trained(1, 0, 1.0, completion=HOSTILE, feedback=HOSTILE, **row)]
    tab = shown(make_run("run", [measured(1, **{HOSTILE: 0.5})], rows))
    tab.run("document.querySelector('#curves details').open = true")
    tab.wait_for("document.querySelectorAll('#other-charts svg').length")
    for selector in ("#prompt .text", "#answers .text", "#answers .feedback", "#prompt .role"):
        assert tab.text(selector) == HOSTILE
    assert tab.count("img") == 0
    assert tab.run("document.title") == "run · anypo"
    assert tab.complaints() == []


def test_it_is_dark_where_the_reader_likes_it_so_and_fits_a_phone(many, shown):
    tab = shown(*many(3), dark=True, width=390)
    background = "getComputedStyle(document.body).backgroundColor"
    assert tab.run(background) == "rgb(21, 23, 27)"
    tab.run("document.querySelector('#theme').click()")
    assert tab.run(background) == "rgb(247, 247, 245)"
    assert tab.run("document.documentElement.scrollWidth <= innerWidth")
    assert tab.complaints() == []
