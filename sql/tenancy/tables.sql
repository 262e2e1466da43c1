-- Who a spend belongs to.

create table tenancy.organizations (
  id uuid not null default private.uuid_v7(),
  name text not null,
  time_zone text not null default 'UTC',
  frozen_at timestamptz,
  created_at timestamptz not null default private.clock_now(),
  constraint organizations_pkey primary key (id),
  constraint organizations_name_is_1_to_255_characters
  check (name ~ '\S' and length(name) <= 255),
  constraint organizations_time_zone_is_known check (private.is_time_zone(time_zone))
);

comment on table tenancy.organizations is
  'The tenant: whoever pays. Every tenant row carries its id.';
comment on column tenancy.organizations.id is 'Id of the organization.';
comment on column tenancy.organizations.name is 'Display name, 1 to 255 characters.';
comment on column tenancy.organizations.time_zone is
  'Time zone that decides where its days and months begin. Fixed once usage is recorded: a month '
  'that was counted is not cut anew.';
comment on column tenancy.organizations.frozen_at is
  'Since when every check refuses this organization; null when it may spend. What was already '
  'spent is recorded all the same.';
comment on column tenancy.organizations.created_at is 'When it was opened.';

create table tenancy.memberships (
  organization_id uuid not null,
  user_id uuid not null,
  role text not null default 'member',
  created_at timestamptz not null default private.clock_now(),
  constraint memberships_pkey primary key (organization_id, user_id),
  constraint memberships_organization_id_fkey
  foreign key (organization_id) references tenancy.organizations (id) on delete restrict,
  constraint memberships_role_is_known
  check (role in ('owner', 'admin', 'finance', 'member', 'viewer'))
);

create index memberships_user_id_idx on tenancy.memberships (user_id);

comment on table tenancy.memberships is 'Which person belongs to which organization, and as what.';
comment on column tenancy.memberships.organization_id is 'The organization.';
comment on column tenancy.memberships.user_id is
  'The person, as auth.uid() gives it. No foreign key: the ledger outlives the login.';
comment on column tenancy.memberships.role is
  'owner and admin manage members and budgets, finance reads and disputes, member spends, viewer '
  'reads.';
comment on column tenancy.memberships.created_at is 'When the person joined.';

create table tenancy.profiles (
  user_id uuid not null,
  display_name text not null,
  created_at timestamptz not null default private.clock_now(),
  updated_at timestamptz not null default private.clock_now(),
  constraint profiles_pkey primary key (user_id),
  constraint profiles_display_name_is_1_to_255_characters
  check (display_name ~ '\S' and length(display_name) <= 255)
);

create trigger profiles_touch_updated_at before update on tenancy.profiles
for each row execute function private.touch_updated_at();

comment on table tenancy.profiles is 'How a person is shown to the members of their organizations.';
comment on column tenancy.profiles.user_id is 'The person, as auth.uid() gives it.';
comment on column tenancy.profiles.display_name is 'Name shown in reports, 1 to 255 characters.';
comment on column tenancy.profiles.created_at is 'When the profile was made.';
comment on column tenancy.profiles.updated_at is 'When it was last changed.';

create table tenancy.ventures (
  organization_id uuid not null,
  id uuid not null default private.uuid_v7(),
  name text not null,
  created_at timestamptz not null default private.clock_now(),
  constraint ventures_pkey primary key (organization_id, id),
  constraint ventures_organization_id_fkey
  foreign key (organization_id) references tenancy.organizations (id) on delete restrict,
  constraint ventures_name_is_1_to_255_characters
  check (name ~ '\S' and length(name) <= 255)
);

-- A venture is looked up by its id alone; a non-unique index would let another tenant claim it.
create unique index ventures_id_idx on tenancy.ventures (id);

comment on table tenancy.ventures is
  'An undertaking inside an organization whose spend is told apart.';
comment on column tenancy.ventures.organization_id is 'The organization that pays.';
comment on column tenancy.ventures.id is 'Id of the venture.';
comment on column tenancy.ventures.name is 'Display name, 1 to 255 characters.';
comment on column tenancy.ventures.created_at is 'When it was opened.';
