"""Docker's HEALTHCHECK: ends with 0 if the exporter in this container says it is healthy, else with 1.

The image has no curl, and `python -c` has no room for a reason. Asked is the address that the image gives to
``--web.health-address``, and where nothing listens there, as with ``demo``, the exporter's own port, which
answers too unless it asks for TLS or a password. Those of an exporter that listens elsewhere stand in the
container's environment: ``HEALTH_ADDRESS=127.0.0.1:8080``.
"""

import http.client
import os
import sys

USUAL = "127.0.0.1:10147 127.0.0.1:10145"


def main() -> int:
    """Asks the first that answers, prints what it or the others say, and gives the exit code."""
    for address in os.environ.get("HEALTH_ADDRESS", USUAL).split():
        status = ask(address)
        if status is not None:
            return 0 if status == 200 else 1
    return 1


def ask(address: str) -> "int | None":
    """The status that is answered; None if nobody answers."""
    try:
        # Not urllib, which would ask a proxy of the environment.
        connection = http.client.HTTPConnection(address, timeout=4)
        connection.request("GET", "/-/healthy")
        response = connection.getresponse()
        print(response.status, response.read(1000).decode(errors="replace").strip())
    except (OSError, http.client.HTTPException) as error:
        print(f"{address}: {error}")
        return None
    return response.status


if __name__ == "__main__":
    sys.exit(main())
