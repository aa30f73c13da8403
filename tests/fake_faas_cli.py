"""A faas-cli that records its calls in the folder $FAKE_FAAS_CLI, one line of calls.jsonl each."""

import json
import os
import re
import sys
from pathlib import Path


def main(words: list[str]) -> int:
    home = Path(os.environ["FAKE_FAAS_CLI"])
    state = json.loads((home / "state.json").read_text())
    given = sys.stdin.read() if words[:2] == ["secret", "create"] or "--password-stdin" in words else ""
    names = ("REGISTRY", "TAG", "GIT_COMMIT", "OPENFAAS_URL")
    call = {"words": words, "given": given, "environment": {name: os.environ.get(name) for name in names}}
    with (home / "calls.jsonl").open("a") as log:
        log.write(json.dumps(call) + "\n")
    if " ".join(words[:2]) in state["broken"] or words[0] in state["broken"]:
        print('unauthorized access, run "faas-cli login" to setup authentication for this server')
        return 1
    if words[:2] == ["secret", "create"]:
        if words[-1] in state["refused"]:
            print("Creating secret\nserver returned unexpected status code: 500 - no room")
            return 0
        print("Updated: 200 OK" if words[-1] in state["secrets"] else "Created: 201 Created")
        state["secrets"].append(words[-1])
        (home / "state.json").write_text(json.dumps(state))
    if words[:2] == ["secret", "list"]:
        print(json.dumps([{"name": name} for name in state["secrets"]]))
    if words[0] == "list":
        print(json.dumps([{"name": name, "image": image} for name, image in state["functions"].items()]))
    if words[0] == "deploy":
        stack = Path(words[words.index("-f") + 1]).read_text()
        wanted = words[words.index("--regex") + 1] if "--regex" in words else "."
        for name in re.findall(r"^  ([a-z-]+):$", stack.partition("functions:")[2], re.MULTILINE):
            if re.search(wanted, name) and not state["stuck"]:
                state["functions"][name] = f"{os.environ['REGISTRY']}/{name}:{os.environ['TAG']}"
                state["deployments"][name] = os.environ["SABUESO_DEPLOYMENT"]
        (home / "state.json").write_text(json.dumps(state))
        if state["slow"]:
            # Of the last one the image is still being pulled.
            del state["functions"][name], state["deployments"][name]
            (home / "state.json").write_text(json.dumps({**state, "slow": False}))
            print("cannot connect to OpenFaaS on URL: context deadline exceeded (Client.Timeout exceeded)")
            return 1
    if words[0] == "logs":
        print("2026-11-22T10:00:00Z the function's last words")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
