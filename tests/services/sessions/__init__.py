import pytest

pytest.register_assert_rewrite("tests.services.sessions.contract", "tests.services.sessions.model")
