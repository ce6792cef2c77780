"""A run from its first step to its last: every step is written down, and nothing is lost."""

import shlex
from pathlib import Path

from anypo.errors import AnypoError, PeerError, SaveError
from anypo.hooks.remembered import packed
from anypo.runs import notes
from anypo.runs.checkpoints import Checkpoints
from anypo.runs.directory import RunDirectory
from anypo.runs.layout import AVERAGED
from anypo.runs.memory import with_advice
from anypo.runs.observer import Observer
from anypo.runs.samples import extremes
from anypo.runs.setup import Setup
from anypo.runs.stops import Stops, stopped_by
from anypo.support.deadline import last_words
from anypo.support.world import ALONE, gone, lost_peer
from anypo.training.trainer import Report, Trainer


class Session:
    """Has a trainer train, and writes down what it does.

    Args:
        trainer: Ready to begin, or to go on.
        setup: What it works with.
        directory: Of the run.
        checkpoints: Of the run.
        observer: Is told how it goes.
    """

    def __init__(
        self,
        trainer: Trainer,
        setup: Setup,
        directory: RunDirectory,
        checkpoints: Checkpoints,
        observer: Observer,
    ) -> None:
        self.trainer, self.setup, self.directory = trainer, setup, directory
        self.checkpoints, self.observer, self.world = checkpoints, observer, directory.world
        self.steps = setup.config.steps or 1
        begins = trainer.evaluations and not trainer.done
        self._now = "the evaluation before step 1" if begins else f"step {trainer.done + 1}"
        self._notes = notes.StepNotes(setup, trainer.learner.runtime)
        self._told = set[str]()

    def run(self) -> None:
        """Train until all steps are done.

        Raises:
            AnypoError: It cannot go on; saying what is safe, and where.
            StoppedError, KeyboardInterrupt: A signal has ended it.
        """
        self.observer.started(self.steps)
        with Stops(self.world) as stops, last_words(self._last_words):
            try:
                self._train(stops)
            except BaseException as error:
                if not stops.at_once:
                    self._give_up(error, stops.asked)
                raise
            finally:
                self.trainer.sampler.close()
            said = self._finish() if self.trainer.done == self.steps else self._pause()
            if stop := max(self.world.gather(stops.asked)):
                raise stopped_by(stop, said)

    def _train(self, stops: Stops) -> None:
        """Until the end, or a signal to any of the processes."""
        for report in self.trainer.train():
            self._now = f"step {report.step + 1}"
            self._write(report)
            report.extremes = extremes(report, self.setup.tokenizer)
            for note in self._notes.of(report):
                self.observer.note(note)
            self.observer.reported(report)
            every = self.world.gather((stops.asked, self.checkpoints.due(report)))
            if every[0][1]:
                self._checkpoint()
            elif report.step == 1:
                self._check_state()
            if any(asked for asked, _ in every):
                return

    def _write(self, report: Report) -> None:
        try:
            self.directory.write(report, self.setup.tokenizer)
        except SaveError as error:
            self._say("lines", f"{error}; training goes on, and it is tried again after each step")

    def _checkpoint(self) -> bool:
        """Write one; if it cannot be, training goes on without."""
        try:
            self.checkpoints.write(self.trainer, self.setup.tokenizer)
        except SaveError as error:
            self._say("checkpoint", f"{error}; training goes on without; {self._how}")
            return False
        return True

    def _check_state(self) -> None:
        """Tell early of what no checkpoint could hold."""
        try:
            packed(self.trainer.state)
        except SaveError as error:
            self._say(str(error), f"no checkpoint can be written: {error}")

    def _pause(self) -> str:
        """Keep what it takes to go on; how to."""
        done = self.trainer.done
        where = f"after step {done} of {self.steps}" if done else "before step 1"
        if done and self.checkpoints.newest_step != done and not self._checkpoint():
            return f"{where}; {self._saved()}"
        return f"{where}; {self._how}"

    def _finish(self) -> str:
        try:
            folder = self._save()
        except SaveError as error:
            raise SaveError(f"{error}; {self._how}") from error
        try:
            self.directory.flush()
        except SaveError as error:
            self.observer.note(f"what metrics and samples lack is lost: {error}")
        if best := self.checkpoints.best:
            kept = self.checkpoints.folder_of_best(best)
            self.observer.note(f"best {best.metric}: {best.value:.4g} in step {best.step}, {kept}")
        return f"after all {self.steps} steps; the model is in {folder}"

    def _give_up(self, error: BaseException, asked: int) -> None:
        """Save the model so far, and raise what says where it is, if that is ours to raise."""
        told = gone(error) if lost_peer(error) else with_advice(error, self.setup.config)
        together = self.world.size == 1 or (isinstance(told, AnypoError) and told.of_all)
        saved = self._saved() if together else self._saved_alone(told)
        if asked:  # the same signal may have ended what a reward or a sampler had started
            raise stopped_by(asked, f"in {self._now}: {told}; {saved}") from error
        if isinstance(told, AnypoError):
            raise type(told)(f"{self._now}: {told}; {saved}") from error
        self.observer.note(f"stopped in {self._now}; {saved}")

    def _save(self) -> Path:
        """Save the model, and with it its average, unless nobody knows what other processes do."""
        learner, tokenizer, done = self.trainer.learner, self.setup.tokenizer, self.trainer.done
        try:
            if learner.average and self.directory.world is self.world:
                with learner.averaged() as averaged:
                    self.directory.save(averaged, tokenizer, done, AVERAGED)
        finally:
            folder = self.directory.save(learner.whole(), tokenizer, done)
        return folder

    def _saved(self) -> str:
        """Where the model so far is, and what there is to go on from."""
        try:
            saved = f"the model so far is in {self._save()}"
        except AnypoError as error:
            saved = str(error)
        return saved if self.checkpoints.newest_step is None else f"{saved}; {self._how}"

    def _last_words(self) -> str:
        if self.world.size > 1:
            return self._how
        if self.trainer.learner.average:  # the end may have come while it was evaluated
            self.trainer.learner.average.hide()
        return self._saved()

    def _saved_alone(self, error: BaseException) -> str:
        """The same where nobody knows what the other processes do: none is waited for."""
        replica = self.trainer.learner.replica
        if replica and replica.is_stale:  # of the weights, others have parts
            return self._how
        if self.world.is_first:
            self.directory.world = ALONE
            return self._saved()
        if isinstance(error, PeerError):
            return self._how
        return f"the first process saves the model so far in {self.directory.path}"

    @property
    def _how(self) -> str:
        """How the run goes on another time, and from where."""
        step = self.checkpoints.newest_step
        place = "from the beginning" if step is None else f"from step {step}"
        return f"`anypo run --resume {shlex.quote(str(self.directory.path))}` goes on {place}"

    def _say(self, topic: str, note: str) -> None:
        if topic not in self._told:
            self._told.add(topic)
            self.observer.note(note)
