"""The request's id in log lines."""

import logging
from contextvars import Context

from services.tracing import RequestIdFilter, request_id


def test_every_record_has_the_id_of_its_request() -> None:
    def seen(current: str) -> str:
        record = logging.LogRecord("x", logging.INFO, __file__, 1, "hello", None, None)
        request_id.set(current)
        assert RequestIdFilter().filter(record)
        return record.request_id  # type: ignore[attr-defined, no-any-return]

    assert Context().run(seen, "r-1") == "r-1"
    assert Context().run(seen, "") == "-"
