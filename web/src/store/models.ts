/** The models to choose from, asked again now and then while somebody looks. */

import { createStore } from "zustand/vanilla";
import { noteFailure } from "../api/server";
import { listModels, type ModelChoice } from "../api/models";

interface Models {
  readonly models: readonly ModelChoice[];
  readonly state: "loading" | "known" | "failed";
}

export const modelStore = createStore<Models>(() => ({ models: [], state: "loading" }));

export async function refreshModels(): Promise<void> {
  try {
    modelStore.setState({ models: await listModels(), state: "known" });
  } catch (error) {
    noteFailure(error);
    modelStore.setState({ state: "failed" });
  }
}

/** Built into the server: they quote and replay, and need no provider. */
export const isBuiltIn = (id: string): boolean => id === "extractive" || id.startsWith("replay/");
