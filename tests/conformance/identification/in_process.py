"""A target that is asked in this process: what ``Questioned`` does without a process of its own, for many at once."""

from conformance.identification.asking import Asked
from conformance.identification.frameworks import Refused
from conformance.identification.kinds import subject
from conformance.identification.process import Declined
from conformance.identification.target import parse
from conformance.runs.outcome import BadInput


class InProcess:
    def __init__(self, target, kind=None):
        self.turn_to(target, kind)

    def turn_to(self, target, kind=None):
        self.target = target
        try:
            self._asked = Asked(subject(parse(target), kind))
        except ValueError as error:
            raise BadInput(str(error)) from error
        self.kind = self._asked.subject.kind
        facts = self._asked.facts()
        self.numbers, self.scheduled, self.given = facts["numbers"], facts["scheduled"], facts["given"]

    def ask(self, question, arrays):
        try:
            return self._asked.answer(question, arrays)
        except Exception as error:
            raise Declined(str(error) if isinstance(error, Refused) else f"{type(error).__name__}: {error}") from error
