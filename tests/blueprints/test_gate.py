"""What is judged of a request before anything is done for it: Host, Origin, rate."""

import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from typing import Any

import pytest
from flask.testing import FlaskClient
from limits.storage import MemoryStorage

from services.settings import ServerSettings
from tests.support.fake_runs import FakeRuns, fake_app, saying

HELLO = {"backend": "claude", "prompt": "hello", "ephemeral": True}
PROMPT = "/api/v1/prompt"
LOCAL = ServerSettings(allowed_hosts=("ai.example.com",))
LIMITED = replace(LOCAL, rate_limit_enabled=True, rate_limit_rps=0.1, rate_limit_burst=3)


class Site:
    """An application on fake runs, and what it started."""

    def __init__(self, server: ServerSettings = LOCAL, keys: tuple[str, ...] = ()) -> None:
        self.runs = FakeRuns({"claude": saying("Hi")}, server=server)
        self.app = fake_app(self.runs, keys=keys)
        self.client: FlaskClient = self.app.test_client()

    def ask(self, headers: dict[str, str], **options: object) -> tuple[int, str]:
        """The status of a prompt and the error code."""
        response = self.client.post(PROMPT, json=HELLO, headers=headers, **options)
        assert response.json is not None
        return response.status_code, response.json.get("error", "")


REFUSED = (403, "origin_not_allowed")


@pytest.mark.parametrize("host", ["evil.example", "localhost.evil.example:8080", "192.168.7.7", ""])
def test_dns_rebinding_is_refused_where_no_key_is_needed(host: str) -> None:
    site = Site()
    assert site.ask({"Host": host}) == REFUSED
    assert not site.runs.started


@pytest.mark.parametrize("host", ["localhost", "127.0.0.1:8080", "[::1]:8080", "ai.example.com"])
def test_our_own_names_are_not(host: str) -> None:
    assert Site().ask({"Host": host})[0] == 200


def test_with_keys_any_name_will_do() -> None:
    assert Site(keys=("k",)).ask({"Host": "whatever.example", "X-Api-Key": "k"})[0] == 200


def test_health_answers_to_any_name() -> None:
    assert (
        Site().client.get("/health", headers={"Host": "10.9.8.7", "Origin": "https://evil.example"}).status_code == 200
    )


FOREIGN = ["https://evil.example", "null", "http://localhost.evil.example", "http://ai.example.com:81", "file://"]


@pytest.mark.parametrize("origin", FOREIGN)
@pytest.mark.parametrize("keys", [(), ("k",)])
def test_a_foreign_page_starts_nothing(origin: str, keys: tuple[str, ...]) -> None:
    site = Site(keys=keys)
    assert site.ask({"Host": "ai.example.com", "Origin": origin, "X-Api-Key": "k"}) == REFUSED
    assert site.client.options(PROMPT, headers={"Host": "ai.example.com", "Origin": origin}).status_code == 403
    assert not site.runs.started


@pytest.mark.parametrize("kind", ["text/plain", "application/x-www-form-urlencoded", "multipart/form-data", None])
def test_a_form_post_starts_nothing(kind: str | None) -> None:
    site = Site()
    response = site.client.post(PROMPT, data=b'{"backend": "claude", "prompt": "x"}', content_type=kind)
    assert response.status_code == 415
    assert not site.runs.started


@pytest.mark.parametrize("origin", ["http://ai.example.com", "HTTP://AI.example.com", "http://localhost:3000"])
def test_our_own_pages_and_those_of_this_machine_may_ask(origin: str) -> None:
    assert Site().ask({"Host": "ai.example.com", "Origin": origin})[0] == 200


def test_a_preflight_needs_no_key() -> None:
    headers = {"Origin": "http://localhost:3000", "Access-Control-Request-Method": "POST"}
    asked = {**headers, "Access-Control-Request-Headers": "authorization, content-type"}
    response = Site(keys=("k",)).client.options(PROMPT, headers=asked)
    assert response.status_code == 200
    assert response.headers["Access-Control-Allow-Origin"] == "http://localhost:3000"
    assert "authorization" in response.headers["Access-Control-Allow-Headers"].lower()
    assert response.headers["Access-Control-Max-Age"] == "300"
    assert "POST" in response.headers["Access-Control-Allow-Methods"]


def test_errors_carry_the_headers_of_cors() -> None:
    response = Site(keys=("k",)).client.post(PROMPT, json=HELLO, headers={"Origin": "http://localhost:3000"})
    assert response.status_code == 401
    assert response.headers["Access-Control-Allow-Origin"] == "http://localhost:3000"
    assert "Retry-After" in response.headers["Access-Control-Expose-Headers"]
    assert "Access-Control-Allow-Credentials" not in response.headers


def test_credentials_are_allowed_where_the_configuration_says_so() -> None:
    server = replace(LOCAL, cors_allow_credentials=True, cors_allowed_origins=("https://app.example.com",))
    response = Site(server).client.get("/", headers={"Origin": "https://app.example.com"})
    assert response.headers["Access-Control-Allow-Credentials"] == "true"


