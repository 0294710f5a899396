"""What the simulator's tests share: a clock that stands still, and short ways to ask."""

from datetime import UTC, datetime

from exporter.simulator import Provider, Settings, SimulatedLink
from exporter.simulator.damage import Reply
from exporter.simulator.provider import Visit

PATH = "/sys/tinyurls.php"
SPRING = SimulatedLink("145142", "https://shop.example/?q=a+b", "smsc.tips/a", rate=600.0)
AUTUMN = SimulatedLink("145143", "https://shop.example/осень", "smsc.tips/b", rate=60.0)
LINKS = (SPRING, AUTUMN)
HOME = "192.0.2.1"
AWAY = "192.0.2.2"
LOGIN = {"get": "1", "login": "demo", "psw": "demo"}


class Clock:
    """Seconds that pass only when told to."""

    def __init__(self, now: float = 1_000_000.0) -> None:
        self.now = now

    def __call__(self) -> float:
        return self.now

    def forward(self, seconds: float) -> None:
        self.now += seconds

    def at(self, moment: str) -> None:
        self.now = utc(moment)


def utc(moment: str) -> float:
    return datetime.fromisoformat(moment).replace(tzinfo=UTC).timestamp()


class Scene:
    """A provider with its clocks in hand."""

    def __init__(self, settings: Settings | None = None, moment: str = "2024-05-15 09:00") -> None:
        self.clock, self.monotonic = Clock(utc(moment)), Clock()
        settings = settings or Settings(links=LINKS)
        self.provider = Provider(settings, clock=self.clock, monotonic=self.monotonic)

    def arrive(self, ip: str = HOME, **parameters: str) -> Visit:
        return self.provider.arrive(LOGIN | parameters, ip)

    def ask(self, ip: str = HOME, **parameters: str) -> Reply:
        return self.ask_exactly(LOGIN | parameters, ip)

    def ask_exactly(self, parameters: dict[str, str], ip: str = HOME) -> Reply:
        visit = self.provider.arrive(parameters, ip)
        self.provider.leave(visit)
        return visit.reply

    def labels(self, times: int, ip: str = HOME, **parameters: str) -> list[str]:
        return [self.ask(ip, **parameters).label for _ in range(times)]

    def text(self, **parameters: str) -> str:
        return self.ask(**parameters).body.decode("cp1251")
