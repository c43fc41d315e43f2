"""What deploy/ and docs/deployment.md, docs/sizing.md say exists, and is accepted."""

import json
import re
import shlex
from pathlib import Path

import pytest
import yaml

from app.cli import parser
from app.config import load_config
from app.server import OPEN_FILES, STOP_MARGIN_S
from services.settings import ServerSettings
from tests.support.guard import ROOT

DEPLOY = ROOT / "deploy"
NGINX, UNIT, CONTAINER = ((DEPLOY / name).read_text() for name in ("nginx.conf", "clinvk.service", "Containerfile"))
PAGES = {name: (ROOT / "docs" / name).read_text() for name in ("deployment.md", "sizing.md")}
CONFIGURATION = (ROOT / "docs" / "configuration.md").read_text()
SERVER = ServerSettings()


def seconds(directive: str) -> float:
    (value,) = re.findall(rf"^\s*{directive} (\d+)s;$", NGINX, re.MULTILINE)
    return float(value)


def unit(key: str) -> list[str]:
    return re.findall(rf"^{key}=(.*)$", UNIT, re.MULTILINE)


def instructions(name: str) -> list[str]:
    """The values of one instruction of the Containerfile, comments and line ends removed."""
    text = re.sub(r"\\\n", " ", re.sub(r"^#.*\n", "", CONTAINER, flags=re.MULTILINE))
    return re.findall(rf"^{name} +(.*)$", text, re.MULTILINE)


def test_nginx_has_the_servers_own_limits() -> None:
    assert seconds("proxy_read_timeout") > SERVER.request_timeout_secs > SERVER.heartbeat_secs
    assert seconds("send_timeout") == SERVER.write_timeout_secs
    assert seconds("client_body_timeout") == seconds("client_header_timeout") == SERVER.read_timeout_secs
    idle = re.findall(r"upstream clinvk {.*?keepalive_timeout (\d+)s;.*?}", NGINX, re.DOTALL)
    assert [float(value) < SERVER.idle_timeout_secs for value in idle] == [True]
    assert re.findall(r"client_max_body_size (\d+)m;", NGINX) == [str(SERVER.max_request_body_bytes // 1024 // 1024)]


def test_systemd_waits_longer_than_the_server_at_its_stop() -> None:
    (stop,) = unit("TimeoutStopSec")
    assert float(stop) > SERVER.graceful_timeout_secs + STOP_MARGIN_S
    assert unit("LimitNOFILE") == [str(OPEN_FILES)]


def test_the_command_lines_are_ones_that_the_program_takes() -> None:
    (start,) = unit("ExecStart")
    program, *arguments = shlex.split(start)
    assert Path(program).name == "clinvk"
    assert parser().parse_args(arguments).config == Path("/etc/clinvk/config.yaml")
    program, *arguments = json.loads(instructions("CMD")[-1])
    assert program == "clinvk"
    assert parser().parse_args(arguments).host == "0.0.0.0"


def test_what_the_image_is_made_of_exists() -> None:
    copied = [words[:-1] for value in instructions("COPY") if not (words := value.split())[0].startswith("--")]
    sources = {source for sources in copied for source in sources}
    assert {source for source in sources if not (ROOT / source).exists()} == set()
    packages = {path.parent.name for path in ROOT.glob("*/__init__.py")} - {"tests", "bench"}
    assert packages | {"wsgi.py", "setup.cfg", "pyproject.toml"} <= {source.rstrip("/") for source in sources}


def test_the_image_runs_as_a_user_of_its_own_that_can_write_its_home() -> None:
    assert instructions("USER") == ["clinvk"]
    assert json.loads(instructions("VOLUME")[0]) == ["/var/lib/clinvk"]
    assert "CLINVK_HOME=/var/lib/clinvk/.clinvk" in CONTAINER
    assert instructions("FROM")[-1].startswith("docker.io/library/python:")
    known = {"ARG", "FROM", "WORKDIR", "COPY", "RUN", "ENV", "USER", "VOLUME", "EXPOSE", "STOPSIGNAL", "HEALTHCHECK"}
    text = re.sub(r"\\\n", " ", re.sub(r"^#.*\n", "", CONTAINER, flags=re.MULTILINE))
    assert {line.split()[0] for line in text.splitlines() if line.strip()} == known | {"CMD"}


def test_the_clis_of_the_image_are_those_that_are_tested() -> None:
    (clis,) = re.findall(r'^ARG CLIS="(.*)"$', CONTAINER, re.MULTILINE)
    tested = json.loads((ROOT / "tests" / "e2e" / "package.json").read_text())["dependencies"]
    for cli in clis.split():
        name, _, version = cli.rpartition("@")
        assert tested[name] == version


def test_the_table_of_memory_is_what_the_server_takes() -> None:
    rows = re.findall(r"^\| (\d+) GiB \| (\d+) \|$", PAGES["sizing.md"], re.MULTILINE)
    assert len(rows) == 5
    for gib, runs in rows:
        memory_bytes = int(gib) * 1024**3
        config = load_config(None, environ={"HOME": "/nowhere"}, memory_bytes=memory_bytes)
        assert config.server.max_concurrent_runs == int(runs)


@pytest.mark.parametrize("page", PAGES)
def test_each_setting_that_a_page_names_is_one(page: str) -> None:
    named = set(re.findall(r"`(?:server|session)\.(\w+)`", PAGES[page]))
    assert named
    assert {key for key in named if f"| `{key}` |" not in CONFIGURATION} == set()


@pytest.mark.parametrize("page", PAGES)
def test_each_command_of_clinvks_is_one(page: str) -> None:
    lines = re.findall(
        r"^(?:sudo .*?|.* )?clinvk ((?:serve|config|doctor|sessions|prompt)\b.*?)$", PAGES[page], re.MULTILINE
    )
    for line in lines:
        parser().parse_args(shlex.split(line.partition(" #")[0].partition(" > ")[0]))
    assert lines or page == "sizing.md"


@pytest.mark.parametrize("page", PAGES)
def test_yaml_on_a_page_is_a_configuration(page: str) -> None:
    for block in re.findall(r"```yaml\n(.*?)```", PAGES[page], re.DOTALL):
        for section, keys in yaml.safe_load(block).items():
            assert section in {"server", "session"}
            assert {key for key in keys if f"| `{key}` |" not in CONFIGURATION} == set()


@pytest.mark.parametrize("page", PAGES)
def test_links_lead_somewhere(page: str) -> None:
    for target in re.findall(r"\]\((?!https?:)([^)#]+)", PAGES[page]):
        assert (ROOT / "docs" / target).exists(), target
