"""The CLIs as npm has them: which version is the newest, and any version in a folder of its own."""

import json
import shutil
import subprocess
from pathlib import Path

from tests.drift.trial import Program
from tests.support.guard import ROOT

PACKAGES = {"claude": "@anthropic-ai/claude-code", "codex": "@openai/codex", "gemini": "@google/gemini-cli"}
E2E = ROOT / "tests" / "e2e"
ASKING_S = 120
INSTALLING_S = 900


def newest(cli: str) -> str:
    """The version that npm calls the latest.  CalledProcessError when the registry does not tell."""
    done = subprocess.run(
        ["npm", "view", PACKAGES[cli], "dist-tags.latest"],
        cwd=E2E,
        stdout=subprocess.PIPE,
        text=True,
        timeout=ASKING_S,
        check=True,
    )
    return done.stdout.strip()


def installed(cli: str, version: str, folder: Path) -> Program:
    """This version in a folder below ``folder``, installed if it is not there yet."""
    place = folder / f"{cli}-{version}"
    program = Program(cli, version, place / "node_modules" / ".bin" / cli)
    if not (place / "done").exists():
        shutil.rmtree(place, ignore_errors=True)
        place.mkdir(parents=True)
        shutil.copy(E2E / ".npmrc", place)
        (place / "package.json").write_text(json.dumps(manifest(cli, version)))
        subprocess.run(["npm", "install"], cwd=place, timeout=INSTALLING_S, check=True, stdout=subprocess.DEVNULL)
        (place / "done").touch()
    return program


def manifest(cli: str, version: str) -> dict[str, object]:
    """A package.json with this CLI alone, which may run the scripts that the pinned one may."""
    pinned = json.loads((E2E / "package.json").read_text())
    return {"private": True, "dependencies": {PACKAGES[cli]: version}, "allowScripts": pinned["allowScripts"]}
