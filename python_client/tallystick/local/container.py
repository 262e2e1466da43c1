"""Supabase's own Postgres in a Docker container, for those who ask for it."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

from tallystick.local.errors import LocalServerError

IMAGE: Final = "supabase/postgres:17.6.1.167"


@contextmanager
def supabase_container() -> Iterator[str]:
    """Lend the URL of a server in a container, which is removed afterwards.

    Raises:
        LocalServerError: testcontainers is not installed, or Docker does not run.
    """
    try:
        import docker  # type: ignore[import-untyped]  # comes with testcontainers
        from testcontainers.core.container import DockerContainer
        from testcontainers.core.wait_strategies import LogMessageWaitStrategy
    except ImportError as error:
        raise LocalServerError(
            "TALLYSTICK_STACK=docker needs testcontainers: pip install 'tallystick[dev]'."
        ) from error
    try:
        docker.from_env(timeout=5).close()
    except docker.errors.DockerException as error:
        raise LocalServerError(
            f"TALLYSTICK_STACK=docker needs a running Docker: {error}"
        ) from error
    ready = LogMessageWaitStrategy("database system is ready to accept connections", times=2)
    container = DockerContainer(IMAGE).with_env("POSTGRES_PASSWORD", "postgres")
    with container.with_exposed_ports(5432).waiting_for(ready) as running:
        host, port = running.get_container_host_ip(), running.get_exposed_port(5432)
        yield f"postgresql://postgres:postgres@{host}:{port}/postgres"
