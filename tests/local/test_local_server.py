"""The local server keeps its data and its address whatever happens around it."""

import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import psutil
import psycopg
import pytest

from tallystick.local import LocalServer, LocalServerError, default_state, find_engine
from tallystick.local.system_user import server_user
from tests.support.servers import throwaway_folder


@pytest.fixture
def state() -> Iterator[Path]:
    """A state folder; whatever runs in it is stopped afterwards."""
    with throwaway_folder() as folder:
        state = folder / "state"
        yield state
        LocalServer(state).stop()


@pytest.fixture
def server(state: Path) -> LocalServer:
    """A running server; not a durable one, which would only make the tests slower."""
    server = LocalServer(state, durable=False)
    server.start()
    return server


def ask(server: LocalServer, question: str, user: str = "postgres") -> object:
    with psycopg.connect(server.url(user=user)) as connection:
        row = connection.execute(question).fetchone()
    assert row is not None
    return row[0]


def write_a_row(server: LocalServer) -> None:
    with psycopg.connect(server.url()) as connection:
        connection.execute("create table public.kept as select 42 as value")


def postmaster(server: LocalServer) -> psutil.Process:
    pid_file = server.state / "data" / "postmaster.pid"
    return psutil.Process(int(pid_file.read_text().splitlines()[0]))


def test_it_looks_like_a_supabase_project(server: LocalServer) -> None:
    assert ask(server, "select current_setting('is_superuser')") == "off"
    assert ask(server, "select current_setting('is_superuser')", "supabase_admin") == "on"
    assert ask(server, "select auth.uid()") is None
    assert ask(server, "select pg_has_role('postgres', 'service_role', 'set')") is True
    public = "select count(*) from pg_default_acl where defaclnamespace = 'public'::regnamespace"
    assert ask(server, public) == 3


def test_it_is_durable_and_listens_to_this_machine_only(state: Path) -> None:
    server = LocalServer(state)
    server.start()
    settings = ("fsync", "synchronous_commit", "full_page_writes")
    assert [ask(server, f"show {name}") for name in settings] == ["on"] * 3
    assert ask(server, "show listen_addresses") == "127.0.0.1"
    assert ask(server, "show unix_socket_directories") == ""


def test_it_wants_the_password(server: LocalServer) -> None:
    url = server.url().replace(server.password, "wrong")
    assert ask(server, "select 1") == 1
    with pytest.raises(psycopg.OperationalError):
        psycopg.connect(url)


def test_its_secrets_are_readable_by_nobody_else(server: LocalServer) -> None:
    modes = {name: (server.state / name).stat().st_mode & 0o077 for name in ("server.json", "data")}
    assert modes == {"server.json": 0, "data": 0}
    assert not (server.state / "initdb.password").exists()


def test_it_never_runs_as_root(server: LocalServer) -> None:
    assert postmaster(server).uids().effective != 0


def test_data_and_address_survive_a_restart(server: LocalServer) -> None:
    write_a_row(server)
    url = server.url()
    server.stop()
    assert not server.is_running
    again = LocalServer(server.state)
    again.start()
    assert again.url() == url
    assert ask(again, "select value from public.kept") == 42


def test_a_version_that_is_not_installed_leaves_the_folder_as_it_was(state: Path) -> None:
    with pytest.raises(LocalServerError):
        LocalServer(state, 99, durable=False).start()
    server = LocalServer(state, durable=False)
    server.start()
    assert server.major == 18


def test_data_survive_a_kill(state: Path) -> None:
    server = LocalServer(state)
    server.start()
    write_a_row(server)
    process = postmaster(server)
    everyone = [process, *process.children()]
    process.send_signal(signal.SIGKILL)
    psutil.wait_procs(everyone, timeout=30)
    assert not server.is_running
    server.start()
    assert ask(server, "select value from public.kept") == 42


def test_a_pid_file_from_before_a_reboot_is_no_obstacle(server: LocalServer) -> None:
    server.stop()
    # The number now belongs to a living process that is not Postgres: this one.
    pid_file = server.state / "data" / "postmaster.pid"
    lines = [os.getpid(), server.state / "data", 1, server.port, "", "127.0.0.1", 1, "ready"]
    pid_file.write_text("\n".join(map(str, lines)) + "\n")
    assert not server.is_running
    server.start()
    assert postmaster(server).pid != os.getpid()
    assert ask(server, "select 1") == 1


