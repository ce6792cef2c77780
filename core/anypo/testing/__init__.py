"""The conformance kit."""

from anypo.testing.check import PROPERTIES, check_plugin
from anypo.testing.conformance import Conformance
from anypo.testing.report import Report, Result, Status

__all__ = ["PROPERTIES", "Conformance", "Report", "Result", "Status", "check_plugin"]
