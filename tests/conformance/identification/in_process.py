"""A target that is asked in this process: what ``Questioned`` does without a process of its own, for many at once."""

from conformance.identification.asking import Asked
from conformance.identification.frameworks import Refused
from conformance.identification.kinds import subject
from conformance.identification.process import Declined
from conformance.identification.target import parse


class InProcess:
    def __init__(self, target, kind=None):
        self.target = target
        self._asked = Asked(subject(parse(target), kind))
        self.kind = self._asked.subject.kind
        facts = self._asked.facts()
        self.numbers, self.scheduled, self.given = facts["numbers"], facts["scheduled"], facts["given"]

    def ask(self, question, arrays):
        try:
            return self._asked.answer(question, arrays)
        except Exception as error:
            raise Declined(str(error) if isinstance(error, Refused) else f"{type(error).__name__}: {error}") from error
