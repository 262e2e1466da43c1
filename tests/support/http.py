"""The HTTP side of a test's database, and people who use it."""

import secrets
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

import httpx
import pytest

from tallystick.local.http_stack import DatabaseUrls, Exposed, HttpStack
from tests.support.servers import Database, throwaway_folder

TREE = Path(__file__).parents[2]
FUNCTIONS = TREE / "supabase" / "functions"


@dataclass(frozen=True)
class Person:
    """Somebody who signed up.

    Attributes:
        id: The user's id.
        email: The address.
        password: The password.
        token: The access token of the session that the sign-up opened.
    """

    id: UUID
    email: str
    password: str
    token: str


@dataclass(frozen=True)
class Http:
    """A running HTTP side, and somebody who can ask it plainly."""

    stack: HttpStack
    database: Database
    caller: httpx.Client

    @property
    def url(self) -> str:
        """The address, without a slash at the end."""
        return self.stack.url

    @property
    def publishable_key(self) -> str:
        """The key of pages and apps."""
        return self.stack.publishable_key

    @property
    def secret_key(self) -> str:
        """The key of servers."""
        return self.stack.secret_key

    @property
    def jwt_secret(self) -> str:
        """What signs tokens."""
        return self.stack.jwt_secret

    def headers(self, who: "Person | str | None" = None) -> dict[str, str]:
        """Return the headers of a person, of a key, or of a page nobody has signed in to."""
        if isinstance(who, Person):
            return {"apikey": self.publishable_key, "authorization": f"Bearer {who.token}"}
        return {"apikey": who or self.publishable_key}

    def wait(self) -> None:
        """Wait until it has noticed that its database was made anew."""
        for _ in range(100):
            url = f"{self.url}/rest/v1/tallystick_errors?limit=1"
            answer = self.caller.get(url, headers=self.headers(self.secret_key))
            if answer.status_code == 200:
                return
            time.sleep(0.05)
        raise AssertionError(answer.text)

    def sign_up(self, email: str | None = None) -> Person:
        """Sign somebody up, over HTTP."""
        password = secrets.token_urlsafe(12)
        email = email or f"{uuid4().hex}@example.org"
        answer = self.caller.post(
            f"{self.url}/auth/v1/signup",
            headers=self.headers(),
            json={"email": email, "password": password},
        )
        assert answer.status_code == 200, answer.text
        session: dict[str, Any] = answer.json()
        return Person(UUID(session["user"]["id"]), email, password, session["access_token"])


@contextmanager
def http_stack(
    database: Database,
    functions: Path | None = None,
    functions_environment: Mapping[str, str] | None = None,
    exposed: Exposed | None = None,
) -> Iterator[Http]:
    """Lend the HTTP side of a database; packages are kept in the tree's cache."""
    urls = DatabaseUrls(
        api=database.url("authenticator"),
        auth=database.url("supabase_auth_admin"),
        catalog=database.url(),
    )
    with throwaway_folder() as folder, pytest.MonkeyPatch.context() as patch:
        patch.setenv("TALLYSTICK_CACHE", str(TREE / ".cache"))
        stack = HttpStack(
            folder,
            urls,
            functions=functions,
            functions_environment=functions_environment,
            exposed=exposed,
        )
        try:
            stack.start()
            with httpx.Client() as caller:
                yield Http(stack, database, caller)
        finally:
            stack.stop()
