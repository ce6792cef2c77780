from anypo_cli.app import main


def said(capsys, *arguments):
    assert main(["diff", *arguments]) == 0
    return capsys.readouterr().out


def rows(text):
    """The first word of every row."""
    return [line.split()[0] for line in text.splitlines()[1:] if line[:1].strip()]


def test_only_what_differs_is_shown(capsys):
    text = said(capsys, "grpo", "dr_grpo")
    assert {"advantage", "weight", "kl_coef", "requires"} <= set(rows(text))
    assert not {"rollout", "ratio", "clip", "clip_low", "group_size"} & set(rows(text))


def test_equal_algorithms_have_no_difference(capsys):
    assert "alike" in said(capsys, "grpo", "grpo")


def test_stacks_can_be_compared(capsys):
    assert "clip" in rows(said(capsys, "grpo", "grpo+dual_clip"))


def test_an_unknown_name_is_one_line(capsys):
    assert main(["diff", "grpo", "dapoo"]) == 1
    assert capsys.readouterr().err.startswith("error: there is no plugin 'dapoo'")
