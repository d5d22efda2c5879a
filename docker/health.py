"""Whether the service in this container answers: what Docker asks again and again.

Usage: python health.py [PORT]

DIFFERNET_HEALTH_SCHEME=https where it has a certificate; whose that is, is not looked at on its own machine.
"""

import os
import ssl
import sys
import urllib.request


def main() -> int:
    """Ask /health; 0 where it answers."""
    port = int(sys.argv[1]) if len(sys.argv) > 1 else 8000
    is_https = os.environ.get("DIFFERNET_HEALTH_SCHEME") == "https"
    context = ssl._create_unverified_context() if is_https else None  # noqa: S323
    url = f"{'https' if is_https else 'http'}://127.0.0.1:{port}/health"
    try:
        with urllib.request.urlopen(url, timeout=4, context=context) as answer:  # noqa: S310  one of these two
            return 0 if answer.status == 200 else 1
    except OSError as error:
        print(error, file=sys.stderr)
        return 1


if __name__ == "__main__":
    sys.exit(main())
