"""The page at ``/docs``; tests/e2e/test_docs_page.py looks at it in a browser."""

import re

import pytest
from flask.testing import FlaskClient

from blueprints.docs import ASSETS, OPEN_PATHS
from tests.support.fake_runs import FakeRuns, fake_app


@pytest.fixture
def client() -> FlaskClient:
    return fake_app(FakeRuns({}), keys=["key"]).test_client()


@pytest.mark.parametrize("path", sorted(OPEN_PATHS))
def test_all_of_it_is_open_and_guarded(client: FlaskClient, path: str) -> None:
    for response in (client.get(path), client.head(path)):
        assert response.status_code == 200
        assert response.headers["X-Content-Type-Options"] == "nosniff"
        assert response.headers["Cache-Control"] == "no-cache"
        policy = dict(part.split(" ", 1) for part in response.headers["Content-Security-Policy"].split("; "))
        assert policy["default-src"] == policy["frame-ancestors"] == policy["form-action"] == "'none'"
        assert policy["script-src"] == policy["style-src"] == policy["connect-src"] == "'self'"


def test_a_browser_knows_what_each_file_is(client: FlaskClient) -> None:
    kinds = {path: client.get(path).mimetype for path in OPEN_PATHS}
    assert kinds["/docs"] == "text/html"
    scripts = {kind for path, kind in kinds.items() if path.endswith(".js")}
    assert scripts <= {"text/javascript", "application/javascript"}
    assert {kind for path, kind in kinds.items() if path.endswith(".css")} == {"text/css"}


@pytest.mark.parametrize("path", sorted(OPEN_PATHS))
def test_what_a_browser_has_is_not_sent_again(client: FlaskClient, path: str) -> None:
    tag = client.get(path).headers["ETag"]
    again = client.get(path, headers={"If-None-Match": tag})
    assert (again.status_code, again.data) == (304, b"")


def test_the_page_has_all_its_parts_by_relative_addresses_and_no_script_of_its_own(client: FlaskClient) -> None:
    page = client.get("/docs").text
    links = re.findall(r'(?:src|href)="([^"]*)"', page)
    assert set(links) == {*(f"docs/{name}" for name in ASSETS), "openapi.json"}
    assert re.findall(r"<script[^>]*>(.*?)</script>", page, re.DOTALL) == ["", ""]
    assert not re.search(r"<style| style=| on\w+=", page)


@pytest.mark.parametrize("path", ["/docs/", "/docs/docs.html", "/docs/../health", "/docs/%2e%2e/gate.py", "/docs/x"])
def test_nothing_else_is_open(client: FlaskClient, path: str) -> None:
    assert client.get(path).status_code == 401
    assert client.get(path, headers={"X-Api-Key": "key"}).status_code == 404


def test_it_is_read_and_nothing_else(client: FlaskClient) -> None:
    refused = client.post("/docs", json={})
    assert refused.status_code == 405
    assert "GET" in refused.headers["Allow"]
