"""TurnPolicies: who decides about turns in the live talks of one server (docs/realtime.md).

A session of `semantic_vad` may name a policy in `turn_detection.turn_policy`; else the server's own is taken. A session
of `server_vad` always goes by silence.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, NamedTuple

from osum.dialogue.turn_policy import TURN, EndOfTurn, Semantic, SilenceOnly, TurnPolicy
from osum.dialogue.turn_words import ByWords
from osum.errors import InputError
from osum.listening.recognizer import Recognizer
from osum.server.options import ServerOptions

PolicyName = Literal["auto", "silence", "words", "model", "network"]


class _Patience(NamedTuple):
    """Seconds of silence that an eagerness waits for."""

    incomplete: float
    """Until a turn is taken that the model calls incomplete."""
    surely_incomplete: float
    """The same of the network, which is asked about sound alone and errs more often."""
    words: float
    """Until any turn is taken that is judged by its words."""


PATIENCE = {
    "auto": _Patience(4.0, 2.0, 0.5),
    "low": _Patience(8.0, 4.0, 0.8),
    "medium": _Patience(4.0, 2.0, 0.5),
    "high": _Patience(2.0, 1.0, 0.4),
}


@dataclass(frozen=True)
class TurnPolicies:
    """What a server can judge turns by."""

    usual: PolicyName = "auto"
    """What a session gets that names none; auto takes the network, else the model's own task, else its words."""
    network: EndOfTurn | None = None

    @classmethod
    def open(cls, options: ServerOptions) -> TurnPolicies:
        """Those that the options name.

        Raises:
            OsumError: the file of the network cannot be used.
        """
        network = None if options.end_of_turn is None else EndOfTurn(options.end_of_turn)
        return cls(options.turn_policy, network)

    def named(self, name: PolicyName | None, model: Recognizer, eagerness: str = "auto") -> TurnPolicy:
        """The policy of one talk.

        Raises:
            InputError: the model cannot judge so, or the server has no network.
        """
        patience = PATIENCE[eagerness]
        match self._chosen(name or self.usual, model):
            case "network":
                if self.network is None:
                    raise InputError("this server has no end-of-turn network: start it with --end-of-turn FILE.onnx")
                over = Semantic(model) if TURN in model.tasks else ByWords(model)
                return self.network.adapted(over, patience.surely_incomplete)
            case "model":
                return Semantic(model, max_wait=patience.incomplete)
            case "words":
                return ByWords(model, silence=patience.words)
            case _:
                return SilenceOnly()

    def _chosen(self, name: PolicyName, model: Recognizer) -> PolicyName:
        if name != "auto":
            return name
        if self.network is not None:
            return "network"
        return "model" if TURN in model.tasks else "words"
