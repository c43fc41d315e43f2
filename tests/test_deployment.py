"""What deploy/ and docs/deployment.md, docs/sizing.md say exists, and is accepted."""

import json
import re
import shlex
import shutil
import stat
from itertools import pairwise
from pathlib import Path

import pytest
import yaml

from app.cli import parser
from app.config import load_config
from app.config.checks import FEWEST_RUNS, MB, MEMORY_PER_RUN, MEMORY_PER_WARM, MOST_RUNS
from app.server import OPEN_FILES, STOP_MARGIN_S
from services.settings import ServerSettings
from tests.app.config.reading import problems
from tests.app.conftest import GUNICORN
from tests.support.documents import Block, blocks_of_page, each_block
from tests.support.guard import REAL_PATH, ROOT, clean_environment, minimal_bin
from tests.support.shell import printed

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
    assert len(rows) == 6
    for gib, runs in rows:
        memory_bytes = int(gib) * 1024**3
        config = load_config(None, environ={"HOME": "/nowhere"}, memory_bytes=memory_bytes)
        assert config.server.max_concurrent_runs == int(runs)


@pytest.mark.parametrize("page", PAGES)
def test_each_setting_that_a_page_names_is_one(page: str) -> None:
    named = set(re.findall(r"`(?:server|session)\.(\w+)`", PAGES[page]))
    assert named
    assert {key for key in named if f"| `{key}` |" not in CONFIGURATION} == set()


def test_the_unit_is_locked_down_as_the_page_on_security_says() -> None:
    named = re.findall(r"`([A-Z]\w+=\w*)`", (ROOT / "docs" / "security.md").read_text())
    assert len(named) > 4
    lines = [line.lstrip("#") for line in UNIT.splitlines()]
    assert [word for word in named if not any(line.startswith(word) for line in lines)] == []


@pytest.mark.parametrize("page", PAGES)
def test_each_command_of_clinvks_is_one(page: str) -> None:
    lines = re.findall(
        r"^(?:sudo .*?|.* )?clinvk ((?:serve|config|doctor|sessions|prompt)\b.*?)$", PAGES[page], re.MULTILINE
    )
    for line in lines:
        parser().parse_args(shlex.split(line.partition(" #")[0].partition(" > ")[0]))
    assert lines or page == "sizing.md"


@each_block()
def test_yaml_on_a_page_is_a_configuration(tmp_path: Path, block: Block) -> None:
    assert problems(tmp_path, block.text) == []
    sections = yaml.safe_load(block.text)
    for keys in [*sections.pop("backends", {}).values(), *sections.values()]:
        assert {key for key in keys if f"| `{key}` |" not in CONFIGURATION} == set()


@each_block()
def test_the_number_of_runs_is_what_the_formula_says(block: Block) -> None:
    warm_mb, run_mb, fewest, most = map(int, re.findall(r"\d+", block.text))
    assert block.text.startswith("(half the memory - ")
    assert (warm_mb * MB, run_mb * MB) == (MEMORY_PER_WARM, MEMORY_PER_RUN)
    assert (fewest, most) == (FEWEST_RUNS, MOST_RUNS)


# ---------------------------------------------------------------------- commands, in a system of their own


NOTE = """#!/bin/sh
echo "${{0##*/}} $*" >> {log}
"""


class System:
    """Folders in the place of the machine's, and programs that only note what they were told."""

    def __init__(self, folder: Path, *noted: str) -> None:
        self.folder = folder
        self._log = folder / "told"
        self._log.touch()
        self.bin = minimal_bin(folder / "bin", ["install", "openssl"])
        for name in noted:
            program = self.bin / name
            program.write_text(NOTE.format(log=self._log))
            program.chmod(0o755)

    def type(self, command: str) -> str:
        """Run a command as it stands, but below this folder instead of below ``/etc``, ``/opt``, ``/var``."""
        (self.folder / "etc/systemd/system").mkdir(parents=True, exist_ok=True)
        moved = re.sub(r"(?<![\w/])/(?=(?:etc|opt|var)/)", f"{self.folder}/", command)
        return printed(moved, clean_environment(self.folder, str(self.bin)), ROOT)

    @property
    def told(self) -> list[list[str]]:
        """What the programs were told, with the paths as they were written."""
        return [shlex.split(line.replace(str(self.folder), "")) for line in self._log.read_text().splitlines()]


