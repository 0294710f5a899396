"""What tests need of the machine: each is skipped for want of it, but never where a change is judged."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest

# What the extra test-deploy installs, then what the machine has.
PATH = os.pathsep.join([str(Path(sys.executable).parent), os.environ.get("PATH", "")])
_EXTRA = "another extra: pip install -e '.[test-deploy]'"

FAKETIME = sorted(Path("/usr/lib").glob("*/faketime/libfaketimeMT.so.1"))


def _needs(how: str, *, there: bool) -> pytest.MarkDecorator:
    return pytest.mark.skipif(not there and "CI" not in os.environ, reason=f"needs {how}")


def _programs(how: str, *names: str) -> pytest.MarkDecorator:
    return _needs(how, there=all(shutil.which(name, path=PATH) for name in names))


def _package(package: str, *names: str) -> pytest.MarkDecorator:
    return _programs(f"Debian's package: apt-get install {package}", *names or [package])


def _mounts() -> bool:
    """Whether something can be mounted where nobody else sees it."""
    unshare = shutil.which("unshare")
    return unshare is not None and subprocess.run([unshare, "--mount", "true"], check=False).returncode == 0


prometheus = _package("prometheus", "prometheus", "promtool")
alertmanager = _package("prometheus-alertmanager", "amtool")
redis = _package("redis-server")
tinyproxy = _package("tinyproxy")
chromium = _package("chromium")
nginx = _package("nginx-light", "nginx")
systemd = _package("systemd", "systemd-analyze")
faketime = _needs("Debian's package: apt-get install faketime", there=bool(FAKETIME))
compose = _programs(_EXTRA, "docker-compose")
kubectl = _programs(_EXTRA, "kubectl")
helm = _needs(_EXTRA, there=find_spec("helm_python") is not None)
check_jsonschema = _programs(_EXTRA, "check-jsonschema")
pre_commit = _programs(_EXTRA, "pre-commit")
zizmor = _programs(_EXTRA, "zizmor")
vmagent = _package("victoria-metrics", "vmagent")
hadolint = _programs(_EXTRA, "hadolint")
kubernetes_schemas = _programs(_EXTRA, "kubectl", "kubernetes-validate")
namespace = _needs("root: something is mounted where nobody else sees it", there=_mounts())
root = _needs("root, to mount file systems", there=os.geteuid() == 0)


def program(name: str) -> None:
    """Skips the running test if ``name`` is not installed, whatever its marks say."""
    if shutil.which(name, path=PATH) is None and "CI" not in os.environ:
        pytest.skip(f"needs the program {name}: {_EXTRA}, or Debian's package")
