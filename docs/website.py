"""What mkdocs adds to the pages: `mkdocs build --strict` at the root of the repository.

README becomes the start, and every algorithm has a page. Pages link to files of the repository, as
is usual on GitHub: on the site these are pages too.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from algorithm_page import page_of
from generate import ROOT, built_in, file
from mkdocs.exceptions import PluginError
from mkdocs.structure.files import File, Files, InclusionLevel

DOCS = ROOT / "docs"
START = "index.md"
SHOWN = {
    ".md": DOCS,
    ".png": DOCS / "pictures",
    ".svg": DOCS / "pictures" / "claims",
}  # as it is; all else as a source
SOURCES = "sources"
CODE = (".py", ".toml", ".json")
UNSEARCHED = "---\nsearch: {exclude: true}\n---\n"
LINK = re.compile(r"(?<=\]\()([^)#\s:]+)")
ELSEWHERE = re.compile(r'<(?:script|link|img|iframe)[^>]+(?:src|href)="((?:https?:)?//[^"]+)"')
TABLE_ROW = re.compile(r"^\|.*$", re.MULTILINE)
CODE_SPAN = re.compile(r"`[^`]+`")
OF_AN_ALGORITHM = re.compile(r"\[`(\w+)`\]\(\.\./plugins/anypo_plugins/[\w/]+\.py\)")


def on_config(config: Any) -> None:
    """The pages of algorithms stand below their overview."""
    (section,) = (item["Algorithms"] for item in config.nav if "Algorithms" in item)
    section += [f"algorithms/{name}.md" for name in built_in()]


def on_files(files: Files, config: Any) -> None:
    """Add the pages that are no files of the folder."""
    start = (ROOT / "README.md").read_text(encoding="utf-8")
    texts = {START: start} | {f.src_uri: f.content_string for f in files.documentation_pages()}
    linked = {path for name, text in texts.items() for path in _linked(name, text)}
    sources = [path for path in sorted(linked) if _place(path).startswith(SOURCES)]
    added = {START: start} | {f"algorithms/{name}.md": page_of(name) for name in built_in()}
    for name, text in added.items():
        files.append(File.generated(config, name, content=text))
    for path in sources:
        page = File.generated(config, _place(path), content=source_page(path))
        page.inclusion = InclusionLevel.NOT_IN_NAV
        files.append(page)


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
    inside = (one for one in sorted(path.rglob("*")) if one.suffix in CODE)
    blocks = [
        f"\n## {one.name}\n{file(str(one.relative_to(ROOT)), language=one.suffix[1:])}"
        for one in (inside if path.is_dir() else [path])
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


def _linked(page: str, text: str) -> Iterator[Path]:
    """The files and folders to which a page leads."""
    for link in LINK.findall(OF_AN_ALGORITHM.sub("", text)):
        if target := _target(page, link):
            yield target


def _on_site(page: str, link: str) -> str:
    target = _target(page, link)
    return _place(target) if target else link


def _place(path: Path) -> str:
    """Where the site has a file or a folder of the repository."""
    if SHOWN.get(path.suffix) == path.parent:
        return str(path.relative_to(DOCS))
    return f"{SOURCES}/{path.relative_to(ROOT)}.md"
