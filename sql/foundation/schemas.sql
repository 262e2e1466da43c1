-- The rooms of the product. A schema is a room: a qualified name says which one a line reaches.
--
-- Every function pins its search path to pg_catalog, pg_temp and qualifies all else. An empty path
-- is not enough: PostgreSQL then looks for types in pg_temp first, and a caller's own domain named
-- uuid would run its check with the rights of a security definer function.
do $$
declare
  v_room record;
begin
  for v_room in
    select *
    from (
      values
      ('private', 'machinery: clock, checks, guards, predicates. Never exposed over HTTP.'),
      ('tenancy', 'who a spend belongs to: organizations, memberships, profiles, ventures.'),
      ('pricing', 'what models cost: dated prices, their names, contracts. Read only over HTTP.'),
      ('metering', 'the hot path: workflows, budgets and their slots, keys, rollups.'),
      ('billing', 'what is paid in advance: credits, runs, their calls and what they cost.'),
      ('accounting', 'the books: accounts, double entry, periods, approvals.'),
      ('audit', 'proof that the books agree. Read only over HTTP.')
    ) as rooms (name, purpose)
  loop
    if to_regnamespace(v_room.name) is null then
      execute format('create schema %I', v_room.name);
      execute format('comment on schema %I is %L', v_room.name, 'Tallystick ' || v_room.purpose);
    else
      raise warning 'schema % is there already and will be shared', v_room.name using
        detail = 'Signed-in users and server roles receive USAGE on it.',
        hint = 'Revoke EXECUTE from PUBLIC on functions of yours in it that they must not call.';
    end if;
  end loop;
end
$$;
