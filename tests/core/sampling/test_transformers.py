import pytest

from anypo.hooks.runtime import Runtime
from anypo.testing import Status, check_sampler


@pytest.mark.parametrize("budget", [Runtime().token_budget, 20], ids=["together", "one by one"])
def test_it_keeps_all_rules_however_many_prompts_go_at_a_time(budget):
    report = check_sampler("transformers", runtime=Runtime(token_budget=budget))
    report.raise_if_failed()
    assert {result.status for result in report.results} == {Status.PASSED}