@each_block(checks=["rate_limit_enabled: true", "demo can answer."], line_by_line=True)
def test_the_configuration_is_looked_at(tmp_path: Path, block: Block, check: str) -> None:
    """With the configuration that the page shows, the keys that it names, and a backend that needs no account."""
    system = System(tmp_path)
    (system.bin / "clinvk").symlink_to(GUNICORN.with_name("clinvk"))
    (tmp_path / "api-keys").write_text("a-key-of-some-length\n")
    (shown,) = (one for one in blocks_of_page(block.page) if one.language == "yaml")
    tree = yaml.safe_load(shown.text) | {"backends": {"demo": {"enabled": True}}}
    tree["server"]["api_keys_file"] = str(tmp_path / "api-keys")
    (tmp_path / "etc/clinvk").mkdir(parents=True)
    (tmp_path / "etc/clinvk/config.yaml").write_text(yaml.safe_dump(tree))
    assert check in system.type(block.text)


@pytest.mark.skipif(not shutil.which("openssl", path=REAL_PATH), reason="the page makes keys by openssl")
@each_block()
def test_the_service_is_put_in_place(tmp_path: Path, block: Block) -> None:
    """Where the unit looks for it, and as the user that it names."""
    system = System(tmp_path, "python3", "useradd", "systemctl")
    pip = tmp_path / "opt/clinvk/bin/pip"
    pip.parent.mkdir(parents=True)
    pip.symlink_to(system.bin / "python3")
    system.type(block.text)
    if "systemctl" in block.text:
        assert system.told == [["systemctl", "daemon-reload"], ["systemctl", "enable", "--now", "clinvk"]]
        assert (tmp_path / "etc/systemd/system/clinvk.service").read_text() == UNIT
        return
    program = Path(unit("ExecStart")[0].split()[0])
    python, installed, user = system.told
    assert python == ["python3", "-m", "venv", str(program.parents[1])]
    assert installed == ["pip", "install", "."]
    assert user[-1] == unit("User")[0]
    assert user[user.index("--home-dir") + 1] == f"/var/lib/{unit('StateDirectory')[0]}"
    keys = tmp_path / unit("LoadCredential")[0].partition(":/")[2]
    assert stat.S_IMODE(keys.stat().st_mode) == 0o600
    assert len(keys.read_text().strip()) == 64


@each_block()
def test_the_image_is_built_and_run(tmp_path: Path, block: Block) -> None:
    """With the Containerfile that there is, and with what that says of port, volume and stop."""
    system = System(tmp_path, "podman")
    system.type(block.text)
    build, run = system.told
    assert build[:2] == ["podman", "build"]
    assert (ROOT / build[build.index("--file") + 1]).read_text() == CONTAINER
    assert build[-1] == "."
    assert run[:2] == ["podman", "run"]
    options = dict(pairwise(run))
    assert run[-1] == build[build.index("--tag") + 1]
    assert options["--volume"].partition(":")[2] == json.loads(instructions("VOLUME")[0])[0]
    assert options["--publish"].rpartition(":")[2] == instructions("EXPOSE")[0]
    assert float(options["--stop-timeout"]) > SERVER.graceful_timeout_secs + STOP_MARGIN_S
    assert options["--env"] == "CLINVK_API_KEYS"


@each_block()
def test_the_upgrade_is_of_what_the_service_runs(tmp_path: Path, block: Block) -> None:
    system = System(tmp_path, "pip", "systemctl")
    pip = tmp_path / Path(unit("ExecStart")[0].split()[0]).with_name("pip").relative_to("/")
    pip.parent.mkdir(parents=True)
    pip.symlink_to(system.bin / "pip")
    system.type(block.text)
    assert system.told == [["pip", "install", "--upgrade", "."], ["systemctl", "restart", "clinvk"]]
