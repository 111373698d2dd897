"""The image against what the chart and the package say. (Building it needs a container engine; CI does.)"""

from __future__ import annotations

import json
import re
import tomllib
from collections.abc import Callable
from pathlib import Path
from typing import Any

from ruamel.yaml import YAML

from support.chart import CHART

ROOT = Path(__file__).resolve().parents[3]
DOCKERFILE = (ROOT / "operator" / "Dockerfile").read_text()
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]


def instruction(name: str) -> str:
    """Return the argument of the Dockerfile's last instruction of that name."""
    return str(re.findall(rf"^{name} (.+)$", DOCKERFILE, re.MULTILINE)[-1])


def test_the_image_runs_the_command_that_the_package_installs() -> None:
    (command,) = json.loads(instruction("ENTRYPOINT"))
    assert Path(command).name in PROJECT["scripts"]


def test_the_image_and_the_chart_agree_on_the_user(rendered: Callable[..., list[dict[str, Any]]]) -> None:
    (deployment,) = (body for body in rendered() if body["kind"] == "Deployment")
    security = deployment["spec"]["template"]["spec"]["securityContext"]
    assert instruction("USER") == f"{security['runAsUser']}:{security['runAsGroup']}"


def test_chart_image_and_package_are_one_version() -> None:
    chart = YAML(typ="safe", pure=True).load((CHART / "Chart.yaml").read_text())
    assert chart["version"] == chart["appVersion"] == PROJECT["version"]


def test_all_that_is_copied_passes_the_ignore_file() -> None:
    """`.dockerignore` starts from nothing, so a forgotten line breaks the build."""
    let_in = {line[1:] for line in (ROOT / ".dockerignore").read_text().splitlines() if line.startswith("!")}
    copied = {word for line in re.findall(r"^COPY (?!--from)(.+) \S+$", DOCKERFILE, re.MULTILINE) for word in line.split()}
    assert copied == let_in
