/** What the database says of its functions, roles and time zones; read once, until it changes. */

import type { Sql } from "postgres";

export interface Parameter {
  name: string;
  type: string;
  isRequired: boolean;
  isVariadic: boolean;
}

export interface DatabaseFunction {
  schema: string;
  name: string;
  /** Whether it may write; others run read-only. */
  isVolatile: boolean;
  returnsSet: boolean;
  /** A composite is answered as an object, a scalar as its value, void as 204. */
  returns: "composite" | "scalar" | "void";
  parameters: Parameter[];
  /** Column name to type, of a composite result. */
  columns: Record<string, string>;
  /** Settings of its own that have to be there before it starts, such as statement_timeout. */
  settings: [string, string][];
}

export interface Catalog {
  /** The functions of a name in a schema; several where it is overloaded. */
  functions(schema: string, name: string): DatabaseFunction[];
  /** What `alter role … set` gives a role; `set role` alone does not. */
  settingsOf(role: string): [string, string][];
  timeZones: ReadonlySet<string>;
}

const FUNCTIONS = `
select
  n.nspname as schema,
  p.proname as name,
  p.provolatile = 'v' as "isVolatile",
  p.proretset as "returnsSet",
  case
    when t.typname = 'void' then 'void'
    when 'c' in (t.typtype, b.typtype) or p.proargmodes::text[] && '{o,b,t}' then 'composite'
    else 'scalar'
  end as returns,
  coalesce(i.parameters, '[]') as parameters,
  coalesce(o.columns, a.columns, '{}') as columns,
  coalesce(s.settings, '[]') as settings
from pg_catalog.pg_proc as p
inner join pg_catalog.pg_namespace as n on n.oid = p.pronamespace
inner join pg_catalog.pg_type as t on t.oid = p.prorettype
left join pg_catalog.pg_type as b on b.oid = t.typbasetype
cross join lateral (
  select json_agg(
    json_build_object(
      'name', coalesce(p.proargnames[u.place], ''),
      'type', format_type(u.type, null),
      'isRequired', u.number <= p.pronargs - p.pronargdefaults,
      'isVariadic', u.mode = 'v'
    ) order by u.number
  ) as parameters
  from (
    select e.type, e.place, e.mode, row_number() over (order by e.place) as number
    from (
      select x.type, x.place, coalesce(p.proargmodes[x.place], 'i') as mode
      from unnest(coalesce(p.proallargtypes, p.proargtypes::oid[])) with ordinality as x (type, place)
    ) as e
    where e.mode in ('i', 'b', 'v')
  ) as u
) as i
cross join lateral (
  select json_object_agg(p.proargnames[x.place], format_type(x.type, null)) as columns
  from unnest(p.proallargtypes) with ordinality as x (type, place)
  where p.proargmodes[x.place] in ('o', 'b', 't')
) as o
cross join lateral (
  select json_object_agg(c.attname, format_type(c.atttypid, null)) as columns
  from pg_catalog.pg_attribute as c
  where c.attrelid = coalesce(nullif(t.typrelid, 0), b.typrelid)
    and c.attnum > 0 and not c.attisdropped
) as a
cross join lateral (
  select json_agg(json_build_array(split_part(c, '=', 1), substr(c, strpos(c, '=') + 1))) as settings
  from unnest(p.proconfig) as c
  where split_part(c, '=', 1) in ('statement_timeout', 'default_transaction_isolation')
) as s
where n.nspname in (select json_array_elements_text($1::text::json)) and p.prokind = 'f'`;

const ROLE_SETTINGS = `
select r.rolname as role, split_part(c, '=', 1) as name, substr(c, strpos(c, '=') + 1) as value
from pg_catalog.pg_db_role_setting as s
inner join pg_catalog.pg_roles as r on r.oid = s.setrole
cross join lateral unnest(s.setconfig) as c
inner join pg_catalog.pg_settings as p on p.name = split_part(c, '=', 1) and p.context = 'user'
where s.setdatabase in (0, (select oid from pg_catalog.pg_database where datname = current_database()))
  and p.name not in ('role', 'search_path', 'session_authorization')
order by s.setdatabase`;

const TIME_ZONES = "select name from pg_catalog.pg_timezone_names";

/** Keeps the catalog of the exposed schemas until `forget` is called. */
export class CatalogCache {
  #loading: Promise<Catalog> | null = null;

  constructor(readonly sql: Sql, readonly schemas: readonly string[]) {}

  load(): Promise<Catalog> {
    this.#loading ??= readCatalog(this.sql, this.schemas).catch((error) => {
      this.forget(); // so that the next request tries again
      throw error;
    });
    return this.#loading;
  }

  forget(): void {
    this.#loading = null;
  }
}

async function readCatalog(sql: Sql, schemas: readonly string[]): Promise<Catalog> {
  const [functions, settings, zones] = await Promise.all([
    sql.unsafe<DatabaseFunction[]>(FUNCTIONS, [JSON.stringify(schemas)]),
    sql.unsafe<{ role: string; name: string; value: string }[]>(ROLE_SETTINGS),
    sql.unsafe<{ name: string }[]>(TIME_ZONES),
  ]);
  const byName = Map.groupBy(functions, (found) => `${found.schema}.${found.name}`);
  const byRole = Map.groupBy(settings, (setting) => setting.role);
  return {
    functions: (schema, name) => byName.get(`${schema}.${name}`) ?? [],
    settingsOf: (role) => (byRole.get(role) ?? []).map(({ name, value }) => [name, value]),
    timeZones: new Set(zones.map((zone) => zone.name)),
  };
}
