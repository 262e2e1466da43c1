"""Taking Tallystick out of a database again, as a whole and without a trace.

What is ours is told by the migrations (what they name), by comments (schemas and roles that they
created say so) and, in schemas that are not ours alone, by what else sets ours apart: grants to our
roles, the search path that every function of ours pins. What somebody else made in a schema of ours
is not ours.
"""

import re
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any, LiteralString

import psycopg
from psycopg import sql

from tallystick import migrations

_CREATED = re.compile(
    r"^\s*create (?:or replace )?(?P<kind>table|view|function|type|domain)\s+"
    r"(?P<schema>\w+)\.(?P<name>\w+)",
    re.MULTILINE,
)
_NAMED = re.compile(r"\b(?P<schema>\w+)\.(?P<name>\w+)")

_SCHEMAS = """
select nspname::text from pg_catalog.pg_namespace
where nspname = any(%s) and obj_description(oid, 'pg_namespace') like 'Tallystick %%'
order by 1
"""

# In schemas that are not ours alone: what has a name of ours and is granted to a role of ours; the
# views that the migrations make in a loop are told by what they read.
_RELATIONS = """
with recursive named as (
  select c.oid
  from pg_catalog.pg_class as c
  inner join pg_catalog.pg_namespace as n on n.oid = c.relnamespace
  where n.nspname || '.' || c.relname = any(%(names)s)
    and c.relkind in ('r', 'p', 'v')
    and c.relacl::text ~ 'tallystick_(reader|writer)='
  union
  select r.ev_class
  from named as o
  inner join pg_catalog.pg_depend as d
    on d.refclassid = 'pg_class'::regclass and d.refobjid = o.oid
  inner join pg_catalog.pg_rewrite as r
    on d.classid = 'pg_rewrite'::regclass and r.oid = d.objid
  inner join pg_catalog.pg_class as c on c.oid = r.ev_class
  where c.relacl::text ~ 'tallystick_reader='
)
select c.oid, c.relkind::text, n.nspname::text, c.relname::text
from pg_catalog.pg_class as c
inner join pg_catalog.pg_namespace as n on n.oid = c.relnamespace
where c.oid in (select oid from named) and n.nspname <> all(%(schemas)s)
order by 3, 4
"""

_FUNCTIONS = """
select p.oid, p.oid::regprocedure::text, n.nspname::text
from pg_catalog.pg_proc as p
inner join pg_catalog.pg_namespace as n on n.oid = p.pronamespace
where n.nspname || '.' || p.proname = any(%(names)s)
  and n.nspname <> all(%(schemas)s)
  and p.proconfig @> array['search_path=pg_catalog, pg_temp']
order by 2
"""

_TYPES = """
select t.oid, format('%%I.%%I', n.nspname, t.typname), t.typtype = 'd'
from pg_catalog.pg_type as t
inner join pg_catalog.pg_namespace as n on n.oid = t.typnamespace
where n.nspname || '.' || t.typname = any(%(names)s)
  and n.nspname <> all(%(schemas)s)
  and (t.typtype = 'd' or t.typrelid in (select oid from pg_catalog.pg_class where relkind = 'c'))
order by 2
"""

_ROLES = """
select rolname::text from pg_catalog.pg_roles
where shobj_description(oid, 'pg_authid') like 'Tallystick: %%'
order by 1
"""

# Everything that somebody could have made to depend on ours or in a schema of ours, except what
# belongs to ours: partitions and sequences have names that no migration says.
_OTHERS = """
with recursive ours as (
  select c.oid from pg_catalog.pg_class as c
  inner join pg_catalog.pg_namespace as n on n.oid = c.relnamespace
  where n.nspname = any(%(schemas)s) and n.nspname || '.' || c.relname = any(%(names)s)
  union
  select unnest(%(relations)s::oid [])
  union
  select d.objid
  from ours as o
  inner join pg_catalog.pg_depend as d
    on d.refclassid = 'pg_class'::regclass and d.refobjid = o.oid and d.deptype in ('a', 'i')
  inner join pg_catalog.pg_class as c on d.classid = 'pg_class'::regclass and c.oid = d.objid
  where c.relispartition or c.relkind = 'S'
),
others as (
  select c.oid, c.oid::regclass::text as name from pg_catalog.pg_class as c
  where c.relkind in ('r', 'p', 'v', 'm', 'f', 'S') and c.oid not in (select oid from ours)
    and c.relpersistence <> 't'
)
select 'relation', o.oid, 0, o.name from others as o
union all
select 'column', o.oid, a.attnum, o.name || '.' || a.attname
from others as o inner join pg_catalog.pg_attribute as a on a.attrelid = o.oid
where a.attnum > 0 and not a.attisdropped
union all
select 'default', d.oid, 0, o.name || ' default'
from others as o inner join pg_catalog.pg_attrdef as d on d.adrelid = o.oid
union all
select 'constraint', c.oid, 0, c.conname || ' on ' || o.name
from others as o inner join pg_catalog.pg_constraint as c on c.conrelid = o.oid
union all
select 'trigger', t.oid, 0, t.tgname || ' on ' || o.name
from others as o inner join pg_catalog.pg_trigger as t on t.tgrelid = o.oid
where not t.tgisinternal
union all
select 'policy', p.oid, 0, p.polname || ' on ' || o.name
from others as o inner join pg_catalog.pg_policy as p on p.polrelid = o.oid
union all
select 'index', i.indexrelid, 0, i.indexrelid::regclass::text
from others as o inner join pg_catalog.pg_index as i on i.indrelid = o.oid
union all
select 'function', p.oid, 0, p.oid::regprocedure::text from pg_catalog.pg_proc as p
inner join pg_catalog.pg_namespace as n on n.oid = p.pronamespace
where p.oid <> all(%(functions)s::oid []) and (
  n.nspname <> all(%(schemas)s) or n.nspname || '.' || p.proname <> all(%(names)s)
  or p.proconfig @> array['search_path=pg_catalog, pg_temp'] is not true
)
union all
select 'type', t.oid, 0, t.oid::regtype::text from pg_catalog.pg_type as t
inner join pg_catalog.pg_namespace as n on n.oid = t.typnamespace
where t.oid <> all(%(types)s::oid []) and t.typelem = 0
  and (t.typrelid = 0 or t.typrelid in (select oid from pg_catalog.pg_class where relkind = 'c'))
  and (n.nspname <> all(%(schemas)s) or n.nspname || '.' || t.typname <> all(%(names)s))
"""


