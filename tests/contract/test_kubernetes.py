"""The manifests of infra/openfaas/kubernetes against compose.yaml, stack.yml and the scripts in the images."""

from __future__ import annotations

import itertools
import re
from pathlib import Path
from typing import Any

import pytest
import yaml

ROOT = Path(__file__).resolve().parents[2]
FOLDER = ROOT / "infra" / "openfaas" / "kubernetes"


def _all(file: Path) -> list[dict[str, Any]]:
    return list(yaml.safe_load_all(file.read_text(encoding="utf-8")))


COMPOSE: dict[str, Any] = _all(ROOT / "infra" / "compose.yaml")[0]
FUNCTIONS: dict[str, Any] = _all(ROOT / "stack.yml")[0]["functions"]
KUSTOMIZATION: dict[str, Any] = _all(FOLDER / "kustomization.yaml")[0]
VALUES: dict[str, Any] = _all(FOLDER / "openfaas-values.yaml")[0]
CRON_VALUES: dict[str, Any] = _all(FOLDER / "cron-connector-values.yaml")[0]
OBJECTS = [one for name in KUSTOMIZATION["resources"] for one in _all(FOLDER / name)]
WORKLOADS = {one["metadata"]["name"]: one for one in OBJECTS if one["kind"] in ("Deployment", "StatefulSet", "Job")}
POLICIES = [one for one in OBJECTS if one["kind"] == "NetworkPolicy"]
SERVICES = [one for one in OBJECTS if one["kind"] == "Service"]
# Services of compose by the workloads here, and the variables that are meant to differ in a cluster.
SERVICE_OF = {"mysql": "mysql", "minio": "minio", "mlflow": "mlflow", "accounts": "accounts", "reverse-proxy": "nginx"}
DIFFERENT = {
    "MLFLOW_ALLOWED_HOSTS": "mlflow,mlflow:5000,mlflow.sabueso,mlflow.sabueso:5000,${MLFLOW_ALLOWED_HOSTS}",
    "MLFLOW_READERS": "classify,${MLFLOW_CLASSIFY_USERNAME}",
    "PROXY_ADDRESS": "0.0.0.0",  # noqa: S104 (in a container)
    "PROXY_HTTP_PORT": "80",
    "PROXY_HTTPS_PORT": "443",
    "PROXY_GATEWAY_URL": "http://gateway.openfaas:8080",
}
DEFAULT = re.compile(r"\$\{\w+:-(.*?)\}")
SECRETS = {name: one["environment"] for name, one in COMPOSE["secrets"].items()}
each_workload = pytest.mark.parametrize("name", SERVICE_OF)


def _pod(name: str) -> dict[str, Any]:
    return dict(WORKLOADS[name]["spec"]["template"]["spec"])


def _container(name: str) -> dict[str, Any]:
    (only,) = _pod(name)["containers"]
    return dict(only)


def _environment(container: dict[str, Any]) -> dict[str, str]:
    """The variables as the container gets them; ${NAME} stands for that line of infra/.env."""
    found: dict[str, str] = {}
    for one in container.get("env", []):
        reference = one.get("valueFrom", {}).get("secretKeyRef")
        assert reference is None or reference["name"] == "settings", one
        text = one["value"] if reference is None else f"${{{reference['key']}}}"
        found[one["name"]] = re.sub(r"\$\((\w+)\)", lambda place: found[place[1]], text)
    return found


def _seconds(text: str) -> int:
    return int(text.removesuffix("s"))


