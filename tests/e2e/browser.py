"""Debian's Chromium without a screen, cut off from every host but this machine, and what it asks for."""

import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
from selenium import webdriver
from selenium.common.exceptions import StaleElementReferenceException
from selenium.webdriver.chrome.service import Service
from selenium.webdriver.common.by import By
from selenium.webdriver.remote.webelement import WebElement

from tests.support import guard
from tests.support.waiting import wait_until

PROGRAM = Path("/usr/bin/chromium")
DRIVER = Path("/usr/bin/chromedriver")
SYSTEM = "/usr/bin:/bin"
WINDOW = "1280,1600"
HOST = "clinvk.test"
"""A name of this machine's for pages under https; the browser knows no other name."""
NO_NETWORK = f"MAP {HOST} 127.0.0.1, MAP * ~NOTFOUND, EXCLUDE 127.0.0.1"
CLOSED_PROXY = "http://127.0.0.1:9"
"""For addresses that are no names: nobody listens there."""
PATIENCE_S = 60.0
"""For a page to show something, on a machine that has much else to do."""


@dataclass(frozen=True, slots=True)
class Browser:
    """A browser with one page."""

    driver: webdriver.Chrome

    def open(self, url: str) -> None:
        """Go to an address."""
        self.driver.get(url)

    def all(self, selector: str) -> list[WebElement]:
        """What a CSS selector finds now."""
        return self.driver.find_elements(By.CSS_SELECTOR, selector)

    def one(self, selector: str) -> WebElement:
        """The first that a CSS selector finds, waited for until it is to be seen."""
        found = wait_until(lambda: self._visible(selector), PATIENCE_S, f"{selector} on the page", every_s=0.05)
        return found[0]

    def _visible(self, selector: str) -> list[WebElement]:
        try:
            return [found for found in self.all(selector) if found.is_displayed()]
        except StaleElementReferenceException:  # drawn anew in between
            return []

    def asked(self) -> list[str]:
        """The addresses that the page has asked for since this was called last, in order."""
        messages = [json.loads(entry["message"])["message"] for entry in self._log("performance")]
        sent = [message["params"] for message in messages if message["method"] == "Network.requestWillBeSent"]
        return [its["request"]["url"] for its in sent]

    def ask(self, url: str) -> None:
        """Let the page ask for an address, and wait for what comes of it."""
        script = "const done = arguments[1]; fetch(arguments[0]).then(done, () => done())"
        self.driver.execute_async_script(script, url)

    def complaints(self) -> list[str]:
        """What the browser found wrong with the page since this was called last, such as what a policy forbids."""
        return [entry["message"] for entry in self._log("browser")]

    def _log(self, kind: str) -> list[dict[str, Any]]:
        entries: list[dict[str, Any]] = self.driver.get_log(kind)  # type: ignore[no-untyped-call]
        return entries


def hosts(urls: list[str]) -> set[str]:
    """The hosts of addresses, with their ports; what lies in the address itself or in the browser has none."""
    parts = map(urlsplit, urls)
    return {its.netloc for its in parts if its.scheme not in ("about", "blob", "chrome", "data")}


@contextmanager
def chromium(folder: Path) -> Iterator[Browser]:
    """A browser that keeps all it keeps in a folder.  Fails, never skips, when it is not installed."""
    if not (PROGRAM.exists() and DRIVER.exists()):
        pytest.fail("not installed: apt-get install chromium chromium-driver", pytrace=False)
    options = webdriver.ChromeOptions()
    options.binary_location = str(PROGRAM)
    options.accept_insecure_certs = True  # the tests' own, made a moment ago
    options.set_capability("goog:loggingPrefs", {"performance": "ALL", "browser": "ALL"})
    for argument in _arguments(folder):
        options.add_argument(argument)
    environment = guard.clean_environment(folder, SYSTEM) | {"TMPDIR": str(folder)}
    service = Service(str(DRIVER), env=environment, log_output=str(folder / "driver.log"))
    driver = webdriver.Chrome(options=options, service=service)
    try:
        yield Browser(driver)
    finally:
        driver.quit()


def _arguments(folder: Path) -> Iterator[str]:
    yield "--headless=new"
    yield f"--user-data-dir={folder / 'profile'}"
    yield f"--window-size={WINDOW}"
    yield f"--host-resolver-rules={NO_NETWORK}"
    yield f"--proxy-server={CLOSED_PROXY}"
    yield f"--proxy-bypass-list=127.0.0.1;{HOST}"
    yield "--disable-background-networking"
    yield "--disable-component-update"
    yield "--disable-dev-shm-usage"
    yield "--disable-gpu"
    yield "--no-first-run"
    if os.geteuid() == 0:
        yield "--no-sandbox"
