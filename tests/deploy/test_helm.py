"""The chart: Helm's own library renders it, Kubernetes' schemas accept it, and it agrees with kustomize."""

from __future__ import annotations

import json
import re
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import yaml

from exporter import __version__
from exporter.config import load as load_config
from tests import needs
from tests.deploy.shipped import DEPLOY, KUBERNETES, PORT, ROOT, check_schemas, documents, output, parse, read

CHART = DEPLOY / "helm" / "smsc-exporter"
SETS = {path.name.removesuffix("-values.yaml"): path for path in sorted((CHART / "ci").glob("*.yaml"))}
NEW_FLAGS = ("--web.external-url=", "--web.route-prefix=")

pytestmark = needs.helm
every_set = pytest.mark.parametrize("name", SETS)


@cache
def _rendered(name: str) -> list[Any]:
    return _objects(read(SETS[name]))


def _objects(values: dict[str, Any]) -> list[Any]:
    import helm_python

    with helm_python.Chart.load(CHART) as chart:
        texts = chart.render(values, name="smsc-exporter", namespace="smsc-exporter")
    return [each for path, text in texts.items() if path.endswith(".yaml") for each in documents(text)]


def _all(objects: list[Any], kind: str) -> list[Any]:
    return [each for each in objects if each["kind"] == kind]


def _only(objects: list[Any], kind: str) -> Any:
    (found,) = _all(objects, kind)
    return found


def _pod(objects: list[Any]) -> Any:
    return _only(objects, "Deployment")["spec"]["template"]["spec"]


def _container(objects: list[Any]) -> Any:
    (container,) = _pod(objects)["containers"]
    return container


# --- what judges it ---------------------------------------------------------------------------------------


@every_set
def test_helm_has_nothing_to_say(name: str) -> None:
    from helm_python import chart

    found = chart.lint(CHART, read(SETS[name]))
    assert found["errors"] == []
    assert [each["error"] for each in found["messages"]] == ["icon is recommended"]


@needs.kubernetes_schemas
def test_kubernetes_schemas_accept_it(tmp_path: Path) -> None:
    sets = {name: _rendered(name) for name in SETS}
    for name, objects in sets.items():
        assert {each["kind"] for each in objects} >= {"Deployment", "Service", "ConfigMap", "Pod"}, name
    check_schemas(tmp_path, **sets)


@every_set
def test_the_exporter_knows_its_flags(name: str) -> None:
    arguments = [flag for flag in _container(_rendered(name))["args"] if not flag.startswith(NEW_FLAGS)]
    options = parse(arguments)
    assert options.config_file == "/etc/smsc-exporter/config.yaml"
    assert options.health_addresses == [("", 10147)]


@every_set
def test_the_exporter_accepts_the_configuration(name: str, tmp_path: Path) -> None:
    objects = _rendered(name)
    data = next(each for each in _all(objects, "ConfigMap") if "config.yaml" in each["data"])["data"]
    for file, text in data.items():
        (tmp_path / file).write_text(re.sub("ca_file: .*", "timeout: 10s", text))
    for file in ("login", "password"):
        (tmp_path / file).write_text("secret")
    (tmp_path / "storage-url").write_text("redis://:secret@redis.redis.svc:6379/0")
    loaded = load_config(tmp_path / "config.yaml", {})
    assert not loaded.warnings
    scheme = loaded.storage_url.get_secret_value().partition(":")[0]
    assert scheme == ("redis" if name in {"replicas", "own-secrets"} else "sqlite")


@needs.prometheus
def test_promtool_accepts_the_rules(tmp_path: Path) -> None:
    rules = _all(_rendered("operator"), "PrometheusRule")
    paths = sorted((DEPLOY / "prometheus" / "rules").glob("*.yml"))
    assert [rule["spec"] for rule in rules] == [read(path) for path in paths]
    for rule in rules:
        (tmp_path / rule["metadata"]["name"]).write_text(yaml.safe_dump(rule["spec"]))
    output("promtool", "check", "rules", *tmp_path.iterdir())


