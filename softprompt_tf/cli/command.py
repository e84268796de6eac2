"""Start the command line, so that Ctrl-C and SIGTERM end it without a traceback from the first import on."""

import signal
import sys
from types import FrameType


def main() -> int:
    """Run `softprompt`; return the exit status, 130 where it was interrupted."""
    interrupts: list[int] = []

    def interrupt(number: int, frame: FrameType | None) -> None:
        interrupts.append(number)
        raise KeyboardInterrupt

    def terminate(number: int, frame: FrameType | None) -> None:
        # Do what Ctrl-C does at this moment. A shell lets its background jobs ignore Ctrl-C: interrupt those too.
        now = signal.getsignal(signal.SIGINT)
        (now if callable(now) else interrupt)(number, frame)

    if signal.getsignal(signal.SIGINT) is signal.default_int_handler:
        signal.signal(signal.SIGINT, interrupt)
    if signal.getsignal(signal.SIGTERM) is signal.SIG_DFL:
        signal.signal(signal.SIGTERM, terminate)
    try:
        from softprompt_tf.quiet import open_closed_streams

        open_closed_streams()
        from softprompt_tf.cli.cli import main as run

        return run()
    except BaseException as error:
        # An interrupted import of a compiled module may end as ImportError or SystemError.
        if isinstance(error, SystemExit) or not interrupts:
            raise
        print("softprompt: interrupted", file=sys.stderr)
        return 130


if __name__ == "__main__":
    sys.exit(main())
