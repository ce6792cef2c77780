"""The kit as tests of pytest."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

from anypo.testing.check import PROPERTIES, examine, make_subject
from anypo.testing.report import Status
from anypo.testing.subject import Subject


class Conformance:
    """One test per property of a plugin.

        class TestMyAlgorithm(anypo.testing.Conformance):
            plugin = MyAlgorithm

    Attributes:
        plugin: A name, class or instance; `a+b` is a stack.
        on: What is put below it, likewise; several as a list.
        knobs: Values by name.
        claims: What is claimed, instead of what the plugins say of themselves.
    """

    plugin: ClassVar[Any]
    on: ClassVar[Any] = ()
    knobs: ClassVar[Mapping[str, Any]] = {}
    claims: ClassVar[Sequence[str] | None] = None

    @classmethod
    def pytest_generate_tests(cls, metafunc: Any) -> None:
        """Ask for the tests; pytest calls it."""
        if "conformance_property" in metafunc.fixturenames:
            metafunc.parametrize("conformance_property", PROPERTIES)

    def test_conformance(self, conformance_property: str) -> None:
        """The property holds, or the counterexample is shown."""
        import pytest  # who runs no tests need not have it

        result = examine(conformance_property, self._subject())
        if result.status is Status.FAILED:
            pytest.fail(f"{result.about}\n{result.detail}", pytrace=False)
        if result.status is Status.NOT_APPLICABLE:
            pytest.skip(result.detail)

    @classmethod
    def _subject(cls) -> Subject:
        """The plugin and its batches, made once for all tests of the class."""
        if "_made" not in vars(cls):
            cls._made = make_subject(cls.plugin, on=cls.on, knobs=cls.knobs, claims=cls.claims)
        return cls._made

    _made: ClassVar[Subject]
