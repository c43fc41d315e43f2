"""``/docs`` in a real browser that reaches nothing but this machine."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import trustme
from selenium.webdriver.common.keys import Keys

from tests.e2e.browser import HOST, Browser, chromium, hosts
from tests.e2e.nginx import Tls, in_front_of
from tests.support.server import Server, ServerFactory
from tests.support.waiting import free_port

KEY = "a-key-that-is-typed-into-the-page"
DEMO = {"default_backend": "demo", "backends": {"demo": {"enabled": True}}}
HELLO = {"backend": "demo", "prompt": "Hello!", "ephemeral": True}
ANSWER = "This is the demo backend"
PROMPT = '.opblock:has([data-path="/api/v1/prompt"])'
BOXES = ["#api_key_value", "#auth-bearer-value"]
"""Of the header `X-Api-Key`, and of a bearer."""
LIVE = f"{PROMPT} .live-responses-table tbody"


@pytest.fixture(scope="module")
def one_browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Browser]:
    with chromium(tmp_path_factory.mktemp("browser")) as browser:
        yield browser


@pytest.fixture
def browser(one_browser: Browser) -> Browser:
    """A browser that has asked for nothing yet."""
    one_browser.open("about:blank")
    one_browser.asked()
    one_browser.complaints()
    return one_browser


@pytest.fixture(scope="module")
def server(servers: ServerFactory) -> Server:
    return servers(DEMO)


@pytest.fixture(scope="module")
def locked_server(servers: ServerFactory) -> Server:
    """One that wants a key, and believes the proxies of this machine."""
    return servers(DEMO | {"server": {"trusted_proxies": ["127.0.0.1"]}}, environment={"CLINVK_API_KEYS": KEY})


@pytest.fixture
def https(locked_server: Server, tmp_path: Path) -> Iterator[str]:
    """The address of nginx in front of it."""
    certificate = tmp_path / "certificate.pem"
    trustme.CA().issue_cert(HOST).private_key_and_cert_chain_pem.write_to_path(certificate)
    tls = Tls(free_port(), certificate)
    with in_front_of(locked_server.port, tmp_path, buffering=True, tls=tls):
        yield f"https://{HOST}:{tls.port}"


def address(server: Server) -> str:
    return f"http://127.0.0.1:{server.port}"


def show(browser: Browser, site: str) -> None:
    """Open the page and wait until it has everything."""
    browser.open(f"{site}/docs")
    browser.one(".opblock")


def try_prompt(browser: Browser, prompt: dict[str, Any]) -> tuple[int, str]:
    """Fill in a prompt and send it: the status that is shown, and what is below it."""
    if not browser.all(f"{PROMPT} .execute"):
        browser.one(f"{PROMPT} .opblock-summary-control").click()
        browser.one(f"{PROMPT} .try-out__btn").click()
    body = browser.one(f"{PROMPT} textarea")
    body.send_keys(Keys.CONTROL, "a")
    body.send_keys(json.dumps(prompt))
    browser.one(f"{PROMPT} .execute").click()
    status = browser.one(f"{LIVE} .response-col_status").text
    said = browser.one(f"{LIVE} .response-col_description").text
    browser.one(f"{PROMPT} .btn-clear").click()
    return int(status.split()[0]), said


def give_key(browser: Browser, box: str) -> None:
    """Type the key into the box of one of the two ways to send it."""
    browser.one(".btn.authorize").click()
    browser.one(box).send_keys(KEY, Keys.ENTER)
    browser.one(".auth-container .btn-done").click()


def assert_nothing_wrong(browser: Browser, site: str) -> None:
    """Nobody else was asked for anything, and the browser has nothing to say against the page."""
    assert hosts(browser.asked()) == {site.partition("://")[2]}
    assert browser.complaints() == []
    assert browser.all(".errors-wrapper") == []


def test_every_route_is_shown(browser: Browser, server: Server) -> None:
    document = server.client.get("/openapi.json").json()
    routes = {
        (method.upper(), path)
        for path, item in document["paths"].items()
        for method in item.keys() & {"get", "post", "delete", "put", "patch"}
    }
    show(browser, address(server))
    methods = [shown.text for shown in browser.all(".opblock-summary-method")]
    paths = [shown.get_attribute("data-path") for shown in browser.all(".opblock-summary-path")]
    assert sorted(zip(methods, paths, strict=True)) == sorted(routes)
    assert_nothing_wrong(browser, address(server))


def test_a_prompt_can_be_tried(browser: Browser, server: Server) -> None:
    show(browser, address(server))
    status, said = try_prompt(browser, HELLO)
    assert status == 200
    assert ANSWER in said
    assert_nothing_wrong(browser, address(server))


def test_a_stream_can_be_tried(browser: Browser, server: Server) -> None:
    show(browser, address(server))
    status, said = try_prompt(browser, HELLO | {"output_format": "stream-json"})
    assert status == 200
    assert '"type":"init"' in said
    assert '"type":"done"' in said
    assert_nothing_wrong(browser, address(server))


@pytest.mark.parametrize("box", BOXES)
def test_a_key_is_typed_into_the_page_and_nowhere_kept(browser: Browser, locked_server: Server, box: str) -> None:
    show(browser, address(locked_server))
    status, said = try_prompt(browser, HELLO)
    assert status == 401
    assert "an API key is needed" in said
    give_key(browser, box)
    status, said = try_prompt(browser, HELLO)
    assert status == 200
    assert ANSWER in said
    show(browser, address(locked_server))
    assert try_prompt(browser, HELLO)[0] == 401


def test_behind_nginx_with_tls(browser: Browser, https: str) -> None:
    show(browser, https)
    give_key(browser, BOXES[1])
    status, said = try_prompt(browser, HELLO)
    assert status == 200
    assert ANSWER in said
    assert_nothing_wrong(browser, https)


def test_no_other_document_is_shown(browser: Browser, server: Server, locked_server: Server) -> None:
    """A link to the page may not make it show somebody else's routes, to which a key would then be sent."""
    other = f"{address(locked_server)}/openapi.json"
    browser.open(f"{address(server)}/docs?url={other}&configUrl={other}")
    browser.one(".opblock")
    assert_nothing_wrong(browser, address(server))


def test_the_witness_a_page_that_asks_another_host_is_found_out(browser: Browser, server: Server) -> None:
    """Once by the policy of the page, which forbids it, and once by what the browser notes, where nothing does."""
    forbidden = "https://forbidden.example"
    show(browser, address(server))
    browser.ask(forbidden)
    assert any(forbidden in said for said in browser.complaints())
    browser.open("data:text/html,<h1>No policy</h1>")
    browser.ask("https://elsewhere.example")
    assert "elsewhere.example" in hosts(browser.asked())