def test_every_manifest_is_applied_and_copies_the_same_files_as_compose() -> None:
    apart = {"kustomization.yaml", "openfaas-values.yaml", "cron-connector-values.yaml", "knative-classify.yaml"}
    assert {file.name for file in FOLDER.iterdir()} - apart == set(KUSTOMIZATION["resources"])
    assert set(WORKLOADS) == set(SERVICE_OF) and set(SERVICE_OF.values()) == set(COMPOSE["services"])
    maps = KUSTOMIZATION["configMapGenerator"]
    copied = {one["name"]: {(FOLDER / file).resolve() for file in one["files"]} for one in maps}
    nginx = ROOT / "infra" / "nginx"
    assert copied == {
        "site": set((ROOT / "static-site").iterdir()),
        "reverse-proxy": {nginx / "templates" / "default.conf.template", nginx / "certificate.sh"},
    }
    (secret,) = KUSTOMIZATION["secretGenerator"]
    assert [(FOLDER / file).resolve() for file in secret["envs"]] == [ROOT / "infra" / ".env"]
    assert secret["name"] == "settings" and secret["options"] == {"disableNameSuffixHash": True}


@each_workload
def test_a_workload_runs_what_compose_runs(name: str) -> None:
    container, service = _container(name), COMPOSE["services"][SERVICE_OF[name]]
    assert container["image"] == service["image"]
    assert container.get("args") == service.get("command")
    assert container.get("command") == service.get("entrypoint")


def test_images_that_compose_builds_are_pulled_from_the_registry_of_the_functions() -> None:
    functions = DEFAULT.sub(r"\1", FUNCTIONS["classify"]["image"])
    built = {one["image"].split(":")[0] for one in COMPOSE["services"].values() if one["image"].endswith(":local")}
    pulled = {one["name"]: f"{one['newName']}:{one['newTag']}" for one in KUSTOMIZATION["images"]}
    assert pulled == {one: functions.replace("classify", one.split("/")[1]) for one in built}


@each_workload
def test_a_workload_has_the_environment_of_compose(name: str) -> None:
    given = _environment(_container(name))
    compose = COMPOSE["services"][SERVICE_OF[name]]["environment"]
    wanted = {key: re.sub(r"\$\{(\w+):-[^}]*\}", r"${\1}", value) for key, value in compose.items()}
    wanted |= {key: value for key, value in DIFFERENT.items() if key in wanted}
    assert {key: given[key] for key in given if key not in ("MORE_HOSTS", "CLASSIFY_USERNAME")} == wanted
    lines = re.findall(r"^(\w+)=", (ROOT / "infra" / ".env.example").read_text(encoding="utf-8"), re.MULTILINE)
    # A line that is missing would keep the pod from starting, and secrets are files.
    named = set(re.findall(r"\$\{(\w+)\}", " ".join(given.values())))
    assert named <= set(lines) - {*SECRETS.values(), "TRAIN_TOKEN", "BUNDLE_KEY"}


@each_workload
def test_secrets_are_the_same_files_as_in_compose(name: str) -> None:
    mounts, files = {one["name"]: one for one in _container(name)["volumeMounts"]}, {}
    for volume in _pod(name)["volumes"]:
        if volume.get("secret", {}).get("secretName") == "settings":
            assert mounts[volume["name"]] == {"name": volume["name"], "mountPath": "/run/secrets", "readOnly": True}
            assert volume["secret"]["defaultMode"] == 0o440
            files = {item["path"]: item["key"] for item in volume["secret"]["items"]}
    assert files == {one: SECRETS[one] for one in COMPOSE["services"][SERVICE_OF[name]].get("secrets", [])}
    if script := {"mlflow": "start", "accounts": "make_accounts.py"}.get(name):
        text = (ROOT / "infra" / "mlflow" / script).read_text(encoding="utf-8")
        assert set(files) == set(re.findall(r"\b[a-z0-9_]+\b", text)) & set(SECRETS)
    paths = [value for value in _environment(_container(name)).values() if value.startswith("/run/secrets/")]
    assert {Path(path).name for path in paths} <= set(files)


