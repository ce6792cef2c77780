"""What mkdocs adds to the pages: `mkdocs build --strict` at the root of the repository.

README becomes the start, and every algorithm has a page. Pages link to files of the repository, as
is usual on GitHub: on the site these are pages too.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from algorithm_page import built_in, page_of
from generate import ROOT, file
from mkdocs.exceptions import PluginError
from mkdocs.structure.files import File, Files, InclusionLevel

DOCS = ROOT / "docs"
START = "index.md"
SHOWN = (".md", ".png")  # what the site shows as it is
CODE = (".py", ".toml", ".json")
UNSEARCHED = "---\nsearch: {exclude: true}\n---\n"
LINK = re.compile(r"(?<=\]\()([^)#\s:]+)")
ELSEWHERE = re.compile(r'<(?:script|link|img|iframe)[^>]+(?:src|href)="((?:https?:)?//[^"]+)"')
TABLE_ROW = re.compile(r"^\|.*$", re.MULTILINE)
CODE_SPAN = re.compile(r"`[^`]+`")
OF_AN_ALGORITHM = re.compile(r"\[`(\w+)`\]\(\.\./plugins/anypo_plugins/\w+\.py\)")


def on_config(config: Any) -> None:
    """The pages of algorithms stand below their overview."""
    (section,) = (item["Algorithms"] for item in config.nav if "Algorithms" in item)
    section += [f"algorithms/{name}.md" for name in built_in()]


def on_files(files: Files, config: Any) -> None:
    """Add the pages that are no files of the folder."""
    start = (ROOT / "README.md").read_text(encoding="utf-8")
    added = {START: start} | {f"algorithms/{name}.md": page_of(name) for name in built_in()}
    texts = {page.src_uri: page.content_string for page in files.documentation_pages()}
    sources = {
        target for name, text in {**texts, START: start}.items() for target in _sources(name, text)
    }
    for name, text in added.items():
        files.append(File.generated(config, name, content=text))
    for path in sorted(sources):
        hidden = InclusionLevel.NOT_IN_NAV
        files.append(
            File.generated(config, _place(path), content=source_page(path), inclusion=hidden)
        )


def on_page_markdown(markdown: str, page: Any, **_: Any) -> str:
    """Let links lead to what they mean on the site."""
    markdown = TABLE_ROW.sub(_plain_pipes, markdown)
    name = page.file.src_uri
    if "/" in name:  # written here
        return markdown
    markdown = OF_AN_ALGORITHM.sub(r"[`\1`](algorithms/\1.md)", markdown)
    return LINK.sub(lambda link: _on_site(name, link[1]), markdown)


def on_post_page(output: str, page: Any, **_: Any) -> None:
    """Refuse a page that a reader's browser would load something for from elsewhere."""
    if found := ELSEWHERE.search(output):
        raise PluginError(f"{page.file.src_uri} loads {found[1]}")


def source_page(path: Path) -> str:
    """A file, or the code of a folder, as a page."""
    inside = sorted(path.rglob("*")) if path.is_dir() else [path]
    blocks = [
        f"\n## {one.name}\n{file(str(one.relative_to(ROOT)), language=one.suffix[1:])}"
        for one in inside
        if one.suffix in CODE
    ]
    return f"{UNSEARCHED}\n# {path.relative_to(ROOT)}\n{''.join(blocks)}"


def _plain_pipes(row: re.Match[str]) -> str:
    """GitHub wants pipes escaped even in the code of a table, Python-Markdown does not."""
    return CODE_SPAN.sub(lambda code: code[0].replace("\\|", "|"), row[0])


def _target(page: str, link: str) -> Path | None:
    """The file or folder that a link of a page leads to, if it is one."""
    folder = ROOT if page == START else DOCS
    target = (folder / link).resolve()
    return target if target.exists() else None


def _sources(page: str, text: str) -> Iterator[Path]:
    """What a page links to that the site does not show as it is."""
    for link in LINK.findall(OF_AN_ALGORITHM.sub("", text)):
        target = _target(page, link)
        if target and target.suffix not in SHOWN:
            yield target


def _on_site(page: str, link: str) -> str:
    target = _target(page, link)
    if target is None:
        return link
    return str(target.relative_to(DOCS)) if target.suffix in SHOWN else _place(target)


def _place(path: Path) -> str:
    return f"sources/{path.relative_to(ROOT)}.md"
