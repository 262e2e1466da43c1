"""The walk with each client that a Python program has; test_supabase_js.py takes it as well."""

from collections.abc import Mapping
from typing import Any

import pytest
from postgrest.exceptions import APIError

import supabase
from tallystick import TallystickError
from tallystick.calls import Call
from tallystick.transports import exact_json
from tallystick.transports.supabase import SupabaseTransport
from tests.http.walk import Outcome, Step, walk
from tests.support.http import Http, Person


class PlainHttp:
    """Nothing but requests; numbers are read exactly."""

    def __init__(self, http: Http, people: Mapping[str, Person]) -> None:
        self._http = http
        self._headers = {
            **{name: http.headers(person) for name, person in people.items()},
            "server": http.headers(http.secret_key),
            "anon": http.headers(),
        }

    def ask(self, step: Step, arguments: Mapping[str, Any]) -> Outcome:
        profiles = {"accept-profile": step.schema, "content-profile": step.schema}
        headers = {**self._headers[step.who], **profiles}
        caller, url = self._http.caller, f"{self._http.url}/rest/v1"
        if step.columns is None:
            answer = caller.post(f"{url}/rpc/{step.name}", headers=headers, json=arguments)
        else:
            filters = {name: f"eq.{value}" for name, value in arguments.items()}
            query = {"select": step.columns, **filters}
            answer = caller.get(f"{url}/{step.name}", headers=headers, params=query)
        body = exact_json.loads(answer.content) if answer.content else None
        if answer.is_success:
            return Outcome(body, status=answer.status_code)
        assert isinstance(body, dict)
        return Outcome(code=body["code"], status=answer.status_code)


class SupabasePy:
    """supabase-py as it is: it makes floats of numbers, so only text keeps twelve decimals."""

    def __init__(self, http: Http, people: Mapping[str, Person]) -> None:
        self.clients = {
            name: supabase.create_client(http.url, key)
            for name, key in {
                **dict.fromkeys(people, http.publishable_key),
                "server": http.secret_key,
                "anon": http.publishable_key,
            }.items()
        }
        for name, person in people.items():
            self.clients[name].auth.sign_in_with_password(
                {"email": person.email, "password": person.password}
            )

    def ask(self, step: Step, arguments: Mapping[str, Any]) -> Outcome:
        schema = self.clients[step.who].schema(step.schema)
        request: Any
        if step.columns is None:
            request = schema.rpc(step.name, dict(arguments))
        else:
            request = schema.from_(step.name).select(step.columns)
            for name, value in arguments.items():
                request = request.eq(name, value)
        try:
            return Outcome(request.execute().data)
        except APIError as error:
            return Outcome(code=error.code)

    def close(self) -> None:
        for client in self.clients.values():
            client.postgrest.aclose()
            client.auth.close()


class OurTransport(SupabasePy):
    """Our client's transport over the same supabase-py clients: decimals, errors by class."""

    def ask(self, step: Step, arguments: Mapping[str, Any]) -> Outcome:
        if step.columns is not None:
            return super().ask(step, arguments)
        transport = SupabaseTransport(self.clients[step.who])
        call: Call[Any] = Call(step.schema, step.name, dict(arguments), lambda rows: rows)
        try:
            rows = transport.run(call)
        except TallystickError as error:
            return Outcome(code=error.code)
        assert not _has_float(rows)
        is_set = step.name == "verify_integrity"
        return Outcome(rows if is_set else rows[0])


def _has_float(value: Any) -> bool:
    if isinstance(value, Mapping):
        return any(map(_has_float, value.values()))
    if isinstance(value, list):
        return any(map(_has_float, value))
    return isinstance(value, float)


@pytest.fixture
def people(http: Http) -> dict[str, Person]:
    return {"ada": http.sign_up(), "bob": http.sign_up()}


def test_with_plain_http(http: Http, people: dict[str, Person]) -> None:
    assert walk(PlainHttp(http, people)) > 30


@pytest.mark.parametrize("kind", [SupabasePy, OurTransport])
def test_with_supabase_py(http: Http, people: dict[str, Person], kind: type[SupabasePy]) -> None:
    way = kind(http, people)
    try:
        assert walk(way) > 30
    finally:
        way.close()
