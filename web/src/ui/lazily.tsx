/** Parts that are loaded when they are needed first. Offline, or after an upgrade of the server, one may be missing: the
 * rest of the page goes on without it.
 */

import { type ComponentType, lazy, type LazyExoticComponent } from "react";

export function lazily<P extends object>(
  load: () => Promise<ComponentType<P>>,
  otherwise: ComponentType<P>,
): LazyExoticComponent<ComponentType<P>> {
  return lazy(async () => {
    try {
      return { default: await load() };
    } catch {
      return { default: otherwise };
    }
  });
}
