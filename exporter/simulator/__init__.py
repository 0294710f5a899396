"""SMS Centre's short-link statistics, played by a program, with an auditor of those who ask.

The exporter's tests, its benchmarks and its `demo` poll this instead of the real provider. It imports
nothing of the package around it, so that a mistake there cannot excuse itself here.

| module     | one job                                                            |
|------------|--------------------------------------------------------------------|
| `links`    | the links and how their clicks grow                                |
| `days`     | where the provider's days and months begin                         |
| `formats`  | the four formats, as the provider writes them by hand              |
| `query`    | what a request asks for                                            |
| `limits`   | which requests the provider refuses                                |
| `faults`   | the ways to answer wrongly, and how to write them down             |
| `damage`   | those of them that change the figures or the bytes of an answer    |
| `delivery` | those of them that change how an answer travels                    |
| `auditor`  | what the clients did, watched apart from `limits`                  |
| `options`  | everything that can be set                                         |
| `provider` | one request in, one decided reply out                              |
| `site`     | the HTTP side                                                      |
"""

from exporter.simulator.auditor import Auditor
from exporter.simulator.faults import FAULT_NAMES, Fault, parse_faults
from exporter.simulator.links import Figures, SimulatedLink, demo_links, numbered_links
from exporter.simulator.options import Settings
from exporter.simulator.provider import Provider
from exporter.simulator.site import create_app, serving

__all__ = [
    "FAULT_NAMES",
    "Auditor",
    "Fault",
    "Figures",
    "Provider",
    "Settings",
    "SimulatedLink",
    "create_app",
    "demo_links",
    "numbered_links",
    "parse_faults",
    "serving",
]