@each_workload
def test_a_pod_can_t_gain_privileges_and_has_limits(name: str) -> None:
    pod, container = _pod(name), _container(name)
    # A token would be mounted inside /run/secrets; service links would set MLFLOW_PORT and others.
    assert pod["automountServiceAccountToken"] is False and pod["enableServiceLinks"] is False
    assert pod["securityContext"]["runAsNonRoot"] is True and pod["securityContext"]["runAsUser"] > 0
    assert pod["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
    sealed = {"allowPrivilegeEscalation": False, "readOnlyRootFilesystem": True, "capabilities": {"drop": ["ALL"]}}
    assert container["securityContext"] == sealed
    assert set(container["resources"]["requests"]) == {"cpu", "memory"} and container["resources"]["limits"]["memory"]
    service = COMPOSE["services"][SERVICE_OF[name]]
    assert container["resources"]["limits"]["memory"] == f"{service['mem_limit'].upper()}i"
    assert all(one["emptyDir"]["sizeLimit"] for one in pod["volumes"] if "emptyDir" in one)
    claims = {one["metadata"]["name"] for one in WORKLOADS[name]["spec"].get("volumeClaimTemplates", [])}
    assert {one["name"] for one in container["volumeMounts"]} == {one["name"] for one in pod["volumes"]} | claims
    kept = {one.split(":")[0] for one in service.get("volumes", [])}
    assert claims == kept & {"mysql-data", "minio-data"}


@each_workload
def test_probes_ask_what_compose_asks(name: str) -> None:
    container, check = _container(name), COMPOSE["services"][SERVICE_OF[name]]["healthcheck"]
    probes = [container.get(f"{kind}Probe") for kind in ("startup", "readiness", "liveness")]
    if check == {"disable": True}:
        assert probes == [None] * 3
        return
    for probe in probes:
        if name == "mysql":
            assert probe["exec"]["command"] == check["test"][1:]
            continue
        get = probe["httpGet"]
        asked = f"{get.get('scheme', 'HTTP').lower()}://\\S+:{get['port']}{get['path']}(?![\\w/])"
        assert re.search(asked, DEFAULT.sub(r"\1", " ".join(check["test"]))), asked
    startup, _, liveness = (probe["periodSeconds"] * probe["failureThreshold"] for probe in probes)
    assert liveness == _seconds(check["interval"]) * check["retries"]
    assert startup >= _seconds(check["start_period"]) + liveness


def test_every_port_is_served_and_only_the_reverse_proxy_is_public() -> None:
    for one in SERVICES:
        name = one["metadata"]["name"]
        assert one["spec"]["selector"] == {"app": name} == WORKLOADS[name]["spec"]["selector"]["matchLabels"]
        assert WORKLOADS[name]["spec"]["template"]["metadata"]["labels"] == {"app": name}
        ports = {port["port"] for port in one["spec"]["ports"]}
        assert ports == {port["containerPort"] for port in _container(name)["ports"]}
        assert (one["spec"].get("type", "ClusterIP") == "LoadBalancer") is (name == "reverse-proxy"), name
        assert all(set(port) <= {"name", "port"} for port in one["spec"]["ports"]) and "externalIPs" not in one["spec"]
    assert {one["metadata"]["name"] for one in SERVICES} == set(WORKLOADS) - {"accounts"}
    for name in WORKLOADS:  # no port of the node
        assert "hostNetwork" not in _pod(name)
        assert all(set(port) == {"containerPort"} for port in _container(name).get("ports", []))
    assert not [one["kind"] for one in OBJECTS if one["kind"] in ("Ingress", "Gateway", "HTTPRoute", "DaemonSet")]
    assert (VALUES["exposeServices"], VALUES["serviceType"], VALUES["basic_auth"]) == (False, "ClusterIP", True)
    assert "ingress" not in VALUES


# Every pod there is: of OpenFaaS's charts and its functions too, with the labels that they give them.
PODS: dict[str, tuple[str, dict[str, str]]] = {
    **{name: ("sabueso", one["spec"]["template"]["metadata"]["labels"]) for name, one in WORKLOADS.items()},
    **{name: ("openfaas", {"app": name}) for name in ("gateway", "queue-worker", "nats", "prometheus")},
    "cron-connector": ("openfaas", {"app": "cron-connector", "component": "cron-connector"}),
    **{name: ("openfaas-fn", {"faas_function": name}) for name in (*FUNCTIONS, "another")},
    "dns": ("kube-system", {"k8s-app": "kube-dns"}),
    "stranger": ("default", {"app": "reverse-proxy", "faas_function": "train"}),
    "world": ("", {}),
}
NAME = "kubernetes.io/metadata.name"
PORTS = (53, 80, 443, 3306, 4222, 5000, 8080, 8082, 9000, 9001, 9090)


def _selects(selector: dict[str, Any], labels: dict[str, str]) -> bool:
    assert set(selector) <= {"matchLabels", "matchExpressions"}
    for one in selector.get("matchExpressions", []):
        assert one["operator"] in ("In", "Exists")
        if one["key"] not in labels or labels[one["key"]] not in one.get("values", [labels[one["key"]]]):
            return False
    return all(labels.get(key) == value for key, value in selector.get("matchLabels", {}).items())


def _passes(direction: str, pod: str, other: str, port: int) -> bool:
    """May `pod` speak with `other` at `port`, by its rules of this direction (Ingress or Egress)?"""
    (space, labels), (others_space, others_labels) = PODS[pod], PODS[other]
    there = (one["spec"] for one in POLICIES if one["metadata"]["namespace"] == space)
    mine = [one for one in there if direction in one["policyTypes"] and _selects(one["podSelector"], labels)]
    for rule in itertools.chain.from_iterable(spec.get(direction.lower(), []) for spec in mine):
        peers = rule.get("to" if direction == "Egress" else "from")
        if "ports" in rule and port not in [one["port"] for one in rule["ports"]]:
            continue
        # A rule without peers is for everybody; a peer without a namespace is one of this namespace.
        for peer in peers if peers is not None else [{"namespaceSelector": {}}]:
            assert set(peer) <= {"namespaceSelector", "podSelector"}
            spaces = peer.get("namespaceSelector", {"matchLabels": {NAME: space}})
            if _selects(spaces, {NAME: others_space}) and _selects(peer.get("podSelector", {}), others_labels):
                return True
    return not mine


def _reaches(source: str, target: str) -> set[int]:
    return {p for p in PORTS if _passes("Egress", source, target, p) and _passes("Ingress", target, source, p)}


def test_who_reaches_whom_is_this_and_no_more() -> None:
    limited = {"classify", "train", "reverse-proxy"}
    openfaas = {name for name, (space, _) in PODS.items() if space == "openfaas"}
    wanted = {(source, "reverse-proxy"): {80, 443} for source in PODS if source not in limited}
    wanted |= {("mlflow", "mysql"): {3306}}
    wanted |= {(source, "minio"): {9000} for source in ("mlflow", "accounts", "fetch-batch", "train")}
    wanted |= {(source, "mlflow"): {5000} for source in ("accounts", "train", "classify")}
    wanted |= {(source, "gateway"): {8080} for source in ("reverse-proxy", "fetch-batch")}
    wanted |= {pair: set(PORTS) for pair in itertools.permutations(openfaas, 2)}
    wanted |= {("gateway", function): {8080} for function in (*FUNCTIONS, "another")}
    free = itertools.product(set(PODS) - limited, ("dns", "stranger", "world"))  # no rule of ours is theirs
    wanted |= {pair: set(PORTS) for pair in free}
    wanted |= {(source, "dns"): {53} for source in limited}
    found = {pair: _reaches(*pair) for pair in itertools.product(PODS, PODS) if pair[0] != pair[1]}
    wanted = {pair: ports for pair, ports in wanted.items() if pair[0] != pair[1]}
    assert {pair: ports for pair, ports in found.items() if ports} == wanted


def test_every_namespace_says_what_pods_it_takes() -> None:
    label = "pod-security.kubernetes.io/enforce"
    spaces = {o["metadata"]["name"]: o["metadata"]["labels"][label] for o in OBJECTS if o["kind"] == "Namespace"}
    assert spaces == {"sabueso": "restricted", "openfaas": "baseline", "openfaas-fn": "baseline"}
    assert {one["metadata"]["namespace"] for one in OBJECTS if one["kind"] != "Namespace"} <= set(spaces)
    assert VALUES["functionNamespace"] == "openfaas-fn"


def test_whoever_waits_for_a_call_waits_longer_than_the_one_behind() -> None:
    gateway = VALUES["gateway"]
    waits = [one["environment"][f"{kind}_timeout"] for one in FUNCTIONS.values() for kind in ("exec", "read", "write")]
    after = [gateway["readTimeout"], gateway["writeTimeout"], VALUES["queueWorker"]["ackWait"]]
    assert max(map(_seconds, waits)) < _seconds(gateway["upstreamTimeout"]) < min(map(_seconds, after))
    assert CRON_VALUES["asyncInvocation"] is False and CRON_VALUES["gatewayURL"] == DIFFERENT["PROXY_GATEWAY_URL"]


def test_classify_is_scaled_by_one_scaler_within_the_labels_of_stack_yml() -> None:
    (scaler,) = (one for one in OBJECTS if one["kind"] == "HorizontalPodAutoscaler")
    assert VALUES["alertmanager"] == {"create": False}  # the other one
    (name,) = (name for name, one in FUNCTIONS.items() if int(one["labels"]["com.openfaas.scale.max"]) > 1)
    assert scaler["spec"]["scaleTargetRef"] == {"apiVersion": "apps/v1", "kind": "Deployment", "name": name}
    assert scaler["metadata"]["namespace"] == VALUES["functionNamespace"]
    for bound in ("min", "max"):
        assert str(scaler["spec"][f"{bound}Replicas"]) == FUNCTIONS[name]["labels"][f"com.openfaas.scale.{bound}"]
    target = scaler["spec"]["metrics"][0]["resource"]["target"]["averageValue"]
    assert int(target.removesuffix("m")) < 1000 * float(FUNCTIONS[name]["limits"]["cpu"])


def test_the_knative_service_is_the_function_of_stack_yml() -> None:
    service, policy = _all(FOLDER / "knative-classify.yaml")
    template, function = service["spec"]["template"], FUNCTIONS["classify"]
    (container,) = template["spec"]["containers"]
    wanted = {key: DEFAULT.sub(r"\1", value) for key, value in function["environment"].items()}
    del wanted["SABUESO_DEPLOYMENT"]  # scripts/deploy's own
    assert _environment(container) == {**wanted, "MLFLOW_TRACKING_URI": "http://mlflow.sabueso:5000"}
    assert container["image"] == DEFAULT.sub(r"\1", function["image"])
    assert container["resources"] == {"requests": function["requests"], "limits": function["limits"]}
    (secrets,) = (one["projected"] for one in template["spec"]["volumes"] if "projected" in one)
    assert [one["secret"]["name"] for one in secrets["sources"]] == function["secrets"]
    assert {one["mountPath"] for one in container["volumeMounts"]} == {"/var/openfaas/secrets", "/tmp"}  # noqa: S108
    for bound in ("min", "max"):
        label = function["labels"][f"com.openfaas.scale.{bound}"]
        assert template["metadata"]["annotations"][f"autoscaling.knative.dev/{bound}-scale"] == label
    assert template["spec"]["timeoutSeconds"] > _seconds(function["environment"]["exec_timeout"])
    assert template["metadata"]["labels"] == PODS["classify"][1] and policy["spec"]["policyTypes"] == ["Ingress"]
    assert service["metadata"]["labels"] == {"networking.knative.dev/visibility": "cluster-local"}  # not public


def test_the_document_installs_the_charts_whose_values_these_are() -> None:
    text = (ROOT / "docs" / "kubernetes.md").read_text(encoding="utf-8")
    for chart in ("openfaas", "cron-connector"):
        values = (FOLDER / f"{chart}-values.yaml").read_text(encoding="utf-8")
        (version,) = re.findall(rf"chart openfaas/{chart} (\d+\.\d+\.\d+)", values)
        (line,) = (one for one in text.splitlines() if re.search(rf"helm upgrade .* openfaas/{chart} ", one))
        assert f"--version {version} " in line and f"/{chart}-values.yaml" in line
