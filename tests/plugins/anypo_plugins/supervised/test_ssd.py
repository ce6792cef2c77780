from anypo import Prompt, Sample, compose


class Sampler:
    def sample(self, prompts, n, **how):
        self.how = how
        return [Sample(prompt.ids, [7], group) for group, prompt in enumerate(prompts)] * n


def test_all_that_the_model_before_training_writes_is_learnt():
    sampler = Sampler()
    algorithm = compose("ssd", knobs={"draw_temperature": 0.5, "draw_top_k": 3, "group_size": 2})
    samples = algorithm.rollout([Prompt([1], ""), Prompt([2], "")], sampler, None, {})
    assert len(samples) == 4
    assert sampler.how == {"temperature": 0.5, "top_k": 3, "model": "reference"}
    assert algorithm.requires == {"reference"}
    assert not algorithm.inputs.scorer


def test_it_may_be_the_policy_as_it_is():
    algorithm = compose("ssd", knobs={"frozen": False})
    assert algorithm.requires == set()


def test_it_is_imitated(random_batch):
    logprobs, batch = random_batch()
    plain, algorithm = compose("sft"), compose("ssd")
    expected = plain.loss(logprobs, plain.prepare(batch)).total
    assert algorithm.loss(logprobs, algorithm.prepare(batch)).total == expected