@pytest.mark.parametrize(
    ("web", "start"),
    [
        ({}, "http://{{ with query"),
        ({"externalUrl": "https://tools.example.com/smsc"}, "https://tools.example.com/smsc/runbooks/"),
        ({"externalUrl": "https://tools.example.com/smsc/"}, "https://tools.example.com/smsc/runbooks/"),
        ({"externalUrl": "https://$1.example.com"}, "https://$1.example.com/runbooks/"),
    ],
)
def test_runbooks_are_where_people_reach_the_exporter(web: dict[str, str], start: str) -> None:
    objects = _objects({"web": web, "prometheusRule": {"enabled": True}})
    rules = [
        rule
        for each in _all(objects, "PrometheusRule")
        for group in each["spec"]["groups"]
        for rule in group["rules"]
        if "alert" in rule
    ]
    assert rules
    for rule in rules:
        url = rule["annotations"]["runbook_url"]
        assert url.startswith(start)
        assert url.endswith(f"/runbooks/{rule['alert']}")


@pytest.mark.parametrize("prefix", ["/clicks", "/clicks/"])
def test_runbooks_are_behind_the_prefix(prefix: str) -> None:
    objects = _objects({"web": {"routePrefix": prefix}, "prometheusRule": {"enabled": True}})
    urls = re.findall(r"\S+/runbooks/", json.dumps(_all(objects, "PrometheusRule")))
    assert {url.rpartition("}}")[2] for url in urls} == {"/clicks/runbooks/"}


def test_the_boards_are_those_of_grafana() -> None:
    boards = [each for each in _all(_rendered("operator"), "ConfigMap") if "config.yaml" not in each["data"]]
    shipped = {path.name: path for path in (ROOT / "grafana" / "dashboards").glob("*.json")}
    found = {name: text for board in boards for name, text in board["data"].items()}
    assert {name: json.loads(text) for name, text in found.items()} == {
        name: json.loads(path.read_text(encoding="utf-8")) for name, path in shipped.items()
    }
    assert all(board["metadata"]["labels"]["grafana_dashboard"] == "1" for board in boards)


# --- what it refuses --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("values", "words"),
    [
        ({"replicaCount": 2}, "several replicas need Redis"),
        ({"redis": {"enabled": True}}, "it is not said where Redis is"),
        ({"redis": {"url": "http://redis"}}, "does not match pattern"),
        ({"replicas": 2}, "replicas"),
        ({"config": {"storage": {"url": "memory:"}}}, "storage"),
        ({"config": {"accounts": [{"name": "a", "links": [{"id": 145142}]}]}}, "want string"),
        ({"image": {"digest": "latest"}}, "does not match pattern"),
        ({"configFiles": {"config.yaml": "accounts: []"}}, "config.yaml comes from `config`"),
        ({"secret": {"data": {"config.yaml": "accounts: []"}}}, "config.yaml comes from `config`"),
        ({"ingress": {"enabled": True}}, "ingress: it has no hosts"),
    ],
)
def test_values_that_cannot_be_meant_are_refused(values: dict[str, Any], words: str) -> None:
    import helm_python

    with pytest.raises(helm_python.HelmError, match=words):
        _objects(values)


def test_files_may_be_left_out() -> None:
    objects = _objects({"configFiles": None, "secret": {"existingSecret": "smsc-login", "data": None}})
    assert set(_only(objects, "ConfigMap")["data"]) == {"config.yaml"}


def test_every_value_is_in_the_schema() -> None:
    """The schema knows all keys of values.yaml, and no others."""
    schema = json.loads((CHART / "values.schema.json").read_text(encoding="utf-8"))
    assert set(schema["properties"]) - {"global"} == set(read(CHART / "values.yaml"))
    for name, value in read(CHART / "values.yaml").items():
        known = schema["properties"][name]
        if known.get("additionalProperties") is False:
            assert set(known["properties"]) == set(value), name


# --- safety -----------------------------------------------------------------------------------------------


