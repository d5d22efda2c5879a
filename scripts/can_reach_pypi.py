"""Exit with 0 when pypi.org answers within ten seconds; pip-audit reads its list of known holes."""

import signal
import sys
import urllib.request


def main() -> None:
    """Ask once."""
    signal.alarm(
        10
    )  # looking up a name waits as long as it likes; the signal ends the process with a code above 0
    try:
        urllib.request.urlopen("https://pypi.org/pypi/pip/json").close()
    except OSError:
        sys.exit(1)


if __name__ == "__main__":
    main()
