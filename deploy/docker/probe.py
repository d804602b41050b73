"""The images' health check: ends with 0 where the agent answers.

PROBE is the address, http://127.0.0.1:8080/healthz where it says nothing else. By https nothing of the certificate is
checked, which is for other names than this machine's own.
"""

import os
import ssl
import sys
import urllib.request

_SECONDS = 8


def main() -> int:
    """Ask once."""
    address = os.environ.get("PROBE", "http://127.0.0.1:8080/healthz")
    unchecked = ssl.create_default_context()
    unchecked.check_hostname = False
    unchecked.verify_mode = ssl.CERT_NONE
    try:
        with urllib.request.urlopen(address, timeout=_SECONDS, context=unchecked) as answer:  # noqa: S310 - the site's own
            answer.read()
    except OSError as error:
        sys.stderr.write(f"{address}: {error}\n")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
