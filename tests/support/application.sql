-- An application that was there first: its own profiles, organizations and accounts in public.
create table public.profiles (
  id uuid primary key default gen_random_uuid(),
  display_name text not null
);

create table public.organizations (
  id bigint generated always as identity primary key,
  name text not null unique
);

create table public.accounts (
  id bigint generated always as identity primary key,
  organization_id bigint not null references public.organizations (id) on delete cascade,
  profile_id uuid references public.profiles (id) on delete set null
);

create index accounts_organization_id_idx on public.accounts (organization_id);
create index accounts_profile_id_idx on public.accounts (profile_id);

alter table public.profiles enable row level security;
alter table public.organizations enable row level security;
alter table public.accounts enable row level security;

create policy profiles_select_own on public.profiles
for select to authenticated using (id = (select auth.uid()));
create policy organizations_select_all on public.organizations
for select to authenticated using (true);
create policy accounts_select_own on public.accounts
for select to authenticated using (profile_id = (select auth.uid()));

revoke all on public.profiles, public.organizations, public.accounts
from anon, authenticated, service_role;
grant select on public.profiles, public.accounts to authenticated;
grant select on public.organizations to anon, authenticated;
grant select, insert, update, delete on public.accounts to service_role;

insert into public.profiles (id, display_name)
values ('11111111-1111-4111-8111-111111111111', 'Ada');
insert into public.organizations (name) values ('Analytical Engines');
insert into public.accounts (organization_id, profile_id)
values (1, '11111111-1111-4111-8111-111111111111');
