"""Whether the service in this container answers: what Docker asks again and again.

Usage: python health.py [PORT]
"""

import sys
import urllib.request


def main() -> int:
    """Ask /health; 0 where it answers."""
    port = int(sys.argv[1]) if len(sys.argv) > 1 else 8000
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/health", timeout=4) as answer:
            return 0 if answer.status == 200 else 1
    except OSError as error:
        print(error, file=sys.stderr)
        return 1


if __name__ == "__main__":
    sys.exit(main())
