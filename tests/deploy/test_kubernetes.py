"""The manifests: kustomize can render them, Kubernetes' schemas accept them, and they agree with the code."""

from __future__ import annotations

import re
import shutil
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import yaml

from exporter import __version__
from exporter.errors import ConfigError
from tests import needs
from tests.deploy import prometheusrule
from tests.deploy.shipped import (
    DEPLOY,
    DOCKER,
    KUBERNETES,
    PORT,
    README_COMMANDS,
    check_schemas,
    documents,
    load,
    output,
    parse,
    read,
)

OVERLAYS = ("single", "replicas")
SECRETS = {"single": ("login", "password"), "replicas": ("login", "password", "storage-url")}

pytestmark = needs.kubectl
everywhere = pytest.mark.parametrize("overlay", OVERLAYS)


@cache
def _rendered(overlay: str) -> list[Any]:
    return documents(output("kubectl", "kustomize", KUBERNETES / overlay))


def _objects(overlay: str, kind: str) -> list[Any]:
    return [each for each in _rendered(overlay) if each["kind"] == kind]


def _only(overlay: str, kind: str) -> Any:
    (found,) = _objects(overlay, kind)
    return found


def _pod(overlay: str) -> Any:
    return _only(overlay, "Deployment")["spec"]["template"]["spec"]


def _container(overlay: str) -> Any:
    (container,) = _pod(overlay)["containers"]
    return container


@needs.kubernetes_schemas
def test_kubernetes_schemas_accept_them(tmp_path: Path) -> None:
    sets = {overlay: _rendered(overlay) for overlay in OVERLAYS}
    for overlay, objects in sets.items():
        kinds = {"Deployment", "Service", "ConfigMap", "Secret", "NetworkPolicy"}
        assert {each["kind"] for each in objects} >= kinds, overlay
    check_schemas(tmp_path, **sets)


@everywhere
def test_everything_is_in_the_namespace_that_is_made(overlay: str) -> None:
    name = _only(overlay, "Namespace")["metadata"]["name"]
    others = [each for each in _rendered(overlay) if each["kind"] != "Namespace"]
    assert {each["metadata"]["namespace"] for each in others} == {name}


@everywhere
def test_it_starts_what_the_exporter_has(overlay: str) -> None:
    container = _container(overlay)
    assert parse(container["args"]).config_file == "/etc/smsc-exporter/config.yaml"
    assert container["image"].endswith(f"/smsc-exporter:{__version__}")
    assert {port["name"]: port["containerPort"] for port in container["ports"]}["http"] == PORT
    assert _only(overlay, "Service")["spec"]["ports"][0]["port"] == PORT
    assert _pod(overlay)["terminationGracePeriodSeconds"] > 5


@everywhere
def test_probes_ask_paths_that_exist(overlay: str) -> None:
    container = _container(overlay)
    asked = {probe: container[probe]["httpGet"] for probe in container if probe.endswith("Probe")}
    assert asked == {
        "startupProbe": {"path": "/-/healthy", "port": "health"},
        "livenessProbe": {"path": "/-/healthy", "port": "health"},
        "readinessProbe": {"path": "/-/ready", "port": "health"},
    }
    ports = {port["name"]: port["containerPort"] for port in container["ports"]}
    assert parse(container["args"]).health_addresses == [("", ports["health"])]