# ---------------------------------------------------------------------- rate


def statuses(site: Site, number: int, **headers: str) -> list[int]:
    """The statuses of prompts one after the other."""
    return [site.ask({name.replace("_", "-"): value for name, value in headers.items()})[0] for _ in range(number)]


def test_more_than_the_burst_is_refused_and_told_when_to_come_again() -> None:
    site = Site(LIMITED)
    assert statuses(site, 4) == [200, 200, 200, 429]
    response = site.client.post(PROMPT, json=HELLO)
    assert response.json is not None
    assert response.json["error"] == "rate_limited"
    assert 25 <= int(response.headers["Retry-After"]) <= 30
    assert response.headers["X-RateLimit-Limit"] == "3"
    assert response.headers["X-RateLimit-Remaining"] == "0"
    assert int(response.headers["X-RateLimit-Reset"]) > 1_700_000_000
    assert len(site.runs.started) == 3


def test_each_key_has_a_limit_of_its_own() -> None:
    site = Site(LIMITED, keys=("one", "two"))
    assert statuses(site, 4, X_Api_Key="one") == [200, 200, 200, 429]
    assert statuses(site, 1, X_Api_Key="two") == [200]


def test_a_key_on_several_routes_has_one_limit() -> None:
    site = Site(LIMITED)
    found = [
        site.client.get(path).status_code for path in ("/", "/api/v1/backends", "/api/v1/runs", "/api/v1/sessions")
    ]
    assert found[:2] == [200, 200]
    assert found[3] == 429


def test_health_is_not_limited() -> None:
    site = Site(LIMITED)
    assert {site.client.get("/health").status_code for _ in range(9)} == {200}


@pytest.mark.parametrize("header", ["X-Forwarded-For", "Forwarded", "X-Real-IP", "Client-IP", "True-Client-IP"])
def test_a_spoofed_address_does_not_help(header: str) -> None:
    site = Site(LIMITED)
    found = [site.ask({header: f"198.51.100.{number}"})[0] for number in range(4)]
    assert found == [200, 200, 200, 429]


def test_behind_a_trusted_proxy_each_client_has_a_limit_of_its_own() -> None:
    site = Site(replace(LIMITED, trusted_proxies=("127.0.0.1",)))
    assert statuses(site, 4, X_Forwarded_For="9.9.9.9, 198.51.100.1") == [200, 200, 200, 429]
    assert statuses(site, 1, X_Forwarded_For="198.51.100.2") == [200]
    assert statuses(site, 1, X_Forwarded_For="9.9.9.8, 198.51.100.1") == [429]


def test_a_made_up_key_opens_no_limit_of_its_own() -> None:
    site = Site(LIMITED, keys=("good",))
    found = [site.ask({"X-Api-Key": f"guess-{number}"})[0] for number in range(6)]
    assert found == [401, 401, 401, 429, 429, 429]


def test_past_the_limit_even_the_right_guess_is_not_told() -> None:
    site = Site(LIMITED, keys=("good",))
    assert statuses(site, 3, X_Api_Key="bad") == [401] * 3
    response = site.client.post(PROMPT, json=HELLO, headers={"X-Api-Key": "good"})
    assert response.status_code == 429
    assert int(response.headers["Retry-After"]) > 0
    other = {"REMOTE_ADDR": "198.51.100.1"}
    assert site.ask({"X-Api-Key": "good"}, environ_overrides=other)[0] == 200, "only that address is shut out"


def test_guesses_on_paths_that_do_not_exist_count() -> None:
    site = Site(LIMITED, keys=("good",))
    found = [site.client.get(f"/no/such/{number}").status_code for number in range(5)]
    assert found == [401, 401, 401, 429, 429]


def test_nothing_is_limited_by_default() -> None:
    assert set(statuses(Site(), 40)) == {200}


def test_requests_at_the_same_moment_are_counted_one_by_one(monkeypatch: pytest.MonkeyPatch) -> None:
    """The library's way to count, which is not made for threads, is slow here, so that they would meet in it."""
    inside: list[int] = []
    most = 0
    count = MemoryStorage.acquire_entry

    def slowly(self: MemoryStorage, *arguments: Any, **options: Any) -> bool:
        nonlocal most
        inside.append(1)
        most = max(most, len(inside))
        time.sleep(0.005)
        inside.pop()
        return count(self, *arguments, **options)

    monkeypatch.setattr(MemoryStorage, "acquire_entry", slowly)
    site = Site(replace(LIMITED, rate_limit_burst=8))
    with ThreadPoolExecutor(8) as pool:
        answers = list(pool.map(lambda _: site.app.test_client().get("/").status_code, range(9)))
    assert sorted(answers) == [200] * 8 + [429]
    assert most == 1