@every_set
def test_every_pod_is_restricted(name: str) -> None:
    for spec in (_pod(_rendered(name)), _only(_rendered(name), "Pod")["spec"]):
        assert spec["automountServiceAccountToken"] is False
        assert spec["securityContext"]["runAsNonRoot"]
        assert spec["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
        (container,) = spec["containers"]
        assert container["securityContext"] == {
            "allowPrivilegeEscalation": False,
            "readOnlyRootFilesystem": True,
            "capabilities": {"drop": ["ALL"]},
        }
        assert set(container["resources"]["limits"]) == {"memory", "ephemeral-storage"}


@every_set
def test_a_file_has_one_exporter_and_redis_has_a_budget(name: str) -> None:
    objects = _rendered(name)
    spec = _only(objects, "Deployment")["spec"]
    mounted = {mount["mountPath"] for mount in _container(objects)["volumeMounts"]}
    if spec["replicas"] == 1:
        assert spec["strategy"] == {"type": "Recreate"}
        assert "/data" in mounted
        assert _all(objects, "PodDisruptionBudget") == []
    else:
        assert spec["strategy"]["rollingUpdate"] == {"maxUnavailable": 0, "maxSurge": 1}
        assert "/data" not in mounted
        assert _only(objects, "PodDisruptionBudget")
        assert _all(objects, "PersistentVolumeClaim") == []


@every_set
def test_whatever_selects_selects_the_pods_and_not_the_test(name: str) -> None:
    objects = _rendered(name)
    labels = _only(objects, "Deployment")["spec"]["template"]["metadata"]["labels"]
    test = _only(objects, "Pod")["metadata"]["labels"]
    selectors = [_only(objects, "Service")["spec"]["selector"]]
    selectors += [each["spec"]["podSelector"]["matchLabels"] for each in _all(objects, "NetworkPolicy")]
    selectors += [
        each["spec"]["selector"]["matchLabels"]
        for kind in ("Deployment", "PodDisruptionBudget")
        for each in _all(objects, kind)
    ]
    for selector in selectors:
        assert selector.items() <= labels.items()
        assert not selector.items() <= test.items()


def test_a_secret_of_your_own_is_not_made_again() -> None:
    assert _all(_rendered("own-secrets"), "Secret") == []
    *_, login, redis = next(
        each for each in _pod(_rendered("own-secrets"))["volumes"] if "projected" in each
    )["projected"]["sources"]
    assert login == {"secret": {"name": "smsc-login"}}
    assert redis == {"secret": {"name": "redis-address", "items": [{"key": "url", "path": "storage-url"}]}}


def test_a_changed_secret_rolls_the_pods() -> None:
    def checksum(password: str) -> str:
        objects = _objects({"secret": {"data": {"login": "alex", "password": password}}})
        annotations = _only(objects, "Deployment")["spec"]["template"]["metadata"]["annotations"]
        return str(annotations["checksum/secret"])

    assert checksum("one") != checksum("two")


@pytest.mark.parametrize(
    ("name", "address"),
    [
        ("default", "http://smsc-exporter:10145/-/ready"),
        ("ingress", "http://smsc-exporter:10145/smsc/-/ready"),
        ("minimal", "http://clicks:80/clicks/-/ready"),
    ],
)
def test_helm_test_asks_the_service(name: str, address: str) -> None:
    pod = _only(_rendered(name), "Pod")
    assert pod["metadata"]["annotations"]["helm.sh/hook"] == "test"
    assert pod["spec"]["containers"][0]["args"] == [address]
    service = _only(_rendered(name), "Service")
    assert address.startswith(f"http://{service['metadata']['name']}:{service['spec']['ports'][0]['port']}/")


def test_a_prefix_is_scraped() -> None:
    (endpoint,) = _only(_rendered("ingress"), "ServiceMonitor")["spec"]["endpoints"]
    assert endpoint["path"] == "/smsc/metrics"


@pytest.mark.parametrize(
    ("values", "address"),
    [({}, "smsc-exporter:10145"), ({"fullnameOverride": "clicks", "service": {"port": 80}}, "clicks:80")],
)
def test_one_replicas_instance_is_the_services_address(values: dict[str, Any], address: str) -> None:
    (endpoint,) = _only(_objects(values | {"serviceMonitor": {"enabled": True}}), "ServiceMonitor")["spec"][
        "endpoints"
    ]
    named = [each["replacement"] for each in endpoint["relabelings"] if each.get("targetLabel") == "instance"]
    assert named == [address]


def test_the_chart_has_the_version_and_the_port() -> None:
    chart = read(CHART / "Chart.yaml")
    assert chart["version"] == chart["appVersion"] == __version__
    assert read(CHART / "values.yaml")["service"]["port"] == PORT


# --- the same as kustomize --------------------------------------------------------------------------------

HELMS_OWN = {"helm.sh/chart", "app.kubernetes.io/managed-by", "app.kubernetes.io/version"}
KINDS = ("Deployment", "Service", "ServiceMonitor", "PersistentVolumeClaim", "PodDisruptionBudget")


def _plain(value: Any) -> Any:
    """Without what Helm and kustomize each add: labels, hashes in names, checksums, the namespace."""
    if isinstance(value, dict):
        left_out = {"annotations", "namespace", "app.kubernetes.io/instance", *HELMS_OWN}
        return {key: _plain(each) for key, each in value.items() if key not in left_out}
    if isinstance(value, list):
        return [_plain(each) for each in value]
    if isinstance(value, str):
        return re.sub(r"^(smsc-exporter)-[a-z0-9]{10}$", r"\1", value)
    return value


def _named_specs(objects: list[Any], kind: str) -> dict[str, Any]:
    return {each["metadata"]["name"]: each["spec"] for each in _all(objects, kind)}


@cache
def _kustomized(overlay: str) -> list[Any]:
    return documents(output("kubectl", "kustomize", KUBERNETES / overlay))


@needs.kubectl
@pytest.mark.parametrize(("overlay", "name"), [("single", "operator"), ("replicas", "replicas")])
def test_it_is_what_kustomize_makes(overlay: str, name: str) -> None:
    ours, theirs = _plain(_rendered(name)), _plain(_kustomized(overlay))
    for objects in (ours, theirs):
        pod = _pod(objects)
        pod["files"] = pod["volumes"].pop(next(i for i, v in enumerate(pod["volumes"]) if "projected" in v))
        del pod["files"]["projected"]["sources"]  # Redis' address is in one secret here, in two there
    for kind in KINDS:
        assert _named_specs(ours, kind) == _named_specs(theirs, kind), kind
    assert [each["spec"] for each in _all(ours, "PrometheusRule")] == [
        each["spec"] for each in _all(theirs, "PrometheusRule")
    ]


@needs.kubectl
@pytest.mark.parametrize(("overlay", "name"), [("single", "operator"), ("replicas", "replicas")])
def test_its_files_are_those_that_kustomize_mounts(overlay: str, name: str) -> None:
    ours, theirs = _rendered(name), _kustomized(overlay)
    configs = [
        yaml.safe_load(
            next(
                each["data"]["config.yaml"]
                for each in _all(objects, "ConfigMap")
                if "config.yaml" in each["data"]
            )
        )
        for objects in (ours, theirs)
    ]
    assert configs[0] == configs[1]
    files = [{key for each in _all(objects, "Secret") for key in each["data"]} for objects in (ours, theirs)]
    assert files[0] == files[1]


@needs.kubectl
@pytest.mark.parametrize(("overlay", "name"), [("single", "operator"), ("replicas", "replicas")])
def test_its_network_policy_lets_through_what_kustomizes_do(overlay: str, name: str) -> None:
    """There are two policies with kustomize, which add up, and `helm test` is let in besides."""
    (policy,) = _all(_rendered(name), "NetworkPolicy")
    (scrape,) = policy["spec"]["ingress"]
    *theirs_too, ours_alone = scrape["from"]
    assert "-test" in json.dumps(ours_alone)
    theirs = [each["spec"] for each in _all(_kustomized(overlay), "NetworkPolicy")]
    dns = {"matchExpressions": [{"key": "k8s-app", "operator": "In", "values": ["kube-dns"]}]}
    egress = json.dumps([rule for spec in theirs for rule in spec["egress"]], sort_keys=True).replace(
        json.dumps(dns, sort_keys=True), json.dumps({"matchLabels": {"k8s-app": "kube-dns"}})
    )
    assert policy["spec"]["egress"] == json.loads(egress)
    ingress = [rule for spec in theirs for rule in spec.get("ingress", [])]
    assert [scrape | {"from": theirs_too}] == ingress