@everywhere
def test_the_pod_is_restricted(overlay: str) -> None:
    """As the namespace's label demands of it, and a read-only file system on top."""
    labels = _only(overlay, "Namespace")["metadata"]["labels"]
    assert labels["pod-security.kubernetes.io/enforce"] == "restricted"
    pod, container = _pod(overlay), _container(overlay)
    user = pod["securityContext"]["runAsUser"]
    assert f"USER {user}:{user}\n" in (DOCKER / "Dockerfile").read_text()
    assert pod["securityContext"]["runAsNonRoot"]
    assert pod["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
    assert pod["automountServiceAccountToken"] is False
    assert container["securityContext"] == {
        "allowPrivilegeEscalation": False,
        "readOnlyRootFilesystem": True,
        "capabilities": {"drop": ["ALL"]},
    }


@everywhere
def test_the_configuration_is_accepted_and_writes_where_it_can(overlay: str, tmp_path: Path) -> None:
    (tmp_path / "config.yaml").write_text(_only(overlay, "ConfigMap")["data"]["config.yaml"])
    for name in SECRETS[overlay]:
        (tmp_path / name).write_text("redis://:secret@redis.redis.svc:6379/0\n")
    loaded = load(tmp_path / "config.yaml", tmp_path, {})
    assert not loaded.warnings
    scheme, _, rest = loaded.storage_url.get_secret_value().partition(":")
    if overlay == "single":
        assert scheme == "sqlite"
        assert str(Path(rest).parent) in {each["mountPath"] for each in _container(overlay)["volumeMounts"]}
    else:
        assert scheme == "redis"


@everywhere
def test_the_configuration_is_mounted_beside_the_secret(overlay: str) -> None:
    """The generator's name has a hash: another configuration is another name, and so other pods."""
    volume = next(volume for volume in _pod(overlay)["volumes"] if volume["name"] == "config")
    config_map, secret = volume["projected"]["sources"]
    assert config_map["configMap"]["name"] == _only(overlay, "ConfigMap")["metadata"]["name"]
    assert re.fullmatch(r"smsc-exporter-[a-z0-9]{10}", config_map["configMap"]["name"])
    assert secret["secret"]["name"] == _only(overlay, "Secret")["metadata"]["name"]
    assert re.fullmatch(r"smsc-exporter-[a-z0-9]{10}", secret["secret"]["name"])
    (commands,) = [block for block in README_COMMANDS if f"apply -k deploy/kubernetes/{overlay}\n" in block]
    assert set(re.findall(rf"{overlay}/secret/([\w-]+)", commands)) == set(SECRETS[overlay])


@everywhere
def test_the_secret_as_it_comes_is_refused(overlay: str, tmp_path: Path) -> None:
    secret = _only(overlay, "Secret")["data"]
    assert secret == dict.fromkeys(SECRETS[overlay], "")
    (tmp_path / "config.yaml").write_text(_only(overlay, "ConfigMap")["data"]["config.yaml"])
    for name in secret:
        (tmp_path / name).touch()
    with pytest.raises(ConfigError) as caught:
        load(tmp_path / "config.yaml", tmp_path, {})
    assert str(caught.value).count("is empty: write the secret into it") == len(secret)


@needs.kubernetes_schemas
@everywhere
def test_tls_and_passwords_can_be_added(overlay: str, tmp_path: Path) -> None:
    shutil.copytree(KUBERNETES, tmp_path, dirs_exist_ok=True)
    files = tmp_path / "web-config" / "files"
    files.mkdir(exist_ok=True)
    for name in ("web.yaml", "server.crt", "server.key"):
        (files / name).write_text(name)
    path = tmp_path / overlay / "kustomization.yaml"
    text = path.read_text()
    path.write_text(
        text.replace("  - ../prometheus-operator\n", "  - ../prometheus-operator\n  - ../web-config\n")
    )
    rendered = documents(output("kubectl", "kustomize", tmp_path / overlay))
    found = {(each["kind"], each["metadata"]["name"]): each for each in rendered}
    assert set(found["Secret", "smsc-exporter-web"]["data"]) == {"web.yaml", "server.crt", "server.key"}
    pod = found["Deployment", "smsc-exporter"]["spec"]["template"]["spec"]
    (container,) = pod["containers"]
    folder, _, name = (parse(container["args"]).web_config_file or "").rpartition("/")
    assert name == "web.yaml"
    (volume,) = [mount["name"] for mount in container["volumeMounts"] if mount["mountPath"] == folder]
    assert {each["name"]: each.get("secret", {}).get("secretName") for each in pod["volumes"]}[volume] == (
        "smsc-exporter-web"
    )
    (endpoint,) = found["ServiceMonitor", "smsc-exporter"]["spec"]["endpoints"]
    assert endpoint["scheme"] == "https"
    check_schemas(tmp_path, rendered=rendered)


def test_one_exporters_series_stay_the_same_when_its_pod_is_replaced() -> None:
    service = _only("single", "Service")
    address = f"{service['metadata']['name']}:{service['spec']['ports'][0]['port']}"
    kept = {"action": "replace", "targetLabel": "instance", "replacement": address}
    relabelings = {
        overlay: _only(overlay, "ServiceMonitor")["spec"]["endpoints"][0]["relabelings"]
        for overlay in OVERLAYS
    }
    assert kept in relabelings["single"], "runbook_url leads to it"
    assert kept not in relabelings["replicas"], "two targets of one name would be one"


@everywhere
def test_what_a_pod_may_use_is_bounded(overlay: str) -> None:
    resources = _container(overlay)["resources"]
    assert set(resources["limits"]) == {"memory", "ephemeral-storage"}, "a CPU limit would slow down scrapes"
    assert set(resources["requests"]) == {"cpu", "memory", "ephemeral-storage"}


def test_two_exporters_spread_over_nodes_and_zones() -> None:
    spread = _pod("replicas")["topologySpreadConstraints"]
    labels = _only("replicas", "Deployment")["spec"]["template"]["metadata"]["labels"]
    keys = {"kubernetes.io/hostname", "topology.kubernetes.io/zone"}
    assert {each["topologyKey"] for each in spread} == keys
    for each in spread:
        assert each["whenUnsatisfiable"] == "ScheduleAnyway", "a roll-out on one node would stop"
        assert each["labelSelector"]["matchLabels"].items() <= labels.items()


def test_one_exporter_has_the_file_to_itself() -> None:
    spec = _only("single", "Deployment")["spec"]
    assert (spec["replicas"], spec["strategy"]) == (1, {"type": "Recreate"})
    claim = next(
        volume["persistentVolumeClaim"] for volume in _pod("single")["volumes"] if volume["name"] == "data"
    )
    assert claim["claimName"] == _only("single", "PersistentVolumeClaim")["metadata"]["name"]
    assert _objects("single", "PodDisruptionBudget") == [], "it would hold up every drain"


def test_of_two_exporters_one_always_stays() -> None:
    spec = _only("replicas", "Deployment")["spec"]
    rolling = spec["strategy"]["rollingUpdate"]
    assert spec["replicas"] == 2
    assert rolling["maxUnavailable"] == 0
    assert spec["replicas"] + rolling["maxSurge"] <= 3, "as many as keep the limits without Redis"
    assert _only("replicas", "PodDisruptionBudget")["spec"]["minAvailable"] == 1
    assert _objects("replicas", "PersistentVolumeClaim") == []


@everywhere
def test_whatever_selects_selects_the_pods(overlay: str) -> None:
    template = _only(overlay, "Deployment")["spec"]["template"]["metadata"]["labels"]
    service = _only(overlay, "Service")
    monitor = _only(overlay, "ServiceMonitor")["spec"]
    policies = [policy["spec"]["podSelector"] for policy in _objects(overlay, "NetworkPolicy")]
    budgets = [budget["spec"]["selector"] for budget in _objects(overlay, "PodDisruptionBudget")]
    assert service["spec"]["selector"].items() <= template.items()
    assert monitor["selector"]["matchLabels"].items() <= service["metadata"]["labels"].items()
    for selector in (*policies, *budgets):
        assert selector["matchLabels"]
        assert selector["matchLabels"].items() <= template.items()


def test_the_network_policies_let_in_what_scrapes_and_out_what_is_read() -> None:
    (single,) = _objects("single", "NetworkPolicy")
    ports = {port["port"] for rule in single["spec"]["egress"] for port in rule["ports"]}
    assert ports == {53, 443}
    assert [port["port"] for port in single["spec"]["ingress"][0]["ports"]] == ["http"]
    dns = next(rule for rule in single["spec"]["egress"] if {"port": 53, "protocol": "UDP"} in rule["ports"])
    assert dns["to"] == [
        {
            "namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": "kube-system"}},
            "podSelector": {
                "matchExpressions": [{"key": "k8s-app", "operator": "In", "values": ["kube-dns"]}]
            },
        }
    ], "names come from the cluster's own DNS alone"
    both = {
        port["port"]
        for policy in _objects("replicas", "NetworkPolicy")
        for rule in policy["spec"]["egress"]
        for port in rule["ports"]
    }
    assert both == {53, 443, 6379}


