"""The conformance kit: does a plugin keep the rules that every algorithm is held to?

    anypo check my_algorithm            # on the command line, by its registered name

    from anypo.testing import check_plugin
    check_plugin(MyAlgorithm).raise_if_failed()

    class TestMyAlgorithm(anypo.testing.Conformance):       # in pytest: one test per property
        plugin = MyAlgorithm

The plugin's own rollout makes batches of made-up prompts, completions and rewards; the stages run
on them, and on what must come to the same. Each property passes, fails with a counterexample of as
few rows as show it, or is not applicable, with the reason. What is no whole algorithm by itself is
put on a neutral one, a policy gradient without clipping, or on what you name: `on="grpo"`.

Hooks and answers
    `hooks_and_signatures`  hooks are named like stages, marked, and ask for what stages are given
    `composition`           `compose` accepts the plugin
    `rollout`               samples belong to a prompt, and are alike in what they carry
    `shapes_and_dtypes`     answers have the shapes of their stages, and are floating-point
    `batch_untouched`       no hook edits the batch or an argument in place
    `no_leak`               nothing in the batch carries gradient
    `knobs`                 each is read somewhere
    `other_bases`           a modifier goes on ratios per sequence, advantages per token, pairs …
    `determinism`           the same batch gives the same answers, bit by bit

Gradient
    `finite_float32`        finite, however far log-probs are apart
    `finite_bfloat16`       likewise, where exp(-0.001) is 1
    `finite_differences`    it is the slope of the loss, what is detached being constant
    `nothing_detached`      nothing is, but for a stop-gradient that the plugin claims
    `policy_gradient`       at ratio 1 and without penalties it is -weight * advantage

Direction and size
    `better_ones`           a step makes what is rewarded, chosen, labelled good or shown likelier
    `towards_reference`     what is paid for is the distance from a reference, not the nearness
    `way_back`              no bound stops those that went against their advantage alone
    `denominators`          more groups, or the rows of a pair, do not make a batch count for more

What changes neither the loss nor the gradient
    `padding_content`, `padding_width`, `row_order`, `group_numbering`
    `micro_batch_split`     the losses of the parts add up
    `rank_split`            likewise, after ranks gathered their rows and padded them anew
    `reward_shift`          all rewards raised by one number, if the plugin claims it
    `reward_scale`          all rewards times one number, if the plugin claims it

Numbers stay finite
    `group_of_one`, `equal_rewards`, `empty_rows`, `truncated_rows`, `one_token_rows`
    `missing_scores`        one of several rewards does not apply to a row: NaN in `batch.scores`

Runs
    `state_survives`        a run goes on from a saved `state` as if it had not been interrupted
    `gpu`                   the GPU, where there is one, agrees with the CPU

A plugin says of itself what does not follow from the rules: `claims: ClassVar = ("reward_shift",)`.
A claim counts while the plugin answers the stage that the claim is about.

    reward_shift, reward_scale    see above; of the topmost plugin with a `rollout` or `advantage`
    stop_gradient                 a `.detach()` in `ratio`, `clip` or `regularizer` is meant
    own_gradient                  at ratio 1 the gradient shall be another than the policy gradient
    own_direction                 before any update, the better ones need not become likelier
    by_length                     with one ratio or gain per row, longer rows shall count for more
    random_choice                 what is drawn, with a seed of its own, hangs on rows and places

A sampler is held to rules of its own, on a tiny model with random weights:

    anypo check my_sampler

    from anypo.testing import check_sampler
    check_sampler(MySampler).raise_if_failed()

Completions
    `samples`               n of every prompt, in order, with its ids, its group and log-probs
    `logprobs`              the trainer's, whatever generation settings the model brings along
    `temperature`           those of the distribution at that temperature
    `prompt_lengths`        a prompt is answered alike beside longer and shorter ones
    `frequencies`           tokens are drawn as often as their probabilities say
    `top_k`, `top_p`        log-probs of what is left, renormalised, or a refusal
    `ends`, `length_limit`  where a completion stops, and what counts as truncated
    `seeds`                 the seed of torch decides all
    `unknown_parameters`    refused, not ignored
    `model_untouched`       sampling changes nothing of the model
    `sync`                  from then on all completions are of the new weights
"""

from anypo.testing.check import PROPERTIES, check_plugin
from anypo.testing.conformance import Conformance
from anypo.testing.report import Report, Result, Status
from anypo.testing.sampler import check_sampler

__all__ = [
    "PROPERTIES",
    "Conformance",
    "Report",
    "Result",
    "Status",
    "check_plugin",
    "check_sampler",
]
