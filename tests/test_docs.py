"""The documentation: what it links to is there, and what it names is what the code has."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from functools import cache
from pathlib import Path

import pytest
from prometheus_client.metrics import MetricWrapperBase
from pydantic import ByteSize, TypeAdapter

from rowcast.cli import main
from rowcast.service.metrics import counts, rollouts
from rowcast.service.settings import Settings
from rowcast.service.variables import PREFIX

ROOT = Path(__file__).resolve().parents[1]
DOCS = ROOT / "docs"
PAGES = (ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted(DOCS.glob("*.md")))
TABLES = sorted({*ROOT.glob("[a-z]*/*.md"), *ROOT.glob("[a-z]*/[a-z]*/*.md")} - set(PAGES))
"""What benchmarks write, and the pages beside the code they are about."""
LONGEST_README = 110

FENCE = re.compile(r"^```(\w*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
INDENTED = re.compile(r"(?:^|(?<=\n\n))(?: {4}.*\n)+", re.MULTILINE)
SPAN = re.compile(r"`([^`]+)`")
LINK = re.compile(r"!?\[[^\]]*\]\(([^)\s]+)\)")
SOURCE = re.compile(r"[a-z_]+(/\w+)+\.(py|proto)")
OPTION = re.compile(r"(?<![\w-])--[a-z][\w-]*")


def without_code(text: str) -> str:
    """A page without what is code in it, where a link is none."""
    return SPAN.sub("", INDENTED.sub("", FENCE.sub("", text)))


def code_in(text: str) -> list[str]:
    """Every line of code, every span, and every cell of code of a page."""
    blocks = [match[2] for match in FENCE.finditer(text)]
    rest = FENCE.sub("", text)
    blocks += INDENTED.findall(rest)
    lines = [line.strip() for block in blocks for line in block.splitlines()]
    return lines + SPAN.findall(INDENTED.sub("", rest))


@cache
def anchors(page: Path) -> set[str]:
    """The anchors that GitHub gives to a page's headings."""
    headings = re.findall(r"^#+ (.+)$", FENCE.sub("", page.read_text("utf-8")), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


def targets(page: Path) -> list[tuple[Path, str]]:
    """The files of ours that a page links to, each with its anchor or nothing."""
    found = []
    for link in LINK.findall(without_code(page.read_text("utf-8"))):
        if "://" not in link:
            path, _, anchor = link.partition("#")
            found.append(((page.parent / path).resolve() if path else page, anchor))
    return found


@pytest.mark.parametrize("page", [*PAGES, *TABLES], ids=lambda page: str(page.relative_to(ROOT)))
def test_every_link_leads_to_a_file_and_a_heading(page):
    for path, anchor in targets(page):
        assert path.exists(), f"{page.name} links to {path}"
        assert not anchor or anchor in anchors(path), f"{page.name} links to #{anchor} of {path.name}"


def test_every_page_is_one_click_from_the_index():
    linked = {path for path, _ in targets(DOCS / "index.md")}
    assert set(PAGES) - linked == {DOCS / "index.md"}
    assert DOCS / "index.md" in {path for path, _ in targets(ROOT / "README.md")}


def test_the_readme_is_short():
    assert len((ROOT / "README.md").read_text("utf-8").splitlines()) <= LONGEST_README


def test_every_source_file_that_the_pages_name_is_there():
    for page in PAGES:
        for code in code_in(page.read_text("utf-8")):
            if SOURCE.fullmatch(code):
                assert any((folder / code).exists() for folder in (ROOT, ROOT / "service")), f"{page.name} names {code}"


def settings_table() -> dict[str, str]:
    """The README's table of settings: each line's settings, and the text of its default."""
    section = (ROOT / "README.md").read_text("utf-8").partition("\n## Settings\n")[2].partition("\n## ")[0]
    rows = [line.split("|")[1:4] for line in section.splitlines() if line.startswith("| `")]
    return {
        name: default.strip().strip("`")
        for names, default, about in rows
        for name in SPAN.findall(names) + re.findall(r"`(ROWCAST_GRPC_TLS_\w+)`", about)
    }


def test_the_readme_lists_every_setting_and_no_other():
    settings = {f"{PREFIX}{name.upper()}" for name in Settings.model_fields}
    assert set(settings_table()) == settings | {"OTEL_EXPORTER_OTLP_ENDPOINT"}


def test_the_readme_tells_the_defaults_that_the_service_has():
    told, fields = settings_table(), Settings.model_fields
    plain = ("repository", "device", "max_rows", "max_queue", "grpc_port", "grpc_host")
    assert {name: told[f"{PREFIX}{name.upper()}"] for name in plain} == {
        name: str(fields[name].default) for name in plain
    }
    assert float(told["ROWCAST_GRACE"]) == fields["grace"].default
    assert TypeAdapter(ByteSize).validate_python(told["ROWCAST_MAX_BODY"]) == fields["max_body"].default
    switches = {name: field.default for name, field in fields.items() if field.annotation is bool}
    assert {name: told[f"{PREFIX}{name.upper()}"] for name in switches} == {
        name: "on" if default else "off" for name, default in switches.items()
    }


def test_make_knows_every_target_that_the_pages_name():
    makefile = (ROOT / "Makefile").read_text("utf-8")
    known = set(re.findall(r"^([a-z-]+):", makefile, re.MULTILINE))
    for page in PAGES:
        for code in code_in(page.read_text("utf-8")):
            for named in re.findall(r"^(?:\$ )?make ([a-z-]+)", code):
                assert named in known, f"{page.name} names `make {named}`"


def test_every_file_and_module_that_make_runs_is_there():
    targets = re.findall(r"^([a-z-]+):.*##", (ROOT / "Makefile").read_text("utf-8"), re.MULTILINE)
    run = subprocess.run(["make", "-n", *targets], cwd=ROOT, capture_output=True, text=True, check=True).stdout
    files = {word for word in run.split() if re.fullmatch(r"[a-z_/]+\.py", word)}
    modules = set(re.findall(r"-m ((?:tests|proofs|benchmarks|image)\.[a-z_.]+)", run))
    assert len(files) > 5
    assert len(modules) > 30
    paths = (module.replace(".", "/") for module in modules)
    files |= {f"{path}/__main__.py" if (ROOT / path).is_dir() else f"{path}.py" for path in paths}
    assert [file for file in sorted(files) if not (ROOT / file).is_file()] == []


def test_the_command_line_has_every_command_and_option_that_the_pages_name(capsys):
    @cache
    def options(*command):
        with pytest.raises(SystemExit) as ended:
            main([*command, "--help"])
        assert ended.value.code == 0, f"there is no command {' '.join(command)!r}"
        return set(OPTION.findall(capsys.readouterr().out))

    seen = set()
    for page in PAGES:
        for code in code_in(page.read_text("utf-8")):
            for words in re.findall(r"(?:^|[ /])rowcast ((?:[a-z]+ ?)+[^|&>#]*)", code):
                command = words.split()[: 2 if words.startswith(("models", "loadtest")) else 1]
                if command in (["models"], ["install"]):
                    continue
                missing = set(OPTION.findall(words)) - options(*command) - {"--debug"}
                assert not missing, f"{page.name}: rowcast {' '.join(command)} has no {missing}"
                seen.add(" ".join(command))
    assert {"train", "serve", "predict", "loadtest check"} <= seen


def test_operations_lists_every_metric_and_no_other():
    text = (DOCS / "operations.md").read_text("utf-8").partition("\n## Metrics\n")[2].partition("\n## ")[0]
    every = [*vars(counts).values(), *vars(rollouts).values()]
    ours = [metric for metric in every if isinstance(metric, MetricWrapperBase)]
    names = {family.name for metric in ours for family in metric.describe()}
    told = {name.removesuffix("_total") for name in re.findall(r"`(rowcast_\w+)`", text)}
    assert told == names


def test_the_python_of_the_readme_runs(tmp_path):
    text = (ROOT / "README.md").read_text("utf-8")
    (program,) = [match[2] for match in FENCE.finditer(text) if match[1] == "python"]
    short = program.replace('preset="quick"', 'preset="quick", fit={"epochs": 2}')  # every line runs all the same
    assert short != program
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    command = [sys.executable, "-c", short]
    done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, check=True)
    assert "'rmse'" in done.stdout
    assert (tmp_path / "models" / "repository" / "diabetes" / "1" / "model.onnx").exists()