class StillNeeded(Exception):  # noqa: N818 - named after what happened
    """Something of the application depends on Tallystick, or is in its schemas; it says what."""


@dataclass(frozen=True, slots=True)
class Removal:
    """What is removed, by name.

    Attributes:
        schemas: Schemas, with all that is in them.
        objects: Tables, views, functions and types in other schemas.
        migrations: Rows of the history of migrations.
        jobs: Jobs of pg_cron.
        roles: Roles.
        kept_roles: Roles of ours that stay, because another database of the server needs them.
    """

    schemas: tuple[str, ...]
    objects: tuple[str, ...]
    migrations: tuple[str, ...]
    jobs: tuple[str, ...]
    roles: tuple[str, ...]
    kept_roles: tuple[str, ...]

    @property
    def is_empty(self) -> bool:
        """Whether nothing of ours was there."""
        return not (self.schemas or self.objects or self.migrations or self.jobs or self.roles)


@dataclass(frozen=True, slots=True)
class _Ours:
    """What was found, by object id where it is not in a schema of ours, there by name."""

    schemas: tuple[str, ...]
    names: tuple[str, ...] = field(default=())
    relations: tuple[tuple[int, str, str, str], ...] = field(default=())
    functions: tuple[tuple[int, str, str], ...] = field(default=())
    types: tuple[tuple[int, str, bool], ...] = field(default=())


def uninstall(url: str, *, keep: bool = False) -> Removal:
    """Remove everything Tallystick has brought into a database, all ledgers included.

    It is one transaction: all of it, or nothing.

    Args:
        url: The database, as the role that owns the schema.
        keep: Only tell what would be removed, and whether something depends on it.

    Raises:
        StillNeeded: Something that is not ours depends on it, or is in a schema that would be
            removed; nothing is.
        psycopg.OperationalError: The database cannot be reached.
    """
    with psycopg.connect(url) as connection:
        connection.execute("set client_min_messages = warning")  # "drop cascades to" is no news
        connection.execute("set search_path = ''")  # so that every name is written in full
        removal = _remove(connection)
        if keep:
            connection.rollback()
    return removal


def _remove(connection: psycopg.Connection) -> Removal:
    names = _names()
    ours = _find(connection, names)
    before = _others(connection, ours)
    jobs = _unschedule(connection)
    _drop(connection, ours)
    after = _others(connection, _Ours(()))
    lost = sorted(f"{kind} {name}" for key, (kind, name) in before.items() if key not in after)
    if lost:
        raise StillNeeded(
            "Something that is not Tallystick's depends on it, or is in one of its schemas. Remove "
            "that first, or move it elsewhere: " + "; ".join(lost)
        )
    history = _forget(connection)
    roles, kept_roles = _drop_roles(connection, names)
    return Removal(
        schemas=ours.schemas,
        objects=(
            *(f"{schema}.{name}" for _, _, schema, name in ours.relations),
            *(signature for _, signature, _ in ours.functions),
            *(name for _, name, _ in ours.types),
        ),
        migrations=history,
        jobs=jobs,
        roles=roles,
        kept_roles=kept_roles,
    )


def _names() -> dict[str, list[str]]:
    """Return what the migrations create, by schema: qualified names."""
    found: dict[str, list[str]] = {}
    for migration in migrations.available():
        for match in _CREATED.finditer(migration.sql):
            found.setdefault(match["schema"], []).append(f"{match['schema']}.{match['name']}")
    return found


