/** The spend page: sign in, see what is spent, make a call and see what it cost. */

import { createClient, type Session } from "@supabase/supabase-js";
import type { Database } from "../../functions/_shared/database.ts";
import { Refused, streamAnswer } from "./calls.ts";
import { byId, element } from "./elements.ts";
import { type Client, type Organization, readOrganizations, readOverview } from "./ledger.ts";
import { clear, firstDay, show } from "./view.ts";

const REFRESH_MS = 5000;

interface Config {
  url: string;
  publishableKey: string;
}

const config: Config = await (await fetch("./config.json")).json();
const supabase: Client = createClient<Database>(config.url, config.publishableKey);
let organizations: Organization[] = [];
let session: Session | null = null;

supabase.auth.onAuthStateChange((_, changed) => {
  const isSame = session?.user.id === changed?.user.id;
  session = changed;
  if (!isSame) {
    // Not from within: the client is busy until this returns.
    setTimeout(changed ? enter : leave);
  }
});

byId("sign-in").addEventListener("submit", (event) => {
  event.preventDefault();
  void authenticate("signInWithPassword");
});
byId("sign-up").addEventListener("click", () => {
  if (byId<HTMLFormElement>("sign-in").reportValidity()) {
    void authenticate("signUp");
  }
});
byId("sign-out").addEventListener("click", () => void supabase.auth.signOut());
byId("organization").addEventListener("change", () => {
  clear();
  void refresh();
});
byId("open-organization").addEventListener("submit", (event) => {
  event.preventDefault();
  void openOrganization(byId<HTMLInputElement>("organization-name").value);
});
byId("call").addEventListener("submit", (event) => {
  event.preventDefault();
  void call();
});
setInterval(() => {
  if (session && !document.hidden) {
    void refresh();
  }
}, REFRESH_MS);

async function authenticate(how: "signInWithPassword" | "signUp"): Promise<void> {
  const credentials = {
    email: byId<HTMLInputElement>("email").value,
    password: byId<HTMLInputElement>("password").value,
  };
  const { data, error } = await supabase.auth[how](credentials);
  const waits = !error && !data.session ? "Confirm your address, then sign in." : "";
  byId("sign-in-error").textContent = error?.message ?? waits;
}

async function enter(): Promise<void> {
  byId("welcome").hidden = true;
  byId("who").textContent = session?.user.email ?? "";
  const entered = session?.user.id;
  try {
    await listOrganizations();
  } catch (error) {
    if (session?.user.id !== entered) {
      return;
    }
    // A session that is kept here may be none any more where it was made.
    await supabase.auth.signOut({ scope: "local" });
    session = null;
    leave();
    byId("sign-in-error").textContent = (error as Error).message;
  }
}

function leave(): void {
  organizations = [];
  byId("welcome").hidden = false;
  byId("account").hidden = true;
  byId("overview").hidden = true;
  byId("first-organization").hidden = true;
  for (const id of ["who", "organization", "organization-error", "answer", "problem", "updated"]) {
    byId(id).replaceChildren();
  }
  clear();
}

async function listOrganizations(): Promise<void> {
  const asking = session?.user.id;
  const found = await readOrganizations(supabase);
  if (session?.user.id !== asking) {
    return; // they are somebody else's by now
  }
  organizations = found;
  const select = byId<HTMLSelectElement>("organization");
  select.replaceChildren(
    ...organizations.map(({ id, name }) => element("option", { value: id }, name)),
  );
  byId("account").hidden = false;
  byId("overview").hidden = organizations.length === 0;
  byId("first-organization").hidden = organizations.length > 0;
  await refresh();
}

async function openOrganization(name: string): Promise<void> {
  const p_time_zone = Intl.DateTimeFormat().resolvedOptions().timeZone;
  const { error } = await supabase.schema("tenancy").rpc("create_organization", {
    p_name: name,
    p_time_zone,
  });
  byId("organization-error").textContent = error?.message ?? "";
  await listOrganizations();
}

function chosen(): Organization | undefined {
  const { value } = byId<HTMLSelectElement>("organization");
  return organizations.find(({ id }) => id === value);
}

let latest = 0;

/** Reads anew. Of two that overtake each other the later one is shown. */
async function refresh(): Promise<void> {
  const turn = ++latest;
  const organization = chosen();
  if (!organization) {
    return;
  }
  try {
    const since = firstDay(organization.time_zone);
    const overview = await readOverview(supabase, organization.id, since);
    if (turn === latest && chosen() === organization) {
      show(organization, overview);
      byId("updated").textContent = `Updated ${new Date().toLocaleTimeString()}`;
    }
  } catch (error) {
    byId("updated").textContent = `Not updated: ${(error as Error).message}`;
  }
}

/** Makes a call through the metered proxy, and shows what it did to the books. */
async function call(): Promise<void> {
  const organization = chosen();
  if (!session || !organization) {
    return;
  }
  const [button, answer, problem] = [
    byId<HTMLButtonElement>("send"),
    byId("answer"),
    byId("problem"),
  ];
  button.disabled = true;
  answer.textContent = problem.textContent = "";
  answer.setAttribute("aria-busy", "true");
  const caller = session.user.id;
  try {
    const pieces = streamAnswer(config.url, session.access_token, organization.id, {
      model: byId<HTMLInputElement>("model").value,
      messages: [{ role: "user", content: byId<HTMLTextAreaElement>("prompt").value }],
    });
    let isFirst = true;
    for await (const piece of pieces) {
      if (session?.user.id !== caller) {
        return; // it is for nobody else to read
      }
      answer.append(piece);
      if (isFirst) {
        void refresh(); // what is held shows while the model still speaks
        isFirst = false;
      }
    }
  } catch (error) {
    problem.textContent = error instanceof Refused ? error.explanation : (error as Error).message;
  } finally {
    answer.removeAttribute("aria-busy");
    button.disabled = false;
    await refresh();
  }
}
