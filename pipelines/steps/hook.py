"""The command that tells the outside of decisions."""

import subprocess
from collections.abc import Callable, Sequence

from alexnet.promotion.decisions import Decision

TIMEOUT_S = 300.0


def teller(hook: Sequence[str], say: Callable[[str], None]) -> Callable[[Decision], object]:
    """A function that runs a command with the decision as JSON on its standard input.

    A command that fails is said, and undoes nothing.

    Args:
        hook: program and arguments; empty: nothing is run.
        say: takes a line for people.
    """

    def tell(decision: Decision) -> None:
        if not hook:
            return
        try:
            text = decision.to_json()
            subprocess.run(  # noqa: S603 - the command that the configuration names, and no shell
                list(hook), input=text, text=True, timeout=TIMEOUT_S, check=True
            )
        except (OSError, subprocess.SubprocessError) as error:
            say(f"registry.on_decision: {str(error).rstrip('.')}. The decision stands.")

    return tell
