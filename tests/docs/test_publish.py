"""What the page on publishing has others copy."""

import re
from pathlib import Path

import pytest
import yaml

from anypo_cli.creating import package_files

PAGE = (Path(__file__).parents[2] / "docs/publish.md").read_text(encoding="utf-8")
CHECK, PUBLISH = re.findall(r"^```yaml\n(.*?)^```", PAGE, flags=re.MULTILINE | re.DOTALL)


def test_the_workflow_that_checks_is_the_one_that_is_written():
    assert package_files("my-algo")[".github/workflows/check.yml"] == CHECK


@pytest.mark.parametrize("text", [CHECK, PUBLISH])
def test_every_step_runs_something_or_uses_an_action_of_some_version(text):
    (job,) = yaml.safe_load(text)["jobs"].values()
    used = [step["uses"] for step in job["steps"] if "run" not in step]
    assert all(re.fullmatch(r"[\w-]+/[\w-]+@(release/)?v\d+", action) for action in used)
    assert used[0].startswith("actions/checkout@")


def test_publishing_needs_no_password():
    (job,) = yaml.safe_load(PUBLISH)["jobs"].values()
    assert job["permissions"] == {"contents": "read", "id-token": "write"}
    assert "secrets" not in PUBLISH
    assert job["environment"] in re.findall(r"the environment `(\w+)`", PAGE)