# --- the Prometheus Operator ------------------------------------------------------------------------------


def test_the_operators_rules_are_those_of_prometheus() -> None:
    assert prometheusrule.MANIFEST.read_text() == prometheusrule.manifest(), (
        "the rules have changed: python -m tests.deploy.prometheusrule"
    )


@everywhere
def test_kustomize_leaves_the_rules_as_they_are(overlay: str) -> None:
    rendered = {rule["metadata"]["name"]: rule["spec"] for rule in _objects(overlay, "PrometheusRule")}
    assert rendered == {f"smsc-{path.stem}": read(path) for path in prometheusrule.RULES.glob("*.yml")}


@needs.prometheus
@everywhere
def test_prometheus_takes_the_monitor_and_the_rules(overlay: str, tmp_path: Path) -> None:
    """As a Prometheus that the operator configures would get them."""
    for number, rule in enumerate(_objects(overlay, "PrometheusRule")):
        (tmp_path / f"{number}.yml").write_text(yaml.safe_dump(rule["spec"]))
    (endpoint,) = _only(overlay, "ServiceMonitor")["spec"]["endpoints"]
    relabel = [
        {re.sub("[A-Z]", lambda found: "_" + found[0].lower(), key): value for key, value in each.items()}
        for each in endpoint["relabelings"]
    ]
    job = {"job_name": "monitor", "scrape_interval": endpoint["interval"], "metrics_path": endpoint["path"]}
    config = {"scrape_configs": [job | {"relabel_configs": relabel}], "rule_files": ["[01].yml"]}
    (tmp_path / "prometheus.yml").write_text(yaml.safe_dump(config))
    assert "2 rule files found" in output("promtool", "check", "config", "prometheus.yml", cwd=tmp_path)


@everywhere
def test_the_job_has_the_name_the_rules_know(overlay: str) -> None:
    (endpoint,) = _only(overlay, "ServiceMonitor")["spec"]["endpoints"]
    assert endpoint["port"] in {port["name"] for port in _only(overlay, "Service")["spec"]["ports"]}
    (job,) = read(DEPLOY / "prometheus" / "prometheus.yml")["scrape_configs"]
    assert {"action": "replace", "targetLabel": "job", "replacement": job["job_name"]} in endpoint[
        "relabelings"
    ]
