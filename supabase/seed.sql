-- One organization with one workflow, to try things on. `supabase db reset` and
-- `supabase db push --include-seed` load it; it may be loaded again.
insert into tenancy.organizations (id, name)
values ('5eed0000-0000-4000-8000-000000000000', 'Example')
on conflict (id) do nothing;

insert into metering.workflows (organization_id, id, workflow_data)
values (
  '5eed0000-0000-4000-8000-000000000000', '5eed0000-0000-4000-8000-000000000001',
  '{"purpose": "example"}'
)
on conflict (organization_id, id) do nothing;