def test_an_empty_pid_file_is_no_obstacle(server: LocalServer) -> None:
    server.stop()
    (server.state / "data" / "postmaster.pid").touch()
    server.start()
    assert ask(server, "select 1") == 1


def test_a_taken_port_is_exchanged_and_the_new_one_kept(server: LocalServer) -> None:
    taken = server.port
    server.stop()
    with socket.socket() as intruder:
        intruder.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        intruder.bind(("127.0.0.1", taken))
        intruder.listen()
        server.start()
        assert server.port != taken
        assert ask(server, "select 1") == 1
    exchanged = server.port
    server.stop()
    server.start()
    assert server.port == exchanged


def test_starting_and_stopping_twice_does_nothing(server: LocalServer) -> None:
    process = postmaster(server)
    server.start()
    assert postmaster(server).pid == process.pid
    server.stop()
    server.stop()
    assert not server.is_running


def test_two_starts_at_once_make_one_server(state: Path) -> None:
    script = "from tallystick.local import LocalServer; LocalServer().start()"
    environment = {**os.environ, "TALLYSTICK_STATE": str(state)}
    rivals = [subprocess.Popen([sys.executable, "-c", script], env=environment) for _ in range(2)]
    assert [rival.wait() for rival in rivals] == [0, 0]
    assert ask(LocalServer(state), "select 1") == 1


def test_an_interrupted_first_start_is_begun_again(state: Path) -> None:
    (state / "data.unfinished" / "base").mkdir(parents=True)
    LocalServer(state).start()
    assert not (state / "data.unfinished").exists()


def test_a_folder_keeps_its_major(server: LocalServer) -> None:
    assert server.major == 18
    with pytest.raises(LocalServerError, match="holds a Postgres 18 server, not 16"):
        LocalServer(server.state, 16).start()


def test_a_start_that_fails_quotes_the_log(server: LocalServer) -> None:
    server.stop()
    with (server.state / "data" / "postgresql.conf").open("a") as settings:
        settings.write("no_such_setting = 1\n")
    with pytest.raises(LocalServerError, match='unrecognized configuration parameter "no_such'):
        server.start()


def test_a_long_log_is_put_aside(server: LocalServer) -> None:
    server.stop()
    os.truncate(server.log_file, 10_000_001)
    server.start()
    assert server.log_file.stat().st_size < 10_000_000
    assert (server.log_file.parent / "postgres.log.1").stat().st_size > 10_000_000


def test_a_server_never_started_has_no_address(state: Path) -> None:
    with pytest.raises(LocalServerError, match="tallystick up"):
        LocalServer(state).url()


def test_a_version_that_is_not_here_is_named_with_the_way_to_get_it() -> None:
    with pytest.raises(LocalServerError, match="apt-get install postgresql-9"):
        find_engine(9)


def test_root_lends_postgres_another_user(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    user = server_user()
    assert user.name in {"postgres", "nobody"}
    assert user.uid > 0


def test_an_ordinary_user_runs_postgres_itself(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    assert server_user().name is None


def test_the_state_folder_is_the_chosen_one_else_the_platforms(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("TALLYSTICK_STATE", str(tmp_path))
    assert default_state() == tmp_path
    monkeypatch.delenv("TALLYSTICK_STATE")
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    assert default_state() == Path("/var/lib/tallystick")
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    assert default_state().is_relative_to(Path.home())


@pytest.mark.parametrize("major", [16, 18])
def test_a_copied_engine_is_open_to_other_users_whatever_the_umask(
    tmp_path: Path, major: int
) -> None:
    previous = os.umask(0o077)
    try:
        engine = find_engine(major).copied_to(tmp_path / "engine")
    finally:
        os.umask(previous)
    assert engine.bin.is_relative_to(tmp_path)
    closed = [path for path in engine.bin.parent.rglob("*") if path.stat().st_mode & 0o044 != 0o044]
    assert closed == []
    assert engine.copied_to(tmp_path / "engine") == engine
