"""Docker's HEALTHCHECK: ends with 0 if the exporter in this container says it is healthy, else with 1.

The image has no curl, and `python -c` has no room for a reason. An exporter that listens elsewhere than on
port 10145 says so in the container's environment: ``HEALTH_ADDRESS=127.0.0.1:8080``.
"""

import http.client
import os
import sys


def main() -> int:
    """Asks once, prints what is wrong, if anything, and gives the exit code."""
    address = os.environ.get("HEALTH_ADDRESS", "127.0.0.1:10145")
    try:
        # Not urllib, which would ask a proxy of the environment.
        connection = http.client.HTTPConnection(address, timeout=4)
        connection.request("GET", "/-/healthy")
        response = connection.getresponse()
        print(response.status, response.read(1000).decode(errors="replace").strip())
    except (OSError, http.client.HTTPException) as error:
        print(f"{address}: {error}")
        return 1
    return 0 if response.status == 200 else 1


if __name__ == "__main__":
    sys.exit(main())
