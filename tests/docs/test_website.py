"""The site: a page per algorithm that says what its code does, and links that lead somewhere."""

import json
from types import SimpleNamespace

import algorithm_page
import pytest
import tables

pytest.importorskip("mkdocs")  # of the extra `docs`, which CI installs

import website
from mkdocs.exceptions import PluginError


@pytest.fixture
def learning(tmp_path, monkeypatch):
    """Puts rows in place of what algorithms have learned."""

    def put(*rows):
        (tmp_path / "learning.json").write_text(json.dumps(rows))

    monkeypatch.setattr(tables, "FIGURES", tmp_path)
    put()
    return put


def on_site(markdown, page="data.md"):
    return website.on_page_markdown(markdown, SimpleNamespace(file=SimpleNamespace(src_uri=page)))


def test_a_page_says_what_the_algorithm_does():
    page = algorithm_page.page_of("dapo")
    assert "Yu et al. 2025, arXiv:2503.14476" in page
    assert "| `weight` | `dapo` | 1 / sum\\_i \\|y\\_i\\|: every token" in page
    assert "| `rollout` | `dapo` (wraps) |" in page
    assert "| `--group-size` | `16` | default of dapo |" in page
    assert "How the estimate is differentiated. (no active stage reads it)" in page
    _, _, changes = page.partition("## What it changes of grpo")
    assert "| `group_size` | 8 | 16 |" in changes
    assert "class DAPO(Plugin):" in changes


def test_a_modifier_is_shown_on_top_of_grpo():
    page = algorithm_page.page_of("tis")
    assert "anypo run grpo+tis\n" in page
    assert "## What it changes of grpo" in page


def test_one_that_stands_on_nothing_changes_nothing():
    assert "What it changes" not in algorithm_page.page_of("grpo")


def test_what_was_not_run_yet_says_so(learning):
    assert "Not run yet: `python benchmarks/learning.py tis`" in algorithm_page.page_of("tis")


def test_what_was_learned_is_shown_with_a_curve(learning):
    row = {"algorithm": "grpo", "options": {}, "seed": 1, "score": [0.5, 0.75]}
    other = {**row, "options": {"lora_rank": 8}, "seed": 7}
    learning(row, other)
    page = algorithm_page.page_of("grpo")
    assert "| 1 | 0.500 | 0.750 |" in page
    assert "| 7 |" not in page
    assert "<svg" not in page
    learning({**row, "curve": [[0, 0.5], [25, 0.625], [50, 0.75]]})
    svg = algorithm_page.page_of("grpo").partition("<svg")[2].partition("</svg>")[0]
    assert "score: 0.625" in svg


@pytest.mark.parametrize(
    ("page", "link", "there"),
    [
        ("index.md", "docs/data.md#look-first", "data.md#look-first"),
        ("index.md", "docs/pictures/report.png", "pictures/report.png"),
        ("data.md", "rewards.md", "rewards.md"),
        ("kinds.md", "../core/anypo/hooks/task.py", "sources/core/anypo/hooks/task.py.md"),
        ("kinds.md", "examples/anypo-sapo", "sources/docs/examples/anypo-sapo.md"),
        ("data.md", "https://example.org/a.md", "https://example.org/a.md"),
    ],
)
def test_a_link_leads_to_what_the_site_has(page, link, there):
    assert on_site(f"[x]({link})", page) == f"[x]({there})"


def test_an_algorithm_in_the_overview_leads_to_its_page():
    row = "| [`dapo`](../plugins/anypo_plugins/policy_gradient/dapo.py) | words |"
    assert on_site(row, "algorithms.md") == "| [`dapo`](algorithms/dapo.md) | words |"


def test_pipes_in_the_code_of_a_table_are_not_escaped_twice():
    assert on_site("| `a\\|b` | c\\|d |\n`e\\|f`") == "| `a|b` | c\\|d |\n`e\\|f`"


def test_a_folder_is_shown_file_by_file():
    page = website.source_page(website.ROOT / "docs/examples/anypo-sapo")
    assert "## anypo_sapo.py\n\n```py\n" in page
    assert "## pyproject.toml\n\n```toml\n" in page


def test_a_page_that_loads_something_from_elsewhere_is_refused():
    page = SimpleNamespace(file=SimpleNamespace(src_uri="data.md"))
    website.on_post_page('<a href="https://example.org">only a link</a>', page)
    with pytest.raises(PluginError, match=r"data\.md loads //cdn\.example/a\.js"):
        website.on_post_page('<script defer src="//cdn.example/a.js"></script>', page)
