/** Models that can be asked, and how those who serve them are now. */

import { call } from "./server";
import type { Model, Page, Route } from "./types";

/** `busy`: asked, and others wait. `down`: left alone for a while after failures; `probing`: tried again. */
export type ProviderState = "ready" | "busy" | "probing" | "down";

export interface ModelChoice {
  readonly id: string;
  readonly provider: string;
  readonly state: ProviderState;
  readonly queued: number;
}

export async function listModels(): Promise<ModelChoice[]> {
  const [models, routes] = await Promise.all([
    call<Page<Model>>("GET", "/v1/models"),
    // What states there are is an extra: without it all that are listed can be asked.
    call<Page<Route>>("GET", "/v1/routes").catch(() => ({ data: [] as Route[], has_more: false })),
  ]);
  const byName = new Map(routes.data.map((route) => [route.name, route]));
  return models.data.map((model) => ({
    id: model.id,
    provider: model.owned_by,
    ...stateOf(byName.get(model.id) ?? sameTarget(routes.data, model)),
  }));
}

/** Another route's target may be this very model: what is known of it holds here, too. */
function sameTarget(routes: readonly Route[], model: Model): Route | undefined {
  for (const route of routes) {
    const state = route.state?.filter((each) => each.provider === model.owned_by && each.model === model.id) ?? [];
    if (state.length) return { name: model.id, state };
  }
  return undefined;
}

export function stateOf(route: Route | undefined): { state: ProviderState; queued: number } {
  const targets = route?.state ?? [];
  const queued = targets.reduce((sum, target) => sum + target.queued, 0);
  if (route?.error) return { state: "down", queued };
  if (!targets.length) return { state: "ready", queued };
  // One target that answers is enough: the route falls back to it.
  if (targets.every((target) => target.breaker === "open")) return { state: "down", queued };
  if (targets.every((target) => target.breaker !== "closed")) return { state: "probing", queued };
  return { state: queued > 0 ? "busy" : "ready", queued };
}