def _named(schemas: Iterable[str]) -> tuple[str, ...]:
    """Return all that the migrations name in schemas of ours; some views are made in a loop."""
    ours = frozenset(schemas)
    found = {
        match[0]
        for migration in migrations.available()
        for match in _NAMED.finditer(migration.sql)
        if match["schema"] in ours
    }
    return tuple(sorted(found))


def _find(connection: psycopg.Connection, names: dict[str, list[str]]) -> _Ours:
    schemas = [name for (name,) in connection.execute(_SCHEMAS, (list(names),))]
    all_names = [name for listed in names.values() for name in listed]

    def find(query: LiteralString) -> tuple[tuple[Any, ...], ...]:
        return tuple(connection.execute(query, {"names": all_names, "schemas": schemas}))

    return _Ours(tuple(schemas), _named(schemas), find(_RELATIONS), find(_FUNCTIONS), find(_TYPES))


def _others(connection: psycopg.Connection, ours: _Ours) -> dict[tuple[str, int, int], Any]:
    rows = connection.execute(
        _OTHERS,
        {
            "schemas": list(ours.schemas),
            "names": list(ours.names),
            "relations": [oid for oid, *_ in ours.relations],
            "functions": [oid for oid, *_ in ours.functions],
            "types": [oid for oid, *_ in ours.types],
        },
    )
    return {(kind, oid, part): (kind, name) for kind, oid, part, name in rows}


def _drop(connection: psycopg.Connection, ours: _Ours) -> None:
    for _, kind, schema, name in ours.relations:
        drop = "drop view if exists {} cascade" if kind == "v" else "drop table {} cascade"
        connection.execute(sql.SQL(drop).format(sql.Identifier(schema, name)))
    for schema in ours.schemas:
        connection.execute(sql.SQL("drop schema {} cascade").format(sql.Identifier(schema)))
    for oid, signature, _ in ours.functions:
        if _exists(connection, "pg_proc", oid):
            connection.execute(sql.SQL("drop function {} cascade").format(_verbatim(signature)))
    for oid, type_name, is_domain in ours.types:
        if _exists(connection, "pg_type", oid):
            drop = "drop domain {} cascade" if is_domain else "drop type {} cascade"
            connection.execute(sql.SQL(drop).format(_verbatim(type_name)))


def _exists(connection: psycopg.Connection, catalog: str, oid: int) -> bool:
    """Tell whether an object is still there: another one may have taken it along."""
    query = sql.SQL("select from pg_catalog.{} where oid = %s").format(sql.Identifier(catalog))
    return connection.execute(query, (oid,)).rowcount == 1


def _verbatim(text: str) -> sql.Composable:
    """Take over what Postgres wrote itself, quoted where it must be."""
    return sql.SQL(text)


def _unschedule(connection: psycopg.Connection) -> tuple[str, ...]:
    found = connection.execute("select to_regclass('cron.job') is not null").fetchone()
    if found != (True,):
        return ()
    rows = connection.execute(
        "select jobname::text, cron.unschedule(jobname) from cron.job"
        " where jobname like 'tallystick-%' order by 1"
    ).fetchall()
    return tuple(name for name, _ in rows)


def _forget(connection: psycopg.Connection) -> tuple[str, ...]:
    """Delete our rows of the history, and the history itself where none is left."""
    had = migrations.history(connection)
    ours = [m for m in migrations.available() if had.get(m.version) == m.name]
    if not ours:
        return ()
    connection.execute(
        "delete from supabase_migrations.schema_migrations where version = any(%s)",
        ([migration.version for migration in ours],),
    )
    if len(ours) == len(had):
        connection.execute("drop table supabase_migrations.schema_migrations")
        if not _has_content(connection, "supabase_migrations"):
            connection.execute("drop schema supabase_migrations")
    return tuple(map(str, ours))


def _has_content(connection: psycopg.Connection, schema: str) -> bool:
    query = """
    select from pg_catalog.pg_depend
    where refclassid = 'pg_namespace'::regclass and refobjid = %s::regnamespace limit 1
    """
    return connection.execute(query, (schema,)).rowcount > 0


def _drop_roles(
    connection: psycopg.Connection, schemas: Iterable[str]
) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Drop our roles; return which, and which another database of the server still needs."""
    roles = [name for (name,) in connection.execute(_ROLES)]
    there = [
        name
        for (name,) in connection.execute(
            "select nspname::text from pg_catalog.pg_namespace where nspname = any(%s)",
            (list(schemas),),
        )
    ]
    for role in roles:
        for schema in there:  # one that is shared stays, without them
            connection.execute(
                sql.SQL("revoke all on schema {} from {}").format(
                    sql.Identifier(schema), sql.Identifier(role)
                )
            )
    dropped, kept = [], []
    for role in roles:
        try:
            with connection.transaction():
                connection.execute(sql.SQL("drop role {}").format(sql.Identifier(role)))
            dropped.append(role)
        except (psycopg.errors.DependentObjectsStillExist, psycopg.errors.InsufficientPrivilege):
            kept.append(role)
    return tuple(dropped), tuple(kept)
