"""The run tests the version it claims to test."""

from tests.support.servers import Server, claimed_major


def test_the_server_is_the_major_this_run_claims(server: Server) -> None:
    assert server.major == (claimed_major() or server.major)
    assert 15 <= server.major <= 18
